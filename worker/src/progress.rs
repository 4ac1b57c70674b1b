//! When records were settled, as far as a processor remembers: the answer for a client that follows one record.
//!
//! Noted is how far each partition is settled without a gap, now and then, so that a record's time is late by the pause
//! between two notes. Memory is bounded: of the older half every two neighbours become one, which takes the later time,
//! so that yesterday is remembered by minutes and the last seconds by milliseconds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ledger::Stretch;
use crate::message::PartitionId;

/// Notes that are kept of a partition, at 24 bytes.
const MOST: usize = 2_048;

/// What is remembered of all partitions; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    partitions: Arc<Mutex<BTreeMap<PartitionId, Memory>>>,
}

impl Progress {
    /// Notes how far partitions are settled at a moment, in milliseconds since 1970.
    pub fn note(&self, settled: impl Iterator<Item = (PartitionId, Stretch)>, at: i64) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, stretch) in settled {
            partitions.entry(partition).or_default().note(stretch, at);
        }
    }

    /// Returns when a record was settled at the latest, in milliseconds since 1970. `None`: not here, or forgotten.
    pub fn settled_at(&self, partition: PartitionId, offset: i64) -> Option<i64> {
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.get(&partition)?.settled_at(offset)
    }
}

/// What is remembered of one partition: stretches of offsets in order, each with its time.
#[derive(Debug, Default)]
struct Memory {
    notes: VecDeque<(Stretch, i64)>,
}

impl Memory {
    fn note(&mut self, Stretch { first, next }: Stretch, at: i64) {
        // What a replay settles again keeps its time.
        let first = self.notes.back().map_or(first, |(last, _)| last.next.max(first));
        if first >= next {
            return;
        }
        if self.notes.len() == MOST {
            self.thin();
        }
        self.notes.push_back((Stretch { first, next }, at));
    }

    /// Makes room for more: neighbours of the older half become one.
    fn thin(&mut self) {
        let newer = self.notes.split_off(MOST / 2);
        let mut older: VecDeque<(Stretch, i64)> = VecDeque::with_capacity(MOST);
        let mut is_pair = true;
        for (stretch, at) in self.notes.drain(..) {
            match older.back_mut() {
                Some((before, until)) if !is_pair && before.next == stretch.first => {
                    (before.next, *until) = (stretch.next, at);
                    is_pair = true;
                }
                _ => {
                    older.push_back((stretch, at));
                    is_pair = false;
                }
            }
        }
        // Stretches with gaps between them cannot become one: the oldest of those go.
        let surplus = (older.len() + newer.len() + 1).saturating_sub(MOST);
        older.drain(..surplus);
        older.extend(newer);
        self.notes = older;
    }

    fn settled_at(&self, offset: i64) -> Option<i64> {
        let place = self.notes.partition_point(|(stretch, _)| stretch.next <= offset);
        let (stretch, at) = self.notes.get(place)?;
        (stretch.first <= offset).then_some(*at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(notes: impl IntoIterator<Item = (i64, i64, i64)>) -> Memory {
        let mut memory = Memory::default();
        for (first, next, at) in notes {
            memory.note(Stretch { first, next }, at);
        }
        memory
    }

    #[test]
    fn a_record_has_the_time_of_the_first_note_past_it() {
        let memory = noted([(10, 12, 100), (10, 12, 105), (10, 20, 110)]);
        let times = [9, 10, 11, 12, 19, 20].map(|offset| memory.settled_at(offset));
        assert_eq!(times, [None, Some(100), Some(100), Some(110), Some(110), None]);
    }

    #[test]
    fn what_another_processor_had_meanwhile_is_unknown() {
        let memory = noted([(0, 5, 100), (50, 60, 200)]);
        assert_eq!([4, 5, 49, 50].map(|offset| memory.settled_at(offset)), [Some(100), None, None, Some(200)]);
    }

    #[test]
    fn a_replay_leaves_the_first_time() {
        let memory = noted([(0, 100, 1), (20, 60, 2), (20, 110, 3)]);
        assert_eq!([30, 99, 100].map(|offset| memory.settled_at(offset)), [Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn gaps_do_not_make_it_grow() {
        let memory = noted((0..10_000).map(|index| (index * 10, index * 10 + 5, index)));
        assert!(memory.notes.len() <= MOST, "{}", memory.notes.len());
        assert_eq!(memory.settled_at(99_990), Some(9_999));
        assert_eq!(memory.settled_at(0), None, "the oldest is forgotten");
    }

    proptest! {
        /// However long it goes on, memory is bounded, a time is never too early, and the latest are exact.
        #[test]
        fn times_are_late_and_never_early(steps in prop::collection::vec(1i64..50, 1..20_000)) {
            let mut memory = Memory::default();
            let (mut next, mut ends) = (0, Vec::new());
            for (at, step) in (0i64..).zip(&steps) {
                next += step;
                ends.push(next);
                memory.note(Stretch { first: 0, next }, at);
                prop_assert!(memory.notes.len() <= MOST);
            }
            let exact = ends.len().saturating_sub(MOST / 2);
            for (at, end) in ends.iter().enumerate() {
                let told = memory.settled_at(end - 1).expect("nothing is forgotten without gaps");
                prop_assert!(told >= at as i64);
                prop_assert!(at < exact || told == at as i64, "note {} of {} has {}", at, ends.len(), told);
            }
        }
    }
}
