//! A source in memory for tests: gives what it was told to give, in order, then is exhausted.

use std::collections::VecDeque;

use super::{Batch, FetchRecords, Source};

/// Scripted batches and errors.
#[derive(Debug, Default)]
pub struct MemorySource {
    script: VecDeque<Result<Batch, FetchRecords>>,
}

impl MemorySource {
    /// Makes a source that plays `script`.
    pub fn new(script: impl IntoIterator<Item = Result<Batch, FetchRecords>>) -> Self {
        Self { script: script.into_iter().collect() }
    }
}

impl Source for MemorySource {
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        self.script.pop_front().unwrap_or(Ok(Batch { exhausted: true, ..Batch::default() }))
    }
}
