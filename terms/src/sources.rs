//! How a producer's sources are doing, as it tells the operator.

use std::fmt;

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
    /// What it is doing, or why its last fetch failed.
    pub state: SourcePhase,
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
        self.state.is_failing()
    }
}

/// What a source is doing, or why its last fetch failed: by the same word in the producer's answers, the status of the
/// pipeline and the metrics.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum SourcePhase {
    /// Nothing was fetched yet.
    #[default]
    Starting,
    /// It gives records, or takes them.
    Running,
    /// It has given all that there is.
    Exhausted,
    /// It cannot be reached, or asks to come back later.
    Unavailable,
    /// It answers, but not with records.
    BadAnswer,
    /// Its address is one that sources must not reach.
    Forbidden,
    /// Some files cannot be read on.
    BadFile,
}

impl SourcePhase {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Running,
        Self::Exhausted,
        Self::Unavailable,
        Self::BadAnswer,
        Self::Forbidden,
        Self::BadFile,
    ];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Exhausted => "Exhausted",
            Self::Unavailable => "Unavailable",
            Self::BadAnswer => "BadAnswer",
            Self::Forbidden => "Forbidden",
            Self::BadFile => "BadFile",
        }
    }

    /// Returns whether the last fetch failed.
    pub const fn is_failing(self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Exhausted => false,
            Self::Unavailable | Self::BadAnswer | Self::Forbidden | Self::BadFile => true,
        }
    }
}

impl fmt::Display for SourcePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_phase_has_one_word_wherever_it_is_written() {
        for phase in SourcePhase::ALL {
            assert_eq!(json!(phase), phase.as_str());
            assert_eq!(serde_json::from_value::<SourcePhase>(json!(phase.to_string())).ok(), Some(phase));
        }
        // The negative control: another word is none of them.
        assert!(serde_json::from_value::<SourcePhase>(json!("running")).is_err());
    }
}
