//! Kafka: the one door to client properties, and what the roads ask of a producer and a consumer.
//!
//! [`Publisher`], [`Consumer`] and [`Fetch`] have two implementations each: librdkafka, and memory for tests.

pub mod consumer;
pub mod fetch;
pub mod memory;
pub mod producer;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures::future::BoxFuture;
use millrace_terms::{KafkaSettings, PipelineName};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use snafu::Snafu;

use crate::message::{Consumed, Epoch, Offsets, Outgoing, PartitionId};

/// Sends records to Kafka.
pub trait Publisher: Clone + Send + Sync + 'static {
    /// Sends one record, behind those that were sent before it; the receipt tells when all in-sync replicas have it.
    fn publish(&self, record: &Outgoing) -> Receipt;
}

/// Resolves when a record is acknowledged. The record is on its way whether or not somebody waits.
pub type Receipt = BoxFuture<'static, Result<Placed, PublishRecord>>;

/// Where an acknowledged record stands in its topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Partition number.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

/// Why a record is not acknowledged.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum PublishRecord {
    /// It may be acknowledged later: send it again.
    #[snafu(display("kafka has not acknowledged a record for topic '{topic}': {problem}"))]
    AwaitBroker {
        /// The topic.
        topic: String,
        /// What the client says.
        problem: String,
    },
    /// It will never be: the broker refuses this record, by its size for instance.
    #[snafu(display("kafka refuses a record for topic '{topic}': {problem}"))]
    RefuseRecord {
        /// The topic.
        topic: String,
        /// What the client says.
        problem: String,
    },
}

/// Reads single records by their place, without a group.
pub trait Fetch: Send + Sync + 'static {
    /// Returns the value of the record at a place in a topic. `None`: it has not come yet.
    fn fetch(&self, topic: &str, placed: Placed) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>>;
}

/// Consumes the topics of all queries as one member of the group.
pub trait Consumer: Send + 'static {
    /// Waits for the next event. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Event> + Send;

    /// Commits offsets in the background; the outcome comes as [`Event::Committed`].
    fn commit(&mut self, offsets: Offsets);

    /// Brings no more records; other events still come.
    fn stop(&mut self);

    /// Commits offsets for the last time and leaves the group.
    fn close(self, offsets: Offsets) -> impl Future<Output = Result<(), CloseConsumer>> + Send;
}

/// What a consumer has to tell, in order.
#[derive(Debug)]
pub enum Event {
    /// Partitions were added, perhaps none; the first such event means that the group was joined.
    Assigned(Vec<PartitionId>, Epoch),
    /// Records came, in offset order within each partition.
    Records(Vec<Consumed>),
    /// Partitions will go to another member as soon as the release is given.
    Revoked(Vec<PartitionId>, Release),
    /// Partitions went to another member already; nothing can be committed for them.
    Lost(Vec<PartitionId>),
    /// A background commit ended: the confirmed offsets, or why there are none.
    Committed(Result<Offsets, String>),
    /// The consumer cannot go on.
    Failed(String),
}

/// Lets revoked partitions go.
#[derive(Debug)]
pub struct Release(SyncSender<Offsets>);

impl Release {
    /// Makes a release that tells `channel`.
    pub fn new(channel: SyncSender<Offsets>) -> Self {
        Self(channel)
    }

    /// Lets the partitions go after committing `offsets`.
    pub fn give(self, offsets: Offsets) {
        // A consumer that has given up waiting does not listen any more; the offsets are then simply not committed.
        let _ = self.0.send(offsets);
    }
}

/// Why the last commit or the leave went wrong.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum CloseConsumer {
    /// The coordinator did not take the offsets.
    #[snafu(display("cannot commit the last offsets: {problem}"))]
    CommitLast {
        /// What the client says.
        problem: String,
    },
    /// The consumer thread is gone.
    #[snafu(display("the consumer thread has ended early"))]
    AwaitThread,
}

/// Returns the properties that all our clients share.
pub(crate) fn client_config(settings: &KafkaSettings, pipeline: &PipelineName, role: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.bootstrap_servers.join(","))
        .set("client.id", pipeline.client_id(role))
        // Broker pods come back with other addresses: names are looked up again soon, and connections to addresses
        // that nobody answers at are given up soon.
        .set("broker.address.ttl", "1000")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "20000")
        // New partitions and topics are noticed within this time.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("log.connection.close", "false");
    config
}

/// Bounds what a consumer fetches ahead of what it is asked for: so many KiB.
pub(crate) fn fetch_ahead(config: &mut ClientConfig, kib: u64) {
    config
        .set("queued.max.messages.kbytes", kib.to_string())
        .set("fetch.max.bytes", (kib * 1024).max(1 << 20).to_string())
        // Counted before decompression, which makes four times as much of our JSON. A larger record comes alone.
        .set("fetch.message.max.bytes", "262144")
        // With the default of one second, fetching stands still for a second each time the local queue is full:
        // https://github.com/confluentinc/librdkafka/issues/3662
        .set("fetch.queue.backoff.ms", "10");
}

/// Returns a topic's partitions; none, if it does not exist. Blocks.
pub(crate) fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<BTreeSet<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let found = metadata.topics().iter().filter(|found| found.name() == topic && found.error().is_none());
    Ok(found.flat_map(|found| found.partitions()).map(|partition| partition.id()).collect())
}

/// What a client tells besides records: its log, where ours goes.
#[derive(Clone, Debug)]
pub(crate) struct Voice;

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Voice {}

/// Writes librdkafka's log lines where ours go; it repeats itself while brokers are away, so most are at debug level.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel as Level;
    match level {
        Level::Emerg | Level::Alert | Level::Critical => tracing::error!(target: "librdkafka", facility, "{message}"),
        Level::Error | Level::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        Level::Notice | Level::Info | Level::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}
