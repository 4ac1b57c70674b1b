//! The form of a dead letter: the record as it was, with its reason and origin in headers. Pure.

use crate::message::{Consumed, Header, Outgoing, PartitionId, Position};
use crate::rejection::Rejection;

use super::settle::Query;

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

/// Header of a redriven record: how often a dead letter of it was redriven.
pub const REDRIVEN: &str = "millrace-redriven";
/// Header of a redriven record: the partition that it was first consumed from.
pub const ORIGIN_PARTITION: &str = "millrace-origin-partition";
/// Header of a redriven record: its first offset there. Its cells are written as if it were consumed there still, so
/// that it never overwrites what came after it.
pub const ORIGIN_OFFSET: &str = "millrace-origin-offset";

/// How much of a value is kept when the dead-letter topic takes less than the topic it came from.
const KEPT: usize = 64 << 10;

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
    ]);
    let (key, payload) = (record.key().map(<[u8]>::to_vec), record.payload().map(<[u8]>::to_vec));
    Outgoing { topic: topic.to_owned(), key, payload, headers }
}

/// Returns the offset at which a record was first consumed: its own, unless it is a redriven dead letter of the same
/// partition. A header that claims a later one is not believed.
pub(super) fn first_offset(record: &Consumed) -> i64 {
    let Position { partition: PartitionId { partition, .. }, offset, .. } = record.position;
    let number = |wanted: &str| {
        let (_, value) = record.headers().filter(|(name, _)| *name == wanted).last()?;
        std::str::from_utf8(value?).ok()?.parse::<i64>().ok()
    };
    match number(ORIGIN_OFFSET) {
        Some(first) if (0..offset).contains(&first) && number(ORIGIN_PARTITION) == Some(partition.into()) => first,
        _ => offset,
    }
}

/// Cuts the value of a letter that was refused for its size; returns what is kept, or nothing if it is cut already.
pub(super) fn cut(letter: &mut Outgoing) -> Option<usize> {
    let payload = letter.payload.as_mut().filter(|payload| payload.len() > KEPT)?;
    letter.headers.push(Header::text(CUT, payload.len().to_string()));
    payload.truncate(KEPT);
    Some(KEPT)
}
