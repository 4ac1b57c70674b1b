//! What a processor, or a producer that is pushed to, has done since it started, as it reports to the operator, which scales
//! by it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a processor or a producer answers with its [`Work`], on the port of its metrics.
pub const WORK_PATH: &str = "/work";

/// Largest answer that is read, in bytes: some twenty-five numbers.
pub const LARGEST_WORK: usize = 2 << 10;

/// Classes of requests by their time: up to a quarter of a millisecond, each further one twice as long, the last without a
/// bound.
pub const WRITE_CLASSES: usize = 17;

/// Time of the first class of requests.
const FIRST_CLASS: Duration = Duration::from_micros(250);

/// Counts since the start of a processor; two answers make a rate. Times are in milliseconds.
///
/// A producer counts the requests of clients that push, and its time is that of its buffer: half of `bufferMemory` in use for a
/// second is half a second.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// For how long it has run.
    pub uptime: u64,
    /// Whether the group has given it partitions, perhaps none. Of a producer: always.
    pub joined: bool,
    /// For how long it has had partitions. Absent: it has none. Of a producer: always absent.
    pub assigned: Option<u64>,
    /// Records that ended as rows, as dead letters or as nothing. Of a producer: requests of which Kafka has every record.
    pub settled: u64,
    /// Requests that were refused for want of memory (429). Of a processor: none.
    #[serde(default)]
    pub refused: u64,
    /// Time that its road was at work. Of a producer: time that its buffer was in use, but for what counts as `waiting`.
    pub working: u64,
    /// Time that it had records, as many rows in flight as allowed, and nothing to do but to wait for Cassandra. Of a producer:
    /// time that its buffer was in use by requests that Kafka took long to acknowledge.
    pub waiting: u64,
    /// CPU time of the whole process. Absent: unknown.
    pub cpu: Option<u64>,
    /// Requests that Cassandra has acknowledged, by their class ([`class_of`]). Of a producer: none.
    pub writes: Vec<u64>,
}

/// Returns the class of a request that took so long.
pub fn class_of(took: Duration) -> usize {
    (0..WRITE_CLASSES - 1).find(|class| took <= FIRST_CLASS * (1_u32 << *class)).unwrap_or(WRITE_CLASSES - 1)
}

impl Work {
    /// Returns how long 99 of 100 requests took at most that were acknowledged since an earlier answer, to the bound of
    /// their class. `None`: there was none.
    pub fn slowest_writes(&self, earlier: &Self) -> Option<Duration> {
        let before = |class: usize| earlier.writes.get(class).copied().unwrap_or(0);
        let added = |(class, count): (usize, &u64)| u128::from(count.saturating_sub(before(class)));
        // The counts come over the network: wide enough for the sum of any.
        let new: Vec<u128> = self.writes.iter().enumerate().map(added).collect();
        let all: u128 = new.iter().sum();
        let mut slower = all;
        let class = new.iter().position(|count| {
            slower -= count;
            slower * 100 <= all
        });
        class.filter(|_| all > 0).map(|class| FIRST_CLASS * (1_u32 << class.min(WRITE_CLASSES - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_class_is_twice_as_long_as_the_one_before() {
        let classes = [Duration::ZERO, Duration::from_micros(250), millis(1), millis(3), millis(60_000)].map(class_of);
        assert_eq!(classes, [0, 0, 2, 4, WRITE_CLASSES - 1]);
    }

    #[test]
    fn the_slowest_of_a_hundred_are_left_out_and_what_was_before_too() {
        let work = |fast: u64, slow: u64| {
            let mut writes = vec![0; WRITE_CLASSES];
            (writes[2], writes[8]) = (fast, slow);
            Work { writes, ..Work::default() }
        };
        assert_eq!(work(99, 1).slowest_writes(&Work::default()), Some(millis(1)));
        // The control: one more is not left out.
        assert_eq!(work(98, 2).slowest_writes(&Work::default()), Some(millis(64)));
        assert_eq!(work(198, 2).slowest_writes(&work(100, 2)), Some(millis(1)));
        assert_eq!(work(5, 2).slowest_writes(&work(5, 2)), None);
        assert_eq!(Work::default().slowest_writes(&Work::default()), None);
    }

    #[test]
    fn counts_of_any_size_and_number_are_added_up() {
        let work = Work { writes: vec![u64::MAX; 2 * WRITE_CLASSES], ..Work::default() };
        assert_eq!(work.slowest_writes(&Work::default()), Some(FIRST_CLASS * (1_u32 << (WRITE_CLASSES - 1))));
    }
}
