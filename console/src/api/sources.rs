//! Sources of a pipeline: the form of their runs, and their schedules.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;

/// A source of a pipeline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// What it is: `http`, `generator`, `files`, `kafka` or `push`.
    pub kind: String,
    /// Topic that it fills.
    pub topic: String,
    /// Whether runs of it can be asked for.
    pub runnable: bool,
    /// Why not. `null`: they can.
    pub not_runnable: Option<String>,
    /// Params that a run may be given: the form.
    pub params: Vec<ParamView>,
    /// Its schedule. `null`: it is fetched continuously.
    pub schedule: Option<ScheduleView>,
}

/// A param of a source.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParamView {
    /// Its name.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `timestamp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Value of a run that gives none, as text. `null`: one must be given.
    pub default: Option<String>,
    /// What it is for. `null`: nobody has said.
    pub description: Option<String>,
    /// Least value. `null`: no bound.
    pub minimum: Option<i64>,
    /// Largest value. `null`: no bound.
    pub maximum: Option<i64>,
    /// The only values that there are. Empty: any.
    pub choices: Vec<String>,
    /// Regular expression that the whole text must match. `null`: any.
    pub pattern: Option<String>,
}

/// The schedule of a source.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// Cron expression of five fields. `null`: only on demand.
    pub cron: Option<String>,
    /// Time zone of it.
    pub time_zone: String,
    /// Whether it is paused, as the spec says.
    pub paused: bool,
    /// Forbid, Allow or Replace.
    pub concurrency_policy: String,
    /// None, Latest or All.
    pub catch_up: String,
    /// Next due time. `null`: none, or unknown.
    #[schemars(with = "Option<Moment>")]
    pub next: Option<DateTime<Utc>>,
    /// Latest due time that has a run. `null`: none yet, or unknown.
    #[schemars(with = "Option<Moment>")]
    pub last: Option<DateTime<Utc>>,
    /// That run. `null`: none yet, or unknown.
    pub last_run: Option<String>,
    /// Due times without a run so far. `null`: unknown.
    pub missed: Option<i64>,
    /// The latest of them. `null`: none.
    #[schemars(with = "Option<Moment>")]
    pub last_missed: Option<DateTime<Utc>>,
    /// Why: Late, Superseded, StillRunning, CatchUpLimit or Paused. `null`: none.
    pub last_missed_reason: Option<String>,
    /// Its runs under way. `null`: unknown.
    pub active: Option<i32>,
    /// What is wrong, or what a due time waits for. `null`: nothing.
    pub message: Option<String>,
}
