//! Cursors: where a source stands that has a position of its own, kept where it outlives the pod.
//!
//! A source says with each batch where it stands behind it ([`Mark`]). The lane keeps a mark once all records up to it
//! are settled, by a [`KeepMarks`]: the cursors topic of the pipeline's own Kafka, or the consumer group of the cluster
//! that is read. A crash in between repeats records and never skips one. At its start a source reads the marks of the
//! topic by a [`ReadMarks`].

pub mod memory;
mod topic;

use std::collections::BTreeMap;

use futures::future::{BoxFuture, join_all};

use crate::kafka::Publisher;
use crate::message::{Header, Outgoing, SOURCE_HEADER};

pub use topic::CursorsTopic;

/// How far one part of a source, a file or a partition, has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The part; each has one mark, of which the latest counts.
    pub part: String,
    /// The position in it, in the source's own words.
    pub position: String,
}

/// The latest position of each part.
pub type Positions = BTreeMap<String, String>;

/// Keeps marks durably.
pub trait KeepMarks: Send + 'static {
    /// Keeps marks, each of another part; the error says why it is not certain that all are kept.
    fn keep(&mut self, marks: Vec<Mark>) -> BoxFuture<'static, Result<(), String>>;
}

/// Reads what was kept.
pub trait ReadMarks: Send + Sync + 'static {
    /// Returns the positions of all parts of a source; none, if it has never run.
    fn read(&self, source: &str) -> BoxFuture<'static, Result<Positions, String>>;
}

/// For sources without a position: there is nothing to keep.
#[derive(Debug)]
pub struct Nowhere;

impl KeepMarks for Nowhere {
    fn keep(&mut self, _: Vec<Mark>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Keeps the marks of one source in the cursors topic.
#[derive(Debug)]
pub struct TopicKeeper<P> {
    publisher: P,
    topic: String,
    source: String,
}

impl<P: Publisher> TopicKeeper<P> {
    /// Makes the keeper of a source.
    pub fn new(publisher: P, topic: &str, source: &str) -> Self {
        Self { publisher, topic: topic.to_owned(), source: source.to_owned() }
    }
}

impl<P: Publisher> KeepMarks for TopicKeeper<P> {
    fn keep(&mut self, marks: Vec<Mark>) -> BoxFuture<'static, Result<(), String>> {
        let publish = |mark: &Mark| self.publisher.publish(&record(&self.topic, &self.source, mark));
        let receipts: Vec<_> = marks.iter().map(publish).collect();
        Box::pin(async {
            let kept: Result<Vec<_>, _> = join_all(receipts).await.into_iter().collect();
            kept.map(|_| ()).map_err(|error| error.to_string())
        })
    }
}

/// Returns the record of a mark. Its key is `source/part`, unambiguous since no source has a slash in its name: a record
/// stays small however many files there are, and compaction keeps the latest of each.
fn record(topic: &str, source: &str, mark: &Mark) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        key: Some(format!("{source}/{}", mark.part).into_bytes()),
        payload: Some(mark.position.clone().into_bytes()),
        headers: vec![Header::text(SOURCE_HEADER, source)],
    }
}

/// Enters a record of the cursors topic into the positions of a source, if it is one of that source.
pub(crate) fn enter(positions: &mut Positions, source: &str, key: Option<&[u8]>, payload: Option<&[u8]>) {
    let text = |bytes: Option<&[u8]>| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned);
    let Some(key) = text(key) else { return };
    let Some(part) = key.strip_prefix(source).and_then(|rest| rest.strip_prefix('/')) else { return };
    match text(payload) {
        Some(position) => drop(positions.insert(part.to_owned(), position)),
        // A null value: the mark was taken back, by hand.
        None => drop(positions.remove(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_mark_of_each_part_of_the_source_counts() {
        let mark = |part: &str, position: &str| Mark { part: part.to_owned(), position: position.to_owned() };
        let records = [
            record("cursors", "a", &mark("x/y.csv", "1")),
            record("cursors", "a", &mark("z.csv", "7")),
            record("cursors", "a-b", &mark("x/y.csv", "9")),
            record("cursors", "a", &mark("x/y.csv", "2")),
            Outgoing { payload: None, ..record("cursors", "a", &mark("z.csv", "")) },
        ];
        let mut positions = Positions::new();
        for record in &records {
            enter(&mut positions, "a", record.key.as_deref(), record.payload.as_deref());
        }
        assert_eq!(positions, [("x/y.csv".to_owned(), "2".to_owned())].into());
    }
}
