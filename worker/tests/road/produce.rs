//! Road one: every record that was mapped is acknowledged by Kafka, whatever goes wrong on the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_terms::{GeneratorSettings, Origin, SourceSettings};
use millrace_worker::budget::Budget;
use millrace_worker::cursor::Nowhere;
use millrace_worker::health::Health;
use millrace_worker::health::produce::ProduceHealth;
use millrace_worker::kafka::memory::MemoryBroker;
use millrace_worker::mapping::Mapping;
use millrace_worker::message::Outgoing;
use millrace_worker::produce::{Lane, Produce, RunProduce, Shared};
use millrace_worker::sabotage::Sabotages;
use millrace_worker::source::generator::GeneratorSource;
use millrace_worker::source::memory::MemorySource;
use millrace_worker::source::{Batch, Document, FetchRecords, Records, Source};
use millrace_worker::telemetry::Telemetry;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wait::eventually;

const TOPIC: &str = "users_created";
const LETTERS: &str = "dead-letters";

struct Worker {
    broker: MemoryBroker,
    health: Arc<ProduceHealth>,
    telemetry: Telemetry,
    budget: Budget,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunProduce>>,
}

fn settings(fields: &[(&str, &str)]) -> SourceSettings {
    SourceSettings {
        name: "users".to_owned(),
        topic: TOPIC.to_owned(),
        key: "id".to_owned(),
        fields: fields.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).to_owned())).collect(),
        params: Default::default(),
        origin: Origin::Generator(GeneratorSettings { seed: 1, count: None, records_per_second: None }),
    }
}

fn start<S: Source>(source: S, fields: &[(&str, &str)], broker: &MemoryBroker, memory: u64) -> Worker {
    let budget = Budget::new(memory);
    let telemetry = Telemetry::new(budget.clone());
    let health = Arc::new(ProduceHealth::new([("users".to_owned(), TOPIC.to_owned())]));
    health.kafka(None);
    let shared = Shared {
        publisher: broker.clone(),
        dead_letter_topic: Some(LETTERS.to_owned()),
        budget: budget.clone(),
        telemetry: telemetry.clone(),
        health: Arc::clone(&health),
        sabotages: Sabotages::default(),
    };
    let mapping = Mapping::compile(&settings(fields)).expect("the expressions compile");
    let keeper = Box::new(Nowhere);
    let lane = Lane {
        index: 0,
        name: "users".to_owned(),
        topic: TOPIC.to_owned(),
        mapping,
        source,
        keeper,
        once: None,
        shared,
    };
    let stop = CancellationToken::new();
    let mut road = Produce::new(Duration::from_millis(300));
    road.start(lane, stop.clone());
    let running = tokio::spawn(road.run(stop.clone()));
    Worker { broker: broker.clone(), health, telemetry, budget, stop, running }
}

impl Worker {
    async fn terminate(self) -> Result<(), RunProduce> {
        self.stop.cancel();
        self.running.await.expect("the road does not panic")
    }

    fn payloads(&self) -> Vec<Value> {
        let parsed = |record: &Outgoing| serde_json::from_slice(record.payload.as_deref().unwrap_or_default());
        self.broker.records(TOPIC).iter().map(|record| parsed(record).expect("JSON")).collect()
    }

    fn report(&self) -> Value {
        self.health.readiness().details["sources"][0].clone()
    }
}

fn batch(records: impl IntoIterator<Item = Value>) -> Result<Batch, FetchRecords> {
    Ok(Batch { records: records.into_iter().collect(), ..Batch::default() })
}

fn failure() -> Result<Batch, FetchRecords> {
    Err(FetchRecords::AwaitEndpoint { problem: "'example.com' answers 503".to_owned() })
}

#[tokio::test]
async fn records_arrive_mapped_keyed_and_with_their_headers() {
    let source = MemorySource::new([batch([json!({"user": {"id": "a", "age": 7}})])]);
    let fields = [("id", "record.user.id"), ("age", "record.user.age + 1")];
    let worker = start(source, &fields, &MemoryBroker::default(), 1 << 20);
    eventually("the record", || worker.payloads() == [json!({"id": "a", "age": 8})]).await;
    let record = worker.broker.records(TOPIC).remove(0);
    assert_eq!(record.key.as_deref(), Some(b"a".as_slice()));
    assert_eq!(record.headers[0].name, "millrace-source");
    assert_eq!(record.headers[0].value.as_deref(), Some(b"users".as_slice()));
    assert_eq!(record.headers[1].name, "millrace-produced-at");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_source_error_shows_and_passes() {
    let source = MemorySource::new([failure(), batch([json!({"id": "a"})])]);
    let worker = start(source, &[], &MemoryBroker::default(), 1 << 20);
    eventually("the record", || worker.broker.records(TOPIC).len() == 1).await;
    eventually("the end", || worker.report()["state"] == "Exhausted").await;
    let page = worker.telemetry.encode();
    assert!(page.contains(r#"millrace_source_requests_total{source="users",outcome="Unavailable"} 1"#), "{page}");
    assert!(page.contains(r#"millrace_source_exhausted{source="users"} 1"#), "{page}");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_source_that_fails_last_shows_its_message_and_stays_ready() {
    let source = MemorySource::new([batch([json!({"id": "a"})]), failure(), Ok(Batch::default())]);
    let (broker, mut seen) = (MemoryBroker::default(), false);
    let worker = start(source, &[], &broker, 1 << 20);
    let start = Instant::now();
    while !seen && start.elapsed() < Duration::from_secs(5) {
        seen = worker.report()["message"] == "'example.com' answers 503" || worker.report()["state"] == "Exhausted";
        assert!(worker.health.readiness().ready);
        tokio::task::yield_now().await;
    }
    assert!(seen);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn records_that_cannot_be_mapped_are_counted_and_the_others_go_on() {
    let records = [json!({"id": "a"}), json!({"id": null}), json!([1]), json!({"other": 1}), json!({"id": "b"})];
    let worker = start(MemorySource::new([batch(records)]), &[], &MemoryBroker::default(), 1 << 20);
    eventually("the good ones", || worker.payloads() == [json!({"id": "a"}), json!({"id": "b"})]).await;
    eventually("the report", || worker.report()["rejected"] == 3).await;
    assert_eq!(worker.report()["acknowledged"], 2);
    let page = worker.telemetry.encode();
    assert!(page.contains(r#"millrace_records_rejected_total{source="users",reason="TakeKey"} 2"#), "{page}");
    assert!(page.contains(r#"millrace_records_rejected_total{source="users",reason="ExpectObject"} 1"#), "{page}");
    let letters: Vec<_> = worker.broker.records(LETTERS).into_iter().filter_map(|letter| letter.payload).collect();
    assert_eq!(letters, [&br#"{"id":null}"#[..], b"[1]", br#"{"other":1}"#]);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_bad_record_that_is_fetched_again_and_again_has_one_letter() {
    let bad = || batch([json!({"id": null}), json!({"id": "a"})]);
    let worker = start(MemorySource::new([bad(), bad(), bad()]), &[], &MemoryBroker::default(), 1 << 20);
    eventually("the report", || worker.report()["rejected"] == 3 && worker.report()["acknowledged"] == 3).await;
    assert_eq!(worker.broker.records(LETTERS).len(), 1);
    let page = worker.telemetry.encode();
    assert!(page.contains(r#"millrace_source_dead_letters_total{source="users"} 1"#), "{page}");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn what_is_no_json_number_is_a_dead_letter_with_its_number_and_the_next_record_is_sent() {
    let text = r#"[{"id": "a", "d": NaN}, {"id": "b", "d": 1.5}]"#;
    let records = Records::written(Document::read(text.to_owned()).expect("JSON but for NaN"));
    let source = MemorySource::new([Ok(Batch { records, ..Batch::default() })]);
    let worker = start(source, &[], &MemoryBroker::default(), 1 << 20);
    eventually("the second", || worker.payloads() == [json!({"id": "b", "d": 1.5})]).await;
    eventually("the letter", || worker.broker.records(LETTERS).len() == 1).await;
    let letter = worker.broker.records(LETTERS).remove(0);
    assert_eq!(letter.payload.as_deref(), Some(br#"{"id": "a", "d": NaN}"#.as_slice()));
    let number = letter.headers.iter().find(|header| header.name == "millrace-dead-letter-record");
    assert_eq!(number.and_then(|header| header.value.as_deref()), Some(b"1".as_slice()));
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn numbers_arrive_as_the_source_wrote_them() {
    let text = r#"[{"id": 36893488147419103233, "d": 1.50, "z": -0}, {"id": 36893488147419103234, "e": 1E400}]"#;
    let written = || Records::written(Document::read(text.to_owned()).expect("JSON"));
    let source = MemorySource::new([Ok(Batch { records: written(), ..Batch::default() })]);
    let worker = start(source, &[], &MemoryBroker::default(), 1 << 20);
    eventually("the records", || worker.broker.records(TOPIC).len() == 2).await;
    let records = worker.broker.records(TOPIC);
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    assert_eq!(text(&records[0].payload), r#"{"d":1.50,"id":36893488147419103233,"z":-0}"#);
    assert_eq!(text(&records[1].payload), r#"{"e":1E400,"id":36893488147419103234}"#);
    assert_eq!(text(&records[1].key), "36893488147419103234");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_broker_that_refuses_for_a_while_loses_nothing() {
    let broker = MemoryBroker::default();
    broker.refuse_sends(20);
    let source = MemorySource::new([batch((0..10).map(|n| json!({"id": n.to_string()})))]);
    let worker = start(source, &[], &broker, 1 << 20);
    eventually("all records", || worker.broker.records(TOPIC).len() == 10).await;
    let mut keys: Vec<_> = worker.broker.records(TOPIC).into_iter().filter_map(|record| record.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 10);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_for_good_is_counted_and_passed_over() {
    let broker = MemoryBroker::default();
    broker.refuse_longer(1_000);
    let records = [json!({"id": "a", "text": "x".repeat(2_000)}), json!({"id": "b"})];
    let worker = start(MemorySource::new([batch(records)]), &[], &broker, 1 << 20);
    eventually("the other record", || worker.payloads() == [json!({"id": "b"})]).await;
    eventually("the report", || worker.report()["rejected"] == 1).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn the_generator_stops_at_its_count_and_the_worker_stays_ready() {
    let generator = GeneratorSettings { seed: 42, count: Some(1_234), records_per_second: None };
    let worker = start(GeneratorSource::new(&generator), &[], &MemoryBroker::default(), 1 << 20);
    eventually("all records", || worker.report()["acknowledged"] == 1_234).await;
    let mut payloads: Vec<_> = worker.payloads();
    let mut expected: Vec<Value> = (0..1_234)
        .map(|index| serde_json::to_value(millrace_profile::profile(42, index)).expect("a profile is JSON"))
        .collect();
    let id = |record: &Value| record["id"].as_str().unwrap_or_default().to_owned();
    payloads.sort_by_key(id);
    expected.sort_by_key(id);
    assert_eq!(payloads, expected);
    assert_eq!(worker.report()["state"], "Exhausted");
    assert!(worker.health.readiness().ready);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn while_kafka_is_away_memory_stays_within_its_bound() {
    let broker = MemoryBroker::default();
    broker.refuse_sends(u32::MAX);
    let generator = GeneratorSettings { seed: 1, count: None, records_per_second: None };
    let worker = start(GeneratorSource::new(&generator), &[], &broker, 64 << 10);
    eventually("a full buffer", || worker.budget.used() > 60 << 10).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(worker.budget.used() <= 64 << 10);
    broker.refuse_sends(0);
    eventually("records", || worker.broker.records(TOPIC).len() > 1_000).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn control_without_a_bound_memory_grows_while_kafka_is_away() {
    let broker = MemoryBroker::default();
    broker.refuse_sends(u32::MAX);
    let generator = GeneratorSettings { seed: 1, count: None, records_per_second: None };
    let worker = start(GeneratorSource::new(&generator), &[], &broker, u64::MAX);
    eventually("a larger buffer", || worker.budget.used() > 1 << 20).await;
    worker.running.abort();
}

#[tokio::test]
async fn told_to_stop_it_sends_what_was_mapped() {
    let broker = MemoryBroker::default();
    broker.refuse_sends(30);
    let source = MemorySource::new([batch((0..10).map(|n| json!({"id": n.to_string()})))]);
    let worker = start(source, &[], &broker, 1 << 20);
    eventually("a failed send", || worker.telemetry.encode().contains("publish_failures_total 10")).await;
    let broker = worker.broker.clone();
    worker.stop.cancel();
    broker.refuse_sends(0);
    worker.terminate().await.expect("a clean end");
    assert_eq!(broker.records(TOPIC).len(), 10);
}

#[tokio::test]
async fn told_to_stop_it_gives_up_at_the_deadline_and_says_so() {
    let broker = MemoryBroker::default();
    broker.refuse_sends(u32::MAX);
    let source = MemorySource::new([batch((0..10).map(|n| json!({"id": n.to_string()})))]);
    let worker = start(source, &[], &broker, 1 << 20);
    eventually("failed sends", || worker.budget.used() > 0).await;
    let error = worker.terminate().await.expect_err("nothing is acknowledged");
    assert_eq!(error.to_string(), "10 records were not acknowledged within 0 s");
}

#[tokio::test]
async fn told_to_stop_while_receipts_stay_open_it_gives_up_at_the_deadline() {
    let broker = MemoryBroker::default();
    broker.fall_silent();
    let source = MemorySource::new([batch((0..10).map(|n| json!({"id": n.to_string()})))]);
    let worker = start(source, &[], &broker, 1 << 20);
    eventually("open receipts", || worker.budget.used() > 0).await;
    let error = worker.terminate().await.expect_err("nothing is acknowledged");
    assert_eq!(error.to_string(), "10 records were not acknowledged within 0 s");
}
