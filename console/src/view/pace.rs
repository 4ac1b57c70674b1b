//! The past hour of lag → whether processors keep up, and which way their lag goes. Pure.
//!
//! Two looks at a stream that flows must not differ. So each sample is judged by the minute up to it and in relation to
//! the rate, and a verdict ends at a lower value than it begins at. The hour is walked from its begin, so that all viewers
//! see the same verdict.

use millrace_api::names::Names;

use super::pipeline::series;
use crate::api::history::Measure;
use crate::api::pipeline::{Stage, Trend};
use crate::measure::history::{History, RECENT, SAMPLES};

/// How long processors need for the records that wait, in seconds, at the present rate.
const BACKLOG: Band = Band { begins: 10.0, ends: 5.0 };
/// Age of the oldest record that waits, in seconds: longer than a few polls of a slow source.
const OLD: Band = Band { begins: 60.0, ends: 30.0 };
/// Change of the backlog within a minute, in seconds of work.
const CHANGE: Band = Band { begins: 3.0, ends: 1.0 };
/// Lowest rate that a backlog is divided by, in records a second: a few records of a slow stream are no backlog.
const LEAST_RATE: f64 = 1.0;
/// Samples of a minute that must be known.
const ENOUGH: usize = RECENT / 2;

/// Whether processors keep up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pace {
    /// A few seconds' worth of records wait at most, or nothing is known to the contrary.
    #[default]
    KeepingUp,
    /// More wait. `None`: which way that goes is unknown.
    Behind(Option<Trend>),
}

/// Value above which a verdict begins, and the lower one down to which it stays.
struct Band {
    begins: f64,
    ends: f64,
}

impl Band {
    const fn holds(&self, value: f64, held: bool) -> bool {
        value > if held { self.ends } else { self.begins }
    }
}

/// What was measured at one moment, or of one minute; `None`: unknown.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    /// Records that wait.
    records: Option<f64>,
    /// Age of the oldest, in seconds.
    age: Option<f64>,
    /// Records a second.
    rate: Option<f64>,
}

/// Returns whether the processors of a pipeline keep up.
pub fn pace(names: &Names, history: &History) -> Pace {
    judge(&points(names, history))
}

fn points(names: &Names, history: &History) -> Vec<Point> {
    let of = |stage, measure| history.thinned(names, &series(stage, measure), SAMPLES, 1);
    let records = of(None, Measure::LagRecords);
    let ages = of(None, Measure::LagSeconds);
    let produced = of(Some(Stage::Source), Measure::OutRate);
    let consumed = of(Some(Stage::Processor), Measure::InRate);
    let at = |values: &[Option<f32>], place: usize| values.get(place).copied().flatten().map(f64::from);
    (0..records.len())
        .map(|place| Point {
            records: at(&records, place),
            age: at(&ages, place),
            // Others may fill the topics, and processors that stand still consume nothing: the higher rate counts.
            rate: at(&produced, place).into_iter().chain(at(&consumed, place)).reduce(f64::max),
        })
        .collect()
}

fn judge(points: &[Point]) -> Pace {
    let begin = |end: usize| (end + 1).saturating_sub(RECENT);
    let minutes: Vec<Point> = (0..points.len()).map(|end| minute(&points[begin(end)..=end])).collect();
    let mut pace = Pace::KeepingUp;
    for (place, now) in minutes.iter().enumerate() {
        let before = place.checked_sub(RECENT).map(|before| &minutes[before]);
        pace = next(pace, now, before);
    }
    pace
}

/// Returns a minute as one point. The median leaves out a burst that is worked off by the next sample; the rate is a mean,
/// since bursts are part of it.
fn minute(points: &[Point]) -> Point {
    Point {
        records: median(points.iter().filter_map(|point| point.records).collect()),
        age: median(points.iter().filter_map(|point| point.age).collect()),
        rate: mean(&points.iter().filter_map(|point| point.rate).collect::<Vec<_>>()),
    }
}

fn median(mut known: Vec<f64>) -> Option<f64> {
    known.sort_by(f64::total_cmp);
    known.get(known.len() / 2).copied().filter(|_| known.len() >= ENOUGH)
}

fn mean(known: &[f64]) -> Option<f64> {
    (known.len() >= ENOUGH).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// Returns the verdict of a minute after that of the sample before; what is unknown changes nothing.
fn next(pace: Pace, now: &Point, before: Option<&Point>) -> Pace {
    let Some(records) = now.records else {
        return pace;
    };
    let rate = now.rate.map(|rate| rate.max(LEAST_RATE));
    let backlog = |records: f64| rate.map(|rate| records / rate);
    let (held, was) = match pace {
        Pace::KeepingUp => (false, None),
        Pace::Behind(was) => (true, was),
    };
    let is_long = backlog(records).is_some_and(|seconds| BACKLOG.holds(seconds, held));
    let is_old = now.age.is_some_and(|seconds| OLD.holds(seconds, held));
    if !is_long && !is_old {
        return Pace::KeepingUp;
    }
    let change = before.and_then(|before| backlog(records - before.records?));
    Pace::Behind(change.map(|change| trend(change, was)))
}

fn trend(change: f64, was: Option<Trend>) -> Trend {
    if CHANGE.holds(change, was == Some(Trend::Growing)) {
        Trend::Growing
    } else if CHANGE.holds(-change, was == Some(Trend::Shrinking)) {
        Trend::Shrinking
    } else {
        Trend::Steady
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Makes samples of a stream of 100 records a second.
    fn stream(samples: usize, records: impl Fn(usize) -> f64) -> Vec<Point> {
        let point = |place| Point { records: Some(records(place)), age: Some(0.5), rate: Some(100.0) };
        (0..samples).map(point).collect()
    }

    /// Judges a stream at every sample.
    fn looks(points: &[Point]) -> Vec<Pace> {
        (1..=points.len()).map(|end| judge(&points[..end])).collect()
    }

    #[test]
    fn less_than_a_second_s_worth_of_records_is_keeping_up_at_every_look() {
        // From 30 to 90 within seconds: a rule on the growth alone calls that worse.
        let flows = stream(60, |place| if place % 3 == 0 { 90.0 } else { 30.0 });
        assert!(looks(&flows).iter().all(|pace| *pace == Pace::KeepingUp));
        // The control: processors that stand still are found within a minute, and it gets worse.
        let stands = looks(&stream(60, |place| 500.0 * place as f64));
        assert!(stands[..5].iter().all(|pace| *pace == Pace::KeepingUp), "{stands:?}");
        assert!(matches!(stands[11], Pace::Behind(_)), "{stands:?}");
        assert!(stands[18..].iter().all(|pace| *pace == Pace::Behind(Some(Trend::Growing))), "{stands:?}");
    }

    #[test]
    fn a_verdict_ends_at_a_lower_value_than_it_begins_at() {
        let backlog = |seconds: f64| stream(40, move |_| 100.0 * seconds);
        assert_eq!(judge(&backlog(7.0)), Pace::KeepingUp);
        let behind = [backlog(12.0), backlog(7.0)].concat();
        assert_eq!(judge(&behind), Pace::Behind(Some(Trend::Steady)));
        assert_eq!(judge(&[behind, backlog(4.0)].concat()), Pace::KeepingUp);
    }

    #[test]
    fn noise_around_a_backlog_is_no_trend() {
        let noisy = looks(&stream(200, |place| if place / 13 % 2 == 0 { 3_000.0 } else { 3_200.0 }));
        assert!(noisy[24..].iter().all(|pace| *pace == Pace::Behind(Some(Trend::Steady))), "{noisy:?}");
        let falls = looks(&stream(100, |place| 60_000.0 - 400.0 * place as f64));
        assert!(falls[24..].iter().all(|pace| *pace == Pace::Behind(Some(Trend::Shrinking))), "{falls:?}");
    }

    #[test]
    fn a_burst_that_is_worked_off_by_the_next_sample_is_no_lag() {
        let mut bursts = stream(120, |place| if place % 12 == 0 { 5_000.0 } else { 0.0 });
        for point in &mut bursts {
            point.rate = Some(0.0);
        }
        assert!(looks(&bursts).iter().all(|pace| *pace == Pace::KeepingUp));
    }

    #[test]
    fn old_records_are_a_lag_whatever_their_number_and_rate() {
        let old = |age, rate| judge(&[Point { records: Some(2.0), age: Some(age), rate }; 30]);
        assert_eq!(old(300.0, Some(0.0)), Pace::Behind(Some(Trend::Steady)));
        assert_eq!(old(300.0, None), Pace::Behind(None));
        assert_eq!(old(20.0, Some(0.0)), Pace::KeepingUp);
    }

    #[test]
    fn what_is_unknown_changes_no_verdict() {
        let behind = stream(40, |_| 2_000.0);
        let gap = vec![Point::default(); 30];
        assert_eq!(judge(&[behind, gap.clone()].concat()), Pace::Behind(Some(Trend::Steady)));
        assert_eq!(judge(&gap), Pace::KeepingUp);
        assert_eq!(judge(&[]), Pace::KeepingUp);
    }

    #[test]
    fn lag_age_and_the_higher_rate_are_read_from_the_history() {
        let names = Names::new("shop", "users");
        let mut history = History::default();
        for sample in 0..30 {
            let values = BTreeMap::from([
                (series(None, Measure::LagRecords), Some(3_000.0)),
                (series(None, Measure::LagSeconds), Some(4.0)),
                (series(Some(Stage::Source), Measure::OutRate), Some(100.0)),
                (series(Some(Stage::Processor), Measure::InRate), Some(0.0)),
            ]);
            history.push(&names, 5 * sample, values, Vec::new());
        }
        let point = points(&names, &history)[29];
        assert_eq!((point.records, point.age, point.rate), (Some(3_000.0), Some(4.0), Some(100.0)));
        assert_eq!(pace(&names, &history), Pace::Behind(Some(Trend::Steady)));
        assert_eq!(pace(&Names::new("shop", "other"), &history), Pace::KeepingUp);
    }
}
