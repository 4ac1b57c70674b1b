//! Telemetry: one function for each thing that happens, which counts it and, where a person should know, logs it.
//!
//! Metric names are a contract with dashboards, the autoscaler and the end-to-end tests.

mod held;
mod metrics;
mod tally;
mod throttle;
mod unquoted;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_terms::Work;
use tracing::{debug, error, info, warn};

use crate::budget::Budget;
use crate::mapping::MapRecord;
use crate::message::{PartitionId, Position};
use crate::rejection::Rejection;
use crate::source::FetchRecords;
pub use held::Held;
use metrics::{Metrics, QueryLabel, ReasonLabel, RejectionLabels, RequestLabels, StateLabel};
pub use metrics::{RoadState, SourceLabel};
use tally::Tally;
use throttle::Throttle;

/// Counts and logs; clones share the counts.
#[derive(Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    tally: Arc<Tally>,
    throttles: Arc<Throttles>,
}

/// One limit for each kind of line that a bad day would repeat thousands of times.
#[derive(Default)]
struct Throttles {
    /// By source, so that one bad source does not silence the others.
    rejections: Mutex<BTreeMap<String, Arc<Throttle>>>,
    dead_letters: Throttle,
    publishes: Throttle,
    writes: Throttle,
    sources: Throttle,
    cursors: Throttle,
}

impl Throttles {
    fn rejections_of(&self, source: &str) -> Arc<Throttle> {
        let mut throttles = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        match throttles.get(source) {
            Some(throttle) => Arc::clone(throttle),
            None => Arc::clone(throttles.entry(source.to_owned()).or_default()),
        }
    }
}

impl Telemetry {
    /// Makes the metrics, all at zero; `budget` is shown as the bytes in memory.
    pub fn new(budget: Budget) -> Self {
        let tally = Arc::new(Tally::new(budget.limit()));
        Self { metrics: Arc::new(Metrics::new(budget)), tally, throttles: Arc::default() }
    }

    /// Returns the metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        self.metrics.encode()
    }

    /// Returns what this processor has done since it started.
    pub fn work(&self) -> Work {
        self.tally.read()
    }

    /// Returns what this producer has done since it started for clients that push.
    pub fn pushed(&self) -> Work {
        self.tally.read_pushed()
    }

    /// This pod is none of those that share the sources.
    pub fn share_is_empty(&self, ordinal: u32, replicas: u32) {
        warn!(ordinal, replicas, "the ordinal is outside the replicas, so this producer fetches no source");
    }

    /// Some time has passed: rejections that were not logged are told of by their number.
    pub fn note_passed_over(&self, source: &str) {
        if let Some(passed_over) = self.throttles.rejections_of(source).overdue() {
            warn!(source, passed_over, "more records were rejected than are logged; the dead-letter topic has them");
        }
    }

    /// The dead letter of a record that a source had is acknowledged.
    pub fn source_letter_sent(&self, source: &SourceLabel) {
        self.metrics.source_letters.get_or_create(source).inc();
    }

    /// A source answered.
    pub fn source_answered(&self, source: &str) {
        self.metrics.requests.get_or_create(&RequestLabels::new(source, "Ok")).inc();
        debug!(source, "the source answered");
    }

    /// A source did not answer with records.
    pub fn source_failed(&self, source: &str, error: &FetchRecords) {
        self.metrics.requests.get_or_create(&RequestLabels::new(source, error.outcome())).inc();
        if let Some(passed_over) = self.throttles.sources.permit() {
            warn!(source, outcome = error.outcome(), passed_over, "cannot fetch records: {error}");
        }
    }

    /// A source will never have more records.
    pub fn source_exhausted(&self, source: &str) {
        self.metrics.exhausted.get_or_create(&SourceLabel::new(source)).set(1);
        info!(source, "the source is exhausted");
    }

    /// Kafka acknowledged all that an exhausted source had.
    pub fn source_finished(&self, source: &str, acknowledged: u64, rejected: u64) {
        info!(source, acknowledged, rejected, "all records of the source are acknowledged");
    }

    /// A source starts.
    pub fn source_started(&self, source: &str, topic: &str) {
        // Created here so that the series exist, at zero, before anything happens.
        drop(self.metrics.produced.get_or_create(&SourceLabel::new(source)));
        self.metrics.exhausted.get_or_create(&SourceLabel::new(source)).set(0);
        info!(source, topic, "the source starts");
    }

    /// Kafka acknowledged a record.
    pub fn record_produced(&self, source: &SourceLabel) {
        self.metrics.produced.get_or_create(source).inc();
    }

    /// A fetched record cannot be mapped; it is passed over. `place` says where it stood in its source, if that is known.
    pub fn record_rejected(&self, source: &str, rejection: &MapRecord, place: &str) {
        self.metrics.rejected.get_or_create(&RejectionLabels::new(source, rejection.reason())).inc();
        if let Some(passed_over) = self.throttles.rejections_of(source).permit() {
            let what = unquoted::of_source(rejection);
            warn!(source, reason = rejection.reason(), place, passed_over, what, "a record is rejected");
        }
    }

    /// A request with records was answered.
    pub fn push_answered(&self, source: &str, outcome: &'static str) {
        self.metrics.requests.get_or_create(&RequestLabels::new(source, outcome)).inc();
        debug!(source, outcome, "a push is answered");
    }

    /// A request holds so many bytes of the buffer, until what is returned is dropped.
    pub fn push_begun(&self, bytes: u64) -> Held {
        self.tally.begin_push(bytes)
    }

    /// Kafka takes long to acknowledge a request with so many bytes, until what is returned is dropped.
    pub fn push_waits(&self, bytes: u64) -> Held {
        self.tally.await_push(bytes)
    }

    /// Kafka has every record of a request.
    pub fn push_taken(&self) {
        self.tally.answer_push();
    }

    /// A request was refused for want of memory.
    pub fn push_put_off(&self) {
        self.tally.refuse_push();
    }

    /// A source's position was kept.
    pub fn cursor_kept(&self, source: &SourceLabel) {
        self.metrics.cursors_kept.get_or_create(source).inc();
    }

    /// A source's position was not kept; the next try has the latest one.
    pub fn cursor_not_kept(&self, source: &str, label: &SourceLabel, problem: &str) {
        self.metrics.cursor_failures.get_or_create(label).inc();
        if let Some(passed_over) = self.throttles.cursors.permit() {
            warn!(source, passed_over, "cannot keep the position for now: {problem}");
        }
    }

    /// Kafka refuses a mapped record for good; it is passed over.
    pub fn record_refused(&self, source: &str, problem: &str) {
        self.metrics.rejected.get_or_create(&RejectionLabels::new(source, "RefusedByKafka")).inc();
        if let Some(passed_over) = self.throttles.rejections_of(source).permit() {
            warn!(source, reason = "RefusedByKafka", passed_over, "a record is rejected: {problem}");
        }
    }

    /// Kafka has not acknowledged a record; it is sent again.
    pub fn publish_failed(&self, problem: &str) {
        self.metrics.publish_failures.inc();
        if let Some(passed_over) = self.throttles.publishes.permit() {
            warn!(passed_over, "sending again: {problem}");
        }
    }

    /// Kafka can or cannot be used, which is news.
    pub fn kafka_changed(&self, problem: Option<&str>) {
        match problem {
            None => info!("kafka answers"),
            Some(problem) => warn!("kafka cannot be used: {problem}"),
        }
    }

    /// Partitions came.
    pub fn partitions_assigned(&self, came: &[PartitionId], assigned: usize) {
        self.metrics.assigned.set(assigned as i64);
        self.tally.hold(assigned, true);
        info!(came = came.len(), assigned, "partitions are assigned");
    }

    /// Partitions were released to another member.
    pub fn partitions_released(&self, went: &[PartitionId], assigned: usize, abandoned: usize) {
        self.metrics.assigned.set(assigned as i64);
        self.tally.hold(assigned, true);
        info!(went = went.len(), assigned, abandoned, "partitions are released");
    }

    /// Partitions went to another member without our release.
    pub fn partitions_lost(&self, went: &[PartitionId], assigned: usize) {
        self.metrics.assigned.set(assigned as i64);
        self.tally.hold(assigned, false);
        warn!(went = went.len(), assigned, "partitions are lost; their last records will be consumed again");
    }

    /// Records came from Kafka.
    pub fn records_consumed(&self, count: usize) {
        self.metrics.consumed.inc_by(count as u64);
    }

    /// A query starts.
    pub fn query_started(&self, query: &str, topic: &str, table: &str) {
        // Created here so that the series exists, at zero, before anything happens.
        drop(self.metrics.filtered.get_or_create(&QueryLabel { query: query.to_owned() }));
        info!(query, topic, table, "the query starts");
    }

    /// A query's SQL made no row of so many records.
    pub fn records_filtered(&self, query: &str, count: usize) {
        let label = QueryLabel { query: query.to_owned() };
        self.metrics.filtered.get_or_create(&label).inc_by(count as u64);
    }

    /// Records were handed to the sink or taken from it.
    pub fn rows_in_flight(&self, count: usize) {
        self.metrics.in_flight.set(count as i64);
    }

    /// Rows were acknowledged together, `took` after they were begun, and so long after each was produced.
    pub fn rows_written(&self, rows: usize, took: Duration, ages: impl Iterator<Item = Duration>) {
        self.metrics.written.inc_by(rows as u64);
        self.metrics.requests_written.inc();
        self.metrics.write_seconds.observe(took.as_secs_f64());
        self.tally.write(took);
        ages.for_each(|age| self.metrics.record_age_seconds.observe(age.as_secs_f64()));
    }

    /// The window of rows under way has another size.
    pub fn window_changed(&self, rows: usize) {
        self.metrics.window.set(rows as i64);
    }

    /// The road spent time in a state.
    pub fn time_spent(&self, state: RoadState, time: Duration) {
        self.metrics.time.get_or_create(&StateLabel { state }).inc_by(time.as_secs_f64());
    }

    /// The road was at work for so long.
    pub fn worked(&self, time: Duration) {
        self.tally.work(time);
    }

    /// The road had records and room for none, and nothing to do, for so long.
    pub fn waited_for_sink(&self, time: Duration) {
        self.tally.wait(time);
    }

    /// Records ended as rows, as dead letters or as nothing.
    pub fn records_settled(&self, count: usize) {
        self.tally.settle(count);
    }

    /// A write was not acknowledged; it is tried again.
    pub fn write_failed(&self, kind: &'static str, problem: &str) {
        self.metrics.write_failures.get_or_create(&ReasonLabel { reason: kind.to_owned() }).inc();
        if let Some(passed_over) = self.throttles.writes.permit() {
            warn!(kind, passed_over, "writing again: {problem}");
        }
    }

    /// The sink takes rows again.
    pub fn sink_recovered(&self) {
        info!("cassandra takes rows");
    }

    /// The sink's session was made.
    pub fn sink_connected(&self, nodes: usize) {
        info!(nodes, "connected to cassandra, statements are prepared");
    }

    /// The sink's session cannot be made.
    pub fn sink_unconnected(&self, problem: &str) {
        if let Some(passed_over) = self.throttles.writes.permit() {
            warn!(passed_over, "there is no session with cassandra yet: {problem}");
        }
    }

    /// The sink's session reaches no node any more and is made anew.
    pub fn sink_lost(&self, seconds: u64) {
        warn!(seconds, "no cassandra node answers; looking up its addresses again");
    }

    /// A record was sent to the dead-letter topic, and acknowledged there.
    pub fn dead_letter_sent(&self, topic: &str, position: Position, rejection: &Rejection) {
        self.metrics.dead_letters.get_or_create(&ReasonLabel { reason: rejection.reason().to_owned() }).inc();
        if let Some(passed_over) = self.throttles.dead_letters.permit() {
            let Position { partition: PartitionId { partition, .. }, offset, .. } = position;
            let reason = rejection.reason();
            let what = unquoted::of_query(rejection);
            warn!(topic, partition, offset, reason, passed_over, what, "a record becomes a dead letter");
        }
    }

    /// A dead letter is too large for its topic; only its beginning is kept.
    pub fn dead_letter_cut(&self, topic: &str, length: usize, kept: usize) {
        error!(topic, length, kept, "the dead-letter topic refuses a record of this size; its beginning is kept");
    }

    /// A canary record has not come to its end; another one is sent.
    pub fn canary_delayed(&self, problem: &str) {
        debug!(problem, "a canary record is late");
    }

    /// Offsets were committed.
    pub fn offsets_committed(&self, partitions: usize) {
        self.metrics.commits.inc();
        debug!(partitions, "offsets are committed");
    }

    /// Offsets were not committed; the next commit includes them.
    pub fn commit_failed(&self, problem: &str) {
        self.metrics.commit_failures.inc();
        warn!("cannot commit offsets for now: {problem}");
    }

    /// The worker was told to stop.
    pub fn draining(&self, under_way: usize) {
        info!(under_way, "told to stop; finishing what is under way");
    }

    /// The worker has finished.
    pub fn drained(&self, abandoned: usize) {
        info!(abandoned, "finished");
    }
}
