//! Topics, and messages in them.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use millrace_api::StreamingPipeline;
use millrace_api::names::Names;
use millrace_stores::kafka::{AskKafka, Kafka};
use tokio::time::timeout;

use crate::access::Right;
use crate::api::messages::{Filter as WrittenFilter, From, Messages, Query as Written, Topic, Topics};
use crate::audit;
use crate::messages::cursor::{Cursor, Direction};
use crate::messages::filter::Filter;
use crate::messages::render::Masking;
use crate::messages::search::{Page, SearchTopic, Wanted, search};
use crate::refusal::Refusal;
use crate::view::graph::dead_letter_topic;
use crate::view::quoted;
use crate::viewer::Viewer;

/// Messages of one answer where nobody says how many.
const DEFAULT_LIMIT: u32 = 50;
/// Most messages of one answer.
const MOST: u32 = 500;
/// Longest that a search may wait for its turn, and for Kafka.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(20);

/// Lists the topics.
pub async fn topics(viewer: Viewer, Path((namespace, name)): Path<(String, String)>) -> Result<Json<Topics>, Refusal> {
    let (names, resource) = viewer.pipeline(&namespace, &name).await?;
    let mut kafka = kafka_of(&viewer, &names);
    let external = resource.spec.kafka.external.as_ref().map(|_| Refusal::external("Kafka").to_string());
    let mut answer = Topics { topics: Vec::new(), unknown: external };
    let dead_letters = dead_letter_topic(&resource, &names);
    for topic in topics_of(&resource, &names) {
        // Once a broker is silent, the others are not waited for.
        let bounds = match &answer.unknown {
            Some(_) => None,
            None => match timeout(LONGEST, kafka.log_bounds(&topic)).await {
                Ok(Ok(bounds)) => Some(bounds),
                Ok(Err(AskKafka::FindTopic { .. })) => None,
                Ok(Err(error)) => {
                    answer.unknown = Some(crate::refusal::chain(&error).join(": "));
                    None
                }
                Err(_) => {
                    answer.unknown = Some("Kafka does not answer in time".to_owned());
                    None
                }
            },
        };
        // A topic without partitions is not there: how much it holds is unknown.
        let bounds = bounds.filter(|bounds| !bounds.is_empty());
        answer.topics.push(Topic {
            partitions: bounds.as_ref().map(|bounds| bounds.len() as i32),
            records: bounds.as_ref().map(|bounds| bounds.values().map(|(start, end)| end - start).sum()),
            dead_letters: topic == dead_letters,
            name: topic,
        });
    }
    Ok(Json(answer))
}

/// Returns the topics that a pipeline declares, its dead-letter topic last.
pub fn topics_of(resource: &StreamingPipeline, names: &Names) -> Vec<String> {
    let dead_letters = dead_letter_topic(resource, names);
    let declared = resource.spec.kafka.topics.iter().map(|topic| topic.name.clone());
    let mut topics: Vec<String> = declared.filter(|topic| *topic != dead_letters).collect();
    topics.push(dead_letters);
    topics
}

/// Shows messages.
pub async fn page(
    viewer: Viewer,
    Path((namespace, name, topic)): Path<(String, String, String)>,
    Query(written): Query<Written>,
) -> Result<Json<Messages>, Refusal> {
    find(&viewer, &namespace, &name, &topic, written, "messages").await.map(Json)
}

/// Gives messages as a file, one a line.
pub async fn file(
    viewer: Viewer,
    Path((namespace, name, topic)): Path<(String, String, String)>,
    Query(written): Query<Written>,
) -> Result<Response, Refusal> {
    let found = find(&viewer, &namespace, &name, &topic, written, "export").await?;
    let lines: Vec<String> = found.messages.iter().filter_map(|message| serde_json::to_string(message).ok()).collect();
    // Names of topics have letters, digits, dots, dashes and underscores only.
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{topic}.ndjson\"")),
    ];
    Ok((headers, lines.join("\n") + "\n").into_response())
}

async fn find(
    viewer: &Viewer,
    namespace: &str,
    name: &str,
    topic: &str,
    written: Written,
    reading: &'static str,
) -> Result<Messages, Refusal> {
    let (names, masking) = permitted(viewer, namespace, name, topic, reading).await?;
    viewer.count_search()?;
    let limit = written.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::field("limit", format!("it must be from 1 to {MOST}")));
    }
    let filter = Filter::parse(&filter_of(&written), &masking)?;
    let wanted = Wanted { topic, filter: &filter, masking: &masking, limit: limit as usize };
    let searched = timeout(LONGEST, async {
        // A request that waits here holds nothing.
        let _turn = viewer.app.searches.acquire().await;
        let mut kafka = kafka_of(viewer, &names);
        let cursor = begin(&mut kafka, topic, &written).await?;
        search(&mut kafka, wanted, cursor).await.map_err(|error| refusal(&error))
    })
    .await;
    let Page { messages, scanned, cursor } = searched.map_err(|_| silent())??;
    let cursor = cursor.and_then(|cursor| cursor.text());
    Ok(Messages {
        messages,
        scanned,
        complete: cursor.is_none(),
        cursor,
        masked_fields: masking.mask.fields(),
        kubectl: kubectl(&names, topic, limit),
    })
}

/// Returns what a viewer who may read a topic does not see of it, or refuses. Who read what, and how, goes on record.
pub async fn permitted(
    viewer: &Viewer,
    namespace: &str,
    name: &str,
    topic: &str,
    reading: &'static str,
) -> Result<(Names, Masking), Refusal> {
    let permitted = allowed(viewer, namespace, name, topic).await;
    let unmasked = permitted.as_ref().is_ok_and(|(_, masking)| masking.mask.is_lifted());
    audit::read(viewer.user(), reading, &Names::new(namespace, name), topic, unmasked, &permitted);
    permitted
}

async fn allowed(viewer: &Viewer, namespace: &str, name: &str, topic: &str) -> Result<(Names, Masking), Refusal> {
    let (names, resource) = viewer.pipeline(namespace, name).await?;
    viewer.require(&names, Right::Messages).await?;
    if !topics_of(&resource, &names).iter().any(|declared| declared == topic) {
        return Err(Refusal::NotFound { what: format!("topic '{topic}' in pipeline '{name}'") });
    }
    if resource.spec.kafka.external.is_some() {
        return Err(Refusal::external("Kafka"));
    }
    Ok((names.clone(), masking(viewer, &names, &resource, topic).await))
}

/// Returns what a viewer does not see of a topic.
pub async fn masking(viewer: &Viewer, names: &Names, resource: &StreamingPipeline, topic: &str) -> Masking {
    let mask = viewer.mask(names, resource).await;
    let is_dead_letters = topic == dead_letter_topic(resource, names);
    let sources = resource.spec.producer.sources.iter();
    // Keys of dead letters are those of any topic.
    let filling = sources.filter(|source| source.topic == topic || is_dead_letters);
    let key = filling.into_iter().any(|source| mask.hides(&source.key));
    Masking { mask, key }
}

fn filter_of(written: &Written) -> WrittenFilter {
    let Written { partition, key, contains, header, run, .. } = written.clone();
    WrittenFilter { partition, key, contains, header, run }
}

/// Returns where a search begins.
async fn begin(kafka: &mut Kafka, topic: &str, written: &Written) -> Result<Cursor, Refusal> {
    let mut logs = kafka.log_bounds(topic).await.map_err(|error| refusal(&SearchTopic::Ask { source: error }))?;
    if logs.is_empty() {
        return Err(Refusal::NotFound { what: format!("topic '{topic}' in Kafka yet") });
    }
    if let Some(partition) = written.partition {
        let count = logs.len();
        logs.retain(|index, _| *index == partition);
        if logs.is_empty() {
            return Err(Refusal::field("partition", format!("topic '{topic}' has {count} partitions, from 0 on")));
        }
    }
    if let Some(text) = written.cursor.as_ref().filter(|text| !text.is_empty()) {
        let mut cursor = Cursor::parse(text)?;
        // What retention has removed since, and what never was, is not looked for.
        cursor.left.retain(|index, _| logs.contains_key(index));
        for (index, (from, to)) in &mut cursor.left {
            let (start, end) = logs[index];
            (*from, *to) = ((*from).max(start), (*to).min(end));
        }
        return Ok(Cursor::new(cursor.direction, cursor.left));
    }
    match written.from.unwrap_or_default() {
        From::Newest => Ok(Cursor::new(Direction::Back, logs)),
        From::Oldest => Ok(Cursor::new(Direction::On, logs)),
        From::Offset => {
            let offset = written.offset.ok_or_else(|| Refusal::field("offset", "from=offset wants it"))?;
            let logs = logs.into_iter().map(|(index, (start, end))| (index, (start.max(offset), end)));
            Ok(Cursor::new(Direction::On, logs))
        }
        From::Time => {
            let time = written.time.ok_or_else(|| Refusal::field("time", "from=time wants it"))?;
            let found = kafka.offsets_at(topic, time.timestamp_millis()).await;
            let found = found.map_err(|error| refusal(&SearchTopic::Ask { source: error }))?;
            let logs =
                logs.into_iter().filter_map(|(index, (_, end))| Some((index, (found.get(&index).copied()??, end))));
            Ok(Cursor::new(Direction::On, logs))
        }
    }
}

/// Makes a client of a pipeline's brokers.
pub fn kafka_of(viewer: &Viewer, names: &Names) -> Kafka {
    Kafka::new(&viewer.app.cluster.brokers(names))
}

/// Judges why a topic could not be looked through.
pub fn refusal(error: &SearchTopic) -> Refusal {
    match error {
        SearchTopic::Ask { source: AskKafka::FindTopic { topic } } => {
            Refusal::NotFound { what: format!("topic '{topic}' in Kafka yet") }
        }
        SearchTopic::Ask { source } => Refusal::unavailable("Kafka does not answer", source),
        SearchTopic::ReadOn { .. } => Refusal::unavailable("Kafka does not give what it has", error),
    }
}

fn silent() -> Refusal {
    let causes = vec![format!("no answer within {} s", LONGEST.as_secs())];
    Refusal::Unavailable { message: "Kafka does not answer".to_owned(), causes }
}

fn kubectl(names: &Names, topic: &str, limit: u32) -> String {
    let (pipeline, namespace) = (names.pipeline(), names.namespace());
    format!("kubectl millrace peek {} --pipeline {pipeline} -n {namespace} -l {limit}", quoted(topic))
}
