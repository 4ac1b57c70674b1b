//! The processor part of the resource: from which topic into which table.

use std::collections::BTreeMap;

use kube::KubeSchema;
use millrace_terms::StreamType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Resources, Scaling, producer::default_buffer, rules};

/// The pods that write topics into tables.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::memory_at_least("64Mi"))]
pub struct Processor {
    /// Number of processor pods, also for `kubectl scale`. Pods beyond the number of partitions are idle. 0 stops
    /// writing. If `scaling.mode` is Auto, it is the number to begin with, and 0 still stops writing.
    #[serde(default = "super::producer::one")]
    #[schemars(range(min = 0, max = 200))]
    pub replicas: i32,

    /// How the number of processors follows the load (docs/scaling.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,

    /// Sends canary records along the whole road; the condition DataFlowing reports whether they become readable rows. If
    /// absent, none are sent. A change restarts the processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,

    /// CPU and memory of each processor pod. Default: 50m and 256Mi.
    #[serde(default)]
    pub resources: Resources,

    /// Additions to the pods, such as labels, tolerations, env and volumes (docs/pods.md). A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub pod_template: Option<serde_json::Value>,

    /// Limit for the bytes of records that a processor holds in memory. A change restarts the processors.
    #[serde(default = "default_buffer")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::bytes(), validation = rules::bytes_between("1Mi", "4Gi"))]
    pub buffer_memory: String,

    /// Limit for the rows that a processor writes at once. Below it, the number adapts to Cassandra's response time.
    /// Default: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_in_flight: Option<i32>,

    /// The queries. Several may read one topic: the offset of a record is committed when each has written its rows. A
    /// query that is added later begins where the others are.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = rules::one_query_per_topic_and_table())]
    pub queries: Vec<Query>,

    /// Destination of records that can never be written. Default: the topic `<pipeline>-dead-letters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

/// Records of the operator's own that take the way of all others.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Time from one canary record of a processor to the next.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "1h"))]
    pub interval: String,
}

/// Often enough to notice a stop within a minute, and a few bytes a second.
fn default_interval() -> String {
    "10s".to_owned()
}

/// One stream from a topic into a table: by SQL, or by field names.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::sql_has_columns(),
    validation = rules::columns_have_sql(),
    validation = rules::deletes_without_sql(),
    validation = rules::unknown_fields_without_sql(),
    validation = rules::epoch_units_without_sql()
)]
pub struct Query {
    /// Query name.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::dns_label())]
    pub name: String,

    /// Topic to read; one of spec.kafka.topics.
    #[schemars(length(min = 1, max = 200))]
    pub from: String,

    /// Table to write; one of spec.cassandra.tables.
    #[schemars(length(min = 1, max = 48))]
    pub into: String,

    /// One SELECT over the stream, which has the name of the topic: `SELECT id, upper(name) AS name FROM users WHERE
    /// age >= 18`. Each result fills the column of its name. If absent, each field fills the column of its name. A
    /// change restarts the processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub sql: Option<String>,

    /// The stream's columns: the record's fields that the SQL can use. Other fields are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub columns: Vec<StreamColumn>,

    /// What happens to a record without a value, a tombstone. Reject makes it a dead letter. Skip counts it as
    /// filtered. Delete deletes the row whose primary key is the record's key; not with `sql` (docs/types.md). A change
    /// restarts the processors.
    #[serde(default)]
    pub tombstones: Tombstones,

    /// What happens to a record with a field that has no column in the table. Refuse makes it a dead letter. Ignore
    /// skips the field. Not with `sql`, which reads only its own columns. Default: Refuse. A change restarts the
    /// processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_fields: Option<UnknownFields>,

    /// Unit of integers since 1970, by timestamp column: s, ms, us or ns. Fractions of a millisecond are rounded down.
    /// Not with `sql`, which has to_timestamp_seconds() and the like. Default: ms. A change restarts the processors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 128),
        extend("additionalProperties" = {"type": "string", "enum": ["s", "ms", "us", "ns"]})
    )]
    pub epoch_units: BTreeMap<String, EpochUnit>,
}

/// What an integer counts since 1970.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EpochUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// What happens to a record with a field that has no column in the table.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum UnknownFields {
    /// It becomes a dead letter.
    Refuse,
    /// The field is skipped.
    Ignore,
}

/// What happens to a record without a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Tombstones {
    /// It becomes a dead letter.
    #[default]
    Reject,
    /// It is counted as filtered.
    Skip,
    /// It deletes the row whose primary key is the record's key.
    Delete,
}

/// A column of a query's stream: a field of the record.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamColumn {
    /// Field name, exactly as in the record. In SQL, write a name with characters other than letters, digits and `_` in
    /// double quotes.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// Type of the field; nothing is converted silently. A nested object or array is json; `->` and `->>` select from
    /// it. If the field has another type and the SQL computes with it, the record becomes a dead letter.
    #[serde(rename = "type")]
    #[schemars(schema_with = "stream_type_schema")]
    pub column_type: StreamType,
}

/// Returns the schema of a stream column's type: the names that SQL knows.
fn stream_type_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names: Vec<&str> = StreamType::ALL.iter().map(|stream_type| stream_type.name()).collect();
    schemars::json_schema!({"type": "string", "enum": names})
}

/// Destination of records that can never be written.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Topic for dead letters. If spec.kafka.topics does not declare it, the operator creates it with one partition.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = rules::topic_name())]
    pub topic: String,
}
