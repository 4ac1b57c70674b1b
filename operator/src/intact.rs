//! Data that is gone: what the stores have now against what the status remembers of them. Pure.
//!
//! A store that lost its volumes comes back empty and well. So the status keeps the ids of topics and tables, and how many
//! records there were, and the operator compares. A loss stays in the status until its topics are read again from below
//! what was committed, or until somebody accepts it by an annotation; until then the pipeline is not Ready.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::crd::condition::Reason;
use millrace_api::crd::status::{LossStatus, TableStatus, TopicStatus};
use millrace_api::names::Component;

use crate::causes::last_line;
use crate::labels::ACCEPT_LOSS;
use crate::observed::Observed;
use crate::readiness::has_ended;
use millrace_stores::kafka::{KafkaFacts, Position, TopicFacts};

/// Fewer nodes than this are in the tree of an ensemble that no Kafka has used. Kafka makes more than twenty at once.
const LEAST_OF_KAFKA: u64 = 10;
/// Exit code of a broker whose volume belongs to another cluster than ZooKeeper knows (`kafka/files/start.sh`).
const OF_ANOTHER_CLUSTER: i32 = 65;
/// Exit code of a ZooKeeper server whose volume is gone, and no other has what was on it (`zookeeper/files/start.sh`).
const WITHOUT_VOLUME: i32 = 66;
/// Reasons of losses.
const REASONS: [Reason; 5] = [
    Reason::TablesMissing,
    Reason::TableRecreated,
    Reason::TopicRecreated,
    Reason::RecordsMissing,
    Reason::RecordsExpired,
];
/// First word of the ids of losses to retention.
const EXPIRED: &str = "expired";

/// Offsets that processors had committed, summed over the partitions of each topic.
type Committed = BTreeMap<String, i64>;

/// Whether all data is there that was there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intact {
    /// What is gone, as the status keeps it.
    pub losses: Vec<LossStatus>,
    /// The first thing that is gone and that nobody has accepted: why in one word, and in a sentence.
    pub first: Option<(Reason, String)>,
    /// Whether all stores could be asked.
    pub known: bool,
}

/// Judges whether all data is there that was there.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Intact {
    let look = Look { pipeline, observed };
    let found = look.found();
    let is_kept = |loss: &&LossStatus| look.is_open(loss) && !found.iter().any(|found| found.id == loss.id);
    let mut losses: Vec<LossStatus> = observed.remembered.status.losses.iter().filter(is_kept).cloned().collect();
    losses.extend(found);
    let pending = losses.iter().find(|loss| !look.is_settled(loss));
    let first = empty_zookeeper(pipeline, observed)
        .or_else(|| other_cluster(observed))
        .or_else(|| pending.map(|loss| (reason_of(loss), loss.message.clone())));
    Intact { losses, first, known: look.sees_all() }
}

/// Returns why no table may be made yet; `None`: tables may be made.
///
/// A new pipeline over volumes of an earlier one, whose records were read into tables that are not there: they may stand
/// under another name, so that people are asked before anything is made.
pub fn holds_tables(pipeline: &Pipeline, observed: &Observed) -> Option<(Reason, String)> {
    let look = Look { pipeline, observed };
    if look.has_no_tables() != Some(true) {
        return None;
    }
    let Some(read) = look.read(|_| true) else {
        let message = "the tables wait until Kafka reports how far its topics were read before";
        return Some((Reason::WaitingForKafka, message.to_owned()));
    };
    let missing = look.missing().cloned().or_else(|| look.tables_missing(read))?;
    (!look.is_settled(&missing)).then_some((Reason::TablesMissing, missing.message))
}

/// Returns what the status remembers of the spec's tables: those that are there, and those that were there.
pub fn tables(pipeline: &Pipeline, observed: &Observed) -> Vec<TableStatus> {
    let look = Look { pipeline, observed };
    // The canary's rows are nobody's loss.
    let names = pipeline.cassandra.tables.iter().map(|table| table.name.as_str());
    let names = names.filter(|name| !pipeline.is_canary_table(name));
    names.filter_map(|name| look.remember(name)).collect()
}

/// Returns whether processors must stand still, since the write-timestamp base that they have is that of records which are
/// gone: with it, new records would lose against the rows of older ones. A topic is made anew only when none runs.
pub fn has_stale_base(pipeline: &Pipeline, observed: &Observed) -> bool {
    let Ok(kafka) = &observed.stores.kafka else {
        return false;
    };
    let is_stale = |before: &TopicStatus| match kafka.topics.get(&before.name) {
        // It may be there all the same.
        None if kafka.refused.contains_key(&before.name) => false,
        None => lists_topics(pipeline, kafka),
        Some(now) if before.id != now.id.to_string() => true,
        Some(now) => has_lost_records(before, now, kafka.position(&before.name)),
    };
    let mut topics = pipeline.processor.queries.iter().filter_map(|query| observed.remembered.topic(&query.from));
    topics.any(is_stale)
}

/// Returns whether a processor runs, be it on its way out.
pub fn processors_run(observed: &Observed) -> bool {
    observed.children.all_pods_of(Component::Processor).any(|pod| !has_ended(pod))
}

/// Returns whether a topic that is the same one as before has lost records.
pub fn has_lost_records(before: &TopicStatus, now: &TopicFacts, position: Option<&Position>) -> bool {
    // Kafka takes no partition away: this is a broker that does not know of all yet.
    let is_whole = now.partitions.len() >= usize::try_from(before.partitions).unwrap_or(0);
    // What is remembered is rounded down.
    let is_less = |end: i64| before.records.is_some_and(|records| end < records);
    // A group stays beyond the end until it reads again: what is noted already is no further loss.
    let is_further = |beyond: i64| beyond > before.beyond.unwrap_or(0);
    is_whole && position.is_some_and(|position| is_further(position.beyond) || is_less(position.end))
}

/// Returns whether the brokers list the topics that there are. One that has just started knows of none for a moment.
pub fn lists_topics(pipeline: &Pipeline, kafka: &KafkaFacts) -> bool {
    kafka.has_brokers(pipeline.kafka.replicas) && (kafka.offsets_topic.is_some() || !kafka.topics.is_empty())
}

/// A look at one pipeline.
struct Look<'a> {
    pipeline: &'a Pipeline,
    observed: &'a Observed,
}

impl Look<'_> {
    /// Returns what is found to be gone and is not in the status yet.
    fn found(&self) -> Vec<LossStatus> {
        let missing = || self.tables_missing(self.read(|_| true)?);
        let is_new = self.missing().is_none() && self.has_no_tables() == Some(true);
        let missing = is_new.then(missing).flatten();
        let tables = self.pipeline.cassandra.tables.iter().filter_map(|table| self.table_recreated(&table.name));
        let read: BTreeSet<&String> = self.pipeline.processor.queries.iter().map(|query| &query.from).collect();
        let topics = read.iter().filter_map(|topic| self.topic_lost(topic));
        let expired = read.iter().filter_map(|topic| self.expired(topic));
        missing.into_iter().chain(tables).chain(topics).chain(expired).collect()
    }

    /// Returns whether a loss of the status still stands.
    fn is_open(&self, loss: &LossStatus) -> bool {
        match reason_of(loss) {
            // Settled, it stands until the tables are made, which it allows.
            Reason::TablesMissing => self.has_no_tables() != Some(false),
            _ => !self.is_settled(loss),
        }
    }

    /// Returns whether nobody need do anything about a loss any more.
    fn is_settled(&self, loss: &LossStatus) -> bool {
        self.observed.remembered.accepted.contains(&loss.id) || self.is_read_again(loss)
    }

    /// Returns whether topics and tables can all be looked at, and those that were there are there.
    fn sees_all(&self) -> bool {
        let Look { pipeline, observed } = self;
        let Some(schema) = &observed.stores.cassandra.schema else {
            return false;
        };
        let knows_offsets = observed.stores.kafka.as_ref().is_ok_and(|kafka| kafka.positions.is_some());
        let is_there = |name: &String| observed.remembered.table(name).is_none() || schema.tables.contains_key(name);
        knows_offsets
            && pipeline.cassandra.tables.iter().all(|table| is_there(&table.name))
            && !has_stale_base(pipeline, observed)
    }

    /// Returns whether every topic of a loss is read again from below what was committed when it was noticed.
    fn is_read_again(&self, loss: &LossStatus) -> bool {
        let Ok(kafka) = &self.observed.stores.kafka else {
            return false;
        };
        let is_below =
            |(topic, before): (&String, &i64)| kafka.position(topic).is_some_and(|now| now.committed < *before);
        !loss.committed.is_empty() && loss.committed.iter().all(is_below)
    }

    /// Returns the loss of the status that stands for tables which are not there.
    fn missing(&self) -> Option<&LossStatus> {
        let losses = &self.observed.remembered.status.losses;
        losses.iter().find(|loss| reason_of(loss) == Reason::TablesMissing)
    }

    /// Returns whether queries want tables, and the keyspace has none, now and as far as is remembered; `None`: unknown.
    fn has_no_tables(&self) -> Option<bool> {
        let schema = self.observed.stores.cassandra.schema.as_ref()?;
        let wants_tables = !self.pipeline.processor.queries.is_empty();
        Some(wants_tables && schema.tables.is_empty() && self.observed.remembered.tables().is_empty())
    }

    /// Returns how far the topics of some queries were read; `None`: unknown.
    fn read(&self, is_meant: impl Fn(&str) -> bool) -> Option<Committed> {
        let kafka = self.observed.stores.kafka.as_ref().ok()?;
        let queries = self.pipeline.processor.queries.iter().filter(|query| is_meant(&query.into));
        let topics: Vec<&String> = queries.map(|query| &query.from).collect();
        let is_there = |topic: &&String| kafka.topics.contains_key(*topic);
        let was_there = |topic: &&String| self.observed.remembered.topic(topic).is_some();
        let lists_all = kafka.has_brokers(self.pipeline.kafka.replicas);
        if !lists_all || topics.iter().any(|topic| was_there(topic) && !is_there(topic)) {
            return None;
        }
        if !topics.iter().any(is_there) || kafka.offsets_topic.is_none() {
            return Some(Committed::new());
        }
        topics.into_iter().map(|topic| Some((topic.clone(), kafka.position(topic)?.committed))).collect()
    }

    fn tables_missing(&self, read: Committed) -> Option<LossStatus> {
        let count: i64 = read.values().sum();
        if count == 0 {
            return None;
        }
        let keyspace = &self.pipeline.cassandra.keyspace;
        let others = self.observed.stores.cassandra.schema.as_ref().map(|schema| &schema.other_keyspaces);
        let others: Vec<&str> = others.into_iter().flatten().map(String::as_str).collect();
        let others = match others.is_empty() {
            true => "Cassandra has no other keyspace, so its volumes are new; no table is created until this is \
                     resolved"
                .to_owned(),
            false => format!(
                "if the rows are in another keyspace ({}), name it in spec.cassandra.keyspace of a new pipeline; no \
                 table is created until this is resolved",
                others.join(", ")
            ),
        };
        let message = format!(
            "{count} records of the kept topics were read before, and keyspace '{keyspace}' has none of the tables \
             that they were written to; {others}"
        );
        Some(self.loss("tables", keyspace, Reason::TablesMissing, message, read))
    }

    fn table_recreated(&self, name: &str) -> Option<LossStatus> {
        let before = self.observed.remembered.table(name)?;
        let now = self.observed.stores.cassandra.schema.as_ref()?.tables.get(name)?;
        if before.id == now.id.to_string() {
            return None;
        }
        let read = self.read(|table| table == name)?;
        let count: i64 = read.values().sum();
        let message = format!(
            "table '{}.{name}' was recreated, and the rows of {count} records that were read before are lost; Kafka \
             still has the records that its retention keeps",
            self.pipeline.cassandra.keyspace
        );
        (count > 0).then(|| self.loss("table", name, Reason::TableRecreated, message, read))
    }

    /// Judges a topic that a query reads, and read when it was last looked at.
    fn topic_lost(&self, name: &str) -> Option<LossStatus> {
        let before = self.observed.remembered.topic(name)?;
        let had = before.records.filter(|records| *records > 0)?;
        let kafka = self.observed.stores.kafka.as_ref().ok()?;
        let now = kafka.topics.get(name)?;
        let waited = match before.lag {
            Some(0) => "processors had read all these records at the last count".to_owned(),
            Some(lag) => format!("processors had not read about {lag} of these records at the last count"),
            None => "it is unknown how many of these records processors had not read".to_owned(),
        };
        if before.id != now.id.to_string() {
            let message = format!("topic '{name}' was recreated, and its records, at least {had}, are lost: {waited}");
            return Some(self.loss("topic", name, Reason::TopicRecreated, message, Committed::new()));
        }
        let position = kafka.position(name)?;
        has_lost_records(before, now, Some(position)).then(|| {
            let beyond = match position.beyond {
                0 => String::new(),
                beyond => format!(", and {beyond} fewer than processors had read from some partitions"),
            };
            let end = position.end;
            let message =
                format!("Kafka lost records: topic '{name}' has {end} and had at least {had}{beyond}; {waited}");
            self.loss("records", name, Reason::RecordsMissing, message, Committed::new())
        })
    }

    /// Judges whether retention has deleted records of a topic that processors had not read. As long as nobody has accepted
    /// such a loss, further ones of the topic add to it.
    fn expired(&self, name: &str) -> Option<LossStatus> {
        // Offsets that hold no record, such as the ends of transactions, are never read and are no lag.
        let before = self.observed.remembered.topic(name).filter(|before| before.lag.is_some_and(|lag| lag > 0))?;
        let kafka = self.observed.stores.kafka.as_ref().ok()?;
        let is_same = kafka.topics.get(name).is_some_and(|now| before.id == now.id.to_string());
        let more = kafka.position(name)?.expired() - before.expired.unwrap_or(0);
        if !is_same || more <= 0 {
            return None;
        }
        let head = format!("{EXPIRED}-{name}");
        let is_of_topic = |loss: &&LossStatus| loss.id.rsplit_once('-').is_some_and(|(begins, _)| begins == head);
        let open = self.observed.remembered.status.losses.iter().filter(|loss| self.is_open(loss)).find(is_of_topic);
        let records = more + open.and_then(|open| open.expired).unwrap_or(0);
        let message = format!("retention deleted {records} records of topic '{name}' before processors read them");
        let id = open.map_or_else(|| self.new_id(EXPIRED, name), |open| open.id.clone());
        let loss = self.loss_of(id, Reason::RecordsExpired, message, Committed::new());
        Some(LossStatus { expired: Some(records), ..loss })
    }

    fn new_id(&self, kind: &str, name: &str) -> String {
        format!("{kind}-{name}-{}", self.observed.now.timestamp())
    }

    fn loss(&self, kind: &str, name: &str, reason: Reason, message: String, committed: Committed) -> LossStatus {
        self.loss_of(self.new_id(kind, name), reason, message, committed)
    }

    fn loss_of(&self, id: String, reason: Reason, message: String, committed: Committed) -> LossStatus {
        let names = &self.pipeline.names;
        let committed: Committed = committed.into_iter().filter(|(_, read)| *read > 0).collect();
        let again = match committed.is_empty() {
            true => "If you need the records, send them again from their source. ".to_owned(),
            false => read_again(self.pipeline, committed.keys()),
        };
        let (namespace, pipeline) = (names.namespace(), names.pipeline());
        let accept = format!("kubectl annotate --overwrite -n {namespace} spl/{pipeline} {ACCEPT_LOSS}={id}");
        let message = format!("{message}. {again}To continue without them: {accept}");
        LossStatus { id, reason: reason.to_string(), message, committed, expired: None }
    }

    fn remember(&self, name: &str) -> Option<TableStatus> {
        let before = self.observed.remembered.table(name);
        let schema = self.observed.stores.cassandra.schema.as_ref();
        let Some(found) = schema.and_then(|schema| schema.tables.get(name)) else {
            return before.cloned();
        };
        let now = TableStatus { name: name.to_owned(), id: found.id.to_string() };
        // Whether rows are missing is known only with Kafka's answer.
        let waits = before.filter(|before| before.id != now.id && self.read(|table| table == name).is_none());
        Some(waits.cloned().unwrap_or(now))
    }
}

/// Returns the commands that have topics read again.
fn read_again<'a>(of: &Pipeline, topics: impl Iterator<Item = &'a String>) -> String {
    let (names, replicas) = (&of.names, of.processor.replicas);
    let (namespace, pipeline) = (names.namespace(), names.pipeline());
    let topics: Vec<String> = topics.map(|topic| format!("--topic {topic}")).collect();
    let scale = format!("kubectl scale -n {namespace} spl/{pipeline} --replicas");
    let program = match of.kafka.placement.external().and_then(|external| external.addresses.first()) {
        None => format!(
            "kubectl exec -n {namespace} {}-0 -- env KAFKA_HEAP_OPTS=-Xmx96m /opt/kafka/bin/kafka-consumer-groups.sh --bootstrap-server localhost:9092",
            names.component(Component::Kafka)
        ),
        Some(address) => format!("kafka-consumer-groups.sh --bootstrap-server {address}"),
    };
    let reset = format!(
        "{program} --group {} {} --reset-offsets --to-earliest --execute",
        of.kafka.prefix.consumer_group(),
        topics.join(" ")
    );
    format!("To read them again: {scale}=0, then, once no processor is left, {reset}, then {scale}={replicas}. ")
}

/// Returns what it means that ZooKeeper has nothing of a Kafka that has had topics. Running brokers wait for it for ever, since
/// it is behind what they have seen.
pub fn empty_zookeeper(pipeline: &Pipeline, observed: &Observed) -> Option<(Reason, String)> {
    let zookeeper = &observed.stores.zookeeper;
    let had_topics = observed.remembered.status.kafka.as_ref().is_some_and(|kafka| !kafka.topics.is_empty());
    let is_empty = zookeeper.has_quorum(pipeline.zookeeper.replicas)
        && zookeeper.znodes.is_some_and(|znodes| znodes < LEAST_OF_KAFKA);
    (had_topics && is_empty && observed.stores.kafka.is_err()).then(|| {
        let message = "ZooKeeper is empty, but Kafka has had topics: ZooKeeper lost its volumes, and with them the \
                       names of all topics, so brokers refuse to continue; rows in Cassandra are safe, and the runbook \
                       \"ZooKeeper lost its volume\" shows what else can be kept";
        (Reason::ClusterIdDiffers, message.to_owned())
    })
}

/// Returns which broker refuses its volume because ZooKeeper has another cluster, or which ZooKeeper server its empty
/// one, and what it says.
fn other_cluster(observed: &Observed) -> Option<(Reason, String)> {
    let said = |pod: &Pod, code: i32| {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let mut waiting = containers.into_iter().filter(|container| !container.ready);
        let ended = waiting.find_map(|container| refusal(container, code))?;
        Some(format!("pod '{}' does not start: {ended}", pod.name_any()))
    };
    let codes = [(Component::ZooKeeper, WITHOUT_VOLUME), (Component::Kafka, OF_ANOTHER_CLUSTER)];
    let mut messages = codes
        .into_iter()
        .filter_map(|(component, code)| observed.children.pods_of(component).find_map(|pod| said(pod, code)));
    Some((Reason::ClusterIdDiffers, messages.next()?))
}

/// Returns the last line of a container that ended because of its volume.
fn refusal(container: &ContainerStatus, code: i32) -> Option<String> {
    let states = [&container.state, &container.last_state];
    let mut ended = states.into_iter().filter_map(|state| state.as_ref()?.terminated.as_ref());
    let ended = ended.find(|ended| ended.exit_code == code)?;
    Some(last_line(ended).unwrap_or("its volume has been replaced").to_owned())
}

fn reason_of(loss: &LossStatus) -> Reason {
    REASONS.into_iter().find(|reason| reason.to_string() == loss.reason).unwrap_or(Reason::RecordsMissing)
}
