//! `IngestionRun` as somebody asks for it: one source of a pipeline is fetched once, within limits, and accounted for.
//!
//! A person, the console, the command line or a schedule makes the same object; the operator runs it as a Job. Its spec
//! never changes but for `cancel`, so that a run is what was asked for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{condition, rules};

/// Annotation with the user name of who asked for a run. Absent: unknown.
pub const REQUESTED_BY: &str = "millrace.dev/requested-by";

/// Label that the runs of one backfill share: its name.
pub const BACKFILL_LABEL: &str = "millrace.dev/backfill";

/// Annotation of a backfill's runs: how many of them may run at once, a number of at least 1. Absent: 1.
pub const MAX_ACTIVE: &str = "millrace.dev/max-active";

/// One run of a source.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "millrace.dev",
    version = "v1alpha1",
    kind = "IngestionRun",
    plural = "ingestionruns",
    shortname = "irun",
    category = "streaming",
    category = "all",
    namespaced,
    status = "IngestionRunStatus",
    derive = "PartialEq",
    doc = "One run of a source of a StreamingPipeline in the same namespace: fetched into its topic within limits, retried, and accounted for.",
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipeline"),
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attemptCount"),
    printcolumn(name = "Produced", type_ = "integer", json_path = ".status.recordsProduced"),
    printcolumn(name = "Rejected", type_ = "integer", json_path = ".status.recordsRejected"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Requested By",
        type_ = "string",
        json_path = ".metadata.annotations.millrace\\.dev/requested-by",
        priority = 1
    ),
    printcolumn(name = "Scheduled", type_ = "date", json_path = ".spec.scheduledTime", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = rules::run_name()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::presence_fixed("params", "params", "create another run"),
    validation = rules::presence_fixed("maxRecords", "maxRecords", "create another run"),
    validation = rules::presence_fixed("duration", "duration", "create another run"),
    validation = rules::presence_fixed("scheduledTime", "scheduledTime", "create another run"),
    validation = rules::timeout_covers_duration()
)]
pub struct IngestionRunSpec {
    /// The StreamingPipeline, in the same namespace. While it does not exist, the run waits.
    #[schemars(length(min = 1, max = 28))]
    #[x_kube(validation = rules::dns_label(), validation = rules::immutable("the pipeline", "create another run"))]
    pub pipeline: String,

    /// The source, by its name in the pipeline. One that records are pushed to cannot be run, and one that reads files
    /// or a topic can only be run if it has a schedule, since the producers read it otherwise.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::dns_label(), validation = rules::immutable("the source", "create another run"))]
    pub source: String,

    /// Values of the source's params, as text whatever their type. Absent ones have the default that the source
    /// declares; what it does not declare, or does not allow, fails the run before anything is fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 16),
        extend("additionalProperties" = {"type": "string", "maxLength": 1024})
    )]
    #[x_kube(validation = rules::immutable("params", "create another run"))]
    pub params: BTreeMap<String, String>,

    /// The run succeeds when so many records were read, those included that cannot be mapped. Absent: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[x_kube(validation = rules::immutable("maxRecords", "create another run"))]
    pub max_records: Option<i64>,

    /// The run goes on for so long, and then succeeds. Absent: an HTTP endpoint is asked once, a generator goes on to
    /// its count, and files are read to their end; what has no end of its own needs maxRecords or duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = rules::duration(),
        validation = rules::duration_between("1s", "168h"),
        validation = rules::immutable("the duration", "create another run")
    )]
    pub duration: Option<String>,

    /// What follows a failed attempt. A repeated attempt sends the same records again, and their rows are written over
    /// with the same.
    #[serde(default)]
    #[x_kube(validation = rules::immutable("retries", "create another run"))]
    pub retries: Retries,

    /// Longest that one attempt may take; what is under way then is drained, and the attempt has failed. Absent: 1h.
    #[serde(default = "default_run_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = rules::duration(),
        validation = rules::duration_between("1s", "169h"),
        validation = rules::immutable("the timeout", "create another run")
    )]
    pub timeout: String,

    /// The due time that the run stands for, when a schedule or a backfill made it; expressions have it as `run.time`.
    /// Absent: the run was asked for by itself, and `run.time` is when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::immutable("scheduledTime", "create another run"))]
    pub scheduled_time: Option<Time>,

    /// Set to true, it ends the run: what is under way is drained, and no attempt follows. It cannot be set back.
    #[serde(default)]
    #[x_kube(validation = rules::one_way())]
    pub cancel: bool,
}

/// What follows a failed attempt.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Attempts after the first. 0: a failed attempt fails the run.
    #[serde(default = "default_retry_limit")]
    #[schemars(range(min = 0, max = 99))]
    pub limit: i32,

    /// From the end of the first failed attempt to the next; doubled after each further one.
    #[serde(default = "default_retry_delay")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("0s", "24h"))]
    pub delay: String,

    /// Upper bound of the delay.
    #[serde(default = "default_retry_max_delay")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("0s", "24h"))]
    pub max_delay: String,
}

impl Default for Retries {
    fn default() -> Self {
        Self { limit: default_retry_limit(), delay: default_retry_delay(), max_delay: default_retry_max_delay() }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RunPhase {
    /// No attempt is under way: the run waits for its pipeline, a free slot or the next attempt.
    Pending,
    /// An attempt is under way.
    Running,
    /// An attempt came to its end, and all its records are in Kafka.
    Succeeded,
    /// The last attempt has failed, or the run can never work.
    Failed,
    /// The run was ended on demand.
    Cancelled,
}

impl RunPhase {
    /// Returns whether nothing will happen any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Returns the phase as the resource has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// What became of a run so far. Unknown is absent, never zero.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestionRunStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// One word: Pending, Running, Succeeded, Failed or Cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RunPhase>,

    /// Conditions: Complete and Failed as a Job has them, Ready, Reconciling and Stalled as kstatus reads them.
    #[serde(default)]
    #[schemars(
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]),
        transform = condition::describe
    )]
    pub conditions: Vec<Condition>,

    /// What there is to say: what the run waits for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the first attempt began. Absent: none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the run came to its end. Absent: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// From the first attempt's begin to the run's end, such as `1m30s`. Absent: it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// Attempts so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_count: Option<i32>,

    /// The attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub attempts: Vec<Attempt>,

    /// When the next attempt begins. Absent: none is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,

    /// Records that the source gave so far, over all attempts; what a repeated attempt reads again counts again. While an
    /// attempt is under way it is asked every few seconds. Absent: unknown, since nobody has counted yet or the result of
    /// an attempt was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_read: Option<i64>,

    /// Records that Kafka has acknowledged so far, over all attempts. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_produced: Option<i64>,

    /// Records that could not be mapped, or that Kafka refused for good, over all attempts so far. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_rejected: Option<i64>,

    /// Bytes of keys and values of the records that Kafka has acknowledged so far, over all attempts. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Topic that the records went to. Absent: no attempt has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,

    /// Where the records stand in the topic, by partition, over all ended attempts. Records of others may lie between:
    /// those of this run have its name in the header `millrace-run`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"]))]
    pub topic_ranges: Vec<TopicRange>,

    /// Whether topicRanges is short of partitions, because the topic has too many for a worker to tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub topic_ranges_incomplete: bool,

    /// W3C trace id that the run's records carry in the header `traceparent`. Absent: no attempt has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// One attempt of a run: a Job of the name `<run>-<number>`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Number, from 1.
    pub number: i32,

    /// When its Job was made.
    pub start_time: Time,

    /// When it ended. Absent: it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,

    /// Its pod, whose logs tell more. Absent: there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,

    /// Why it failed. Absent: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,

    /// Records that the source gave. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_read: Option<i64>,

    /// Records that Kafka has acknowledged. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_produced: Option<i64>,

    /// Records that could not be mapped, or that Kafka refused for good. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_rejected: Option<i64>,

    /// Bytes of keys and values that Kafka has acknowledged. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

/// Records of a run in one partition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicRange {
    /// Partition number.
    pub partition: i32,

    /// Offset of the first record.
    pub first_offset: i64,

    /// Offset of the last record.
    pub last_offset: i64,
}

/// Enough for a public endpoint's bad minutes.
pub fn default_retry_limit() -> i32 {
    3
}

/// Long enough for an endpoint to recover from what failed the attempt.
pub fn default_retry_delay() -> String {
    "30s".to_owned()
}

/// A run that is retried for a day still starts twice an hour.
pub fn default_retry_max_delay() -> String {
    "30m".to_owned()
}

/// An attempt that hangs must not hold up a schedule for ever.
pub fn default_run_timeout() -> String {
    "1h".to_owned()
}
