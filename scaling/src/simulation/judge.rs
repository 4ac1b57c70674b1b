//! One policy in one scenario, and what it cost.

use super::Policy;
use super::flink::Flink;
use super::keda::Keda;
use super::numaflow::Numaflow;
use super::ours::Ours;
use super::scenario::Scenario;
use super::world::{DELAYED, LATE, World};

/// What a policy did in a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By how many the most processors there were exceed the most that were needed.
    pub overshoot: u32,
    /// How often records waited for more than [`DELAYED`] seconds, and for how long each time until none waited for
    /// more than [`CAUGHT_UP`], in seconds.
    pub behind: Vec<u32>,
    /// Processors times seconds.
    pub replica_seconds: f64,
    /// The same for as many as keep up at each second, with all known beforehand.
    pub least_seconds: f64,
    /// Rebalances of the group.
    pub rebalances: u32,
    /// Records that waited for more than [`DELAYED`] seconds.
    pub delayed: f64,
    /// Records that waited for more than [`LATE`] seconds.
    pub late: f64,
    /// Records.
    pub records: f64,
    /// Records a second of one processor.
    pub rate: f64,
    /// Each change: second, processors before, processors after.
    pub moves: Vec<(u32, u32, u32)>,
}

/// When none waits for longer, the backlog is gone.
pub const CAUGHT_UP: u32 = 2;

/// What waiting costs, in what it costs to process a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// Of a record that waited for more than [`DELAYED`] seconds.
    pub delayed: f64,
    /// Of a record that waited for more than [`LATE`] seconds, in place of that.
    pub late: f64,
}

/// What the tables' cost is made with: a delayed record costs as much as another one, a late one as ten.
pub const USUAL: Patience = Patience { delayed: 1.0, late: 10.0 };

impl Outcome {
    /// Returns processor-seconds and what waiting cost, against the least that could be.
    pub fn cost(&self, patience: Patience) -> f64 {
        let waiting = patience.delayed * (self.delayed - self.late) + patience.late * self.late;
        (self.replica_seconds + waiting / self.rate) / self.least_seconds
    }

    /// Returns the longest time until a backlog was gone. None, if there was no backlog.
    pub fn longest_behind(&self) -> Option<u32> {
        self.behind.iter().copied().max()
    }
}

/// Plays a scenario.
pub fn play(scenario: &Scenario, policy: &mut dyn Policy) -> Outcome {
    let mut world = World::new(scenario);
    let mut outcome = Outcome { rate: scenario.worker.rate, ..Outcome::default() };
    let (mut most, mut most_needed, mut since) = (0, 0, None);
    for second in 0..scenario.end() {
        let seen = world.step();
        outcome.records = seen.total_arrived();
        outcome.replica_seconds += f64::from(seen.replicas);
        let least = scenario.least(second);
        outcome.least_seconds += f64::from(least);
        most = most.max(seen.replicas);
        most_needed = most_needed.max(least);

        let oldest = world.oldest();
        if since.is_none() && oldest > DELAYED {
            since = Some(second.saturating_sub(DELAYED));
        }
        if oldest <= CAUGHT_UP
            && let Some(began) = since.take()
        {
            outcome.behind.push(second - began);
        }
        if let Some(replicas) = policy.step(&seen).filter(|replicas| *replicas != seen.replicas) {
            outcome.moves.push((second, seen.replicas, replicas));
            world.scale(replicas);
        }
    }
    outcome.behind.extend(since.map(|began| scenario.end() - began));
    outcome.overshoot = most.saturating_sub(most_needed);
    outcome.rebalances = world.rebalances;
    outcome.delayed = world.delayed + world.waiting_longer(DELAYED);
    outcome.late = world.late + world.waiting_longer(LATE);
    outcome
}

/// The ways to scale that the table compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contender {
    /// This crate's decision.
    Ours,
    /// KEDA and the HPA with their defaults.
    Keda,
    /// The same with the best threshold.
    KedaTuned,
    /// Numaflow with its defaults.
    Numaflow,
    /// The same with the best target.
    NumaflowTuned,
    /// Flink with its defaults.
    Flink,
    /// The same with the best window.
    FlinkTuned,
}

impl Contender {
    /// All, ours first.
    pub const ALL: [Self; 7] =
        [Self::Ours, Self::Keda, Self::KedaTuned, Self::Numaflow, Self::NumaflowTuned, Self::Flink, Self::FlinkTuned];

    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "Millrace",
            Self::Keda => "KEDA and HPA",
            Self::KedaTuned => "KEDA and HPA, tuned",
            Self::Numaflow => "Numaflow",
            Self::NumaflowTuned => "Numaflow, tuned",
            Self::Flink => "Flink",
            Self::FlinkTuned => "Flink, tuned",
        }
    }

    /// Makes its policy for a scenario. The figures of the tuned ones are those that cost least over the tuning
    /// scenarios ([`super::table::grid`]).
    pub fn policy(self, scenario: &Scenario) -> Box<dyn Policy> {
        match self {
            Self::Ours => Box::new(Ours::new(scenario)),
            Self::Keda => Box::new(Keda::new(scenario)),
            Self::KedaTuned => Box::new(Keda::tuned(scenario, KEDA.0, KEDA.1)),
            Self::Numaflow => Box::new(Numaflow::new(scenario)),
            Self::NumaflowTuned => Box::new(Numaflow::tuned(scenario, NUMAFLOW.0, NUMAFLOW.1)),
            Self::Flink => Box::new(Flink::new(scenario)),
            Self::FlinkTuned => Box::new(Flink::tuned(scenario, FLINK.0, FLINK.1)),
        }
    }
}

/// KEDA's tuned threshold, in seconds of a processor's work, and the HPA's tuned window for fewer, in seconds.
const KEDA: (f64, u32) = (15.0, 300);

/// Numaflow's tuned `targetProcessingSeconds` and `lookbackSeconds`.
const NUMAFLOW: (f64, u32) = (5.0, 15);

/// Flink's tuned metrics window and interval before fewer, in seconds.
const FLINK: (u32, u32) = (30, 30);
