//! What the operator reports. What is unknown is absent, never zero.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::condition;
use super::schedule::ScheduleStatus;

/// State of a pipeline as the operator last observed it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingPipelineStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// One word: Creating, Running, Degraded, Invalid, Paused, Suspending, Suspended or Resuming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,

    /// Conditions; `Ready` repeats the first unmet link of the readiness chain.
    #[serde(default)]
    #[schemars(
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]),
        transform = condition::describe
    )]
    pub conditions: Vec<Condition>,

    /// Records in the topics that the processors have not committed yet, rounded down to two digits. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,

    /// The ZooKeeper ensemble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zookeeper: Option<ComponentStatus>,

    /// The brokers and topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaStatus>,

    /// The Cassandra nodes and the keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<CassandraStatus>,

    /// The producer pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<ProducerStatus>,

    /// The sources that the producers run, as reported by the producers that answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Vec<SourceStatus>,

    /// The processor pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<ProcessorStatus>,

    /// The schedules of the sources that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["source"]))]
    pub schedules: Option<Vec<ScheduleStatus>>,

    /// Proof that a suspended pipeline is drained; processors stop only after it is recorded. Absent before that, and
    /// while the pipeline is not suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<DrainedStatus>,

    /// Last replay that the annotation `millrace.dev/replay` requested. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayStatus>,

    /// Data losses that have not been accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub losses: Vec<LossStatus>,

    /// Changes that would disturb a store, waiting for approval or approved and in progress. Absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// Restarts that wait, and what they wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["action"]))]
    pub waiting: Vec<WaitingStatus>,

    /// What the operator is about to do or waits to do, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned_actions: Vec<String>,
}

impl StreamingPipelineStatus {
    /// Returns what is said of the number of processors. `None`: it does not follow the load.
    pub fn scaling(&self) -> Option<&ScalingStatus> {
        self.processor.as_ref()?.scaling.as_ref()
    }

    /// Returns what is said of the number of producers. `None`: it does not follow what is pushed.
    pub fn producer_scaling(&self) -> Option<&ScalingStatus> {
        self.producer.as_ref()?.scaling.as_ref()
    }
}

/// Changes that would disturb a store.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Identifies the result of the plan. The annotation `millrace.dev/approve-plan` with this value approves it.
    pub hash: String,

    /// Whether the plan is approved.
    pub approved: bool,

    /// When it began to wait, or to be carried out.
    pub since: Time,

    /// What it changes.
    pub actions: Vec<String>,
}

/// A restart that waits.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingStatus {
    /// What waits.
    pub action: String,

    /// What it waits for.
    pub cause: String,

    /// When it began to wait for that.
    pub since: Time,
}

/// How many members of a component are ready, by data-plane facts.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Ready and desired members, such as `3/3`.
    pub ready: String,

    /// Smallest size of the volumes; the spec's `storage.size` cannot be lower. Absent if there is no volume or the
    /// operator may not list claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,
}

/// The producer pods.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerStatus {
    /// Ready and desired pods, such as `2/2`.
    pub ready: String,

    /// Healthy sources and all sources, such as `12/15`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<String>,

    /// Number of producers that the pushes need, with the fields of `.status.processor.scaling`. Absent without
    /// `spec.producer.scaling`.
    #[serde(default, deserialize_with = "if_readable", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub scaling: Option<ScalingStatus>,
}

/// Reads what the schema leaves open, so that the CRD has these fields once (decision 15). What cannot be read was not
/// written by the operator, and counts as nothing.
fn if_readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ScalingStatus>, D::Error> {
    let written = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(written.and_then(|written| serde_json::from_value(written).ok()))
}

/// A source, as its producer reports it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Name of the source.
    pub name: String,

    /// Starting, Running, Exhausted, or why the last fetch failed.
    pub state: String,

    /// What is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,

    /// Records that Kafka has acknowledged since the producer started, rounded down to two digits.
    pub records: i64,

    /// Records that could not be read or mapped, rounded down to two digits.
    pub rejected: i64,

    /// When a failing source last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
}

/// A completed drain: no source was writing any more, and the processors had committed all records.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainedStatus {
    /// When the drain was complete.
    pub at: Time,

    /// End offsets of the topics that queries read, summed over the partitions of each topic.
    pub offsets: BTreeMap<String, i64>,
}

/// A replay: records of a topic are read again.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayStatus {
    /// The annotation's value, `NONCE TOPIC FROM`. A nonce counts once.
    pub request: String,

    /// How far it is.
    pub phase: ReplayPhase,

    /// What happens, or why not.
    pub message: String,

    /// When the phase began.
    pub since: Time,

    /// Offsets to read again from, summed over the partitions that are read again. Absent before Rewinding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,

    /// Offsets that the processors had committed there, summed in the same way. Absent before Rewinding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ReplayPhase {
    /// The processors are being stopped. No offset has been changed.
    Stopping,
    /// No processor runs; offsets are being set back.
    Rewinding,
    /// The offsets are set, and the processors read on from there. The lag shows what is left.
    Rewound,
    /// The request cannot be carried out. No offset was changed.
    Refused,
    /// The request was taken back before an offset was changed.
    Cancelled,
}

impl ReplayPhase {
    /// Returns whether no processor may run.
    pub fn stops_processors(self) -> bool {
        match self {
            Self::Stopping | Self::Rewinding => true,
            Self::Rewound | Self::Refused | Self::Cancelled => false,
        }
    }
}

/// Data that was lost.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LossStatus {
    /// Identifies the loss. The annotation `millrace.dev/accept-loss` with this value accepts it.
    pub id: String,

    /// Why, in one word.
    pub reason: String,

    /// What was lost, and what to do.
    pub message: String,

    /// Offsets that processors had committed when the loss was noticed, summed over the partitions of each topic. The
    /// loss ends when the topics are read again from earlier offsets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub committed: BTreeMap<String, i64>,

    /// Records that retention deleted before the processors read them. Absent for other losses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<i64>,
}

/// The brokers and topics.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaStatus {
    /// Registered and desired brokers, such as `3/3`.
    pub ready: String,

    /// Smallest size of the volumes; the spec's `storage.size` cannot be lower. Absent if there is no volume or the
    /// operator may not list claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,

    /// The topics as Kafka has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub topics: Vec<TopicStatus>,

    /// The partitions that move between brokers. Absent if none moves or has to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassignment: Option<ReassignmentStatus>,
}

/// Partitions that move between brokers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReassignmentStatus {
    /// Partitions that are being copied.
    pub partitions_moving: i32,

    /// Partitions that have to move, including those that are being copied.
    pub partitions_left: i32,

    /// Bytes left to copy, rounded down to two digits. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_left: Option<i64>,
}

/// A topic as Kafka has it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Topic name.
    pub name: String,

    /// Kafka's ID of this topic. A recreated topic has another.
    pub id: String,

    /// Number of partitions.
    pub partitions: i32,

    /// Base of the write timestamps of this topic's records, in microseconds since the Unix epoch.
    pub write_timestamp_base: i64,

    /// Records ever written to a topic that a query reads, rounded down to two digits. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,

    /// Records that the processors have not committed yet, rounded down to two digits. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,

    /// Offsets that the processors committed beyond the ends of partitions. A higher number is a new loss. Absent if
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<i64>,

    /// Records that retention deleted between the offsets that the processors committed and the starts of the logs. A
    /// higher number is a new loss. Absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<i64>,
}

/// The Cassandra nodes and the keyspace.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CassandraStatus {
    /// Nodes that are up and normal, and desired nodes, such as `3/3`.
    pub ready: String,

    /// Smallest size of the volumes; the spec's `storage.size` cannot be lower. Absent if there is no volume or the
    /// operator may not list claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,

    /// Newest release that a node has run. `spec.cassandra.version` cannot be older. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub version: Option<String>,

    /// Copies of each row, as last observed in the keyspace. Absent before the keyspace exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,

    /// The tables of the spec as Cassandra has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tables: Vec<TableStatus>,

    /// The nodes that have joined, by the names of their pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub nodes: Vec<NodeStatus>,

    /// Cassandra's automatic repairs. Absent if there are none or they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairStatus>,
}

/// A Cassandra node that has joined.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name of its pod.
    pub name: String,

    /// Cassandra's ID of the node, which is stored on the node's volume.
    pub host_id: String,

    /// UID of the claim that it joined with; if the claim's UID differs, the volume is gone. Absent if claims cannot be
    /// listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,

    /// When its last full repair ended. Absent if it had none or that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_repair: Option<Time>,
}

/// Cassandra's automatic repairs.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairStatus {
    /// Nodes that have had a full repair, and all nodes, such as `2/3`.
    pub nodes: String,

    /// End of the last full repair of the node whose repair is the longest ago. Absent until every node has had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Time>,

    /// Pods of the nodes that are being repaired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<String>,
}

/// A table as Cassandra has it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableStatus {
    /// Table name.
    pub name: String,

    /// Cassandra's ID of this table. A recreated table has another.
    pub id: String,
}

/// The processor pods.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorStatus {
    /// Ready and desired pods, such as `2/2`.
    pub ready: String,

    /// Number of pods that exist, for the scale subresource.
    pub replicas: i32,

    /// Label selector of the pods, for the scale subresource.
    pub selector: String,

    /// Number of processors that the load needs. Absent without `spec.processor.scaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingStatus>,

    /// Time of a canary record from its sending to its row being read back, such as `25ms`. It changes only by a factor of
    /// two or more. Absent unless DataFlowing is True.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub canary_latency: Option<String>,
}

/// Number of processors that the load needs.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// Number that is set: by the operator if the mode is Auto, otherwise `spec.processor.replicas`. A number outside `min` and
    /// `max` that the operator did not set is not followed.
    pub current: i32,

    /// Number that the load needs.
    pub recommended: i32,

    /// Why, in one word.
    pub reason: String,

    /// Why, in a sentence with the figures of when the reason began.
    pub message: String,

    /// When the reason began.
    pub since: Time,

    /// Last change of the number by the operator. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scaled: Option<ScaledStatus>,

    /// Records per second that a processor takes when it works all the time. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,

    /// Numbers that the input needed within `downWindow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["replicas"]))]
    pub needed: Vec<NeededStatus>,
}

/// A change of the number of processors.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaledStatus {
    /// When.
    pub at: Time,

    /// Number before.
    pub from: i32,

    /// Number after.
    pub to: i32,

    /// Records per second that all processors settled before.
    pub rate: f64,

    /// Why, in a sentence.
    pub message: String,
}

/// A number of processors that the input needed.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NeededStatus {
    /// Number of processors.
    pub replicas: i32,

    /// Until when. Absent if the input still needs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}
