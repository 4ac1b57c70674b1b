//! `StreamingPipeline` and `IngestionRun` as the user writes them: one file per component, and the admission rules
//! beside the fields.
//!
//! Types here only carry serde, schema and CEL; defaults that need a reason are named functions. Absent optional
//! fields stay absent, so that `validate` alone fills them in.

pub mod access;
pub mod cassandra;
pub mod condition;
pub mod external;
pub mod kafka;
pub mod maintenance;
pub mod processor;
pub mod producer;
pub mod resources;
pub mod rules;
pub mod run;
pub mod scaling;
pub mod schedule;
pub mod service;
pub mod source;
pub mod status;
pub mod time;
pub mod zookeeper;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::Access;
pub use cassandra::{Cassandra, Column, Keyspace, PrimaryKey, Rack, Table, TypeField, UserType};
pub use external::{Changes, ExternalCassandra, ExternalKafka};
pub use kafka::{Kafka, MetadataManager, Reassignment, Topic};
pub use maintenance::{MaintenanceWindow, UpdatePolicy};
pub use processor::{Canary, DeadLetter, EpochUnit, Processor, Query, Tombstones, UnknownFields};
pub use producer::{
    Generator, Header, HeaderValueFrom, Http, Method, OAuth2, PagesBy, Pagination, Producer, RecordsAre,
    SecretKeyReference, Source,
};
pub use resources::{Amount, ResourceList, Resources, Storage};
pub use run::{IngestionRun, IngestionRunSpec, IngestionRunStatus, Retries, RunPhase};
pub use scaling::{ProducerScaling, Scaling, ScalingMode};
pub use schedule::{MissedReason, Param, ParamType, RunTemplate, Schedule, ScheduleStatus};
pub use service::{ClientService, PushService, ServiceType};
pub use source::{FileFormat, Files, KafkaTopic, Push, PushFrom, StartAt, TokenFrom};
pub use status::StreamingPipelineStatus;
pub use zookeeper::ZooKeeper;

use rules::names_declared;

/// A whole streaming platform: sources are fetched into Kafka, processed, and written to Cassandra.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "millrace.dev",
    version = "v1alpha1",
    kind = "StreamingPipeline",
    plural = "streamingpipelines",
    shortname = "spl",
    category = "streaming",
    category = "all",
    namespaced,
    status = "StreamingPipelineStatus",
    derive = "PartialEq",
    doc = "A whole streaming platform: sources are fetched into Kafka (with ZooKeeper), processed, and written to Cassandra.",
    scale(
        spec_replicas_path = ".spec.processor.replicas",
        status_replicas_path = ".status.processor.replicas",
        label_selector_path = ".status.processor.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "ZK", type_ = "string", json_path = ".status.zookeeper.ready"),
    printcolumn(name = "Kafka", type_ = "string", json_path = ".status.kafka.ready"),
    printcolumn(name = "Cassandra", type_ = "string", json_path = ".status.cassandra.ready"),
    printcolumn(name = "Producers", type_ = "string", json_path = ".status.producer.ready"),
    printcolumn(name = "Processors", type_ = "string", json_path = ".status.processor.ready"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Sources", type_ = "string", json_path = ".status.producer.sources", priority = 1),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", priority = 1),
    printcolumn(name = "ZK Version", type_ = "string", json_path = ".spec.zookeeper.version", priority = 1),
    printcolumn(name = "Kafka Version", type_ = "string", json_path = ".spec.kafka.version", priority = 1),
    printcolumn(name = "Cassandra Version", type_ = "string", json_path = ".spec.cassandra.version", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    validation = rules::pipeline_name(),
    validation = rules::pipeline_name_begins_with_a_letter(),
    validation = rules::default_dead_letter_is_no_source(),
    validation = rules::cursors_topic_is_the_operators(),
    validation = rules::storage_does_not_shrink("zookeeper"),
    validation = rules::storage_does_not_shrink("kafka"),
    validation = rules::storage_does_not_shrink("cassandra"),
    validation = rules::cassandra_does_not_go_back()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = names_declared("processor.queries", "from", "kafka.topics", ("query", "reads topic")),
    validation = names_declared("processor.queries", "into", "cassandra.tables", ("query", "fills table")),
    validation = names_declared("producer.sources", "topic", "kafka.topics", ("source", "fills topic")),
    validation = rules::dead_letter_is_no_source(),
    validation = rules::zookeeper_for_own_kafka(),
    validation = rules::external_fixed()
)]
pub struct StreamingPipelineSpec {
    /// Suspends the pipeline if true: producers stop, no run begins, and processors write the remaining records, then
    /// stop. `status.drained` proves it. The stores stay up. If set to false, processors start first, then producers.
    #[serde(default)]
    pub suspend: bool,

    /// What happens to the stores' volumes when this resource is deleted. Retain keeps every PersistentVolumeClaim, and
    /// a new pipeline of the same name adopts them. Delete removes them with the pipeline. A change restarts nothing.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Which changes may restart pods of the stores without approval. Automatic: all, including those of a new version
    /// of the operator. OnChange: changes of a store's spec; those of a new version wait for the next one, or for
    /// approval. Manual: none; each plan in the status waits for approval.
    #[serde(default)]
    pub update_policy: UpdatePolicy,

    /// When running pods of the stores may be restarted. If absent, at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["schedule", "timeZone"]))]
    pub maintenance_windows: Vec<MaintenanceWindow>,

    /// The ZooKeeper ensemble, which keeps Kafka's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zookeeper: Option<ZooKeeper>,

    /// The Kafka brokers and the topics on them.
    pub kafka: Kafka,

    /// The Cassandra nodes, the keyspace and the tables.
    pub cassandra: Cassandra,

    /// The pods that fetch sources into topics.
    pub producer: Producer,

    /// The pods that write topics into tables.
    pub processor: Processor,
}

/// What happens to a pipeline's volumes when it is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// Volumes stay.
    #[default]
    Retain,
    /// Volumes are deleted with the pipeline.
    Delete,
}
