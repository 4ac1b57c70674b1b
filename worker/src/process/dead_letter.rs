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

/// How much of a value is kept when the dead-letter topic takes less than the topic it came from.
const KEPT: usize = 64 << 10;

/// Makes the dead letter of a record.
pub(super) fn letter(topic: &str, record: &Consumed, query: &Query, rejection: &Rejection) -> Outgoing {
    let Position { partition: PartitionId { partition, .. }, offset, .. } = record.position;
    let mut headers = record.headers.clone();
    headers.extend([
        Header::text(REASON, rejection.reason()),
        Header::text(MESSAGE, rejection.to_string()),
        Header::text(TOPIC, &query.topic),
        Header::text(PARTITION, partition.to_string()),
        Header::text(OFFSET, offset.to_string()),
        Header::text(QUERY, &query.name),
    ]);
    Outgoing { topic: topic.to_owned(), key: record.key.clone(), payload: record.payload.clone(), headers }
}

/// Cuts the value of a letter that was refused for its size; returns what is kept, or nothing if it is cut already.
pub(super) fn cut(letter: &mut Outgoing) -> Option<usize> {
    let payload = letter.payload.as_mut().filter(|payload| payload.len() > KEPT)?;
    letter.headers.push(Header::text(CUT, payload.len().to_string()));
    payload.truncate(KEPT);
    Some(KEPT)
}
