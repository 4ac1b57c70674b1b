//! Looks through a topic, window by window, until enough is found or enough was looked at.
//!
//! Going back, ever longer windows before the ends are read whole, so that nothing newer is left out. What is found of
//! several partitions is merged by time without changing the order within one, so that a cursor can say exactly where
//! each partition goes on.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use millrace_stores::kafka::{AskKafka, Bounds, Kafka, Record};
use snafu::Snafu;

use super::cursor::{Cursor, Direction};
use super::filter::Filter;
use super::render::Masking;
use crate::api::messages::Message;

/// Most records that one search looks at.
const MOST_RECORDS: u64 = 50_000;
/// Most bytes of records that one search looks at.
const MOST_BYTES: usize = 32 << 20;
/// Longest that one search goes on.
const LONGEST: Duration = Duration::from_secs(8);
/// Most bytes of messages that are found before the search ends.
const MOST_FOUND: usize = 4 << 20;
/// Bytes of one question.
const STEP_BYTES: usize = 2 << 20;
/// How long a broker waits before it says that there is nothing.
const WAIT: Duration = Duration::from_millis(250);
/// Offsets that are first looked at in each partition when there is a filter.
const FIRST_WINDOW: i64 = 500;

/// Why a topic could not be looked through.
#[derive(Debug, Snafu)]
pub enum SearchTopic {
    /// Kafka could not be asked.
    #[snafu(display("Kafka cannot be asked"), context(false))]
    Ask {
        /// Why.
        source: AskKafka,
    },
    /// A broker does not give what it says it has.
    #[snafu(display("no broker returns the records of {topic} in partition {partition} from offset {offset}"))]
    ReadOn {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
}

/// A page of messages.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order of the search.
    pub messages: Vec<Message>,
    /// Records that were looked at.
    pub scanned: u64,
    /// Where to go on. `None`: everything was looked at.
    pub cursor: Option<Cursor>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Which records.
    pub filter: &'a Filter,
    /// What the viewer does not see.
    pub masking: &'a Masking,
    /// Most messages.
    pub limit: usize,
}

struct Search<'a> {
    wanted: Wanted<'a>,
    found: BTreeMap<i32, VecDeque<Message>>,
    count: usize,
    found_bytes: usize,
    scanned: u64,
    bytes: usize,
    begun: Instant,
}

impl Search<'_> {
    fn look_at(&mut self, record: &Record) {
        self.scanned += 1;
        self.bytes += record.size();
        if let Some(message) = self.wanted.filter.take(record, self.wanted.masking) {
            self.count += 1;
            self.found_bytes += record.size();
            self.found.entry(record.partition).or_default().push_back(message);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a search ends after a while")]
    fn is_exhausted(&self) -> bool {
        self.scanned >= MOST_RECORDS
            || self.bytes >= MOST_BYTES
            || self.found_bytes >= MOST_FOUND
            || self.begun.elapsed() >= LONGEST
    }
}

/// Searches from a cursor on.
#[expect(clippy::disallowed_methods, reason = "a search ends after a while")]
pub async fn search(kafka: &mut Kafka, wanted: Wanted<'_>, from: Cursor) -> Result<Page, SearchTopic> {
    let mut search = Search {
        wanted,
        found: BTreeMap::new(),
        count: 0,
        found_bytes: 0,
        scanned: 0,
        bytes: 0,
        begun: Instant::now(),
    };
    let Cursor { direction, mut left } = from;
    let mut window = match wanted.filter.is_empty() {
        true => i64::try_from(wanted.limit).unwrap_or(i64::MAX),
        false => FIRST_WINDOW,
    };
    while !left.is_empty() && search.count < wanted.limit && !search.is_exhausted() {
        let looked_at = left.iter_mut().map(|(index, (from, to))| match direction {
            Direction::Back => {
                let begin = to.saturating_sub(window).max(*from);
                (*index, (begin, std::mem::replace(to, begin)))
            }
            Direction::On => {
                let end = from.saturating_add(window).min(*to);
                (*index, (std::mem::replace(from, end), end))
            }
        });
        let looked_at: BTreeMap<i32, (i64, i64)> = looked_at.collect();
        let unread = read(kafka, &mut search, looked_at, direction).await?;
        for (index, (from, _)) in unread {
            left.entry(index).and_modify(|stretch| stretch.0 = from);
        }
        left.retain(|_, (from, to)| from < to);
        window = window.saturating_mul(2);
    }
    Ok(merged(search, direction, left))
}

/// Reads stretches whole; going on, it may end early, and returns what is left of them.
async fn read(
    kafka: &mut Kafka,
    search: &mut Search<'_>,
    mut stretches: BTreeMap<i32, (i64, i64)>,
    direction: Direction,
) -> Result<BTreeMap<i32, (i64, i64)>, SearchTopic> {
    let bounds = Bounds { bytes: STEP_BYTES, wait: WAIT };
    let mut read: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    loop {
        stretches.retain(|_, (from, to)| from < to);
        // Going back, a window that is cut short would lose its newest records.
        if stretches.is_empty() || (direction == Direction::On && search.is_exhausted()) {
            break;
        }
        let positions = stretches.iter().map(|(index, (from, _))| (*index, *from)).collect();
        let fetched = kafka.fetch(search.wanted.topic, &positions, &bounds).await?;
        let mut moved = false;
        for (index, fetched) in fetched {
            let Some((from, to)) = stretches.get_mut(&index) else {
                continue;
            };
            moved |= fetched.next > *from;
            *from = fetched.next;
            let within = fetched.records.into_iter().filter(|record| record.offset < *to);
            match direction {
                Direction::Back => read.entry(index).or_default().extend(within),
                Direction::On => within.for_each(|record| search.look_at(&record)),
            }
        }
        if let (false, Some((partition, (offset, _)))) = (moved, stretches.first_key_value()) {
            return ReadOnSnafu { topic: search.wanted.topic, partition: *partition, offset: *offset }.fail();
        }
    }
    // Newest first, so that what is found of a partition stands in the order of the search.
    for record in read.values().flat_map(|records| records.iter().rev()) {
        search.look_at(record);
    }
    Ok(stretches)
}

/// Merges what was found of each partition, up to the limit; the rest is left for the next page.
fn merged(search: Search<'_>, direction: Direction, mut left: BTreeMap<i32, (i64, i64)>) -> Page {
    let Search { wanted, mut found, scanned, .. } = search;
    let mut messages = Vec::new();
    while messages.len() < wanted.limit {
        let heads = found.iter().filter_map(|(index, queue)| Some((*index, queue.front()?)));
        let next = match direction {
            Direction::Back => heads.max_by_key(|(index, head)| (head.timestamp, *index)),
            Direction::On => heads.min_by_key(|(index, head)| (head.timestamp, *index)),
        };
        let Some(index) = next.map(|(index, _)| index) else {
            break;
        };
        messages.extend(found.get_mut(&index).and_then(VecDeque::pop_front));
    }
    for (index, queue) in found {
        let Some(head) = queue.front() else {
            continue;
        };
        let last = queue.back().map_or(head.offset, |last| last.offset);
        left.entry(index)
            .and_modify(|stretch| match direction {
                Direction::Back => stretch.1 = head.offset + 1,
                Direction::On => stretch.0 = head.offset,
            })
            .or_insert(match direction {
                Direction::Back => (last, head.offset + 1),
                Direction::On => (head.offset, last + 1),
            });
    }
    let cursor = Some(Cursor::new(direction, left)).filter(|cursor| !cursor.left.is_empty());
    Page { messages, scanned, cursor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::render::render;

    fn message(partition: i32, offset: i64, time: i64) -> Message {
        let record = Record { partition, offset, time: Some(time), key: None, value: None, headers: Vec::new() };
        render(&record, &Masking::default())
    }

    fn page(
        direction: Direction,
        found: &[(i32, i64, i64)],
        left: &[(i32, (i64, i64))],
        limit: usize,
    ) -> (Vec<(i32, i64)>, Option<String>) {
        let (filter, masking) = (Filter::default(), Masking::default());
        let wanted = Wanted { topic: "t", filter: &filter, masking: &masking, limit };
        let mut queues: BTreeMap<i32, VecDeque<Message>> = BTreeMap::new();
        for (partition, offset, time) in found {
            queues.entry(*partition).or_default().push_back(message(*partition, *offset, *time));
        }
        let search =
            Search { wanted, found: queues, count: 0, found_bytes: 0, scanned: 0, bytes: 0, begun: Instant::now() };
        let page = merged(search, direction, left.iter().copied().collect());
        let places = page.messages.iter().map(|message| (message.partition, message.offset)).collect();
        (places, page.cursor.and_then(|cursor| cursor.text()))
    }

    #[test]
    fn the_newest_of_all_partitions_come_first() {
        let found = [(0, 9, 90), (0, 8, 50), (1, 4, 70), (1, 3, 60)];
        let (places, cursor) = page(Direction::Back, &found, &[(0, (0, 8))], 4);
        assert_eq!(places, [(0, 9), (1, 4), (1, 3), (0, 8)]);
        assert_eq!(cursor.as_deref(), Some("back_0.0.8"));
    }

    #[test]
    fn what_a_page_has_no_room_for_comes_on_the_next() {
        let found = [(0, 9, 90), (0, 8, 50), (1, 4, 70), (1, 3, 60)];
        let (places, cursor) = page(Direction::Back, &found, &[(0, (0, 8))], 2);
        assert_eq!(places, [(0, 9), (1, 4)]);
        // Of partition 1 all was looked at, but one message is still to be shown.
        assert_eq!(cursor.as_deref(), Some("back_0.0.9_1.3.4"));
        let found = [(0, 1, 10), (0, 2, 20), (1, 7, 15)];
        let (places, cursor) = page(Direction::On, &found, &[(0, (3, 5))], 2);
        assert_eq!(places, [(0, 1), (1, 7)]);
        assert_eq!(cursor.as_deref(), Some("on_0.2.5"));
    }

    #[test]
    fn records_of_one_partition_stay_in_order_whatever_their_times() {
        let (places, cursor) = page(Direction::Back, &[(0, 9, 10), (0, 8, 99)], &[], 5);
        assert_eq!(places, [(0, 9), (0, 8)]);
        assert_eq!(cursor, None);
    }
}
