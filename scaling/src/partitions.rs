//! How many processors share a number of partitions without an odd one, and whether they suffice for a load.
//!
//! A partition is read by one processor. With 12 partitions, 8 processors do no more than 6: some of the 8 have two
//! partitions, as all of the 6 have, and the slowest of them is how far the group is.

use std::time::Duration;

/// Returns the fewest processors of which none has more partitions than with `replicas` of them.
pub fn aligned(replicas: u32, partitions: u32) -> u32 {
    match replicas.min(partitions) {
        0 => 0,
        replicas => partitions.div_ceil(partitions.div_ceil(replicas)),
    }
}

/// Returns the numbers of processors that are worth having, ascending: aligned, from `floor` to `cap`, and last `cap`
/// itself.
///
/// Where no aligned number suffices, partitions that have a processor to themselves are at least processed sooner.
pub(crate) fn candidates(floor: u32, cap: u32, partitions: u32) -> Vec<u32> {
    let aligned = (floor.max(1)..=cap).map(|replicas| aligned(replicas, partitions).max(floor));
    let mut found: Vec<u32> = aligned.chain((cap > 0).then_some(cap)).collect();
    found.dedup();
    found
}

/// As many parts as a load has that can be shared evenly: so many that each number of workers gets the same share, to a small
/// part of one.
const EVENLY: u32 = 1_000_000;

/// What the partitions hold and get.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) partitions: u32,
    /// Records a second, of all partitions.
    pub(crate) input: f64,
    /// Records that wait longer than usual, of all partitions.
    pub(crate) backlog: f64,
    /// Which partition asks for most.
    pub(crate) hottest: usize,
    pub(crate) hottest_input: f64,
    pub(crate) hottest_backlog: f64,
}

/// What processors are asked to do with a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Task {
    /// Records a second of a processor that is busy all the time.
    pub(crate) capacity: f64,
    /// Part of their time that the input may take.
    pub(crate) utilisation: f64,
    /// How long what waits may take.
    pub(crate) catch_up: Duration,
    /// Records that will wait besides, by the time the processors are there.
    pub(crate) extra: f64,
}

/// How busy the processor of the hottest partition may be: it cannot be spread, so it gets less room than the others.
const HOTTEST_UTILISATION: f64 = 0.95;

/// What the other partitions of its processor may ask of one that cannot keep up anyway, as a part of what its hottest
/// partition asks: to have it to itself would cost a processor for every partition.
const BESIDE_A_HOPELESS_PARTITION: f64 = 0.25;

impl Load {
    /// Returns the same load without what waits.
    pub(crate) fn without_backlog(&self) -> Self {
        Self { backlog: 0.0, hottest_backlog: 0.0, ..*self }
    }

    /// Returns the same load as one that any number of workers can share.
    pub(crate) fn shared_evenly(&self) -> Self {
        Self { partitions: EVENLY, hottest: 0, hottest_input: 0.0, hottest_backlog: 0.0, ..*self }
    }

    /// Returns what waits and more processors can help with.
    pub(crate) fn curable_backlog(&self, capacity: f64) -> f64 {
        let hopeless = if self.is_one_too_hot(capacity) { self.hottest_backlog } else { 0.0 };
        self.backlog - hopeless
    }

    /// Returns what processors do together, in busy processors: fewer than there are, if some have a partition less.
    pub(crate) fn effective(&self, replicas: u32) -> f64 {
        match replicas.min(self.partitions) {
            0 => 0.0,
            replicas => f64::from(self.partitions) / f64::from(self.partitions.div_ceil(replicas)),
        }
    }

    /// Returns whether the hottest partition alone has more input than a processor can take.
    pub(crate) fn is_one_too_hot(&self, capacity: f64) -> bool {
        self.hottest_input > capacity * HOTTEST_UTILISATION
    }

    /// Returns whether this many processors are enough, wherever the hottest partition ends up.
    pub(crate) fn suffices(&self, replicas: u32, task: &Task) -> bool {
        let together = self.effective(replicas);
        if together == 0.0 {
            return self.input == 0.0 && self.backlog == 0.0;
        }
        let catch_up = task.catch_up.as_secs_f64().max(1.0);
        let share = if self.input > 0.0 { self.hottest_input / self.input } else { 0.0 };
        let waits = (self.backlog + task.extra) / catch_up;
        let waits_in_hottest = (self.hottest_backlog + task.extra * share) / catch_up;
        // The room that the input leaves is what a backlog is worked off in.
        let wanted = |input: f64, waits: f64, utilisation: f64| (input / utilisation).max(input + waits);

        // All together. Of the hottest partition no more can be done than one processor does.
        let hottest = wanted(self.hottest_input, waits_in_hottest, task.utilisation).min(task.capacity);
        let others = wanted(self.input - self.hottest_input, waits - waits_in_hottest, task.utilisation);
        if hottest + others > together * task.capacity {
            return false;
        }

        // The processor of the hottest partition.
        let beside = f64::from(self.partitions.div_ceil(replicas) - 1);
        if beside == 0.0 {
            return true;
        }
        let hottest = wanted(self.hottest_input, waits_in_hottest, HOTTEST_UTILISATION);
        let others = wanted(self.input - self.hottest_input, waits - waits_in_hottest, HOTTEST_UTILISATION);
        let beside = beside * others / f64::from(self.partitions - 1);
        match hottest > task.capacity {
            true => beside <= BESIDE_A_HOPELESS_PARTITION * hottest,
            false => hottest + beside <= task.capacity,
        }
    }

    /// Returns the number of these that is nearest to the target: the fewest that suffice at its utilisation, or the
    /// fewest that suffice at the `highest`, if those are less too busy than the others are too idle.
    ///
    /// Where no number suffices, it is the most.
    pub(crate) fn nearest(&self, candidates: &[u32], task: &Task, highest: f64) -> u32 {
        let fewest = |task: &Task| {
            let enough = candidates.iter().copied().find(|replicas| self.suffices(*replicas, task));
            enough.or(candidates.last().copied()).unwrap_or(0)
        };
        let (most, least) = (fewest(task), fewest(&Task { utilisation: highest, ..*task }));
        let wanted = self.input / task.utilisation / task.capacity;
        let is_too_idle = self.effective(most) * self.effective(least) > wanted * wanted;
        if is_too_idle { least } else { most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_processor_has_a_partition_more_than_with_the_number_asked_for_and_fewer_would_not_do() {
        for partitions in 1..200_u32 {
            for replicas in 1..=partitions {
                let found = aligned(replicas, partitions);
                let most = partitions.div_ceil(replicas);
                assert!(found <= replicas);
                assert_eq!(partitions.div_ceil(found), most, "{replicas} of {partitions}");
                assert!(found == 1 || partitions.div_ceil(found - 1) > most, "{replicas} of {partitions}");
            }
        }
    }

    #[test]
    fn the_numbers_worth_having_are_few() {
        assert_eq!(candidates(1, 12, 12), [1, 2, 3, 4, 6, 12]);
        assert_eq!(candidates(0, 9, 12), [1, 2, 3, 4, 6, 9]);
        assert_eq!(candidates(5, 12, 12), [5, 6, 12]);
        assert_eq!(candidates(1, 10, 10), [1, 2, 3, 4, 5, 10]);
        assert_eq!(candidates(0, 0, 12), Vec::<u32>::new());
    }

    fn even(partitions: u32, input: f64) -> Load {
        let hottest_input = input / f64::from(partitions);
        Load { partitions, input, hottest_input, ..Load::default() }
    }

    const TASK: Task = Task { capacity: 1000.0, utilisation: 0.7, catch_up: Duration::from_secs(60), extra: 0.0 };

    #[test]
    fn processors_with_one_partition_less_do_not_count() {
        // 8 of 12 would be enough if records were water: 8,000 against 7,143. Four of them have two partitions.
        let load = even(12, 5_000.0);
        assert!(!load.suffices(8, &TASK));
        assert!(!load.suffices(6, &TASK));
        assert!(load.suffices(12, &TASK));
        assert!(even(12, 4_200.0).suffices(6, &TASK));
    }

    #[test]
    fn what_waits_is_worked_off_in_the_room_that_the_input_leaves() {
        let behind = |backlog: f64| Load { backlog, hottest_backlog: backlog / 12.0, ..even(12, 4_000.0) };
        // 6 have room for 2,000 a second: 120,000 in a minute.
        assert!(behind(119_000.0).suffices(6, &TASK));
        assert!(!behind(121_000.0).suffices(6, &TASK));
        assert!(behind(121_000.0).suffices(6, &Task { catch_up: Duration::from_secs(600), ..TASK }));
        assert!(!behind(119_000.0).suffices(6, &Task { extra: 2_000.0, ..TASK }));
    }

    #[test]
    fn the_nearest_is_neither_much_too_busy_nor_much_too_idle() {
        let nearest = |input: f64| even(12, input).nearest(&[1, 2, 3, 4, 6, 12], &TASK, 0.8);
        // 6 are 75 % busy, 12 would be 38 %.
        assert_eq!(nearest(4_500.0), 6);
        assert_eq!(nearest(4_900.0), 12);
        // 3 are 79 % busy, 4 would be 59 %.
        assert_eq!(nearest(2_370.0), 3);
        assert_eq!(nearest(50_000.0), 12);
    }

    #[test]
    fn what_is_shared_evenly_has_no_odd_number() {
        let one = Load { partitions: 1, input: 1_500.0, hottest_input: 1_500.0, ..Load::default() };
        assert_eq!(candidates(1, 32, EVENLY), (1..=32).collect::<Vec<u32>>());
        let (together, alone) = (one.shared_evenly(), Task { utilisation: 0.95, ..TASK });
        assert!(together.suffices(2, &alone) && !together.suffices(1, &alone));
        assert!(!together.is_one_too_hot(1_000.0) && one.is_one_too_hot(1_000.0), "one partition is one processor's");
    }

    #[test]
    fn a_hot_partition_gets_a_processor_to_itself_only_if_that_helps() {
        let hot = |input: f64| Load { hottest_input: input, ..even(12, 3_000.0) };
        // Beside one of the others, which get 200 to 250 records a second, there is room for 300, not for 800.
        assert!(hot(300.0).suffices(6, &TASK));
        assert!(!hot(800.0).suffices(6, &TASK));
        assert!(hot(800.0).suffices(12, &TASK));
        // A processor cannot take it anyway.
        assert!(hot(1_500.0).suffices(6, &TASK));
    }
}
