//! Health: whether the worker is alive, whether it is ready, and why not, for probes and for the operator.
//!
//! Liveness looks only at the worker's own loops and never at peers, so that a broken store restarts nobody.

pub mod process;
pub mod produce;
pub mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A loop that has not gone round for this long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// A worker's state as the probes see it.
pub trait Health: Send + Sync + 'static {
    /// Returns the answer to `/readyz`.
    fn readiness(&self) -> Readiness;

    /// Returns the loops that must go round.
    fn pulses(&self) -> Vec<(String, Pulse)>;
}

/// The answer to `/readyz`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Readiness {
    /// Whether the worker does its work.
    pub ready: bool,
    /// A stable word for the operator.
    pub reason: &'static str,
    /// A sentence for people. Empty when there is nothing to say.
    pub message: String,
    /// What the worker has in hand.
    #[serde(flatten)]
    pub details: serde_json::Value,
}

/// The heartbeat of one loop; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Default for Pulse {
    #[expect(clippy::disallowed_methods, reason = "a heartbeat is the clock")]
    fn default() -> Self {
        Self { start: Instant::now(), last: Arc::new(AtomicU64::new(0)) }
    }
}

impl Pulse {
    /// Notes that the loop went round.
    #[expect(clippy::disallowed_methods, reason = "a heartbeat is the clock")]
    pub fn beat(&self) {
        self.last.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns whether the loop went round lately.
    #[expect(clippy::disallowed_methods, reason = "a heartbeat is the clock")]
    pub fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) < STUCK
    }
}
