//! A run of a source: what the operator asks of one attempt, and what the attempt says at its end.
//!
//! The result is JSON in the container's termination message, which Kubernetes cuts at [`LARGEST_RESULT`] bytes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Duration;

/// Longest termination message that Kubernetes keeps, in bytes.
pub const LARGEST_RESULT: usize = 4096;

/// One attempt of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RunSettings {
    /// Name of the IngestionRun, unique in its namespace; in the header of each record.
    pub name: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The due time that the run stands for, or when it was created: an RFC 3339 moment.
    pub time: String,
    /// The attempt ends when the source has given so many records. Absent: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u64>,
    /// The attempt ends after so long. Absent: when the source has been asked once, or is at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// The attempt fails after so long.
    pub timeout: Duration,
    /// W3C trace context of the attempt; in the header `traceparent` of each record.
    pub trace_parent: String,
    /// File that the result is written to.
    pub result: PathBuf,
}

/// Where the pod of an attempt under way answers with its [`RunCounts`], on the port of its metrics.
pub const RUN_COUNTS_PATH: &str = "/run";

/// What an attempt has counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunCounts {
    /// Records that the source gave.
    pub read: u64,
    /// Records that Kafka has acknowledged.
    pub produced: u64,
    /// Records that could not be mapped, or that Kafka refused for good.
    pub rejected: u64,
    /// Bytes of keys and values of the acknowledged records.
    pub bytes: u64,
}

/// What an attempt says at its end.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it did not succeed. Absent: it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it has counted.
    #[serde(flatten)]
    pub counts: RunCounts,
    /// Where the records stand: partition, first and last offset.
    pub ranges: Vec<(i32, i64, i64)>,
    /// Whether partitions are left out of `ranges`, since the message has no room for them.
    #[serde(default)]
    pub ranges_incomplete: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum RunOutcome {
    /// It came to its end, and all records are acknowledged.
    Succeeded,
    /// It may go better the next time.
    #[default]
    Failed,
    /// The settings cannot work, so the next attempt would end in the same way.
    Rejected,
    /// It was told to stop.
    Stopped,
}
