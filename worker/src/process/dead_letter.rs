//! The form of a dead letter: the record as it was, with its reason and origin in headers. Pure.

use crate::message::{Consumed, Header, Outgoing, PartitionId, Position};
use crate::rejection::Rejection;

use super::query::Query;

/// Stable name of the reason.
pub const REASON: &str = "millrace-dead-letter-reason";
/// What is wrong, for people.
pub const MESSAGE: &str = "millrace-dead-letter-message";
/// Topic that the record was consumed from.
pub const TOPIC: &str = "millrace-dead-letter-topic";
/// Partition that the record was consumed from.
pub const PARTITION: &str = "millrace-dead-letter-partition";
/// Offset of the record there.
pub const OFFSET: &str = "millrace-dead-letter-offset";
/// Query that could not use the record.
pub const QUERY: &str = "millrace-dead-letter-query";
/// Original length of the value, where only its beginning is kept.
pub const CUT: &str = "millrace-dead-letter-cut-from";

/// Timestamp that its cells would have had, in microseconds.
pub const WRITE_TIMESTAMP: &str = "millrace-dead-letter-write-timestamp";
/// Header of a redriven record: how often a dead letter of it was redriven.
pub const REDRIVEN: &str = "millrace-redriven";
/// Header of a redriven record: the timestamp of its cells in microseconds, as if it had never failed, so that it
/// overwrites nothing that came after it.
pub const FIRST_TIMESTAMP: &str = "millrace-first-timestamp";

/// How much of a value is kept: of a source's record always, of another when the dead-letter topic takes less than the topic
/// it came from.
pub(crate) const KEPT: usize = 64 << 10;

/// Makes the dead letter of a record.
pub(super) fn letter(topic: &str, record: &Consumed, query: &Query, rejection: &Rejection) -> Outgoing {
    let Position { partition: PartitionId { partition, .. }, offset, .. } = record.position;
    let owned =
        |(name, value): (&str, Option<&[u8]>)| Header { name: name.to_owned(), value: value.map(<[u8]>::to_vec) };
    let mut headers: Vec<Header> = record.headers().map(owned).collect();
    headers.extend([
        Header::text(REASON, rejection.reason()),
        Header::text(MESSAGE, rejection.to_string()),
        Header::text(TOPIC, &query.topic),
        Header::text(PARTITION, partition.to_string()),
        Header::text(OFFSET, offset.to_string()),
        Header::text(QUERY, &query.name),
        Header::text(WRITE_TIMESTAMP, write_timestamp(record, query).to_string()),
    ]);
    let (key, payload) = (record.key().map(<[u8]>::to_vec), record.payload().map(<[u8]>::to_vec));
    Outgoing { topic: topic.to_owned(), key, payload, headers }
}

/// Returns the timestamp of a record's cells: base + offset, or that of its first place if it was redriven. A header
/// that claims a later one than its place gives is not believed.
pub(super) fn write_timestamp(record: &Consumed, query: &Query) -> i64 {
    let own = query.write_timestamp_base + record.position.offset;
    let header = record.headers().filter(|(name, _)| *name == FIRST_TIMESTAMP).last();
    let first = header.and_then(|(_, value)| std::str::from_utf8(value?).ok()?.parse().ok());
    first.unwrap_or(own).min(own)
}

/// Cuts the value of a letter that was refused for its size; returns what is kept, or nothing if it is cut already.
pub(super) fn cut(letter: &mut Outgoing) -> Option<usize> {
    let payload = letter.payload.as_mut().filter(|payload| payload.len() > KEPT)?;
    letter.headers.push(Header::text(CUT, payload.len().to_string()));
    payload.truncate(KEPT);
    Some(KEPT)
}
