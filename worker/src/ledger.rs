//! The ledger: which consumed records are settled, and how far it is safe to commit. Pure.
//!
//! Records come in per partition in offset order and are settled in any order. An offset is safe only when every
//! record consumed before it in the same assignment is settled. Settlements of an earlier assignment are ignored.
//! What is settled is forgotten, so that the ledger holds no more than what is in hand.

use std::collections::{BTreeMap, VecDeque};

use crate::message::{Epoch, Offsets, PartitionId, Position};

/// The account of all assigned partitions.
#[derive(Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<PartitionId, Account>,
}

/// Offsets from `first` up to `next`, which is not one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// The first.
    pub first: i64,
    /// The one after the last.
    pub next: i64,
}

/// The account of one partition under one assignment.
#[derive(Debug)]
struct Account {
    epoch: Epoch,
    /// Consumed and not settled, by offset in order: records mostly come at the end and are settled near the start.
    unsettled: VecDeque<(i64, State)>,
    /// How many of them are still awaited.
    awaited: usize,
    /// First offset consumed. Absent: nothing under this assignment.
    first: Option<i64>,
    /// Largest offset consumed. Absent: nothing under this assignment.
    highest: Option<i64>,
    /// Next offset to consume if everything up to here is settled. Absent: nothing settled under this assignment.
    safe: Option<i64>,
    /// What the group coordinator has confirmed. Absent: nothing under this assignment.
    confirmed: Option<i64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Awaited,
    /// Given up; the safe offset never passes it, so that the record is consumed again.
    Abandoned,
}

impl Account {
    fn new(epoch: Epoch) -> Self {
        Self { epoch, unsettled: VecDeque::new(), awaited: 0, first: None, highest: None, safe: None, confirmed: None }
    }

    fn enter(&mut self, offset: i64) {
        // An offset that is there already is consumed again, as after a reset of the position.
        if let Err(place) = self.find(offset) {
            self.unsettled.insert(place, (offset, State::Awaited));
            self.awaited += 1;
        }
        self.first.get_or_insert(offset);
        self.highest = self.highest.max(Some(offset));
    }

    fn settle(&mut self, offset: i64) {
        let Ok(place) = self.find(offset) else { return };
        if self.unsettled[place].1 != State::Awaited {
            return;
        }
        self.unsettled.remove(place);
        self.awaited -= 1;
        if place == 0 {
            let first = self.unsettled.front().map(|(offset, _)| *offset);
            self.safe = first.or(self.highest.map(|highest| highest + 1));
        }
    }

    fn abandon(&mut self, offset: i64) {
        if let Ok(place) = self.find(offset)
            && self.unsettled[place].1 == State::Awaited
        {
            self.unsettled[place].1 = State::Abandoned;
            self.awaited -= 1;
        }
    }

    /// Returns where an offset is, or where it would be.
    fn find(&self, offset: i64) -> Result<usize, usize> {
        match self.unsettled.back() {
            Some((last, _)) if *last < offset => Err(self.unsettled.len()),
            _ => self.unsettled.binary_search_by_key(&offset, |(offset, _)| *offset),
        }
    }
}

impl Ledger {
    /// Opens the account of a partition, closing what an earlier assignment left.
    pub fn open(&mut self, partition: PartitionId, epoch: Epoch) {
        self.partitions.insert(partition, Account::new(epoch));
    }

    /// Enters a consumed record; returns false if its assignment is over, and the record must be dropped.
    pub fn enter(&mut self, position: Position) -> bool {
        let Some(account) = self.account(position) else {
            return false;
        };
        account.enter(position.offset);
        true
    }

    /// Notes that a record's row or dead letter is acknowledged.
    pub fn settle(&mut self, position: Position) {
        if let Some(account) = self.account(position) {
            account.settle(position.offset);
        }
    }

    /// Notes that a record is given up: it will be consumed again, by the processor that has the partition then.
    pub fn abandon(&mut self, position: Position) {
        if let Some(account) = self.account(position) {
            account.abandon(position.offset);
        }
    }

    /// Returns how many records of a partition are still awaited.
    pub fn awaited(&self, partition: PartitionId) -> usize {
        self.partitions.get(&partition).map_or(0, |account| account.awaited)
    }

    /// Returns the safe offsets that the coordinator has not confirmed.
    pub fn unconfirmed(&self) -> Offsets {
        let moved = self.partitions.iter().filter(|(_, account)| account.safe > account.confirmed);
        moved.filter_map(|(partition, account)| account.safe.map(|offset| (*partition, offset))).collect()
    }

    /// Returns what is settled without a gap under the present assignments.
    pub fn settled(&self) -> impl Iterator<Item = (PartitionId, Stretch)> {
        self.partitions.iter().filter_map(|(partition, account)| {
            let (first, next) = account.first.zip(account.safe)?;
            Some((*partition, Stretch { first, next }))
        })
    }

    /// Notes what the coordinator has confirmed.
    pub fn confirm(&mut self, offsets: &Offsets) {
        for (partition, offset) in offsets {
            if let Some(account) = self.partitions.get_mut(partition) {
                // A confirmation may come from an earlier assignment of the partition; it never claims too much,
                // since this account's own safe offset bounds it.
                account.confirmed = account.confirmed.max(Some(*offset).min(account.safe));
            }
        }
    }

    /// Closes the accounts of partitions that go away and returns their last safe, unconfirmed offsets.
    pub fn close(&mut self, partitions: &[PartitionId]) -> Offsets {
        let mut last = self.unconfirmed();
        last.retain(|partition, _| partitions.contains(partition));
        self.partitions.retain(|partition, _| !partitions.contains(partition));
        last
    }

    /// Returns the assigned partitions.
    pub fn assigned(&self) -> Vec<PartitionId> {
        self.partitions.keys().copied().collect()
    }

    fn account(&mut self, position: Position) -> Option<&mut Account> {
        self.partitions.get_mut(&position.partition).filter(|account| account.epoch == position.epoch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTITION: PartitionId = PartitionId { topic: 0, partition: 0 };

    fn at(epoch: u64, offset: i64) -> Position {
        Position { partition: PARTITION, epoch: Epoch(epoch), offset }
    }

    fn safe(ledger: &Ledger) -> Option<i64> {
        ledger.unconfirmed().get(&PARTITION).copied()
    }

    #[test]
    fn advances_to_the_first_unsettled_record_only() {
        let mut ledger = Ledger::default();
        ledger.open(PARTITION, Epoch(1));
        // Offsets 12 and 13 do not exist: compaction and control records leave such holes.
        for offset in [10, 11, 14] {
            assert!(ledger.enter(at(1, offset)));
        }
        ledger.settle(at(1, 11));
        assert_eq!(safe(&ledger), None);
        ledger.settle(at(1, 10));
        assert_eq!(safe(&ledger), Some(14));
        assert_eq!(ledger.settled().next(), Some((PARTITION, Stretch { first: 10, next: 14 })));
        ledger.settle(at(1, 14));
        assert_eq!(safe(&ledger), Some(15));
        ledger.confirm(&Offsets::from([(PARTITION, 15)]));
        assert_eq!(safe(&ledger), None);
    }

    #[test]
    fn drops_what_belongs_to_an_earlier_assignment() {
        let mut ledger = Ledger::default();
        ledger.open(PARTITION, Epoch(1));
        ledger.enter(at(1, 5));
        ledger.close(&[PARTITION]);
        ledger.settle(at(1, 5));
        assert_eq!(safe(&ledger), None);
        ledger.open(PARTITION, Epoch(2));
        ledger.enter(at(2, 5));
        ledger.settle(at(1, 5));
        assert_eq!(safe(&ledger), None);
        assert!(!ledger.enter(at(1, 6)));
        assert_eq!(ledger.awaited(PARTITION), 1);
    }

    #[test]
    fn never_passes_an_abandoned_record() {
        let mut ledger = Ledger::default();
        ledger.open(PARTITION, Epoch(1));
        for offset in 0..3 {
            ledger.enter(at(1, offset));
        }
        ledger.abandon(at(1, 1));
        ledger.settle(at(1, 0));
        ledger.settle(at(1, 2));
        ledger.settle(at(1, 1));
        assert_eq!(ledger.awaited(PARTITION), 0);
        assert_eq!(ledger.close(&[PARTITION]), Offsets::from([(PARTITION, 1)]));
        assert!(ledger.assigned().is_empty());
    }

    #[test]
    fn forgets_what_is_settled_behind_one_stuck_record() {
        let mut ledger = Ledger::default();
        ledger.open(PARTITION, Epoch(1));
        ledger.enter(at(1, 0));
        for offset in 1..=1_000_000 {
            ledger.enter(at(1, offset));
            ledger.settle(at(1, offset));
        }
        assert_eq!(ledger.partitions[&PARTITION].unsettled.len(), 1);
        assert_eq!(safe(&ledger), None);
        ledger.settle(at(1, 0));
        assert_eq!(safe(&ledger), Some(1_000_001));
    }

    #[test]
    fn counts_once_a_record_that_is_consumed_again_after_a_reset() {
        let mut ledger = Ledger::default();
        ledger.open(PARTITION, Epoch(1));
        for offset in [5, 6, 7] {
            ledger.enter(at(1, offset));
        }
        ledger.settle(at(1, 5));
        ledger.confirm(&Offsets::from([(PARTITION, 6)]));
        for offset in [5, 6] {
            ledger.enter(at(1, offset));
        }
        assert_eq!(ledger.awaited(PARTITION), 3);
        for offset in [5, 6, 6, 7, 7] {
            ledger.settle(at(1, offset));
        }
        assert_eq!(ledger.awaited(PARTITION), 0);
        assert_eq!(safe(&ledger), Some(8));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(i64),
        Settle(usize),
        Abandon(usize),
        Reassign,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1i64..4).prop_map(Step::Enter),
            4 => any::<usize>().prop_map(Step::Settle),
            1 => any::<usize>().prop_map(Step::Abandon),
            1 => Just(Step::Reassign),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// After any history the safe offset is past the settled prefix of this assignment, and not past the record
        /// that follows it; between the two there are only offsets that hold no record.
        #[test]
        fn never_commits_past_a_gap(steps in steps()) {
            let mut ledger = Ledger::default();
            let mut epoch = 1;
            let mut offset = 0;
            let mut all: Vec<Position> = Vec::new();
            let mut settled: Vec<Position> = Vec::new();
            let mut closed: Vec<Position> = Vec::new();
            ledger.open(PARTITION, Epoch(epoch));
            for step in steps {
                match step {
                    Step::Enter(distance) => {
                        offset += distance;
                        all.push(at(epoch, offset));
                        prop_assert!(ledger.enter(at(epoch, offset)));
                    }
                    Step::Settle(pick) if !all.is_empty() => {
                        let position = all[pick % all.len()];
                        ledger.settle(position);
                        if !closed.contains(&position) {
                            closed.push(position);
                            settled.push(position);
                        }
                    }
                    Step::Abandon(pick) if !all.is_empty() => {
                        let position = all[pick % all.len()];
                        ledger.abandon(position);
                        if !closed.contains(&position) {
                            closed.push(position);
                        }
                    }
                    Step::Reassign => {
                        epoch += 1;
                        // The group may hand the partition back at an earlier offset.
                        offset = offset.saturating_sub(5);
                        ledger.open(PARTITION, Epoch(epoch));
                    }
                    Step::Settle(_) | Step::Abandon(_) => {}
                }
                let current = all.iter().filter(|position| position.epoch == Epoch(epoch));
                let prefix = current.clone().take_while(|position| settled.contains(position)).last();
                let next = current.clone().find(|position| !settled.contains(position));
                let least = prefix.map(|position| position.offset + 1);
                prop_assert_eq!(safe(&ledger).is_some(), least.is_some());
                prop_assert!(safe(&ledger) >= least);
                let most = next.or(prefix).map(|position| position.offset + i64::from(next.is_none()));
                prop_assert!(safe(&ledger) <= most, "{:?}, {most:?}", safe(&ledger));
            }
        }
    }
}
