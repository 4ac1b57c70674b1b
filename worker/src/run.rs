//! From settings to running roads: makes the real parts and puts them together.

mod process;
mod produce;

pub use process::{RunProcessor, processor};
pub use produce::{RunProducer, producer};
