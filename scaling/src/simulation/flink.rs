//! The autoscaler of Flink's Kubernetes operator for one vertex, from its documentation (docs/scaling.md#sources):
//! formulas only.
//!
//! Rates are averages over a long window. What is wanted is the input at a target utilisation and what waits within the
//! catch-up time; it acts when the capacity leaves the room between two utilisations.

use std::collections::VecDeque;

use super::Policy;
use super::scenario::Scenario;
use super::world::{Member, Seen};

/// The options that matter here. Seconds.
#[derive(Clone, Debug)]
pub struct Flink {
    /// `metrics.window`.
    pub window: u32,
    /// `stabilization.interval`: nothing is measured or done for so long after a change.
    pub stabilization: u32,
    /// `target.utilization`.
    pub target: f64,
    /// `utilization.max`.
    pub highest: f64,
    /// `utilization.min`.
    pub lowest: f64,
    /// `catch-up.duration`.
    pub catch_up: f64,
    /// `restart.time`.
    pub restart: f64,
    /// `scale-down.interval`: fewer only after so long, and then the most that were wanted meanwhile.
    pub scale_down_interval: u32,
    /// `scale-down.max-factor`.
    pub scale_down_factor: f64,
    /// `backlog-processing.lag-threshold`: with more seconds of input waiting, nothing is taken away.
    pub backlog_threshold: f64,
    /// How often the operator reconciles.
    pub interval: u32,
    max: u32,
    partitions: u32,
    looks: VecDeque<Look>,
    changed: Option<u32>,
    fewer_since: Option<(u32, u32)>,
}

#[derive(Clone, Debug)]
struct Look {
    second: u32,
    arrived: f64,
    lag: f64,
    members: Vec<Member>,
}

/// What the window says.
#[derive(Clone, Copy, Debug)]
struct Rates {
    /// Records a second that come in.
    input: f64,
    /// Records a second if all were as busy as the busiest could be.
    capacity: f64,
    lag: f64,
}

impl Flink {
    /// With its defaults.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            window: 900,
            stabilization: 300,
            target: 0.7,
            highest: 1.0,
            lowest: 0.4,
            catch_up: 1_800.0,
            restart: 300.0,
            scale_down_interval: 3_600,
            scale_down_factor: 0.6,
            backlog_threshold: 300.0,
            interval: 60,
            max: scenario.max,
            partitions: scenario.partitions,
            looks: VecDeque::new(),
            changed: None,
            fewer_since: None,
        }
    }

    /// For processors that start in seconds: short windows, and the restart time as it is.
    pub fn tuned(scenario: &Scenario, window: u32, scale_down_interval: u32) -> Self {
        Self {
            window,
            stabilization: window / 2,
            catch_up: 60.0,
            restart: f64::from(scenario.worker.start + scenario.worker.stop),
            scale_down_interval,
            backlog_threshold: 30.0,
            interval: 15,
            ..Self::new(scenario)
        }
    }

    /// Returns the averages of the window, once it is full.
    fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        if last.second - first.second < self.window || first.members.len() != last.members.len() {
            return None;
        }
        let seconds = f64::from(last.second - first.second);
        let of_member = |(earlier, later): (&Member, &Member)| {
            // A task that waits for its sink is busy, as far as it knows.
            let busy = later.working + later.waiting - earlier.working - earlier.waiting;
            (later.done - earlier.done, busy / seconds)
        };
        let members = first.members.iter().zip(&last.members).map(of_member);
        let (done, busiest) =
            members.fold((0.0, 0.0_f64), |(done, busiest), (more, busy)| (done + more, busiest.max(busy)));
        let input = (last.arrived - first.arrived) / seconds;
        let capacity = if busiest > 0.0 { done / seconds / busiest.min(1.0) } else { f64::MAX };
        Some(Rates { input, capacity, lag: last.lag })
    }

    /// Returns the records a second that are wanted for the input at a utilisation and what waits.
    fn target_rate(&self, rates: Rates, utilisation: f64, restart: f64) -> f64 {
        rates.input / utilisation + (rates.lag + rates.input * restart) / self.catch_up
    }

    /// Returns the next number from this one on that divides the partitions, if there is one.
    fn dividing(&self, replicas: u32) -> u32 {
        let fits = |replicas: &u32| self.partitions.is_multiple_of(*replicas);
        (replicas..=self.max.min(self.partitions)).find(fits).unwrap_or(replicas)
    }

    fn desired(&self, current: u32, rates: Rates) -> u32 {
        let falls_short = rates.capacity < self.target_rate(rates, self.highest, 0.0);
        let works_off = rates.lag > rates.input * self.backlog_threshold;
        let is_idle = !works_off && rates.capacity > self.target_rate(rates, self.lowest, self.restart);
        if !falls_short && !is_idle {
            return current;
        }
        let factor = self.target_rate(rates, self.target, self.restart) / rates.capacity;
        let factor = factor.clamp(1.0 - self.scale_down_factor, 100_000.0);
        let wanted = (f64::from(current) * factor).ceil().min(f64::from(self.max)) as u32;
        self.dividing(wanted.clamp(1, self.max.min(self.partitions)))
    }

    /// Delays fewer, and takes the most that were wanted meanwhile.
    fn delayed(&mut self, now: u32, current: u32, desired: u32) -> u32 {
        if desired >= current {
            self.fewer_since = None;
            return desired;
        }
        let (since, most) = self.fewer_since.map_or((now, desired), |(since, most)| (since, most.max(desired)));
        self.fewer_since = Some((since, most));
        if now - since >= self.scale_down_interval { most } else { current }
    }
}

impl Policy for Flink {
    fn step(&mut self, seen: &Seen) -> Option<u32> {
        if !seen.has_metrics || !seen.second.is_multiple_of(self.interval) {
            return None;
        }
        // It knows no 0.
        if seen.replicas == 0 {
            return Some(1);
        }
        let is_settling = self.changed.is_some_and(|changed| seen.second - changed < self.stabilization);
        if is_settling || seen.members.len() as u32 != seen.replicas {
            self.looks.clear();
            return None;
        }
        self.looks.push_back(Look {
            second: seen.second,
            arrived: seen.total_arrived(),
            lag: seen.total_lag(),
            members: seen.members.clone(),
        });
        self.looks.retain(|look| look.second + self.window >= seen.second);
        let rates = self.rates()?;
        let desired = self.desired(seen.replicas, rates);
        let next = self.delayed(seen.second, seen.replicas, desired);
        if next != seen.replicas {
            self.changed = Some(seen.second);
            self.fewer_since = None;
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::scenario::tuning;

    /// Its documentation: more above `utilization.max`, fewer below `utilization.min`, to the target; divisors only.
    #[test]
    fn it_acts_outside_of_its_utilisations_and_goes_to_the_target() {
        let flink = Flink { catch_up: f64::INFINITY, ..Flink::new(&tuning()[0]) };
        let desired = |input: f64| flink.desired(8, Rates { input, capacity: 8_000.0, lag: 0.0 });
        assert_eq!([3_300.0, 7_900.0].map(desired), [8, 8]);
        // 8,100 at 70 % are 11.6 of 24.
        assert_eq!(desired(8_100.0), 12);
        assert_eq!(desired(2_700.0), 4);
        // At most 60 % fewer.
        assert_eq!(desired(100.0), 4);
    }
}
