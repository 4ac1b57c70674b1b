//! What comes in, what processors can do, what goes wrong. Each scenario is a name, an hour or more of input, and the
//! world's constants.
//!
//! Those that are [held out](Scenario::is_held_out) come from a seed, and no constant of ours was chosen by looking at
//! them.

use super::seed::Seed;

/// One trace and the world that it is played in.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name, as the table has it.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// Whether it was held back while constants were chosen.
    pub is_held_out: bool,
    /// Records a second that are sent, for each second.
    pub input: Vec<f64>,
    /// Partitions.
    pub partitions: u32,
    /// Fewest processors.
    pub min: u32,
    /// Most processors.
    pub max: u32,
    /// What a processor can do.
    pub worker: WorkerModel,
    /// From which second on the first partition gets which part of all records; the others share the rest evenly.
    pub hot: Vec<(u32, f64)>,
    /// What a record costs, in usual records.
    pub cost: Spans,
    /// Usual records a second that the sink takes.
    pub sink: Spans,
    /// When metrics cannot be read.
    pub gaps: Vec<(u32, u32)>,
    /// Seed of the noise.
    pub seed: u64,
}

/// What a processor can do, and what it takes to have it.
#[derive(Clone, Copy, Debug)]
pub struct WorkerModel {
    /// Records a second when it is busy all the time.
    pub rate: f64,
    /// Seconds from the wish for it to its membership in the group.
    pub start: u32,
    /// Seconds for which the group stands still when a member comes or goes.
    pub stop: u32,
    /// Seconds after it has joined until it is as fast as the others; it begins at a fifth.
    pub warm: u32,
}

/// A value over time: usual, but for spans of seconds.
#[derive(Clone, Debug)]
pub struct Spans {
    usual: f64,
    spans: Vec<(u32, u32, f64)>,
}

impl Spans {
    /// Makes one that never changes.
    pub fn always(usual: f64) -> Self {
        Self { usual, spans: Vec::new() }
    }

    /// Gives it another value from one second until another.
    pub fn but(mut self, from: u32, until: u32, value: f64) -> Self {
        self.spans.push((from, until, value));
        self
    }

    /// Returns the value of a second.
    pub fn at(&self, second: u32) -> f64 {
        let span = self.spans.iter().find(|(from, until, _)| (*from..*until).contains(&second));
        span.map_or(self.usual, |(_, _, value)| *value)
    }
}

impl Scenario {
    /// Returns the second after the last.
    pub fn end(&self) -> u32 {
        self.input.len() as u32
    }

    /// Returns which part of the records the first partition gets, and which each of the others.
    pub fn shares(&self, second: u32) -> (f64, f64) {
        let even = 1.0 / f64::from(self.partitions);
        let hot = self.hot.iter().rev().find(|(from, _)| *from <= second).map_or(even, |(_, share)| *share);
        (hot, if self.partitions > 1 { (1.0 - hot) / f64::from(self.partitions - 1) } else { 0.0 })
    }

    /// Returns whether metrics can be read in this second.
    pub fn has_metrics(&self, second: u32) -> bool {
        !self.gaps.iter().any(|(from, until)| (*from..*until).contains(&second))
    }

    /// Returns the fewest processors that keep up with what comes in at a second: without start, rebalance, backlog or
    /// knowledge that has to be gained. None if nothing comes in and none is needed.
    pub fn least(&self, second: u32) -> u32 {
        let cost = self.cost.at(second);
        let input = self.input[second as usize] * cost;
        if input == 0.0 {
            return self.min;
        }
        let input = input.min(self.sink.at(second));
        let (hot, even) = self.shares(second);
        // With a partition that no processor keeps up with, as many as the others need.
        let hot = if hot * input > self.worker.rate { even } else { hot };
        let keeps_up = |replicas: &u32| {
            let others = f64::from(self.partitions.div_ceil(*replicas) - 1);
            (hot + others * even) * input <= self.worker.rate * (1.0 + 1e-9)
        };
        (self.min.max(1)..=self.max).find(keeps_up).unwrap_or(self.max)
    }
}

const HOUR: u32 = 3600;

fn scenario(name: &'static str, about: &'static str, input: Vec<f64>) -> Scenario {
    Scenario {
        name,
        about,
        is_held_out: false,
        input,
        partitions: 24,
        min: 1,
        max: 24,
        worker: WorkerModel { rate: 1_000.0, start: 10, stop: 4, warm: 5 },
        hot: Vec::new(),
        cost: Spans::always(1.0),
        sink: Spans::always(100_000.0),
        gaps: Vec::new(),
        seed: 1,
    }
}

/// Makes an input of a function of the second.
fn of(seconds: u32, input: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..seconds).map(|second| input(f64::from(second)).max(0.0)).collect()
}

/// Returns a wave of height 1 at the middle of its period, smooth at both ends: a parabola on each half.
fn wave(second: f64, period: f64) -> f64 {
    let place = (second / period).fract();
    let climb = if place < 0.5 { place * 2.0 } else { (1.0 - place) * 2.0 };
    if climb < 0.5 { 2.0 * climb * climb } else { 1.0 - 2.0 * (1.0 - climb) * (1.0 - climb) }
}

/// Returns the slope through points of second and records a second.
fn through(points: &[(u32, f64)]) -> Vec<f64> {
    let mut input = Vec::new();
    for pair in points.windows(2) {
        let ((from, low), (until, high)) = (pair[0], pair[1]);
        let length = f64::from(until - from);
        input.extend((0..until - from).map(|second| low + (high - low) * f64::from(second) / length));
    }
    input
}

/// Returns the scenarios by which constants may be chosen.
pub fn tuning() -> Vec<Scenario> {
    let square = |low: f64, high: f64| {
        move |second: f64| if (second / 600.0).fract() < 0.5 && second >= 600.0 { high } else { low }
    };
    let long_square = |second: f64| if (second / 1800.0).fract() < 0.5 { 1_500.0 } else { 9_000.0 };
    let day = |second: f64| 800.0 + 7_000.0 * wave(second, 21_600.0) + 1_500.0 * wave(second, 7_200.0);
    let steps = |second: f64| if (900.0..2_100.0).contains(&second) { 7_500.0 } else { 2_500.0 };
    let visits = |second: f64| if (1_200.0..1_500.0).contains(&(second % 2_400.0)) { 3_000.0 } else { 0.0 };
    vec![
        scenario("square wave", "1,500 and 9,000 records/s, 15 minutes each", of(2 * HOUR, long_square)),
        scenario("fast square wave", "1,500 and 6,000 records/s, 5 minutes each", of(HOUR, square(1_500.0, 6_000.0))),
        scenario(
            "ramp",
            "500 to 12,000 records/s in 30 minutes, and down in 20",
            through(&[(0, 500.0), (600, 500.0), (2400, 12_000.0), (3000, 12_000.0), (4200, 500.0), (4800, 500.0)]),
        ),
        scenario("daily curve", "a day in six hours: 800 to 9,000 records/s", of(6 * HOUR, day)),
        Scenario {
            cost: Spans::always(1.0).but(900, 1_200, 4.0),
            ..scenario(
                "poison burst",
                "4,000 records/s; for 5 minutes each costs four times as much",
                of(HOUR, |_| 4_000.0),
            )
        },
        Scenario {
            hot: vec![(0, 0.08), (1_500, 0.2), (2_100, 0.08)],
            ..scenario(
                "skewed keys",
                "6,000 records/s; one of 24 partitions gets 8 % of them, for 10 minutes 20 %",
                of(HOUR, |_| 6_000.0),
            )
        },
        Scenario {
            sink: Spans::always(100_000.0).but(900, 1_500, 3_000.0),
            ..scenario("sink brown-out", "6,000 records/s; for 10 minutes the sink takes 3,000", of(HOUR, |_| 6_000.0))
        },
        Scenario {
            worker: WorkerModel { rate: 1_000.0, start: 90, stop: 4, warm: 30 },
            ..scenario(
                "slow start",
                "the square wave; processors start in 90 s and warm up in 30",
                of(2 * HOUR, long_square),
            )
        },
        Scenario {
            gaps: vec![(300, 420), (930, 990), (1_800, 2_280), (2_700, 2_760)],
            ..scenario("metric gaps", "2,500, 7,500, 2,500 records/s; metrics are missing four times", of(HOUR, steps))
        },
        Scenario {
            partitions: 30,
            max: 20,
            ..scenario(
                "overload",
                "4,000 records/s, for 15 minutes 19,000; 30 partitions, at most 20 processors",
                of(HOUR, |second| if (900.0..1_800.0).contains(&second) { 19_000.0 } else { 4_000.0 }),
            )
        },
        Scenario {
            min: 0,
            ..scenario("visits", "nothing, and for 5 of 40 minutes 3,000 records/s; down to 0", of(2 * HOUR, visits))
        },
    ]
}

/// Returns the scenarios that no constant was chosen by, made from a seed.
pub fn held_out(seed: u64) -> Vec<Scenario> {
    let mut numbers = Seed::new(seed);
    let scenarios = vec![
        scenario(
            "random walk",
            "a new rate each minute, up to a quarter away from the last",
            random_walk(&mut numbers),
        ),
        scenario("two-period wave", "a long and a short wave", two_periods(&mut numbers)),
        scenario("flash crowd", "calm, then many times as much within a minute, fading", flash_crowd(&mut numbers)),
        scenario("staircase", "steps of random height and length, up and down", staircase(&mut numbers)),
        Scenario {
            sink: brown_outs(&mut numbers),
            ..scenario("staircase and brown-outs", "the same with a sink that fails twice", staircase(&mut numbers))
        },
        Scenario {
            worker: WorkerModel {
                rate: numbers.between(500.0, 900.0).round(),
                start: numbers.between(30.0, 60.0) as u32,
                stop: 10,
                warm: 20,
            },
            partitions: 30,
            max: 20,
            ..scenario(
                "other processors",
                "a random walk; slower ones, 30 partitions, at most 20",
                random_walk(&mut numbers),
            )
        },
    ];
    scenarios.into_iter().map(|scenario| Scenario { is_held_out: true, seed, ..scenario }).collect()
}

fn random_walk(numbers: &mut Seed) -> Vec<f64> {
    let mut rate = numbers.between(1_000.0, 6_000.0);
    let mut input = Vec::new();
    for _ in 0..120 {
        rate = (rate * numbers.between(0.75, 1.3)).clamp(300.0, 11_000.0);
        input.extend([rate; 60]);
    }
    input
}

fn two_periods(numbers: &mut Seed) -> Vec<f64> {
    let (long, short) = (numbers.between(4_000.0, 6_500.0), numbers.between(500.0, 1_100.0));
    let (high, low) = (numbers.between(4_000.0, 7_000.0), numbers.between(1_000.0, 3_500.0));
    of(2 * HOUR, |second| 700.0 + high * wave(second, long) + low * wave(second, short))
}

fn flash_crowd(numbers: &mut Seed) -> Vec<f64> {
    let calm = numbers.between(500.0, 1_500.0);
    let mut input = of(2 * HOUR, |_| calm);
    for begin in [1_000, 4_200] {
        let begin = begin + numbers.between(0.0, 900.0) as usize;
        let peak = numbers.between(6_000.0, 13_000.0);
        let mut crowd = peak;
        for (place, rate) in input.iter_mut().skip(begin).enumerate() {
            let climb = (place as f64 / 60.0).min(1.0);
            crowd = if climb < 1.0 { peak * climb } else { crowd * 0.9975 };
            *rate += crowd;
        }
    }
    input
}

fn staircase(numbers: &mut Seed) -> Vec<f64> {
    let mut input = Vec::new();
    while input.len() < 2 * HOUR as usize {
        let rate = numbers.between(500.0, 11_000.0);
        input.extend(vec![rate; numbers.between(180.0, 1_200.0) as usize]);
    }
    input.truncate(2 * HOUR as usize);
    input
}

fn brown_outs(numbers: &mut Seed) -> Spans {
    let mut span = |begin: f64| {
        let from = begin + numbers.between(0.0, 900.0);
        (from as u32, (from + numbers.between(200.0, 600.0)) as u32, numbers.between(1_000.0, 3_000.0))
    };
    let (first, second) = (span(900.0), span(4_000.0));
    Spans::always(100_000.0).but(first.0, first.1, first.2).but(second.0, second.1, second.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_kept_up_with_by_as_many_as_are_allowed() {
        for scenario in tuning().into_iter().chain(held_out(7)) {
            assert!(scenario.end() >= HOUR, "{}", scenario.name);
            let most = (0..scenario.end()).map(|second| scenario.least(second)).max();
            assert!(most.is_some_and(|most| most > 1 && most <= scenario.max), "{}: {most:?}", scenario.name);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_input_and_another_another() {
        for ((first, again), other) in held_out(7).iter().zip(held_out(7)).zip(held_out(8)) {
            assert_eq!(first.input, again.input);
            assert_ne!(first.input, other.input);
        }
    }

    #[test]
    fn the_least_is_by_the_processor_with_most_partitions() {
        let at = |input: f64| scenario("", "", vec![input]).least(0);
        assert_eq!(at(0.0), 1);
        assert_eq!(at(6_000.0), 6);
        // Of 7 some have four partitions, as all of 6 have.
        assert_eq!(at(6_001.0), 8);
        assert_eq!(at(12_001.0), 24);
        let sink = Scenario { sink: Spans::always(3_000.0), ..scenario("", "", vec![9_000.0]) };
        assert_eq!(sink.least(0), 3);
    }
}
