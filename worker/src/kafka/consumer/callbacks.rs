//! What librdkafka calls on the consumer thread: rebalances, the outcome of commits, logs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::{Event, Release};
use crate::health::Pulse;
use crate::message::{Epoch, Offsets, PartitionId};

/// What a release may take beyond the time for awaiting writes, which the road watches itself.
const MARGIN: Duration = Duration::from_secs(2);

/// The state shared between the polling loop and the callbacks it runs.
pub(super) struct Callbacks {
    /// The topics that the queries read, in order.
    pub(super) topics: Vec<String>,
    /// Whether partitions that come now are to be paused.
    pub(super) paused: AtomicBool,
    /// Whether the road is gone and revoked partitions need no release.
    pub(super) closing: AtomicBool,
    events: UnboundedSender<Event>,
    assignment: Mutex<Assignment>,
    drain_timeout: Duration,
    pulse: Pulse,
}

#[derive(Default)]
struct Assignment {
    epochs: HashMap<PartitionId, Epoch>,
    last: Epoch,
}

impl Callbacks {
    pub(super) fn new(topics: Vec<String>, drain_timeout: Duration, pulse: Pulse) -> (Self, UnboundedReceiver<Event>) {
        // Not bounded by count: records are bounded in bytes before they come here, and events must never wait.
        let (events, received) = unbounded_channel();
        let callbacks = Self {
            topics,
            paused: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            events,
            assignment: Mutex::default(),
            drain_timeout,
            pulse,
        };
        (callbacks, received)
    }

    /// Tells the road; a road that is gone needs nothing any more.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Returns under which assignment a partition is consumed now.
    pub(super) fn epoch(&self, partition: PartitionId) -> Option<Epoch> {
        self.lock().epochs.get(&partition).copied()
    }

    /// Returns offsets in librdkafka's form.
    pub(super) fn list(&self, offsets: &Offsets) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (PartitionId { topic, partition }, offset) in offsets {
            list.add_partition_offset(&self.topics[*topic], *partition, Offset::Offset(*offset))?;
        }
        Ok(list)
    }

    fn lock(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<PartitionId> {
        let elements = list.elements();
        let known = elements.iter().filter_map(|element| {
            let topic = self.topics.iter().position(|topic| topic == element.topic())?;
            Some(PartitionId { topic, partition: element.partition() })
        });
        known.collect()
    }

    fn assigned(&self, list: &TopicPartitionList) {
        let partitions = self.partitions(list);
        let mut assignment = self.lock();
        assignment.last = Epoch(assignment.last.0 + 1);
        let epoch = assignment.last;
        assignment.epochs.extend(partitions.iter().map(|partition| (*partition, epoch)));
        drop(assignment);
        self.tell(Event::Assigned(partitions, epoch));
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = self.partitions(list);
        self.lock().epochs.retain(|partition, _| !partitions.contains(partition));
        if self.closing.load(Ordering::Relaxed) {
            return;
        }
        if consumer.assignment_lost() {
            self.tell(Event::Lost(partitions));
            return;
        }
        let offsets = self.await_release(partitions);
        if offsets.is_empty() {
            return;
        }
        let committed = self.list(&offsets).and_then(|list| consumer.commit(&list, CommitMode::Sync));
        if let Err(error) = committed {
            // The next owner consumes these records again, which changes nothing in the table.
            tracing::warn!(%error, "cannot commit the offsets of revoked partitions");
        }
    }

    /// Waits for the road to finish what it has of these partitions.
    #[expect(clippy::disallowed_methods, reason = "a rebalance waits until a deadline, on a thread of librdkafka")]
    fn await_release(&self, partitions: Vec<PartitionId>) -> Offsets {
        let (release, released) = sync_channel(1);
        self.tell(Event::Revoked(partitions, Release::new(release)));
        let deadline = Instant::now() + self.drain_timeout + MARGIN;
        while Instant::now() < deadline {
            self.pulse.beat();
            match released.recv_timeout(Duration::from_millis(200)) {
                Ok(offsets) => return offsets,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Offsets::new()
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Told before the partitions are fetched from, so that no record comes before its assignment.
            Rebalance::Assign(list) => self.assigned(list),
            Rebalance::Revoke(list) => self.revoked(consumer, list),
            Rebalance::Error(error) => tracing::error!(%error, "the group cannot rebalance"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else { return };
        if list.count() == 0 {
            return;
        }
        match self.paused.load(Ordering::Relaxed) {
            true => super::report("pause", consumer.pause(list)),
            // librdkafka keeps the pause of a partition that went while it was paused, and `resume` does not reach
            // what is not assigned: without this such a partition would come back and stand still for ever.
            false => super::report("resume", consumer.resume(list)),
        }
    }
}
