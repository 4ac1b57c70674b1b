//! How the number of processors follows the load, and that of producers what is pushed.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::producer::one;
use super::status::ScalingStatus;
use super::{StreamingPipeline, StreamingPipelineStatus, rules};

/// How the number of processors follows the load.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::min_is_not_above_max())]
pub struct Scaling {
    /// Auto sets the number of processors, Recommend only reports it, and "Off", in quotes since YAML takes Off for false,
    /// does neither. Default: "Off".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "mode_schema")]
    pub mode: Option<ScalingMode>,

    /// Minimum number of processors.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 200))]
    #[x_kube(validation = rules::at_least_one_processor())]
    pub min: i32,

    /// Maximum number of processors, also limited by the partitions of the queries' topics.
    #[serde(default = "default_max")]
    #[schemars(range(min = 1, max = 200))]
    pub max: i32,

    /// Percentage of their time that processors work after a change. More are started above 95.
    #[serde(default = "default_target")]
    #[schemars(range(min = 30, max = 85))]
    pub target_utilisation: i32,

    /// Time limit for processing the records that wait; more processors are started if it would take longer.
    #[serde(default = "default_catch_up")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("10s", "1h"))]
    pub catch_up: String,

    /// How long fewer processors must have been enough before some are stopped.
    #[serde(default = "default_down_window")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("30s", "24h"))]
    pub down_window: String,
}

/// How the number of producers follows what is pushed.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::min_is_not_above_max())]
pub struct ProducerScaling {
    /// Auto sets the number of producers, Recommend only reports it, and "Off", in quotes, does neither. Default: "Off".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "mode_schema")]
    pub mode: Option<ScalingMode>,

    /// Minimum number of producers.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub min: i32,

    /// Maximum number of producers.
    #[serde(default = "default_max_producers")]
    #[schemars(range(min = 1, max = 32))]
    pub max: i32,

    /// Percentage of CPU or buffer that producers use after a change. More are started above 95.
    #[serde(default = "default_target")]
    #[schemars(range(min = 30, max = 85))]
    pub target_utilisation: i32,
}

impl ProducerScaling {
    /// Returns the same with what only the scaling of processors lets a user choose: nothing that is pushed waits, and
    /// so none of it has to be caught up with.
    pub fn with_defaults(&self) -> Scaling {
        let Self { mode, min, max, target_utilisation } = *self;
        Scaling { mode, min, max, target_utilisation, catch_up: default_catch_up(), down_window: default_down_window() }
    }
}

/// What is done about the number of processors or producers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ScalingMode {
    /// Nothing: it is `replicas`.
    Off,
    /// It is reported.
    Recommend,
    /// It is set.
    Auto,
}

/// Returns the schema of the mode. A pattern: in an `enum`, kubectl and Helm would read `Off` as a boolean, as YAML 1.1 does.
fn mode_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 16, "pattern": "^(Auto|Recommend|Off)$"})
}

/// As the decision has it (`scaling/src/settings.rs`).
fn default_max() -> i32 {
    12
}

/// Four times what one takes.
fn default_max_producers() -> i32 {
    4
}

/// As the decision has it.
fn default_target() -> i32 {
    75
}

/// As the decision has it.
fn default_catch_up() -> String {
    "60s".to_owned()
}

/// As the decision has it.
fn default_down_window() -> String {
    "2m".to_owned()
}

impl StreamingPipeline {
    /// Returns how many processors shall run, as far as a resource tells: the number that the operator has decided on, or
    /// that of the spec.
    pub fn wanted_processors(&self) -> i32 {
        let processor = &self.spec.processor;
        let mode = processor.scaling.as_ref().and_then(|scaling| scaling.mode);
        decided(processor.replicas, mode, self.status.as_ref().and_then(StreamingPipelineStatus::scaling))
    }

    /// Returns how many producers shall run, in the same way. Without a source that is fetched continuously or pushed to,
    /// none shall: records come by runs.
    pub fn wanted_producers(&self) -> i32 {
        let producer = &self.spec.producer;
        if producer.sources.iter().all(|source| source.schedule.is_some()) {
            return 0;
        }
        let mode = producer.scaling.as_ref().and_then(|scaling| scaling.mode);
        decided(producer.replicas, mode, self.status.as_ref().and_then(StreamingPipelineStatus::producer_scaling))
    }
}

/// Returns the number that the operator has decided on, where it sets the number; else that of the spec.
fn decided(replicas: i32, mode: Option<ScalingMode>, status: Option<&ScalingStatus>) -> i32 {
    match (mode, status) {
        (Some(ScalingMode::Auto), Some(scaling)) if replicas > 0 && scaling.current > 0 => scaling.current,
        _ => replicas,
    }
}
