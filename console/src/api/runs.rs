//! Runs of sources: what there was, and what is asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::actions::Done;

/// The runs of a pipeline, newest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Runs {
    /// The runs.
    pub runs: Vec<Run>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// A run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Name.
    pub name: String,
    /// Source.
    pub source: String,
    /// Pending, Running, Succeeded, Failed or Cancelled. `null`: the operator has not said yet.
    pub phase: Option<String>,
    /// What there is to say: what it waits for, or why it failed. `null`: nothing.
    pub message: Option<String>,
    /// Who asked for it; `schedule` where the operator did. `null`: unknown.
    pub requested_by: Option<String>,
    /// Its backfill. `null`: none.
    pub backfill: Option<String>,
    /// The due time that it stands for. `null`: it was asked for by itself.
    #[schemars(with = "Option<Moment>")]
    pub scheduled: Option<DateTime<Utc>>,
    /// When it was created.
    #[schemars(with = "Moment")]
    pub created: DateTime<Utc>,
    /// When its first attempt began. `null`: none has.
    #[schemars(with = "Option<Moment>")]
    pub started: Option<DateTime<Utc>>,
    /// When it ended. `null`: it has not.
    #[schemars(with = "Option<Moment>")]
    pub ended: Option<DateTime<Utc>>,
    /// When its next attempt begins. `null`: none is planned.
    #[schemars(with = "Option<Moment>")]
    pub next_attempt: Option<DateTime<Utc>>,
    /// Whether somebody wants it to end.
    pub cancelling: bool,
    /// Its params.
    pub params: BTreeMap<String, String>,
    /// It succeeds when so many records are in Kafka. `null`: no such limit.
    pub max_records: Option<i64>,
    /// It goes on for so long. `null`: no such limit.
    pub duration: Option<String>,
    /// Records that the source gave. `null`: unknown.
    pub records_read: Option<i64>,
    /// Records that Kafka has acknowledged. `null`: unknown.
    pub records_produced: Option<i64>,
    /// Records that were refused. `null`: unknown.
    pub records_rejected: Option<i64>,
    /// Bytes that Kafka has acknowledged. `null`: unknown.
    pub bytes: Option<i64>,
    /// Topic of its records. `null`: no attempt has begun.
    pub topic: Option<String>,
    /// Where its records stand.
    pub topic_ranges: Vec<TopicRange>,
    /// Whether `topicRanges` is short of partitions.
    pub topic_ranges_incomplete: bool,
    /// W3C trace id of its records. `null`: no attempt has begun.
    pub trace_id: Option<String>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// Records of a run in a partition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicRange {
    /// Partition.
    pub partition: i32,
    /// Offset of the first.
    pub first_offset: i64,
    /// Offset of the last.
    pub last_offset: i64,
}

/// An attempt of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Number, from 1.
    pub number: i32,
    /// When it began.
    #[schemars(with = "Moment")]
    pub started: DateTime<Utc>,
    /// When it ended. `null`: it is under way.
    #[schemars(with = "Option<Moment>")]
    pub ended: Option<DateTime<Utc>>,
    /// Its pod. `null`: there was none yet.
    pub pod: Option<String>,
    /// Why it failed. `null`: it has not.
    pub error: Option<String>,
    /// Records that the source gave. `null`: unknown.
    pub records_read: Option<i64>,
    /// Records that Kafka has acknowledged. `null`: unknown.
    pub records_produced: Option<i64>,
    /// Records that were refused. `null`: unknown.
    pub records_rejected: Option<i64>,
}

/// A run that is asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// Source.
    pub source: String,
    /// Values of its params, as text.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// It succeeds when so many records are in Kafka. Absent: no such limit.
    #[serde(default)]
    pub max_records: Option<i64>,
    /// It goes on for so long, such as `10m`. Absent: no such limit.
    #[serde(default)]
    pub duration: Option<String>,
    /// Attempts after the first. Absent: 3.
    #[serde(default)]
    pub retry_limit: Option<i32>,
    /// Longest that an attempt may take, such as `1h`. Absent: 1h.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Whether it is only checked, and nothing is created.
    #[serde(default)]
    pub dry_run: bool,
}

/// Runs that are asked for, over a range of time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backfill {
    /// Source.
    pub source: String,
    /// Name: lower-case letters, digits and dashes. Absent: one is made up.
    #[serde(default)]
    pub name: Option<String>,
    /// Begin of the range.
    #[schemars(with = "Moment")]
    pub from: DateTime<Utc>,
    /// End of the range.
    #[schemars(with = "Moment")]
    pub to: DateTime<Utc>,
    /// Length of a step, such as `24h`. Absent: the due times of the source's schedule.
    #[serde(default)]
    pub step: Option<String>,
    /// Param that has the begin of each step. Absent: none; expressions have it as `run.time`.
    #[serde(default)]
    pub from_param: Option<String>,
    /// Param that has the end of each step. Absent: none.
    #[serde(default)]
    pub to_param: Option<String>,
    /// Params that all runs have alike.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Runs under way at once, 1 or more. Absent: 1.
    #[serde(default)]
    pub max_active: Option<u32>,
    /// Whether the runs are only listed, and nothing is created.
    #[serde(default)]
    pub dry_run: bool,
}

/// The runs of a backfill.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillAnswer {
    /// Name of the backfill.
    pub name: String,
    /// Its runs, oldest first.
    pub runs: Vec<BackfillRun>,
    /// What was done. `null`: nothing, it was a dry run.
    pub done: Option<Done>,
}

/// A run of a backfill.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct BackfillRun {
    /// Name.
    pub name: String,
    /// Begin of its step.
    #[schemars(with = "Moment")]
    pub from: DateTime<Utc>,
    /// End of its step.
    #[schemars(with = "Moment")]
    pub to: DateTime<Utc>,
    /// Its params.
    pub params: BTreeMap<String, String>,
    /// Whether it exists already, of an earlier attempt at the same backfill; it is not made again.
    pub exists: bool,
}

/// Whether a source's schedule is paused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paused {
    /// Whether it is.
    pub paused: bool,
}
