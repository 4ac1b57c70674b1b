//! What is known at one moment, and the last minutes of it.
//!
//! A figure that could not be read is absent. It is never 0: missing metrics are no empty queue.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns how long ago `earlier` was; zero, if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// One look at the consumer group and its processors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Moment,
    /// Every partition that the group reads, in a fixed order.
    pub partitions: Vec<Partition>,
    /// Every processor that is a member of the group.
    pub workers: Vec<Worker>,
}

/// One partition: between its end and what the group has committed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Partition {
    /// Records from the committed offset (or the start of the log, if that is later) to the end. Absent: unknown.
    pub lag: Option<u64>,
    /// Records a second that were added since the look before. Absent: unknown, as at the first look.
    pub input: Option<f64>,
}

/// One processor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worker {
    /// For how long it has had partitions. A young one is still warming up, and says little about what it can do.
    pub age: Duration,
    /// What it did since the look before. Absent: its metrics could not be read.
    pub busy: Option<Busy>,
}

/// How a processor spent its time. The rest of it had nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Busy {
    /// Records a second that it settled.
    pub rate: f64,
    /// Part of its time, from 0 to 1, that it worked.
    pub working: f64,
    /// Part of its time, from 0 to 1, that it had records and a full window of writes that were not acknowledged.
    pub waiting: f64,
    /// How long a write took, 99 of 100. Absent: none was made.
    pub write: Option<Duration>,
}

/// What goes on that makes figures unsteady, or that a change would disturb.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Underway {
    /// The consumer group rebalances.
    pub rebalance: bool,
    /// Processors are being replaced, for an image or a setting.
    pub roll: bool,
    /// Which member of the consumer group is not one of the processors, and what to do about it. Absent: all are.
    pub stranger: Option<String>,
    /// What the stores are doing, such as `node cassandra-r1-2 joins`. Absent: nothing.
    pub store: Option<String>,
}

/// What a change of the number of processors costs, as it was measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RestartCost {
    /// From the change to a new processor's first record.
    pub start: Duration,
    /// How long the group stands still while it rebalances.
    pub stop: Duration,
}

/// The last observations, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    observations: VecDeque<Observation>,
    /// Until when someone else observed. Absent: there was nobody, or it does not matter.
    predecessor: Option<Moment>,
    /// The end of the last time in which nobody observed. Absent: there was none.
    gap_ended: Option<Moment>,
}

/// The longest that any estimate looks back.
pub(crate) const KEPT: Duration = Duration::from_secs(60);

/// A longer time without an observation is a gap: nobody knows what the input was. One operator follows another within
/// 15 s, and no window is shorter than this.
const GAP: Duration = Duration::from_secs(30);

impl History {
    /// Returns an empty history that follows that of another operator, which observed until then.
    pub fn after(predecessor: Moment) -> Self {
        Self { predecessor: Some(predecessor), ..Self::default() }
    }

    /// Adds an observation, and forgets those that no estimate looks at any more.
    pub fn push(&mut self, observation: Observation) {
        let now = observation.at;
        let before = self.newest().map(|newest| newest.at).or(self.predecessor);
        if before.is_some_and(|before| now.since(before) > GAP) {
            self.gap_ended = Some(now);
        }
        self.observations.retain(|earlier| earlier.at < now && now.since(earlier.at) < KEPT);
        self.observations.push_back(observation);
    }

    /// Returns the newest observation.
    pub fn newest(&self) -> Option<&Observation> {
        self.observations.back()
    }

    /// Returns when the last gap in the observations ended, if that was within this time. What was needed in a gap is unknown.
    pub(crate) fn gap_within(&self, window: Duration, now: Moment) -> Option<Moment> {
        self.gap_ended.filter(|ended| now.since(*ended) < window)
    }

    /// Returns the observations that are younger than this, measured from the newest, oldest first.
    pub fn within(&self, window: Duration) -> impl DoubleEndedIterator<Item = &Observation> {
        let now = self.newest().map_or(Moment(0), |newest| newest.at);
        self.observations.iter().filter(move |observation| now.since(observation.at) < window)
    }
}
