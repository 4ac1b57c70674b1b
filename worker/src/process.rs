//! Road two: Kafka to Cassandra.
//!
//! ```text
//! kafka.next -> handful -> decode -> bind -> sink.write -> ledger.done -> commit
//!                                 \-> rejected -> dead-letter topic -> ledger.done
//! ```
//!
//! Records are taken in handfuls of one request's rows: at once while nothing is under way, so that few records do not
//! wait for more, and full ones, or those that waited for 3 ms, while something is.
//!
//! Every record ends as a row or as a dead letter before its offset is committed. A crash may repeat the records since
//! the last commit: a repeated row writes the same cells at the same timestamp, and a repeated dead letter is a second
//! record in its topic with the same origin headers.

pub mod dead_letter;
mod query;
mod rest;
mod settle;
mod window;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use snafu::{ResultExt, Snafu, ensure};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::canary::{Entries, Entry};
use crate::health::process::ProcessHealth;
use crate::kafka::{CloseConsumer, Consumer, Event, Publisher, Release};
use crate::ledger::Ledger;
use crate::message::{Consumed, Epoch, Offsets, PartitionId, Position};
use crate::sabotage::{Sabotage, Sabotages};
use crate::sink::Sink;
use crate::telemetry::{RoadState, Telemetry};
pub use query::{Queries, Query};
use rest::Rest;
pub use settle::Desk;
use settle::{Handful, Outcome, Settled};
use window::Window;

/// Why the road ended otherwise than by being told to.
#[derive(Debug, Snafu)]
pub enum RunProcess {
    /// The consumer cannot go on; a new process can.
    #[snafu(display("cannot consume any more: {problem}"))]
    Consume {
        /// What the client says.
        problem: String,
    },
    /// Writes were still under way when the time for the drain was up. Nothing is lost: they are not committed.
    #[snafu(display("{under_way} records were still under way after {} s; they will be consumed again", limit.as_secs()))]
    Drain {
        /// How many.
        under_way: usize,
        /// The time for the drain.
        limit: Duration,
    },
    /// The last commit or the leave failed, or took too long.
    #[snafu(display("cannot leave the group in order"))]
    LeaveGroup {
        /// Why.
        source: CloseConsumer,
    },
    /// The consumer did not end in time.
    #[snafu(display("leaving the group took longer than the time for the drain"))]
    LeaveInTime,
}

/// Bounds and periods of the road.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most records between dispatch and acknowledgement.
    pub max_in_flight: usize,
    /// Offsets are committed this often while they move.
    pub commit_interval: Duration,
    /// Time for awaiting writes when partitions are revoked or the worker stops.
    pub drain_timeout: Duration,
}

/// The road and everything on it.
pub struct Process<C, S, P> {
    consumer: C,
    desk: Arc<Desk<S, P>>,
    limits: Limits,
    telemetry: Telemetry,
    health: Arc<ProcessHealth>,
    sabotages: Sabotages,
    ledger: Ledger,
    /// The right to begin writes, by partition; dies first when the partition goes.
    permits: BTreeMap<PartitionId, CancellationToken>,
    /// Consumed, not yet dispatched.
    queue: VecDeque<Consumed>,
    /// Since when the oldest of them has waited for its handful to fill.
    waiting: Option<Instant>,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Settled> + Send>>>,
    /// Rows of all handfuls under way.
    rows_in_flight: usize,
    window: Window,
    rest: Rest,
    revocations: Vec<Revocation>,
    /// Where canary records come in. Absent: there is no canary.
    canary: Option<Entries>,
    /// The right to write canary records.
    canary_permit: CancellationToken,
    /// Who waits for the canary record under way.
    canary_written: Option<oneshot::Sender<bool>>,
    /// When the commit that is under way was asked for.
    committing: Option<Instant>,
    last_commit: Instant,
    /// When it was noted last how far the partitions are settled.
    noted: Instant,
    /// When the drain must be over. Absent: not draining.
    drain: Option<Instant>,
}

/// Why the road goes on.
enum Woken {
    Settled(Settled),
    Event(Event),
    Tick,
    Linger,
    Canary(Entry),
    Stop,
}

/// Revoked partitions whose writes are awaited.
struct Revocation {
    partitions: Vec<PartitionId>,
    release: Release,
    deadline: Instant,
}

/// How often deadlines and commits are looked at.
const TICK: Duration = Duration::from_millis(20);

/// Longest that a record waits for others to share a request with.
const LINGER: Duration = Duration::from_millis(3);

/// Shortest time between two notes of how far the partitions are settled.
const NOTE: Duration = Duration::from_millis(5);

/// A commit that has not been answered for this long is asked for again.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "the road paces itself here; ledger, window and rest are given the time")]
impl<C: Consumer, S: Sink, P: Publisher> Process<C, S, P> {
    /// Puts the parts together.
    pub fn new(consumer: C, desk: Desk<S, P>, limits: Limits) -> Self {
        let (telemetry, health, sabotages) = desk.shared();
        let window = Window::new(limits.max_in_flight, desk.sink.appetite());
        for query in desk.queries.of_users() {
            telemetry.query_started(&query.name, &query.topic, query.table().name());
        }
        Self {
            consumer,
            desk: Arc::new(desk),
            limits,
            telemetry,
            health,
            sabotages,
            ledger: Ledger::default(),
            permits: BTreeMap::new(),
            queue: VecDeque::new(),
            waiting: None,
            in_flight: FuturesUnordered::new(),
            rows_in_flight: 0,
            window,
            rest: Rest::default(),
            revocations: Vec::new(),
            canary: None,
            canary_permit: CancellationToken::new(),
            canary_written: None,
            committing: None,
            last_commit: Instant::now(),
            noted: Instant::now(),
            drain: None,
        }
    }

    /// Takes canary records along, one at a time.
    pub fn with_canary(mut self, entries: Entries) -> Self {
        self.canary = Some(entries);
        self
    }

    /// Drives the road until `stop`, then drains it.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), RunProcess> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let begun = Instant::now();
            self.dispatch();
            if self.is_drained() {
                return self.leave().await;
            }
            let (state, since) = (self.state(), Instant::now());
            let linger = self.waiting.map(|waiting| waiting + LINGER);
            let wakes = async {
                tokio::select! {
                    Some(settled) = self.in_flight.next(), if !self.in_flight.is_empty() => Woken::Settled(settled),
                    event = self.consumer.next() => Woken::Event(event),
                    _ = ticks.tick() => Woken::Tick,
                    () = tokio::time::sleep_until(linger.unwrap_or(since)), if linger.is_some() => Woken::Linger,
                    Some(entry) = next_of(&mut self.canary), if self.drain.is_none() => Woken::Canary(entry),
                    () = stop.cancelled(), if self.drain.is_none() => Woken::Stop,
                }
            };
            // Records are decoded and bound while the road waits for their writes: that is work, too.
            let (woken, polled) = timed(wakes).await;
            let (awaited, handled) = (since.elapsed(), Instant::now());
            self.telemetry.time_spent(state, awaited);
            match woken {
                Woken::Settled(settled) => self.account(settled),
                Woken::Event(event) => self.handle(event)?,
                Woken::Tick => self.tick(),
                Woken::Linger => {}
                Woken::Canary(entry) => self.enter_canary(entry),
                Woken::Stop => self.begin_drain(),
            }
            let handling = handled.elapsed();
            self.telemetry.time_spent(RoadState::Busy, handling);
            self.telemetry.worked(since.duration_since(begun) + polled + handling);
            if state == RoadState::BackPressured {
                self.telemetry.waited_for_sink(awaited.saturating_sub(polled));
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), RunProcess> {
        match event {
            Event::Assigned(partitions, epoch) => self.assign(&partitions, epoch),
            Event::Records(records) => self.enter(records),
            Event::Revoked(partitions, release) => self.revoke(partitions, release),
            Event::Lost(partitions) => self.lose(&partitions),
            Event::Committed(outcome) => self.committed(outcome),
            Event::Failed(problem) => return ConsumeSnafu { problem }.fail(),
        }
        Ok(())
    }

    fn assign(&mut self, partitions: &[PartitionId], epoch: Epoch) {
        for partition in partitions {
            self.ledger.open(*partition, epoch);
            self.permits.insert(*partition, CancellationToken::new());
        }
        self.health.assign(partitions);
        self.telemetry.partitions_assigned(partitions, self.permits.len());
    }

    fn enter(&mut self, records: Vec<Consumed>) {
        self.telemetry.records_consumed(records.len());
        for record in records {
            if !self.ledger.enter(record.position) {
                continue;
            }
            if self.sabotages.has(Sabotage::CommitBeforeWrite) {
                self.ledger.settle(record.position);
            }
            match self.drain {
                None => self.queue.push_back(record),
                Some(_) => self.ledger.abandon(record.position),
            }
        }
    }

    /// Queues a canary record among all others. The ledger does not know it: nothing is committed for it.
    fn enter_canary(&mut self, Entry { record, written }: Entry) {
        self.canary_written = Some(written);
        self.queue.push_back(record);
    }

    /// Returns what the road is about to wait for.
    fn state(&self) -> RoadState {
        match (self.queue.is_empty(), self.in_flight.is_empty()) {
            (true, true) => RoadState::Idle,
            // No time wakes it, so the window is full.
            (false, _) if self.waiting.is_none() => RoadState::BackPressured,
            _ => RoadState::Busy,
        }
    }

    /// Returns the most records of a handful.
    fn appetite(&self) -> usize {
        self.desk.sink.appetite().clamp(1, self.window.rows())
    }

    /// Returns whether the window has room for the next handful of so many records at most, were it taken now. One
    /// whose records may become many rows counts as a full one.
    fn has_room(&self, appetite: usize) -> bool {
        let rows = match self.queue.front() {
            Some(next) if self.desk.queries.multiplies(next.position.partition.topic) => appetite,
            _ => appetite.min(self.queue.len()),
        };
        self.rows_in_flight + rows <= self.window.rows()
    }

    /// Begins as many writes as the window has room for.
    fn dispatch(&mut self) {
        let appetite = self.appetite();
        while !self.queue.is_empty() && self.has_room(appetite) {
            let lingered = self.waiting.is_some_and(|waiting| waiting.elapsed() >= LINGER);
            if !lingered && self.queue.len() < appetite && !self.in_flight.is_empty() {
                break;
            }
            if let Some(handful) = self.take(appetite) {
                self.rows_in_flight += handful.rows;
                let desk = Arc::clone(&self.desk);
                self.in_flight.push(Box::pin(async move { desk.settle(handful).await }));
            }
            self.waiting = None;
        }
        // Where the window is full, an answer wakes the road, not the time.
        self.waiting = match !self.queue.is_empty() && self.has_room(appetite) {
            true => self.waiting.or_else(|| Some(Instant::now())),
            false => None,
        };
        self.telemetry.rows_in_flight(self.rows_in_flight + self.queue.len());
    }

    /// Takes at most `most` records of one topic out of the queue; none if nobody may write the first of them.
    fn take(&mut self, most: usize) -> Option<Handful> {
        let topic = self.queue.front()?.position.partition.topic;
        let mut handful = Handful { topic, records: Vec::with_capacity(most), rows: most, permits: Vec::new() };
        let is_next = |record: &Consumed| record.position.partition.topic == topic;
        while handful.records.len() < most && self.queue.front().is_some_and(is_next) {
            let Some(record) = self.queue.pop_front() else { break };
            let partition = record.position.partition;
            if !handful.permits.iter().any(|(of, _)| *of == partition) {
                let permit = match self.desk.queries.is_canary(topic) {
                    true => Some(&self.canary_permit),
                    false => self.permits.get(&partition),
                };
                let Some(permit) = permit else { continue };
                handful.permits.push((partition, permit.clone()));
            }
            handful.records.push(record);
        }
        // Where records may become many rows, those of one are as many as a full request has.
        if !self.desk.queries.multiplies(topic) {
            handful.rows = handful.records.len();
        }
        (!handful.records.is_empty()).then_some(handful)
    }

    fn account(&mut self, settled: Settled) {
        self.account_one(settled);
        // More may be there: the window is refilled once for all of them.
        while let Some(Some(settled)) = self.in_flight.next().now_or_never() {
            self.account_one(settled);
        }
        self.telemetry.window_changed(self.window.rows());
        self.note_progress();
        self.release_settled();
    }

    /// Notes how far the partitions are settled, unless that was just done; the next tick notes it then.
    fn note_progress(&mut self) {
        if self.noted.elapsed() >= NOTE {
            self.noted = Instant::now();
            self.desk.progress.note(self.ledger.settled(), chrono::Utc::now().timestamp_millis());
        }
    }

    fn account_one(&mut self, Settled { records, rows, begun, failed }: Settled) {
        self.rows_in_flight -= rows;
        let is_canary = |(position, _): &(Position, Outcome)| self.desk.queries.is_canary(position.partition.topic);
        if records.iter().any(is_canary) {
            if let Some(written) = self.canary_written.take() {
                // Who waited may have been told to stop.
                let _ = written.send(records.iter().all(|(_, outcome)| *outcome == Outcome::Done));
            }
            return;
        }
        self.window.answered(rows, begun, Instant::now(), failed);
        let mut done = 0;
        for (position, outcome) in records {
            match outcome {
                Outcome::Done => {
                    done += 1;
                    self.ledger.settle(position);
                }
                Outcome::Abandoned => self.ledger.abandon(position),
            }
        }
        self.telemetry.records_settled(done);
    }

    fn tick(&mut self) {
        self.health.road.beat();
        self.note_progress();
        self.release_settled();
        let much = self.rows_in_flight + self.queue.len() > self.appetite();
        if self.rest.is_due(much, Instant::now()) {
            tokio::task::spawn_blocking(millrace_heap::give_back);
        }
        // A sabotaged worker commits at every tick: else most writes would be done before the early commit is.
        let eager = self.sabotages.has(Sabotage::CommitBeforeWrite);
        let due = eager || self.last_commit.elapsed() >= self.limits.commit_interval;
        let waiting = self.committing.is_some_and(|asked| asked.elapsed() < COMMIT_PATIENCE);
        if !due || waiting {
            return;
        }
        let offsets = self.ledger.unconfirmed();
        if !offsets.is_empty() {
            self.last_commit = Instant::now();
            self.committing = Some(self.last_commit);
            self.consumer.commit(offsets);
        }
    }

    fn committed(&mut self, outcome: Result<Offsets, String>) {
        self.committing = None;
        match outcome {
            Ok(offsets) => {
                self.telemetry.offsets_committed(offsets.len());
                self.ledger.confirm(&offsets);
            }
            Err(problem) => self.telemetry.commit_failed(&problem),
        }
    }

    /// Takes the right to write away and drops what has not begun; what is on the wire is awaited.
    fn revoke(&mut self, partitions: Vec<PartitionId>, release: Release) {
        self.withdraw(&partitions);
        let deadline = Instant::now() + self.limits.drain_timeout;
        self.revocations.push(Revocation { partitions, release, deadline });
        self.release_settled();
    }

    fn lose(&mut self, partitions: &[PartitionId]) {
        self.withdraw(partitions);
        self.ledger.close(partitions);
        self.health.lose(partitions);
        self.telemetry.partitions_lost(partitions, self.permits.len());
    }

    fn withdraw(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some(permit) = self.permits.remove(partition) {
                permit.cancel();
            }
        }
        let ledger = &mut self.ledger;
        self.queue.retain(|record| {
            let stays = !partitions.contains(&record.position.partition);
            if !stays {
                ledger.abandon(record.position);
            }
            stays
        });
    }

    /// Releases revoked partitions whose writes have ended or whose time is up.
    fn release_settled(&mut self) {
        let now = Instant::now();
        for revocation in std::mem::take(&mut self.revocations) {
            let Revocation { partitions, release, deadline } = revocation;
            let awaited: usize = partitions.iter().map(|partition| self.ledger.awaited(*partition)).sum();
            if awaited > 0 && now < deadline {
                self.revocations.push(Revocation { partitions, release, deadline });
                continue;
            }
            release.give(self.ledger.close(&partitions));
            self.health.withdraw(&partitions);
            self.telemetry.partitions_released(&partitions, self.permits.len(), awaited);
        }
    }

    fn begin_drain(&mut self) {
        self.telemetry.draining(self.rows_in_flight);
        self.health.drain();
        self.consumer.stop();
        self.drain = Some(Instant::now() + self.limits.drain_timeout);
        // Writes on the wire are awaited; those that wait for the sink to come back give up now, as the worker
        // that comes next will have to wait for it anyway.
        self.permits.values().for_each(CancellationToken::cancel);
        self.canary_permit.cancel();
        for record in self.queue.drain(..) {
            self.ledger.abandon(record.position);
        }
    }

    fn is_drained(&self) -> bool {
        self.drain.is_some_and(|deadline| self.in_flight.is_empty() || Instant::now() >= deadline)
    }

    /// Commits for the last time and leaves the group.
    async fn leave(mut self) -> Result<(), RunProcess> {
        let under_way = self.rows_in_flight;
        // The consumer waits for releases on the thread that has to close it.
        for Revocation { partitions, release, .. } in std::mem::take(&mut self.revocations) {
            release.give(self.ledger.close(&partitions));
        }
        let assigned = self.ledger.assigned();
        let offsets = self.ledger.close(&assigned);
        // What the drain has left over, and a little more: leaving must be tried even after a slow drain.
        let left = self.drain.unwrap_or_else(Instant::now).max(Instant::now() + Duration::from_secs(5));
        let closed = tokio::time::timeout_at(left, self.consumer.close(offsets)).await;
        self.telemetry.drained(under_way);
        match closed {
            Ok(closed) => closed.context(LeaveGroupSnafu)?,
            Err(_) => return LeaveInTimeSnafu.fail(),
        }
        ensure!(under_way == 0, DrainSnafu { under_way, limit: self.limits.drain_timeout });
        Ok(())
    }
}

/// Waits for the next canary record; for ever, where there is no canary.
async fn next_of(canary: &mut Option<Entries>) -> Option<Entry> {
    match canary {
        Some(entries) => entries.recv().await,
        None => std::future::pending().await,
    }
}

/// Awaits a future. Returns what it gave, and for how much of the time it was polled.
#[expect(clippy::disallowed_methods, reason = "work is timed")]
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = std::pin::pin!(future);
    let mut polled = Duration::ZERO;
    let output = std::future::poll_fn(|context| {
        let begun = Instant::now();
        let poll = future.as_mut().poll(context);
        polled += begun.elapsed();
        poll
    })
    .await;
    (output, polled)
}
