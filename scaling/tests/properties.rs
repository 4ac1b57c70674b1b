//! What holds for any input and on any trace, each with a control that shows that it would be noticed.

use std::time::Duration;

use millrace_scaling::simulation::Policy;
use millrace_scaling::simulation::judge::{Outcome, play};
use millrace_scaling::simulation::ours::{EVERY, Ours};
use millrace_scaling::simulation::scenario::{Scenario, Spans, held_out, tuning};
use millrace_scaling::simulation::seed::Seed;
use millrace_scaling::simulation::world::Seen;
use millrace_scaling::{
    Busy, Change, Decision, History, Memory, Moment, Observation, Partition, Peak, RestartCost, Settings, Situation,
    Underway, Worker, decide,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

const NOW: u64 = 1_000_000;

#[derive(Clone, Debug)]
struct Case {
    settings: Settings,
    replicas: u32,
    looks: Vec<(Vec<Partition>, Vec<Worker>)>,
    rebalance: bool,
    memory: Memory,
}

impl Case {
    fn decide(&self) -> Decision {
        let mut history = History::default();
        for (place, (partitions, workers)) in self.looks.iter().enumerate() {
            let at = Moment(NOW - 5 * (self.looks.len() - 1 - place) as u64);
            history.push(Observation { at, partitions: partitions.clone(), workers: workers.clone() });
        }
        decide(&Situation {
            now: Moment(NOW),
            settings: &self.settings,
            replicas: self.replicas,
            history: &history,
            underway: &Underway { rebalance: self.rebalance, ..Underway::default() },
            cost: RestartCost { start: Duration::from_secs(10), stop: Duration::from_secs(4) },
            memory: &self.memory,
        })
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    (0..6_u32, 0..30_u32).prop_map(|(min, more)| Settings { min, max: min + more, ..Settings::default() })
}

fn partition() -> impl Strategy<Value = Partition> {
    let known = (0..50_000_u64, 0.0..2_000.0).prop_map(|(lag, input)| (Some(lag), Some(input)));
    let idle = Just((Some(0), Some(0.0)));
    let unknown = (option::of(0..50_000_u64), option::of(0.0..2_000.0));
    prop_oneof![8 => known, 2 => idle, 1 => unknown].prop_map(|(lag, input)| Partition { lag, input })
}

fn worker(waiting: impl Strategy<Value = f64>) -> impl Strategy<Value = Worker> {
    let busy = (0.0..2_000.0, waiting, 0.0..1.0).prop_map(|(rate, waiting, working)| Busy {
        rate,
        working: working * (1.0 - waiting),
        waiting,
        write: None,
    });
    (0..300_u64, busy).prop_map(|(age, busy)| Worker { age: Duration::from_secs(age), busy: Some(busy) })
}

fn memory() -> impl Strategy<Value = Memory> {
    let peak = (0..30_u32, option::of(NOW - 400..NOW));
    let change = (NOW - 900..NOW, 0..30_u32, 0..30_u32, 0.0..20_000.0);
    (option::of(0..30_u32), option::of(10.0..2_000.0), option::of(peak), option::of(change)).prop_map(
        |(replicas, capacity, peak, change)| Memory {
            replicas,
            capacity,
            peaks: peak.map(|(replicas, until)| Peak { replicas, until: until.map(Moment) }).into_iter().collect(),
            last: change.map(|(at, from, to, rate)| Change { at: Moment(at), from, to, rate }),
        },
    )
}

fn case(waiting: std::ops::Range<f64>) -> impl Strategy<Value = Case> {
    let look = move |partitions: usize| (vec(partition(), partitions), vec(worker(waiting.clone()), 0..8));
    let looks = (1..40_usize).prop_flat_map(move |partitions| vec(look(partitions), 0..5));
    (settings(), 0..40_u32, looks, prop::bool::weighted(0.1), memory()).prop_map(
        |(settings, replicas, looks, rebalance, memory)| Case { settings, replicas, looks, rebalance, memory },
    )
}

proptest! {
    #[test]
    fn never_beyond_what_settings_and_partitions_allow(case in case(0.0..0.5)) {
        let Decision { replicas, reason, .. } = case.decide();
        // While the group rebalances nothing moves, not even towards the bounds.
        prop_assume!(!case.rebalance);
        let partitions = case.looks.last().map_or(u32::MAX, |(partitions, _)| partitions.len() as u32);
        let most = case.settings.max.min(partitions);
        prop_assert!(replicas <= most, "{replicas} of at most {most}: {reason}");
        prop_assert!(replicas >= case.settings.min.min(most), "{replicas}: {reason}");
    }

    #[test]
    fn a_rebalance_and_missing_figures_change_nothing(mut case in case(0.0..0.5), is_gap: bool) {
        prop_assume!(!case.looks.is_empty());
        case.rebalance = !is_gap;
        if let Some((partitions, _)) = case.looks.last_mut().filter(|_| is_gap) {
            partitions[0].lag = None;
            // Within the bounds; those hold whatever is known.
            let most = case.settings.max.min(partitions.len() as u32);
            case.replicas = case.replicas.clamp(case.settings.min.min(most), most);
        }
        prop_assert_eq!(case.decide().replicas, case.replicas);
    }

    #[test]
    fn never_more_on_a_sink_that_is_the_limit(mut case in case(0.5..1.0)) {
        let is_whole = case.looks.len() >= 2 && case.looks.iter().all(|(_, workers)| !workers.is_empty());
        prop_assume!(is_whole && case.replicas > 0);
        case.settings.min = 0;
        let Decision { replicas, reason, .. } = case.decide();
        prop_assert!(replicas <= case.replicas, "{} → {replicas}: {reason}", case.replicas);
    }

    #[test]
    fn the_same_situation_is_decided_alike_and_memory_outlives_the_operator(case in case(0.0..1.0)) {
        let decision = case.decide();
        prop_assert_eq!(&case.decide(), &decision);
        let text = serde_json::to_string(&decision.memory).expect("memory is plain data");
        let memory: Memory = serde_json::from_str(&text).expect("it is read back");
        prop_assert!(text.len() < 2_000, "{text}");
        prop_assert_eq!(memory, decision.memory);
    }
}

/// Negative control of the two above: without rebalance, gap and saturated sink these situations do move, up and down.
#[test]
fn the_situations_of_the_properties_are_not_all_still() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut up, mut down) = (0, 0);
    for _ in 0..20_000 {
        let tree = case(0.0..0.05).new_tree(&mut runner).expect("a case");
        let case = tree.current();
        let replicas = case.decide().replicas;
        up += u32::from(replicas > case.replicas && case.replicas >= case.settings.min);
        down += u32::from(replicas < case.replicas && case.replicas <= case.settings.max);
    }
    assert!(up > 20 && down > 20, "{up} up, {down} down");
}

fn scenarios() -> Vec<Scenario> {
    tuning().into_iter().chain((100..110).flat_map(held_out)).collect()
}

/// Seconds of moves to fewer than the window before them needed at its busiest.
fn too_early(scenario: &Scenario, outcome: &Outcome, window: u32) -> Vec<u32> {
    let is_too_few = |(second, from, to): &&(u32, u32, u32)| {
        let window = second.saturating_sub(window)..second.saturating_sub(SEEN_AFTER);
        let needed = window.map(|second| scenario.least(second)).max();
        to < from && needed.is_some_and(|needed| *to < needed)
    };
    outcome.moves.iter().filter(is_too_few).map(|(second, ..)| *second).collect()
}

/// What it takes to see the input: what came in later, or so much before the window, counts for neither side.
const SEEN_AFTER: u32 = 30;

#[test]
fn never_fewer_than_the_window_before_needed() {
    let mut controls = 0;
    for scenario in scenarios() {
        let settings = Settings { min: scenario.min, max: scenario.max, ..Settings::default() };
        let window = settings.down_window.as_secs() as u32 - SEEN_AFTER;
        let outcome = play(&scenario, &mut Ours::with(settings.clone(), &scenario));
        let early = too_early(&scenario, &outcome, window);
        assert_eq!(early, Vec::<u32>::new(), "{}, seed {}: {:?}", scenario.name, scenario.seed, outcome.moves);
        // Negative control: a decision with a shorter window.
        let hasty = Settings { down_window: Duration::from_secs(60), ..settings };
        let outcome = play(&scenario, &mut Ours::with(hasty, &scenario));
        controls += too_early(&scenario, &outcome, window).len();
    }
    assert!(controls > 20, "{controls}");
}

#[test]
fn never_more_while_the_sink_is_the_limit() {
    let mut before_or_after = 0;
    for scenario in scenarios().into_iter().filter(|scenario| scenario.sink.at(0) > 50_000.0) {
        let is_slow = |second: u32| scenario.sink.at(second) < 10_000.0;
        let outcome = play(&scenario, &mut Ours::new(&scenario));
        for (second, from, to) in outcome.moves.iter().filter(|(_, from, to)| to > from) {
            // It takes some looks to see it, and some to see that it is over.
            let is_seen = (second.saturating_sub(40)..=*second).all(is_slow);
            // One that takes nearly what they can do is none yet.
            let is_limit = scenario.sink.at(*second) < 0.6 * f64::from(*from) * scenario.worker.rate;
            assert!(!is_seen || !is_limit, "{} at {second}: {from} → {to}", scenario.name);
            before_or_after += 1;
        }
    }
    assert!(before_or_after > 20, "{before_or_after}");
}

fn constant(seed: u64) -> Scenario {
    constantly(Seed::new(seed).between(300.0, 12_000.0), seed)
}

fn constantly(input: f64, seed: u64) -> Scenario {
    let some = tuning().swap_remove(0);
    Scenario { name: "constant", input: vec![input; 3_600], seed, ..some }
}

/// How often a move is taken back by the next, after the beginning, in which the first number is corrected.
fn reversals(outcome: &Outcome) -> usize {
    let later: Vec<bool> =
        outcome.moves.iter().filter(|(second, ..)| *second > 300).map(|(_, from, to)| to > from).collect();
    later.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_constant_load_settles() {
    for scenario in (0..100).map(constant) {
        let outcome = play(&scenario, &mut Ours::new(&scenario));
        assert_eq!(reversals(&outcome), 0, "{} a second: {:?}", scenario.input[0], outcome.moves);
    }
}

/// At the loads where it is hardest: just as much as some number of processors may be given. With hardly any window, so
/// that only the dead band is left.
#[test]
fn a_constant_load_at_any_border_settles_and_without_the_dead_band_it_flaps() {
    let seconds = Duration::from_secs;
    let with = Settings {
        max: 24,
        target_utilisation: 0.8,
        highest_utilisation: 0.94,
        down_window: seconds(20),
        down_cooldown: seconds(20),
        ..Settings::default()
    };
    let without = Settings { target_utilisation: with.highest_utilisation, ..with.clone() };
    let mut flaps = 0;
    for effective in [1.0, 2.0, 3.0, 4.0, 4.8, 6.0, 8.0, 12.0] {
        for (border, seed) in [0.8, 0.87, 0.94].into_iter().zip(1..) {
            let mut scenario = constantly(effective * border * 1_000.0, seed);
            // A rebalance that costs something is one more reason to stay.
            scenario.worker.stop = 0;
            let outcome = play(&scenario, &mut Ours::with(with.clone(), &scenario));
            assert_eq!(reversals(&outcome), 0, "{} a second: {:?}", scenario.input[0], outcome.moves);
            flaps += reversals(&play(&scenario, &mut Ours::with(without.clone(), &scenario)));
        }
    }
    assert!(flaps > 50, "{flaps}");
}

/// Ours, whose memory goes through the status at each decision.
struct ThroughStatus(Ours);

impl Policy for ThroughStatus {
    fn step(&mut self, seen: &Seen) -> Option<u32> {
        let replicas = self.0.step(seen);
        self.0.remember(|memory| {
            let text = serde_json::to_string(memory).expect("memory is plain data");
            serde_json::from_str(&text).expect("it is read back")
        });
        replicas
    }
}

/// Numbers of processors in their order, without when.
fn steps(outcome: &Outcome) -> Vec<u32> {
    outcome.moves.iter().map(|(_, _, to)| *to).collect()
}

#[test]
fn restarts_of_the_operator_delay_a_change_and_make_none() {
    for scenario in tuning().into_iter().chain((0..20).map(constant)) {
        let undisturbed = play(&scenario, &mut Ours::new(&scenario));
        let restarted = play(&scenario, &mut ThroughStatus(Ours::new(&scenario).restarting(130)));
        assert_eq!(steps(&restarted), steps(&undisturbed), "{}", scenario.name);
        for (one, other) in restarted.moves.iter().zip(&undisturbed.moves) {
            let apart = one.0.abs_diff(other.0);
            // Where a curve crosses a border slowly, the noise of two looks in place of three decides when.
            assert!(apart <= 180, "{}: {one:?} in place of {other:?}", scenario.name);
        }
    }
}

/// Negative control: one that forgets all of it moves otherwise.
#[test]
fn an_operator_that_forgets_everything_decides_otherwise() {
    struct Forgetful(Ours);
    impl Policy for Forgetful {
        fn step(&mut self, seen: &Seen) -> Option<u32> {
            if seen.second.is_multiple_of(120) {
                self.0.remember(|_| Memory::default());
            }
            self.0.step(seen)
        }
    }
    let differs = |scenario: &Scenario| {
        let forgetful = play(scenario, &mut Forgetful(Ours::new(scenario).restarting(120)));
        steps(&forgetful) != steps(&play(scenario, &mut Ours::new(scenario)))
    };
    assert!(tuning().iter().filter(|scenario| differs(scenario)).count() > 3);
}

#[test]
fn new_data_wakes_the_first_processor_at_the_next_look() {
    let some = tuning().swap_remove(0);
    for first in [700_u32, 701, 703, 704] {
        let input = (0..1_200).map(|second| if second < 60 || second >= first { 800.0 } else { 0.0 }).collect();
        let scenario = Scenario { min: 0, input, sink: Spans::always(100_000.0), ..some.clone() };
        let moves = play(&scenario, &mut Ours::new(&scenario)).moves;
        let slept = moves.iter().position(|(_, _, to)| *to == 0).expect("it sleeps");
        assert!(u64::from(moves[slept].0) >= 60 + Settings::default().down_window.as_secs(), "{moves:?}");
        let (woken, from, to) = moves[slept + 1];
        assert!(from == 0 && to > 0, "{moves:?}");
        assert!(woken >= first && woken < first + EVERY, "{first}: {moves:?}");
    }
}
