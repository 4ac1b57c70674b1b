//! The cursors topic in memory for tests.

use futures::future::BoxFuture;

use super::{Positions, ReadMarks, enter};
use crate::kafka::memory::MemoryBroker;

/// Reads a topic of a broker in memory.
#[derive(Clone, Debug)]
pub struct MemoryCursors {
    broker: MemoryBroker,
    topic: String,
}

impl MemoryCursors {
    /// Makes the reader of a topic.
    pub fn new(broker: &MemoryBroker, topic: &str) -> Self {
        Self { broker: broker.clone(), topic: topic.to_owned() }
    }
}

impl ReadMarks for MemoryCursors {
    fn read(&self, source: &str) -> BoxFuture<'static, Result<Positions, String>> {
        let mut positions = Positions::new();
        for record in self.broker.records(&self.topic) {
            enter(&mut positions, source, record.key.as_deref(), record.payload.as_deref());
        }
        Box::pin(std::future::ready(Ok(positions)))
    }
}
