//! How a producer's sources are doing, as it tells the operator.

use serde::{Deserialize, Serialize};

/// Where a producer answers with its [`SourceState`]s, on the port of its metrics.
pub const SOURCES_PATH: &str = "/sources";

/// Largest answer that is read, in bytes: each source takes some hundred, and a few their longest message.
pub const LARGEST_SOURCES: usize = 256 << 10;

/// One source of a producer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceState {
    /// Its name.
    pub name: String,
    /// `Starting`, `Running`, `Exhausted`, or the outcome of the last fetch that failed.
    pub state: String,
    /// What is wrong, or what a person should know. Empty: nothing.
    pub message: String,
    /// Records that Kafka has acknowledged since the producer started.
    pub acknowledged: u64,
    /// Records that could not be read or mapped since then.
    pub rejected: u64,
    /// When the source last gave what was asked of it, in milliseconds since 1970. Absent: not yet.
    pub last_success: Option<i64>,
}

impl SourceState {
    /// Returns whether the last fetch failed.
    pub fn is_failing(&self) -> bool {
        !["Starting", "Running", "Exhausted"].contains(&self.state.as_str())
    }
}
