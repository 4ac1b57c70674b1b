//! The real Kafka client against librdkafka's mock cluster: pauses, commits and dead letters.
//!
//! What the road does with events is tested in `road.rs`; here the question is whether librdkafka says what we think.
//! Groups of several members are left to the end-to-end tests: the mock cluster aborts when such a group rebalances.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

mod wait;

use std::sync::Arc;
use std::time::Duration;

use millrace_terms::{
    Bytes, CassandraSettings, ColumnSettings, ColumnType, Consistency, Duration as Span, KafkaSettings, PipelineName,
    ProcessSettings, QuerySettings, RecordSettings, TableSettings,
};
use millrace_worker::budget::Budget;
use millrace_worker::health::process::ProcessHealth;
use millrace_worker::kafka::consumer::KafkaConsumer;
use millrace_worker::kafka::fetch::KafkaFetch;
use millrace_worker::kafka::memory::record;
use millrace_worker::kafka::producer::KafkaPublisher;
use millrace_worker::kafka::{Fetch, Placed, PublishRecord, Publisher};
use millrace_worker::process::{Desk, Limits, Process, Queries, Query, RunProcess};
use millrace_worker::progress::Progress;
use millrace_worker::sabotage::Sabotages;
use millrace_worker::sink::memory::{Fault, MemorySink};
use millrace_worker::telemetry::Telemetry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use wait::eventually;

const TOPIC: &str = "users_created";
const LETTERS: &str = "users_created-dlq";
const PARTITIONS: i32 = 4;

struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    settings: ProcessSettings,
    publisher: KafkaPublisher,
    sink: MemorySink,
    query: Query,
}

struct Worker {
    budget: Budget,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunProcess>>,
}

impl World {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        cluster.create_topic(LETTERS, 1, 1).expect("a topic");
        let settings = settings(&cluster.bootstrap_servers());
        let publisher = KafkaPublisher::new(&settings.kafka, &settings.pipeline, Bytes(8 << 20), &Sabotages::default())
            .expect("a producer");
        let query = Query::new(&settings.queries[0]).expect("a good query");
        let sink = MemorySink::new(vec![query.table().clone()]);
        Self { cluster, settings, publisher, sink, query }
    }

    async fn publish(&self, from: u32, to: u32) {
        let receipts: Vec<_> = (from..to)
            .map(|n| self.publisher.publish(&record(TOPIC, &format!("k{n}"), &format!(r#"{{"id":"k{n}","n":{n}}}"#))))
            .collect();
        for receipt in receipts {
            receipt.await.expect("the mock cluster acknowledges");
        }
    }

    fn start(&self, memory: u64) -> Worker {
        let budget = Budget::new(memory);
        let health = Arc::new(ProcessHealth::new(vec![TOPIC.to_owned()]));
        let consumer =
            KafkaConsumer::start(&self.settings, budget.clone(), health.consumer.clone()).expect("a consumer");
        let desk = Desk {
            queries: Queries::new(vec![self.query.clone()]),
            sink: self.sink.clone(),
            publisher: self.publisher.clone(),
            dead_letter_topic: LETTERS.to_owned(),
            telemetry: Telemetry::new(budget.clone()),
            health,
            progress: Progress::default(),
            sabotages: Sabotages::default(),
        };
        let limits = Limits {
            max_in_flight: 64,
            commit_interval: Duration::from_millis(50),
            drain_timeout: Duration::from_secs(5),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(Process::new(consumer, desk, limits).run(stop.clone()));
        Worker { budget, stop, running }
    }

    /// Returns the sum of the group's committed offsets, asked from the cluster.
    fn committed(&self) -> i64 {
        let consumer = self.consumer("millrace");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(TOPIC, 0, PARTITIONS - 1);
        let Ok(offsets) = consumer.committed_offsets(list, Duration::from_secs(5)) else { return 0 };
        let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        offsets.elements().iter().map(offset).sum()
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", group);
        config.create().expect("a consumer")
    }
}

impl Worker {
    async fn terminate(self) {
        self.stop.cancel();
        self.running.await.expect("the road does not panic").expect("a clean end");
    }
}

fn settings(bootstrap: &str) -> ProcessSettings {
    let column = |name: &str, column_type| ColumnSettings { name: name.to_owned(), column_type };
    ProcessSettings {
        pipeline: PipelineName { namespace: "test".to_owned(), name: "users".to_owned() },
        kafka: KafkaSettings { bootstrap_servers: vec![bootstrap.to_owned()] },
        consumer_group: "millrace".to_owned(),
        dead_letter_topic: LETTERS.to_owned(),
        cassandra: CassandraSettings {
            contact_points: Vec::new(),
            datacenter: "dc1".to_owned(),
            keyspace: "streams".to_owned(),
            consistency: Consistency::One,
        },
        queries: vec![QuerySettings {
            name: "users".to_owned(),
            from: TOPIC.to_owned(),
            into: TableSettings {
                name: "created_users".to_owned(),
                columns: vec![column("id", ColumnType::Text), column("n", ColumnType::Int)],
                primary_key: vec!["id".to_owned()],
                types: Vec::new(),
            },
            sql: None,
            records: RecordSettings::default(),
            write_timestamp_base: 0,
        }],
        canary: None,
        buffer_memory: Bytes(4 << 20),
        max_in_flight: 64,
        commit_interval: Span::from_millis(50),
        drain_timeout: Span::from_secs(5),
        http_port: 0,
    }
}

/// The control is a place beyond the end, where no record is.
#[tokio::test]
async fn a_record_is_read_by_its_place() {
    let world = World::new();
    world.publish(0, 100).await;
    let placed = world.publisher.publish(&record(TOPIC, "canary", "sings")).await.expect("it is acknowledged");
    world.publish(100, 200).await;
    let fetch = KafkaFetch::new(&world.settings.kafka, &world.settings.pipeline, TOPIC).expect("a consumer");
    let mut found = None;
    for _ in 0..20 {
        found = fetch.fetch(TOPIC, placed).await.expect("the mock cluster answers");
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found.as_deref(), Some(b"sings".as_slice()));
    let beyond = Placed { offset: placed.offset + 10_000, ..placed };
    assert_eq!(fetch.fetch(TOPIC, beyond).await, Ok(None));
}

#[tokio::test]
async fn a_paused_consumer_resumes_where_it_was() {
    let world = World::new();
    world.publish(0, 3_000).await;
    world.sink.set_fault(Fault::Outage);
    let memory = 256 << 10;
    let worker = world.start(memory);
    eventually("a full buffer", || worker.budget.is_full()).await;
    // Longer than a full buffer is waited for before partitions are paused.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(worker.budget.used() <= memory + 1_024, "{} bytes", worker.budget.used());
    world.sink.set_fault(Fault::None);
    eventually("all rows", || world.sink.rows(0).len() == 3_000).await;
    eventually("no lag", || world.committed() == 3_000).await;
    assert_eq!(world.sink.writes(), 3_000);
    worker.terminate().await;
}

#[tokio::test]
async fn partitions_that_went_while_paused_are_consumed_when_they_come_back() {
    let world = World::new();
    world.publish(0, 3_000).await;
    world.sink.set_fault(Fault::Outage);
    let worker = world.start(256 << 10);
    eventually("a full buffer", || worker.budget.is_full()).await;
    // Longer than a full buffer is waited for before partitions are paused.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let evicted = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION];
    world.cluster.request_errors(RDKafkaApiKey::Heartbeat, &evicted);
    // The mock cluster waits some seconds for other members before it assigns again.
    eventually("the loss of the partitions", || worker.budget.used() == 0).await;
    world.sink.set_fault(Fault::None);
    eventually("all rows", || world.sink.rows(0).len() == 3_000).await;
    eventually("no lag", || world.committed() == 3_000).await;
    worker.terminate().await;
}

#[tokio::test]
async fn a_stopped_worker_has_committed_what_it_wrote() {
    let world = World::new();
    world.publish(0, 500).await;
    let worker = world.start(1 << 20);
    eventually("some rows", || world.sink.writes() > 100).await;
    worker.terminate().await;
    assert_eq!(world.committed(), i64::try_from(world.sink.writes()).expect("a small number"));
}

#[tokio::test]
async fn dead_letters_keep_key_bytes_and_headers() {
    let world = World::new();
    let poison = record(TOPIC, "key", "{\"id\":");
    world.publisher.publish(&poison).await.expect("the mock cluster acknowledges");
    let worker = world.start(1 << 20);
    eventually("no lag", || world.committed() == 1).await;
    let reader = world.consumer("reader");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(LETTERS, 0, Offset::Beginning).expect("an offset");
    reader.assign(&list).expect("an assignment");
    let letter = reader.poll(Duration::from_secs(10)).expect("a letter").expect("no error").detach();
    assert_eq!(letter.key(), poison.key.as_deref());
    assert_eq!(letter.payload(), poison.payload.as_deref());
    let headers = letter.headers().expect("headers");
    let names: Vec<&str> = headers.iter().map(|header| header.key).collect();
    let expected = ["reason", "message", "topic", "partition", "offset", "query", "write-timestamp"];
    assert_eq!(names[0], "millrace-source");
    assert_eq!(names[1..], expected.map(|name| format!("millrace-dead-letter-{name}")));
    worker.terminate().await;
}

#[tokio::test]
async fn records_that_are_refused_with_their_batch_arrive_alone() {
    let world = World::new();
    let too_large = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE];
    world.cluster.request_errors(RDKafkaApiKey::Produce, &too_large);
    world.publish(0, 100).await;
    let worker = world.start(1 << 20);
    eventually("all rows", || world.sink.rows(0).len() == 100).await;
    worker.terminate().await;
}

#[tokio::test]
async fn a_record_that_is_refused_alone_is_refused_for_good() {
    let world = World::new();
    let too_large = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2];
    world.cluster.request_errors(RDKafkaApiKey::Produce, &too_large);
    let refused = world.publisher.publish(&record(TOPIC, "key", "{}")).await;
    assert!(matches!(refused, Err(PublishRecord::RefuseRecord { .. })), "{refused:?}");
    world.publish(0, 1).await;
}
