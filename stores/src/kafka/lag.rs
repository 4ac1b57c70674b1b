//! Consumer groups: members, what they have committed, and how far behind they are.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{DescribeGroupsRequest, FindCoordinatorRequest, GroupId, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use snafu::OptionExt;

use super::fetch::Bounds;
use super::offsets::{EARLIEST, LATEST};
use super::{AskKafka, FindAddressSnafu, GroupFacts, Kafka, KafkaFacts, refused_by, topic_name, version};

/// Most bytes that are read to learn the time of one record; a broker gives a whole batch in any case.
const ONE_RECORD: usize = 1 << 10;
/// Most questions for the times of first records: of more partitions that are behind, those of the rest stay unknown.
const MOST_QUESTIONS: usize = 16;

/// How far a group is behind in one partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: i32,
    /// First offset of its log; `None`: unknown, since it has no leader.
    pub start: Option<i64>,
    /// Offset behind the last record; `None`: unknown.
    pub end: Option<i64>,
    /// Offset that the group reads next; `None`: it has committed nothing here.
    pub committed: Option<i64>,
    /// Time of the first record that is not committed, in milliseconds since 1970; `None`: unknown, or there is none.
    pub waiting_since: Option<i64>,
}

/// Where a group stands in a topic: sums over its partitions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// Offsets behind the last records: as many records as were ever written, control records included.
    pub end: i64,
    /// Offsets that the group reads next; 0 where it has committed nothing.
    pub committed: i64,
    /// Records that are still there and not committed.
    pub lag: i64,
}

impl PartitionLag {
    /// Returns the number of offsets that are not committed; `None`: unknown. Offsets that retention has removed do not
    /// count.
    pub fn records(&self) -> Option<i64> {
        let position = self.committed?.max(self.start?);
        Some((self.end? - position).max(0))
    }

    /// Returns for how long the oldest record that is not committed has waited at `now`, in milliseconds since 1970: zero
    /// where nothing waits; `None`: unknown.
    pub fn waited(&self, now: i64) -> Option<Duration> {
        match self.records()? {
            0 => Some(Duration::ZERO),
            _ => Some(Duration::from_millis(u64::try_from(now - self.waiting_since?).unwrap_or(0))),
        }
    }
}

impl Kafka {
    /// Returns how far a group is behind in each partition of a topic, with the age of what waits.
    pub async fn lag_by_partition(&mut self, group: &str, topic: &str) -> Result<Vec<PartitionLag>, AskKafka> {
        let leaders = self.leaders(topic).await?;
        let led: BTreeMap<i32, i32> = leaders.iter().filter_map(|(index, leader)| Some((*index, (*leader)?))).collect();
        let committed = self.committed(group, &[(topic.to_owned(), leaders.keys().copied().collect())]).await?;
        let starts = self.list_offsets(topic, &led, EARLIEST).await?;
        let ends = self.list_offsets(topic, &led, LATEST).await?;
        let mut lags: Vec<PartitionLag> = leaders
            .keys()
            .map(|index| PartitionLag {
                partition: *index,
                start: starts.get(index).copied(),
                end: ends.get(index).copied(),
                committed: committed.get(&(topic.to_owned(), *index)).copied(),
                waiting_since: None,
            })
            .collect();
        let behind = lags.iter().filter(|lag| lag.records().is_some_and(|records| records > 0));
        let mut waiting: BTreeMap<i32, i64> =
            behind.filter_map(|lag| Some((lag.partition, lag.committed?.max(lag.start?)))).collect();
        let bounds = Bounds { bytes: ONE_RECORD * lags.len(), wait: Duration::from_millis(500) };
        // A broker gives one batch in any case, and those of further partitions only as far as the bytes allow.
        for _ in 0..MOST_QUESTIONS {
            let left = waiting.len();
            let first = self.fetch(topic, &waiting, &bounds).await?;
            for lag in &mut lags {
                if let Some(record) = first.get(&lag.partition).and_then(|fetched| fetched.records.first()) {
                    lag.waiting_since = record.time;
                    waiting.remove(&lag.partition);
                }
            }
            if waiting.is_empty() || waiting.len() == left {
                break;
            }
        }
        Ok(lags)
    }

    pub(super) async fn group(&mut self, group: &str) -> Result<GroupFacts, AskKafka> {
        let coordinator = self.coordinator(group).await?;
        let request =
            DescribeGroupsRequest::default().with_groups(vec![GroupId(StrBytes::from_string(group.to_owned()))]);
        let answer = self.ask_broker(coordinator, &request, version::DESCRIBE_GROUPS).await?;
        let group = answer.groups.into_iter().next().context(FindAddressSnafu)?;
        refused_by(group.error_code, None, || "to describe the group".to_owned())?;
        Ok(GroupFacts { stable: group.group_state.as_str() == "Stable", members: group.members.len() })
    }

    /// Returns where a group stands in each of these topics.
    pub(super) async fn positions(
        &mut self,
        group: &str,
        topics: &[String],
        facts: &KafkaFacts,
    ) -> Result<BTreeMap<String, Position>, AskKafka> {
        let known = topics.iter().filter_map(|name| Some((name, facts.topics.get(name)?)));
        let partitions = known
            .map(|(name, topic)| (name.clone(), topic.partitions.iter().map(|partition| partition.index).collect()))
            .collect::<Vec<_>>();
        let committed = self.committed(group, &partitions).await?;
        let mut positions = BTreeMap::new();
        for topic in topics {
            let starts = self.offsets(facts, topic, EARLIEST).await?;
            let ends = self.offsets(facts, topic, LATEST).await?;
            let mut position = Position::default();
            for (index, end) in ends {
                let start = starts.get(&index).copied().unwrap_or(0);
                let committed = committed.get(&(topic.clone(), index)).copied();
                position.end += end;
                position.committed += committed.unwrap_or(0);
                position.lag += (end - committed.unwrap_or(start).max(start)).max(0);
            }
            positions.insert(topic.clone(), position);
        }
        Ok(positions)
    }

    /// Returns the offsets that a group has committed in these partitions of topics.
    async fn committed(
        &mut self,
        group: &str,
        topics: &[(String, Vec<i32>)],
    ) -> Result<BTreeMap<(String, i32), i64>, AskKafka> {
        let coordinator = self.coordinator(group).await?;
        let wanted = topics
            .iter()
            .map(|(name, partitions)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(partitions.clone())
            })
            .collect();
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(Some(wanted));
        let answer = self.ask_broker(coordinator, &request, version::OFFSET_FETCH).await?;
        refused_by(answer.error_code, None, || "to tell the committed offsets".to_owned())?;
        let mut committed = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic.partitions.into_iter().filter(|partition| partition.committed_offset >= 0) {
                committed.insert((topic.name.to_string(), partition.partition_index), partition.committed_offset);
            }
        }
        Ok(committed)
    }

    async fn coordinator(&mut self, group: &str) -> Result<i32, AskKafka> {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()));
        let answer = self.ask_any(&request, version::FIND_COORDINATOR).await?;
        refused_by(answer.error_code, answer.error_message, || "to name the group's coordinator".to_owned())?;
        Ok(answer.node_id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(committed: Option<i64>, waiting_since: Option<i64>) -> PartitionLag {
        PartitionLag { partition: 0, start: Some(10), end: Some(25), committed, waiting_since }
    }

    #[test]
    fn counts_what_is_left_and_for_how_long() {
        assert_eq!(lag(Some(20), None).records(), Some(5));
        assert_eq!(lag(Some(20), Some(1_000)).waited(3_500), Some(Duration::from_millis(2_500)));
        assert_eq!(lag(Some(25), None).waited(3_500), Some(Duration::ZERO));
        // Retention has overtaken the group.
        assert_eq!(lag(Some(2), None).records(), Some(15));
    }

    #[test]
    fn keeps_the_unknown_unknown() {
        assert_eq!(lag(None, None).records(), None);
        assert_eq!(lag(None, None).waited(0), None);
        assert_eq!(lag(Some(20), None).waited(3_500), None);
        assert_eq!(PartitionLag { end: None, ..lag(Some(20), None) }.records(), None);
    }
}
