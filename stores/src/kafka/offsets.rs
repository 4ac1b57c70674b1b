//! Where logs begin and end, and which offset a moment has; who leads which partition.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, MetadataRequest};
use snafu::OptionExt;

use super::{AskKafka, FindAddressSnafu, FindTopicSnafu, Kafka, KafkaFacts, refused_by, topic_name, version};

/// `timestamp` that asks for the end of a log.
pub(super) const LATEST: i64 = -1;
/// `timestamp` that asks for the start of a log.
pub(super) const EARLIEST: i64 = -2;

impl Kafka {
    /// Returns the start and the end of each partition's log of a topic; fails when a partition has no leader.
    pub async fn log_bounds(&mut self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, AskKafka> {
        let facts = self.agreed().await?;
        let starts = self.offsets(&facts, topic, EARLIEST).await?;
        let ends = self.offsets(&facts, topic, LATEST).await?;
        Ok(starts.into_iter().filter_map(|(index, start)| Some((index, (start, *ends.get(&index)?)))).collect())
    }

    /// Returns the offset of each partition's first record that is not older than a moment, in milliseconds since 1970;
    /// `None`: there is no such record yet. Partitions without a leader are left out.
    pub async fn offsets_at(&mut self, topic: &str, moment: i64) -> Result<BTreeMap<i32, Option<i64>>, AskKafka> {
        let leaders = self.leaders(topic).await?.into_iter().filter_map(|(index, leader)| Some((index, leader?)));
        let offsets = self.list_offsets(topic, &leaders.collect(), moment).await?;
        Ok(offsets.into_iter().map(|(index, offset)| (index, Some(offset).filter(|offset| *offset >= 0))).collect())
    }

    /// Returns the broker that leads each partition of a topic, as one broker sees it; `None`: none does.
    pub async fn leaders(&mut self, topic: &str) -> Result<BTreeMap<i32, Option<i32>>, AskKafka> {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request, version::METADATA).await?;
        let found = answer.topics.into_iter().next().context(FindTopicSnafu { topic })?;
        if found.error_code == ResponseError::UnknownTopicOrPartition.code() {
            return FindTopicSnafu { topic }.fail();
        }
        refused_by(found.error_code, None, || format!("to describe topic '{topic}'"))?;
        let leader = |id: BrokerId| Some(id.0).filter(|id| *id >= 0);
        Ok(found.partitions.iter().map(|found| (found.partition_index, leader(found.leader_id))).collect())
    }

    /// Asks each partition's leader for an offset; a partition without a leader fails the question.
    pub(super) async fn offsets(
        &mut self,
        facts: &KafkaFacts,
        topic: &str,
        at: i64,
    ) -> Result<BTreeMap<i32, i64>, AskKafka> {
        let mut leaders = BTreeMap::new();
        for partition in facts.topics.get(topic).map_or(&[][..], |topic| &topic.partitions) {
            leaders.insert(partition.index, partition.leader.context(FindAddressSnafu)?);
        }
        self.list_offsets(topic, &leaders, at).await
    }

    /// Asks the given leaders of partitions for an offset each.
    pub(super) async fn list_offsets(
        &mut self,
        topic: &str,
        leaders: &BTreeMap<i32, i32>,
        at: i64,
    ) -> Result<BTreeMap<i32, i64>, AskKafka> {
        let mut by_leader: BTreeMap<i32, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (index, leader) in leaders {
            let question = ListOffsetsPartition::default().with_partition_index(*index).with_timestamp(at);
            by_leader.entry(*leader).or_default().push(question);
        }
        let mut offsets = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let wanted = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
            let answer = self.ask_broker(leader, &request, version::LIST_OFFSETS).await?;
            for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
                refused_by(partition.error_code, None, || format!("to return an offset of topic '{topic}'"))?;
                offsets.insert(partition.partition_index, partition.offset);
            }
        }
        Ok(offsets)
    }
}
