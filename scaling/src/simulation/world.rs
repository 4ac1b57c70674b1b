//! Partitions, processors, a consumer group and a sink, one second at a time.
//!
//! Each second: pods that have started join, and the group stands still for a while; records come in; each processor
//! works on its partitions as evenly as they need it, all of them together no faster than the sink; records that waited
//! for more than 5 or 30 s are counted when they are done.

use std::collections::VecDeque;

use super::scenario::Scenario;
use super::seed::Seed;

/// A record that waited for longer, in seconds, was delayed.
pub const DELAYED: u32 = 5;

/// A record that waited for longer, in seconds, is late.
pub const LATE: u32 = 30;

/// How much a second's input may differ from the scenario's.
const NOISE: f64 = 0.05;

/// What there is of a processor before it is warm.
const COLD: f64 = 0.2;

/// What can be seen of the world after a second.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The second.
    pub second: u32,
    /// Whether metrics could be read. If not, nothing below is known but the number of pods.
    pub has_metrics: bool,
    /// Pods that are wanted.
    pub replicas: u32,
    /// Records behind the committed offset, for each partition.
    pub lag: Vec<f64>,
    /// Records that have come in since the beginning, for each partition.
    pub arrived: Vec<f64>,
    /// The members of the group.
    pub members: Vec<Member>,
    /// Whether the group stands still.
    pub is_rebalancing: bool,
}

/// A processor that has joined the group: what it has done since.
#[derive(Clone, Copy, Debug, Default)]
pub struct Member {
    /// Seconds since it joined.
    pub age: u32,
    /// Records.
    pub done: f64,
    /// Seconds of work.
    pub working: f64,
    /// Seconds of waiting for the sink.
    pub waiting: f64,
}

impl Seen {
    /// Returns the lag of all partitions.
    pub fn total_lag(&self) -> f64 {
        self.lag.iter().sum()
    }

    /// Returns what has come into all partitions.
    pub fn total_arrived(&self) -> f64 {
        self.arrived.iter().sum()
    }
}

/// Records of one partition that came in the same second.
#[derive(Clone, Copy, Debug)]
struct Batch {
    second: u32,
    records: f64,
    cost: f64,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// Records, and what they cost in usual records.
    records: f64,
    work: f64,
    arrived: f64,
    /// Done in this second, and not yet committed.
    done: f64,
}

/// Records that a processor did of one partition in a second.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    done: f64,
    delayed: f64,
    late: f64,
}

#[derive(Debug, Default)]
struct Pod {
    starts: u32,
    joined: Option<u32>,
    member: Member,
}

/// The world.
#[derive(Debug)]
pub struct World<'a> {
    scenario: &'a Scenario,
    noise: Seed,
    second: u32,
    queues: Vec<Queue>,
    pods: Vec<Pod>,
    still_until: u32,
    has_lost_a_member: bool,
    /// How often the group has rebalanced.
    pub rebalances: u32,
    /// Records that waited for more than [`DELAYED`] seconds, and are done.
    pub delayed: f64,
    /// Those of them that waited for more than [`LATE`] seconds.
    pub late: f64,
}

impl<'a> World<'a> {
    /// Begins with what the first second needs, all of it started.
    pub fn new(scenario: &'a Scenario) -> Self {
        let pod = || Pod { joined: Some(0), ..Pod::default() };
        Self {
            scenario,
            noise: Seed::new(scenario.seed),
            second: 0,
            queues: (0..scenario.partitions).map(|_| Queue::default()).collect(),
            pods: (0..scenario.least(0)).map(|_| pod()).collect(),
            still_until: 0,
            has_lost_a_member: false,
            rebalances: 0,
            delayed: 0.0,
            late: 0.0,
        }
    }

    /// Returns how many pods are wanted.
    pub fn replicas(&self) -> u32 {
        self.pods.len() as u32
    }

    /// Returns for how many seconds the oldest record has waited; 0, if none waits.
    pub fn oldest(&self) -> u32 {
        let fronts = self.queues.iter().filter_map(|queue| queue.batches.front());
        fronts.map(|batch| self.second.saturating_sub(batch.second)).max().unwrap_or(0)
    }

    /// Returns how many records wait for more than so many seconds.
    pub fn waiting_longer(&self, seconds: u32) -> f64 {
        let waits = self.queues.iter().flat_map(|queue| &queue.batches);
        waits.filter(|batch| self.second - batch.second > seconds).map(|batch| batch.records).sum()
    }

    /// Makes pods, or takes the newest away.
    pub fn scale(&mut self, replicas: u32) {
        while self.pods.len() > replicas as usize {
            self.has_lost_a_member |= self.pods.pop().is_some_and(|pod| pod.joined.is_some());
        }
        while self.pods.len() < replicas as usize {
            self.pods.push(Pod { starts: self.second + self.scenario.worker.start, ..Pod::default() });
        }
    }

    /// Lets a second pass, and returns what can be seen then.
    pub fn step(&mut self) -> Seen {
        self.join();
        self.arrive();
        let is_still = self.second < self.still_until;
        if !is_still {
            self.work();
        }
        let seen = self.seen(is_still);
        self.second += 1;
        for pod in &mut self.pods {
            pod.member.age += u32::from(pod.joined.is_some());
        }
        seen
    }

    fn join(&mut self) {
        let mut has_changed = std::mem::take(&mut self.has_lost_a_member);
        for pod in &mut self.pods {
            if pod.joined.is_none() && pod.starts <= self.second {
                pod.joined = Some(self.second);
                has_changed = true;
            }
        }
        if has_changed {
            self.rebalances += 1;
            self.still_until = self.second + self.scenario.worker.stop;
        }
    }

    fn arrive(&mut self) {
        let scenario = self.scenario;
        let (hot, even) = scenario.shares(self.second);
        let input = scenario.input[self.second as usize] * self.noise.between(1.0 - NOISE, 1.0 + NOISE);
        let cost = scenario.cost.at(self.second);
        for (partition, queue) in self.queues.iter_mut().enumerate() {
            queue.done = 0.0;
            let records = input * if partition == 0 { hot } else { even };
            if records > 0.0 {
                queue.batches.push_back(Batch { second: self.second, records, cost });
                queue.records += records;
                queue.work += records * cost;
                queue.arrived += records;
            }
        }
    }

    fn work(&mut self) {
        let worker = self.scenario.worker;
        let members: Vec<usize> = (0..self.pods.len()).filter(|pod| self.pods[*pod].joined.is_some()).collect();
        let partitions = self.queues.len();
        let mut given = vec![0.0; partitions];
        let mut budgets = Vec::new();
        for (place, pod) in members.iter().enumerate() {
            let mine = partitions * place / members.len()..partitions * (place + 1) / members.len();
            let age = self.pods[*pod].member.age;
            let is_warm = age >= worker.warm;
            let warmth = if is_warm { 1.0 } else { COLD + (1.0 - COLD) * f64::from(age) / f64::from(worker.warm) };
            let budget = worker.rate * warmth;
            share(budget, &self.queues[mine.clone()], &mut given[mine.clone()]);
            budgets.push((*pod, budget, mine));
        }
        let wanted: f64 = given.iter().sum();
        let limit = self.scenario.sink.at(self.second);
        let taken = if wanted > limit { limit / wanted } else { 1.0 };
        for (pod, budget, mine) in budgets {
            let member = &mut self.pods[pod].member;
            for partition in mine {
                member.working += given[partition] * taken / budget;
                member.waiting += given[partition] * (1.0 - taken) / budget;
                let taken = self.queues[partition].take(given[partition] * taken, self.second);
                member.done += taken.done;
                self.delayed += taken.delayed;
                self.late += taken.late;
            }
        }
    }

    fn seen(&self, is_rebalancing: bool) -> Seen {
        let joined = self.pods.iter().filter(|pod| pod.joined.is_some());
        Seen {
            second: self.second,
            has_metrics: self.scenario.has_metrics(self.second),
            replicas: self.replicas(),
            lag: self.queues.iter().map(|queue| queue.records + queue.done).collect(),
            arrived: self.queues.iter().map(|queue| queue.arrived).collect(),
            members: joined.map(|pod| pod.member).collect(),
            is_rebalancing,
        }
    }
}

/// Gives each queue what it needs, or as much as the others that need more.
fn share(budget: f64, queues: &[Queue], given: &mut [f64]) {
    let mut order: Vec<usize> = (0..queues.len()).collect();
    order.sort_by(|one, other| queues[*one].work.total_cmp(&queues[*other].work));
    let mut left = budget;
    for (place, queue) in order.iter().enumerate() {
        let fair = left / (order.len() - place) as f64;
        given[*queue] = queues[*queue].work.min(fair);
        left -= given[*queue];
    }
}

impl Queue {
    /// Does this much work, oldest first.
    fn take(&mut self, work: f64, now: u32) -> Taken {
        let (mut left, mut taken) = (work, Taken::default());
        while let Some(front) = self.batches.front_mut() {
            let whole = front.records * front.cost;
            // What rounding leaves is no record.
            let is_whole = whole <= left + 1e-6;
            let records = if is_whole { front.records } else { (left / front.cost).max(0.0) };
            let waited = now - front.second;
            taken.done += records;
            taken.delayed += if waited > DELAYED { records } else { 0.0 };
            taken.late += if waited > LATE { records } else { 0.0 };
            left -= records * front.cost;
            self.work -= records * front.cost;
            if !is_whole {
                front.records -= records;
                break;
            }
            self.batches.pop_front();
        }
        if self.batches.is_empty() {
            self.work = 0.0;
        }
        self.records = if self.batches.is_empty() { 0.0 } else { self.records - taken.done };
        self.done += taken.done;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::scenario::{Spans, WorkerModel, held_out, tuning};

    fn steady(input: f64) -> Scenario {
        let worker = WorkerModel { rate: 1_000.0, start: 10, stop: 4, warm: 0 };
        let some = tuning().swap_remove(0);
        Scenario { input: vec![input; 600], worker, ..some }
    }

    /// Whatever happens, a record is waiting or done.
    #[test]
    fn no_record_is_lost_or_made() {
        for scenario in tuning().into_iter().chain(held_out(3)) {
            let mut world = World::new(&scenario);
            let mut done = 0.0;
            for second in 0..scenario.end().min(2_000) {
                let before: f64 = world.pods.iter().map(|pod| pod.member.done).sum();
                let seen = world.step();
                done += world.pods.iter().map(|pod| pod.member.done).sum::<f64>() - before;
                let waits: f64 = world.queues.iter().map(|queue| queue.records).sum();
                assert!((seen.total_arrived() - waits - done).abs() < 1.0, "{} at {second}", scenario.name);
                if second.is_multiple_of(97) {
                    world.scale(second % 13);
                }
            }
        }
    }

    #[test]
    fn nothing_waits_where_there_is_enough_and_half_of_it_where_there_is_half() {
        let scenario = steady(5_500.0);
        let mut world = World::new(&scenario);
        assert_eq!(world.replicas(), 6);
        let seen = (0..600).map(|_| world.step()).last().expect("a second");
        assert_eq!((world.oldest(), world.late), (0, 0.0));
        // What is done and not committed, for a second.
        assert!((5_200.0..5_800.0).contains(&seen.total_lag()), "{}", seen.total_lag());
        let mut world = World::new(&scenario);
        world.scale(3);
        let seen = (0..600).map(|_| world.step()).last().expect("a second");
        // Four seconds of rebalance, and then 3,000 of 5,500 records each second.
        let waits = 4.0 * 3_000.0 + 600.0 * 2_500.0;
        assert!((seen.total_lag() - waits).abs() < waits * 0.02, "{}", seen.total_lag());
        assert!(world.late > 0.0);
    }

    #[test]
    fn a_pod_joins_when_it_has_started_and_all_stand_still_for_it() {
        let scenario = steady(1_000.0);
        let mut world = World::new(&scenario);
        world.step();
        world.scale(4);
        let seen: Vec<Seen> = (0..20).map(|_| world.step()).collect();
        let members: Vec<usize> = seen.iter().map(|seen| seen.members.len()).collect();
        // Asked for in second 1, there in second 11.
        assert_eq!((members[9], members[10]), (1, 4));
        let still: Vec<u32> = seen.iter().filter(|seen| seen.is_rebalancing).map(|seen| seen.second).collect();
        assert_eq!(still, [11, 12, 13, 14]);
        assert_eq!(world.rebalances, 1);
    }

    #[test]
    fn a_slow_sink_makes_processors_wait_and_not_work() {
        let scenario = Scenario { sink: Spans::always(2_000.0), ..steady(6_000.0) };
        let mut world = World::new(&scenario);
        world.scale(6);
        let seen = (0..300).map(|_| world.step()).last().expect("a second");
        let member = seen.members[0];
        let share = member.waiting / (member.waiting + member.working);
        assert!((0.6..0.7).contains(&share), "{member:?}");
    }
}
