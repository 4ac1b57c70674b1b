//! One source's lane: fetched batches in, acknowledged records out.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, FuturesUnordered, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::budget::{Budget, Reservation};
use crate::health::produce::ProduceHealth;
use crate::kafka::{PublishRecord, Publisher, Receipt};
use crate::mapping::{Encoded, Mapping, ReadRecordSnafu};
use crate::message::{Header, Outgoing, PRODUCED_AT_HEADER, SOURCE_HEADER};
use crate::source::{Batch, FetchRecords, Records, Source};
use crate::telemetry::{SourceLabel, Telemetry};

/// First and longest wait before a record that Kafka did not acknowledge is sent again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Most records of one source that wait for their acknowledgement: at 10 ms a round trip, 400,000 a second.
const WINDOW: usize = 4_096;

/// How often a lane shows that it is alive.
const PULSE: Duration = Duration::from_secs(1);

/// What the lanes of a worker share.
#[derive(Clone)]
pub struct Shared<P> {
    /// Where records go.
    pub publisher: P,
    /// Bound for the bytes between mapping and acknowledgement, over all lanes.
    pub budget: Budget,
    /// Counts and logs.
    pub telemetry: Telemetry,
    /// Told how each source is doing.
    pub health: Arc<ProduceHealth>,
}

/// A source, its mapping, and its way to Kafka.
pub struct Lane<S, P> {
    /// Index of the source in the health report.
    pub index: usize,
    /// Name of the source.
    pub name: String,
    /// Topic that receives the records.
    pub topic: String,
    /// How records become Kafka records.
    pub mapping: Mapping,
    /// Where records come from.
    pub source: S,
    /// What is shared with the other lanes.
    pub shared: Shared<P>,
}

/// How a record ended.
enum Sent {
    Acknowledged,
    /// Kafka refuses it for good.
    Refused(String),
    /// The lane was told to give up.
    GivenUp,
}

impl<S: Source, P: Publisher> Lane<S, P> {
    /// Drives the lane until `stop`, then until everything fetched is acknowledged or `drain` has passed; returns how
    /// many records were not.
    pub(super) async fn run(self, stop: CancellationToken, drain: Duration) -> usize {
        let Self { index, name, topic, mapping, source, shared } = self;
        shared.telemetry.source_started(&name, &topic);
        // The stream keeps a fetch alive while acknowledgements come in between.
        let mut batches = pin!(stream::unfold(Some(source), |source| async {
            let mut source = source?;
            let fetched = source.next().await;
            let more = !matches!(fetched, Ok(Batch { exhausted: true, .. }));
            Some((fetched, more.then_some(source)))
        }));
        let budget = shared.budget.clone();
        let mut road = Road::new(index, name, topic, mapping, shared);
        let mut pulse = tokio::time::interval(PULSE);
        while !stop.is_cancelled() {
            road.send_what_fits();
            let idle = road.next.is_none() && road.in_flight.len() < WINDOW;
            let waiting = road.waiting();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(sent) = road.in_flight.next(), if !road.in_flight.is_empty() => road.account(sent),
                reservation = budget.reserve(waiting.unwrap_or_default()), if waiting.is_some() => {
                    road.send_next(reservation);
                }
                fetched = batches.next(), if idle && !road.exhausted => road.take(fetched),
                _ = pulse.tick() => road.beat(),
            }
        }
        road.drain(drain).await
    }
}

/// The moving parts of a lane.
struct Road<P> {
    index: usize,
    name: String,
    topic: String,
    label: SourceLabel,
    shared: Shared<P>,
    mapping: Mapping,
    /// Fetched and not mapped yet.
    records: Records,
    /// Mapped, and sent as soon as memory bound and window have room for it. Absent: nothing is left to map.
    next: Option<Outgoing>,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Sent> + Send>>>,
    acknowledged: u64,
    rejected: u64,
    exhausted: bool,
    finished: bool,
    /// Ends retries when the drain is over.
    give_up: CancellationToken,
}

impl<P: Publisher> Road<P> {
    fn new(index: usize, name: String, topic: String, mapping: Mapping, shared: Shared<P>) -> Self {
        Self {
            index,
            label: SourceLabel::new(&name),
            name,
            topic,
            shared,
            mapping,
            records: Records::default(),
            next: None,
            in_flight: FuturesUnordered::new(),
            acknowledged: 0,
            rejected: 0,
            exhausted: false,
            finished: false,
            give_up: CancellationToken::new(),
        }
    }

    /// Takes in what a fetch gave: records, an error, or the end.
    fn take(&mut self, fetched: Option<Result<Batch, FetchRecords>>) {
        let (state, message) = match fetched {
            None => return,
            Some(Err(error)) => {
                self.shared.telemetry.source_failed(&self.name, &error);
                (error.outcome(), error.to_string())
            }
            Some(Ok(Batch { records, exhausted })) => {
                self.shared.telemetry.source_answered(&self.name);
                self.records = records;
                self.map_next();
                self.exhausted = exhausted;
                if exhausted {
                    self.shared.telemetry.source_exhausted(&self.name);
                }
                (if exhausted { "Exhausted" } else { "Running" }, String::new())
            }
        };
        self.shared.health.source(self.index, |report| {
            report.state = state;
            report.message = message;
        });
        self.note_finish();
    }

    /// Maps the next record that can be mapped, if there is one.
    fn map_next(&mut self) {
        for record in self.records.by_ref() {
            let record = record.map_err(|error| ReadRecordSnafu { problem: error.to_string() }.build());
            match record.and_then(|record| self.mapping.encode(&record)) {
                Ok(Encoded { key, payload }) => {
                    self.next = Some(Outgoing {
                        topic: self.topic.clone(),
                        key: Some(key.into_bytes()),
                        payload: Some(payload),
                        headers: vec![Header::text(SOURCE_HEADER, self.name.as_str())],
                    });
                    return;
                }
                Err(rejection) => {
                    self.rejected += 1;
                    self.shared.telemetry.record_rejected(&self.name, &rejection);
                }
            }
        }
        // Gives the text of the answer back before the next one is fetched.
        self.records = Records::default();
    }

    fn send_what_fits(&mut self) {
        while let Some(size) = self.waiting() {
            let Some(reservation) = self.shared.budget.try_take(size) else { return };
            self.send_next(reservation);
        }
    }

    /// Returns the size of the record that is sent next, if there is one and the window has room for it.
    fn waiting(&self) -> Option<u64> {
        let next = self.next.as_ref().filter(|_| self.in_flight.len() < WINDOW);
        next.map(Outgoing::size)
    }

    fn send_next(&mut self, reservation: Reservation) {
        let Some(mut record) = self.next.take() else { return };
        self.map_next();
        let now = chrono::Utc::now().timestamp_millis();
        record.headers.push(Header::text(PRODUCED_AT_HEADER, now.to_string()));
        // Sent here and not when the future is first polled, so that records keep their order.
        let receipt = self.shared.publisher.publish(&record);
        let held = Held { record, reservation };
        self.in_flight.push(Box::pin(deliver(self.shared.clone(), held, receipt, self.give_up.clone())));
    }

    fn account(&mut self, sent: Sent) {
        match sent {
            Sent::Acknowledged => {
                self.acknowledged += 1;
                self.shared.telemetry.record_produced(&self.label);
            }
            Sent::Refused(problem) => {
                self.rejected += 1;
                self.shared.telemetry.record_refused(&self.name, &problem);
            }
            Sent::GivenUp => {}
        }
        self.note_finish();
    }

    /// Says once that an exhausted source is acknowledged to its end.
    fn note_finish(&mut self) {
        if self.exhausted && !self.finished && self.is_settled() {
            self.finished = true;
            self.shared.telemetry.source_finished(&self.name, self.acknowledged, self.rejected);
            self.beat();
        }
    }

    fn is_settled(&self) -> bool {
        self.next.is_none() && self.in_flight.is_empty()
    }

    fn beat(&self) {
        self.shared.health.lanes[self.index].beat();
        self.shared.health.source(self.index, |report| {
            report.acknowledged = self.acknowledged;
            report.rejected = self.rejected;
        });
    }

    /// Sends what was fetched and awaits what was sent; returns how many records are left when `timeout` has passed.
    async fn drain(mut self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        let budget = self.shared.budget.clone();
        while !self.is_settled() {
            self.send_what_fits();
            let waiting = self.waiting();
            tokio::select! {
                Some(sent) = self.in_flight.next(), if !self.in_flight.is_empty() => self.account(sent),
                reservation = budget.reserve(waiting.unwrap_or_default()), if waiting.is_some() => {
                    self.send_next(reservation);
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        self.give_up.cancel();
        usize::from(self.next.is_some()) + self.records.count() + self.in_flight.len()
    }
}

/// A record that is kept until it is acknowledged, and its share of the memory bound.
struct Held {
    record: Outgoing,
    reservation: Reservation,
}

/// Awaits the receipt of a record, and sends it again until Kafka acknowledges or refuses it.
async fn deliver<P: Publisher>(
    shared: Shared<P>,
    Held { record, reservation }: Held,
    mut receipt: Receipt,
    give_up: CancellationToken,
) -> Sent {
    let mut retry = Backoff::new(RETRY.0, RETRY.1);
    let sent = loop {
        match receipt.await {
            Ok(()) => break Sent::Acknowledged,
            Err(error @ PublishRecord::RefuseRecord { .. }) => break Sent::Refused(error.to_string()),
            Err(error @ PublishRecord::AwaitBroker { .. }) => shared.telemetry.publish_failed(&error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(retry.next_delay()) => {}
            () = give_up.cancelled() => break Sent::GivenUp,
        }
        receipt = shared.publisher.publish(&record);
    };
    drop(reservation);
    sent
}
