//! How many processors a pipeline wants, and how many producers that are pushed to: a pure decision, and the simulator that
//! judges it.
//!
//! ```text
//! settings     what a user may say about scaling
//! observation  what is known about partitions and processors at one moment, and the last minutes of it
//! memory       what a decision needs of earlier ones; small, it stands in the status
//! estimate     what a processor can do, what comes in, what waits, whether the sink is the limit
//! partitions   how many processors share a number of partitions without an odd one, and whether they suffice
//! decide       all of that in, a number of processors and a reason out
//! reason       the reasons, each one sentence with its figures
//! paper        what a pipeline of any size needs, from measured costs
//! simulation   a small world, played traces, published formulas of others, and the table that compares
//! ```
//!
//! Each imports from those above it. No clock, no network, no Kubernetes: the caller gives the time. The operator
//! observes, remembers and carries out (`operator/src/workers/scaling.rs`).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

mod decide;
mod estimate;
mod memory;
mod observation;
pub mod paper;
mod partitions;
mod reason;
mod settings;
pub mod simulation;

pub use decide::{Decision, Situation, decide};
pub use memory::{Change, Memory, Peak};
pub use observation::{Busy, History, Moment, Observation, Partition, RestartCost, Underway, Worker};
pub use partitions::aligned;
pub use reason::{Hold, Limit, Reason, SinkEvidence};
pub use settings::Settings;
