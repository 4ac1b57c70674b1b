//! Reads records from offsets on, many partitions at once: every leader is asked at the same time for all that it leads.
//!
//! Bounded in bytes, packed and unpacked. Control records are passed over, as are the remains of compacted batches: the
//! offset to ask for next always moves on. Records of transactions that are open or were aborted are read, too, unless only
//! what is committed is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest};
use kafka_protocol::records::{self, RecordBatchDecoder};
use snafu::OptionExt;

use super::batch::{Announced, walk};
use super::compression::unpacked;
use super::connection::{AskBroker, Connection};
use super::offsets::EARLIEST;
use super::{AskKafka, FindPodSnafu, Kafka, refused_by, topic_name, version};

/// Length of what stands before a batch's records.
const BATCH_HEADER: usize = 61;
/// Length of the fields that the length field of a batch does not count.
const BATCH_PREFIX: usize = 12;

/// Which records are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Isolation {
    /// All that there are.
    Uncommitted = 0,
    /// Those that a consumer gets which reads what is committed alone, as ours does.
    Committed = 1,
}

/// How much one question may bring, and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of all records together, keys and values; the batch that crosses it is still read whole.
    pub bytes: usize,
    /// How long a broker waits where there is nothing yet.
    pub wait: Duration,
}

/// A record as it stands in a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Partition.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// Its time in milliseconds since 1970: when it was sent, or when it was appended, as the topic says; `None`: it has
    /// none.
    pub time: Option<i64>,
    /// Key; `None`: it has none.
    pub key: Option<Bytes>,
    /// Value; `None`: a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order; a header may be without a value.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    /// Returns the bytes of key and value.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// What a partition gave.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fetched {
    /// Records in order.
    pub records: Vec<Record>,
    /// The offset to ask for next. Past a gap where retention has removed what was asked for.
    pub next: i64,
}

impl Kafka {
    /// Reads what partitions of a topic hold from offsets on; those without a leader are left out.
    pub async fn fetch(
        &mut self,
        topic: &str,
        positions: &BTreeMap<i32, i64>,
        bounds: &Bounds,
    ) -> Result<BTreeMap<i32, Fetched>, AskKafka> {
        self.fetch_as(topic, positions, bounds, Isolation::Uncommitted).await
    }

    pub(super) async fn fetch_as(
        &mut self,
        topic: &str,
        positions: &BTreeMap<i32, i64>,
        bounds: &Bounds,
        isolation: Isolation,
    ) -> Result<BTreeMap<i32, Fetched>, AskKafka> {
        if positions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let leaders = self.leaders(topic).await?;
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (index, offset) in positions {
            if let Some(leader) = leaders.get(index).copied().flatten() {
                by_leader.entry(leader).or_default().push((*index, *offset));
            }
        }
        let mut asked = Vec::new();
        for (broker, wanted) in by_leader {
            let address = *self.brokers.get(&broker).context(FindPodSnafu { broker })?;
            let open = self.connections.remove(&broker);
            let request = request_of(topic, &wanted, positions.len(), bounds).with_isolation_level(isolation as i8);
            asked.push(async move {
                let mut connection = match open {
                    Some(connection) => connection,
                    None => Connection::open(address).await?,
                };
                let answer = connection.ask(&request, version::FETCH).await?;
                Ok::<_, AskBroker>((broker, connection, answer))
            });
        }
        let mut fetched = BTreeMap::new();
        let mut lost = BTreeMap::new();
        for answer in join_all(asked).await {
            let (broker, connection, answer) = answer?;
            self.connections.insert(broker, connection);
            refused_by(answer.error_code, None, || format!("to return records of topic '{topic}'"))?;
            for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
                let Some(offset) = positions.get(&data.partition_index) else {
                    continue;
                };
                if data.error_code == ResponseError::OffsetOutOfRange.code() {
                    lost.insert(data.partition_index, broker);
                    continue;
                }
                let what = || format!("to return records of {topic}-{}", data.partition_index);
                refused_by(data.error_code, None, what)?;
                fetched.insert(data.partition_index, decoded(data, *offset, bounds.bytes)?);
            }
        }
        for (index, start) in self.list_offsets(topic, &lost, EARLIEST).await? {
            fetched.insert(index, Fetched { records: Vec::new(), next: start });
        }
        Ok(fetched)
    }
}

fn request_of(topic: &str, wanted: &[(i32, i64)], partitions: usize, bounds: &Bounds) -> FetchRequest {
    let bytes = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX).max(1);
    let share = bytes(bounds.bytes / partitions.max(1));
    let wanted = wanted
        .iter()
        .map(|(index, offset)| {
            FetchPartition::default().with_partition(*index).with_fetch_offset(*offset).with_partition_max_bytes(share)
        })
        .collect();
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(bounds.wait.as_millis().try_into().unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(bytes(bounds.bytes))
        .with_topics(vec![FetchTopic::default().with_topic(topic_name(topic)).with_partitions(wanted)])
}

/// Decodes whole batches until `bytes` are exceeded; an answer may end in the middle of one.
pub(super) fn decoded(data: PartitionData, offset: i64, bytes: usize) -> Result<Fetched, AskKafka> {
    let partition = data.partition_index;
    let mut aborted = Aborted::new(data.aborted_transactions.unwrap_or_default());
    let mut batches = data.records.unwrap_or_default();
    let mut fetched = Fetched { records: Vec::new(), next: offset };
    let mut size = 0;
    while let Some((mut batch, behind)) = next_batch(&mut batches) {
        let announced = Announced::by(&batch).unwrap_or_default();
        let unpack = |packed: &mut Bytes, compression| {
            let plain = unpacked(packed, compression)?;
            walk(&plain, announced)?;
            Ok(plain)
        };
        let set = RecordBatchDecoder::decode_with_custom_compression(&mut batch, Some(unpack)).map_err(|error| {
            AskKafka::Decode { place: format!("{partition}:{}", fetched.next), reason: format!("{error:#}") }
        })?;
        // A batch may begin before the offset that was asked for.
        let wanted = set.records.into_iter().filter(|record| {
            let passed_over = aborted.has(record) || record.control;
            record.offset >= offset && !passed_over
        });
        for record in wanted {
            let record = record_of(partition, record);
            size += record.size();
            fetched.records.push(record);
        }
        fetched.next = fetched.next.max(behind);
        if size > bytes {
            break;
        }
    }
    Ok(fetched)
}

/// The aborted transactions that an answer names: none, unless only what is committed was asked for.
struct Aborted {
    /// First offset and producer of those that have not been reached, the first of them last.
    ahead: Vec<(i64, i64)>,
    /// Producers of those that have been reached and have not ended.
    begun: BTreeSet<i64>,
}

impl Aborted {
    fn new(transactions: Vec<AbortedTransaction>) -> Self {
        let mut ahead: Vec<(i64, i64)> =
            transactions.iter().map(|aborted| (aborted.first_offset, aborted.producer_id.0)).collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        Self { ahead, begun: BTreeSet::new() }
    }

    /// Returns whether a record is of an aborted transaction; all are to be shown, in order.
    fn has(&mut self, record: &records::Record) -> bool {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= record.offset) {
            self.begun.insert(producer);
        }
        match record.control {
            // A producer has one transaction at a time, so this is the end of it.
            true => self.begun.remove(&record.producer_id),
            false => record.transactional && self.begun.contains(&record.producer_id),
        }
    }
}

/// Cuts the next whole batch off; returns it with the offset behind its last record.
fn next_batch(batches: &mut Bytes) -> Option<(Bytes, i64)> {
    let header = batches.get(..BATCH_HEADER)?;
    let base = i64::from_be_bytes(header[..8].try_into().ok()?);
    let length = i32::from_be_bytes(header[8..12].try_into().ok()?);
    let last = i32::from_be_bytes(header[23..27].try_into().ok()?);
    let whole = BATCH_PREFIX + usize::try_from(length).ok()?;
    let behind = base.saturating_add(i64::from(last)).saturating_add(1);
    (batches.remaining() >= whole).then(|| (batches.split_to(whole), behind))
}

fn record_of(partition: i32, record: kafka_protocol::records::Record) -> Record {
    Record {
        partition,
        offset: record.offset,
        time: Some(record.timestamp).filter(|time| *time >= 0),
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::StrBytes;
    use kafka_protocol::records::{Compression, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

    use super::*;

    pub(crate) fn batch(first: i64, values: &[&'static str], control: bool) -> Bytes {
        batch_of(None, first, values, control)
    }

    /// Returns a batch of a producer's transaction; `None`: of none.
    fn batch_of(producer: Option<i64>, first: i64, values: &[&'static str], control: bool) -> Bytes {
        let records: Vec<records::Record> = (first..)
            .zip(values)
            .map(|(offset, value)| records::Record {
                transactional: producer.is_some(),
                control,
                delete_horizon: false,
                partition_leader_epoch: records::NO_PARTITION_LEADER_EPOCH,
                producer_id: producer.unwrap_or(records::NO_PRODUCER_ID),
                producer_epoch: records::NO_PRODUCER_EPOCH,
                timestamp_type: TimestampType::Creation,
                offset,
                // Counted up from "none", or the encoder would begin a batch with each record.
                sequence: records::NO_SEQUENCE.wrapping_add((offset - first) as i32),
                timestamp: 1_000 + offset,
                key: None,
                value: Some(Bytes::from_static(value.as_bytes())),
                headers: [(StrBytes::from_static_str("h"), Some(Bytes::from_static(b"1")))].into_iter().collect(),
            })
            .collect();
        let mut batch = BytesMut::new();
        let plain = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut batch, &records, &plain).expect("it encodes");
        batch.freeze()
    }

    fn read(batches: &[Bytes], offset: i64, bytes: usize) -> (Vec<(i64, Bytes)>, i64) {
        let data = PartitionData::default().with_partition_index(3).with_records(Some(batches.concat().into()));
        let fetched = decoded(data, offset, bytes).expect("it decodes");
        let records = fetched.records.into_iter().map(|record| (record.offset, record.value.unwrap_or_default()));
        (records.collect(), fetched.next)
    }

    #[test]
    fn reads_from_the_middle_of_a_batch_and_passes_over_half_of_one() {
        let (first, second) = (batch(10, &["a", "b", "c"], false), batch(13, &["d"], false));
        let half = second.slice(..second.len() - 1);
        let (records, next) = read(&[first, half], 11, 1_000);
        assert_eq!(records, [(11, Bytes::from("b")), (12, Bytes::from("c"))]);
        assert_eq!(next, 13);
    }

    #[test]
    fn moves_past_control_records_and_stops_when_it_has_enough() {
        let batches = [batch(10, &["marker"], true), batch(11, &["abc"], false), batch(12, &["d"], false)];
        assert_eq!(read(&batches[..1], 10, 1_000), (Vec::new(), 11));
        assert_eq!(read(&batches, 10, 2), (vec![(11, Bytes::from("abc"))], 12));
    }

    #[test]
    fn passes_over_aborted_transactions_where_only_what_is_committed_is_asked_for() {
        let batches = [
            batch_of(Some(7), 10, &["a", "b"], false),
            batch(12, &["c"], false),
            batch_of(Some(8), 13, &["d"], false),
            batch_of(Some(7), 14, &["marker"], true),
            batch_of(Some(7), 15, &["e"], false),
            batch_of(Some(8), 16, &["marker"], true),
            batch_of(Some(7), 17, &["marker"], true),
        ];
        let read = |aborted: Option<Vec<AbortedTransaction>>, offset| {
            let data = PartitionData::default().with_records(Some(batches.concat().into()));
            let fetched = decoded(data.with_aborted_transactions(aborted), offset, 1_000).expect("it decodes");
            (fetched.records.iter().map(|record| record.offset).collect::<Vec<_>>(), fetched.next)
        };
        let aborted = |first, producer: i64| {
            AbortedTransaction::default().with_first_offset(first).with_producer_id(producer.into())
        };
        assert_eq!(read(Some(vec![aborted(10, 7)]), 10), (vec![12, 13, 15], 18));
        // From the middle of one, and both of a producer.
        assert_eq!(read(Some(vec![aborted(15, 7), aborted(10, 7)]), 11), (vec![12, 13], 18));
        assert_eq!(read(Some(vec![aborted(10, 7), aborted(13, 8), aborted(15, 7)]), 13), (vec![], 18));
        // The control: all records, where the answer names none.
        assert_eq!(read(None, 10), (vec![10, 11, 12, 13, 15], 18));
    }

    /// The codec would make room for them all, and the checksum is right.
    #[test]
    fn refuses_records_that_are_announced_only() {
        let mut batch = batch(10, &["a"], false).to_vec();
        batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        let checksum = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        let data = PartitionData::default().with_records(Some(batch.into()));
        let error = decoded(data, 10, 1).expect_err("they are not there");
        assert!(error.to_string().contains("does not hold the 2147483647 records"), "{error}");
    }

    /// Castagnoli's, bit by bit.
    pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
        })
    }

    #[test]
    fn tells_time_and_headers_and_refuses_a_broken_batch() {
        let whole = batch(10, &["a"], false);
        let data = PartitionData::default().with_records(Some(whole.clone()));
        let record = decoded(data, 10, 1).expect("it decodes").records.remove(0);
        assert_eq!((record.time, record.headers), (Some(1_010), vec![("h".to_owned(), Some(Bytes::from("1")))]));
        let mut broken = whole.to_vec();
        broken[70] ^= 1;
        let data = PartitionData::default().with_records(Some(broken.into()));
        decoded(data, 10, 1).expect_err("its checksum is wrong");
    }
}
