//! The text of a worker's `/metrics` → [`Reading`]: the few counters that the console shows. Pure.

use std::collections::BTreeMap;

/// Buckets of a histogram: upper bounds, and how many observations were at most so large.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, ascending; the last is infinite.
    pub bounds: Vec<f64>,
    /// Observations up to each bound.
    pub counts: Vec<f64>,
}

impl Histogram {
    /// Returns what was observed since an earlier reading; all of it, if the buckets are others or counts fell.
    pub fn since(&self, earlier: &Self) -> Self {
        let fell = self.counts.iter().zip(&earlier.counts).any(|(now, before)| now < before);
        if self.bounds != earlier.bounds || fell {
            return self.clone();
        }
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, before)| now - before).collect();
        Self { bounds: self.bounds.clone(), counts }
    }

    /// Adds another's observations; of other buckets, only if it has none itself.
    pub fn add(&mut self, other: &Self) {
        if self.bounds == other.bounds {
            self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        } else if self.bounds.is_empty() {
            *self = other.clone();
        }
    }

    /// Returns the value that a share of the observations does not exceed, between the bounds of its bucket; `None`:
    /// nothing was observed, or the value lies above the last finite bound.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.counts.last().copied().filter(|count| *count > 0.0)?;
        let rank = all * share;
        let index = self.counts.iter().position(|count| *count >= rank)?;
        let upper = self.bounds.get(index).copied().filter(|bound| bound.is_finite())?;
        let (lower, below) = match index.checked_sub(1) {
            Some(before) => (self.bounds[before], self.counts[before]),
            None => (0.0, 0.0),
        };
        let within = self.counts[index] - below;
        Some(if within > 0.0 { lower + (upper - lower) * (rank - below) / within } else { upper })
    }
}

/// Counters of one worker, since it began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Records that Kafka has acknowledged, by source.
    pub produced: BTreeMap<String, f64>,
    /// Records that were refused, by source.
    pub rejected: BTreeMap<String, f64>,
    /// Requests of a source that failed, by source.
    pub failed_requests: BTreeMap<String, f64>,
    /// Sends that Kafka did not acknowledge.
    pub publish_failures: f64,
    /// Records that came from Kafka.
    pub consumed: f64,
    /// Rows that Cassandra has acknowledged.
    pub written: f64,
    /// Writes that it did not acknowledge.
    pub write_failures: f64,
    /// Records that no query could use.
    pub dead_letters: f64,
    /// Seconds of work.
    pub busy: f64,
    /// Seconds without a record.
    pub idle: f64,
    /// Seconds of waiting for Cassandra.
    pub back_pressured: f64,
    /// Durations of write requests, in seconds.
    pub write_seconds: Histogram,
    /// Ages of records when their rows were readable, in seconds.
    pub record_age: Histogram,
}

/// Reads the text of `/metrics`; `None`: it is no worker's.
pub fn read(text: &str) -> Option<Reading> {
    let mut reading = Reading::default();
    let mut is_worker = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels, value)) = sample(line) else {
            continue;
        };
        is_worker |= name.starts_with("millrace_records_");
        let of_source = |by_source: &mut BTreeMap<String, f64>| {
            if let Some(source) = label(labels, "source") {
                *by_source.entry(source.to_owned()).or_default() += value;
            }
        };
        match name {
            "millrace_records_produced_total" => of_source(&mut reading.produced),
            "millrace_records_rejected_total" => of_source(&mut reading.rejected),
            "millrace_source_requests_total" if label(labels, "outcome") != Some("Ok") => {
                of_source(&mut reading.failed_requests);
            }
            "millrace_publish_failures_total" => reading.publish_failures += value,
            "millrace_records_consumed_total" => reading.consumed += value,
            "millrace_rows_written_total" => reading.written += value,
            "millrace_write_failures_total" => reading.write_failures += value,
            "millrace_dead_letters_total" => reading.dead_letters += value,
            "millrace_time_seconds_total" => match label(labels, "state") {
                Some("Busy") => reading.busy += value,
                Some("Idle") => reading.idle += value,
                Some("BackPressured") => reading.back_pressured += value,
                Some(_) | None => (),
            },
            "millrace_write_seconds_bucket" => bucket(&mut reading.write_seconds, labels, value),
            "millrace_record_age_seconds_bucket" => bucket(&mut reading.record_age, labels, value),
            _ => (),
        }
    }
    is_worker.then_some(reading)
}

fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (series, rest) = match line.find('{') {
        Some(_) => {
            let close = line.rfind('}')?;
            (&line[..close], line.get(close + 1..)?)
        }
        None => line.split_once(' ')?,
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, labels, value))
}

/// Returns a label's value. Ours need no escapes: they are names of sources and of enums.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let pairs = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(key, value)| (key, value.trim_end_matches('"'))).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn bucket(histogram: &mut Histogram, labels: &str, count: f64) {
    let bound = match label(labels, "le") {
        Some("+Inf") => Some(f64::INFINITY),
        Some(text) => text.parse().ok(),
        None => None,
    };
    if let Some(bound) = bound {
        histogram.bounds.push(bound);
        histogram.counts.push(count);
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};

    use super::*;

    /// What the worker's own test holds as its contract; see worker/src/telemetry/snapshots.
    const CONTRACT: &str = include_str!(
        "../../../worker/src/telemetry/snapshots/millrace_worker__telemetry__metrics__tests__names_are_a_contract.snap"
    );

    #[test]
    fn reads_what_the_worker_writes() {
        let reading = read(CONTRACT).expect("a worker's metrics");
        assert_eq!(reading.produced["users"], 1.0);
        assert_eq!(reading.rejected["users"], 1.0);
        assert!(reading.failed_requests.is_empty());
        assert_eq!((reading.write_failures, reading.dead_letters, reading.back_pressured), (1.0, 1.0, 1.5));
    }

    #[test]
    fn what_is_no_worker_s_is_nothing_rather_than_zero() {
        assert_eq!(read(""), None);
        assert_eq!(read("<html>not found</html>"), None);
        assert_eq!(read("go_goroutines 12\n"), None);
    }

    #[test]
    fn failed_requests_and_buckets_are_told_apart_by_their_labels() {
        let text = "millrace_records_consumed_total 7\n\
            millrace_source_requests_total{source=\"users\",outcome=\"Ok\"} 9\n\
            millrace_source_requests_total{source=\"users\",outcome=\"Timeout\"} 2\n\
            millrace_write_seconds_bucket{le=\"0.1\"} 3\n\
            millrace_write_seconds_bucket{le=\"+Inf\"} 4\n";
        let reading = read(text).expect("a worker's metrics");
        assert_eq!(reading.failed_requests["users"], 2.0);
        assert_eq!(reading.write_seconds, Histogram { bounds: vec![0.1, f64::INFINITY], counts: vec![3.0, 4.0] });
    }

    #[test]
    fn quantiles_lie_in_their_bucket_and_are_unknown_without_observations() {
        let histogram =
            |counts: &[f64]| Histogram { bounds: vec![1.0, 2.0, 4.0, f64::INFINITY], counts: counts.to_vec() };
        assert_eq!(histogram(&[0.0, 10.0, 10.0, 10.0]).quantile(0.5), Some(1.5));
        assert_eq!(histogram(&[0.0, 0.0, 0.0, 0.0]).quantile(0.5), None);
        assert_eq!(Histogram::default().quantile(0.99), None);
        // Above the last bound nobody knows.
        assert_eq!(histogram(&[0.0, 0.0, 0.0, 5.0]).quantile(0.5), None);
    }

    #[test]
    fn a_histogram_that_began_anew_counts_whole() {
        let histogram = |counts: &[f64]| Histogram { bounds: vec![1.0, f64::INFINITY], counts: counts.to_vec() };
        assert_eq!(histogram(&[5.0, 9.0]).since(&histogram(&[2.0, 4.0])).counts, [3.0, 5.0]);
        assert_eq!(histogram(&[1.0, 2.0]).since(&histogram(&[2.0, 4.0])).counts, [1.0, 2.0]);
    }

    #[test]
    fn no_worker_breaks_the_reader_of_metrics() {
        let buckets = b"millrace_write_seconds_bucket{le=\"0.1\"} 3\nmillrace_write_seconds_bucket{le=\"+Inf\"} 4\n";
        let inputs: &[&[u8]] = &[CONTRACT.as_bytes(), buckets];
        let words = &["{", "}", "\"", "\",", "=\"", "le=", "NaN", "-Inf", "1e999", " ", "\n", "#", "\u{e9}"];
        feed("metrics", Corpus { inputs, words, longest: 64 << 10 }, |input| {
            let Some(reading) = read(&String::from_utf8_lossy(input)) else { return };
            let mut sum = reading.write_seconds.since(&reading.record_age);
            sum.add(&reading.record_age);
            let _ = (sum.quantile(0.5), sum.quantile(0.99), reading.write_seconds.quantile(1.0));
        });
    }
}
