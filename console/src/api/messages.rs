//! Messages of topics: what is looked for, and what was found.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;

/// The topics of a pipeline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Topics {
    /// The topics that the pipeline declares, and its dead-letter topic.
    pub topics: Vec<Topic>,
    /// Why offsets are unknown. `null`: they are not.
    pub unknown: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Partitions as Kafka has them. `null`: unknown.
    pub partitions: Option<i32>,
    /// Records that are kept: the sum of end less start offsets, an upper bound. `null`: unknown.
    pub records: Option<i64>,
    /// Whether it is the dead-letter topic.
    pub dead_letters: bool,
}

/// Which messages are wanted. Everything together must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// Where to begin. Absent: `newest`.
    pub from: Option<From>,
    /// With `from=offset`: the offset.
    pub offset: Option<i64>,
    /// With `from=time`: the first record at or after it, RFC 3339.
    #[schemars(with = "Option<Moment>")]
    pub time: Option<DateTime<Utc>>,
    /// Only this partition.
    pub partition: Option<i32>,
    /// Only records whose key is exactly this text.
    pub key: Option<String>,
    /// Only records whose value contains this text, in any case of letters.
    pub contains: Option<String>,
    /// Only records that have this header: `name`, or `name=value`.
    pub header: Option<String>,
    /// Only records of this run: a short form of `header=millrace-run=<name>`.
    pub run: Option<String>,
    /// Most messages of the answer, 1 to 500. Absent: 50.
    pub limit: Option<u32>,
    /// `cursor` of the answer before, to go on from there; `from`, `offset` and `time` are not looked at.
    pub cursor: Option<String>,
}

/// Which messages of a live tail are wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Filter {
    /// Only this partition.
    pub partition: Option<i32>,
    /// Only records whose key is exactly this text.
    pub key: Option<String>,
    /// Only records whose value contains this text, in any case of letters.
    pub contains: Option<String>,
    /// Only records that have this header: `name`, or `name=value`.
    pub header: Option<String>,
    /// Only records of this run.
    pub run: Option<String>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// The newest, going back.
    #[default]
    Newest,
    /// The oldest, going forward.
    Oldest,
    /// An offset, going forward; wants `offset`.
    Offset,
    /// A time, going forward; wants `time`.
    Time,
}

/// Messages that were found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    /// The messages, in the order that `from` asks for.
    pub messages: Vec<Message>,
    /// Records that were looked at.
    pub scanned: u64,
    /// Whether everything in that direction was looked at; else `cursor` goes on.
    pub complete: bool,
    /// Where to go on. `null`: there is nothing more.
    pub cursor: Option<String>,
    /// Fields whose values are masked in this answer.
    pub masked_fields: Vec<String>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// A message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Its timestamp. `null`: it has none.
    #[schemars(with = "Option<Moment>")]
    pub timestamp: Option<DateTime<Utc>>,
    /// Its key. `null`: it has none.
    pub key: Option<Text>,
    /// Its value, as it is (masked where it must be). `null`: a null value.
    pub value: Option<Text>,
    /// Its value as JSON. `null`: it is not JSON, or it was cut.
    pub json: Option<serde_json::Value>,
    /// Its headers, in order.
    pub headers: Vec<MessageHeader>,
    /// The run that it came from. `null`: none, or unknown.
    pub run: Option<String>,
    /// Bytes of key and value.
    pub bytes: u64,
}

/// A header of a message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct MessageHeader {
    /// Name.
    pub name: String,
    /// Value. `null`: a null value.
    pub value: Option<Text>,
}

/// Bytes for people.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Text {
    /// How `text` stands for the bytes.
    pub encoding: Encoding,
    /// The text.
    pub text: String,
    /// Whether only the beginning is here, for its length.
    pub cut: bool,
    /// Whether anything of it is masked.
    pub masked: bool,
}

/// How a text stands for bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum Encoding {
    /// They are UTF-8.
    Utf8,
    /// They are not: base64.
    Base64,
}

/// What a live tail has found since the last batch.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct TailBatch {
    /// The newest messages, newest first.
    pub messages: Vec<Message>,
    /// Records that came since the last batch but were not looked at, because there were too many.
    pub skipped: u64,
}
