//! What the operator reports. Unknown is absent, never zero.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::condition;
use super::schedule::ScheduleStatus;

/// What the operator last saw of a pipeline.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingPipelineStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// One word: Creating, Running, Degraded or Invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,

    /// Conditions; `Ready` repeats the first unmet link of the readiness chain.
    #[serde(default)]
    #[schemars(
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]),
        transform = condition::describe
    )]
    pub conditions: Vec<Condition>,

    /// Records in the topics that the processors have not yet committed, rounded down to two digits. Absent: unknown.
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

    /// The sources that the producers run, as those say that answer.
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

    /// Data that is gone and that nobody has accepted to be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub losses: Vec<LossStatus>,

    /// What would disturb a store and waits for approval, or is approved and under way. Absent: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// Restarts that wait, and what for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["action"]))]
    pub waiting: Vec<WaitingStatus>,

    /// What the operator is about to do or waits to do, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned_actions: Vec<String>,
}

/// What would disturb a store.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Identifies what the plan leads to; the annotation `millrace.dev/approve-plan` names it.
    pub hash: String,

    /// Whether the annotation names it.
    pub approved: bool,

    /// Since when it waits, or is under way.
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

    /// Since when it waits for that.
    pub since: Time,
}

/// How many members of a component are ready by their data-plane facts.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Ready and wanted members, such as `3/3`.
    pub ready: String,

    /// Size that every volume was given at least; `storage.size` of the spec can be lowered to it, and no further. Absent:
    /// there is no volume, or the operator may not list claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,
}

/// The producer pods.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerStatus {
    /// Ready and wanted pods, such as `2/2`.
    pub ready: String,

    /// Sources that are well and all of them, such as `12/15`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<String>,
}

/// A source, as its producer says.
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

    /// When a source that fails last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
}

/// Data that is gone.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LossStatus {
    /// Identifies it; the annotation `millrace.dev/accept-loss` names it.
    pub id: String,

    /// Why, in one word.
    pub reason: String,

    /// What is gone, and what to do.
    pub message: String,

    /// Offsets that processors had committed by then, summed over the partitions of each topic. The loss ends when
    /// the topics are read again from earlier offsets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub committed: BTreeMap<String, i64>,
}

/// The brokers and topics.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaStatus {
    /// Registered and wanted brokers, such as `3/3`.
    pub ready: String,

    /// Size that every volume was given at least; `storage.size` of the spec can be lowered to it, and no further. Absent:
    /// there is no volume, or the operator may not list claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,

    /// The topics as Kafka has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub topics: Vec<TopicStatus>,

    /// The partitions that move between brokers. Absent: none does, and none is to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassignment: Option<ReassignmentStatus>,
}

/// Partitions that move between brokers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReassignmentStatus {
    /// Partitions that are being copied right now.
    pub partitions_moving: i32,

    /// Partitions that are not where they shall be yet, those that are being copied included.
    pub partitions_left: i32,

    /// Bytes that are left to copy, rounded down to two digits. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_left: Option<i64>,
}

/// A topic as Kafka has it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Topic name.
    pub name: String,

    /// Kafka's own id of this topic; a re-created topic has another.
    pub id: String,

    /// Number of partitions.
    pub partitions: i32,

    /// Base of the write timestamps of this topic's records, in microseconds since the Unix epoch.
    pub write_timestamp_base: i64,

    /// Records ever written to a topic that a query reads, rounded down to two digits. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,

    /// Records of these that the processors have not yet committed, rounded down to two digits. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,

    /// Offsets that the processors had committed beyond the ends of partitions; more of them are a new loss. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<i64>,
}

/// The Cassandra nodes and the keyspace.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CassandraStatus {
    /// Nodes that are up and normal, and wanted ones, such as `3/3`.
    pub ready: String,

    /// Size that every volume was given at least; `storage.size` of the spec can be lowered to it, and no further. Absent:
    /// there is no volume, or the operator may not list claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,

    /// Newest release that a node has run; `spec.cassandra.version` cannot be set to an older one. Absent: none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub version: Option<String>,

    /// Copies of each row, as the keyspace last had them. Absent: there was no keyspace yet.
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

    /// The repairs that Cassandra makes by itself. Absent: it makes none, or they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairStatus>,
}

/// A Cassandra node that has joined.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name of its pod.
    pub name: String,

    /// Cassandra's own id of the node; it is on the node's volume.
    pub host_id: String,

    /// UID of the claim that it joined with; under another, its volume is gone. Absent: claims cannot be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,

    /// When its last full repair ended. Absent: it had none, or that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_repair: Option<Time>,
}

/// The repairs that Cassandra makes by itself.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairStatus {
    /// Nodes that have had a full repair, and all, such as `2/3`.
    pub nodes: String,

    /// When the last full repair ended of the node for which that is the longest ago. Absent: not every node had one.
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

    /// Cassandra's own id of this table; a re-created table has another.
    pub id: String,
}

/// The processor pods.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorStatus {
    /// Ready and wanted pods, such as `2/2`.
    pub ready: String,

    /// Pods that exist; the scale subresource reads it.
    pub replicas: i32,

    /// Label selector of the pods; the scale subresource reads it.
    pub selector: String,
}
