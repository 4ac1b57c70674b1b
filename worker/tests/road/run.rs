//! A run: within its limits, to its end, and accounted for whatever happens.

use std::sync::Arc;
use std::time::Duration;

use millrace_terms::{
    Duration as Span, GeneratorSettings, HttpSettings, Origin, RunCounts, RunOutcome, RunResult, RunSettings,
    SourceSettings,
};
use millrace_worker::attempt;
use millrace_worker::budget::Budget;
use millrace_worker::cursor::Nowhere;
use millrace_worker::health::produce::ProduceHealth;
use millrace_worker::kafka::memory::MemoryBroker;
use millrace_worker::mapping::Mapping;
use millrace_worker::produce::{Lane, Produce, Shared};
use millrace_worker::sabotage::Sabotages;
use millrace_worker::source::limited::Limited;
use millrace_worker::source::memory::MemorySource;
use millrace_worker::source::{Batch, FetchRecords, Source};
use millrace_worker::telemetry::Telemetry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "users_created";

struct Attempt {
    broker: MemoryBroker,
    settings: RunSettings,
    origin: Origin,
    stop: CancellationToken,
    directory: tempfile::TempDir,
}

impl Attempt {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = RunSettings {
            name: "again".to_owned(),
            attempt: 2,
            time: "2026-01-01T00:00:00Z".to_owned(),
            max_records: None,
            duration: None,
            timeout: Span::from_secs(30),
            trace_parent: "00-0af7651916cd43dd8448eb211c80319c-0000000000000002-01".to_owned(),
            result: directory.path().join("result"),
        };
        let origin = Origin::Generator(GeneratorSettings { seed: 1, count: None, records_per_second: None });
        Self { broker: MemoryBroker::default(), settings, origin, stop: CancellationToken::new(), directory }
    }

    /// Of an endpoint that is polled.
    fn polled() -> Self {
        let http = HttpSettings {
            url: "https://example.com".to_owned(),
            method: Default::default(),
            query: Default::default(),
            body: None,
            interval: Span::from_secs(1),
            timeout: Span::from_secs(1),
            headers: Vec::new(),
            records: String::new(),
            records_are: Default::default(),
            pagination: None,
            since: None,
            oauth2: None,
            max_response: millrace_terms::Bytes(1 << 20),
            max_requests_per_second: None,
        };
        Self { origin: Origin::Http(http), ..Self::new() }
    }

    /// Runs to its end; returns what it said and whether the worker would end well.
    async fn run(&self, source: impl Source) -> (RunResult, bool) {
        let settings = SourceSettings {
            name: "users".to_owned(),
            topic: TOPIC.to_owned(),
            key: "id".to_owned(),
            fields: Default::default(),
            params: Default::default(),
            origin: self.origin.clone(),
        };
        let budget = Budget::new(1 << 20);
        let health = Arc::new(ProduceHealth::new([("users".to_owned(), TOPIC.to_owned())]));
        health.kafka(Some("no broker answers".to_owned()));
        let shared = Shared {
            publisher: self.broker.clone(),
            dead_letter_topic: None,
            budget: budget.clone(),
            telemetry: Telemetry::new(budget),
            health: Arc::clone(&health),
            sabotages: Sabotages::default(),
        };
        let once = attempt::once(&self.settings);
        let lane = Lane {
            index: 0,
            name: "users".to_owned(),
            topic: TOPIC.to_owned(),
            mapping: Mapping::compile(&settings).expect("there are no expressions"),
            source: Limited::new(source, attempt::limits(&self.settings, &settings)),
            keeper: Box::new(Nowhere),
            once: Some(once.clone()),
            shared,
        };
        let mut road = Produce::new(Duration::from_millis(200));
        road.start(lane, self.stop.clone());
        let ended = attempt::drive(road, &self.settings, &once, &health, self.stop.clone()).await;
        let text = std::fs::read_to_string(self.directory.path().join("result")).expect("a result");
        (serde_json::from_str(&text).expect("a result"), ended.is_ok())
    }
}

fn batch(ids: std::ops::Range<u32>) -> Result<Batch, FetchRecords> {
    Ok(Batch {
        records: ids.map(|id| json!({"id": id.to_string()})).collect::<Vec<Value>>().into_iter().collect(),
        ..Batch::default()
    })
}

#[tokio::test]
async fn an_endpoint_is_asked_once_and_every_record_carries_the_run() {
    let attempt = Attempt::polled();
    let (result, is_well) = attempt.run(MemorySource::new([batch(0..3), batch(3..6)])).await;
    assert!(is_well);
    let expected = RunResult {
        outcome: RunOutcome::Succeeded,
        error: None,
        counts: RunCounts { read: 3, produced: 3, rejected: 0, bytes: 3 * (1 + r#"{"id":"0"}"#.len() as u64) },
        ranges: vec![(0, 0, 2)],
        ranges_incomplete: false,
    };
    assert_eq!(result, expected);
    for record in attempt.broker.records(TOPIC) {
        let header = |name: &str| {
            let found = record.headers.iter().find(|header| header.name == name);
            found.and_then(|header| header.value.clone()).map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        assert_eq!(header("millrace-source").as_deref(), Some("users"));
        assert_eq!(header("millrace-run").as_deref(), Some("again"));
        assert_eq!(header("traceparent"), Some(attempt.settings.trace_parent.clone()));
    }
}

#[tokio::test]
async fn records_beyond_the_limit_are_not_sent() {
    let mut attempt = Attempt::new();
    attempt.settings.max_records = Some(5);
    let (result, is_well) = attempt.run(MemorySource::new([batch(0..3), batch(3..9), batch(9..12)])).await;
    assert_eq!((result.counts.read, result.counts.produced, is_well), (5, 5, true));
    assert_eq!(attempt.broker.records(TOPIC).len(), 5);
}

#[tokio::test]
async fn a_source_that_fails_ends_the_attempt_with_its_cause_and_what_was_sent() {
    let attempt = Attempt::new();
    let failure = Err(FetchRecords::AwaitEndpoint { problem: "'example.com' answers 503".to_owned() });
    let (result, is_well) = attempt.run(MemorySource::new([batch(0..4), failure, batch(4..8)])).await;
    assert!(!is_well);
    assert_eq!(result.error.as_deref(), Some("'example.com' answers 503"));
    assert_eq!((result.outcome, result.counts.produced, result.ranges), (RunOutcome::Failed, 4, vec![(0, 0, 3)]));
}

#[tokio::test]
async fn records_that_cannot_be_mapped_are_counted_and_fail_nothing() {
    let attempt = Attempt::new();
    let mixed = [json!({"id": "a"}), json!({"id": null}), json!([1])];
    let source = MemorySource::new([Ok(Batch { records: mixed.into_iter().collect(), ..Batch::default() })]);
    let (result, is_well) = attempt.run(source).await;
    assert_eq!((result.counts.read, result.counts.produced, result.counts.rejected, is_well), (3, 1, 2, true));
}

#[tokio::test]
async fn a_broker_that_takes_nothing_fails_the_attempt_at_its_timeout_with_the_reason() {
    let mut attempt = Attempt::new();
    attempt.settings.timeout = Span::from_millis(100);
    attempt.broker.refuse_sends(u32::MAX);
    let (result, is_well) = attempt.run(MemorySource::new([batch(0..4)])).await;
    assert_eq!((result.outcome, result.counts.produced, is_well), (RunOutcome::Failed, 0, false));
    let error = result.error.unwrap_or_default();
    assert_eq!(error, "not at its end within the timeout, 100ms; kafka cannot be used: no broker answers");
}

#[tokio::test]
async fn told_to_stop_it_drains_and_says_that_it_was_stopped() {
    let attempt = Attempt::new();
    attempt.broker.refuse_sends(3);
    let stop = attempt.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.cancel();
    });
    let (result, is_well) = attempt.run(Endless::default()).await;
    assert_eq!((result.outcome, is_well), (RunOutcome::Stopped, false), "{:?}", result.error);
    assert_eq!(result.counts.produced, attempt.broker.records(TOPIC).len() as u64);
    assert!(result.counts.produced > 0);
}

/// A source that always has one more record, and so has not ended when it is told to stop.
#[derive(Default)]
struct Endless {
    given: u32,
}

impl Source for Endless {
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        tokio::task::yield_now().await;
        self.given += 1;
        batch(self.given..self.given + 1)
    }
}
