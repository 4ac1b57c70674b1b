//! Reading a topic again: where a group stands in each partition, how far it is set back from a place, and setting it back.
//!
//! A group is never set forward, since it would leave records out; nor is a partition touched in which it has committed
//! nothing, since it begins at the first record there.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;
use millrace_api::replay::ReplayFrom;
use snafu::OptionExt;

use super::offsets::{EARLIEST, LATEST};
use super::{AskKafka, ChangeSnafu, Kafka, refused_by, topic_name, version};

/// A partition's log, and where a group stands in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// First offset that is left.
    pub start: i64,
    /// Offset behind the last record.
    pub end: i64,
    /// Offset that the group reads next. Absent: it has committed nothing here.
    pub committed: Option<i64>,
    /// Offset of the first record that is not older than the moment that was asked for. Absent: there is none, or no moment
    /// was asked for.
    pub at: Option<i64>,
}

impl Span {
    /// Returns the offset that a place is at. `None`: it is behind the last record.
    fn offset_of(&self, from: ReplayFrom) -> Option<i64> {
        let offset = match from {
            ReplayFrom::Earliest => Some(self.start),
            ReplayFrom::Offset(offset) => Some(offset.max(self.start)),
            ReplayFrom::Time(_) => self.at,
        };
        offset.filter(|offset| *offset <= self.end)
    }
}

/// Returns the offsets that a group is set back to from a place, by partition; where it has not read so far, it stays.
pub fn set_back(spans: &BTreeMap<i32, Span>, from: ReplayFrom) -> BTreeMap<i32, i64> {
    let of_one = |span: &Span| {
        let offset = span.offset_of(from)?;
        (offset < span.committed?).then_some(offset)
    };
    spans.iter().filter_map(|(index, span)| Some((*index, of_one(span)?))).collect()
}

/// Returns how many offsets a group has committed from these on: as many records at most.
pub fn records(spans: &BTreeMap<i32, Span>, offsets: &BTreeMap<i32, i64>) -> i64 {
    let of_one = |(index, offset): (&i32, &i64)| Some(spans.get(index)?.committed? - offset);
    offsets.iter().filter_map(of_one).sum()
}

/// Returns why nothing can be read again from a place; `None`: it can.
pub fn refusal(spans: &BTreeMap<i32, Span>, from: ReplayFrom) -> Option<String> {
    if let ReplayFrom::Offset(offset) = from {
        let end = spans.values().map(|span| span.end).max().unwrap_or(0);
        if offset > end {
            return Some(format!("offset {offset} is out of range: no partition has more than {end}"));
        }
        if let Some((index, span)) = spans.iter().find(|(_, span)| offset < span.start) {
            let left = records(spans, &set_back(spans, ReplayFrom::Earliest));
            let (last, start) = (span.start - 1, span.start);
            return Some(format!(
                "records {offset} to {last} of partition {index} have been deleted, which begins at {start}; to read \
                 again the {left} records that are left, use earliest"
            ));
        }
    }
    let is_empty = set_back(spans, from).is_empty();
    is_empty.then(|| format!("there is nothing to read again: the processors have committed no record from {from} on"))
}

impl Kafka {
    /// Returns where a group stands in each partition of a topic, and where a moment is, in milliseconds since 1970; fails when a
    /// partition has no leader.
    pub async fn spans(
        &mut self,
        group: &str,
        topic: &str,
        moment: Option<i64>,
    ) -> Result<BTreeMap<i32, Span>, AskKafka> {
        let mut leaders = BTreeMap::new();
        for (index, leader) in self.leaders(topic).await? {
            leaders.insert(index, leader.with_context(|| unknown(topic, index))?);
        }
        let committed = self.committed(group, &[(topic.to_owned(), leaders.keys().copied().collect())]).await?;
        let starts = self.list_offsets(topic, &leaders, EARLIEST).await?;
        let ends = self.list_offsets(topic, &leaders, LATEST).await?;
        let at = match moment {
            Some(moment) => self.list_offsets(topic, &leaders, moment).await?,
            None => BTreeMap::new(),
        };
        let mut spans = BTreeMap::new();
        for index in leaders.into_keys() {
            let span = Span {
                start: *starts.get(&index).with_context(|| unknown(topic, index))?,
                end: *ends.get(&index).with_context(|| unknown(topic, index))?,
                committed: committed.get(&(topic.to_owned(), index)).copied(),
                at: at.get(&index).copied().filter(|offset| *offset >= 0),
            };
            spans.insert(index, span);
        }
        Ok(spans)
    }

    /// Sets offsets of a group that has no members.
    pub(super) async fn rewind(
        &mut self,
        group: &str,
        topic: &str,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<(), AskKafka> {
        let partitions = offsets
            .iter()
            .map(|(index, offset)| {
                OffsetCommitRequestPartition::default().with_partition_index(*index).with_committed_offset(*offset)
            })
            .collect();
        let wanted = OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
        // Of no member and no generation: Kafka takes it only while the group is empty.
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![wanted]);
        let coordinator = self.coordinator(group).await?;
        let answer = self.ask_broker(coordinator, &request, version::OFFSET_COMMIT).await?;
        for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            let what = || format!("to set offsets of group '{group}' in topic '{topic}'");
            refused_by(partition.error_code, None, what)?;
        }
        Ok(())
    }
}

/// Says that nobody answers for a partition.
fn unknown(topic: &str, partition: i32) -> ChangeSnafu<String, &'static str> {
    let what = format!("to tell the offsets of partition {partition} of topic '{topic}'");
    ChangeSnafu { what, reason: "no broker leads it" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns three partitions: one that was read to its end, one of which half was read, and one that was never read.
    fn spans() -> BTreeMap<i32, Span> {
        let span = |start, committed, at| Span { start, end: 100, committed, at };
        BTreeMap::from([(0, span(0, Some(100), Some(90))), (1, span(40, Some(50), None)), (2, span(0, None, Some(0)))])
    }

    fn time() -> ReplayFrom {
        "2026-01-31T12:00:00Z".parse().expect("a moment")
    }

    #[test]
    fn a_group_is_set_back_and_never_forward() {
        let spans = spans();
        assert_eq!(set_back(&spans, ReplayFrom::Earliest), [(0, 0), (1, 40)].into());
        assert_eq!(set_back(&spans, time()), [(0, 90)].into());
        // Partition 1 has read to 50 only: records before 60 would be left out.
        assert_eq!(set_back(&spans, ReplayFrom::Offset(60)), [(0, 60)].into());
        assert_eq!(records(&spans, &set_back(&spans, ReplayFrom::Earliest)), 110);
        assert_eq!(records(&spans, &set_back(&spans, ReplayFrom::Offset(60))), 40);
    }

    #[test]
    fn what_was_set_back_is_not_set_back_again() {
        let mut spans = spans();
        for from in [time(), ReplayFrom::Offset(60), ReplayFrom::Earliest] {
            let offsets = set_back(&spans, from);
            assert!(!offsets.is_empty(), "the control: {from}");
            for (index, offset) in offsets {
                spans.entry(index).or_default().committed = Some(offset);
            }
            assert!(set_back(&spans, from).is_empty(), "{from}");
        }
    }

    #[test]
    fn an_offset_that_is_deleted_or_not_there_yet_is_refused_with_what_is_left() {
        let spans = spans();
        let said = |offset| refusal(&spans, ReplayFrom::Offset(offset)).unwrap_or_default();
        assert_eq!(
            said(10),
            "records 10 to 39 of partition 1 have been deleted, which begins at 40; to read again the 110 records that \
             are left, use earliest"
        );
        assert_eq!(said(101), "offset 101 is out of range: no partition has more than 100");
        assert_eq!(said(100), "there is nothing to read again: the processors have committed no record from 100 on");
        // The control: in range, and all that is left.
        assert_eq!((said(40), refusal(&spans, ReplayFrom::Earliest)), (String::new(), None));
    }

    #[test]
    fn a_moment_after_all_that_was_read_is_refused() {
        let mut spans = spans();
        assert_eq!(refusal(&spans, time()), None);
        spans.entry(0).or_default().at = None;
        let said = refusal(&spans, time()).unwrap_or_default();
        assert!(said.ends_with("no record from 2026-01-31T12:00:00Z on"), "{said}");
        assert!(refusal(&BTreeMap::new(), ReplayFrom::Earliest).is_some());
    }
}
