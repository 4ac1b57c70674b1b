//! What the stations of both roads hand to each other: records on their way to Kafka and records that came from it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::budget::{Budget, Reservation};

/// Header that names the source of a record.
pub const SOURCE_HEADER: &str = "millrace-source";

/// Header with the moment a record was handed to Kafka, in milliseconds since the Unix epoch.
pub const PRODUCED_AT_HEADER: &str = "millrace-produced-at";

/// Header with the name of the IngestionRun that fetched a record. Absent: it was fetched continuously, or pushed.
pub const RUN_HEADER: &str = "millrace-run";

/// Header with the W3C trace context of the run that fetched a record.
pub const TRACE_PARENT_HEADER: &str = "traceparent";

/// Header with the file that a record stood in, relative to its volume.
pub const FILE_HEADER: &str = "millrace-file";

/// Header with the byte at which a record began in its file.
pub const FILE_OFFSET_HEADER: &str = "millrace-file-offset";

/// Header with the topic of the other Kafka cluster that a record was read from.
pub const ORIGIN_TOPIC_HEADER: &str = "millrace-origin-topic";

/// Header with the partition that a record was read from.
pub const ORIGIN_PARTITION_HEADER: &str = "millrace-origin-partition";

/// Header with the offset that a record had there.
pub const ORIGIN_OFFSET_HEADER: &str = "millrace-origin-offset";

/// Header of a dead letter with the key that a record without a value had there.
pub const ORIGIN_KEY_HEADER: &str = "millrace-origin-key";

/// A record header as Kafka carries it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Name; the same name may occur more than once.
    pub name: String,
    /// Absent: a null value, which Kafka tells apart from an empty one.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// Copies a header.
    pub fn of(name: &str, value: Option<&[u8]>) -> Self {
        Self { name: name.to_owned(), value: value.map(<[u8]>::to_vec) }
    }

    /// Makes a header with a text value.
    pub fn text(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: Some(value.into().into_bytes()) }
    }
}

/// A record on its way to Kafka.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outgoing {
    /// Topic that receives it.
    pub topic: String,
    /// Absent: no key, any partition.
    pub key: Option<Vec<u8>>,
    /// Absent: a null value.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<Header>,
}

impl Outgoing {
    /// Returns the bytes that the record holds in memory until it is acknowledged, bookkeeping included: once here,
    /// to be sent again, and once in the producer's queue.
    pub fn size(&self) -> u64 {
        2 * size(self.key.as_deref(), self.payload.as_deref(), &self.headers)
    }
}

/// A partition of one of the consumed topics.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartitionId {
    /// Index of the topic among those that the queries read.
    pub topic: usize,
    /// Partition number.
    pub partition: i32,
}

/// One assignment of partitions to this worker; a partition that comes back comes with a later epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// Where a consumed record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// Its partition.
    pub partition: PartitionId,
    /// The assignment that it was consumed under.
    pub epoch: Epoch,
    /// Its offset.
    pub offset: i64,
}

/// Next offsets to consume, by partition: what a commit says.
pub type Offsets = BTreeMap<PartitionId, i64>;

/// A record that came from Kafka. Its bytes lie in a buffer that it shares with those that came with it.
#[derive(Clone, Debug)]
pub struct Consumed {
    /// Where it stands.
    pub position: Position,
    chunk: Arc<Chunk>,
    index: usize,
}

impl Consumed {
    /// Returns the key. Absent: no key.
    pub fn key(&self) -> Option<&[u8]> {
        self.chunk.bytes_at(&self.spans().key)
    }

    /// Returns the value. Absent: a null value.
    pub fn payload(&self) -> Option<&[u8]> {
        self.chunk.bytes_at(&self.spans().payload)
    }

    /// Returns the headers in order, each with its name and its value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let chunk = &self.chunk;
        let headers = &chunk.headers[self.spans().headers.clone()];
        headers.iter().map(|header| (chunk.names[header.name.clone()].as_ref(), chunk.bytes_at(&header.value)))
    }

    /// Returns when the record was handed to Kafka, in milliseconds since the Unix epoch, if it says so.
    pub fn produced_at(&self) -> Option<i64> {
        let (_, value) = self.headers().find(|(name, _)| *name == PRODUCED_AT_HEADER)?;
        std::str::from_utf8(value?).ok()?.parse().ok()
    }

    fn spans(&self) -> &RecordSpans {
        &self.chunk.records[self.index]
    }
}

/// Records that came in one hand-over. Their share of the memory bound is given back when the last of them is settled.
#[derive(Debug)]
struct Chunk {
    /// Keys, values and header values of all records.
    bytes: Vec<u8>,
    /// Header names of all records.
    names: String,
    records: Vec<RecordSpans>,
    headers: Vec<HeaderSpans>,
    reservation: Reservation,
}

/// Where the parts of one record lie in its chunk; absent: the record has no such part.
#[derive(Debug)]
struct RecordSpans {
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    headers: Range<usize>,
}

#[derive(Debug)]
struct HeaderSpans {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

impl Chunk {
    fn bytes_at(&self, span: &Option<Range<usize>>) -> Option<&[u8]> {
        span.clone().map(|span| &self.bytes[span])
    }
}

/// Collects the records of one hand-over, and takes their bytes from the budget.
#[derive(Debug)]
pub struct Collector {
    chunk: Chunk,
    positions: Vec<Position>,
}

impl Collector {
    /// Makes an empty one with room for so many bytes of records.
    pub fn new(budget: &Budget, capacity: usize) -> Self {
        let chunk = Chunk {
            bytes: Vec::with_capacity(capacity),
            names: String::new(),
            records: Vec::new(),
            headers: Vec::new(),
            reservation: budget.take(0),
        };
        Self { chunk, positions: Vec::new() }
    }

    /// Copies a record.
    pub fn push<'record>(
        &mut self,
        position: Position,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: impl Iterator<Item = (&'record str, Option<&'record [u8]>)>,
    ) {
        let chunk = &mut self.chunk;
        let (before, first) = (chunk.bytes.len() + chunk.names.len(), chunk.headers.len());
        let key = append(&mut chunk.bytes, key);
        let payload = append(&mut chunk.bytes, payload);
        for (name, value) in headers {
            let start = chunk.names.len();
            chunk.names.push_str(name);
            let value = append(&mut chunk.bytes, value);
            chunk.headers.push(HeaderSpans { name: start..chunk.names.len(), value });
        }
        chunk.records.push(RecordSpans { key, payload, headers: first..chunk.headers.len() });
        let added = chunk.bytes.len() + chunk.names.len() - before;
        chunk.reservation.grow(added as u64 + OVERHEAD);
        self.positions.push(position);
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Returns whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Returns how many bytes the records have.
    pub fn bytes(&self) -> usize {
        self.chunk.bytes.len()
    }

    /// Returns the records in order.
    pub fn finish(self) -> Vec<Consumed> {
        let chunk = Arc::new(self.chunk);
        let record = |(index, position)| Consumed { position, chunk: Arc::clone(&chunk), index };
        self.positions.into_iter().enumerate().map(record).collect()
    }
}

fn append(bytes: &mut Vec<u8>, part: Option<&[u8]>) -> Option<Range<usize>> {
    let start = bytes.len();
    bytes.extend_from_slice(part?);
    Some(start..bytes.len())
}

/// Bookkeeping of one record beside its bytes: the structs, a future, a ledger entry. Estimated upwards.
const OVERHEAD: u64 = 512;

/// Returns the bytes that a record holds in memory, bookkeeping included.
pub fn size(key: Option<&[u8]>, payload: Option<&[u8]>, headers: &[Header]) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize = headers.iter().map(|header| header.name.len() + length(header.value.as_deref()) + 48).sum();
    (length(key) + length(payload) + headers) as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_gives_every_record_its_own_parts_and_the_budget_its_bytes_back_last() {
        let budget = Budget::new(1 << 20);
        let position = |offset| Position { partition: PartitionId { topic: 0, partition: 3 }, epoch: Epoch(1), offset };
        let mut collector = Collector::new(&budget, 0);
        let headers = [("a", Some(b"1".as_slice())), (PRODUCED_AT_HEADER, Some(b"1700".as_slice())), ("a", None)];
        collector.push(position(7), Some(b"key"), Some(b"value"), headers.into_iter());
        collector.push(position(8), None, None, std::iter::empty());
        collector.push(position(9), Some(b""), Some(b""), std::iter::empty());
        assert_eq!((collector.len(), collector.bytes()), (3, 13));
        let mut records = collector.finish();
        assert_eq!(budget.used(), 13 + 22 + 3 * OVERHEAD);

        assert_eq!((records[0].key(), records[0].payload()), (Some(b"key".as_slice()), Some(b"value".as_slice())));
        assert_eq!(records[0].headers().collect::<Vec<_>>(), headers);
        assert_eq!(records[0].produced_at(), Some(1700));
        assert_eq!((records[1].key(), records[1].payload(), records[1].headers().count()), (None, None, 0));
        assert_eq!((records[2].key(), records[2].payload()), (Some(b"".as_slice()), Some(b"".as_slice())));
        assert_eq!(records[2].position, position(9));

        records.truncate(1);
        assert!(budget.used() > 0, "the last record holds the chunk");
        records.clear();
        assert_eq!(budget.used(), 0);
    }
}
