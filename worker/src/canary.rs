//! The canary: a record of the pipeline's own that is sent, consumed, written and read back, again and again.
//!
//! ```text
//! publish -> (Kafka) -> fetch -> road: queue, decode, bind, sink.write -> sink.read_back
//! ```
//!
//! Producer, road, sink and session are those of all other records. Its consumer is one of its own, without a group: a
//! partition that the group assigned would take the place of one with records of users (docs/decisions/0033-canary.md).
//! One record is in flight at a time, so that nothing piles up while a store is away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_terms::{CANARY_KEY, CanaryRead, CanaryReport, CanarySettings, CanaryWait, Station};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::budget::Budget;
use crate::kafka::{Fetch, Placed, Publisher};
use crate::message::{Collector, Consumed, Epoch, Outgoing, PartitionId, Position};
use crate::sink::Sink;
use crate::telemetry::Telemetry;

/// Wait before something is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long a record is looked for, in Kafka and then in Cassandra, before another one is sent: it may be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A canary record on its way into the road.
#[derive(Debug)]
pub struct Entry {
    /// The record as it came from Kafka.
    pub record: Consumed,
    /// Told whether its row is acknowledged.
    pub written: oneshot::Sender<bool>,
}

/// The road's end of the way into it.
pub type Entries = UnboundedReceiver<Entry>;

/// How far the canary has come; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Canary {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The station that is not passed, and since when a record is due.
    waits: Option<(Station, Instant)>,
    /// When the last record was read back, and how long it took.
    read: Option<(Instant, Duration)>,
}

#[expect(clippy::disallowed_methods, reason = "a latency is the clock")]
impl Canary {
    /// Returns how far it has come.
    pub fn report(&self) -> CanaryReport {
        let millis = |time: Duration| time.as_millis() as u64;
        let state = self.lock();
        CanaryReport {
            waits: state.waits.map(|(station, since)| CanaryWait { station, since: millis(since.elapsed()) }),
            read: state.read.map(|(at, took)| CanaryRead { ago: millis(at.elapsed()), latency: millis(took) }),
        }
    }

    /// Notes the next station; the first one begins the wait.
    fn awaits(&self, station: Station) {
        let mut state = self.lock();
        let since = state.waits.map_or_else(Instant::now, |(_, since)| since);
        state.waits = Some((station, since));
    }

    fn arrived(&self, begun: Instant) {
        let mut state = self.lock();
        state.waits = None;
        state.read = Some((Instant::now(), begun.elapsed()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What takes the canary from station to station.
pub struct Flight<P, S, F> {
    /// Topic and interval.
    pub settings: CanarySettings,
    /// Index of its topic among those of the road.
    pub topic: usize,
    /// Index of its query among those of the sink.
    pub query: usize,
    /// The producer.
    pub publisher: P,
    /// The canary's own consumer.
    pub fetch: F,
    /// The way into the road.
    pub entries: UnboundedSender<Entry>,
    /// The sink that the road writes to.
    pub sink: S,
    /// The bound of the worker's memory.
    pub budget: Budget,
    /// Counts and logs.
    pub telemetry: Telemetry,
    /// Told how far it has come.
    pub canary: Canary,
}

impl<P: Publisher, S: Sink, F: Fetch> Flight<P, S, F> {
    /// Sends one record after the other, for ever.
    pub async fn fly(self) {
        let mut ticks = tokio::time::interval(self.settings.interval.get());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            while let Err(problem) = self.attempt().await {
                self.telemetry.canary_delayed(&problem);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Takes one record along the whole road; the error says why it has not come to its end.
    #[expect(clippy::disallowed_methods, reason = "a latency is the clock")]
    async fn attempt(&self) -> Result<(), String> {
        let begun = Instant::now();
        let id = Uuid::new_v4().to_string();
        let outgoing = Outgoing {
            topic: self.settings.topic.clone(),
            key: Some(id.clone().into_bytes()),
            payload: Some(format!(r#"{{"{CANARY_KEY}":"{id}"}}"#).into_bytes()),
            headers: Vec::new(),
        };
        self.canary.awaits(Station::Produced);
        let placed = self.publisher.publish(&outgoing).await.map_err(|error| error.to_string())?;

        self.canary.awaits(Station::Consumed);
        let payload = self.consume(placed).await?;
        if outgoing.payload.as_ref() != Some(&payload) {
            return Err("another record is in its place in Kafka".to_owned());
        }

        self.canary.awaits(Station::Written);
        let (written, outcome) = oneshot::channel();
        let entry = Entry { record: self.record(placed, &id, &payload), written };
        // A road that has ended drops the entry, and with it the sender of the outcome.
        let _ = self.entries.send(entry);
        match outcome.await {
            Ok(true) => {}
            Ok(false) => return Err("its row is not written".to_owned()),
            Err(_) => return Err("the road has ended".to_owned()),
        }

        self.canary.awaits(Station::Read);
        self.read_back(&id).await?;
        self.canary.arrived(begun);
        Ok(())
    }

    /// Returns the record as the road takes it. No assignment of the group stands behind it.
    fn record(&self, placed: Placed, id: &str, payload: &[u8]) -> Consumed {
        let partition = PartitionId { topic: self.topic, partition: placed.partition };
        let position = Position { partition, epoch: Epoch::default(), offset: placed.offset };
        let mut collector = Collector::new(&self.budget, 0);
        collector.push(position, Some(id.as_bytes()), Some(payload), std::iter::empty());
        collector.finish().pop().expect("one record was pushed")
    }

    /// Returns the value of the record at its place in Kafka.
    #[expect(clippy::disallowed_methods, reason = "a record that does not come is given up after a time")]
    async fn consume(&self, placed: Placed) -> Result<Vec<u8>, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let problem = match self.fetch.fetch(&self.settings.topic, placed).await {
                Ok(Some(payload)) => return Ok(payload),
                Ok(None) => "it has not come from Kafka".to_owned(),
                Err(problem) => problem,
            };
            if Instant::now() >= until {
                return Err(problem);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Waits until the row is there.
    #[expect(clippy::disallowed_methods, reason = "a row that is not there is given up after a time")]
    async fn read_back(&self, id: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let problem = match self.sink.read_back(self.query, id).await {
                Ok(true) => return Ok(()),
                Ok(false) => "its row is written and not there".to_owned(),
                Err(problem) => problem,
            };
            if Instant::now() >= until {
                return Err(problem);
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
