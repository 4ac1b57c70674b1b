//! One record followed: from its run and source through partition and offset to its row.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::messages::Message;
use super::rows::Rows;

/// Which record is followed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Query {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A record's way.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The steps, in order; several queries of one topic have steps of their own.
    pub steps: Vec<Step>,
    /// The record. `null`: it is not in the topic any more, or unknown.
    pub record: Option<Message>,
}

/// A step of a record's way.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What the step is.
    pub kind: StepKind,
    /// Name of the run, source, topic, query or table.
    pub name: String,
    /// What became of the record there.
    pub outcome: Outcome,
    /// When. `null`: unknown.
    #[schemars(with = "Option<Moment>")]
    pub time: Option<DateTime<Utc>>,
    /// Seconds since the step before it that has a time. `null`: unknown.
    pub seconds: Option<f64>,
    /// One sentence.
    pub message: String,
    /// More about it.
    pub facts: Vec<Fact>,
    /// The row, of a step `Row` that found it. `null`: none.
    pub row: Option<Rows>,
}

/// Kinds of steps.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum StepKind {
    /// The run that fetched it.
    Run,
    /// The source that it came from.
    Source,
    /// Its place in the topic.
    Topic,
    /// The query that made a row of it.
    Query,
    /// The row.
    Row,
    /// The dead letter.
    DeadLetter,
}

/// What became of a record at a step.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum Outcome {
    /// It is through.
    Done,
    /// It has not got there yet.
    Waiting,
    /// It is not there, and will not come.
    Missing,
    /// A later record has written over it.
    Superseded,
    /// It was refused.
    Rejected,
    /// Nobody can say.
    Unknown,
}

/// A fact of a step.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Fact {
    /// What.
    pub name: String,
    /// How much, or which.
    pub value: String,
}
