//! What the operator tells of itself: each happening is one function that writes log and metric together.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use millrace_api::crd::RunPhase;
use millrace_api::names::Names;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// How a reconcile ended; the label's value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// As planned.
    Done,
    /// A passing fault; it is tried again.
    Failed,
    /// Only a changed spec can help.
    Rejected,
    /// The pipeline was gone.
    Gone,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PassLabel {
    road: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RoadLabel {
    road: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PipelineLabel {
    namespace: String,
    pipeline: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RunLabel {
    namespace: String,
    pipeline: String,
    source: String,
    phase: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ScaledLabel {
    namespace: String,
    pipeline: String,
    reason: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct MissedLabel {
    namespace: String,
    pipeline: String,
    source: String,
    reason: &'static str,
}

/// The metrics, cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    registry: Arc<Registry>,
    reconciles: Family<PassLabel, Counter>,
    reconcile_seconds: Family<RoadLabel, Histogram>,
    writes: Family<KindLabel, Counter>,
    ready: Family<PipelineLabel, Gauge>,
    runs: Family<RunLabel, Counter>,
    missed: Family<MissedLabel, Counter>,
    recommended: Family<PipelineLabel, Gauge>,
    scaled: Family<ScaledLabel, Counter>,
    leader: Gauge,
    resident: Gauge<f64, AtomicU64>,
}

fn reconcile_seconds() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Default for Telemetry {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("millrace");
        let reconciles = Family::default();
        let reconcile_seconds = Family::new_with_constructor(reconcile_seconds as fn() -> Histogram);
        let writes = Family::default();
        let ready = Family::default();
        let runs = Family::default();
        let missed = Family::default();
        let recommended = Family::default();
        let scaled = Family::default();
        let leader = Gauge::default();
        let resident = Gauge::<f64, AtomicU64>::default();
        registry.register("reconciles", "Reconciles, by road and outcome", reconciles.clone());
        registry.register("reconcile_duration_seconds", "Duration of reconciles, by road", reconcile_seconds.clone());
        registry.register("api_writes", "Writes to the API server, by kind, except Leases", writes.clone());
        registry.register("pipeline_ready", "1 while the pipeline's condition Ready is True", ready.clone());
        registry.register("ingestion_runs_ended", "IngestionRuns that ended, by phase", runs.clone());
        registry.register("schedule_missed", "Due times that passed without a run, by reason", missed.clone());
        registry.register(
            "processors_recommended",
            "Processors that the load needs, if spec.processor.scaling is set",
            recommended.clone(),
        );
        registry.register("processors_scaled", "Changes of the number of processors, by reason", scaled.clone());
        registry.register("leader", "1 while this operator holds the lease", leader.clone());
        registry.register("resident_memory_bytes", "Resident memory of the operator", resident.clone());
        Self {
            registry: Arc::new(registry),
            reconciles,
            reconcile_seconds,
            writes,
            ready,
            runs,
            missed,
            recommended,
            scaled,
            leader,
            resident,
        }
    }
}

impl Telemetry {
    /// A pass of a road ended.
    pub fn reconciled(&self, road: &'static str, ended: Ended, took: Duration) {
        self.reconciles.get_or_create(&PassLabel { road, outcome: ended.as_str() }).inc();
        self.reconcile_seconds.get_or_create(&RoadLabel { road }).observe(took.as_secs_f64());
        tracing::debug!(road, outcome = ended.as_str(), millis = took.as_millis() as u64, "reconciled");
    }

    /// An object is being written to the API server.
    pub fn object_written(&self, kind: &str, name: &str) {
        self.writes.get_or_create(&KindLabel { kind: kind.to_owned() }).inc();
        tracing::info!(kind, name, "write");
    }

    /// The pipeline's readiness was judged.
    pub fn pipeline_judged(&self, names: &Names, ready: bool) {
        self.ready.get_or_create(&pipeline_label(names)).set(i64::from(ready));
    }

    /// The pipeline is gone.
    pub fn pipeline_gone(&self, names: &Names) {
        self.ready.remove(&pipeline_label(names));
        self.recommended.remove(&pipeline_label(names));
    }

    /// It was judged how many processors the load needs. `None`: their number does not follow it.
    pub fn processors_judged(&self, names: &Names, recommended: Option<i32>) {
        match recommended {
            Some(recommended) => {
                self.recommended.get_or_create(&pipeline_label(names)).set(recommended.into());
            }
            None => {
                self.recommended.remove(&pipeline_label(names));
            }
        }
    }

    /// The number of processors was changed, for a reason.
    pub fn processors_scaled(&self, names: &Names, reason: &str) {
        let PipelineLabel { namespace, pipeline } = pipeline_label(names);
        self.scaled.get_or_create(&ScaledLabel { namespace, pipeline, reason: reason.to_owned() }).inc();
    }

    /// A run of a source has ended.
    pub fn run_ended(&self, names: &Names, source: &str, phase: RunPhase) {
        let PipelineLabel { namespace, pipeline } = pipeline_label(names);
        let label = RunLabel { namespace, pipeline, source: source.to_owned(), phase: phase.as_str() };
        self.runs.get_or_create(&label).inc();
    }

    /// Due times of a source's schedule have passed without a run.
    pub fn due_times_missed(&self, names: &Names, source: &str, reason: &'static str, count: u64) {
        let PipelineLabel { namespace, pipeline } = pipeline_label(names);
        let label = MissedLabel { namespace, pipeline, source: source.to_owned(), reason };
        self.missed.get_or_create(&label).inc_by(count);
    }

    /// Leadership was won.
    pub fn leads(&self, identity: &str) {
        self.leader.set(1);
        tracing::info!(identity, "this operator leads");
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        self.resident.set(resident_bytes().unwrap_or(0) as f64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

fn pipeline_label(names: &Names) -> PipelineLabel {
    PipelineLabel { namespace: names.namespace().to_owned(), pipeline: names.pipeline().to_owned() }
}

/// Returns the resident memory of this process, from `/proc/self/status`.
#[expect(clippy::disallowed_methods, reason = "a file of /proc is memory: reading it does not block")]
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
