//! What the stations of both roads hand to each other: records on their way to Kafka and records that came from it.

use std::collections::BTreeMap;

use crate::budget::Reservation;

/// Header that names the source of a record.
pub const SOURCE_HEADER: &str = "millrace-source";

/// Header with the moment a record was handed to Kafka, in milliseconds since the Unix epoch.
pub const PRODUCED_AT_HEADER: &str = "millrace-produced-at";

/// A record header as Kafka carries it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Name; the same name may occur more than once.
    pub name: String,
    /// Absent: a null value, which Kafka tells apart from an empty one.
    pub value: Option<Vec<u8>>,
}

impl Header {
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
    /// Index of the query whose topic it is; topics are distinct across queries.
    pub query: usize,
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

/// A record that came from Kafka.
#[derive(Debug)]
pub struct Consumed {
    /// Where it stands.
    pub position: Position,
    /// Absent: no key.
    pub key: Option<Vec<u8>>,
    /// Absent: a null value.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// Its share of the memory bound, given back when the record is dropped.
    pub reservation: Reservation,
}

impl Consumed {
    /// Returns when the record was handed to Kafka, in milliseconds since the Unix epoch, if it says so.
    pub fn produced_at(&self) -> Option<i64> {
        let header = self.headers.iter().find(|header| header.name == PRODUCED_AT_HEADER)?;
        std::str::from_utf8(header.value.as_deref()?).ok()?.parse().ok()
    }
}

/// Bookkeeping of one record beside its bytes: the structs, a future, a ledger entry. Estimated upwards.
const OVERHEAD: u64 = 512;

/// Returns the bytes that a record holds in memory, bookkeeping included.
pub fn size(key: Option<&[u8]>, payload: Option<&[u8]>, headers: &[Header]) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize = headers.iter().map(|header| header.name.len() + length(header.value.as_deref()) + 48).sum();
    (length(key) + length(payload) + headers) as u64 + OVERHEAD
}
