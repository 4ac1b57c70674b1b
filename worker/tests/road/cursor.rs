//! A source with a position, through crashes: nothing is skipped, and what is repeated is the same.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_terms::{Duration as Span, FileFormat, FilesSettings, Origin, SourceSettings};
use millrace_worker::budget::Budget;
use millrace_worker::cursor::memory::MemoryCursors;
use millrace_worker::cursor::{ReadMarks, TopicKeeper};
use millrace_worker::health::produce::ProduceHealth;
use millrace_worker::kafka::memory::MemoryBroker;
use millrace_worker::mapping::Mapping;
use millrace_worker::produce::{Lane, Produce, RunProduce, Shared};
use millrace_worker::sabotage::Sabotages;
use millrace_worker::source::files::FilesSource;
use millrace_worker::telemetry::Telemetry;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wait::eventually;

const TOPIC: &str = "users_created";
const CURSORS: &str = "users-cursors";
const LINES: usize = 3_000;

struct World {
    directory: TempDir,
    broker: MemoryBroker,
}

struct Worker {
    telemetry: Telemetry,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunProduce>>,
}

impl World {
    fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().expect("a directory"), broker: MemoryBroker::default() };
        world.append("a.jsonl", 0..LINES);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, name: &str, ids: impl IntoIterator<Item = usize>) {
        let text: String = ids.into_iter().map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect();
        self.append_text(name, &text);
    }

    fn append_text(&self, name: &str, text: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("it can be written");
    }

    fn start(&self, sabotages: Sabotages) -> Worker {
        let budget = Budget::new(256 << 10);
        let telemetry = Telemetry::new(budget.clone());
        let health = Arc::new(ProduceHealth::new([("exports".to_owned(), TOPIC.to_owned())]));
        let shared = Shared {
            publisher: self.broker.clone(),
            dead_letter_topic: None,
            budget,
            telemetry: telemetry.clone(),
            health,
            sabotages,
        };
        let files = FilesSettings {
            directory: self.directory.path().to_owned(),
            path: "*.jsonl".to_owned(),
            format: FileFormat::JsonLines,
            delimiter: ',',
            interval: Span::from_millis(2),
        };
        let settings = SourceSettings {
            name: "exports".to_owned(),
            topic: TOPIC.to_owned(),
            key: "id".to_owned(),
            fields: std::collections::BTreeMap::new(),
            params: Default::default(),
            origin: Origin::Files(files.clone()),
        };
        let cursors: Arc<dyn ReadMarks> = Arc::new(MemoryCursors::new(&self.broker, CURSORS));
        let lane = Lane {
            index: 0,
            name: settings.name.clone(),
            topic: TOPIC.to_owned(),
            mapping: Mapping::compile(&settings).expect("there are no expressions"),
            source: FilesSource::new(&settings.name, &files, cursors),
            keeper: Box::new(TopicKeeper::new(self.broker.clone(), CURSORS, &settings.name)),
            once: None,
            shared,
        };
        let stop = CancellationToken::new();
        let mut road = Produce::new(Duration::from_secs(5));
        road.start(lane, stop.clone());
        Worker { telemetry, running: tokio::spawn(road.run(stop.clone())), stop }
    }

    /// Returns the keys that arrived, in order.
    fn keys(&self) -> Vec<usize> {
        let key = |key: Option<Vec<u8>>| String::from_utf8(key.unwrap_or_default()).ok()?.parse().ok();
        self.broker.records(TOPIC).into_iter().filter_map(|record| key(record.key)).collect()
    }

    /// Returns how far the cursors topic says that a file is read.
    fn offset(&self, name: &str) -> u64 {
        let key = format!("exports/{name}").into_bytes();
        let records = self.broker.records(CURSORS);
        let latest = records.iter().rfind(|record| record.key.as_ref() == Some(&key));
        let position =
            latest.and_then(|record| serde_json::from_slice::<serde_json::Value>(record.payload.as_deref()?).ok());
        position.and_then(|position| position["offset"].as_u64()).unwrap_or_default()
    }

    fn is_kept_to_the_end(&self, name: &str) -> bool {
        self.offset(name) == std::fs::metadata(self.path(name)).map(|metadata| metadata.len()).unwrap_or_default()
    }
}

impl Worker {
    /// Ends at once, as by SIGKILL.
    async fn crash(self) {
        self.running.abort();
        assert!(self.running.await.is_err_and(|error| error.is_cancelled()));
    }

    async fn terminate(self) {
        self.stop.cancel();
        self.running.await.expect("the road does not panic").expect("a clean end");
    }
}

#[tokio::test]
async fn a_crash_before_the_position_is_kept_repeats_the_same_records() {
    let world = World::new();
    world.broker.fall_silent_for(CURSORS);
    let worker = world.start(Sabotages::default());
    eventually("all records", || world.keys().len() == LINES).await;
    worker.crash().await;
    world.broker.speak();
    let worker = world.start(Sabotages::default());
    eventually("all records again", || world.keys().len() == 2 * LINES).await;
    let keys = world.keys();
    assert_eq!(keys[..LINES], keys[LINES..]);
    eventually("the position", || world.is_kept_to_the_end("a.jsonl")).await;
    worker.terminate().await;
}

#[tokio::test]
async fn a_crash_after_the_position_is_kept_repeats_nothing() {
    let world = World::new();
    let worker = world.start(Sabotages::default());
    eventually("the position", || world.is_kept_to_the_end("a.jsonl")).await;
    worker.crash().await;
    world.append("a.jsonl", LINES..LINES + 10);
    world.append("b.jsonl", [LINES + 10]);
    let worker = world.start(Sabotages::default());
    eventually("both positions", || world.is_kept_to_the_end("a.jsonl") && world.is_kept_to_the_end("b.jsonl")).await;
    assert_eq!(world.keys(), (0..=LINES + 10).collect::<Vec<_>>());
    let page = worker.telemetry.encode();
    assert!(page.contains(r#"millrace_cursors_kept_total{source="exports"}"#), "{page}");
    worker.terminate().await;
}

/// Returns what arrives of a file when the worker crashes while nothing is acknowledged, and a later line.
async fn after_a_crash_without_acknowledgements(sabotages: Sabotages) -> Vec<usize> {
    let world = World::new();
    world.broker.fall_silent_for(TOPIC);
    let sabotaged = sabotages != Sabotages::default();
    let worker = world.start(sabotages);
    let full = || {
        worker.telemetry.encode().lines().any(|line| {
            let bytes = line.strip_prefix("millrace_buffered_bytes ").and_then(|bytes| bytes.parse::<u64>().ok());
            bytes.is_some_and(|bytes| bytes > 200 << 10)
        })
    };
    eventually("records under way", full).await;
    if sabotaged {
        eventually("a position", || world.offset("a.jsonl") > 0).await;
    }
    worker.crash().await;
    world.broker.speak();
    world.append("a.jsonl", [LINES]);
    let worker = world.start(Sabotages::default());
    eventually("the last line", || world.keys().contains(&LINES)).await;
    worker.terminate().await;
    world.keys()
}

#[tokio::test]
async fn a_crash_while_nothing_is_acknowledged_loses_nothing() {
    let keys = after_a_crash_without_acknowledgements(Sabotages::default()).await;
    assert_eq!(keys, (0..=LINES).collect::<Vec<_>>());
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn control_with_the_position_kept_before_the_acknowledgement_a_crash_loses_records() {
    let sabotages = Sabotages::only(millrace_worker::sabotage::Sabotage::CursorBeforeAck);
    let keys = after_a_crash_without_acknowledgements(sabotages).await;
    assert!(keys.len() < LINES, "{} of {LINES} records arrived", keys.len());
}

#[tokio::test]
async fn a_line_that_is_no_record_is_counted_and_passed() {
    let world = World::new();
    world.append_text("a.jsonl", "{\"id\":\nnull\n");
    world.append("a.jsonl", [LINES]);
    let worker = world.start(Sabotages::default());
    eventually("the position", || world.is_kept_to_the_end("a.jsonl")).await;
    assert_eq!(world.keys(), (0..=LINES).collect::<Vec<_>>());
    let page = worker.telemetry.encode();
    assert!(page.contains(r#"millrace_records_rejected_total{source="exports",reason="ReadRecord"} 1"#), "{page}");
    assert!(page.contains(r#"millrace_records_rejected_total{source="exports",reason="ExpectObject"} 1"#), "{page}");
    worker.terminate().await;
}

#[tokio::test]
async fn told_to_stop_it_keeps_the_position_of_what_it_sent() {
    let world = World::new();
    let worker = world.start(Sabotages::default());
    eventually("some records", || world.keys().len() > LINES / 4).await;
    worker.terminate().await;
    let sent = world.keys().len();
    let text = std::fs::read_to_string(world.path("a.jsonl")).expect("it can be read");
    let lines: u64 = text.lines().take(sent).map(|line| line.len() as u64 + 1).sum();
    assert_eq!(world.offset("a.jsonl"), lines, "{sent} records were sent");
}

#[tokio::test]
async fn a_position_that_cannot_be_kept_is_kept_later() {
    let world = World::new();
    let worker = world.start(Sabotages::default());
    eventually("some position", || world.offset("a.jsonl") > 0).await;
    world.broker.refuse_sends(2);
    world.append("b.jsonl", [LINES]);
    eventually("the position", || world.is_kept_to_the_end("b.jsonl")).await;
    worker.terminate().await;
}
