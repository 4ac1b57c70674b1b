//! Dead letters: the records that no query could use, and what is sent back of them.

use std::collections::BTreeMap;

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

/// Which letters' records are sent back to the topics they came from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redrive {
    /// Stable name of their reason. Absent: those of all reasons.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether it begins at the oldest once more, those that were redriven already and failed again included.
    #[serde(default)]
    pub again: bool,
    /// Whether they are only counted, and nothing is sent.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a redrive did, or would do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct RedriveAnswer {
    /// One sentence.
    pub message: String,
    /// What became of the letters. `null`: unknown, it has not ended in time and goes on in its pod.
    pub redriven: Option<Redriven>,
    /// The command that does the same.
    pub kubectl: String,
}

/// What became of the letters of a redrive, as the worker counts them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Redriven {
    /// Records that Kafka has acknowledged, or that a dry run would send, by the reason of their letters.
    pub sent: BTreeMap<String, u64>,
    /// Letters that were left, by why.
    pub kept: BTreeMap<String, u64>,
}
