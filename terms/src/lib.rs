//! The terms that the custom resource, operator, worker and SQL share, so that none has to link another.
//!
//! ```text
//! (here)    settings of both worker roads: the operator writes them into a ConfigMap, the worker reads them
//! origin    where a source's records come from
//! cql       types of columns
//! units     durations and bytes as people write them
//! params    values of a source's params
//! template  texts with `${…}` in them
//! expression  how large a CEL expression may be
//! metadata  addresses where clouds hand out credentials
//! run       what an attempt of a run is told, and what it reports
//! settled   when a record's row was acknowledged
//! sources   how the sources of a producer are doing
//! canary    how far a record of the pipeline's own has come
//! work      what a processor has done, or a producer that is pushed to
//! records   how a query reads records, where there is a choice
//! question  the question to the judge of a query's SQL
//! problem   what is wrong with that SQL, and where
//! causes    an error with all its causes in one line
//! ```
//!
//! Plain data and pure functions: no network, no DataFusion, no Kubernetes. Unknown fields of settings are refused, so
//! that an operator and a worker that disagree fail at start.

mod canary;
pub mod causes;
pub mod cql;
pub mod expression;
pub mod metadata;
mod origin;
mod params;
mod problem;
mod question;
mod records;
mod run;
mod settled;
mod sources;
pub mod template;
pub mod units;
mod work;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use canary::{
    CANARY_KEY, CANARY_PATH, CANARY_TABLE, CanaryRead, CanaryReport, CanarySettings, CanaryWait, LARGEST_CANARY,
    Station, canary_columns,
};
pub use cql::{ColumnType, ParseType};
pub use origin::{
    FileFormat, FilesSettings, FollowPages, GeneratorSettings, HeaderSettings, HeaderValue, HttpSettings,
    KafkaSourceSettings, Method, OAuth2Settings, Origin, PaginationSettings, PushSettings, RecordsAre, StartAt,
};
pub use params::ParamValue;
pub use problem::{Position, Problem};
pub use question::SqlQuestion;
pub use records::{EpochUnit, RecordSettings, Tombstones, UnknownFields};
pub use run::{LARGEST_RESULT, RUN_COUNTS_PATH, RunCounts, RunOutcome, RunResult, RunSettings};
pub use settled::{SETTLED_PATH, SettledAt, SettledQuery};
pub use sources::{LARGEST_SOURCES, SOURCES_PATH, SourcePhase, SourceState};
pub use units::{Bytes, Duration, ParseUnit};
pub use work::{LARGEST_WORK, WORK_PATH, WRITE_CLASSES, Work, class_of};

/// Settings of `worker produce`: one pod's share of the sources.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProduceSettings {
    /// Which pipeline this worker belongs to; for logs, metrics and the Kafka client id.
    pub pipeline: PipelineName,
    /// Where the brokers are.
    pub kafka: KafkaSettings,
    /// The sources of the pipeline, all of them. A pod runs all that are pushed to; those that are polled it shares
    /// with the others ([`ProduceSettings::share`]), so that each is polled by exactly one pod.
    pub sources: Vec<SourceSettings>,
    /// The run that this worker is an attempt of: its one source is fetched within limits, and the worker ends. Absent:
    /// the sources are fetched continuously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSettings>,
    /// How many producer pods share the sources. At least 1.
    pub replicas: u32,
    /// Compacted topic with the positions of sources that have one. Absent: no source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursors_topic: Option<String>,
    /// Topic that receives records of sources that cannot be read or mapped. Absent: they are counted and logged only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
    /// Port of `/sources/<name>`, where records are pushed to. Absent: no source is pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_port: Option<u16>,
    /// Hosts that sources may reach although they resolve to private, loopback, link-local or metadata addresses:
    /// exact host names or IP addresses, from a chart value and never from the custom resource.
    pub allowed_source_hosts: Vec<String>,
    /// Upper bound for the bytes of records held in memory between source and broker acknowledgement.
    pub buffer_memory: Bytes,
    /// How long SIGTERM may take to flush what is under way; less than the pod's grace period.
    pub drain_timeout: Duration,
    /// Port of `/metrics`, `/healthz` and `/readyz`.
    pub http_port: u16,
}

impl ProduceSettings {
    /// Returns the sources of the pod with this ordinal: all that are pushed to, and of the others every n-th, where n
    /// is the number of pods.
    pub fn share(&self, ordinal: u32) -> Vec<&SourceSettings> {
        let mut polled = 0;
        let mut is_mine = |source: &&SourceSettings| {
            if matches!(source.origin, Origin::Push(_)) {
                return true;
            }
            polled += 1;
            (polled - 1) % self.replicas == ordinal
        };
        self.sources.iter().filter(|source| is_mine(source)).collect()
    }
}

/// Settings of `worker process`: the same for every processor pod.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProcessSettings {
    /// Which pipeline this worker belongs to; for logs, metrics and client ids.
    pub pipeline: PipelineName,
    /// Where the brokers are.
    pub kafka: KafkaSettings,
    /// Consumer group of all processors of the pipeline.
    pub consumer_group: String,
    /// Topic that receives records which can never be written, with the reason in their headers.
    pub dead_letter_topic: String,
    /// Where the rows go.
    pub cassandra: CassandraSettings,
    /// From which topic into which table. Several may read one topic.
    pub queries: Vec<QuerySettings>,
    /// Records of the pipeline's own that take the way of all others. Absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySettings>,
    /// Upper bound for the bytes of records held in memory between broker and table.
    pub buffer_memory: Bytes,
    /// Upper bound for rows being written at once, over all partitions.
    pub max_in_flight: u32,
    /// Offsets are committed at least this often while they move.
    pub commit_interval: Duration,
    /// How long SIGTERM or a revoked partition may take to await writes and commit; less than the pod's grace period.
    pub drain_timeout: Duration,
    /// Port of `/metrics`, `/healthz` and `/readyz`.
    pub http_port: u16,
}

impl ProcessSettings {
    /// Returns the topics that the queries read, each once, in the order of the queries.
    pub fn topics(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = Vec::new();
        for query in &self.queries {
            if !topics.contains(&query.from.as_str()) {
                topics.push(&query.from);
            }
        }
        topics
    }
}

/// Namespace and name of the StreamingPipeline.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PipelineName {
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
}

impl PipelineName {
    /// Role of the clients that are members of the pipeline's consumer group.
    pub const CONSUMER: &'static str = "consumer";

    /// Returns the Kafka client id of a pipeline's clients in a role. In the consumer group, it tells processors from others.
    pub fn client_id(&self, role: &str) -> String {
        format!("millrace-{role}-{}-{}", self.namespace, self.name)
    }
}

/// How to reach Kafka.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KafkaSettings {
    /// `host:port` of brokers to begin with.
    pub bootstrap_servers: Vec<String>,
}

/// How to reach Cassandra, and how safely to write.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CassandraSettings {
    /// `host:port` of nodes to begin with.
    pub contact_points: Vec<String>,
    /// Local datacenter: the only one that coordinates this worker's writes.
    pub datacenter: String,
    /// Keyspace of all tables.
    pub keyspace: String,
    /// LOCAL_QUORUM, or ONE when the keyspace has one replica.
    pub consistency: Consistency,
}

/// Consistency level of writes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Consistency {
    /// The only replica.
    One,
    /// A majority of the local datacenter's replicas.
    LocalQuorum,
}

/// One source of records and the topic that it fills.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SourceSettings {
    /// Name, unique in the pipeline.
    pub name: String,
    /// Topic that receives the records.
    pub topic: String,
    /// Field of the mapped record whose text is the Kafka key.
    pub key: String,
    /// One CEL expression per field of the mapped record, over the variable `record`. Empty: the record as it is.
    pub fields: BTreeMap<String, String>,
    /// Values of the source's params, for the expressions of its origin. Absent: it has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, ParamValue>,
    /// Where the records come from.
    pub origin: Origin,
}

/// One stream from a topic into a table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct QuerySettings {
    /// Name, unique in the pipeline.
    pub name: String,
    /// Topic to consume.
    pub from: String,
    /// The table to write.
    pub into: TableSettings,
    /// What is written of a record. Absent: its fields fill the columns of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlSettings>,
    /// How records are read. Absent: all by default.
    #[serde(default, skip_serializing_if = "records::is_default")]
    pub records: RecordSettings,
    /// Base of the write timestamp, in microseconds since the Unix epoch: a record's cells are written with
    /// `base + offset`, so that a replay writes the same cells and the later record of a key wins.
    pub write_timestamp_base: i64,
}

/// The SQL of a query and the columns of its stream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SqlSettings {
    /// One SELECT over the stream, which has the name of the topic.
    pub text: String,
    /// The stream's columns: the fields of a record that the SQL may use.
    pub columns: Vec<StreamColumn>,
}

/// A column of a stream: a field of the record's JSON object, and how it is read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StreamColumn {
    /// Field name, exactly as it stands in the record.
    pub name: String,
    /// How the field is read.
    #[serde(rename = "type")]
    pub column_type: StreamType,
}

/// The types of a stream's columns: how a JSON value is read, without silent conversion.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamType {
    /// A JSON integer of 64 bits.
    Bigint,
    /// true or false.
    Boolean,
    /// A JSON string such as "2024-02-29".
    Date,
    /// A finite JSON number.
    Double,
    /// A JSON integer of 32 bits.
    Int,
    /// Any JSON value: an object, an array, or what has no type of its own.
    Json,
    /// A JSON string.
    Text,
    /// An RFC 3339 string or an integer of milliseconds.
    Timestamp,
}

impl StreamType {
    /// Every type.
    pub const ALL: [Self; 8] =
        [Self::Bigint, Self::Boolean, Self::Date, Self::Double, Self::Int, Self::Json, Self::Text, Self::Timestamp];

    /// Returns the type's name, that of CQL where CQL has the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bigint => "bigint",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Double => "double",
            Self::Int => "int",
            Self::Json => "json",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A table's columns as the operator created them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TableSettings {
    /// Table name.
    pub name: String,
    /// Columns in the order of the resource.
    pub columns: Vec<ColumnSettings>,
    /// Names of all primary-key columns; a record without one of them is a dead letter.
    pub primary_key: Vec<String>,
    /// The user-defined types that the columns use, each after those that it uses itself. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<TypeSettings>,
}

/// A user-defined type as the operator created it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TypeSettings {
    /// Name of the type.
    pub name: String,
    /// Fields in the order of the resource, which is that of the server.
    pub fields: Vec<ColumnSettings>,
}

/// Returns the fields of a user-defined type; none, if it is not declared.
pub fn fields_of<'types>(types: &'types [TypeSettings], name: &str) -> &'types [ColumnSettings] {
    types.iter().find(|declared| declared.name == name).map_or(&[], |declared| &declared.fields)
}

/// A column's name and CQL type; also a field's of a user-defined type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ColumnSettings {
    /// Column name; also the field name in the record.
    pub name: String,
    /// CQL type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

/// The fields of a generated profile, in the order of the record.
pub const PROFILE_FIELDS: [&str; 12] = [
    "id",
    "first_name",
    "last_name",
    "gender",
    "address",
    "post_code",
    "email",
    "username",
    "dob",
    "registered_date",
    "phone",
    "picture",
];
