//! Road two: whatever goes wrong, every record ends as one row or one dead letter before its offset is committed.

mod canary;
mod sql;
mod tombstones;

use std::sync::Arc;
use std::time::Duration;

use millrace_terms::{ColumnSettings, ColumnType, QuerySettings, RecordSettings, TableSettings};
use millrace_worker::budget::Budget;
use millrace_worker::health::process::ProcessHealth;
use millrace_worker::health::{Health, Readiness};
use millrace_worker::kafka::memory::{Coordinator, MemoryBroker, record};
use millrace_worker::message::{Header, Offsets, PartitionId};
use millrace_worker::process::{Desk, Limits, Process, Queries, Query, RunProcess};
use millrace_worker::progress::Progress;
use millrace_worker::sabotage::{Sabotage, Sabotages};
use millrace_worker::sink::memory::{Fault, MemorySink};
use millrace_worker::telemetry::Telemetry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wait::eventually;

const TOPIC: &str = "users_created";
const LETTERS: &str = "users_created-dlq";
/// Rows that may be under way before the first answer: four requests.
const FIRST_WINDOW: u64 = 16;
/// Short, for tests that wait until it is over.
const DRAIN: Duration = Duration::from_millis(300);
const PARTITION: PartitionId = PartitionId { topic: 0, partition: 0 };

fn query() -> Query {
    query_reading(RecordSettings::default())
}

/// Returns the query of the users, with records read so.
fn query_reading(records: RecordSettings) -> Query {
    let column = |name: &str, column_type| ColumnSettings { name: name.to_owned(), column_type };
    Query::new(&QuerySettings {
        name: "users".to_owned(),
        from: TOPIC.to_owned(),
        into: TableSettings {
            name: "created_users".to_owned(),
            columns: vec![column("id", ColumnType::Text), column("n", ColumnType::Int)],
            primary_key: vec!["id".to_owned()],
            types: Vec::new(),
        },
        sql: None,
        records,
        write_timestamp_base: 1_000_000,
    })
    .expect("a good query")
}

/// A worker, and the world around it, which outlives it.
struct World {
    queries: Vec<Query>,
    broker: MemoryBroker,
    sink: MemorySink,
    sabotages: Sabotages,
    memory: u64,
    max_in_flight: usize,
    /// How long a worker waits for what is under way.
    drain_timeout: Duration,
}

struct Worker {
    coordinator: Coordinator,
    health: Arc<ProcessHealth>,
    telemetry: Telemetry,
    budget: Budget,
    progress: Progress,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunProcess>>,
}

impl World {
    fn new() -> Self {
        Self::with(Sabotages::default())
    }

    fn sabotaged(sabotage: Sabotage) -> Self {
        Self::with(Sabotages::only(sabotage))
    }

    fn with(sabotages: Sabotages) -> Self {
        Self::of(vec![query()], sabotages)
    }

    fn of(queries: Vec<Query>, sabotages: Sabotages) -> Self {
        let sink = MemorySink::new(queries.iter().map(|query| query.table().clone()).collect());
        Self {
            queries,
            broker: MemoryBroker::default(),
            sink,
            sabotages,
            memory: 1 << 20,
            max_in_flight: 32,
            drain_timeout: DRAIN,
        }
    }

    /// A world in which nobody lives to see the end of the drain: what ends before it has not waited for it.
    fn of_patience() -> Self {
        Self { drain_timeout: Duration::from_secs(86_400), ..Self::new() }
    }

    /// Appends records n = `from`..`to`, one key each.
    fn append(&self, from: u32, to: u32) {
        for n in from..to {
            self.broker.append(record(TOPIC, &format!("k{n}"), &format!(r#"{{"id":"k{n}","n":{n}}}"#)));
        }
    }

    fn append_one(&self, key: &str, n: u32) {
        self.broker.append(record(TOPIC, key, &format!(r#"{{"id":"{key}","n":{n}}}"#)));
    }

    /// Starts a worker that has the topic's partition.
    fn start(&self) -> Worker {
        let mut worker = self.start_unassigned();
        worker.coordinator.assign(&[0]);
        worker
    }

    fn start_unassigned(&self) -> Worker {
        let budget = Budget::new(self.memory);
        let telemetry = Telemetry::new(budget.clone());
        let health = Arc::new(ProcessHealth::new(vec![TOPIC.to_owned()]));
        let progress = Progress::default();
        let (consumer, coordinator) = self.broker.join(&[TOPIC], budget.clone());
        let desk = Desk {
            queries: Queries::new(self.queries.clone()),
            sink: self.sink.clone(),
            publisher: self.broker.clone(),
            dead_letter_topic: LETTERS.to_owned(),
            telemetry: telemetry.clone(),
            health: Arc::clone(&health),
            progress: progress.clone(),
            sabotages: self.sabotages.clone(),
        };
        let limits = Limits {
            max_in_flight: self.max_in_flight,
            commit_interval: Duration::from_millis(10),
            drain_timeout: self.drain_timeout,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(Process::new(consumer, desk, limits).run(stop.clone()));
        Worker { coordinator, health, telemetry, budget, progress, stop, running }
    }

    fn committed(&self) -> i64 {
        self.broker.committed().get(&PARTITION).copied().unwrap_or_default()
    }

    fn rows(&self) -> usize {
        self.sink.rows(0).len()
    }

    /// Says whether each record up to `count` is its own row, none lost and none changed.
    fn has_exactly(&self, count: u32) -> bool {
        let rows = self.sink.rows(0);
        let right = |n: u32| rows.get(&format!("k{n}")).is_some_and(|row| row["n"] == format!("Int({n})"));
        rows.len() == count as usize && (0..count).all(right)
    }
}

impl Worker {
    /// Ends without a drain, as SIGKILL does.
    async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    async fn terminate(self) -> Result<(), RunProcess> {
        self.stop.cancel();
        self.running.await.expect("the road does not panic")
    }

    fn readiness(&self) -> Readiness {
        self.health.readiness()
    }

    /// Returns the value of a metric's line that starts with `name`.
    fn metric(&self, name: &str) -> u64 {
        let page = self.telemetry.encode();
        let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("the metric exists");
        line.trim().parse().expect("a number")
    }
}

#[tokio::test]
async fn every_record_becomes_a_row_and_the_lag_goes_to_zero() {
    let world = World::new();
    world.append(0, 500);
    let worker = world.start();
    eventually("all rows", || world.has_exactly(500)).await;
    eventually("no lag", || world.committed() == 500).await;
    assert_eq!(worker.metric("millrace_rows_written_total"), 500);
    eventually("no bytes held", || worker.budget.used() == 0).await;
    assert!(worker.readiness().ready);
    worker.terminate().await.expect("a clean end");
    assert!(world.broker.records(LETTERS).is_empty());
}

#[tokio::test]
async fn poison_goes_to_the_dead_letter_topic_once_and_nothing_else_does() {
    let world = World::new();
    world.append(0, 10);
    let poison = [r#"{"id":"#, r#"{"n":1}"#, r#"{"id":"x","n":"one"}"#, r#"{"id":"x","shoe":44}"#];
    for payload in poison {
        world.broker.append(record(TOPIC, "poison", payload));
    }
    world.sink.set_fault(Fault::RefuseKey("k11".to_owned()));
    world.append(10, 20);
    let worker = world.start();
    eventually("no lag", || world.committed() == 24).await;
    worker.terminate().await.expect("a clean end");
    assert_eq!(world.rows(), 19);
    let mut letters = world.broker.records(LETTERS);
    letters.sort_by_key(|letter| header(&letter.headers, "millrace-dead-letter-offset").parse::<u32>().ok());
    let payloads: Vec<_> = letters.iter().filter_map(|letter| letter.payload.clone()).collect();
    assert_eq!(payloads[..4], poison.map(|payload| payload.as_bytes().to_vec()));
    let headers: Vec<Vec<(String, String)>> = letters.iter().map(|letter| plain(&letter.headers)).collect();
    insta::assert_yaml_snapshot!(headers);
}

#[tokio::test]
async fn it_is_told_when_a_record_was_settled_and_not_before() {
    let world = World::new();
    world.append(0, 10);
    world.sink.set_fault(Fault::Hang);
    let worker = world.start();
    let settled_at = |offset| worker.progress.settled_at(PARTITION, offset);
    eventually("writes under way", || world.sink.attempts() > 0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(settled_at(0), None, "nothing is acknowledged yet");
    let begun = chrono::Utc::now().timestamp_millis();
    world.sink.set_fault(Fault::None);
    eventually("all rows", || world.has_exactly(10)).await;
    eventually("the last is told of", || settled_at(9).is_some()).await;
    let now = chrono::Utc::now().timestamp_millis();
    assert!((begun..=now).contains(&settled_at(9).unwrap_or_default()), "between its acknowledgement and now");
    assert_eq!(settled_at(10), None, "there is no such record yet");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn it_reports_what_it_settled_and_how_long_it_waited_for_the_sink() {
    let world = World::new();
    world.append(0, 500);
    let worker = world.start();
    let work = || worker.telemetry.work();
    eventually("all is settled", || work().settled == 500).await;
    let before = work();
    assert!(before.joined && before.assigned.is_some());
    assert!(before.writes.iter().sum::<u64>() > 0);
    // The control: with nothing to do it waits for nothing.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(work().waiting, before.waiting);
    world.sink.set_fault(Fault::Hang);
    world.append(500, 1_000);
    eventually("time in which it waited", || work().waiting > before.waiting + 100).await;
    assert_eq!(work().settled, 500, "what hangs is not settled");
    world.sink.set_fault(Fault::None);
    eventually("all is settled", || work().settled == 1_000).await;
    worker.terminate().await.expect("a clean end");
}

fn plain(headers: &[Header]) -> Vec<(String, String)> {
    let text = |header: &Header| String::from_utf8_lossy(header.value.as_deref().unwrap_or_default()).into_owned();
    headers.iter().map(|header| (header.name.clone(), text(header))).collect()
}

fn header(headers: &[Header], name: &str) -> String {
    plain(headers).into_iter().find(|(header, _)| header == name).map(|(_, value)| value).unwrap_or_default()
}

#[tokio::test]
async fn control_without_dead_letters_poison_disappears() {
    let world = World::sabotaged(Sabotage::DropDeadLetter);
    world.broker.append(record(TOPIC, "poison", "{"));
    let worker = world.start();
    eventually("no lag", || world.committed() == 1).await;
    worker.terminate().await.expect("a clean end");
    assert!(world.broker.records(LETTERS).is_empty(), "the poison test must fail under this sabotage");
}

#[tokio::test]
async fn a_redriven_record_overwrites_nothing_that_came_after_it() {
    let world = World::new();
    world.broker.append(record(TOPIC, "k", r#"{"id":"k","n":"one"}"#));
    world.broker.append(record(TOPIC, "k", r#"{"id":"k","n":2}"#));
    let worker = world.start();
    eventually("no lag", || world.committed() == 2).await;
    let letter = world.broker.records(LETTERS).remove(0);
    assert_eq!(header(&letter.headers, "millrace-dead-letter-write-timestamp"), "1000000");
    // The table has been mended, or the record by hand: it is sent once more as the redrive sends it.
    let mended = |first: &str, n: u32| {
        let mut mended = record(TOPIC, "k", &format!(r#"{{"id":"k","n":{n}}}"#));
        mended.headers.push(Header::text("millrace-first-timestamp", first));
        mended
    };
    world.broker.append(mended("1000000", 1));
    eventually("no lag", || world.committed() == 3).await;
    assert_eq!(world.sink.rows(0)["k"]["n"], "Int(2)");
    // Nobody gets ahead of records to come by a header.
    world.broker.append(mended("9000000", 3));
    world.append_one("k", 4);
    eventually("no lag", || world.committed() == 5).await;
    assert_eq!(world.sink.rows(0)["k"]["n"], "Int(4)");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_dead_letter_is_acknowledged_before_its_offset_is_committed() {
    let world = World::new();
    world.broker.append(record(TOPIC, "poison", "{"));
    world.broker.refuse_sends(u32::MAX);
    let worker = world.start();
    eventually("a failed send", || worker.metric("millrace_publish_failures_total") > 0).await;
    assert_eq!(world.committed(), 0);
    world.broker.refuse_sends(0);
    eventually("no lag", || world.committed() == 1).await;
    assert_eq!(world.broker.records(LETTERS).len(), 1);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_dead_letter_that_its_topic_refuses_for_size_keeps_its_beginning() {
    let world = World::new();
    world.broker.refuse_longer(100_000);
    world.broker.append(record(TOPIC, "poison", &"x".repeat(200_000)));
    let worker = world.start();
    eventually("no lag", || world.committed() == 1).await;
    let letter = world.broker.records(LETTERS).remove(0);
    assert_eq!(letter.payload.map(|payload| payload.len()), Some(64 << 10));
    assert_eq!(header(&letter.headers, "millrace-dead-letter-cut-from"), "200000");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_crash_between_write_and_commit_repeats_records_and_loses_none() {
    let world = World::new();
    world.append(0, 200);
    world.broker.refuse_commits(u32::MAX);
    let worker = world.start();
    eventually("some rows", || world.rows() > 50).await;
    worker.kill().await;
    assert_eq!(world.committed(), 0);
    world.broker.refuse_commits(0);
    let worker = world.start();
    eventually("no lag", || world.committed() == 200).await;
    assert!(world.has_exactly(200));
    assert!(world.sink.writes() > 200, "some records were written twice");
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_bad_row_harms_no_other_of_its_request() {
    let world = World::new();
    world.append(0, 40);
    world.sink.set_fault(Fault::RefuseKey("k17".to_owned()));
    let worker = world.start();
    eventually("no lag", || world.committed() == 40).await;
    assert_eq!(world.rows(), 39);
    let letters = world.broker.records(LETTERS);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].key.as_deref(), Some(b"k17".as_slice()));
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn rows_that_are_only_refused_together_are_written_alone() {
    let world = World::new();
    world.append(0, 40);
    world.sink.set_fault(Fault::RefuseBatches);
    let worker = world.start();
    eventually("no lag", || world.committed() == 40).await;
    assert!(world.has_exactly(40));
    assert!(world.sink.attempts() > 40, "some rows were tried together first");
    assert!(world.broker.records(LETTERS).is_empty());
    worker.terminate().await.expect("a clean end");
}

/// Kills a worker while no write is answered, then starts another one.
async fn crash_while_writes_hang(world: &World) {
    world.append(0, 100);
    world.sink.set_fault(Fault::Hang);
    let worker = world.start();
    eventually("writes under way", || world.sink.attempts() >= FIRST_WINDOW).await;
    // Several commit intervals: a worker that commits too early has done so by then.
    tokio::time::sleep(Duration::from_millis(60)).await;
    worker.kill().await;
    world.sink.set_fault(Fault::None);
    let worker = world.start();
    eventually("no lag", || world.committed() == 100).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_crash_before_the_write_loses_nothing() {
    let world = World::new();
    crash_while_writes_hang(&world).await;
    assert!(world.has_exactly(100));
}

#[tokio::test]
async fn control_with_commit_before_write_a_crash_loses_records() {
    let world = World::sabotaged(Sabotage::CommitBeforeWrite);
    crash_while_writes_hang(&world).await;
    assert!(!world.has_exactly(100), "the crash test must fail under this sabotage");
}

/// Writes a key twice, crashes before the commit, and replays only the first of the two in between.
async fn replay_an_older_record(world: &World) {
    world.broker.append(record(TOPIC, "k", r#"{"id":"k","n":1}"#));
    world.broker.append(record(TOPIC, "k", r#"{"id":"k","n":2}"#));
    world.broker.refuse_commits(u32::MAX);
    let worker = world.start();
    eventually("both writes", || world.sink.writes() == 2).await;
    worker.kill().await;
    // The replay gets as far as the older record, and no further.
    world.sink.set_fault(Fault::HangAfter(3));
    let worker = world.start();
    eventually("the older record again", || world.sink.writes() == 3).await;
    worker.kill().await;
}

#[tokio::test]
async fn a_replay_never_undoes_a_later_write() {
    let mut world = World::new();
    // One at a time, so that the order of writes is known.
    world.max_in_flight = 1;
    replay_an_older_record(&world).await;
    assert_eq!(world.sink.rows(0)["k"]["n"], "Int(2)");
}

#[tokio::test]
async fn control_without_write_timestamp_a_replay_undoes_a_later_write() {
    let mut world = World::sabotaged(Sabotage::NoWriteTimestamp);
    // One at a time, so that the order of writes is known.
    world.max_in_flight = 1;
    replay_an_older_record(&world).await;
    assert_eq!(world.sink.rows(0)["k"]["n"], "Int(1)", "the replay test must fail under this sabotage");
}

#[tokio::test]
async fn an_outage_of_the_sink_is_waited_out_with_bounded_memory_and_no_dead_letters() {
    let mut world = World::new();
    world.memory = 32 << 10;
    world.append(0, 1_000);
    world.sink.set_fault(Fault::Outage);
    let worker = world.start();
    eventually("a full buffer", || worker.budget.is_full()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One record may pass the bound.
    assert!(worker.budget.used() <= world.memory + 1_024, "{} bytes", worker.budget.used());
    assert_eq!(worker.readiness().reason, "CassandraUnavailable");
    assert!(world.sink.most_in_flight() <= 32);
    assert_eq!(world.committed(), 0);
    world.sink.set_fault(Fault::None);
    eventually("no lag", || world.committed() == 1_000).await;
    assert!(world.has_exactly(1_000));
    assert!(worker.readiness().ready);
    worker.terminate().await.expect("a clean end");
    assert!(world.broker.records(LETTERS).is_empty());
}

#[tokio::test]
async fn control_without_a_bound_an_outage_takes_all_records_into_memory() {
    let mut world = World::new();
    world.memory = u64::MAX;
    world.append(0, 1_000);
    world.sink.set_fault(Fault::Outage);
    let worker = world.start();
    eventually("all records in memory", || worker.budget.used() > 400 << 10).await;
    worker.kill().await;
}

#[tokio::test]
async fn a_schema_mismatch_makes_unready_and_dead_letters_nothing() {
    let world = World::new();
    world.append(0, 5);
    world.sink.set_fault(Fault::Schema);
    let worker = world.start();
    eventually("unready", || worker.readiness().reason == "SchemaMismatch").await;
    assert_eq!(worker.readiness().message, "table 'created_users' cannot take rows: no such table");
    world.sink.set_fault(Fault::None);
    eventually("no lag", || world.committed() == 5).await;
    assert!(world.broker.records(LETTERS).is_empty());
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn commits_that_fail_are_made_up_for() {
    let world = World::new();
    world.append(0, 10);
    world.broker.refuse_commits(3);
    let worker = world.start();
    eventually("no lag", || world.committed() == 10).await;
    assert_eq!(worker.metric("millrace_commit_failures_total"), 3);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_revoked_partition_is_released_after_its_writes_and_committed_as_far_as_they_went() {
    let world = World::new();
    world.append(0, 100);
    world.sink.set_fault(Fault::Hang);
    let mut worker = world.start();
    eventually("writes under way", || world.sink.attempts() == FIRST_WINDOW).await;
    let revocation = worker.coordinator.revoke(&[0]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(revocation.finish(), None, "released while writes were under way");
    world.sink.set_fault(Fault::None);
    eventually("the release", || revocation.finish().is_some()).await;
    // Exactly what had begun was finished; nothing else was begun after the revocation.
    assert_eq!(world.committed(), FIRST_WINDOW as i64);
    assert_eq!(world.sink.attempts(), FIRST_WINDOW);
    assert_eq!(worker.readiness().details["assigned"], serde_json::json!({}));
    worker.coordinator.assign(&[0]);
    eventually("no lag", || world.committed() == 100).await;
    assert!(world.has_exactly(100));
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_revoked_partition_is_released_at_the_deadline_without_what_is_not_acknowledged() {
    let world = World::new();
    world.append(0, 10);
    world.sink.set_fault(Fault::Hang);
    let mut worker = world.start();
    eventually("writes under way", || world.sink.attempts() == 10).await;
    let revocation = worker.coordinator.revoke(&[0]);
    let released = std::cell::RefCell::new(None);
    eventually("the release", || {
        *released.borrow_mut() = revocation.finish();
        released.borrow().is_some()
    })
    .await;
    assert_eq!(released.into_inner(), Some(Offsets::new()));
    // Late acknowledgements belong to an assignment that is over.
    worker.coordinator.assign(&[0]);
    world.sink.set_fault(Fault::None);
    eventually("no lag", || world.committed() == 10).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_dead_letter_whose_receipt_stays_open_holds_neither_a_revocation_nor_the_end_past_the_deadline() {
    let world = World::new();
    world.broker.fall_silent();
    world.broker.append(record(TOPIC, "poison", r#"{"id":"#));
    let mut worker = world.start();
    eventually("the letter", || worker.budget.used() > 0).await;
    let revocation = worker.coordinator.revoke(&[0]);
    let released = std::cell::RefCell::new(None);
    eventually("the release", || {
        *released.borrow_mut() = revocation.finish();
        released.borrow().is_some()
    })
    .await;
    assert_eq!(released.take(), Some(Offsets::new()));
    let error = worker.terminate().await.expect_err("the letter is under way");
    assert!(error.to_string().starts_with("1 records were still under way"), "{error}");
    assert_eq!(world.committed(), 0);
}

#[tokio::test]
async fn records_that_wait_for_the_sink_are_given_up_at_once_when_their_partition_is_revoked() {
    let world = World::of_patience();
    world.append(0, 10);
    world.sink.set_fault(Fault::Outage);
    let mut worker = world.start();
    eventually("failed writes", || world.sink.attempts() >= 10).await;
    let revocation = worker.coordinator.revoke(&[0]);
    eventually("the release", || revocation.finish().is_some()).await;
    assert_eq!(world.committed(), 0);
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn a_lost_partition_commits_nothing() {
    let world = World::new();
    world.append(0, 10);
    world.sink.set_fault(Fault::Hang);
    let mut worker = world.start();
    eventually("writes under way", || world.sink.attempts() == 10).await;
    worker.coordinator.lose(&[0]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.sink.set_fault(Fault::None);
    eventually("the writes", || world.rows() == 10).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.committed(), 0);
    worker.terminate().await.expect("a clean end");
    assert_eq!(world.committed(), 0);
}

#[tokio::test]
async fn an_empty_assignment_counts_as_joined() {
    let world = World::new();
    let mut worker = world.start_unassigned();
    worker.health.sink(millrace_worker::health::process::SinkState::Healthy);
    assert_eq!(worker.readiness().reason, "Joining");
    worker.coordinator.assign(&[]);
    eventually("ready", || worker.readiness().ready).await;
    worker.terminate().await.expect("a clean end");
}

#[tokio::test]
async fn told_to_stop_it_awaits_what_is_under_way_and_commits_it() {
    let world = World::new();
    world.append(0, 100);
    world.sink.set_fault(Fault::Hang);
    let worker = world.start();
    eventually("writes under way", || world.sink.attempts() == FIRST_WINDOW).await;
    worker.stop.cancel();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(worker.readiness().reason, "Draining");
    world.sink.set_fault(Fault::None);
    worker.terminate().await.expect("a clean end");
    assert_eq!(world.committed(), FIRST_WINDOW as i64);
    assert_eq!(world.sink.attempts(), FIRST_WINDOW);
}

#[tokio::test]
async fn told_to_stop_it_gives_up_at_the_deadline_and_says_so() {
    let world = World::new();
    world.append(0, 10);
    world.sink.set_fault(Fault::Hang);
    let worker = world.start();
    eventually("writes under way", || world.sink.attempts() == 10).await;
    let error = worker.terminate().await.expect_err("writes are under way");
    assert_eq!(error.to_string(), "10 records were still under way after 0 s; they will be consumed again");
    assert_eq!(world.committed(), 0);
}

#[tokio::test]
async fn told_to_stop_during_an_outage_it_ends_soon_and_cleanly() {
    let world = World::of_patience();
    world.append(0, 10);
    world.sink.set_fault(Fault::Outage);
    let worker = world.start();
    eventually("failed writes", || world.sink.attempts() >= 10).await;
    worker.stop.cancel();
    eventually("the end", || worker.running.is_finished()).await;
    worker.terminate().await.expect("a clean end");
    assert_eq!(world.committed(), 0);
}

#[tokio::test]
async fn a_consumer_that_cannot_go_on_ends_the_worker() {
    let world = World::new();
    let mut worker = world.start();
    worker.coordinator.fail();
    let ended = worker.running.await.expect("the road does not panic");
    assert_eq!(ended.expect_err("fenced").to_string(), "cannot consume any more: fenced");
}
