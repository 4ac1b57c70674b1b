//! Our decision in the simulated world: it looks every five seconds, as the operator does.

use std::time::Duration;

use super::Policy;
use super::scenario::Scenario;
use super::world::Seen;
use crate::{
    Busy, Decision, History, Memory, Moment, Observation, Partition, Reason, RestartCost, Settings, Situation,
    Underway, Worker, decide,
};

/// Seconds between two looks.
pub const EVERY: u32 = 5;

/// Our decision, and what the operator keeps for it.
#[derive(Debug)]
pub struct Ours {
    settings: Settings,
    cost: RestartCost,
    history: History,
    memory: Memory,
    before: Option<Seen>,
    restarts_every: Option<u32>,
    /// Every reason, with the second of its first decision.
    pub reasons: Vec<(u32, Reason)>,
}

impl Ours {
    /// Makes one with our defaults and a scenario's bounds and measured costs.
    pub fn new(scenario: &Scenario) -> Self {
        Self::with(Settings { min: scenario.min, max: scenario.max, ..Settings::default() }, scenario)
    }

    /// Makes one with these settings.
    pub fn with(settings: Settings, scenario: &Scenario) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let worker = scenario.worker;
        Self {
            settings,
            cost: RestartCost { start: seconds(worker.start), stop: seconds(worker.stop) },
            history: History::default(),
            memory: Memory::default(),
            before: None,
            restarts_every: None,
            reasons: Vec::new(),
        }
    }

    /// Restarts the operator every so many seconds: it forgets all but what stands in the status.
    pub fn restarting(self, every: u32) -> Self {
        Self { restarts_every: Some(every), ..self }
    }

    /// Replaces the memory by another: what a test makes of the one there was.
    pub fn remember(&mut self, change: impl FnOnce(&Memory) -> Memory) {
        self.memory = change(&self.memory);
    }

    fn observe(&mut self, seen: &Seen) -> Observation {
        let at = Moment(u64::from(seen.second));
        if !seen.has_metrics {
            let partitions = vec![Partition::default(); seen.lag.len()];
            return Observation { at, partitions, workers: vec![Worker::default(); seen.members.len()] };
        }
        let before = self.before.replace(seen.clone());
        let seconds = before.as_ref().map(|before| f64::from(seen.second - before.second));
        let partition = |index: usize| Partition {
            lag: Some(seen.lag[index].round() as u64),
            input: before
                .as_ref()
                .zip(seconds)
                .map(|(before, seconds)| (seen.arrived[index] - before.arrived[index]).max(0.0) / seconds),
        };
        let workers = seen.members.iter().enumerate().map(|(index, member)| {
            // Pods are numbered: a member at the same place that is older is the same.
            let earlier = before.as_ref().and_then(|before| before.members.get(index));
            let earlier = earlier.filter(|earlier| earlier.age < member.age).copied();
            let seconds = f64::from(earlier.map_or(member.age + 1, |earlier| member.age - earlier.age));
            let earlier = earlier.unwrap_or_default();
            let busy = Busy {
                rate: (member.done - earlier.done) / seconds,
                working: ((member.working - earlier.working) / seconds).min(1.0),
                waiting: ((member.waiting - earlier.waiting) / seconds).min(1.0),
                write: None,
            };
            // Counters say nothing at the first look at them.
            let busy = before.is_some().then_some(busy);
            Worker { age: Duration::from_secs(u64::from(member.age)), busy }
        });
        Observation { at, workers: workers.collect(), partitions: (0..seen.lag.len()).map(partition).collect() }
    }
}

impl Policy for Ours {
    fn step(&mut self, seen: &Seen) -> Option<u32> {
        if !seen.second.is_multiple_of(EVERY) {
            return None;
        }
        if self.restarts_every.is_some_and(|every| seen.second.is_multiple_of(every)) {
            self.history = History::default();
            self.before = None;
        }
        let observation = self.observe(seen);
        self.history.push(observation);
        let underway = Underway { rebalance: seen.is_rebalancing, ..Underway::default() };
        let Decision { replicas, reason, memory } = decide(&Situation {
            now: Moment(u64::from(seen.second)),
            settings: &self.settings,
            replicas: seen.replicas,
            history: &self.history,
            underway: &underway,
            cost: self.cost,
            memory: &self.memory,
        });
        self.memory = memory;
        if self.reasons.last().is_none_or(|(_, last)| last.name() != reason.name() || replicas != seen.replicas) {
            self.reasons.push((seen.second, reason));
        }
        Some(replicas)
    }
}
