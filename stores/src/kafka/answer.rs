//! The bytes of a broker's answer, read with distrust: no length in them is larger than what is left.
//!
//! The codec makes room for as many entries as an array announces, before it reads the first: twenty bytes that announce
//! four thousand million of them would end the process. All versions that are asked for (`version` in `kafka.rs`) write
//! every length as an unsigned varint, which the codec reads byte by byte; here the last byte of one that cannot be true
//! is refused.

use std::ops::Range;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::buf::ByteBuf;

/// Bits of the longest varint.
const LONGEST: u32 = 35;

/// An answer that is being decoded.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Bytes,
    /// The varint that is being read, and how many bits of it were. A boolean is read the same way; one with the highest
    /// bit set, which nobody writes, counts to the varint behind it and makes it look larger, never smaller.
    varint: u64,
    bits: u32,
}

impl Answer {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, varint: 0, bits: 0 }
    }
}

impl Buf for Answer {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        let available = self.bytes.remaining();
        self.varint |= u64::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        if byte & 0x80 != 0 {
            // Nobody writes a sixth byte, and the codec would take the fifth for the last.
            return if self.bits < LONGEST { Ok(byte) } else { Err(TryGetError { requested: usize::MAX, available }) };
        }
        let announced = usize::try_from(self.varint).unwrap_or(usize::MAX);
        (self.varint, self.bits) = (0, 0);
        // Lengths are written one too high, since 0 stands for none.
        if announced > available + 1 {
            return Err(TryGetError { requested: announced, available });
        }
        Ok(byte)
    }
}

impl ByteBuf for Answer {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
    use kafka_protocol::messages::{FetchResponse, ListOffsetsResponse, MetadataResponse};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    use super::super::{topic_name, version};
    use super::*;

    fn written<R: Encodable>(response: &R, version: i16) -> Bytes {
        let mut bytes = BytesMut::new();
        response.encode(&mut bytes, version).expect("it encodes");
        bytes.freeze()
    }

    fn metadata() -> MetadataResponse {
        let broker =
            MetadataResponseBroker::default().with_host(StrBytes::from_static_str("a.example")).with_port(9092);
        MetadataResponse::default().with_brokers(vec![broker; 3]).with_topics(vec![
            MetadataResponseTopic::default()
                .with_name(Some(topic_name("a")));
            200
        ])
    }

    #[test]
    fn true_answers_are_read_as_ever() {
        let metadata = metadata();
        let read = MetadataResponse::decode(&mut Answer::new(written(&metadata, version::METADATA)), version::METADATA);
        assert_eq!(read.expect("it decodes"), metadata);
        let partition = ListOffsetsPartitionResponse::default().with_offset(i64::MAX);
        let topic = ListOffsetsTopicResponse::default().with_name(topic_name("a")).with_partitions(vec![partition]);
        let offsets = ListOffsetsResponse::default().with_topics(vec![topic]);
        let bytes = written(&offsets, version::LIST_OFFSETS);
        assert_eq!(
            ListOffsetsResponse::decode(&mut Answer::new(bytes), version::LIST_OFFSETS).expect("it decodes"),
            offsets
        );
        let data = PartitionData::default().with_records(Some(Bytes::from(vec![0xff; 300])));
        let topic = FetchableTopicResponse::default().with_topic(topic_name("a")).with_partitions(vec![data]);
        let fetched = FetchResponse::default().with_responses(vec![topic]);
        let bytes = written(&fetched, version::FETCH);
        assert_eq!(FetchResponse::decode(&mut Answer::new(bytes), version::FETCH).expect("it decodes"), fetched);
    }

    #[test]
    fn an_array_that_cannot_be_there_is_refused_unread() {
        // Four bytes of throttle time, then 2³² - 1 brokers.
        let bytes = Bytes::from_static(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
        let error = MetadataResponse::decode(&mut Answer::new(bytes), version::METADATA).expect_err("it is no answer");
        assert!(format!("{error:#}").contains("4294967295"), "{error:#}");
    }

    /// Negative control of the varint's bounds: a boolean that looks like the first byte of what is behind it.
    #[test]
    fn a_length_does_not_hide_behind_a_boolean() {
        let mut answer = Answer::new(Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x0f, 0, 0]));
        assert!((0..6).any(|_| answer.try_get_u8().is_err()));
        let mut answer = Answer::new(Bytes::from_static(&[1, 0x83, 0x00, 0, 0, 0]));
        assert!((0..3).all(|_| answer.try_get_u8().is_ok()), "true, then a length of 2");
    }

    /// Every byte of a true answer in turn becomes the beginning of a large number: nothing panics or allocates by it.
    #[test]
    fn no_place_of_an_answer_allocates_by_what_it_announces() {
        let whole = written(&metadata(), version::METADATA);
        for place in 0..whole.len().min(400) {
            let mut broken = whole.to_vec();
            broken.splice(place..=place, [0xff, 0xff, 0xff, 0xff, 0x0f]);
            let _ = MetadataResponse::decode(&mut Answer::new(broken.into()), version::METADATA);
        }
    }
}
