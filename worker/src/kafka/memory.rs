//! Kafka in memory for tests: topics, one consumer group, and a fault for each thing that can go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    AwaitBrokerSnafu, CloseConsumer, Consumer, Event, Fetch, Placed, PublishRecord, Publisher, Receipt,
    RefuseRecordSnafu, Release,
};
use crate::budget::Budget;
use crate::message::{Collector, Consumed, Epoch, Header, Offsets, Outgoing, PartitionId, Position};

/// A broker with one partition for each topic.
#[derive(Clone, Debug, Default)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, Vec<Outgoing>>,
    committed: Offsets,
    /// How many sends fail before the next one succeeds.
    refuse_sends: u32,
    /// Whether sends are neither acknowledged nor refused.
    silent: bool,
    /// Topics of which the same is true, and whose records are lost.
    silent_topics: BTreeSet<String>,
    /// Payloads longer than this are refused for good.
    largest: Option<usize>,
    /// How many background commits fail before the next one succeeds.
    refuse_commits: u32,
    /// Whether records that are read by their place do not come.
    withhold: bool,
}

impl MemoryBroker {
    /// Returns the records of a topic in order.
    pub fn records(&self, topic: &str) -> Vec<Outgoing> {
        self.lock().topics.get(topic).cloned().unwrap_or_default()
    }

    /// Returns the committed offsets of the group.
    pub fn committed(&self) -> Offsets {
        self.lock().committed.clone()
    }

    /// Appends a record, as another producer would.
    pub fn append(&self, record: Outgoing) {
        self.lock().topics.entry(record.topic.clone()).or_default().push(record);
    }

    /// Lets the next `count` sends fail as with an unreachable broker.
    pub fn refuse_sends(&self, count: u32) {
        self.lock().refuse_sends = count;
    }

    /// Leaves the receipts of all sends from now on open, as while all brokers are away.
    pub fn fall_silent(&self) {
        self.lock().silent = true;
    }

    /// Does the same for one topic, whose records do not arrive either.
    pub fn fall_silent_for(&self, topic: &str) {
        self.lock().silent_topics.insert(topic.to_owned());
    }

    /// Takes records of all topics again, from those who ask from now on.
    pub fn speak(&self) {
        let mut state = self.lock();
        state.silent = false;
        state.silent_topics.clear();
    }

    /// Refuses payloads longer than `length`, for good.
    pub fn refuse_longer(&self, length: usize) {
        self.lock().largest = Some(length);
    }

    /// Lets the next `count` background commits fail.
    pub fn refuse_commits(&self, count: u32) {
        self.lock().refuse_commits = count;
    }

    /// Keeps back records that are read by their place, or no longer.
    pub fn withhold(&self, withhold: bool) {
        self.lock().withhold = withhold;
    }

    /// Joins the group with one member that consumes topics.
    pub fn join(&self, topics: &[&str], budget: Budget) -> (MemoryConsumer, Coordinator) {
        let (events, received) = unbounded_channel();
        let coordinator = Coordinator { broker: self.clone(), events, epoch: 0 };
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let consumer = MemoryConsumer {
            broker: self.clone(),
            topics,
            budget,
            events: received,
            positions: BTreeMap::new(),
            outcomes: VecDeque::new(),
            stopped: false,
        };
        (consumer, coordinator)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryBroker {
    fn accept(&self, record: &Outgoing) -> Result<Placed, PublishRecord> {
        let topic = &record.topic;
        let mut state = self.lock();
        if state.refuse_sends > 0 {
            state.refuse_sends -= 1;
            return AwaitBrokerSnafu { topic, problem: "no broker" }.fail();
        }
        let length = record.payload.as_ref().map_or(0, Vec::len);
        if state.largest.is_some_and(|largest| length > largest) {
            return RefuseRecordSnafu { topic, problem: "too large" }.fail();
        }
        let records = state.topics.entry(topic.clone()).or_default();
        records.push(record.clone());
        Ok(Placed { partition: 0, offset: records.len() as i64 - 1 })
    }
}

impl Publisher for MemoryBroker {
    fn publish(&self, record: &Outgoing) -> Receipt {
        let state = self.lock();
        let silent = state.silent || state.silent_topics.contains(&record.topic);
        drop(state);
        if silent {
            return Box::pin(std::future::pending());
        }
        let accepted = self.accept(record);
        Box::pin(async {
            tokio::task::yield_now().await;
            accepted
        })
    }
}

impl Fetch for MemoryBroker {
    fn fetch(&self, topic: &str, placed: Placed) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> {
        let state = self.lock();
        let place = usize::try_from(placed.offset).ok().filter(|_| !state.withhold);
        let record = place.and_then(|place| state.topics.get(topic)?.get(place));
        let payload = record.and_then(|record| record.payload.clone());
        async { Ok(payload) }.boxed()
    }
}

/// The group's coordinator, as the test plays it.
#[derive(Debug)]
pub struct Coordinator {
    broker: MemoryBroker,
    events: UnboundedSender<Event>,
    epoch: u64,
}

impl Coordinator {
    /// Assigns these topics; consumption starts at the committed offsets.
    pub fn assign(&mut self, topics: &[usize]) {
        self.epoch += 1;
        self.tell(Event::Assigned(partitions(topics), Epoch(self.epoch)));
    }

    /// Revokes these topics; what the member releases is committed by [`Revocation::finish`].
    pub fn revoke(&mut self, topics: &[usize]) -> Revocation {
        let (release, released) = sync_channel(1);
        self.tell(Event::Revoked(partitions(topics), Release::new(release)));
        Revocation { broker: self.broker.clone(), released }
    }

    /// Takes these topics away without asking.
    pub fn lose(&mut self, topics: &[usize]) {
        self.tell(Event::Lost(partitions(topics)));
    }

    /// Lets the consumer fail for good.
    pub fn fail(&mut self) {
        self.tell(Event::Failed("fenced".to_owned()));
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// A revocation that waits for its release.
#[derive(Debug)]
pub struct Revocation {
    broker: MemoryBroker,
    released: Receiver<Offsets>,
}

impl Revocation {
    /// Returns what was released and commits it, or nothing while the member still holds the partitions.
    pub fn finish(&self) -> Option<Offsets> {
        let offsets = self.released.try_recv().ok()?;
        self.broker.lock().committed.extend(offsets.clone());
        Some(offsets)
    }
}

fn partitions(topics: &[usize]) -> Vec<PartitionId> {
    topics.iter().map(|topic| PartitionId { topic: *topic, partition: 0 }).collect()
}

/// A member of the group.
#[derive(Debug)]
pub struct MemoryConsumer {
    broker: MemoryBroker,
    topics: Vec<String>,
    budget: Budget,
    events: UnboundedReceiver<Event>,
    positions: BTreeMap<PartitionId, (Epoch, usize)>,
    outcomes: VecDeque<Event>,
    stopped: bool,
}

/// Most records of one hand-over.
const CHUNK: usize = 16;

impl MemoryConsumer {
    /// Takes note of what the coordinator says on its way to the road.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Assigned(partitions, epoch) => {
                let committed = self.broker.committed();
                let start = |partition| committed.get(partition).copied().unwrap_or_default() as usize;
                self.positions.extend(partitions.iter().map(|partition| (*partition, (*epoch, start(partition)))));
            }
            Event::Revoked(partitions, _) | Event::Lost(partitions) => {
                self.positions.retain(|partition, _| !partitions.contains(partition));
            }
            Event::Records(_) | Event::Committed(_) | Event::Failed(_) => {}
        }
    }

    fn fetch(&mut self) -> Vec<Consumed> {
        let mut fetched = Collector::new(&self.budget, 0);
        if self.stopped {
            return Vec::new();
        }
        for (partition, (epoch, next)) in &mut self.positions {
            let records = self.broker.records(&self.topics[partition.topic]);
            for record in records.iter().skip(*next).take(CHUNK) {
                if self.budget.is_full() {
                    return fetched.finish();
                }
                let Outgoing { topic: _, key, payload, headers } = record;
                let headers = headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
                let position = Position { partition: *partition, epoch: *epoch, offset: *next as i64 };
                fetched.push(position, key.as_deref(), payload.as_deref(), headers);
                *next += 1;
            }
        }
        fetched.finish()
    }
}

impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(outcome) = self.outcomes.pop_front() {
                return outcome;
            }
            if let Ok(event) = self.events.try_recv() {
                self.follow(&event);
                return event;
            }
            let records = self.fetch();
            if !records.is_empty() {
                return Event::Records(records);
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    fn commit(&mut self, offsets: Offsets) {
        let mut state = self.broker.lock();
        let outcome = match state.refuse_commits {
            0 => {
                state.committed.extend(offsets.clone());
                Ok(offsets)
            }
            _ => {
                state.refuse_commits -= 1;
                Err("the coordinator is away".to_owned())
            }
        };
        self.outcomes.push_back(Event::Committed(outcome));
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    async fn close(self, offsets: Offsets) -> Result<(), CloseConsumer> {
        self.broker.lock().committed.extend(offsets);
        Ok(())
    }
}

/// Returns a record for `topic` with a text key and value, as a producer would send it.
pub fn record(topic: &str, key: &str, payload: &str) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        key: Some(key.as_bytes().to_vec()),
        payload: Some(payload.as_bytes().to_vec()),
        headers: vec![Header::text(crate::message::SOURCE_HEADER, "memory")],
    }
}
