//! Consumer groups: members, what they have committed, and how far behind they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::describe_groups_response::DescribedGroupMember;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{DescribeGroupsRequest, FindCoordinatorRequest, GroupId, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use snafu::OptionExt;
use tokio::time::{Instant, timeout_at};

use super::fetch::{Bounds, Fetched, Isolation};
use super::offsets::{EARLIEST, LATEST};
use super::retention::Retention;
use super::{
    AskKafka, ChangeSnafu, FindAddressSnafu, GroupClient, GroupFacts, Kafka, KafkaFacts, refused_by, topic_name,
    version,
};

/// Longest that rests of topics are looked at in one observation, all topics together.
const LOOKING: Duration = Duration::from_secs(2);
/// Most bytes that are read to learn the time of one record; a broker gives a whole batch in any case.
const ONE_RECORD: usize = 1 << 10;
/// Most offsets behind a group's position that are looked at for a record; what is longer is taken for records.
const MOST_LOOKED_AT: i64 = 1_000;
/// How much one such look may bring; where nothing can be consumed yet, it is not waited for.
const LOOK: Bounds = Bounds { bytes: 64 << 10, wait: Duration::from_millis(10) };
/// Most looks at one topic.
const MOST_LOOKS: usize = 4;
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
    /// Whether nothing up to the end is left to be consumed although the group has not committed the end: these offsets mark
    /// the ends of transactions, or hold records of aborted ones, and a consumer that gets no record commits nothing.
    pub nothing_left: bool,
    /// Time of the first record that is not committed, in milliseconds since 1970; `None`: unknown, or there is none.
    pub waiting_since: Option<i64>,
}

/// Where a group stands in a topic: sums over its partitions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// Offsets behind the last records: as many records as were ever written, control records included.
    pub end: i64,
    /// Offsets that the group reads next; 0 where it has committed nothing.
    pub committed: i64,
    /// Offsets that the group has committed beyond the ends of partitions: records that Kafka has lost.
    pub beyond: i64,
    /// Records that are still there and not committed.
    pub lag: i64,
    /// These records by partition, where there are any.
    pub behind: BTreeMap<i32, i64>,
    /// Offset behind the last record of each partition.
    pub ends: BTreeMap<i32, i64>,
    /// First offset of each partition's log.
    pub starts: BTreeMap<i32, i64>,
    /// Offset that the group reads next in each partition, where it has committed one.
    pub reached: BTreeMap<i32, i64>,
    /// How long the topic keeps records.
    pub retention: Retention,
    /// Records by partition that are not committed and about to be deleted because of their age, where there are any. `None`:
    /// unknown, or records are kept for ever.
    pub due: Option<BTreeMap<i32, i64>>,
    /// When the ends were read. `None`: they were not.
    pub at: Option<SystemTime>,
}

impl Position {
    /// Returns how many records are deleted which the group has not read: those between what it has committed and the start of
    /// the log. Where it has committed nothing, that is unknown and none.
    pub fn expired(&self) -> i64 {
        let passed = |(partition, start): (&i32, &i64)| Some((start - self.reached.get(partition)?).max(0));
        self.starts.iter().filter_map(passed).sum()
    }
}

impl PartitionLag {
    /// Returns the number of offsets that are not committed; `None`: unknown. Offsets that retention has removed do not
    /// count.
    pub fn records(&self) -> Option<i64> {
        if self.nothing_left {
            return Some(0);
        }
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
                nothing_left: false,
                waiting_since: None,
            })
            .collect();
        let rest = |lag: &PartitionLag| Some((lag.partition, lag.committed.max(lag.start)?..lag.end?));
        // What cannot be looked at counts.
        let nothing_left = self.nothing_left(topic, &lags.iter().filter_map(rest).collect()).await.unwrap_or_default();
        lags.iter_mut().for_each(|lag| lag.nothing_left = nothing_left.contains(&lag.partition));
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

    /// Returns the partitions in which none of the offsets of a rest holds a record that can be consumed. Long rests are not
    /// looked at.
    async fn nothing_left(
        &mut self,
        topic: &str,
        rests: &BTreeMap<i32, Range<i64>>,
    ) -> Result<BTreeSet<i32>, AskKafka> {
        let short = rests.iter().filter(|(_, rest)| (1..=MOST_LOOKED_AT).contains(&(rest.end - rest.start)));
        let mut unknown: BTreeMap<i32, i64> = short.map(|(index, rest)| (*index, rest.start)).collect();
        let mut nothing = BTreeSet::new();
        for _ in 0..MOST_LOOKS {
            let before = unknown.clone();
            let fetched = self.fetch_as(topic, &unknown, &LOOK, Isolation::Committed).await?;
            unknown.retain(|index, position| match fetched.get(index).map(|fetched| look(fetched, rests[index].end)) {
                Some(Look::Record) => false,
                Some(Look::Nothing) => {
                    nothing.insert(*index);
                    false
                }
                Some(Look::Further(next)) => {
                    *position = next;
                    true
                }
                None => true,
            });
            if unknown.is_empty() || unknown == before {
                break;
            }
        }
        Ok(nothing)
    }

    pub(super) async fn group(&mut self, group: &str) -> Result<GroupFacts, AskKafka> {
        let coordinator = self.coordinator(group).await?;
        let request =
            DescribeGroupsRequest::default().with_groups(vec![GroupId(StrBytes::from_string(group.to_owned()))]);
        let answer = self.ask_broker(coordinator, &request, version::DESCRIBE_GROUPS).await?;
        let group = answer.groups.into_iter().next().context(FindAddressSnafu)?;
        refused_by(group.error_code, None, || "to describe the group".to_owned())?;
        let client = |member: &DescribedGroupMember| GroupClient {
            id: member.client_id.as_str().to_owned(),
            host: member.client_host.as_str().to_owned(),
        };
        Ok(GroupFacts {
            stable: group.group_state.as_str() == "Stable",
            members: group.members.len(),
            clients: group.members.iter().map(client).collect(),
        })
    }

    /// Returns where a group stands in each of these topics.
    #[expect(clippy::disallowed_methods, reason = "looking has a deadline, and rates need the time")]
    pub(super) async fn positions(
        &mut self,
        group: &str,
        topics: &[String],
        facts: &KafkaFacts,
        retention: &BTreeMap<String, Retention>,
    ) -> Result<BTreeMap<String, Position>, AskKafka> {
        let known = topics.iter().filter_map(|name| Some((name, facts.topics.get(name)?)));
        let partitions = known
            .map(|(name, topic)| (name.clone(), topic.partitions.iter().map(|partition| partition.index).collect()))
            .collect::<Vec<_>>();
        // Before what is committed: what is read and then deleted in between must not pass for deleted unread.
        let mut all_starts = Vec::new();
        for topic in topics {
            all_starts.push(self.offsets(facts, topic, EARLIEST).await?);
        }
        let committed = self.committed(group, &partitions).await?;
        let looking = Instant::now() + LOOKING;
        let mut positions = BTreeMap::new();
        for (topic, starts) in topics.iter().zip(all_starts) {
            let ends = self.offsets(facts, topic, LATEST).await?;
            let mut position = Position { at: Some(SystemTime::now()), ..Position::default() };
            let mut rests = BTreeMap::new();
            let partitions = facts.topics.get(topic).map_or(&[][..], |topic| &topic.partitions);
            for index in partitions.iter().map(|partition| partition.index) {
                // A partition that an answer leaves out would pass for one without records.
                let end = *ends.get(&index).with_context(|| left_out(topic, index))?;
                let start = *starts.get(&index).with_context(|| left_out(topic, index))?;
                let committed = committed.get(&(topic.clone(), index)).copied();
                position.end += end;
                position.committed += committed.unwrap_or(0);
                position.beyond += committed.map_or(0, |committed| (committed - end).max(0));
                position.ends.insert(index, end);
                position.starts.insert(index, start);
                position.reached.extend(committed.map(|committed| (index, committed)));
                rests.insert(index, committed.unwrap_or(start).max(start)..end);
            }
            // What cannot be looked at, or not in time, counts.
            let looked = timeout_at(looking, self.nothing_left(topic, &rests)).await;
            let nothing_left = looked.ok().and_then(Result::ok).unwrap_or_default();
            rests.retain(|index, rest| rest.end > rest.start && !nothing_left.contains(index));
            position.behind = rests.iter().map(|(index, rest)| (*index, rest.end - rest.start)).collect();
            position.lag = position.behind.values().sum();
            position.retention = retention.get(topic).copied().unwrap_or_default();
            if let Some(age) = position.retention.due_age() {
                position.due = self.older_than(facts, topic, &rests, age).await.ok();
            }
            positions.insert(topic.clone(), position);
        }
        Ok(positions)
    }

    /// Returns how many records at the beginning of each rest are older than an age, where there are any.
    #[expect(clippy::disallowed_methods, reason = "an age is one by the clock")]
    async fn older_than(
        &mut self,
        facts: &KafkaFacts,
        topic: &str,
        rests: &BTreeMap<i32, Range<i64>>,
        age: Duration,
    ) -> Result<BTreeMap<i32, i64>, AskKafka> {
        let moment = SystemTime::now().checked_sub(age).and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        let moment = moment.and_then(|moment| i64::try_from(moment.as_millis()).ok());
        // Where nothing waits, nothing need be asked; no record is from before 1970.
        let Some(moment) = moment.filter(|_| !rests.is_empty()) else {
            return Ok(BTreeMap::new());
        };
        let younger = self.offsets(facts, topic, moment).await?;
        Ok(rests.iter().filter_map(|(index, rest)| Some((*index, older(rest, *younger.get(index)?)?))).collect())
    }

    /// Returns the offsets that a group has committed in these partitions of topics.
    pub(super) async fn committed(
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
        refused_by(answer.error_code, None, || "to return the committed offsets".to_owned())?;
        let mut committed = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic.partitions.into_iter().filter(|partition| partition.committed_offset >= 0) {
                committed.insert((topic.name.to_string(), partition.partition_index), partition.committed_offset);
            }
        }
        Ok(committed)
    }

    pub(super) async fn coordinator(&mut self, group: &str) -> Result<i32, AskKafka> {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()));
        let answer = self.ask_any(&request, version::FIND_COORDINATOR).await?;
        refused_by(answer.error_code, answer.error_message, || "to name the group's coordinator".to_owned())?;
        Ok(answer.node_id.0)
    }
}

/// Says that a broker has not answered for a partition.
fn left_out(topic: &str, partition: i32) -> ChangeSnafu<String, &'static str> {
    let what = format!("to report where partition {partition} of topic '{topic}' begins and ends");
    ChangeSnafu { what, reason: "the answer leaves it out" }
}

/// Returns how many offsets of a rest are before the first record that is young enough; -1: no record is. `None`: none are.
fn older(rest: &Range<i64>, younger: i64) -> Option<i64> {
    let end = if younger < 0 { rest.end } else { younger.min(rest.end) };
    Some(end - rest.start).filter(|count| *count > 0)
}

/// What a look at a rest has found.
#[derive(Debug, Eq, PartialEq)]
enum Look {
    /// A record that can be consumed.
    Record,
    /// Nothing up to the end.
    Nothing,
    /// Nothing before this offset.
    Further(i64),
}

/// Judges what was fetched from a rest on, which ends before `end`.
fn look(fetched: &Fetched, end: i64) -> Look {
    if fetched.records.first().is_some_and(|record| record.offset < end) {
        return Look::Record;
    }
    if fetched.next >= end { Look::Nothing } else { Look::Further(fetched.next) }
}

#[cfg(test)]
mod tests {
    use super::super::fetch::Record;
    use super::*;

    fn fetched(offsets: &[i64], next: i64) -> Fetched {
        let record = |offset: &i64| Record {
            partition: 0,
            offset: *offset,
            time: None,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        Fetched { records: offsets.iter().map(record).collect(), next }
    }

    #[test]
    fn a_rest_without_records_is_nothing_and_one_with_any_is_not() {
        assert_eq!(look(&fetched(&[], 25), 25), Look::Nothing);
        assert_eq!(look(&fetched(&[24], 25), 25), Look::Record);
        assert_eq!(look(&fetched(&[], 24), 25), Look::Further(24));
        // Came after the end was asked for.
        assert_eq!(look(&fetched(&[25], 26), 25), Look::Nothing);
    }

    #[test]
    fn offsets_before_the_first_young_record_are_older() {
        assert_eq!(older(&(20..30), 25), Some(5));
        assert_eq!(older(&(20..30), -1), Some(10), "no record is young");
        // Came after the end was asked for; all that waits is young.
        assert_eq!(older(&(20..30), 40), Some(10));
        assert_eq!(older(&(20..30), 20), None);
        assert_eq!(older(&(20..30), 7), None);
    }

    #[test]
    fn records_are_expired_between_what_is_committed_and_the_start_of_the_log() {
        let position = |starts: [(i32, i64); 2], reached: &[(i32, i64)]| Position {
            starts: starts.into(),
            reached: reached.iter().copied().collect(),
            ..Position::default()
        };
        assert_eq!(position([(0, 70), (1, 40)], &[(0, 50), (1, 45)]).expired(), 20);
        // Read up to the end, and then deleted; nothing was ever read.
        assert_eq!(position([(0, 50), (1, 45)], &[(0, 50), (1, 45)]).expired(), 0);
        assert_eq!(position([(0, 50), (1, 45)], &[]).expired(), 0);
    }

    #[test]
    fn offsets_without_records_are_no_lag_and_nothing_waits() {
        let left = PartitionLag { nothing_left: true, ..lag(Some(24), None) };
        assert_eq!((left.records(), left.waited(3_500)), (Some(0), Some(Duration::ZERO)));
        // The control: the same offset, if it is a record.
        assert_eq!((lag(Some(24), None).records(), lag(Some(24), None).waited(3_500)), (Some(1), None));
    }

    fn lag(committed: Option<i64>, waiting_since: Option<i64>) -> PartitionLag {
        PartitionLag { partition: 0, start: Some(10), end: Some(25), committed, nothing_left: false, waiting_since }
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
