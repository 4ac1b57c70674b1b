//! Sources: where records come from. One trait, three origins: HTTP, the generator, and memory for tests.

pub mod generator;
pub mod guard;
pub mod http;
pub mod memory;
mod pace;
mod records;

use std::future::Future;

use snafu::Snafu;

pub use records::Records;

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
}

impl FetchRecords {
    /// Returns the stable name of the outcome, for the metric's label and the readiness detail.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::AwaitEndpoint { .. } => "Unavailable",
            Self::AcceptAnswer { .. } => "BadAnswer",
            Self::ReachAddress { .. } => "Forbidden",
        }
    }
}
