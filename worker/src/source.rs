//! Sources: where records come from. One trait, five origins: HTTP, the generator, files, another Kafka cluster, and
//! memory for tests. What is pushed to the worker comes in by `push` instead.

pub(crate) mod document;
pub mod files;
pub mod generator;
pub mod guard;
pub mod http;
pub mod kafka;
pub mod limited;
pub mod memory;
mod pace;
mod records;

use std::future::Future;

use millrace_terms::SourcePhase;
use snafu::Snafu;

use crate::cursor::Mark;
pub use document::Document;
pub use records::{Fetched, Read, Records, Unreadable, place};

/// Fetches records, one batch after the other.
pub trait Source: Send + 'static {
    /// Waits until the next batch is due and fetches it.
    ///
    /// After an error the next call waits as long as the source must be left alone. The future is driven to its end
    /// before the next call, never dropped half-way while the road goes on.
    fn next(&mut self) -> impl Future<Output = Result<Batch, FetchRecords>> + Send;
}

/// What one fetch gave.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records in order; may be empty.
    pub records: Records,
    /// Whether there will never be more; the source is not asked again.
    pub exhausted: bool,
    /// Whether more of the same fetch comes at once, such as the next page of an answer.
    pub more: bool,
    /// Where the source stands behind these records; kept once they and all before them are settled. Empty: the source
    /// has no position of its own.
    pub marks: Vec<Mark>,
    /// What a person should know although nothing is wrong. Empty: nothing.
    pub note: String,
}

/// Why a fetch gave nothing.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum FetchRecords {
    /// The endpoint cannot be reached, or asks to come back later: retried with backoff.
    #[snafu(display("{problem}"))]
    AwaitEndpoint {
        /// What happened, with the host but without query or credentials.
        problem: String,
    },
    /// The endpoint answers, but not with records, and will do so until somebody changes something: retried slowly.
    #[snafu(display("{problem}"))]
    AcceptAnswer {
        /// What is wrong and what to do.
        problem: String,
    },
    /// The address is one that sources must not reach.
    #[snafu(display("{problem}"))]
    ReachAddress {
        /// Which address, and what would allow it.
        problem: String,
    },
    /// Some files cannot be read on, and will not until somebody changes something; the others are read.
    #[snafu(display("{problem}"))]
    AcceptFile {
        /// Which file, what is wrong and what to do.
        problem: String,
    },
}

impl FetchRecords {
    /// Returns what the source is doing by it, for the readiness detail and the status of the pipeline.
    pub fn state(&self) -> SourcePhase {
        match self {
            Self::AwaitEndpoint { .. } => SourcePhase::Unavailable,
            Self::AcceptAnswer { .. } => SourcePhase::BadAnswer,
            Self::ReachAddress { .. } => SourcePhase::Forbidden,
            Self::AcceptFile { .. } => SourcePhase::BadFile,
        }
    }

    /// Returns the stable name of the outcome, for the metric's label: the same word.
    pub fn outcome(&self) -> &'static str {
        self.state().as_str()
    }
}
