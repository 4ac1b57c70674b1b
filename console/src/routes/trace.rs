//! One record followed: what is known of its way, from its run to its row.
//!
//! The row is found by the record's own key fields. Whether it is this record that stands there, the cells' write time
//! says: it is the topic's base plus the record's offset. When it was written, and by whom, the processors remember.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query};
use chrono::{DateTime, Utc};
use kube::Api;
use millrace_api::crd;
use millrace_api::names::{Component, Names};
use millrace_api::{IngestionRun, StreamingPipeline};
use millrace_stores::kafka::{Bounds, Record};
use millrace_terms::SettledQuery;
use serde_json::Value;
use tokio::time::timeout;

use super::messages::{kafka_of, masking, permitted, refusal};
use super::named::is_object;
use super::rows;
use crate::access::Right;
use crate::api::trace::{Fact, Outcome, Query as Written, Step, StepKind, Trace};
use crate::messages::render::render;
use crate::messages::search::SearchTopic;
use crate::refusal::Refusal;
use crate::settled::{self, Settled};
use crate::view;
use crate::viewer::Viewer;

/// Longest that Kafka may take to give one record.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(10);
/// Bytes that are asked for to find one record; a whole batch comes in any case.
const ONE_RECORD: usize = 64 << 10;
/// How long a broker may wait for a record that should be there.
const WAIT: std::time::Duration = std::time::Duration::from_millis(250);

/// Header with the source that a record came from; this and the next are the worker's own, a test holds them together.
const SOURCE_HEADER: &str = "millrace-source";
/// Header of a redriven record with the time that its cells have.
const FIRST_TIMESTAMP: &str = "millrace-first-timestamp";

/// Follows a record.
pub async fn trace(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Query(written): Query<Written>,
) -> Result<Json<Trace>, Refusal> {
    permitted(&viewer, &namespace, &name, &written.topic, "trace").await?;
    viewer.count_search()?;
    let (names, resource) = viewer.pipeline(&namespace, &name).await?;
    let masking = masking(&viewer, &names, &resource, &written.topic).await;
    let record = fetch(&viewer, &names, &written).await?;
    let Some(record) = record else {
        let message = "the record is not in the topic: retention has removed it, or there never was one";
        let step = step(StepKind::Topic, &written.topic, Outcome::Missing, message.to_owned());
        return Ok(Json(Trace { steps: vec![step], record: None }));
    };
    let message = render(&record, &masking);
    let source = text_of(&record, SOURCE_HEADER);
    let mut steps = origin(&viewer, &names, source.as_deref(), message.run.as_deref()).await;
    steps.push(place(&written, &record));
    let settled = settled_by(&viewer, &names, &written, &record).await;
    let following = Following {
        viewer: &viewer,
        names: &names,
        resource: &resource,
        record: &record,
        mask: &masking.mask,
        settled,
    };
    for query in resource.spec.processor.queries.iter().filter(|query| query.from == written.topic) {
        following.through(query, &mut steps).await;
    }
    spread(&mut steps);
    Ok(Json(Trace { steps, record: Some(message) }))
}

async fn settled_by(viewer: &Viewer, names: &Names, written: &Written, record: &Record) -> Option<Settled> {
    let workers = viewer.app.cluster.workers(names).into_iter();
    let processors = workers.filter(|worker| worker.component == Component::Processor).collect();
    let asked = SettledQuery { topic: written.topic.clone(), partition: record.partition, offset: record.offset };
    settled::ask(&viewer.app.workers, processors, &asked, record.time).await
}

async fn fetch(viewer: &Viewer, names: &Names, written: &Written) -> Result<Option<Record>, Refusal> {
    let mut kafka = kafka_of(viewer, names);
    let positions = BTreeMap::from([(written.partition, written.offset)]);
    let bounds = Bounds { bytes: ONE_RECORD, wait: WAIT };
    let fetched = timeout(LONGEST, kafka.fetch(&written.topic, &positions, &bounds)).await.map_err(|_| {
        let causes = vec![format!("no answer within {} s", LONGEST.as_secs())];
        Refusal::Unavailable { message: "Kafka does not answer".to_owned(), causes }
    })?;
    let fetched = fetched.map_err(|error| refusal(&SearchTopic::Ask { source: error }))?;
    let Some(found) = fetched.into_iter().find(|(partition, _)| *partition == written.partition) else {
        let message =
            format!("partition {} of topic '{}' has no leader, or is not there", written.partition, written.topic);
        return Err(Refusal::Unavailable { message, causes: Vec::new() });
    };
    Ok(found.1.records.into_iter().find(|record| record.offset == written.offset))
}

/// Returns the steps before Kafka: the run, and the source.
async fn origin(viewer: &Viewer, names: &Names, source: Option<&str>, run: Option<&str>) -> Vec<Step> {
    let Some(run) = run else {
        let (outcome, message) = match source {
            Some(source) => (Outcome::Done, format!("source '{source}' was fetched continuously, without a run")),
            None => (Outcome::Unknown, "the record does not say where it comes from".to_owned()),
        };
        return vec![step(StepKind::Source, source.unwrap_or_default(), outcome, message)];
    };
    if !is_object(run) {
        let message = "the record names a run that cannot be".to_owned();
        return vec![step(StepKind::Run, run, Outcome::Unknown, message)];
    }
    let api: Api<IngestionRun> = Api::namespaced(viewer.client().clone(), names.namespace());
    match api.get(run).await {
        Ok(found) => {
            let found = view::runs::run(&found);
            let by = found.requested_by.clone().unwrap_or_else(|| "somebody unknown".to_owned());
            let mut of_run = step(StepKind::Run, run, Outcome::Done, format!("the run was asked for by {by}"));
            of_run.time = Some(found.created);
            of_run.facts = found.params.iter().map(|(name, value)| fact(name, value)).collect();
            if let Some(trace_id) = &found.trace_id {
                of_run.facts.push(fact("trace id", trace_id));
            }
            let mut of_source =
                step(StepKind::Source, &found.source, Outcome::Done, format!("an attempt of run '{run}' fetched it"));
            of_source.time = found.started;
            vec![of_run, of_source]
        }
        Err(error) => {
            let why = viewer.kube(&error, &format!("run '{run}' any more"));
            vec![step(StepKind::Run, run, Outcome::Unknown, format!("the record names the run, but {why}"))]
        }
    }
}

fn place(written: &Written, record: &Record) -> Step {
    let mut step = step(StepKind::Topic, &written.topic, Outcome::Done, "Kafka has the record".to_owned());
    step.time = record.time.and_then(DateTime::<Utc>::from_timestamp_millis);
    step.facts = vec![fact("partition", &record.partition.to_string()), fact("offset", &record.offset.to_string())];
    step
}

/// What follows a record through the queries.
struct Following<'a> {
    viewer: &'a Viewer,
    names: &'a Names,
    resource: &'a StreamingPipeline,
    record: &'a Record,
    mask: &'a crate::mask::Mask,
    /// Who was done with it. `None`: nobody remembers.
    settled: Option<Settled>,
}

impl Following<'_> {
    async fn through(&self, query: &crd::Query, steps: &mut Vec<Step>) {
        let committed = self.committed(&query.from);
        let (outcome, message) = match (&self.settled, committed) {
            (Some(_), Some(true)) => (Outcome::Done, "a processor is done with it, and its offset is committed"),
            (Some(_), _) => (Outcome::Done, "a processor is done with it; its offset is committed within seconds"),
            (None, Some(true)) => (Outcome::Done, "a processor is done with it, and does not remember when"),
            (None, Some(false)) => (Outcome::Waiting, "its offset is not committed yet"),
            (None, None) => (Outcome::Unknown, "whether its offset is committed is unknown"),
        };
        let mut of_query = step(StepKind::Query, &query.name, outcome, message.to_owned());
        of_query.facts.extend(self.settled.iter().map(|settled| fact("processor", &settled.processor)));
        if let Some(sql) = &query.sql {
            of_query.facts.push(fact("sql", sql));
        }
        let mut of_row = self.row(query, committed).await;
        // The row was acknowledged then; where it is not this record's, a dead letter may have been, or nothing.
        let last = if of_row.outcome == Outcome::Done { &mut of_row } else { &mut of_query };
        last.time = self.settled.as_ref().and_then(|settled| DateTime::from_timestamp_millis(settled.at));
        steps.extend([of_query, of_row]);
    }

    /// Returns whether the processors have committed the record's offset; `None`: unknown.
    fn committed(&self, topic: &str) -> Option<bool> {
        let offsets = self.viewer.app.measured.lag(self.names)?.offsets.ok()?;
        let of_this = |offsets: &&crate::measure::values::Offsets| {
            offsets.topic == topic && offsets.lag.partition == self.record.partition
        };
        let offsets = offsets.iter().find(of_this)?;
        Some(offsets.lag.committed? > self.record.offset)
    }

    async fn row(&self, query: &crd::Query, committed: Option<bool>) -> Step {
        match self.found(query, committed).await {
            Ok(step) => step,
            Err(why) => {
                step(StepKind::Row, &query.into, Outcome::Unknown, format!("the row cannot be looked for: {why}"))
            }
        }
    }

    async fn found(&self, query: &crd::Query, committed: Option<bool>) -> Result<Step, String> {
        let said = |refusal: Refusal| match refusal {
            Refusal::Unavailable { message, causes } => {
                std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ")
            }
            other => other.to_string(),
        };
        self.viewer.require(self.names, Right::Rows).await.map_err(said)?;
        let tables = &self.resource.spec.cassandra.tables;
        let table = tables.iter().find(|table| table.name == query.into).ok_or("the table is not declared")?;
        let key = key_of(self.record, table, query)?;
        let keyed: BTreeMap<String, Value> = key.iter().cloned().collect();
        let rows = rows::read(self.viewer, self.names, self.resource, &table.name, &keyed, 1, self.mask)
            .await
            .map_err(said)?;
        if rows.rows.is_empty() {
            let (outcome, message) = match committed {
                Some(true) => (
                    Outcome::Missing,
                    "there is no row of its key: it became a dead letter, was filtered, has expired or was deleted",
                ),
                Some(false) => (Outcome::Waiting, "there is no row of its key yet"),
                None => (Outcome::Unknown, "there is no row of its key; whether one will follow is unknown"),
            };
            return Ok(step(StepKind::Row, &table.name, outcome, message.to_owned()));
        }
        let wanted = self.write_timestamp(&query.from);
        let written = self.written(table, &key).await.map_err(said)?;
        let (outcome, message) = judged(wanted, written);
        let mut step = step(StepKind::Row, &table.name, outcome, message.to_owned());
        for (name, time) in [("write time of the record", wanted), ("write time of the row", written)] {
            step.facts.extend(time.map(|time| fact(name, &time.to_string())));
        }
        step.row = Some(rows);
        Ok(step)
    }

    /// Returns the time that the record's cells have, in microseconds; `None`: unknown.
    fn write_timestamp(&self, topic: &str) -> Option<i64> {
        let topics = self.resource.status.iter().flat_map(|status| &status.kafka).flat_map(|kafka| &kafka.topics);
        let base = topics.into_iter().find(|found| found.name == topic)?.write_timestamp_base;
        let own = base + self.record.offset;
        let first = text_of(self.record, FIRST_TIMESTAMP).and_then(|text| text.parse().ok());
        Some(first.unwrap_or(own).min(own))
    }

    /// Returns the latest write time of the row's cells.
    async fn written(&self, table: &crd::Table, key: &[(String, Value)]) -> Result<Option<i64>, Refusal> {
        let is_key = |name: &String| key.iter().any(|(part, _)| part == name);
        // Collections of several cells have no write time of their own.
        let has_time = |kind: &str| !["map<", "set<", "list<"].iter().any(|start| kind.trim_start().starts_with(start));
        let columns = table.columns.iter().filter(|column| !is_key(&column.name) && has_time(&column.column_type));
        let keyspace = &self.resource.spec.cassandra.keyspace.name;
        let (tables, cluster) = (&self.viewer.app.tables, &self.viewer.app.cluster);
        let mut latest = None;
        // Absent fields leave no cell: the first few that have one are enough.
        for column in columns.take(4) {
            let time = tables.write_time(cluster, self.names, keyspace, &table.name, &column.name, key).await?;
            latest = latest.max(time);
        }
        Ok(latest)
    }
}

/// Says whether the row is the record's.
fn judged(wanted: Option<i64>, written: Option<i64>) -> (Outcome, &'static str) {
    match (wanted, written) {
        (Some(wanted), Some(written)) if wanted == written => (Outcome::Done, "the row is this record's"),
        (Some(wanted), Some(written)) if written > wanted => {
            (Outcome::Superseded, "a later record of the same key has written over it")
        }
        (Some(_), Some(_)) => (Outcome::Waiting, "the row is an earlier record's; this one has not come yet"),
        (_, _) => (Outcome::Unknown, "there is a row of its key; whether it is this record's is unknown"),
    }
}

/// Returns the values of a table's key columns as the record has them, or why it does not.
fn key_of(record: &Record, table: &crd::Table, query: &crd::Query) -> Result<Vec<(String, Value)>, String> {
    let value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())
        .map_err(|_| "the record is not valid JSON")?;
    let key = &table.primary_key;
    key.partition
        .iter()
        .chain(&key.clustering)
        .map(|column| match value.get(column) {
            Some(Value::Null) | None => Err(match query.sql {
                Some(_) => format!("the SQL computes the key column '{column}'"),
                None => format!("the record has no field '{column}', which is in the key"),
            }),
            Some(found) => Ok((column.clone(), found.clone())),
        })
        .collect()
}

/// Returns the text of a header; the last one of that name counts.
fn text_of(record: &Record, header: &str) -> Option<String> {
    let (_, value) = record.headers.iter().rfind(|(name, _)| name == header)?;
    std::str::from_utf8(value.as_deref()?).ok().map(str::to_owned)
}

/// Fills in how long each step took since the one before that has a time.
fn spread(steps: &mut [Step]) {
    let mut before: Option<DateTime<Utc>> = None;
    for step in steps {
        let Some(time) = step.time else {
            continue;
        };
        step.seconds = before.map(|before| (time - before).num_milliseconds() as f64 / 1e3);
        before = Some(time);
    }
}

fn step(kind: StepKind, name: &str, outcome: Outcome, message: String) -> Step {
    Step { kind, name: name.to_owned(), outcome, time: None, seconds: None, message, facts: Vec::new(), row: None }
}

fn fact(name: &str, value: &str) -> Fact {
    Fact { name: name.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn record(value: &'static str) -> Record {
        let value = Some(Bytes::from_static(value.as_bytes()));
        Record { partition: 0, offset: 1, time: Some(0), key: None, value, headers: Vec::new() }
    }

    fn table() -> crd::Table {
        let written = json!({"name": "t", "columns": [{"name": "id", "type": "text"}, {"name": "n", "type": "int"}],
            "primaryKey": {"partition": ["id"], "clustering": ["n"]}});
        serde_json::from_value(written).expect("a table")
    }

    fn query(sql: Option<&str>) -> crd::Query {
        let written = json!({"name": "q", "from": "t", "into": "t", "sql": sql});
        serde_json::from_value(written).expect("a query")
    }

    #[test]
    fn names_of_headers_are_those_that_the_worker_writes() {
        assert_eq!(SOURCE_HEADER, millrace_worker::message::SOURCE_HEADER);
        assert_eq!(FIRST_TIMESTAMP, millrace_worker::process::dead_letter::FIRST_TIMESTAMP);
    }

    #[test]
    fn the_key_comes_from_the_record_s_own_fields() {
        let key = key_of(&record(r#"{"id": "a", "n": 5, "x": 1}"#), &table(), &query(None));
        assert_eq!(key, Ok(vec![("id".to_owned(), json!("a")), ("n".to_owned(), json!(5))]));
        assert!(key_of(&record("no json"), &table(), &query(None)).is_err());
        let missing = key_of(&record(r#"{"id": "a"}"#), &table(), &query(None)).expect_err("no n");
        assert!(missing.contains("no field 'n'"), "{missing}");
        let computed = key_of(&record(r#"{"id": "a"}"#), &table(), &query(Some("SELECT 1"))).expect_err("no n");
        assert!(computed.contains("SQL computes"), "{computed}");
    }

    #[test]
    fn only_the_record_s_own_write_time_makes_the_row_its_own() {
        let outcome = |wanted, written| judged(wanted, written).0;
        assert_eq!(outcome(Some(5), Some(5)), Outcome::Done);
        assert_eq!(outcome(Some(5), Some(6)), Outcome::Superseded);
        assert_eq!(outcome(Some(5), Some(4)), Outcome::Waiting);
        assert_eq!(outcome(None, Some(4)), Outcome::Unknown);
        assert_eq!(outcome(Some(5), None), Outcome::Unknown);
    }

    #[test]
    fn times_are_between_steps_that_have_one() {
        let at = |second: i64| DateTime::from_timestamp(second, 0);
        let mut steps: Vec<Step> = [at(10), None, at(13)]
            .map(|time| Step { time, ..step(StepKind::Topic, "t", Outcome::Done, String::new()) })
            .into();
        spread(&mut steps);
        assert_eq!(steps.iter().map(|step| step.seconds).collect::<Vec<_>>(), [None, None, Some(3.0)]);
    }
}
