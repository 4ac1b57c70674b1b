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

/// Annotation with the name of the user who requested a run. Absent: unknown.
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
    /// Name of the StreamingPipeline, in the same namespace. While it does not exist, the run waits.
    #[schemars(length(min = 1, max = 28))]
    #[x_kube(validation = rules::dns_label(), validation = rules::immutable("the pipeline", "create another run"))]
    pub pipeline: String,

    /// Name of the source in the pipeline. A push source cannot be run. A source that reads files or a topic needs a
    /// schedule, since the producers read it otherwise.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::dns_label(), validation = rules::immutable("the source", "create another run"))]
    pub source: String,

    /// Values of the source's params, written as strings. A param that is absent has the default that the source
    /// declares. A value that the source does not declare or allow fails the run before anything is fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 16),
        extend("additionalProperties" = {"type": "string", "maxLength": 1024})
    )]
    #[x_kube(validation = rules::immutable("params", "create another run"))]
    pub params: BTreeMap<String, String>,

    /// Ends the run successfully after this many records, including records that cannot be mapped. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    #[x_kube(validation = rules::immutable("maxRecords", "create another run"))]
    pub max_records: Option<i64>,

    /// Runs for this long, then ends successfully. If absent, an HTTP endpoint is polled once, a generator runs to its
    /// count, and files are read to their end. A source without an end of its own needs maxRecords or duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = rules::duration(),
        validation = rules::duration_between("1s", "168h"),
        validation = rules::immutable("the duration", "create another run")
    )]
    pub duration: Option<String>,

    /// What follows a failed attempt. A repeated attempt sends the same records again and overwrites their rows with
    /// the same values.
    #[serde(default)]
    #[x_kube(validation = rules::immutable("retries", "create another run"))]
    pub retries: Retries,

    /// Time limit for one attempt. When it is reached, records in flight are drained and the attempt fails. Default:
    /// 1h.
    #[serde(default = "default_run_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = rules::duration(),
        validation = rules::duration_between("1s", "169h"),
        validation = rules::immutable("the timeout", "create another run")
    )]
    pub timeout: String,

    /// Due time of the run, set by a schedule or a backfill. Expressions read it as `run.time`. If absent, the run was
    /// requested on its own, and `run.time` is its creation time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::immutable("scheduledTime", "create another run"))]
    pub scheduled_time: Option<Time>,

    /// Cancels the run if true: the current attempt drains, and no other starts. It cannot be undone.
    #[serde(default)]
    #[x_kube(validation = rules::one_way())]
    pub cancel: bool,
}

/// What follows a failed attempt.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Attempts after the first. With 0, a failed attempt fails the run. Default: 3.
    #[serde(default = "default_retry_limit")]
    #[schemars(range(min = 0, max = 99))]
    pub limit: i32,

    /// Delay before the first retry. It doubles after each further failure. Default: 30s.
    #[serde(default = "default_retry_delay")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("0s", "24h"))]
    pub delay: String,

    /// Limit of the delay. Default: 30m.
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

/// Phase of a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RunPhase {
    /// No attempt is running: the run waits for its pipeline, a free slot or the next attempt.
    Pending,
    /// An attempt is running.
    Running,
    /// An attempt completed, and all its records are in Kafka.
    Succeeded,
    /// The last attempt failed, or the run can never work.
    Failed,
    /// The run was cancelled.
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

/// State of a run. What is unknown is absent, never zero.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestionRunStatus {
    /// Generation of the spec that this status describes.
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

    /// What the run waits for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the first attempt began. Absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the run ended. Absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Time from the start of the first attempt to the end of the run, such as `1m30s`. Absent until the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// Number of attempts so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_count: Option<i32>,

    /// The attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub attempts: Vec<Attempt>,

    /// When the next attempt begins. Absent if none is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,

    /// Records read from the source so far, over all attempts; records that a repeated attempt reads count again.
    /// Updated every few seconds while an attempt runs. Absent if unknown: nothing is counted yet, or the result of an
    /// attempt was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_read: Option<i64>,

    /// Records that Kafka has acknowledged so far, over all attempts. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_produced: Option<i64>,

    /// Records that could not be mapped or that Kafka refused for good, over all attempts so far. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_rejected: Option<i64>,

    /// Bytes of keys and values that Kafka has acknowledged so far, over all attempts. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Topic that receives the records. Absent until an attempt begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,

    /// Offsets of the records in the topic, by partition, over all ended attempts. Other records may lie between them;
    /// the records of this run have its name in the header `millrace-run`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"]))]
    pub topic_ranges: Vec<TopicRange>,

    /// Whether topicRanges lacks partitions, because the topic has too many for a worker to report.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub topic_ranges_incomplete: bool,

    /// W3C trace ID of the run's records, in the header `traceparent`. Absent until an attempt begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// One attempt of a run: the Job `<run>-<number>`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Number, from 1.
    pub number: i32,

    /// When its Job was created.
    pub start_time: Time,

    /// When it ended. Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,

    /// Its pod, whose logs have the details. Absent until it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,

    /// Why it failed. Absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,

    /// Records read from the source. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_read: Option<i64>,

    /// Records that Kafka has acknowledged. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_produced: Option<i64>,

    /// Records that could not be mapped or that Kafka refused for good. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_rejected: Option<i64>,

    /// Bytes of keys and values that Kafka has acknowledged. Absent if unknown.
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
