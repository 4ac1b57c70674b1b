//! What a processor has done since it started, or a producer for clients that push, in the counts that the operator scales
//! by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_terms::{WRITE_CLASSES, Work, class_of};

use super::held::{Held, Level};

/// The counts; times are in nanoseconds, since a road wakes many thousand times a second.
#[derive(Debug)]
pub(super) struct Tally {
    start: Instant,
    group: Mutex<Group>,
    settled: AtomicU64,
    working: AtomicU64,
    waiting: AtomicU64,
    writes: [AtomicU64; WRITE_CLASSES],
    pushed: Pushed,
}

/// What clients pushed.
#[derive(Debug)]
struct Pushed {
    /// Bytes of the whole buffer.
    limit: u64,
    answered: AtomicU64,
    refused: AtomicU64,
    /// What all requests hold.
    held: Arc<Level>,
    /// What those hold that Kafka takes long to acknowledge.
    waiting: Arc<Level>,
}

/// Its place in the group.
#[derive(Debug, Default)]
struct Group {
    joined: bool,
    /// Since when it has had partitions. Absent: it has none.
    assigned: Option<Instant>,
}

impl Tally {
    #[expect(clippy::disallowed_methods, reason = "an uptime is the clock")]
    pub(super) fn new(limit: u64) -> Self {
        let pushed = Pushed {
            limit,
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            held: Arc::new(Level::new()),
            waiting: Arc::new(Level::new()),
        };
        Self {
            start: Instant::now(),
            group: Mutex::default(),
            settled: AtomicU64::new(0),
            working: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            writes: std::array::from_fn(|_| AtomicU64::new(0)),
            pushed,
        }
    }

    /// Notes how many partitions are in hand now, and whether the group still counts on this processor.
    #[expect(clippy::disallowed_methods, reason = "since when there are partitions is the clock's")]
    pub(super) fn hold(&self, partitions: usize, joined: bool) {
        let mut group = self.group();
        group.joined = joined;
        group.assigned = match partitions {
            0 => None,
            _ => group.assigned.or_else(|| Some(Instant::now())),
        };
    }

    pub(super) fn settle(&self, records: usize) {
        self.settled.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(super) fn work(&self, time: Duration) {
        self.working.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    pub(super) fn wait(&self, time: Duration) {
        self.waiting.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    pub(super) fn write(&self, took: Duration) {
        self.writes[class_of(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a request holds so many bytes.
    pub(super) fn begin_push(&self, bytes: u64) -> Held {
        Held::new(&self.pushed.held, bytes)
    }

    /// Notes that Kafka takes long to acknowledge what holds so many bytes.
    pub(super) fn await_push(&self, bytes: u64) -> Held {
        Held::new(&self.pushed.waiting, bytes)
    }

    pub(super) fn answer_push(&self) {
        self.pushed.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse_push(&self) {
        self.pushed.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts of what clients pushed, as they are now.
    #[expect(clippy::disallowed_methods, reason = "an uptime is the clock")]
    pub(super) fn read_pushed(&self) -> Work {
        let Pushed { limit, answered, refused, held, waiting } = &self.pushed;
        // Whole buffers times milliseconds.
        let of_buffer = |level: &Arc<Level>| (level.read() * 1e3 / (*limit).max(1) as f64) as u64;
        let waiting = of_buffer(waiting);
        Work {
            uptime: self.start.elapsed().as_millis() as u64,
            joined: true,
            settled: answered.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            working: of_buffer(held).saturating_sub(waiting),
            waiting,
            cpu: cpu_millis(),
            ..Work::default()
        }
    }

    /// Returns the counts as they are now.
    #[expect(clippy::disallowed_methods, reason = "an uptime is the clock")]
    pub(super) fn read(&self) -> Work {
        let millis = |time: Duration| time.as_millis() as u64;
        let spent = |nanoseconds: &AtomicU64| nanoseconds.load(Ordering::Relaxed) / 1_000_000;
        let group = self.group();
        Work {
            uptime: millis(self.start.elapsed()),
            joined: group.joined,
            assigned: group.assigned.map(|since| millis(since.elapsed())),
            settled: self.settled.load(Ordering::Relaxed),
            refused: 0,
            working: spent(&self.working),
            waiting: spent(&self.waiting),
            cpu: cpu_millis(),
            writes: self.writes.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// Milliseconds of a tick in `/proc`: Linux reports a hundred a second to programs, whatever it counts in itself.
const TICK: u64 = 10;

/// Returns the CPU time of this process, in user space and in the kernel. `None`: not Linux.
#[expect(clippy::disallowed_methods, reason = "a file of /proc is memory: reading it does not block")]
fn cpu_millis() -> Option<u64> {
    ticks(&std::fs::read_to_string("/proc/self/stat").ok()?).map(|ticks| ticks * TICK)
}

/// Returns the 14th and the 15th field together; the second, a name in parentheses, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_done_and_since_when_there_are_partitions() {
        let tally = Tally::new(1_000);
        assert_eq!((tally.read().joined, tally.read().assigned), (false, None));
        tally.hold(0, true);
        assert_eq!((tally.read().joined, tally.read().assigned), (true, None), "a member without a partition");
        tally.hold(3, true);
        tally.settle(5);
        tally.work(Duration::from_micros(1_500));
        tally.work(Duration::from_micros(1_500));
        tally.wait(Duration::from_millis(7));
        tally.write(Duration::from_millis(1));
        let work = tally.read();
        assert_eq!((work.settled, work.working, work.waiting, work.writes[2]), (5, 3, 7, 1));
        assert!(work.assigned.is_some());
        tally.hold(0, false);
        assert_eq!((tally.read().joined, tally.read().assigned), (false, None));
    }

    #[test]
    fn counts_requests_and_the_part_of_the_buffer_that_they_hold() {
        let tally = Tally::new(1_000);
        tally.answer_push();
        tally.answer_push();
        tally.refuse_push();
        let held = (tally.begin_push(1_000), tally.await_push(500));
        std::thread::sleep(Duration::from_millis(40));
        drop(held);
        let work = tally.read_pushed();
        assert_eq!((work.joined, work.settled, work.refused), (true, 2, 1));
        let (working, waiting) = (work.working, work.waiting);
        assert!(waiting >= 20 && working >= 18, "half of the whole buffer each: {working} ms and {waiting} ms");
        // The control: a processor's counts are others.
        assert_eq!((tally.read().settled, tally.read().working), (0, 0));
    }

    #[test]
    fn reads_the_cpu_time_behind_a_name_of_any_form() {
        let stat = "7 (a (b) 1 2) S 1 7 7 0 -1 4194560 9 0 0 0 250 31 0 0 20 0 4 0 100 1 2 3";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (worker) S 1"), None);
        assert!(cpu_millis().is_some());
    }
}
