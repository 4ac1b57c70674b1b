//! What was seen of each pipeline's load in the last minutes: rates are differences of two looks, and trends take several.
//!
//! It is a memory of this process and of nothing else: an operator that starts without it has no look yet, and decides
//! nothing by a single one. Only how far topics were read is seen of every pipeline, all else of those whose processors or
//! producers are scaled. What it knows of others is until when the operator before it may have looked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use millrace_api::names::Names;
use millrace_scaling::{History, Moment};
use millrace_stores::kafka::Position;
use millrace_terms::Work;

/// Shortest time over which the pace of reading is measured: groups commit every few seconds, and stand still for some when a
/// member comes or goes.
pub const PACE_OVER: Duration = Duration::from_secs(60);
/// Longest such time: a pace from before is none of now.
const PACE_WITHIN: Duration = Duration::from_secs(600);

/// The last looks at the load of one pipeline.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// Those of the last minute.
    pub history: History,
    /// Where each topic ended when that was last known.
    pub ends: BTreeMap<String, Ends>,
    /// What each processor had done when it last answered, by the name of its pod.
    pub work: BTreeMap<String, Work>,
    /// Those at what is pushed.
    pub pushes: Pushes,
    /// How far each topic was read in the last minutes, the oldest first.
    pub reached: BTreeMap<String, Vec<Reached>>,
}

/// The last looks at what is pushed to a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Pushes {
    /// Those of the last minute.
    pub history: History,
    /// What each producer had done when it last answered, by the name of its pod.
    pub work: BTreeMap<String, Work>,
}

/// How far the partitions of a topic were read and written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reached {
    /// When.
    pub at: SystemTime,
    /// Offset that the group read next, by partition, where it had committed one.
    pub read: BTreeMap<i32, i64>,
    /// Offset behind the last record, by partition.
    pub written: BTreeMap<i32, i64>,
}

/// Remembers how far topics are read now, if that was last done long enough ago.
pub fn remember(reached: &mut BTreeMap<String, Vec<Reached>>, positions: &BTreeMap<String, Position>) {
    reached.retain(|topic, _| positions.contains_key(topic));
    for (topic, position) in positions {
        let Some(at) = position.at else { continue };
        let known = reached.entry(topic.clone()).or_default();
        // Where the clock was set back, nothing that is known has a time.
        let age = |reached: &Reached| at.duration_since(reached.at).ok();
        known.retain(|reached| age(reached).is_some_and(|age| age <= PACE_WITHIN));
        if known.last().and_then(age).is_none_or(|age| age >= PACE_OVER) {
            known.push(Reached { at, read: position.reached.clone(), written: position.ends.clone() });
        }
    }
}

/// Where the partitions of a topic ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ends {
    /// When.
    pub at: SystemTime,
    /// Offset behind the last record, by partition.
    pub offsets: BTreeMap<i32, i64>,
}

/// The last looks at the load of all pipelines; clones share them.
#[derive(Clone, Debug, Default)]
pub struct LastLooks {
    looks: Arc<Mutex<BTreeMap<Names, Looks>>>,
    /// Until when the operator before this one led. Absent: it does not matter.
    predecessor: Option<Moment>,
}

impl LastLooks {
    /// Makes those of an operator whose predecessor led until then.
    pub fn after(predecessor: Moment) -> Self {
        Self { predecessor: Some(predecessor), ..Self::default() }
    }

    /// Returns the last looks at a pipeline, and forgets them until they are kept again: one pass at a time is about it.
    pub fn take(&self, names: &Names) -> Looks {
        let first = || {
            let history = self.predecessor.map(History::after).unwrap_or_default();
            let pushes = Pushes { history: history.clone(), ..Pushes::default() };
            Looks { history, pushes, ..Looks::default() }
        };
        self.lock().remove(names).unwrap_or_else(first)
    }

    /// Keeps the last looks at a pipeline for the next pass.
    pub fn keep(&self, names: &Names, looks: &Looks) {
        self.lock().insert(names.clone(), looks.clone());
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, names: &Names) {
        self.lock().remove(names);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Names, Looks>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(seconds: u64, read: i64) -> BTreeMap<String, Position> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let position = Position { at: Some(at), reached: [(0, read)].into(), ..Position::default() };
        [("users".to_owned(), position)].into()
    }

    #[test]
    fn what_was_read_is_remembered_each_minute_for_ten() {
        let mut reached = BTreeMap::new();
        for pass in 0..100_i64 {
            remember(&mut reached, &position(pass.unsigned_abs() * 15, pass));
        }
        let read: Vec<i64> = reached["users"].iter().map(|reached| reached.read[&0]).collect();
        assert_eq!(read, [60, 64, 68, 72, 76, 80, 84, 88, 92, 96]);
        remember(&mut reached, &BTreeMap::new());
        assert!(reached.is_empty(), "no query reads it any more");
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut reached = BTreeMap::new();
        remember(&mut reached, &position(1_000, 7));
        remember(&mut reached, &position(10, 9));
        assert_eq!(reached["users"].iter().map(|reached| reached.read[&0]).collect::<Vec<_>>(), [9]);
    }
}
