//! Dead letters: the records that no query could use.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::messages::Message;

/// How many dead letters are wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct Query {
    /// Most letters of the answer, 1 to 500. Absent: 100.
    pub limit: Option<u32>,
}

/// The newest dead letters.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// The dead-letter topic.
    pub topic: String,
    /// Records that are kept in it: an upper bound. `null`: unknown.
    pub total: Option<i64>,
    /// Letters of the answer by reason, most first.
    pub reasons: Vec<ReasonCount>,
    /// The newest letters, newest first.
    pub letters: Vec<DeadLetter>,
    /// Whether there are more than the answer has.
    pub more: bool,
    /// The commands that redrive them once their cause is mended.
    pub redrive: Vec<String>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// How many of the answer's letters have a reason.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub struct ReasonCount {
    /// Stable name of the reason.
    pub reason: String,
    /// Letters of the answer that have it.
    pub count: u32,
}

/// A dead letter.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Stable name of the reason.
    pub reason: String,
    /// What is wrong, for people. `null`: the letter does not say.
    pub message: Option<String>,
    /// Query that could not use the record. `null`: the letter does not say.
    pub query: Option<String>,
    /// Topic that the record came from. `null`: the letter does not say.
    pub topic: Option<String>,
    /// Its partition there. `null`: the letter does not say.
    pub partition: Option<i32>,
    /// Its offset there. `null`: the letter does not say.
    pub offset: Option<i64>,
    /// When the letter was written. `null`: unknown.
    #[schemars(with = "Option<Moment>")]
    pub timestamp: Option<DateTime<Utc>>,
    /// The offending record, at its place in the dead-letter topic.
    pub record: Message,
}
