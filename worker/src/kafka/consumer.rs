//! The consumer: one thread that polls librdkafka and hands records and events over, in order.
//!
//! The thread never stops polling, so that the group never takes it for dead: while the memory bound is reached it
//! waits a little, then pauses the partitions. Revoked partitions are held in the rebalance callback, which runs on
//! this thread, until the road releases them or the time for it is up. Membership is dynamic: pods of a Deployment have
//! random names, and a static member that stops cleanly would keep its partitions until the session times out.

mod callbacks;
mod committer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use millrace_terms::{PipelineName, ProcessSettings};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, TopicPartitionList};
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::{AwaitThreadSnafu, CloseConsumer, CommitLastSnafu, Consumer, Event, client_config, fetch_ahead};
use crate::budget::Budget;
use crate::health::Pulse;
use crate::message::{Collector, Offsets, PartitionId, Position};
use callbacks::Callbacks;
use committer::Committer;

/// Most records of one hand-over.
const CHUNK: usize = 512;

/// Longest wait for a record; also how late a command is seen.
const POLL: Duration = Duration::from_millis(50);

/// How long a full buffer is waited for before the partitions are paused: a pause makes librdkafka forget what it
/// fetched ahead, which costs too much for the short waits of a busy sink.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the last commit is tried again while the group is rebalancing.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// Why there is no consumer.
#[derive(Debug, Snafu)]
pub enum StartConsumer {
    /// The properties are refused.
    #[snafu(display("cannot make the consumer"))]
    MakeConsumer {
        /// Why.
        source: KafkaError,
    },
    /// The topics are refused.
    #[snafu(display("cannot subscribe to {topics:?}"))]
    Subscribe {
        /// The topics.
        topics: Vec<String>,
        /// Why.
        source: KafkaError,
    },
    /// The machine has no thread left.
    #[snafu(display("cannot start the consumer thread"))]
    StartThread {
        /// Why.
        source: std::io::Error,
    },
}

/// The road's end of the consumer thread.
pub struct KafkaConsumer {
    events: UnboundedReceiver<Event>,
    commands: Sender<Command>,
}

enum Command {
    Commit(Offsets),
    Stop,
    Close(Offsets, oneshot::Sender<Result<(), CloseConsumer>>),
}

impl KafkaConsumer {
    /// Joins the group and starts the thread; does not wait for a broker.
    pub fn start(settings: &ProcessSettings, budget: Budget, pulse: Pulse) -> Result<Self, StartConsumer> {
        // Not the canary's: its partitions would take places of others (docs/decisions/0033-canary.md).
        let topics: Vec<String> = settings.topics().into_iter().map(str::to_owned).collect();
        let (callbacks, events) = Callbacks::new(topics.clone(), settings.drain_timeout.get(), pulse.clone());
        let consumer: BaseConsumer<Callbacks> =
            config(settings).create_with_context(callbacks).context(MakeConsumerSnafu)?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).context(SubscribeSnafu { topics: topics.clone() })?;
        let (commands, received) = mpsc::channel();
        let consumer = Arc::new(consumer);
        let committer = Committer::start(Arc::clone(&consumer)).context(StartThreadSnafu)?;
        let poller = Poller {
            consumer,
            committer,
            commands: received,
            budget,
            pulse,
            usual_bytes: 0,
            paused: false,
            stopped: false,
        };
        thread::Builder::new().name("consumer".to_owned()).spawn(|| poller.run()).context(StartThreadSnafu)?;
        Ok(Self { events, commands })
    }
}

fn config(settings: &ProcessSettings) -> ClientConfig {
    let mut config = client_config(&settings.kafka, &settings.pipeline, PipelineName::CONSUMER);
    // A quarter of the memory bound is for what librdkafka fetches ahead, the rest for what is under way.
    let ahead = (settings.buffer_memory.0 / 4 / 1024).clamp(512, 65_536);
    config
        .set("group.id", &settings.consumer_group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "30000");
    fetch_ahead(&mut config, ahead);
    config
}

impl Consumer for KafkaConsumer {
    async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => Event::Failed("the consumer thread has ended".to_owned()),
        }
    }

    fn commit(&mut self, offsets: Offsets) {
        self.send(Command::Commit(offsets));
    }

    fn stop(&mut self) {
        self.send(Command::Stop);
    }

    async fn close(self, offsets: Offsets) -> Result<(), CloseConsumer> {
        let Self { events, commands } = self;
        // A revocation that nobody has read holds the thread until its release is given or gone.
        drop(events);
        let (done, closed) = oneshot::channel();
        // A thread that has ended early drops `done` with the command.
        let _ = commands.send(Command::Close(offsets, done));
        closed.await.ok().context(AwaitThreadSnafu)?
    }
}

impl KafkaConsumer {
    fn send(&self, command: Command) {
        // The thread ends early only after a fatal error, which `next` reports.
        let _ = self.commands.send(command);
    }
}

/// The thread's side.
struct Poller {
    consumer: Arc<BaseConsumer<Callbacks>>,
    committer: Committer,
    commands: Receiver<Command>,
    budget: Budget,
    pulse: Pulse,
    /// Bytes of the last hand-over's records: the next one's buffer is made that large at once.
    usual_bytes: usize,
    paused: bool,
    stopped: bool,
}

impl Poller {
    fn run(mut self) {
        loop {
            self.pulse.beat();
            match self.commands.try_recv() {
                Ok(Command::Commit(offsets)) => self.committer.commit(offsets),
                Ok(Command::Stop) => {
                    self.stopped = true;
                    self.pause();
                }
                Ok(Command::Close(offsets, done)) => {
                    self.close(&offsets, done);
                    return;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            self.regulate();
            if let Err(problem) = self.poll() {
                self.callbacks().tell(Event::Failed(problem));
                return;
            }
        }
    }

    fn callbacks(&self) -> &Callbacks {
        self.consumer.context()
    }

    /// Pauses when the memory bound stays reached, resumes when half of it is free.
    fn regulate(&mut self) {
        if self.stopped {
            return;
        }
        if self.paused {
            if self.budget.is_low() {
                self.resume();
            }
        } else if !self.budget.wait_for_room(PATIENCE) {
            self.pause();
        }
    }

    fn pause(&mut self) {
        self.paused = true;
        // Partitions that are assigned from now on are paused by the callback.
        self.callbacks().paused.store(true, Ordering::Relaxed);
        let paused = self.consumer.assignment().and_then(|assignment| self.consumer.pause(&assignment));
        report("pause", paused);
    }

    fn resume(&mut self) {
        self.paused = false;
        self.callbacks().paused.store(false, Ordering::Relaxed);
        let resumed = self.consumer.assignment().and_then(|assignment| self.consumer.resume(&assignment));
        report("resume", resumed);
    }

    /// Hands over what is there, after waiting a little for the first record.
    fn poll(&mut self) -> Result<(), String> {
        let mut chunk = Collector::new(&self.budget, self.usual_bytes);
        let mut timeout = POLL;
        while let Some(polled) = self.consumer.poll(timeout) {
            match polled {
                Ok(message) => self.take(&message, &mut chunk),
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.to_string()),
                Err(error) => report_poll(&error),
            }
            if chunk.len() >= CHUNK || self.budget.is_full() {
                break;
            }
            timeout = Duration::ZERO;
        }
        if !chunk.is_empty() {
            self.usual_bytes = chunk.bytes();
            self.callbacks().tell(Event::Records(chunk.finish()));
        }
        Ok(())
    }

    /// Copies a record out of librdkafka, unless its partition is not assigned any more.
    fn take(&self, message: &BorrowedMessage<'_>, chunk: &mut Collector) {
        let callbacks = self.callbacks();
        let Some(topic) = callbacks.topics.iter().position(|topic| topic == message.topic()) else { return };
        let partition = PartitionId { topic, partition: message.partition() };
        let Some(epoch) = callbacks.epoch(partition) else { return };
        let position = Position { partition, epoch, offset: message.offset() };
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        chunk.push(position, message.key(), message.payload(), headers.map(|header| (header.key, header.value)));
    }

    fn close(self, offsets: &Offsets, done: oneshot::Sender<Result<(), CloseConsumer>>) {
        self.callbacks().closing.store(true, Ordering::Relaxed);
        let committed =
            self.commit_last(offsets).map_err(|error| CommitLastSnafu { problem: error.to_string() }.build());
        // The committer's share of the consumer goes first: dropping the last one leaves the group.
        self.committer.stop();
        drop(self.consumer);
        let _ = done.send(committed);
    }

    #[expect(clippy::disallowed_methods, reason = "the last commit has a deadline")]
    fn commit_last(&self, offsets: &Offsets) -> KafkaResult<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let list: TopicPartitionList = self.callbacks().list(offsets)?;
        let start = Instant::now();
        loop {
            let committed = self.consumer.commit(&list, CommitMode::Sync);
            match committed {
                Err(KafkaError::ConsumerCommit(code)) if passes(code) && start.elapsed() < LAST_COMMIT => {
                    // Polling lets the rebalance go on that the commit has to wait for.
                    self.consumer.poll(POLL);
                }
                other => return other,
            }
        }
    }
}

/// Whether a commit may succeed a little later.
fn passes(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::WaitingForCoordinator
    )
}

fn report(what: &str, result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot {what} the partitions");
    }
}

/// Errors that librdkafka mends by itself: it repeats them while it tries.
fn report_poll(error: &KafkaError) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
            tracing::debug!(%error, "no connection to kafka");
        }
        _ => tracing::warn!(%error, "cannot consume for now"),
    }
}
