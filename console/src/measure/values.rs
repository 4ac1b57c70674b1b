//! Rates and offsets of one sample → a value for each series, and why some are unknown. Pure.

use std::collections::{BTreeMap, VecDeque};

use millrace_stores::kafka::PartitionLag;

use super::history::RECENT;
use super::rates::{Rates, SourceRates};
use super::reading::Histogram;
use crate::api::history::{Measure, SeriesKey};
use crate::api::pipeline::Stage;

/// Partitions of one topic of which the history keeps the lag; the sum is of all.
pub const MOST_PARTITIONS: i32 = 64;

/// Histograms of the last minute, newest last.
pub type Window = VecDeque<(Histogram, Histogram)>;

/// A partition's offsets at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Offsets {
    /// The topic.
    pub topic: String,
    /// The partition's offsets.
    pub lag: PartitionLag,
}

impl Offsets {
    /// Returns the records that are not committed; `None`: unknown. A group that has committed nothing begins at the start.
    pub fn records(&self) -> Option<i64> {
        if self.lag.nothing_left {
            return Some(0);
        }
        let start = self.lag.start?;
        let position = self.lag.committed.unwrap_or(start).max(start);
        Some((self.lag.end? - position).max(0))
    }

    /// Returns the age of the oldest of them in seconds; `None`: unknown. `now` is in milliseconds since 1970.
    pub fn seconds(&self, now: i64) -> Option<f64> {
        match self.records()? {
            0 => Some(0.0),
            _ => Some((now - self.lag.waiting_since?).max(0) as f64 / 1e3),
        }
    }
}

/// What was found out in one sample.
pub struct Found<'a> {
    /// Names of the sources that the resource has.
    pub sources: &'a [String],
    /// What producers and runs did.
    pub producers: Result<Rates, String>,
    /// What processors did.
    pub processors: Result<Rates, String>,
    /// Offsets now.
    pub offsets: Result<&'a [Offsets], String>,
    /// Offsets before, and seconds since then. `None`: unknown.
    pub offsets_before: Option<(&'a [Offsets], f64)>,
    /// When the offsets were read, in milliseconds since 1970.
    pub now: i64,
}

/// Values of one sample.
#[derive(Debug, Default)]
pub struct Values {
    /// By series.
    pub values: BTreeMap<SeriesKey, Option<f32>>,
    /// Why some are unknown.
    pub unknown: Vec<String>,
}

impl Values {
    fn set(&mut self, stage: Option<Stage>, name: Option<&str>, measure: Measure, value: Option<f64>) {
        let key = SeriesKey { measure, stage, name: name.map(str::to_owned), partition: None };
        self.values.insert(key, value.map(|value| value as f32));
    }
}

/// Returns the values of a sample; `window` gains its histograms.
pub fn values(found: &Found<'_>, window: &mut Window) -> Values {
    let mut values = Values::default();
    for cause in [found.producers.as_ref().err(), found.processors.as_ref().err(), found.offsets.as_ref().err()] {
        values.unknown.extend(cause.cloned());
    }
    of_sources(found, &mut values);
    of_processors(found.processors.as_ref().ok(), window, &mut values);
    of_offsets(found, &mut values);
    values
}

fn of_sources(found: &Found<'_>, values: &mut Values) {
    let rates = found.producers.as_ref().ok();
    let mut sum = rates.map(|_| SourceRates::default());
    for source in found.sources {
        // A known producer that does not mention a source has done nothing for it.
        let rates = rates.map(|rates| rates.sources.get(source).copied().unwrap_or_default());
        set_source(values, Some(source), rates);
        if let (Some(sum), Some(rates)) = (&mut sum, rates) {
            sum.produced += rates.produced;
            sum.rejected += rates.rejected;
            sum.failed_requests += rates.failed_requests;
        }
    }
    if let (Some(sum), Some(rates)) = (&mut sum, rates) {
        sum.failed_requests += rates.publish_failures;
    }
    set_source(values, None, sum);
}

fn set_source(values: &mut Values, name: Option<&str>, rates: Option<SourceRates>) {
    let stage = Some(Stage::Source);
    values.set(stage, name, Measure::InRate, rates.map(|rates| rates.produced + rates.rejected));
    values.set(stage, name, Measure::OutRate, rates.map(|rates| rates.produced));
    values.set(stage, name, Measure::ErrorRate, rates.map(|rates| rates.rejected + rates.failed_requests));
}

fn of_processors(rates: Option<&Rates>, window: &mut Window, values: &mut Values) {
    match rates {
        Some(rates) => window.push_back((rates.write_seconds.clone(), rates.record_age.clone())),
        // What is older than an outage must not speak for what is now.
        None => window.clear(),
    }
    while window.len() > RECENT {
        window.pop_front();
    }
    let (mut writes, mut ages) = (Histogram::default(), Histogram::default());
    for (write, age) in window.iter() {
        writes.add(write);
        ages.add(age);
    }
    let (processor, sink) = (Some(Stage::Processor), Some(Stage::Sink));
    values.set(processor, None, Measure::InRate, rates.map(|rates| rates.consumed));
    values.set(processor, None, Measure::OutRate, rates.map(|rates| rates.written));
    values.set(processor, None, Measure::ErrorRate, rates.map(|rates| rates.dead_letters));
    let whole = rates.map(|rates| rates.busy + rates.idle + rates.back_pressured).filter(|whole| *whole > 0.0);
    let share = |of: fn(&Rates) -> f64| Some(of(rates?) / whole?);
    values.set(processor, None, Measure::Busy, share(|rates| rates.busy));
    values.set(processor, None, Measure::Idle, share(|rates| rates.idle));
    values.set(processor, None, Measure::BackPressured, share(|rates| rates.back_pressured));
    values.set(processor, None, Measure::AgeP50, ages.quantile(0.5));
    values.set(processor, None, Measure::AgeP99, ages.quantile(0.99));
    values.set(sink, None, Measure::InRate, rates.map(|rates| rates.written + rates.write_failures));
    values.set(sink, None, Measure::OutRate, rates.map(|rates| rates.written));
    values.set(sink, None, Measure::ErrorRate, rates.map(|rates| rates.write_failures));
    values.set(sink, None, Measure::LatencyP50, writes.quantile(0.5));
    values.set(sink, None, Measure::LatencyP99, writes.quantile(0.99));
}

fn of_offsets(found: &Found<'_>, values: &mut Values) {
    let Ok(offsets) = &found.offsets else {
        values.set(None, None, Measure::LagRecords, None);
        values.set(None, None, Measure::LagSeconds, None);
        return;
    };
    let (records, seconds) = total(offsets, found.now);
    values.set(None, None, Measure::LagRecords, records.map(|records| records as f64));
    values.set(None, None, Measure::LagSeconds, seconds);
    let mut topics: BTreeMap<&str, Vec<Offsets>> = BTreeMap::new();
    for offsets in *offsets {
        topics.entry(&offsets.topic).or_default().push(offsets.clone());
        if offsets.lag.partition < MOST_PARTITIONS {
            let key = SeriesKey {
                measure: Measure::LagRecords,
                stage: None,
                name: Some(offsets.topic.clone()),
                partition: Some(offsets.lag.partition),
            };
            values.values.insert(key, offsets.records().map(|records| records as f32));
        }
    }
    for (topic, offsets) in topics {
        let (records, seconds) = total(&offsets, found.now);
        values.set(None, Some(topic), Measure::LagRecords, records.map(|records| records as f64));
        values.set(None, Some(topic), Measure::LagSeconds, seconds);
        let (mut came, mut went) = (Some(0.0), Some(0.0));
        for now in &offsets {
            let (one_came, one_went) = partition_rates(now, found.offsets_before);
            came = came.zip(one_came).map(|(sum, one)| sum + one);
            went = went.zip(one_went).map(|(sum, one)| sum + one);
        }
        values.set(None, Some(topic), Measure::InRate, came);
        values.set(None, Some(topic), Measure::OutRate, went);
    }
}

/// Returns records a second that came into a partition, and that were committed; `None`: unknown.
pub fn partition_rates(now: &Offsets, before: Option<(&[Offsets], f64)>) -> (Option<f64>, Option<f64>) {
    let found = before.and_then(|(before, seconds)| {
        let of_same = |other: &&Offsets| other.topic == now.topic && other.lag.partition == now.lag.partition;
        Some((before.iter().find(of_same)?, seconds)).filter(|(_, seconds)| *seconds > 0.0)
    });
    let Some((before, seconds)) = found else {
        return (None, None);
    };
    // An offset that fell is another topic's of the same name.
    let rate = |now: Option<i64>, before: Option<i64>| {
        let moved = now? - before?;
        (moved >= 0).then(|| moved as f64 / seconds)
    };
    (rate(now.lag.end, before.lag.end), rate(now.lag.committed, before.lag.committed))
}

/// Returns the records that are not committed and the age of the oldest; unknown if any partition's is.
pub fn total(offsets: &[Offsets], now: i64) -> (Option<i64>, Option<f64>) {
    let records = offsets.iter().map(Offsets::records).sum();
    let seconds = offsets
        .iter()
        .map(|offsets| offsets.seconds(now))
        .try_fold(0.0, |oldest: f64, seconds| Some(oldest.max(seconds?)));
    (records, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(partition: i32, end: Option<i64>, committed: Option<i64>) -> Offsets {
        let lag =
            PartitionLag { partition, start: Some(0), end, committed, nothing_left: false, waiting_since: Some(4_000) };
        Offsets { topic: "t".to_owned(), lag }
    }

    fn found<'a>(offsets: Result<&'a [Offsets], String>, before: Option<&'a [Offsets]>) -> Found<'a> {
        Found {
            sources: &[],
            producers: Ok(Rates::default()),
            processors: Ok(Rates { busy: 1.0, idle: 3.0, ..Rates::default() }),
            offsets,
            offsets_before: before.map(|before| (before, 5.0)),
            now: 10_000,
        }
    }

    fn value(values: &Values, stage: Option<Stage>, name: Option<&str>, measure: Measure) -> Option<f32> {
        values.values[&SeriesKey { measure, stage, name: name.map(str::to_owned), partition: None }]
    }

    #[test]
    fn lag_is_what_is_left_and_how_long_it_waits() {
        let now = [offsets(0, Some(120), Some(100)), offsets(1, Some(50), Some(50))];
        let before = [offsets(0, Some(70), Some(90)), offsets(1, Some(50), Some(50))];
        let values = values(&found(Ok(&now), Some(&before)), &mut Window::new());
        assert_eq!(value(&values, None, None, Measure::LagRecords), Some(20.0));
        assert_eq!(value(&values, None, None, Measure::LagSeconds), Some(6.0));
        assert_eq!(value(&values, None, Some("t"), Measure::InRate), Some(10.0));
        assert_eq!(value(&values, None, Some("t"), Measure::OutRate), Some(2.0));
        assert!(values.unknown.is_empty());
    }

    #[test]
    fn one_partition_that_is_unknown_makes_the_total_unknown_and_not_smaller() {
        let now = [offsets(0, Some(120), Some(100)), offsets(1, None, Some(50))];
        let values = values(&found(Ok(&now), None), &mut Window::new());
        assert_eq!(value(&values, None, None, Measure::LagRecords), None);
        assert_eq!(value(&values, None, None, Measure::LagSeconds), None);
        assert_eq!(value(&values, None, Some("t"), Measure::InRate), None);
    }

    #[test]
    fn a_store_that_does_not_answer_is_unknown_with_its_cause() {
        let values = values(&found(Err("no broker answers".to_owned()), None), &mut Window::new());
        assert_eq!(value(&values, None, None, Measure::LagRecords), None);
        assert_eq!(values.unknown, ["no broker answers"]);
    }

    #[test]
    fn a_group_that_has_committed_nothing_has_all_before_it() {
        assert_eq!(offsets(0, Some(7), None).records(), Some(7));
        assert_eq!(offsets(0, Some(0), None).seconds(10_000), Some(0.0));
    }

    #[test]
    fn an_offset_that_fell_gives_no_rate() {
        let (now, before) = (offsets(0, Some(5), Some(5)), [offsets(0, Some(70), Some(70))]);
        assert_eq!(partition_rates(&now, Some((&before, 5.0))), (None, None));
    }

    #[test]
    fn known_workers_that_did_nothing_are_zero_and_unknown_ones_are_not() {
        let sources = ["users".to_owned()];
        let offsets: [Offsets; 0] = [];
        let idle = Found { sources: &sources, ..found(Ok(&offsets), None) };
        let values_of = |found: &Found<'_>| values(found, &mut Window::new());
        let stage = Some(Stage::Source);
        assert_eq!(value(&values_of(&idle), stage, Some("users"), Measure::OutRate), Some(0.0));
        assert_eq!(value(&values_of(&idle), Some(Stage::Processor), None, Measure::Idle), Some(0.75));
        assert_eq!(value(&values_of(&idle), Some(Stage::Sink), None, Measure::LatencyP99), None);
        let lost = Found { producers: Err("no producer runs".to_owned()), ..idle };
        assert_eq!(value(&values_of(&lost), stage, Some("users"), Measure::OutRate), None);
        assert_eq!(values_of(&lost).unknown, ["no producer runs"]);
    }

    #[test]
    fn latencies_are_of_the_last_minute_and_end_with_an_outage() {
        let offsets: [Offsets; 0] = [];
        let observed = |count| Rates {
            write_seconds: Histogram { bounds: vec![1.0, f64::INFINITY], counts: vec![count, count] },
            ..Rates::default()
        };
        let mut window = Window::new();
        let mut p99 = |processors| {
            let found = Found { processors, ..found(Ok(&offsets), None) };
            value(&values(&found, &mut window), Some(Stage::Sink), None, Measure::LatencyP99)
        };
        assert_eq!(p99(Ok(observed(10.0))), Some(0.99));
        assert_eq!(p99(Ok(observed(0.0))), Some(0.99));
        assert_eq!(p99(Err("gone".to_owned())), None);
        assert_eq!(p99(Ok(observed(0.0))), None);
    }
}
