//! What a source says of its runs: the params that they may be given, and when they are made by themselves.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::run::{IngestionRunSpec, Retries, default_run_timeout};
use super::time::time_of;

/// A value that runs of a source may be given; expressions have it as `params.<name>`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Param {
    /// Name, as expressions and runs write it.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::param_name())]
    pub name: String,

    /// Type of the value. Absent: string.
    #[serde(rename = "type", default)]
    pub param_type: ParamType,

    /// The value, as text, of a run that gives none. Absent: every run must give one, and the source cannot be fetched
    /// continuously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub default: Option<String>,

    /// What the value is for, for whoever fills in the form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub description: Option<String>,

    /// Least value of an integer or a number. Absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,

    /// Largest value of an integer or a number. Absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,

    /// The only values that there are, as text. Absent: any.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub choices: Vec<String>,

    /// Regular expression that a string must match as a whole. Absent: any.
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

/// When runs of a source are made. A source with a schedule is not fetched continuously.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.catchUp) || self.catchUp != 'All' || !has(self.concurrencyPolicy) || self.concurrencyPolicy != 'Replace'")
        .message("with Replace each due time would end the run of the one before it; set concurrencyPolicy to Forbid or Allow, or catchUp to Latest")
        .field_path(".catchUp")
)]
pub struct Schedule {
    /// Due times as a cron expression of five fields: minute, hour, day of month, month, day of week. Absent: no run is
    /// made by itself, only when somebody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::cron())]
    pub cron: Option<String>,

    /// IANA time zone that the due times are meant in. Of fixed times, one that clocks skip when they go forward is due
    /// right after, and one that comes twice when they go back is due once; where minute or hour has a star or a step,
    /// the due times are those that the clock shows.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::time_zone())]
    pub time_zone: String,

    /// What happens at a due time while a run of this schedule is under way: Forbid waits for its end, Allow runs both,
    /// Replace cancels the older one.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,

    /// How late a run may start after its due time; one that is later is missed. Absent: 1m with catchUp None, else any
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "8760h"))]
    pub starting_deadline: Option<String>,

    /// What becomes of several due times that passed while no run could start: None and Latest run the latest that is
    /// not too late, All every one of them. The others are missed, which is told.
    #[serde(default)]
    pub catch_up: CatchUp,

    /// Most due times that All catches up with; older ones are missed.
    #[serde(default = "default_max_catch_up")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_catch_up: i32,

    /// Succeeded runs of this schedule that are kept; older ones are deleted.
    #[serde(default = "default_history")]
    #[schemars(range(min = 0, max = 1000))]
    pub successful_runs_history_limit: i32,

    /// Failed and cancelled runs of this schedule that are kept; older ones are deleted.
    #[serde(default = "default_history")]
    #[schemars(range(min = 0, max = 1000))]
    pub failed_runs_history_limit: i32,

    /// Whether due times pass without a run; they count as missed. Runs that somebody asks for are made all the same.
    #[serde(default)]
    pub paused: bool,

    /// What the runs are like.
    #[serde(default)]
    pub run: RunTemplate,
}

/// What the runs of a schedule are like.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::timeout_covers_duration())]
pub struct RunTemplate {
    /// Values of the source's params, as text whatever their type. Absent ones have their default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 16),
        extend("additionalProperties" = {"type": "string", "maxLength": 1024})
    )]
    pub params: BTreeMap<String, String>,

    /// A run succeeds when so many records were read, those included that cannot be mapped. Absent: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_records: Option<i64>,

    /// A run goes on for so long, and then succeeds. Absent: an HTTP endpoint is asked once, a generator goes on to its
    /// count, and files are read to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("1s", "168h"))]
    pub duration: Option<String>,

    /// What follows a failed attempt.
    #[serde(default)]
    pub retries: Retries,

    /// Longest that one attempt may take.
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

/// What happens at a due time while a run is under way.
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

/// What becomes of due times that passed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CatchUp {
    /// The latest is run if it is hardly late.
    None,
    /// The latest is run, however late.
    #[default]
    Latest,
    /// All are run, oldest first.
    All,
}

/// Where the schedule of a source stands. Unknown is absent, never zero.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// Name of the source.
    pub source: String,

    /// Every due time up to this one has its run or is counted as missed; the first one is when the schedule was first
    /// seen. It is what keeps a run that was deleted from being made again.
    pub decided_until: Time,

    /// Latest due time that a run was made for. Absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// The run that was made last. Absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,

    /// Next due time. Absent: there is none, or the schedule is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// Due times that passed without a run since the schedule was first seen.
    pub missed: i64,

    /// Latest due time that was missed. Absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_time: Option<Time>,

    /// Why it was missed: Late, Superseded, StillRunning, CatchUpLimit or Paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_reason: Option<String>,

    /// Runs of this schedule that have not ended.
    pub active: i32,

    /// Whether the schedule is paused.
    pub paused: bool,

    /// What is wrong, or what a due time waits for. Absent: nothing.
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
