//! The decision: settings, observations and memory in; a number of processors, a reason and the memory out. Pure.
//!
//! The order of its questions is the order of its safety: processors that come and go are not disturbed, the user's bounds
//! hold whatever the stores do, what goes on or is unknown decides nothing, a sink that is the limit gets no more writers,
//! and fewer processors are for a load that has been low for long.

use std::time::Duration;

use crate::estimate::{BARELY_BUSY, Estimate};
use crate::memory::{Change, Memory};
use crate::observation::{History, Moment, RestartCost, Underway};
use crate::partitions::{Load, Task, candidates};
use crate::reason::{Hold, Limit, Reason};
use crate::settings::Settings;

/// All that a decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// When.
    pub now: Moment,
    /// What the user said.
    pub settings: &'a Settings,
    /// How many processors are wanted now, whether or not all of them have started.
    pub replicas: u32,
    /// The last observations. Empty after a restart of the operator.
    pub history: &'a History,
    /// What goes on.
    pub underway: &'a Underway,
    /// What a change costs.
    pub cost: RestartCost,
    /// What the last decision left. The default, if there was none.
    pub memory: &'a Memory,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// How many processors are wanted from now on.
    pub replicas: u32,
    /// Why.
    pub reason: Reason,
    /// What the next decision needs.
    pub memory: Memory,
}

/// What a change must have brought, as a part of what it should have, to count as one that helped.
const LEAST_GAIN: f64 = 0.1;

/// After the group has settled, how long until it is judged whether a change helped.
const JUDGED_AFTER: Duration = Duration::from_secs(30);

/// For how long a change that did not help keeps others from being tried.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// While more waits than comes in, or than one processor does, in so many seconds, nothing is taken away.
const BEHIND: f64 = 1.0;

/// What comes in where some of it is refused, as a part of what is taken: less may be what two measurements differ by.
const REFUSED: f64 = 1.05;

/// How soon a further step down is waited for.
const FALLS_SOON: Duration = Duration::from_secs(30);

/// Decides how many processors are wanted.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { now, settings, replicas, .. } = *situation;
    let mut memory = situation.memory.clone();
    memory.notice(replicas, now);
    if let Some(ended) = situation.history.gap_within(settings.down_window, now) {
        memory.note_gap(replicas, ended);
    }
    let estimate = match estimate(situation) {
        Ok(estimate) => estimate,
        Err(reason) => {
            // What the input needs is unknown, so all that run count as needed. Not for the one look that rates need
            // after a restart of the operator: it would put off what was about to be decided.
            if !matches!(reason, Reason::Held { hold: Hold::JustStarted, .. }) {
                memory.note_need(replicas, now, settings.down_window);
            }
            return decided(situation, memory, reason, 0.0);
        }
    };
    if let Some(capacity) = estimate.capacity {
        memory.note_capacity(capacity);
    }
    let rate = estimate.rate;
    let reason = judge(situation, &mut memory, &estimate);
    decided(situation, memory, reason, rate)
}

/// Makes the decision of its reason: only these change the number.
fn decided(situation: &Situation<'_>, mut memory: Memory, reason: Reason, rate: f64) -> Decision {
    let from = situation.replicas;
    let replicas = match reason {
        Reason::ScaledUp { to, .. }
        | Reason::ScaledDown { to, .. }
        | Reason::Woken { to, .. }
        | Reason::Bounded { to, .. } => to,
        Reason::Slept { .. } => 0,
        _ => from,
    };
    if replicas != from {
        memory.last = Some(Change { at: situation.now, from, to: replicas, rate });
        memory.replicas = Some(replicas);
    }
    Decision { replicas, reason, memory }
}

/// Returns the fewest and the most processors there may be, and what keeps them from being more.
fn bounds(settings: &Settings, partitions: Option<u32>) -> (u32, u32, Limit) {
    let (cap, limit) = match partitions {
        Some(partitions) if partitions < settings.max => (partitions, Limit::Partitions(partitions)),
        _ => (settings.max, Limit::Max(settings.max)),
    };
    (settings.min.min(cap), cap, limit)
}

/// Estimates, unless something keeps from deciding.
fn estimate(situation: &Situation<'_>) -> Result<Estimate, Reason> {
    let Situation { now, settings, replicas, history, underway, cost, memory } = *situation;
    let held = |hold| Err(Reason::Held { replicas, hold });
    if underway.rebalance {
        return held(Hold::Rebalance);
    }
    if underway.roll {
        return held(Hold::Roll);
    }
    let partitions = history.newest().map(|newest| newest.partitions.len() as u32);
    let partitions = partitions.filter(|partitions| *partitions > 0 && !settings.is_divisible);
    let (floor, cap, limit) = bounds(settings, partitions);
    // The user's bounds are orders: they wait for no store, and more processors for a broken one are the user's choice, as
    // they are where the user sets the number. The number of partitions is a figure like others.
    if replicas > settings.max {
        return Err(Reason::Bounded { from: replicas, to: cap, limit });
    }
    if replicas < floor {
        return Err(Reason::Bounded { from: replicas, to: floor, limit: Limit::Min(settings.min) });
    }
    if let Some(stranger) = &underway.stranger {
        return held(Hold::Stranger(stranger.clone()));
    }
    if let Some(what) = &underway.store {
        return held(Hold::Store(what.clone()));
    }
    if replicas > cap {
        return Err(Reason::Bounded { from: replicas, to: cap, limit });
    }
    // Those that have just been woken take a while.
    let patience = cost.start * 2 + JUDGED_AFTER;
    let wakes = memory.last.is_some_and(|last| last.from == 0 && now.since(last.at) <= patience);
    let shared = |estimate: Estimate| match settings.is_divisible {
        true => Estimate { load: estimate.load.shared_evenly(), ..estimate },
        false => estimate,
    };
    Estimate::of(history, replicas > 0 && !wakes).map(shared).or_else(|hold| match lag(history) {
        // To wake one takes no rates.
        Some(lag) if lag > 0 && replicas == 0 && cap > 0 => Err(Reason::Woken { to: floor.max(1), lag: lag as f64 }),
        _ => held(hold),
    })
}

/// Returns what waits, if that is known of every partition.
fn lag(history: &History) -> Option<u64> {
    history.newest()?.partitions.iter().map(|partition| partition.lag).sum()
}

/// Decides by an estimate.
fn judge(situation: &Situation<'_>, memory: &mut Memory, estimate: &Estimate) -> Reason {
    let Situation { now, settings, replicas, .. } = *situation;
    let load = &estimate.load;
    let (floor, cap, limit) = bounds(settings, Some(load.partitions));
    let candidates = candidates(floor, cap, load.partitions);
    // One that has little to do is never faster than it could be: what it shows is at least what it can do.
    let known = [memory.capacity, estimate.rough_capacity].into_iter().flatten().reduce(f64::max);
    let capacity = estimate.capacity.or(known);
    // What waits counts whole here: a single record is reason enough to be awake.
    let is_idle = load.input == 0.0 && estimate.lag == 0;
    let task = |capacity, utilisation, extra| Task { capacity, utilisation, catch_up: settings.catch_up, extra };

    if replicas == 0 {
        if is_idle || cap == 0 {
            memory.note_need(0, now, settings.down_window);
            return Reason::Asleep;
        }
        let extra = load.input * situation.cost.start.as_secs_f64();
        let to = match capacity {
            Some(capacity) => {
                load.nearest(&candidates, &task(capacity, settings.target_utilisation, extra), middle(settings))
            }
            None => candidates.first().copied().unwrap_or(1),
        };
        memory.note_need(to, now, settings.down_window);
        return Reason::Woken { to, lag: estimate.lag as f64 };
    }

    let capacity = match (capacity, is_idle) {
        (Some(capacity), _) => capacity,
        // Nothing comes in: any capacity is enough.
        (None, true) => f64::MAX,
        // Nor does what hardly fills a buffer tell how much more would.
        (None, false) if settings.is_divisible && estimate.sink.is_none() && estimate.working < BARELY_BUSY => f64::MAX,
        (None, false) => {
            memory.note_need(replicas, now, settings.down_window);
            return match estimate.sink {
                Some(evidence) => Reason::SinkLimited { replicas, evidence },
                None => Reason::Held { replicas, hold: Hold::CapacityUnknown },
            };
        }
    };

    // What is refused comes again, however much those that run could take if the sink did.
    let is_refusing = settings.is_divisible && load.input > estimate.rate * REFUSED;
    if let Some(evidence) = estimate.sink.filter(|_| is_refusing) {
        memory.note_need(replicas, now, settings.down_window);
        return Reason::SinkLimited { replicas, evidence };
    }

    let enough = enough(situation, estimate, &candidates, capacity, if is_idle { floor } else { floor.max(1) });
    memory.note_need(enough, now, settings.down_window);

    if !load.suffices(replicas, &task(capacity, settings.highest_utilisation, 0.0)) {
        // Until the new ones are there, more will wait.
        let missing = (load.input - load.effective(replicas) * capacity).max(0.0);
        let cost = situation.cost;
        let extra = missing * cost.start.as_secs_f64() + load.input * cost.stop.as_secs_f64();
        let to = load.nearest(&candidates, &task(capacity, settings.target_utilisation, extra), middle(settings));
        return more(situation, memory, estimate, More { to, capacity, extra, limit });
    }
    fewer(situation, memory, estimate, enough, capacity)
}

/// Returns how many processors the input needs. In the dead band these are those that run.
fn enough(situation: &Situation<'_>, estimate: &Estimate, candidates: &[u32], capacity: f64, fewest: u32) -> u32 {
    let Situation { settings, replicas, .. } = *situation;
    let input = estimate.load.without_backlog();
    let task = |utilisation| Task { capacity, utilisation, catch_up: settings.catch_up, extra: 0.0 };
    if input.suffices(fewest, &task(settings.target_utilisation)) {
        return fewest;
    }
    let enough = input.nearest(candidates, &task(settings.target_utilisation), middle(settings)).max(fewest);
    let is_in_band = enough > replicas && input.suffices(replicas, &task(settings.highest_utilisation));
    if is_in_band { replicas } else { enough }
}

/// Returns how busy processors may be after a change: half of the dead band is left for what the load does next.
fn middle(settings: &Settings) -> f64 {
    f64::midpoint(settings.target_utilisation, settings.highest_utilisation)
}

/// A wish for more processors.
struct More {
    to: u32,
    capacity: f64,
    extra: f64,
    limit: Limit,
}

/// Answers a wish for more processors.
fn more(situation: &Situation<'_>, memory: &Memory, estimate: &Estimate, more: More) -> Reason {
    let Situation { now, settings, replicas, history, cost, .. } = *situation;
    let More { to, capacity, extra, limit } = more;
    let load = &estimate.load;
    if let Some(evidence) = estimate.sink {
        return Reason::SinkLimited { replicas, evidence };
    }
    if to <= replicas {
        return match is_one_too_hot(estimate, capacity) {
            true => one_partition(replicas, load, capacity),
            // Those that run are as good as the largest number worth having.
            false => Reason::AtLimit { replicas, backlog: load.backlog, limit },
        };
    }
    if let Some(reason) = ineffective(situation, memory, estimate, capacity) {
        return reason;
    }
    if estimate.is_rising {
        return Reason::Held { replicas, hold: Hold::Rising };
    }
    if estimate.is_slowing {
        return Reason::Held { replicas, hold: Hold::Slowing };
    }
    let joined = history.newest().map_or(0, |newest| newest.workers.len());
    let since = memory.last.map(|last| now.since(last.at));
    let has_just_woken = memory.last.is_some_and(|last| last.from == 0) && joined == 0;
    let since_other = since.filter(|_| !has_just_woken);
    if let Some(left) =
        since_other.and_then(|since| settings.up_cooldown.checked_sub(since)).filter(|left| !left.is_zero())
    {
        return Reason::CoolsDown { replicas, wanted: to, left };
    }
    let should_have_joined = since.is_none_or(|since| since > cost.start * 2 + JUDGED_AFTER);
    if (joined as u64) < u64::from(replicas) && should_have_joined {
        return Reason::Held { replicas, hold: Hold::NotAllJoined { joined } };
    }
    let spare = load.effective(to) * capacity - load.input;
    let caught_up = (spare > 0.0)
        .then(|| (load.backlog + extra) / spare + cost.start.as_secs_f64())
        .map(|seconds| Duration::from_secs_f64(seconds.ceil().min(f64::from(u32::MAX))));
    Reason::ScaledUp {
        from: replicas,
        to,
        backlog: load.backlog,
        growth: load.input - estimate.rate,
        input: load.input,
        busy: load.input / (load.effective(replicas) * capacity),
        capacity,
        caught_up,
    }
}

/// Returns whether one partition alone is known to be too much for a processor. What those that had little to do could
/// have done is a guess that is often far too low, and no ground to tell a user to spread keys.
fn is_one_too_hot(estimate: &Estimate, capacity: f64) -> bool {
    estimate.capacity.is_some() && estimate.load.is_one_too_hot(capacity)
}

fn one_partition(replicas: u32, load: &Load, capacity: f64) -> Reason {
    Reason::OnePartition { replicas, partition: load.hottest, input: load.hottest_input, capacity }
}

/// Returns why more are not tried: the last change was to these, the group has settled, and they do hardly more than
/// those before them.
fn ineffective(situation: &Situation<'_>, memory: &Memory, estimate: &Estimate, capacity: f64) -> Option<Reason> {
    let Situation { now, replicas, cost, .. } = *situation;
    let last = memory.last.filter(|last| last.to == replicas && last.from < last.to && last.from > 0)?;
    let since = now.since(last.at);
    if since < cost.start + cost.stop + JUDGED_AFTER || since >= TRIED_AGAIN_AFTER {
        return None;
    }
    let load = &estimate.load;
    let expected = (load.effective(last.to) - load.effective(last.from)) * capacity;
    (estimate.rate - last.rate < LEAST_GAIN * expected).then_some(Reason::Ineffective {
        from: last.from,
        replicas,
        before: last.rate,
        now: estimate.rate,
    })
}

/// Decides where those that run are enough.
fn fewer(situation: &Situation<'_>, memory: &Memory, estimate: &Estimate, enough: u32, capacity: f64) -> Reason {
    let Situation { now, settings, replicas, cost, .. } = *situation;
    let load = &estimate.load;
    let needed = memory.most_needed().unwrap_or(replicas);
    let is_behind = load.curable_backlog(capacity) > load.input.max(capacity) * BEHIND;
    let kept = |is_behind| match is_behind {
        _ if is_one_too_hot(estimate, capacity) => one_partition(replicas, load, capacity),
        true => Reason::CatchesUp { replicas, backlog: load.backlog },
        false => Reason::WithinTarget { replicas, working: estimate.working },
    };
    if enough >= replicas {
        return kept(is_behind);
    }
    // A step down that another one would follow soon waits for it: each is a rebalance.
    if needed >= replicas || enough < needed && memory.falls_within(FALLS_SOON, now, settings.down_window) {
        return Reason::Waits { replicas, enough, needed, window: settings.down_window };
    }
    let extra = load.input * cost.stop.as_secs_f64();
    let task = Task { capacity, utilisation: settings.highest_utilisation, catch_up: settings.catch_up, extra };
    if is_behind || needed > 0 && !load.suffices(needed, &task) {
        return kept(true);
    }
    let left = memory.last.and_then(|last| settings.down_cooldown.checked_sub(now.since(last.at)));
    if let Some(left) = left.filter(|left| !left.is_zero()) {
        return Reason::CoolsDown { replicas, wanted: needed, left };
    }
    let window = settings.down_window;
    match needed {
        0 => Reason::Slept { from: replicas, window },
        to => Reason::ScaledDown {
            from: replicas,
            to,
            input: load.input,
            capacity: (capacity < f64::MAX).then_some(capacity),
            window,
        },
    }
}
