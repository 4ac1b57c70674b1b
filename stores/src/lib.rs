//! The small clients that everything but the workers asks the stores with: by pod address, so that no answer depends on
//! DNS, and without librdkafka (docs/decisions/0002-kafka-from-the-operator.md).
//!
//! Each store is reached by a [`reach::Reach`] and has one file: what it asks, the facts it brings back, and the changes it can make. Facts are plain
//! values; nothing here decides. Where the members of stores are that someone else runs, `discover` finds out, within what
//! `permitted` lists.

mod budget;
pub mod cassandra;
pub mod discover;
pub mod json;
pub mod kafka;
pub mod permitted;
pub mod reach;
pub mod zookeeper;

use std::time::Duration;

/// Longest that one question to a store may take; a store that is slower counts as not answering. Long, since servers on
/// nodes that are short of CPU answer after seconds, and to call them gone would move conditions to and fro.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
