//! Which marks may be kept: those of batches of which every record is settled, as are all records before. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::cursor::Mark;

/// A batch of one lane, counted from 0.
pub(super) type BatchNumber = u64;

/// The batches under way, in order, and the marks that are due.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Number of the batch in front.
    first: BatchNumber,
    batches: VecDeque<Batch>,
    /// The latest position of each part.
    due: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Batch {
    /// Records that were sent and are not settled.
    open: usize,
    /// Whether all records were sent or rejected.
    sent: bool,
    marks: Vec<Mark>,
}

impl Marks {
    /// Begins the next batch; the one before it must be [`Marks::sent_all`].
    pub(super) fn begin(&mut self, marks: Vec<Mark>) {
        self.batches.push_back(Batch { marks, ..Batch::default() });
    }

    /// Makes marks due whatever becomes of their records: the negative control.
    pub(super) fn due_at_once(&mut self, marks: Vec<Mark>) {
        self.due.extend(marks.into_iter().map(|mark| (mark.part, mark.position)));
    }

    /// Notes that a record of the last batch is sent; returns the batch's number.
    pub(super) fn sent(&mut self) -> BatchNumber {
        if let Some(batch) = self.batches.back_mut() {
            batch.open += 1;
        }
        self.first + self.batches.len().saturating_sub(1) as u64
    }

    /// Notes that the last batch has no records left to send.
    pub(super) fn sent_all(&mut self) {
        if let Some(batch) = self.batches.back_mut() {
            batch.sent = true;
        }
        self.advance();
    }

    /// Notes that a record of a batch is acknowledged, or refused for good.
    pub(super) fn settled(&mut self, number: BatchNumber) {
        let index = usize::try_from(number - self.first).expect("the batches under way fit in memory");
        self.batches[index].open -= 1;
        self.advance();
    }

    /// Returns whether marks are due.
    pub(super) fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes the marks that are due.
    pub(super) fn take_due(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.due).into_iter().map(|(part, position)| Mark { part, position }).collect()
    }

    /// Makes marks due again that could not be kept, but for parts that have moved on.
    pub(super) fn put_back(&mut self, marks: Vec<Mark>) {
        for Mark { part, position } in marks {
            self.due.entry(part).or_insert(position);
        }
    }

    fn advance(&mut self) {
        while self.batches.front().is_some_and(|batch| batch.sent && batch.open == 0) {
            let settled = self.batches.pop_front().unwrap_or_default();
            self.first += 1;
            self.due.extend(settled.marks.into_iter().map(|mark| (mark.part, mark.position)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn mark(part: &str, position: &str) -> Mark {
        Mark { part: part.to_owned(), position: position.to_owned() }
    }

    #[test]
    fn a_mark_is_due_when_all_records_up_to_it_are_settled() {
        let mut marks = Marks::default();
        marks.begin(vec![mark("a", "1")]);
        let first = [marks.sent(), marks.sent()];
        marks.sent_all();
        marks.begin(vec![mark("a", "2"), mark("b", "1")]);
        let second = marks.sent();
        marks.sent_all();
        assert_eq!((first, second), ([0, 0], 1));
        marks.settled(second);
        marks.settled(0);
        assert!(!marks.are_due(), "a record of the first batch is open");
        marks.settled(0);
        assert_eq!(marks.take_due(), [mark("a", "2"), mark("b", "1")]);
    }

    #[test]
    fn a_batch_without_a_record_that_can_be_sent_is_settled_at_once() {
        let mut marks = Marks::default();
        marks.begin(vec![mark("a", "1")]);
        marks.sent_all();
        assert_eq!(marks.take_due(), [mark("a", "1")]);
    }

    #[test]
    fn what_could_not_be_kept_is_due_again_unless_there_is_a_later_one() {
        let mut marks = Marks::default();
        marks.begin(vec![mark("a", "2")]);
        marks.sent_all();
        marks.put_back(vec![mark("a", "1"), mark("b", "1")]);
        assert_eq!(marks.take_due(), [mark("a", "2"), mark("b", "1")]);
    }

    proptest! {
        /// Whatever order records settle in, a due position never lies behind a record that is open.
        #[test]
        fn never_marks_past_an_open_record(
            sizes in prop::collection::vec(0usize..4, 1..8),
            order in prop::collection::vec(any::<prop::sample::Index>(), 32),
        ) {
            let mut marks = Marks::default();
            let mut open: BTreeMap<BatchNumber, usize> = BTreeMap::new();
            for (number, size) in sizes.iter().enumerate() {
                marks.begin(vec![mark("a", &number.to_string())]);
                for _ in 0..*size {
                    *open.entry(marks.sent()).or_default() += 1;
                }
                marks.sent_all();
            }
            for index in order {
                if let Some(due) = marks.take_due().first() {
                    let position: u64 = due.position.parse().expect("a number");
                    prop_assert!(open.keys().all(|number| *number > position), "{position} is due, {open:?} are open");
                }
                let Some(number) = (!open.is_empty()).then(|| *index.get(&open.keys().copied().collect::<Vec<_>>()))
                else {
                    break;
                };
                marks.settled(number);
                open.entry(number).and_modify(|left| *left -= 1);
                open.retain(|_, left| *left > 0);
            }
        }
    }
}
