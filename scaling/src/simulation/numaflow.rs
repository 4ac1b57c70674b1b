//! Numaflow's autoscaling of a source vertex, from its documentation (docs/scaling.md#sources): formulas only.
//!
//! As many as process what is pending within a target time, at the average rate of the pods that there are.

use std::collections::VecDeque;

use super::Policy;
use super::scenario::Scenario;
use super::world::Seen;

/// What a vertex's `scale` has of settings that matter here. Seconds.
#[derive(Clone, Debug)]
pub struct Numaflow {
    /// `lookbackSeconds`: over which rate and pending are averaged.
    pub lookback: u32,
    /// `scaleUpCooldownSeconds`, `scaleDownCooldownSeconds`.
    pub cooldown: u32,
    /// `targetProcessingSeconds`.
    pub target_processing: f64,
    /// `replicasPerScaleUp`.
    pub per_scale_up: u32,
    /// `replicasPerScaleDown`.
    pub per_scale_down: u32,
    /// `zeroReplicaSleepSeconds`: how long after it came to 0 a vertex has one replica to peek.
    pub zero_replica_sleep: u32,
    /// How often it decides.
    pub interval: u32,
    min: u32,
    max: u32,
    looks: VecDeque<(u32, f64, f64)>,
    scaled: u32,
}

impl Numaflow {
    /// With its defaults.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            lookback: 120,
            cooldown: 90,
            target_processing: 20.0,
            per_scale_up: 2,
            per_scale_down: 2,
            zero_replica_sleep: 120,
            interval: 30,
            min: scenario.min,
            max: scenario.max,
            looks: VecDeque::new(),
            scaled: 0,
        }
    }

    /// For processors that start in seconds: another target and look back, shorter cool-downs, larger steps.
    pub fn tuned(scenario: &Scenario, target_processing: f64, lookback: u32) -> Self {
        Self { target_processing, lookback, cooldown: 30, per_scale_up: 24, ..Self::new(scenario) }
    }

    /// Returns the rate of all pods and what is pending, both averaged over the look back.
    fn averages(&self) -> Option<(f64, f64)> {
        let ((first, done_first, _), (last, done_last, _)) = (self.looks.front()?, self.looks.back()?);
        let seconds = f64::from(last - first);
        let pending = self.looks.iter().map(|(_, _, pending)| pending).sum::<f64>() / self.looks.len() as f64;
        (seconds > 0.0).then(|| (((done_last - done_first) / seconds).max(0.0), pending))
    }

    fn desired(&self, current: u32, ready: u32) -> Option<u32> {
        let (rate, pending) = self.averages()?;
        if rate < 1.0 && pending < 1.0 {
            return Some(0);
        }
        // What one does is unknown.
        if rate < 1.0 {
            return Some(current.max(1));
        }
        let desired = (pending / self.target_processing / (rate / f64::from(ready))).round();
        Some((desired as u32).max(1).min(pending.ceil().max(1.0) as u32))
    }
}

impl Policy for Numaflow {
    fn step(&mut self, seen: &Seen) -> Option<u32> {
        if !seen.has_metrics {
            return None;
        }
        // What was committed: it grows also while members come and go.
        let done = seen.total_arrived() - seen.total_lag();
        self.looks.push_back((seen.second, done, seen.total_lag()));
        self.looks.retain(|(second, ..)| second + self.lookback >= seen.second);
        if !seen.second.is_multiple_of(self.interval) {
            return None;
        }
        let (current, since) = (seen.replicas, seen.second - self.scaled);
        if current == 0 {
            let peeks = since >= self.zero_replica_sleep;
            self.scaled = if peeks { seen.second } else { self.scaled };
            return peeks.then_some(1);
        }
        if seen.members.len() as u32 != current || since < self.cooldown {
            return None;
        }
        let desired = self.desired(current, seen.members.len() as u32)?.clamp(self.min, self.max);
        let next = desired.clamp(current.saturating_sub(self.per_scale_down), current + self.per_scale_up);
        if next != current {
            self.scaled = seen.second;
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::scenario::tuning;

    /// The example of its specification: 60,000 pending, 10,000 a second by 2 replicas, 3 seconds.
    #[test]
    fn the_documented_example_wants_four() {
        let mut numaflow = Numaflow { target_processing: 3.0, ..Numaflow::new(&tuning()[0]) };
        numaflow.looks.extend([(0, 0.0, 60_000.0), (1, 10_000.0, 60_000.0)]);
        assert_eq!(numaflow.desired(2, 2), Some(4));
    }
}
