//! Settings: read from a file, refused with the field's path when anything is wrong, trusted afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_terms::{
    Bytes, CanarySettings, ColumnSettings, ColumnType, FilesSettings, HttpSettings, KafkaSourceSettings, Origin,
    ProcessSettings, ProduceSettings, PushSettings, QuerySettings, RunSettings, SourceSettings, TableSettings,
    Tombstones,
};
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu, ensure};

use crate::decode::Decoder;

/// Least memory that records can move in.
const LEAST_MEMORY: Bytes = Bytes(1 << 20);

/// Why settings are refused.
#[derive(Debug, Snafu)]
pub enum LoadSettings {
    /// The file cannot be read.
    #[snafu(display("cannot read settings from '{}'", path.display()))]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no YAML of the settings' form.
    #[snafu(display("cannot understand settings in '{}'", path.display()))]
    ParseFile {
        /// The file.
        path: PathBuf,
        /// Why, with field and line.
        source: serde_yaml::Error,
    },
    /// A value makes no sense.
    #[snafu(display("{field}: {problem}"))]
    AcceptField {
        /// Path of the field.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// Settings that say themselves whether they make sense.
pub trait Checked {
    /// Refuses what no worker can work with.
    fn check(&self) -> Result<(), LoadSettings>;
}

/// Loads and checks settings.
#[expect(clippy::disallowed_methods, reason = "settings are read once, before anything runs")]
pub fn load<T: DeserializeOwned + Checked>(path: &Path) -> Result<T, LoadSettings> {
    let text = std::fs::read_to_string(path).context(ReadFileSnafu { path })?;
    let settings: T = serde_yaml::from_str(&text).context(ParseFileSnafu { path })?;
    settings.check()?;
    Ok(settings)
}

impl Checked for ProduceSettings {
    fn check(&self) -> Result<(), LoadSettings> {
        let Self {
            pipeline: _,
            kafka,
            sources,
            run,
            replicas,
            cursors_topic,
            dead_letter_topic,
            push_port,
            allowed_source_hosts: _,
            buffer_memory,
            drain_timeout,
            http_port: _,
        } = self;
        accept(!kafka.bootstrap_servers.is_empty(), "kafka.bootstrapServers", "must name at least one broker")?;
        accept(*replicas > 0, "replicas", "must be at least 1")?;
        check_memory(*buffer_memory)?;
        check_positive(drain_timeout.get(), "drainTimeout")?;
        check_distinct(sources.iter().map(|source| source.name.as_str()), "sources", "name")?;
        let is_named = dead_letter_topic.as_ref().is_none_or(|topic| !topic.is_empty());
        accept(is_named, "deadLetterTopic", "must not be empty")?;
        let needs_cursors = sources.iter().any(|source| source.origin.has_cursor());
        accept(
            !needs_cursors || cursors_topic.is_some(),
            "cursorsTopic",
            "must be given, since a source has a cursor",
        )?;
        for (index, source) in sources.iter().enumerate() {
            let Origin::Push(push) = &source.origin else { continue };
            accept(push_port.is_some(), "pushPort", "must be given, since a source is pushed to")?;
            let field = format!("sources[{index}].origin.push.maxBody");
            accept(push.max_body <= *buffer_memory, &field, &format!("must be at most bufferMemory, {buffer_memory}"))?;
        }
        if let Some(run) = run {
            accept(sources.len() == 1, "sources", "must be the one source of the run")?;
            let pushed = sources.iter().any(|source| matches!(source.origin, Origin::Push(_)));
            accept(!pushed, "sources[0].origin", "must be fetched: a run cannot wait for what is pushed")?;
            check_run(run)?;
        }
        sources.iter().enumerate().try_for_each(|(index, source)| check_source(source, &format!("sources[{index}]")))
    }
}

fn check_run(run: &RunSettings) -> Result<(), LoadSettings> {
    let RunSettings { name, attempt, time, max_records, duration, timeout, trace_parent, result: _ } = run;
    accept(!name.is_empty(), "run.name", "must not be empty")?;
    accept(*attempt > 0, "run.attempt", "must be at least 1")?;
    accept(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "run.time", "must be an RFC 3339 moment")?;
    accept(*max_records != Some(0), "run.maxRecords", "must be at least 1")?;
    accept(duration.is_none_or(|duration| !duration.get().is_zero()), "run.duration", "must be above 0s")?;
    accept(!trace_parent.is_empty(), "run.traceParent", "must not be empty")?;
    check_positive(timeout.get(), "run.timeout")
}

fn check_source(source: &SourceSettings, path: &str) -> Result<(), LoadSettings> {
    let SourceSettings { name, topic, key, fields, params: _, origin } = source;
    accept(!name.is_empty(), &format!("{path}.name"), "must not be empty")?;
    accept(!topic.is_empty(), &format!("{path}.topic"), "must not be empty")?;
    let key_is_mapped = fields.is_empty() || fields.contains_key(key);
    accept(key_is_mapped, &format!("{path}.key"), &format!("'{key}' must be one of the fields"))?;
    match origin {
        Origin::Http(http) => check_http(http, &format!("{path}.origin.http")),
        Origin::Generator(generator) => {
            let rate = generator.records_per_second.is_none_or(|rate| rate > 0);
            accept(rate, &format!("{path}.origin.generator.recordsPerSecond"), "must be at least 1")
        }
        Origin::Push(push) => check_push(push, &format!("{path}.origin.push")),
        Origin::Files(files) => check_files(files, &format!("{path}.origin.files")),
        Origin::Kafka(kafka) => check_kafka(kafka, &format!("{path}.origin.kafka")),
    }
}

fn check_push(push: &PushSettings, path: &str) -> Result<(), LoadSettings> {
    let PushSettings { max_body, timeout, token: _ } = push;
    accept(max_body.0 > 0, &format!("{path}.maxBody"), "must be above 0")?;
    check_positive(timeout.get(), &format!("{path}.timeout"))
}

fn check_files(files: &FilesSettings, path: &str) -> Result<(), LoadSettings> {
    let FilesSettings { directory: _, path: pattern, format: _, delimiter, interval } = files;
    let parts = || pattern.split('/');
    let stays_inside = parts().all(|part| part != ".." && !part.is_empty());
    accept(stays_inside, &format!("{path}.path"), "must be relative and stay inside the volume")?;
    if let Err(error) = glob::Pattern::new(pattern) {
        accept(false, &format!("{path}.path"), &format!("is not a valid glob pattern: {error}"))?;
    }
    let separates = delimiter.is_ascii() && !matches!(delimiter, '"' | '\r' | '\n');
    accept(separates, &format!("{path}.delimiter"), "must be an ASCII character other than '\"' and line breaks")?;
    check_positive(interval.get(), &format!("{path}.interval"))
}

fn check_kafka(kafka: &KafkaSourceSettings, path: &str) -> Result<(), LoadSettings> {
    let KafkaSourceSettings { bootstrap_servers, topic, group, start: _ } = kafka;
    accept(!bootstrap_servers.is_empty(), &format!("{path}.bootstrapServers"), "must name at least one broker")?;
    accept(!topic.is_empty(), &format!("{path}.topic"), "must not be empty")?;
    accept(!group.is_empty(), &format!("{path}.group"), "must not be empty")
}

fn check_http(http: &HttpSettings, path: &str) -> Result<(), LoadSettings> {
    check_positive(http.interval.get(), &format!("{path}.interval"))?;
    check_positive(http.timeout.get(), &format!("{path}.timeout"))?;
    let pointer = http.records.is_empty() || http.records.starts_with('/');
    accept(pointer, &format!("{path}.records"), "must be empty or start with '/', as a JSON pointer does")?;
    accept(http.max_response.0 > 0, &format!("{path}.maxResponse"), "must be above 0")?;
    let rate = http.max_requests_per_second.is_none_or(|rate| rate.is_finite() && rate >= 0.001);
    accept(rate, &format!("{path}.maxRequestsPerSecond"), "must be at least 0.001")
}

impl Checked for ProcessSettings {
    fn check(&self) -> Result<(), LoadSettings> {
        let Self {
            pipeline: _,
            kafka,
            consumer_group,
            dead_letter_topic,
            cassandra,
            queries,
            canary,
            buffer_memory,
            max_in_flight,
            commit_interval,
            drain_timeout,
            http_port: _,
        } = self;
        accept(!kafka.bootstrap_servers.is_empty(), "kafka.bootstrapServers", "must name at least one broker")?;
        accept(!consumer_group.is_empty(), "consumerGroup", "must not be empty")?;
        accept(!dead_letter_topic.is_empty(), "deadLetterTopic", "must not be empty")?;
        accept(!cassandra.contact_points.is_empty(), "cassandra.contactPoints", "must name at least one node")?;
        check_memory(*buffer_memory)?;
        accept(*max_in_flight > 0, "maxInFlight", "must be at least 1")?;
        check_positive(commit_interval.get(), "commitInterval")?;
        check_positive(drain_timeout.get(), "drainTimeout")?;
        accept(!queries.is_empty(), "queries", "must not be empty")?;
        check_distinct(queries.iter().map(|query| query.name.as_str()), "queries", "name")?;
        let loops = queries.iter().any(|query| query.from == *dead_letter_topic);
        accept(!loops, "deadLetterTopic", "must not be consumed by a query")?;
        if let Some(CanarySettings { topic, interval }) = canary {
            let is_own = topic != dead_letter_topic && queries.iter().all(|query| query.from != *topic);
            accept(is_own && !topic.is_empty(), "canary.topic", "must be a topic of its own")?;
            check_positive(interval.get(), "canary.interval")?;
        }
        queries.iter().enumerate().try_for_each(|(index, query)| check_query(query, &format!("queries[{index}]")))
    }
}

fn check_query(query: &QuerySettings, path: &str) -> Result<(), LoadSettings> {
    let table = &query.into;
    accept(!table.columns.is_empty(), &format!("{path}.into.columns"), "must not be empty")?;
    let columns = table.columns.iter().map(|column| column.name.as_str());
    check_distinct(columns.clone(), &format!("{path}.into.columns"), "name")?;
    accept(!table.primary_key.is_empty(), &format!("{path}.into.primaryKey"), "must not be empty")?;
    let columns: BTreeSet<&str> = columns.collect();
    for (index, key) in table.primary_key.iter().enumerate() {
        let field = format!("{path}.into.primaryKey[{index}]");
        accept(columns.contains(key.as_str()), &field, &format!("'{key}' must be one of the columns"))?;
    }
    check_types(table, path)?;
    let deletes = query.records.tombstones == Tombstones::Delete;
    accept(query.sql.is_none() || !deletes, &format!("{path}.records.tombstones"), "must not be Delete beside sql")?;
    for name in query.records.epoch_units.keys() {
        let is_timestamp =
            |column: &ColumnSettings| column.name == *name && column.column_type == ColumnType::Timestamp;
        let field = format!("{path}.records.epochUnits.{name}");
        accept(table.columns.iter().any(is_timestamp), &field, "must be of a timestamp column")?;
    }
    match Decoder::new(query) {
        Ok(_) => Ok(()),
        Err(error) => accept(false, &format!("{path}.sql.text"), &error.to_string()),
    }
}

/// Checks that every user-defined type is declared before what uses it.
fn check_types(table: &TableSettings, path: &str) -> Result<(), LoadSettings> {
    let mut declared = BTreeSet::new();
    for (index, declaration) in table.types.iter().enumerate() {
        check_declared(&declaration.fields, &declared, &format!("{path}.into.types[{index}].fields"))?;
        declared.insert(declaration.name.as_str());
    }
    check_declared(&table.columns, &declared, &format!("{path}.into.columns"))
}

fn check_declared(columns: &[ColumnSettings], declared: &BTreeSet<&str>, path: &str) -> Result<(), LoadSettings> {
    for (index, column) in columns.iter().enumerate() {
        for name in column.column_type.user_types() {
            let field = format!("{path}[{index}].type");
            accept(declared.contains(name), &field, &format!("'{name}' must be declared in types"))?;
        }
    }
    Ok(())
}

fn check_memory(memory: Bytes) -> Result<(), LoadSettings> {
    accept(memory >= LEAST_MEMORY, "bufferMemory", &format!("must be at least {LEAST_MEMORY}"))
}

fn check_positive(duration: Duration, field: &str) -> Result<(), LoadSettings> {
    accept(!duration.is_zero(), field, "must be above 0s")
}

fn check_distinct<'a>(names: impl Iterator<Item = &'a str>, list: &str, field: &str) -> Result<(), LoadSettings> {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        accept(seen.insert(name), &format!("{list}[{index}].{field}"), &format!("'{name}' is there twice"))?;
    }
    Ok(())
}

fn accept(good: bool, field: &str, problem: &str) -> Result<(), LoadSettings> {
    ensure!(good, AcceptFieldSnafu { field, problem });
    Ok(())
}

#[cfg(test)]
mod tests;
