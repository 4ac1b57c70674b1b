//! The Kafka part of the resource: brokers and topics.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::Unsupported;
use super::{Access, Amount, ClientService, ExternalKafka, Resources, Storage, rules};

/// `server.properties` keys that the operator sets itself, or that would break the delivery promise.
pub const OWNED_KEYS: [&str; 22] = [
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "broker.id.generation.enable",
    "broker.rack",
    "control.plane.listener.name",
    "controlled.shutdown.enable",
    "inter.broker.listener.name",
    "inter.broker.protocol.version",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "log.dirs",
    "min.insync.replicas",
    "default.replication.factor",
    "node.id",
    "offsets.topic.replication.factor",
    "process.roles",
    "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
    "unclean.leader.election.enable",
    "zookeeper.connect",
];

/// Topic settings that the operator sets itself: what an acknowledgement means, and what throttles moves.
pub const TOPIC_OWNED_KEYS: [&str; 4] = [
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
];

/// `server.properties` keys that cannot work in this version: a broker would not start, or its clients could not reach
/// it.
pub const UNSUPPORTED_KEYS: [Unsupported; 3] = [
    Unsupported {
        keys: &[
            "authorizer.class.name",
            "early.start.listeners",
            "principal.builder.class",
            "super.users",
            "zookeeper.clientCnxnSocket",
            "zookeeper.set.acl",
        ],
        prefixes: &[
            "delegation.token.",
            "listener.name.",
            "password.encoder.",
            "sasl.",
            "security.",
            "ssl.",
            "zookeeper.ssl.",
        ],
        reason: "this version runs Kafka without authentication and encryption, and would lose access; remove it",
    },
    Unsupported {
        keys: &[
            "alter.config.policy.class.name",
            "client.quota.callback.class",
            "create.topic.policy.class.name",
            "metric.reporters",
        ],
        prefixes: &["config.providers", "kafka.metrics.", "remote.log."],
        reason: "it names code or a service that the image does not have, and the broker would not start; remove it",
    },
    Unsupported {
        keys: &["initial.broker.registration.timeout.ms"],
        prefixes: &["controller.listener.", "controller.quorum.", "metadata.log.", "zookeeper.metadata.migration."],
        reason: "it is for Kafka without ZooKeeper, which this version does not run; remove it",
    },
];

/// The Kafka brokers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::own_or_external("replicas"),
    validation = rules::replication_within_brokers(),
    validation = rules::min_in_sync_below_default_replication(),
    validation = rules::memory_at_least("512Mi")
)]
pub struct Kafka {
    /// A Kafka that someone else runs (docs/external.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalKafka>,

    /// Kafka version, a 3.9 release, the last line with ZooKeeper. It can be lowered within the line, since all its
    /// releases write the same format. A change restarts the brokers one at a time.
    #[serde(default = "default_version")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^3[.]9[.][0-9]{1,3}$')").message("must be a Kafka 3.9 release, such as 3.9.2; later lines have no ZooKeeper mode"))]
    pub version: String,

    /// Image to run instead of the official one. It must keep the image contract (docs/images.md). Default:
    /// `apache/kafka:<version>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::image())]
    pub image: Option<String>,

    /// Where Kafka keeps its metadata. This version supports ZooKeeper only.
    #[serde(default)]
    pub metadata_manager: MetadataManager,

    /// Number of brokers. New brokers receive their share of the partitions. If lowered, the brokers with the highest
    /// ordinals leave, once their partitions have moved to the others (docs/runbooks.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub replicas: Option<i32>,

    /// The volume of each broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// CPU and memory of each broker. Default: 100m and 1Gi.
    #[serde(default)]
    pub resources: Resources,

    /// Additions to the pods, such as labels, tolerations, env and volumes (docs/pods.md). A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::pod_template::schema")]
    pub pod_template: Option<serde_json::Value>,

    /// Further clients that may reach the brokers. Default: none. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// The Service for Kafka clients. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ClientService>,

    /// How partitions move when brokers are added or removed. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassignment: Option<Reassignment>,

    /// Additional JVM options (docs/pods.md). A change restarts the brokers one at a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "maxLength": 256, "pattern": "^-[A-Za-z0-9_.,:;=+@%/*^~#-]+$"}))]
    pub jvm_options: Vec<String>,

    /// Additional `server.properties` settings. Keys that the operator sets are refused. A change restarts the brokers
    /// one at a time, unless all of them accept it while they run (docs/pods.md).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(
        validation = rules::operator_owned_keys(&OWNED_KEYS),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[0]),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[1]),
        validation = rules::unsupported_keys(&UNSUPPORTED_KEYS[2]),
        validation = rules::one_line_settings()
    )]
    pub config: BTreeMap<String, String>,

    /// The topics, which the operator creates and extends. Removing a topic from the list does not delete it.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = rules::topic_names_do_not_collide())]
    pub topics: Vec<Topic>,
}

/// How partitions move between brokers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reassignment {
    /// Bytes per second that each broker sends, and receives, for replicas that move: Kafka's replication throttle. It
    /// applies only to replicas out of sync; below the rate of new records they never catch up. Default: 50Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::amount_between("1Mi", "100Gi"))]
    pub bytes_per_second: Option<Amount>,
}

/// A topic.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minInSyncReplicas) || !has(self.replicationFactor) || self.minInSyncReplicas < self.replicationFactor || (self.minInSyncReplicas == 1 && self.replicationFactor == 1)")
        .message("minInSyncReplicas must be below replicationFactor, or one failed broker stops all writes; lower it, or set both to 1")
        .field_path(".minInSyncReplicas"),
    validation = rules::presence_fixed("replicationFactor", "a topic's replication factor", "create a topic of another name")
)]
pub struct Topic {
    /// Topic name.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = rules::topic_name())]
    pub name: String,

    /// Number of partitions. It can be raised, which moves keys to other partitions, but not lowered.
    #[schemars(range(min = 1, max = 1000))]
    #[x_kube(validation = rules::grows_only("the number of partitions", "Kafka cannot remove partitions; create a topic of another name instead"))]
    pub partitions: i32,

    /// Copies of each partition, at most one per broker. Default: 3, or the number of brokers if that is less. Fixed at
    /// creation in this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    #[x_kube(validation = rules::immutable("a topic's replication factor", "create a topic of another name"))]
    pub replication_factor: Option<i32>,

    /// Copies that must have a record before it is acknowledged. Default: one less than the replication factor, at
    /// least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub min_in_sync_replicas: Option<i32>,

    /// Additional topic settings, such as retention.ms. A change restarts nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(
        validation = rules::operator_owned_keys(&TOPIC_OWNED_KEYS),
        validation = rules::one_line_settings()
    )]
    pub config: BTreeMap<String, String>,
}

/// Where Kafka keeps its metadata.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum MetadataManager {
    /// In the ZooKeeper ensemble of the same pipeline.
    #[default]
    ZooKeeper,
}

/// Returns whether admission refuses a key of the configuration.
pub fn is_refused(key: &str) -> bool {
    OWNED_KEYS.contains(&key) || UNSUPPORTED_KEYS.iter().any(|unsupported| unsupported.has(key))
}

/// The newest 3.9 release that both image suppliers have.
pub fn default_version() -> String {
    "3.9.2".to_owned()
}
