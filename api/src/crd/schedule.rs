//! What a source declares about its runs: the params that they accept, and the schedule that creates them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::run::{IngestionRunSpec, Retries, default_run_timeout};
use super::time::time_of;

/// A parameter of a source's runs. Expressions read it as `params.<name>`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Param {
    /// Name, as in expressions and runs.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::param_name())]
    pub name: String,

    /// Type of the value. Default: string.
    #[serde(rename = "type", default)]
    pub param_type: ParamType,

    /// Default value, written as a string. If absent, every run must give a value, and the source cannot be fetched
    /// continuously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub default: Option<String>,

    /// Purpose of the param, shown to anyone who starts a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub description: Option<String>,

    /// Smallest value of an integer or a number. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,

    /// Largest value of an integer or a number. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,

    /// Allowed values, written as strings. Default: any.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub choices: Vec<String>,

    /// Regular expression that the whole string must match. Default: any string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
}

/// Type of a param's value.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Any text.
    #[default]
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A number with a fraction.
    Number,
    /// true or false.
    Boolean,
    /// An RFC 3339 moment, such as 2026-01-31T00:00:00Z.
    Timestamp,
}

impl ParamType {
    /// Returns the type as the resource has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
        }
    }
}

/// When runs of a source are created. A source with a schedule is not fetched continuously.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.catchUp) || self.catchUp != 'All' || !has(self.concurrencyPolicy) || self.concurrencyPolicy != 'Replace'")
        .message("with Replace, each due time would cancel the previous run; set concurrencyPolicy to Forbid or Allow, \
                  or catchUp to Latest")
        .field_path(".catchUp")
)]
pub struct Schedule {
    /// Due times as a cron expression of five fields: minute, hour, day of month, month, day of week. If absent, runs
    /// are created on request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::cron())]
    pub cron: Option<String>,

    /// IANA time zone of the due times. A fixed time that is skipped when clocks go forward is due right after; one
    /// that occurs twice when they go back is due once. If minute or hour has a star or a step, due times follow the
    /// clock.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::time_zone())]
    pub time_zone: String,

    /// What happens at a due time while a run of this schedule is active: Forbid waits for it to end, Allow runs both,
    /// Replace cancels the older one.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,

    /// How long after its due time a run may still start; after that it is missed. Default: 1m with catchUp None,
    /// otherwise no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "8760h"))]
    pub starting_deadline: Option<String>,

    /// Which due times to run after several have passed without a run: None and Latest run the latest that is not too
    /// late, All runs every one. The rest count as missed and are reported.
    #[serde(default)]
    pub catch_up: CatchUp,

    /// Number of due times that All catches up with; older ones are missed.
    #[serde(default = "default_max_catch_up")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_catch_up: i32,

    /// Number of succeeded runs of this schedule to keep. Older ones are deleted.
    #[serde(default = "default_history")]
    #[schemars(range(min = 0, max = 1000))]
    pub successful_runs_history_limit: i32,

    /// Number of failed and cancelled runs of this schedule to keep. Older ones are deleted.
    #[serde(default = "default_history")]
    #[schemars(range(min = 0, max = 1000))]
    pub failed_runs_history_limit: i32,

    /// Pauses the schedule if true: due times pass without a run and count as missed. Requested runs still start.
    #[serde(default)]
    pub paused: bool,

    /// Template for the runs.
    #[serde(default)]
    pub run: RunTemplate,
}

/// Template for the runs of a schedule.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::timeout_covers_duration())]
pub struct RunTemplate {
    /// Values of the source's params, written as strings. A param that is absent has its default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 16),
        extend("additionalProperties" = {"type": "string", "maxLength": 1024})
    )]
    pub params: BTreeMap<String, String>,

    /// Ends a run successfully after this many records, including records that cannot be mapped. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_records: Option<i64>,

    /// Runs for this long, then ends successfully. If absent, an HTTP endpoint is polled once, a generator runs to its
    /// count, and files are read to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "168h"))]
    pub duration: Option<String>,

    /// What follows a failed attempt.
    #[serde(default)]
    pub retries: Retries,

    /// Time limit for one attempt. Default: 1h.
    #[serde(default = "default_run_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "169h"))]
    pub timeout: String,
}

impl RunTemplate {
    /// Returns the spec of such a run, of a source of a pipeline, that is due at a moment.
    pub fn spec(&self, pipeline: impl Into<String>, source: impl Into<String>, due: DateTime<Utc>) -> IngestionRunSpec {
        let Self { params, max_records, duration, retries, timeout } = self.clone();
        IngestionRunSpec {
            pipeline: pipeline.into(),
            source: source.into(),
            params,
            max_records,
            duration,
            retries,
            timeout,
            scheduled_time: Some(time_of(due)),
            cancel: false,
        }
    }
}

impl Default for RunTemplate {
    fn default() -> Self {
        Self {
            params: BTreeMap::new(),
            max_records: None,
            duration: None,
            retries: Retries::default(),
            timeout: default_run_timeout(),
        }
    }
}

/// What happens at a due time while a run is active.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConcurrencyPolicy {
    /// Both run.
    Allow,
    /// The due time waits for the end of the run.
    #[default]
    Forbid,
    /// The run is cancelled.
    Replace,
}

/// Which due times to run after several have passed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CatchUp {
    /// The latest runs if it is hardly late.
    None,
    /// The latest runs, however late.
    #[default]
    Latest,
    /// All run, oldest first.
    All,
}

/// State of a source's schedule. What is unknown is absent, never zero.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// Name of the source.
    pub source: String,

    /// Every due time up to this one has its run or counts as missed. It starts when the schedule is first seen, and
    /// prevents a deleted run from being created again.
    pub decided_until: Time,

    /// Latest due time with a run. Absent if there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// The run that was created last. Absent if there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,

    /// Next due time. Absent if there is none, the schedule is paused or the pipeline is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// Number of missed due times since the schedule was first seen.
    pub missed: i64,

    /// Latest missed due time. Absent if there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_time: Option<Time>,

    /// Why it was missed: Late, Superseded, StillRunning, CatchUpLimit or Paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_reason: Option<String>,

    /// Number of runs of this schedule that have not ended.
    pub active: i32,

    /// Whether the schedule is paused.
    pub paused: bool,

    /// What is wrong, or what a due time waits for. Absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Why a due time is missed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum MissedReason {
    /// It passed longer ago than the schedule allows.
    Late,
    /// A later one takes its place.
    Superseded,
    /// A later one came due while a run was under way.
    StillRunning,
    /// There are more than are caught up with.
    CatchUpLimit,
    /// The schedule is paused.
    Paused,
}

impl MissedReason {
    /// Returns the reason as status and events have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "Late",
            Self::Superseded => "Superseded",
            Self::StillRunning => "StillRunning",
            Self::CatchUpLimit => "CatchUpLimit",
            Self::Paused => "Paused",
        }
    }
}

/// The default of most schedulers.
pub fn utc() -> String {
    "UTC".to_owned()
}

/// As many as a person looks through.
pub fn default_max_catch_up() -> i32 {
    10
}

/// As many as fit one screen.
pub fn default_history() -> i32 {
    10
}
