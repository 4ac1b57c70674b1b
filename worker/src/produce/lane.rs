//! One source's lane: fetched batches in, acknowledged records out.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, StreamExt};
use millrace_terms::SourcePhase;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::delivery::{RETRY, Sent, deliver};
use super::letter::{Rejected, Seen};
use super::marks::{BatchNumber, Marks};
use super::once::Once;
use crate::backoff::Backoff;
use crate::budget::{Budget, Reservation};
use crate::cursor::{KeepMarks, Mark};
use crate::health::produce::ProduceHealth;
use crate::kafka::Publisher;
use crate::mapping::{Encoded, Mapping, ReadRecordSnafu};
use crate::message::{Header, ORIGIN_KEY_HEADER, Outgoing, PRODUCED_AT_HEADER, SOURCE_HEADER};
use crate::sabotage::{Sabotage, Sabotages};
use crate::source::{Batch, FetchRecords, Read, Records, Source, Unreadable, place};
use crate::telemetry::{SourceLabel, Telemetry};

/// Most records of one source that wait for their acknowledgement: at 10 ms a round trip, 400,000 a second.
const WINDOW: usize = 4_096;

/// How often a lane shows that it is alive.
const PULSE: Duration = Duration::from_secs(1);

/// From one keeping of the source's position to the next: what a killed producer's successor sends again at most,
/// beside what was under way.
const KEEP: Duration = Duration::from_millis(500);

/// What the lanes of a worker share.
#[derive(Clone)]
pub struct Shared<P> {
    /// Where records go.
    pub publisher: P,
    /// Where records go that cannot be mapped. Absent: they are counted and logged only.
    pub dead_letter_topic: Option<String>,
    /// Bound for the bytes between mapping and acknowledgement, over all lanes.
    pub budget: Budget,
    /// Counts and logs.
    pub telemetry: Telemetry,
    /// Told how each source is doing.
    pub health: Arc<ProduceHealth>,
    /// Faults that are switched on for negative controls.
    pub sabotages: Sabotages,
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
    /// Where the source's position is kept.
    pub keeper: Box<dyn KeepMarks>,
    /// The run that the lane is of: it ends with its source, and at the source's first error. Absent: it goes on until
    /// it is stopped.
    pub once: Option<Once>,
    /// What is shared with the other lanes.
    pub shared: Shared<P>,
}

impl<S: Source, P: Publisher> Lane<S, P> {
    /// Drives the lane until `stop` or the end of its run, then until everything fetched is acknowledged or `drain` has passed; returns how
    /// many records were not.
    pub(super) async fn run(self, stop: CancellationToken, drain: Duration) -> usize {
        let Self { index, name, topic, mapping, source, keeper, once, shared } = self;
        shared.telemetry.source_started(&name, &topic);
        // The stream keeps a fetch alive while acknowledgements come in between.
        let mut batches = pin!(stream::unfold(Some(source), |source| async {
            let mut source = source?;
            let fetched = source.next().await;
            let more = !matches!(fetched, Ok(Batch { exhausted: true, .. }));
            Some((fetched, more.then_some(source)))
        }));
        let budget = shared.budget.clone();
        let mut road = Road::new(index, name, topic, (mapping, keeper, once), shared);
        let mut pulse = tokio::time::interval(PULSE);
        while !stop.is_cancelled() && !road.is_over() {
            road.send_what_fits();
            road.keep_what_is_due();
            let idle = road.next.is_none() && road.in_flight.len() < WINDOW;
            let waiting = road.waiting();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(sent) = road.in_flight.next(), if !road.in_flight.is_empty() => road.account(sent),
                Some(kept) = road.keeping.next(), if !road.keeping.is_empty() => road.note_kept(kept),
                () = tokio::time::sleep_until(road.keep_at), if road.waits_to_keep() => {}
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

/// What is sent next.
struct Next {
    record: Outgoing,
    kind: Kind,
}

/// What a record on its way is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// A record that was mapped.
    Record,
    /// A record that cannot be mapped, on its way to the dead-letter topic.
    Letter,
}

/// A record that is not under way any more, and what it was.
struct Settled {
    batch: BatchNumber,
    kind: Kind,
    bytes: usize,
    sent: Sent,
}

/// How a keeping ended, and the marks of it.
type Kept = (Vec<Mark>, Result<(), String>);

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
    /// Mapped or rejected, and sent as soon as memory bound and window have room for it. Absent: nothing is left to map.
    next: Option<Next>,
    /// The last records that were rejected.
    seen: Seen,
    in_flight: FuturesUnordered<BoxFuture<'static, Settled>>,
    marks: Marks,
    keeper: Box<dyn KeepMarks>,
    once: Option<Once>,
    /// At most one keeping is under way.
    keeping: FuturesUnordered<BoxFuture<'static, Kept>>,
    /// When the position may be kept next.
    keep_at: Instant,
    keep_again: Backoff,
    acknowledged: u64,
    rejected: u64,
    exhausted: bool,
    finished: bool,
    /// Ends retries when the drain is over.
    give_up: CancellationToken,
}

#[expect(clippy::disallowed_methods, reason = "the loop of the road paces itself; marks are given the time")]
impl<P: Publisher> Road<P> {
    fn new(
        index: usize,
        name: String,
        topic: String,
        (mapping, keeper, once): (Mapping, Box<dyn KeepMarks>, Option<Once>),
        shared: Shared<P>,
    ) -> Self {
        Self {
            index,
            label: SourceLabel::new(&name),
            name,
            topic,
            shared,
            mapping,
            records: Records::default(),
            next: None,
            seen: Seen::default(),
            in_flight: FuturesUnordered::new(),
            marks: Marks::default(),
            keeper,
            once,
            keeping: FuturesUnordered::new(),
            keep_at: Instant::now(),
            keep_again: Backoff::new(RETRY.0, RETRY.1),
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
                if let Some(once) = &self.once {
                    // Whether and when it is asked again is the run's to say.
                    once.fail(&error.to_string());
                    self.exhausted = true;
                }
                (error.state(), error.to_string())
            }
            Some(Ok(Batch { records, exhausted, more: _, marks, note })) => {
                self.shared.telemetry.source_answered(&self.name);
                if self.shared.sabotages.has(Sabotage::CursorBeforeAck) {
                    self.marks.due_at_once(marks.clone());
                }
                self.marks.begin(marks);
                self.records = records;
                self.map_next();
                self.exhausted = exhausted;
                if exhausted {
                    self.shared.telemetry.source_exhausted(&self.name);
                }
                (if exhausted { SourcePhase::Exhausted } else { SourcePhase::Running }, note)
            }
        };
        self.shared.health.source(self.index, |report| {
            report.state = state;
            report.message = message;
            if !state.is_failing() {
                report.last_success = Some(chrono::Utc::now().timestamp_millis());
            }
        });
        self.note_finish();
    }

    /// Maps the next record, if there is one; what cannot be mapped is sent to the dead-letter topic instead.
    fn map_next(&mut self) {
        while let Some(record) = self.records.next() {
            self.once.iter().for_each(Once::note_read);
            match self.map(record) {
                Ok(record) => {
                    self.next = Some(Next { record, kind: Kind::Record });
                    return;
                }
                Err(rejected) => self.next = self.reject(*rejected),
            }
            if self.next.is_some() {
                return;
            }
        }
        self.marks.sent_all();
        // Gives the text of the answer back before the next one is fetched.
        self.records = Records::default();
    }

    /// Maps and encodes a record.
    fn map(&self, read: Read) -> Result<Outgoing, Box<Rejected>> {
        let number = self.records.given();
        let fetched = match read {
            Ok(fetched) => fetched,
            Err(Unreadable { problem, ends, bytes, length, mut headers }) => {
                let key = match &ends {
                    Some(key) => self.mapping.ended_key(key),
                    None => ReadRecordSnafu { problem }.fail(),
                };
                return match key {
                    Ok(key) => Ok(self.outgoing(key, None, headers)),
                    Err(rejection) => {
                        // Without it nothing says which records were to end.
                        headers.extend(ends.map(|key| Header { name: ORIGIN_KEY_HEADER.to_owned(), value: Some(key) }));
                        Err(Box::new(Rejected { rejection, bytes, length, place: headers, number }))
                    }
                };
            }
        };
        match self.mapping.encode(&fetched.record) {
            Ok(Encoded { key, payload }) => Ok(self.outgoing(key, Some(payload), fetched.headers)),
            Err(rejection) => {
                let bytes = fetched.record.get().as_bytes().to_vec();
                let length = bytes.len() as u64;
                Err(Box::new(Rejected { rejection, bytes, length, place: fetched.headers, number }))
            }
        }
    }

    fn outgoing(&self, key: String, payload: Option<Vec<u8>>, place: Vec<Header>) -> Outgoing {
        let mut headers = vec![Header::text(SOURCE_HEADER, self.name.as_str())];
        headers.extend(place);
        headers.extend(self.once.iter().flat_map(|once| once.headers.iter().cloned()));
        Outgoing { topic: self.topic.clone(), key: Some(key.into_bytes()), payload, headers }
    }

    /// Counts and logs a rejection; returns its dead letter, unless the same record has one already.
    fn reject(&mut self, rejected: Rejected) -> Option<Next> {
        self.rejected += 1;
        self.once.iter().for_each(Once::note_rejected);
        let place = match rejected.place.as_slice() {
            [] => format!("record={}", rejected.number),
            place => self::place(place),
        };
        self.shared.telemetry.record_rejected(&self.name, &rejected.rejection, &place);
        let topic = self.shared.dead_letter_topic.as_deref()?;
        if !self.seen.is_new(&rejected) {
            return None;
        }
        let mut record = rejected.letter(topic, &self.name);
        record.headers.extend(self.once.iter().flat_map(|once| once.headers.iter().cloned()));
        Some(Next { record, kind: Kind::Letter })
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
        next.map(|next| next.record.size())
    }

    fn send_next(&mut self, reservation: Reservation) {
        let Some(Next { mut record, kind }) = self.next.take() else { return };
        let batch = self.marks.sent();
        self.map_next();
        let now = chrono::Utc::now().timestamp_millis();
        record.headers.push(Header::text(PRODUCED_AT_HEADER, now.to_string()));
        // Sent here and not when the future is first polled, so that records keep their order.
        let receipt = self.shared.publisher.publish(&record);
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let bytes = length(&record.key) + length(&record.payload);
        let (shared, give_up) = (self.shared.clone(), self.give_up.clone());
        self.in_flight.push(Box::pin(async move {
            let sent = deliver(&shared, record, receipt, give_up).await;
            // The record is kept until it is acknowledged, and so is its share of the memory bound.
            drop(reservation);
            Settled { batch, kind, bytes, sent }
        }));
    }

    fn account(&mut self, Settled { batch, kind, bytes, sent }: Settled) {
        match (sent, kind) {
            (Sent::Acknowledged(placed), Kind::Record) => {
                self.acknowledged += 1;
                self.once.iter().for_each(|once| once.note_produced(placed, bytes));
                self.marks.settled(batch);
                self.shared.telemetry.record_produced(&self.label);
            }
            (Sent::Acknowledged(_), Kind::Letter) => {
                self.marks.settled(batch);
                self.shared.telemetry.source_letter_sent(&self.label);
            }
            (Sent::Refused(problem), kind) => {
                if kind == Kind::Record {
                    self.rejected += 1;
                    self.once.iter().for_each(Once::note_rejected);
                }
                self.marks.settled(batch);
                self.shared.telemetry.record_refused(&self.name, &problem);
            }
            // Not settled, so that the position stays before it.
            (Sent::GivenUp, _) => {}
        }
        self.note_finish();
    }

    /// Keeps the source's position, if it has moved and the last keeping was not just now.
    fn keep_what_is_due(&mut self) {
        if !self.waits_to_keep() || Instant::now() < self.keep_at {
            return;
        }
        self.keep_at = Instant::now() + KEEP;
        let marks = self.marks.take_due();
        let kept = self.keeper.keep(marks.clone());
        self.keeping.push(Box::pin(async { (marks, kept.await) }));
    }

    fn waits_to_keep(&self) -> bool {
        self.keeping.is_empty() && self.marks.are_due()
    }

    fn note_kept(&mut self, (marks, kept): Kept) {
        match kept {
            Ok(()) => {
                self.keep_again.reset();
                self.shared.telemetry.cursor_kept(&self.label);
            }
            Err(problem) => {
                self.keep_at = Instant::now() + self.keep_again.next_delay();
                self.marks.put_back(marks);
                self.shared.telemetry.cursor_not_kept(&self.name, &self.label, &problem);
            }
        }
    }

    /// Says once that an exhausted source is acknowledged to its end.
    fn note_finish(&mut self) {
        if self.exhausted && !self.finished && self.is_settled() {
            self.finished = true;
            self.once.iter().for_each(Once::note_finished);
            self.shared.telemetry.source_finished(&self.name, self.acknowledged, self.rejected);
            self.beat();
        }
    }

    /// Returns whether the lane is of a run that is at its end.
    fn is_over(&self) -> bool {
        self.once.is_some() && self.finished
    }

    fn is_settled(&self) -> bool {
        self.next.is_none() && self.in_flight.is_empty()
    }

    fn beat(&self) {
        self.shared.telemetry.note_passed_over(&self.name);
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
        // A position that is not kept in time costs repeated records, never lost ones, and so counts for nothing below.
        while !self.is_settled() || self.marks.are_due() || !self.keeping.is_empty() {
            self.send_what_fits();
            if self.is_settled() && self.keep_again.failures() == 0 {
                self.keep_at = Instant::now();
            }
            self.keep_what_is_due();
            let waiting = self.waiting();
            tokio::select! {
                Some(sent) = self.in_flight.next(), if !self.in_flight.is_empty() => self.account(sent),
                Some(kept) = self.keeping.next(), if !self.keeping.is_empty() => self.note_kept(kept),
                () = tokio::time::sleep_until(self.keep_at), if self.waits_to_keep() => {}
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
