//! Looks into a topic: its newest records, those from an offset or a time on, and those that come in right now.
//!
//! What is looked at is bounded in records and bytes, matching or not; a page says whether more could have matched.

use std::collections::BTreeMap;
use std::time::Duration;

use memchr::memmem;
use snafu::ensure;

use super::fetch::{Bounds, Record};
use super::offsets::{EARLIEST, LATEST};
use super::{AskKafka, FindPartitionSnafu, Kafka};

/// Bytes of one question.
const STEP_BYTES: usize = 4 << 20;
/// Offsets that are first looked at in each partition, backwards from its end, when there is a filter.
const FIRST_WINDOW: i64 = 500;
/// How long a broker waits before it says that there is nothing.
const WAIT: Duration = Duration::from_millis(250);

/// Where to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// At the end, backwards.
    Newest,
    /// At the start of each log.
    Start,
    /// At an offset of each partition.
    Offset(i64),
    /// At the first record of each partition that is not older, in milliseconds since 1970.
    Time(i64),
}

/// Which records are wanted; all, unless it says otherwise.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// The whole key.
    pub key: Option<Vec<u8>>,
    /// A part of the value.
    pub contains: Option<Vec<u8>>,
}

impl Filter {
    /// Returns whether a record is wanted.
    pub fn wants(&self, record: &Record) -> bool {
        let key = self.key.as_ref().is_none_or(|key| record.key.as_deref() == Some(key));
        let holds = |part: &Vec<u8>| record.value.as_ref().is_some_and(|value| memmem::find(value, part).is_some());
        key && self.contains.as_ref().is_none_or(holds)
    }

    fn is_empty(&self) -> bool {
        self.key.is_none() && self.contains.is_none()
    }
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Browse {
    /// Topic.
    pub topic: String,
    /// Only this partition; `None`: all.
    pub partition: Option<i32>,
    /// Where to begin.
    pub begin: Begin,
    /// Which records are wanted.
    pub filter: Filter,
    /// Most records that are returned.
    pub limit: usize,
    /// Most records that are looked at.
    pub scan: usize,
    /// Most bytes of keys and values that are looked at; overrun by what one question brings at most.
    pub bytes: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// Records, the newest first where [`Begin::Newest`] was asked for, else the oldest first, by time.
    pub records: Vec<Record>,
    /// Number of records that were looked at.
    pub scanned: usize,
    /// Whether all there is on this side of the beginning has been looked at: no other record can match.
    pub complete: bool,
    /// Partitions that could not be looked at, since nobody leads them.
    pub unavailable: Vec<i32>,
}

/// A stretch of one partition that is still to be looked at: from the first offset up to before the second.
type Stretches = BTreeMap<i32, (i64, i64)>;

/// What was found so far, and what may still be looked at.
struct Search<'a> {
    browse: &'a Browse,
    found: Vec<Record>,
    scanned: usize,
    bytes: usize,
}

impl Search<'_> {
    fn take(&mut self, record: Record) {
        self.scanned += 1;
        self.bytes += record.size();
        if self.browse.filter.wants(&record) {
            self.found.push(record);
        }
    }

    fn is_exhausted(&self) -> bool {
        self.scanned >= self.browse.scan || self.bytes >= self.browse.bytes
    }

    fn has_enough(&self) -> bool {
        self.found.len() >= self.browse.limit
    }
}

/// Reads what comes in from now on.
#[derive(Clone, Debug)]
pub struct Tail {
    topic: String,
    positions: BTreeMap<i32, i64>,
}

impl Kafka {
    /// Looks into a topic.
    pub async fn browse(&mut self, browse: &Browse) -> Result<Page, AskKafka> {
        let mut leaders = self.leaders(&browse.topic).await?;
        if let Some(partition) = browse.partition {
            let known = leaders.contains_key(&partition);
            ensure!(known, FindPartitionSnafu { topic: browse.topic.clone(), partition, partitions: leaders.len() });
            leaders.retain(|index, _| *index == partition);
        }
        let unavailable = leaders.iter().filter(|(_, leader)| leader.is_none()).map(|(index, _)| *index).collect();
        let led = leaders.into_iter().filter_map(|(index, leader)| Some((index, leader?))).collect();
        let starts = self.list_offsets(&browse.topic, &led, EARLIEST).await?;
        let ends = self.list_offsets(&browse.topic, &led, LATEST).await?;
        let mut logs: Stretches =
            starts.iter().filter_map(|(index, start)| Some((*index, (*start, *ends.get(index)?)))).collect();
        let mut search = Search { browse, found: Vec::new(), scanned: 0, bytes: 0 };
        let complete = match browse.begin {
            Begin::Newest => self.search_backwards(logs, &mut search).await?,
            Begin::Start => self.search_forwards(logs, &mut search).await?,
            Begin::Offset(offset) => {
                logs.values_mut().for_each(|(start, _)| *start = offset.max(*start));
                self.search_forwards(logs, &mut search).await?
            }
            Begin::Time(moment) => {
                let offsets = self.list_offsets(&browse.topic, &led, moment).await?;
                for (index, (start, end)) in &mut logs {
                    let offset = offsets.get(index).copied().filter(|offset| *offset >= 0);
                    *start = offset.unwrap_or(*end);
                }
                self.search_forwards(logs, &mut search).await?
            }
        };
        let (records, all) = in_order(search.found, browse.begin, browse.limit);
        Ok(Page { records, scanned: search.scanned, complete: complete && all, unavailable })
    }

    /// Begins to follow a topic at its end.
    pub async fn tail(&mut self, topic: &str, partition: Option<i32>) -> Result<Tail, AskKafka> {
        let mut leaders = self.leaders(topic).await?;
        if let Some(partition) = partition {
            let known = leaders.contains_key(&partition);
            ensure!(known, FindPartitionSnafu { topic, partition, partitions: leaders.len() });
            leaders.retain(|index, _| *index == partition);
        }
        let led = leaders.into_iter().filter_map(|(index, leader)| Some((index, leader?))).collect();
        let positions = self.list_offsets(topic, &led, LATEST).await?;
        Ok(Tail { topic: topic.to_owned(), positions })
    }

    /// Returns the records that have come in since the last call, in order of time; waits a moment for the first.
    pub async fn poll(&mut self, tail: &mut Tail, bounds: &Bounds) -> Result<Vec<Record>, AskKafka> {
        let fetched = self.fetch(&tail.topic, &tail.positions, bounds).await?;
        let mut records = Vec::new();
        for (index, fetched) in fetched {
            tail.positions.insert(index, fetched.next);
            records.extend(fetched.records);
        }
        records.sort_by_key(|record| (record.time, record.partition, record.offset));
        Ok(records)
    }

    /// Looks at ever longer stretches before the ends, until enough is found. Returns whether all was looked at.
    async fn search_backwards(&mut self, logs: Stretches, search: &mut Search<'_>) -> Result<bool, AskKafka> {
        let limit = i64::try_from(search.browse.limit).unwrap_or(i64::MAX);
        let mut window = if search.browse.filter.is_empty() { limit } else { limit.max(FIRST_WINDOW) };
        let mut left = logs;
        loop {
            left.retain(|_, (start, end)| start < end);
            if left.is_empty() {
                return Ok(true);
            }
            if search.has_enough() || search.is_exhausted() {
                return Ok(false);
            }
            let looked_at = left.iter_mut().map(|(index, (start, end))| {
                let from = end.saturating_sub(window).max(*start);
                (*index, (from, std::mem::replace(end, from)))
            });
            let looked_at = looked_at.collect();
            // A window is read whole, or its newest records would be left out.
            self.read(looked_at, search, |search| search.is_exhausted()).await?;
            window = window.saturating_mul(2);
        }
    }

    /// Looks at logs from their starts on, until enough is found. Returns whether all was looked at.
    async fn search_forwards(&mut self, logs: Stretches, search: &mut Search<'_>) -> Result<bool, AskKafka> {
        self.read(logs, search, |search| search.has_enough() || search.is_exhausted()).await
    }

    /// Reads stretches until they are at their ends, or one gives nothing more, or `stop`; says whether all was read.
    async fn read(
        &mut self,
        mut stretches: Stretches,
        search: &mut Search<'_>,
        stop: impl Fn(&Search<'_>) -> bool,
    ) -> Result<bool, AskKafka> {
        let bounds = Bounds { bytes: STEP_BYTES, wait: WAIT };
        loop {
            stretches.retain(|_, (from, to)| from < to);
            if stretches.is_empty() {
                return Ok(true);
            }
            if stop(search) {
                return Ok(false);
            }
            let positions = stretches.iter().map(|(index, (from, _))| (*index, *from)).collect();
            let fetched = self.fetch(&search.browse.topic, &positions, &bounds).await?;
            let before: i64 = stretches.values().map(|(from, _)| from).sum();
            for (index, fetched) in fetched {
                let Some((from, to)) = stretches.get_mut(&index) else {
                    continue;
                };
                *from = fetched.next;
                fetched.records.into_iter().filter(|record| record.offset < *to).for_each(|record| search.take(record));
            }
            if stretches.values().map(|(from, _)| from).sum::<i64>() == before {
                return Ok(false);
            }
        }
    }
}

/// Puts records in order and cuts them off at the limit; says whether all were kept.
fn in_order(mut records: Vec<Record>, begin: Begin, limit: usize) -> (Vec<Record>, bool) {
    records.sort_by_key(|record| (record.time, record.partition, record.offset));
    if begin == Begin::Newest {
        records.reverse();
    }
    let all = records.len() <= limit;
    records.truncate(limit);
    (records, all)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(partition: i32, offset: i64, time: i64) -> Record {
        let (key, value) = (Some(Bytes::from_static(b"k1")), Some(Bytes::from_static(b"{\"city\": \"Ulm\"}")));
        Record { partition, offset, time: Some(time), key, value, headers: Vec::new() }
    }

    fn filter(key: Option<&str>, contains: Option<&str>) -> Filter {
        Filter { key: key.map(Into::into), contains: contains.map(Into::into) }
    }

    #[test]
    fn filters_by_whole_key_and_part_of_value() {
        let found = record(0, 1, 1);
        assert!(filter(None, None).wants(&found));
        assert!(filter(Some("k1"), Some("Ulm")).wants(&found));
        assert!(!filter(Some("k"), None).wants(&found));
        assert!(!filter(None, Some("Bonn")).wants(&found));
        let tombstone = Record { value: None, ..found };
        assert!(!filter(None, Some("Ulm")).wants(&tombstone));
        assert!(filter(Some("k1"), None).wants(&tombstone));
    }

    #[test]
    fn the_newest_come_first_and_what_is_cut_off_is_told() {
        let records = vec![record(0, 1, 10), record(1, 7, 30), record(0, 2, 20)];
        let offsets = |records: Vec<Record>| records.iter().map(|record| record.offset).collect::<Vec<_>>();
        let (newest, all) = in_order(records.clone(), Begin::Newest, 2);
        assert_eq!((offsets(newest), all), (vec![7, 2], false));
        let (oldest, all) = in_order(records, Begin::Start, 3);
        assert_eq!((offsets(oldest), all), (vec![1, 2, 7], true));
    }
}
