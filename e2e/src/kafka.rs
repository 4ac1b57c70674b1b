//! Kafka as the tests use it: records of any bytes in, whole topics out, a group's position moved back.
//!
//! By pod address and with the operator's own connection, so that no client library hides or repairs anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DeleteTopicsRequest, FetchRequest, FindCoordinatorRequest, GroupId,
    OffsetCommitRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchDecoder,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use millrace_api::ports::KAFKA;
use millrace_stores::kafka::{BROKER_PORT, BrokerSettings, Connection, Kafka, KafkaFacts, SettingsQuestion};
use millrace_stores::reach::Reach;

use crate::spec::TOPIC;

/// Versions of the requests; 3.9 brokers speak all of them.
mod version {
    pub(super) const PRODUCE: i16 = 8;
    pub(super) const FETCH: i16 = 11;
    pub(super) const FIND_COORDINATOR: i16 = 3;
    pub(super) const OFFSET_COMMIT: i16 = 7;
    pub(super) const DELETE_TOPICS: i16 = 5;
    pub(super) const DELETE_GROUPS: i16 = 2;
}

/// How long brokers may wait for all replicas, in milliseconds.
const ACKNOWLEDGE_WITHIN_MS: i32 = 10_000;
/// Most bytes of one answer.
const FETCH_BYTES: i32 = 8 << 20;
/// Kafka's errors for what is not there.
const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_GROUP: i16 = 69;
/// Length of a batch's base offset and length fields.
const BATCH_PREFIX: usize = 12;

/// A client of one pipeline's brokers.
pub struct KafkaClient {
    addresses: BTreeMap<u32, IpAddr>,
    group: String,
    asking: Kafka,
    connections: BTreeMap<i32, Connection>,
    /// Leaders by topic and partition, as first asked for; tests that move leaders use a new client.
    leaders: BTreeMap<(String, i32), i32>,
}

/// A record as it stands in a topic.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Partition.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// Key; empty where there is none.
    pub key: Bytes,
    /// Value; empty where there is none.
    pub value: Bytes,
    /// Headers as text.
    pub headers: BTreeMap<String, String>,
}

impl KafkaClient {
    /// Makes a client; connects when it is used.
    pub fn new(addresses: &BTreeMap<u32, IpAddr>, group: String) -> Self {
        Self {
            addresses: addresses.clone(),
            group,
            asking: Kafka::new(&Reach::of_pods(addresses, KAFKA)),
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// Returns what Kafka says of itself, the processors' group included.
    pub async fn facts(&mut self) -> Result<KafkaFacts> {
        let group = self.group.clone();
        let brokers = self.addresses.len() as u32;
        self.asking.observe(&group, &[TOPIC.to_owned()], brokers, None).await.context("cannot ask Kafka")
    }

    /// Returns the value of a setting that each broker has in force, by broker.
    pub async fn setting(&mut self, key: &str) -> Result<BTreeMap<i32, String>> {
        let keys = BTreeSet::from([key.to_owned()]);
        let question = SettingsQuestion { keys, may_differ: true, ..SettingsQuestion::default() };
        let brokers: BTreeSet<i32> = self.addresses.keys().map(|ordinal| ordinal.cast_signed()).collect();
        let facts = self.asking.settings(&question, &brokers).await.context("cannot ask Kafka")?;
        let value = |settings: BrokerSettings| settings.settings.get(key)?.value.clone();
        Ok(facts.brokers.into_iter().filter_map(|(broker, found)| Some((broker, value(found)?))).collect())
    }

    /// Returns how many records the group has not committed.
    pub async fn lag(&mut self) -> Result<i64> {
        self.facts().await?.lag().context("the lag is unknown")
    }

    /// Returns how many records all partitions of a topic hold.
    pub async fn length(&mut self, topic: &str) -> Result<i64> {
        let bounds = self.asking.log_bounds(topic).await.context("cannot ask Kafka")?;
        Ok(bounds.values().map(|(start, end)| end - start).sum())
    }

    /// Raises a topic's number of partitions behind the operator's back.
    pub async fn add_partitions(&mut self, topic: &str, partitions: u32) -> Result<()> {
        self.asking.add_partitions(topic, partitions).await.context("cannot add partitions")
    }

    /// Sends records to a partition and returns the offset of the first, once all replicas in sync have them.
    pub async fn produce(&mut self, partition: i32, records: &[(Bytes, Bytes)]) -> Result<i64> {
        self.produce_to(TOPIC, partition, records).await
    }

    /// Sends records to a partition of another topic than that of the sources.
    pub async fn produce_to(&mut self, topic: &str, partition: i32, records: &[(Bytes, Bytes)]) -> Result<i64> {
        let of = |(offset, (key, value)): (i64, &(Bytes, Bytes))| record_of(offset, key, Some(value));
        let records: Vec<Record> = (0i64..).zip(records).map(of).collect();
        self.send(topic, partition, &records).await
    }

    /// Sends a record with a null value to a partition and returns its offset.
    pub async fn bury(&mut self, partition: i32, key: &Bytes) -> Result<i64> {
        self.send(TOPIC, partition, &[record_of(0, key, None)]).await
    }

    async fn send(&mut self, topic: &str, partition: i32, records: &[Record]) -> Result<i64> {
        let leader = self.leader(topic, partition).await?;
        let mut batch = BytesMut::new();
        let plain = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut batch, records, &plain).context("cannot encode records")?;
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.freeze()));
        let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(ACKNOWLEDGE_WITHIN_MS).with_topic_data(vec![topic]);
        let answer = self.ask(leader, &request, version::PRODUCE).await?;
        let mut answers = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
        let answer = answers.next().context("Kafka does not say what became of the records")?;
        ensure!(answer.error_code == 0, "Kafka refuses records with error {}", answer.error_code);
        Ok(answer.base_offset)
    }

    /// Returns where each partition of a topic ends now.
    pub async fn ends(&mut self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let bounds = self.asking.log_bounds(topic).await.context("cannot ask Kafka")?;
        Ok(bounds.into_iter().map(|(partition, (_, end))| (partition, end)).collect())
    }

    /// Reads a whole topic, which must not be compressed, up to where it ends now.
    pub async fn read(&mut self, topic: &str) -> Result<Vec<Fetched>> {
        self.read_from(topic, &BTreeMap::new()).await
    }

    /// Reads a topic from some offsets on, and partitions without one from their start.
    pub async fn read_from(&mut self, topic: &str, from: &BTreeMap<i32, i64>) -> Result<Vec<Fetched>> {
        let mut all = Vec::new();
        self.for_each_from(topic, from, |record| all.push(record)).await?;
        Ok(all)
    }

    /// As [`Self::read_from`], but hands each record over, so that a topic may be larger than memory.
    pub async fn for_each_from(
        &mut self,
        topic: &str,
        from: &BTreeMap<i32, i64>,
        mut take: impl FnMut(Fetched),
    ) -> Result<()> {
        for (partition, (start, end)) in self.asking.log_bounds(topic).await.context("cannot ask Kafka")? {
            let leader = self.leader(topic, partition).await?;
            let mut next = from.get(&partition).copied().unwrap_or(start);
            while next < end {
                let records = self.fetch(leader, topic, partition, next).await?;
                ensure!(!records.is_empty(), "{topic}-{partition} gives nothing from offset {next} to {end}");
                next = records.last().map_or(next, |record| record.offset + 1);
                records.into_iter().for_each(&mut take);
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, leader: i32, topic: &str, partition: i32, offset: i64) -> Result<Vec<Fetched>> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES);
        let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(1_000)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_topics(vec![topic]);
        let answer = self.ask(leader, &request, version::FETCH).await?;
        let mut records = Vec::new();
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            ensure!(data.error_code == 0, "Kafka refuses to give records with error {}", data.error_code);
            let mut batches = data.records.unwrap_or_default();
            while let Some(mut batch) = next_batch(&mut batches) {
                let set = RecordBatchDecoder::decode(&mut batch).context("cannot decode a batch")?;
                // A batch may begin before the offset that was asked for.
                let wanted = set.records.into_iter().filter(|record| record.offset >= offset);
                records.extend(wanted.map(|record| fetched(partition, record)));
            }
        }
        Ok(records)
    }

    /// Moves the group's committed position; the group must have no members.
    pub async fn rewind(&mut self, partition: i32, offset: i64) -> Result<()> {
        let group = StrBytes::from_string(self.group.clone());
        let coordinator = self.coordinator().await?;
        let position = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1);
        let topic = OffsetCommitRequestTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![position]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(group))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let answer = self.ask(coordinator, &request, version::OFFSET_COMMIT).await?;
        for result in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            ensure!(result.error_code == 0, "Kafka refuses to move the group with error {}", result.error_code);
        }
        Ok(())
    }

    /// Deletes all topics but Kafka's own.
    pub async fn delete_topics(&mut self) -> Result<()> {
        let facts = self.facts().await?;
        let names: Vec<TopicName> =
            facts.topics.keys().filter(|topic| !topic.starts_with("__")).map(|topic| topic_name(topic)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let controller = facts.controller.context("no broker is the controller")?;
        let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(ACKNOWLEDGE_WITHIN_MS);
        let answer = self.ask(controller, &request, version::DELETE_TOPICS).await?;
        for result in answer.responses {
            ensure!(
                [0, UNKNOWN_TOPIC].contains(&result.error_code),
                "cannot delete {:?}: {}",
                result.name,
                result.error_code
            );
        }
        self.leaders.clear();
        Ok(())
    }

    /// Deletes the group, which must have no members, with its position.
    pub async fn delete_group(&mut self) -> Result<()> {
        let coordinator = self.coordinator().await?;
        let group = GroupId(StrBytes::from_string(self.group.clone()));
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group]);
        let answer = self.ask(coordinator, &request, version::DELETE_GROUPS).await?;
        for result in answer.results {
            let is_gone = [0, UNKNOWN_GROUP].contains(&result.error_code);
            ensure!(is_gone, "cannot delete the group: error {}", result.error_code);
        }
        Ok(())
    }

    async fn coordinator(&mut self) -> Result<i32> {
        let any = *self.addresses.keys().next().context("there is no broker")? as i32;
        let question = FindCoordinatorRequest::default().with_key(StrBytes::from_string(self.group.clone()));
        Ok(self.ask(any, &question, version::FIND_COORDINATOR).await?.node_id.0)
    }

    async fn leader(&mut self, topic: &str, partition: i32) -> Result<i32> {
        let place = (topic.to_owned(), partition);
        if let Some(leader) = self.leaders.get(&place) {
            return Ok(*leader);
        }
        let facts = self.facts().await?;
        let found = facts.topics.get(topic).with_context(|| format!("there is no topic '{topic}'"))?;
        let found = found.partitions.iter().find(|found| found.index == partition);
        let leader =
            found.and_then(|found| found.leader).with_context(|| format!("{topic}-{partition} has no leader"))?;
        self.leaders.insert(place, leader);
        Ok(leader)
    }

    async fn ask<R: Request>(&mut self, broker: i32, request: &R, version: i16) -> Result<R::Response> {
        let mut connection = match self.connections.remove(&broker) {
            Some(connection) => connection,
            None => {
                let ordinal = u32::try_from(broker).context("a broker's id is its ordinal")?;
                let address = *self.addresses.get(&ordinal).with_context(|| format!("broker {broker} has no pod"))?;
                Connection::open(SocketAddr::new(address, BROKER_PORT)).await?
            }
        };
        let answer = connection.ask(request, version).await?;
        self.connections.insert(broker, connection);
        Ok(answer)
    }
}

/// Cuts the next whole batch off; an answer may end in the middle of one.
fn next_batch(batches: &mut Bytes) -> Option<Bytes> {
    let prefix = batches.get(..BATCH_PREFIX)?;
    let length = i32::from_be_bytes(prefix[8..].try_into().ok()?);
    let whole = BATCH_PREFIX + usize::try_from(length).ok()?;
    (batches.remaining() >= whole).then(|| batches.split_to(whole))
}

fn record_of(offset: i64, key: &Bytes, value: Option<&Bytes>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset,
        // Counted up from "none", or the encoder would begin a batch with each record.
        sequence: NO_SEQUENCE.wrapping_add(offset as i32),
        timestamp: chrono::Utc::now().timestamp_millis(),
        key: Some(key.clone()),
        value: value.cloned(),
        headers: Default::default(),
    }
}

fn fetched(partition: i32, record: Record) -> Fetched {
    let text = |bytes: Option<Bytes>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    Fetched {
        partition,
        offset: record.offset,
        key: record.key.unwrap_or_default(),
        value: record.value.unwrap_or_default(),
        headers: record.headers.into_iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_encodes_and_passes_over_half_a_batch() {
        let wanted = [("k0", "v0"), ("k1", "v1")].map(|(key, value)| (Bytes::from(key), Bytes::from(value)));
        let of = |(offset, (key, value)): (i64, &(Bytes, Bytes))| record_of(offset, key, Some(value));
        let records: Vec<Record> = (0i64..).zip(&wanted).map(of).collect();
        let mut batch = BytesMut::new();
        let plain = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut batch, &records, &plain).expect("it encodes");
        let whole = batch.clone().freeze();
        batch.extend_from_slice(&whole[..whole.len() - 1]);

        let mut batches = batch.freeze();
        let mut first = next_batch(&mut batches).expect("the first is whole");
        let set = RecordBatchDecoder::decode(&mut first).expect("it decodes");
        let read: Vec<(i64, Bytes)> =
            set.records.into_iter().map(|record| (record.offset, record.value.unwrap_or_default())).collect();
        assert_eq!(read, [(0, Bytes::from("v0")), (1, Bytes::from("v1"))]);
        assert!(next_batch(&mut batches).is_none());
    }
}
