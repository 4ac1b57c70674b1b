//! The metrics by name, and their labels.

use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::budget::Budget;

/// The source of a record.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct SourceLabel {
    source: String,
}

impl SourceLabel {
    /// Makes the label.
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned() }
    }
}

/// Why something was refused.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ReasonLabel {
    pub(super) reason: String,
}

/// The query that made no row of a record.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct QueryLabel {
    pub(super) query: String,
}

/// Whose records were refused, and why.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RejectionLabels {
    source: String,
    reason: String,
}

impl RejectionLabels {
    pub(super) fn new(source: &str, reason: &str) -> Self {
        Self { source: source.to_owned(), reason: reason.to_owned() }
    }
}

/// Who was asked, and how that ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RequestLabels {
    source: String,
    outcome: String,
}

impl RequestLabels {
    pub(super) fn new(source: &str, outcome: &str) -> Self {
        Self { source: source.to_owned(), outcome: outcome.to_owned() }
    }
}

/// What a processor spends its time on.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum RoadState {
    /// It works, or waits for the little that is under way.
    Busy,
    /// There is no record.
    Idle,
    /// There are records, and as many rows under way as may be.
    BackPressured,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct StateLabel {
    pub(super) state: RoadState,
}

/// All metrics of both roads; those of the other road stay at zero.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) exhausted: Family<SourceLabel, Gauge>,
    pub(super) produced: Family<SourceLabel, Counter>,
    pub(super) rejected: Family<RejectionLabels, Counter>,
    pub(super) source_letters: Family<SourceLabel, Counter>,
    pub(super) cursors_kept: Family<SourceLabel, Counter>,
    pub(super) cursor_failures: Family<SourceLabel, Counter>,
    pub(super) publish_failures: Counter,
    pub(super) assigned: Gauge,
    pub(super) consumed: Counter,
    pub(super) filtered: Family<QueryLabel, Counter>,
    pub(super) in_flight: Gauge,
    pub(super) window: Gauge,
    /// In seconds.
    pub(super) time: Family<StateLabel, Counter<f64, AtomicU64>>,
    pub(super) written: Counter,
    pub(super) requests_written: Counter,
    pub(super) write_failures: Family<ReasonLabel, Counter>,
    pub(super) write_seconds: Histogram,
    pub(super) record_age_seconds: Histogram,
    pub(super) dead_letters: Family<ReasonLabel, Counter>,
    pub(super) commits: Counter,
    pub(super) commit_failures: Counter,
}

impl Metrics {
    pub(super) fn new(budget: Budget) -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            exhausted: Family::default(),
            produced: Family::default(),
            rejected: Family::default(),
            source_letters: Family::default(),
            cursors_kept: Family::default(),
            cursor_failures: Family::default(),
            publish_failures: Counter::default(),
            assigned: Gauge::default(),
            consumed: Counter::default(),
            filtered: Family::default(),
            in_flight: Gauge::default(),
            window: Gauge::default(),
            time: Family::default(),
            written: Counter::default(),
            requests_written: Counter::default(),
            write_failures: Family::default(),
            // 0.25 ms to 16 s: below lies no write, above the request times out.
            write_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 17)),
            // 1 ms to 2 h: from a busy road to a long outage.
            record_age_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 24)),
            dead_letters: Family::default(),
            commits: Counter::default(),
            commit_failures: Counter::default(),
        };
        metrics.registered(budget)
    }

    fn registered(mut self, budget: Budget) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "millrace_source_requests",
            "Fetches of a source, or pushes to it, by result",
            self.requests.clone(),
        );
        registry.register(
            "millrace_source_exhausted",
            "1 if the source is exhausted: it will never have more records",
            self.exhausted.clone(),
        );
        registry.register("millrace_records_produced", "Records that Kafka has acknowledged", self.produced.clone());
        registry.register(
            "millrace_records_rejected",
            "Fetched records that could not be mapped or sent",
            self.rejected.clone(),
        );
        registry.register(
            "millrace_source_dead_letters",
            "Records of a source that could not be read or mapped and are in the dead-letter topic",
            self.source_letters.clone(),
        );
        registry.register(
            "millrace_cursors_kept",
            "Times that the position of a source was stored",
            self.cursors_kept.clone(),
        );
        registry.register(
            "millrace_cursor_failures",
            "Times that the position of a source could not be stored; each is retried",
            self.cursor_failures.clone(),
        );
        registry.register(
            "millrace_publish_failures",
            "Sends that Kafka did not acknowledge; each is retried",
            self.publish_failures.clone(),
        );
        registry.register("millrace_partitions_assigned", "Assigned partitions", self.assigned.clone());
        registry.register("millrace_records_consumed", "Records received from Kafka", self.consumed.clone());
        registry.register(
            "millrace_records_filtered",
            "Records for which a query's SQL returns no row; their offsets are committed",
            self.filtered.clone(),
        );
        registry.register(
            "millrace_in_flight_rows",
            "Records in flight between Kafka and the table",
            self.in_flight.clone(),
        );
        registry.register("millrace_window_rows", "Limit of rows in flight", self.window.clone());
        registry.register(
            "millrace_time_seconds",
            "Time of a processor, by activity: working, without records, or waiting for Cassandra",
            self.time.clone(),
        );
        registry.register(
            "millrace_write_requests",
            "Requests that Cassandra has acknowledged, of one row or several",
            self.requests_written.clone(),
        );
        registry.register("millrace_rows_written", "Rows that Cassandra has acknowledged", self.written.clone());
        registry.register(
            "millrace_write_failures",
            "Writes that Cassandra did not acknowledge; each is retried",
            self.write_failures.clone(),
        );
        registry.register(
            "millrace_write_seconds",
            "Time from the first attempt of a request to its acknowledgement",
            self.write_seconds.clone(),
        );
        registry.register(
            "millrace_record_age_seconds",
            "Time from handing a record to Kafka until its row is readable",
            self.record_age_seconds.clone(),
        );
        registry.register(
            "millrace_dead_letters",
            "Records sent to the dead-letter topic, by reason",
            self.dead_letters.clone(),
        );
        registry.register("millrace_commits", "Offset commits that the group accepted", self.commits.clone());
        registry.register(
            "millrace_commit_failures",
            "Offset commits that the group did not accept",
            self.commit_failures.clone(),
        );
        registry.register_collector(Box::new(Memory { budget }));
        self
    }

    pub(super) fn encode(&self) -> String {
        let mut page = String::with_capacity(8 << 10);
        text::encode(&mut page, &self.registry).expect("writing to a string does not fail");
        page
    }
}

/// Gauges that are read when somebody looks.
#[derive(Debug)]
struct Memory {
    budget: Budget,
}

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = [
            ("millrace_buffered_bytes", "Bytes of records in memory", self.budget.used()),
            ("process_resident_memory_bytes", "Resident memory", resident_memory().unwrap_or_default()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Returns the resident memory in bytes. Absent: not Linux.
#[expect(clippy::disallowed_methods, reason = "a file of /proc is memory: reading it does not block")]
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_contract() {
        let metrics = Metrics::new(Budget::new(1));
        metrics.produced.get_or_create(&SourceLabel::new("users")).inc();
        metrics.rejected.get_or_create(&RejectionLabels::new("users", "TakeKey")).inc();
        metrics.requests.get_or_create(&RequestLabels::new("users", "Ok")).inc();
        metrics.exhausted.get_or_create(&SourceLabel::new("users")).set(1);
        metrics.filtered.get_or_create(&QueryLabel { query: "adults".to_owned() }).inc();
        metrics.source_letters.get_or_create(&SourceLabel::new("users")).inc();
        metrics.cursors_kept.get_or_create(&SourceLabel::new("users")).inc();
        metrics.cursor_failures.get_or_create(&SourceLabel::new("users")).inc();
        metrics.dead_letters.get_or_create(&ReasonLabel { reason: "NotJson".to_owned() }).inc();
        metrics.write_failures.get_or_create(&ReasonLabel { reason: "AwaitSink".to_owned() }).inc();
        metrics.time.get_or_create(&StateLabel { state: RoadState::BackPressured }).inc_by(1.5);
        let page = metrics.encode();
        let stable = page.lines().filter(|line| !line.contains("_bucket{") && !line.starts_with("process_resident"));
        insta::assert_snapshot!(stable.collect::<Vec<_>>().join("\n"));
    }
}
