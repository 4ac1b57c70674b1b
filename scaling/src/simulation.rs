//! A small world in which ways to scale are compared: records come in, processors work them off, second by second.
//!
//! ```text
//! seed      numbers at random that are the same everywhere
//! scenario  what comes in, what processors can do, what goes wrong; named traces
//! world     partitions, processors, a consumer group and a sink, one second at a time
//! ours      our decision in that world
//! keda, numaflow, flink   the formulas that others publish
//! judge     one of them in one scenario: what it cost
//! table     all in all, as the page shows it
//! ```
//!
//! Only +, −, × and ÷ are used, so that every machine prints the same table. What the world leaves out is in
//! docs/scaling.md.

pub mod flink;
pub mod judge;
pub mod keda;
pub mod numaflow;
pub mod ours;
pub mod scenario;
pub mod seed;
pub mod table;
pub mod world;

/// A way to scale: it sees the world each second, at whatever second it likes it answers.
pub trait Policy {
    /// Returns how many processors are wanted from now on. `None`: as many as before.
    fn step(&mut self, seen: &world::Seen) -> Option<u32>;
}
