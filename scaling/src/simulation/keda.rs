//! KEDA's Kafka scaler with the HPA's algorithm, from their documentation (docs/scaling.md#sources): formulas only.
//!
//! From 0 to 1 and back KEDA decides itself, by whether there is any lag; beyond that the HPA divides the lag by a
//! threshold.

use std::collections::VecDeque;

use super::Policy;
use super::scenario::Scenario;
use super::world::Seen;

/// What a ScaledObject and an HPA have of settings that matter here. Seconds and records.
#[derive(Clone, Debug)]
pub struct Keda {
    /// `lagThreshold`: lag of one replica.
    pub lag_threshold: f64,
    /// `pollingInterval`: how often KEDA looks whether there is any lag.
    pub polling_interval: u32,
    /// `cooldownPeriod`: without lag for so long, down to 0.
    pub cooldown_period: u32,
    /// How often the HPA decides.
    pub sync_period: u32,
    /// By how much of itself the ratio may be off.
    pub tolerance: f64,
    /// `scaleDown.stabilizationWindowSeconds`.
    pub stabilization: u32,
    min: u32,
    max: u32,
    partitions: u32,
    recommendations: VecDeque<(u32, u32)>,
    had_lag: u32,
}

impl Keda {
    /// With the defaults of both.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            lag_threshold: 10.0,
            polling_interval: 30,
            cooldown_period: 300,
            sync_period: 15,
            tolerance: 0.1,
            stabilization: 300,
            min: scenario.min,
            max: scenario.max,
            partitions: scenario.partitions,
            recommendations: VecDeque::new(),
            had_lag: 0,
        }
    }

    /// With a threshold that fits the processors, the lag that one works off in so many seconds, and another window.
    pub fn tuned(scenario: &Scenario, seconds: f64, stabilization: u32) -> Self {
        Self { lag_threshold: scenario.worker.rate * seconds, stabilization, ..Self::new(scenario) }
    }

    /// KEDA's own part.
    fn activation(&mut self, seen: &Seen) -> Option<u32> {
        if seen.total_lag() > 0.0 {
            self.had_lag = seen.second;
            return (seen.replicas == 0).then_some(self.min.max(1));
        }
        let is_over = seen.second - self.had_lag >= self.cooldown_period;
        (self.min == 0 && seen.replicas > 0 && is_over).then_some(0)
    }

    /// The HPA's part, with a lag that counts no more than all partitions' thresholds.
    fn horizontal(&mut self, seen: &Seen) -> u32 {
        let current = seen.replicas;
        let lag = seen.total_lag().min(f64::from(self.partitions) * self.lag_threshold);
        let ratio = lag / (self.lag_threshold * f64::from(current));
        let wanted = match (ratio - 1.0).abs() <= self.tolerance {
            true => current,
            false => (lag / self.lag_threshold).ceil() as u32,
        };
        let wanted = wanted.clamp(self.min.max(1), self.max);
        self.recommendations.push_back((seen.second, wanted));
        self.recommendations.retain(|(second, _)| second + self.stabilization > seen.second);
        let highest = self.recommendations.iter().map(|(_, wanted)| *wanted).max().unwrap_or(wanted);
        // Up at once, at most twice as many or four more; down to the highest of the window.
        match wanted > current {
            true => wanted.min((current * 2).max(current + 4)),
            false => current.min(highest),
        }
    }
}

impl Policy for Keda {
    fn step(&mut self, seen: &Seen) -> Option<u32> {
        if !seen.has_metrics {
            return None;
        }
        if seen.second.is_multiple_of(self.polling_interval)
            && let Some(replicas) = self.activation(seen)
        {
            return Some(replicas);
        }
        (seen.replicas > 0 && seen.second.is_multiple_of(self.sync_period)).then(|| self.horizontal(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::scenario::tuning;

    fn seen(second: u32, replicas: u32, lag: f64) -> Seen {
        Seen {
            second,
            has_metrics: true,
            replicas,
            lag: vec![lag],
            arrived: vec![0.0],
            members: Vec::new(),
            is_rebalancing: false,
        }
    }

    /// The HPA's documentation: twice the value, twice the replicas; within a tenth of it, none more or fewer; fewer by
    /// the highest of the window.
    #[test]
    fn the_documented_examples_of_the_hpa() {
        let mut keda = Keda { lag_threshold: 100.0, ..Keda::new(&tuning()[0]) };
        assert_eq!(keda.horizontal(&seen(0, 2, 400.0)), 4);
        assert_eq!(keda.horizontal(&seen(15, 4, 435.0)), 4);
        assert_eq!(keda.horizontal(&seen(30, 4, 200.0)), 4);
        assert_eq!(keda.horizontal(&seen(330, 4, 200.0)), 2);
        // At most twice as many or four more at once.
        assert_eq!(keda.horizontal(&seen(345, 2, 2_000.0)), 6);
        assert_eq!(keda.horizontal(&seen(360, 6, 2_000.0)), 12);
    }

    /// With the default threshold of 10, 24 partitions count as at most 240.
    #[test]
    fn lag_counts_no_more_than_all_partitions_do() {
        let mut keda = Keda::new(&tuning()[0]);
        assert_eq!(keda.horizontal(&seen(0, 24, 1e9)), 24);
    }
}
