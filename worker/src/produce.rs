//! Road one: a source to Kafka.
//!
//! ```text
//! source.next -> map -> encode -> kafka.send -> ack -> cursor moves
//!                 \-> rejected -> dead-letter topic -> ack -> cursor moves
//! ```
//!
//! Each source has its own lane; the lanes share the producer and the memory bound. A record that was mapped is sent
//! until Kafka acknowledges it, however long that takes; while it takes, the lane fetches no more. Beside the bound, a
//! lane holds the text of one answer, twice while the records are looked up in it, which `maxResponse` bounds, and the
//! parts of the one record that is being mapped that expressions look at. A source with a position of its own has it kept behind the contiguous
//! prefix of settled batches (`marks`, [`crate::cursor`]); a polled endpoint has none. What is pushed to the worker is
//! a lane, too, without a source: [`crate::push`].

pub(crate) mod delivery;
mod lane;
pub mod letter;
mod marks;
mod once;

use std::future::Future;
use std::time::Duration;

use snafu::{ResultExt, Snafu, ensure};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::kafka::Publisher;
use crate::source::Source;
pub use lane::{Lane, Shared};
pub use once::{Account, Once};

/// Why the road ended otherwise than by being told to.
#[derive(Debug, Snafu)]
pub enum RunProduce {
    /// Kafka had not acknowledged everything when the time for the drain was up.
    #[snafu(display("{left} records were not acknowledged within {} s", limit.as_secs()))]
    DrainLanes {
        /// How many.
        left: usize,
        /// The time for the drain.
        limit: Duration,
    },
    /// A lane panicked.
    #[snafu(display("a source's lane has failed"))]
    JoinLane {
        /// The panic.
        source: JoinError,
    },
}

/// The lanes of one worker.
pub struct Produce {
    lanes: JoinSet<usize>,
    drain_timeout: Duration,
}

impl Produce {
    /// Makes a road without lanes.
    pub fn new(drain_timeout: Duration) -> Self {
        Self { lanes: JoinSet::new(), drain_timeout }
    }

    /// Adds a lane and starts it.
    pub fn start<S: Source, P: Publisher>(&mut self, lane: Lane<S, P>, stop: CancellationToken) {
        self.lanes.spawn(lane.run(stop, self.drain_timeout).in_current_span());
    }

    /// Adds a lane of another kind: it ends some time after the stop, with the number of records that were accepted and
    /// not acknowledged.
    pub fn add(&mut self, lane: impl Future<Output = usize> + Send + 'static) {
        self.lanes.spawn(lane);
    }

    /// Waits until `stop`, then until all lanes are drained.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunProduce> {
        // A lane ends only after the stop, so a lane that ends early has panicked, and so must the process end.
        self.run_to_end().await?;
        stop.cancelled().await;
        Ok(())
    }

    /// Waits until all lanes have ended: those of a run do so by themselves.
    pub async fn run_to_end(mut self) -> Result<(), RunProduce> {
        let mut left = 0;
        while let Some(joined) = self.lanes.join_next().await {
            left += joined.context(JoinLaneSnafu)?;
        }
        ensure!(left == 0, DrainLanesSnafu { left, limit: self.drain_timeout });
        Ok(())
    }
}
