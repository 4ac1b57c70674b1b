//! Positions in real Kafka terms, against librdkafka's mock cluster: the cursors topic, and another cluster as source,
//! whose group moves only behind what our own broker, here in memory, has acknowledged.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

mod wait;

use std::sync::Arc;
use std::time::Duration;

use millrace_terms::{Bytes, KafkaSettings, KafkaSourceSettings, Origin, PipelineName, SourceSettings, StartAt};
use millrace_worker::budget::Budget;
use millrace_worker::cursor::{CursorsTopic, KeepMarks, Mark, ReadMarks, TopicKeeper};
use millrace_worker::health::Health;
use millrace_worker::health::produce::ProduceHealth;
use millrace_worker::kafka::Publisher;
use millrace_worker::kafka::memory::{MemoryBroker, record};
use millrace_worker::kafka::producer::KafkaPublisher;
use millrace_worker::mapping::Mapping;
use millrace_worker::message::Outgoing;
use millrace_worker::produce::{Lane, Produce, RunProduce, Shared};
use millrace_worker::sabotage::Sabotages;
use millrace_worker::source::kafka::KafkaSource;
use millrace_worker::telemetry::Telemetry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use wait::eventually;

const ORDERS: &str = "orders";
const CURSORS: &str = "users-cursors";
const TOPIC: &str = "users_created";
const PARTITIONS: i32 = 3;
const GROUP: &str = "data.users.old";

struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    other: KafkaPublisher,
    ours: MemoryBroker,
}

struct Worker {
    budget: Budget,
    health: Arc<ProduceHealth>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunProduce>>,
}

fn pipeline() -> PipelineName {
    PipelineName { namespace: "data".to_owned(), name: "users".to_owned() }
}

impl World {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(ORDERS, PARTITIONS, 1).expect("a topic");
        cluster.create_topic(CURSORS, 1, 1).expect("a topic");
        let other = KafkaPublisher::new(&kafka(&cluster), &pipeline(), Bytes(8 << 20), &Sabotages::default());
        Self { other: other.expect("a producer"), ours: MemoryBroker::default(), cluster }
    }

    async fn publish(&self, ids: std::ops::Range<usize>) {
        let order = |id: usize| record(ORDERS, &format!("k{id}"), &format!(r#"{{"id":"{id}"}}"#));
        let receipts: Vec<_> = ids.map(|id| self.other.publish(&order(id))).collect();
        for receipt in receipts {
            receipt.await.expect("the mock cluster acknowledges");
        }
    }

    fn start(&self, start: StartAt, sabotages: Sabotages) -> Worker {
        let budget = Budget::new(64 << 10);
        let telemetry = Telemetry::new(budget.clone());
        let health = Arc::new(ProduceHealth::new([("old".to_owned(), TOPIC.to_owned())]));
        health.kafka(None);
        let shared = Shared {
            publisher: self.ours.clone(),
            dead_letter_topic: None,
            budget: budget.clone(),
            telemetry,
            health: Arc::clone(&health),
            sabotages,
        };
        let other = KafkaSourceSettings {
            bootstrap_servers: vec![self.cluster.bootstrap_servers()],
            topic: ORDERS.to_owned(),
            group: GROUP.to_owned(),
            start,
        };
        let settings = SourceSettings {
            name: "old".to_owned(),
            topic: TOPIC.to_owned(),
            key: "id".to_owned(),
            fields: std::collections::BTreeMap::new(),
            params: Default::default(),
            origin: Origin::Kafka(other.clone()),
        };
        let source = KafkaSource::new(&other, &pipeline(), 4 << 20);
        let lane = Lane {
            index: 0,
            name: settings.name.clone(),
            topic: TOPIC.to_owned(),
            mapping: Mapping::compile(&settings).expect("there are no expressions"),
            keeper: Box::new(source.keeper()),
            source,
            once: None,
            shared,
        };
        let stop = CancellationToken::new();
        let mut road = Produce::new(Duration::from_secs(5));
        road.start(lane, stop.clone());
        Worker { budget, health, running: tokio::spawn(road.run(stop.clone())), stop }
    }

    /// Returns the ids that arrived, sorted.
    fn ids(&self) -> Vec<usize> {
        let id = |key: Option<Vec<u8>>| String::from_utf8(key.unwrap_or_default()).ok()?.parse().ok();
        let mut ids: Vec<usize> = self.ours.records(TOPIC).into_iter().filter_map(|record| id(record.key)).collect();
        ids.sort_unstable();
        ids
    }

    /// Returns the sum of the group's positions.
    fn committed(&self) -> i64 {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", GROUP);
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(ORDERS, 0, PARTITIONS - 1);
        let Ok(offsets) = consumer.committed_offsets(list, Duration::from_secs(5)) else { return 0 };
        offsets
            .elements()
            .iter()
            .map(|element| if let Offset::Offset(next) = element.offset() { next } else { 0 })
            .sum()
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

fn kafka(cluster: &MockCluster<'static, DefaultProducerContext>) -> KafkaSettings {
    KafkaSettings { bootstrap_servers: vec![cluster.bootstrap_servers()] }
}

#[tokio::test]
async fn the_cursors_topic_gives_back_the_latest_position_of_each_part() {
    let world = World::new();
    let cursors = CursorsTopic::new(&kafka(&world.cluster), &pipeline(), CURSORS);
    assert_eq!(cursors.read("exports").await, Ok([].into()));
    let mark = |part: &str, position: &str| Mark { part: part.to_owned(), position: position.to_owned() };
    let mut exports = TopicKeeper::new(world.other.clone(), CURSORS, "exports");
    let mut drops = TopicKeeper::new(world.other.clone(), CURSORS, "drops");
    exports.keep(vec![mark("in/a.csv", "1"), mark("in/b.csv", "7")]).await.expect("they are kept");
    drops.keep(vec![mark("in/a.csv", "9")]).await.expect("they are kept");
    exports.keep(vec![mark("in/a.csv", "2")]).await.expect("they are kept");
    let kept = [("in/a.csv", "2"), ("in/b.csv", "7")].map(|(part, position)| (part.to_owned(), position.to_owned()));
    assert_eq!(cursors.read("exports").await, Ok(kept.into()));
}

#[tokio::test]
async fn the_group_moves_only_behind_what_our_broker_has_acknowledged() {
    let world = World::new();
    world.publish(0..300).await;
    world.ours.fall_silent_for(TOPIC);
    let worker = world.start(StartAt::Earliest, Sabotages::default());
    eventually("records under way", || worker.budget.used() > 32 << 10).await;
    // Longer than from one keeping to the next.
    tokio::time::sleep(Duration::from_millis(700)).await;
    worker.crash().await;
    assert_eq!(world.committed(), 0);

    world.ours.speak();
    let worker = world.start(StartAt::Earliest, Sabotages::default());
    eventually("the position", || world.committed() == 300).await;
    assert_eq!(world.ids(), (0..300).collect::<Vec<_>>());
    let headers = world.ours.records(TOPIC).remove(0).headers;
    let names: Vec<&str> = headers.iter().map(|header| header.name.as_str()).collect();
    let origin = ["millrace-origin-topic", "millrace-origin-partition", "millrace-origin-offset"];
    assert_eq!(names[1..4], origin);
    assert_eq!(headers[1].value.as_deref(), Some(ORDERS.as_bytes()));
    worker.crash().await;

    world.publish(300..310).await;
    let worker = world.start(StartAt::Earliest, Sabotages::default());
    eventually("the position", || world.committed() == 310).await;
    assert_eq!(world.ids(), (0..310).collect::<Vec<_>>());
    worker.terminate().await;
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn control_with_the_position_kept_before_the_acknowledgement_the_group_moves_too_soon() {
    let world = World::new();
    world.publish(0..300).await;
    world.ours.fall_silent_for(TOPIC);
    let sabotages = Sabotages::only(millrace_worker::sabotage::Sabotage::CursorBeforeAck);
    let worker = world.start(StartAt::Earliest, sabotages);
    eventually("a position", || world.committed() > 0).await;
    worker.crash().await;
    assert_eq!(world.ids(), [0; 0]);
}

#[tokio::test]
async fn begun_at_the_latest_a_restart_skips_nothing_that_came_since() {
    let world = World::new();
    world.publish(0..9).await;
    let worker = world.start(StartAt::Latest, Sabotages::default());
    eventually("the position", || world.committed() == 9).await;
    worker.crash().await;
    world.publish(9..12).await;
    let worker = world.start(StartAt::Latest, Sabotages::default());
    eventually("the position", || world.committed() == 12).await;
    assert_eq!(world.ids(), [9, 10, 11]);
    worker.terminate().await;
}

#[tokio::test]
async fn a_value_that_is_no_json_is_counted_and_passed() {
    let world = World::new();
    for value in ["{\"id\":", "[1]"] {
        world.other.publish(&record(ORDERS, "k", value)).await.expect("the mock cluster acknowledges");
    }
    world.publish(0..1).await;
    let worker = world.start(StartAt::Earliest, Sabotages::default());
    eventually("the position", || world.committed() == 3).await;
    assert_eq!(world.ids(), [0]);
    eventually("the report", || worker.health.readiness().details["sources"][0]["rejected"] == 2).await;
    worker.terminate().await;
}

#[tokio::test]
async fn a_null_value_stays_one_under_the_key_of_the_records_that_it_ends() {
    let world = World::new();
    let tombstone = |key: &str| Outgoing { payload: None, ..record(ORDERS, key, "") };
    for sent in [record(ORDERS, "7", r#"{"id":"7"}"#), tombstone(r#"{"id":"7"}"#), tombstone("8")] {
        world.other.publish(&sent).await.expect("the mock cluster acknowledges");
    }
    let worker = world.start(StartAt::Earliest, Sabotages::default());
    eventually("the position", || world.committed() == 3).await;
    let mut arrived: Vec<(String, bool)> = world
        .ours
        .records(TOPIC)
        .into_iter()
        .map(|record| (String::from_utf8(record.key.unwrap_or_default()).expect("text"), record.payload.is_some()))
        .collect();
    arrived.sort_unstable();
    let expected = [("7", false), ("7", true), ("8", false)].map(|(key, is_there)| (key.to_owned(), is_there));
    assert_eq!(arrived, expected);
    worker.terminate().await;
}
