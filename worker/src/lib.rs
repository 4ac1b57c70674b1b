//! The data plane: fetches sources into Kafka, and Kafka into Cassandra.
//!
//! ```text
//! produce:  source.next -> map -> encode -> kafka.send -> ack -> cursor moves
//! process:  kafka.next -> decode -> bind -> sink.write -> ledger.done -> commit
//!                                \-> rejected -> dead-letter topic -> ledger.done
//! ```
//!
//! The promise: what Kafka has acknowledged becomes a row or a dead letter, at least once, and a row that is written
//! again is the same row, since key and write timestamp come from the record. Memory is bounded in bytes.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

pub mod attempt;
pub mod backoff;
pub mod budget;
pub mod canary;
pub mod cursor;
pub mod decode;
pub mod health;
pub mod kafka;
pub mod ledger;
pub mod letters;
pub mod mapping;
pub mod message;
pub mod process;
pub mod produce;
pub mod progress;
pub mod push;
pub mod rejection;
pub mod run;
pub mod sabotage;
pub mod settings;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod telemetry;
mod text;
