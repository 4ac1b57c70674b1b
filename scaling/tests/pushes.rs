//! Producers that clients push to: one situation each with its sentence, and a trace that a HorizontalPodAutoscaler on CPU
//! plays, too.

use std::time::Duration;

use millrace_scaling::{
    Busy, Decision, History, Memory, Moment, Observation, Partition, Peak, RestartCost, Settings, Situation, Underway,
    Worker, decide,
};

const NOW: u64 = 100_000;
/// Requests a second of a producer that is busy all the time.
const CAPACITY: f64 = 100.0;

fn settings(max: u32) -> Settings {
    Settings { max, is_divisible: true, ..Settings::default() }
}

fn worker(rate: f64, working: f64, waiting: f64) -> Worker {
    Worker { age: Duration::from_secs(600), busy: Some(Busy { rate, working, waiting, write: None }) }
}

/// Decides by three looks at producers of which each did the same.
fn decided(settings: &Settings, replicas: u32, each: Worker, input: f64, capacity: Option<f64>) -> Decision {
    let mut history = History::default();
    for at in [NOW - 10, NOW - 5, NOW] {
        let partitions = vec![Partition { lag: Some(0), input: Some(input) }];
        history.push(Observation { at: Moment(at), partitions, workers: vec![each; replicas as usize] });
    }
    decide(&Situation {
        now: Moment(NOW),
        settings,
        replicas,
        history: &history,
        underway: &Underway::default(),
        cost: RestartCost { start: Duration::from_secs(10), stop: Duration::ZERO },
        memory: &Memory {
            replicas: Some(replicas),
            capacity,
            // Needed no more than one for the whole window.
            peaks: vec![Peak { replicas: 1, until: None }],
            last: None,
        },
    })
}

#[test]
fn requests_that_are_refused_get_more_producers() {
    let says = |max| decided(&settings(max), 2, worker(100.0, 1.0, 0.0), 300.0, None).reason.of_producers();
    assert_eq!(
        says(8),
        "Scales 2 → 4: 300 requests a second come in, 150 % of what 2 can do; 100 are refused; each producer handles 100 a \
         second"
    );
    assert_eq!(says(2), "Keeps 2: more producers are needed, but max is 2");
    // The control: the same requests in one partition are one processor's.
    let of_partition = Settings { is_divisible: false, ..settings(8) };
    assert_eq!(decided(&of_partition, 1, worker(100.0, 1.0, 0.0), 300.0, None).replicas, 1);
}

#[test]
fn a_load_in_the_dead_band_and_one_that_is_low_change_what_they_should() {
    let decided = |working: f64| {
        decided(&settings(8), 3, worker(working * CAPACITY, working, 0.0), 3.0 * working * CAPACITY, None)
    };
    let keeps = decided(0.85);
    assert_eq!((keeps.replicas, keeps.reason.name()), (3, "WithinTarget"));
    assert_eq!(keeps.reason.of_producers(), "Keeps 3: producers use 85 % of their CPU or buffer");
    assert_eq!(decided(0.97).replicas, 4, "the control: beyond the band");
    assert_eq!(decided(0.1).replicas, 1);
}

/// As long as hardly anything fills a buffer, any capacity is enough. The control is a producer that is busy.
#[test]
fn producers_with_hardly_anything_to_do_are_enough() {
    let of_few = |working| decided(&settings(8), 3, worker(2.0, working, 0.0), 6.0, None);
    assert_eq!(of_few(0.001).replicas, 1);
    let busy = of_few(1.0);
    assert!(busy.replicas > 3, "{:?}", busy.reason);
}

#[test]
fn kafka_that_is_the_limit_gets_no_more_producers() {
    // Known to do much more, or not known at all.
    for capacity in [Some(1_000.0), Some(50.0), None] {
        let reason = decided(&settings(8), 2, worker(30.0, 0.3, 0.7), 120.0, capacity).reason;
        assert_eq!(reason.name(), "SinkBackpressure", "{capacity:?}: {reason:?}");
        assert!(reason.of_producers().starts_with("Keeps 2: Kafka is the limit; "), "{}", reason.of_producers());
    }
    let takes = decided(&settings(8), 2, worker(30.0, 1.0, 0.0), 120.0, None).reason;
    assert_eq!(takes.name(), "ScaledUp", "the control: Kafka takes what it is given");
}

#[test]
fn a_producer_without_figures_holds() {
    let held = decided(&settings(8), 2, Worker::default(), 500.0, Some(CAPACITY));
    assert_eq!((held.replicas, held.reason.name()), (2, "MetricsUnavailable"));
    assert_eq!(held.reason.of_producers(), "Keeps 2: the metrics of 2 producers are unknown");
    assert!(decided(&settings(8), 2, worker(100.0, 1.0, 0.0), 500.0, Some(CAPACITY)).replicas > 2, "the control");
}

/// Seconds until a producer that is started takes requests.
const START: u64 = 10;
/// Most producers.
const MOST: u32 = 8;
/// A minute of little, ten of much, and ten of little.
const SECONDS: u64 = 1_260;

fn pushed(second: u64) -> f64 {
    if (60..660).contains(&second) { 350.0 } else { 50.0 }
}

/// What a number of producers did in a second.
#[derive(Clone, Copy)]
struct Second {
    running: u32,
    /// Requests that each of them answered.
    answered: f64,
    /// Requests that each of them refused.
    refused: f64,
}

/// Plays the trace. Returns the share of requests that were refused, producers' seconds, and how often the number changed.
fn play(mut follow: impl FnMut(u64, u32, &[Second]) -> u32) -> (f64, u64, u32) {
    let (mut wanted, mut seconds, mut changes) = (1, Vec::<Second>::new(), 0);
    // When each that runs was started.
    let mut started = vec![0];
    for second in 0..SECONDS {
        let running = started.iter().filter(|at| **at == 0 || second >= **at + START).count().max(1) as u32;
        let comes = pushed(second) / f64::from(running);
        let answered = comes.min(CAPACITY);
        seconds.push(Second { running, answered, refused: comes - answered });
        let next = follow(second, wanted, &seconds);
        changes += u32::from(next != wanted);
        wanted = next;
        started.resize(wanted as usize, second);
    }
    let sum = |of: fn(&Second) -> f64| seconds.iter().map(|second| of(second) * f64::from(second.running)).sum::<f64>();
    let (answered, refused) = (sum(|second| second.answered), sum(|second| second.refused));
    (refused / (answered + refused), seconds.iter().map(|second| u64::from(second.running)).sum(), changes)
}

/// Every five seconds our decision, by what the producers report.
fn ours() -> (f64, u64, u32) {
    let (settings, mut history, mut memory) = (settings(MOST), History::default(), Memory::default());
    play(|second, wanted, seconds| {
        if second == 0 || !second.is_multiple_of(5) {
            return wanted;
        }
        let last = &seconds[seconds.len() - 5..];
        let mean = |of: fn(&Second) -> f64| last.iter().map(of).sum::<f64>() / last.len() as f64;
        let (answered, refused) = (mean(|second| second.answered), mean(|second| second.refused));
        let running = last[4].running;
        // Who is refused asks again, and who refuses can do no more.
        let input = f64::from(running) * (answered + refused.min(answered));
        let working = if refused > 0.0 { 1.0 } else { answered / CAPACITY };
        let now = Moment(NOW + second);
        history.push(Observation {
            at: now,
            partitions: vec![Partition { lag: Some(0), input: Some(input) }],
            workers: vec![worker(answered, working, 0.0); running as usize],
        });
        let decision = decide(&Situation {
            now,
            settings: &settings,
            replicas: wanted,
            history: &history,
            underway: &Underway::default(),
            cost: RestartCost { start: Duration::from_secs(START), stop: Duration::ZERO },
            memory: &memory,
        });
        memory = decision.memory;
        decision.replicas
    })
}

/// Every 15 seconds the HorizontalPodAutoscaler's formula on CPU, with its defaults: 10 % of tolerance, at most four
/// more or twice as many, fewer only as the most of the last five minutes. `cpu`: what a producer that can do no more
/// uses of its CPU.
fn hpa(cpu: f64) -> (f64, u64, u32) {
    const TARGET: f64 = 0.75;
    let mut recommended: Vec<(u64, u32)> = Vec::new();
    play(|second, wanted, seconds| {
        if second % 15 != 14 {
            return wanted;
        }
        let last = &seconds[seconds.len() - 15..];
        let used = last.iter().map(|second| second.answered / CAPACITY * cpu).sum::<f64>() / 15.0;
        let ratio = used / TARGET;
        let running = last[14].running;
        let asked = if (ratio - 1.0).abs() <= 0.1 { running } else { (f64::from(running) * ratio).ceil() as u32 };
        recommended.push((second, asked.clamp(1, MOST)));
        recommended.retain(|(at, _)| second - at < 300);
        let most = recommended.iter().map(|(_, asked)| *asked).max().unwrap_or(wanted);
        let (up, down) = (asked.clamp(1, MOST).min((wanted * 2).max(wanted + 4)), most.min(wanted));
        if up > wanted { up } else { down }
    })
}

/// Where the buffer is the limit, CPU does not tell. The control is a limit of CPU, at which both find the number.
#[test]
fn buffers_that_are_full_are_seen_and_cpu_does_not_show_them() {
    let (ours, full, busy) = (ours(), hpa(0.4), hpa(1.0));
    assert!(ours.0 < 0.15, "ours refuses {:.3}", ours.0);
    assert!(full.0 > 0.5, "by CPU {:.3} are refused", full.0);
    assert!(busy.0 < 0.15, "the control refuses {:.3}", busy.0);
    // Up in two or three steps, down in one or two.
    assert!((2..=6).contains(&ours.2), "{} changes", ours.2);
    // Never more than needed for long: 5 for ten minutes, one otherwise, and the window of two minutes.
    assert!(ours.1 < 660 + 600 * 6 + 180 * 6, "{} seconds of producers", ours.1);
}
