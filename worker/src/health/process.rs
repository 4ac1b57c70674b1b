//! Health of `worker process`: ready means that the group was joined and that rows are being taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::{Health, Pulse, Readiness};
use crate::message::PartitionId;

/// What a processor knows about itself.
#[derive(Debug)]
pub struct ProcessHealth {
    /// The topics that the queries read, in order.
    topics: Vec<String>,
    state: Mutex<State>,
    /// Whether `state.sink` is anything but healthy; read at each acknowledged row, so not behind the lock.
    troubled: AtomicBool,
    /// The consumer thread's heartbeat.
    pub consumer: Pulse,
    /// The road's heartbeat.
    pub road: Pulse,
}

#[derive(Debug)]
struct State {
    joined: bool,
    assigned: BTreeSet<PartitionId>,
    sink: SinkState,
    draining: bool,
}

/// How it stands with the sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SinkState {
    /// There is no session yet.
    Connecting(String),
    /// The last write was acknowledged, or there was none since the statements were prepared.
    Healthy,
    /// The last write was not acknowledged.
    Unavailable(String),
    /// Table and settings do not match.
    Mismatched(String),
}

impl ProcessHealth {
    /// Makes the health of a processor that has not joined and is not connected.
    pub fn new(topics: Vec<String>) -> Self {
        let sink = SinkState::Connecting("not connected to cassandra yet".to_owned());
        let state = State { joined: false, assigned: BTreeSet::new(), sink, draining: false };
        Self {
            topics,
            state: Mutex::new(state),
            troubled: AtomicBool::new(true),
            consumer: Pulse::default(),
            road: Pulse::default(),
        }
    }

    /// Notes partitions that came, perhaps none; the group is joined from then on.
    pub fn assign(&self, partitions: &[PartitionId]) {
        let mut state = self.lock();
        state.joined = true;
        state.assigned.extend(partitions);
    }

    /// Notes partitions that went.
    pub fn withdraw(&self, partitions: &[PartitionId]) {
        self.lock().assigned.retain(|partition| !partitions.contains(partition));
    }

    /// Notes partitions that went without our release: the group has put this worker out, and it must join again.
    pub fn lose(&self, partitions: &[PartitionId]) {
        self.withdraw(partitions);
        self.lock().joined = false;
    }

    /// Notes that the worker is stopping.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Notes how it stands with the sink; returns whether that is news.
    pub fn sink(&self, sink: SinkState) -> bool {
        let mut state = self.lock();
        self.troubled.store(sink != SinkState::Healthy, Ordering::Relaxed);
        let news = std::mem::discriminant(&state.sink) != std::mem::discriminant(&sink);
        state.sink = sink;
        news
    }

    /// Returns whether table and settings did not match when last looked at.
    pub fn is_mismatched(&self) -> bool {
        matches!(self.lock().sink, SinkState::Mismatched(_))
    }

    /// Notes an acknowledged row; returns whether the sink was in trouble before.
    pub fn acknowledged(&self) -> bool {
        self.troubled.load(Ordering::Relaxed) && self.sink(SinkState::Healthy)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn verdict(&self) -> (bool, &'static str, String) {
        if self.draining {
            return (false, "Draining", "finishing what is under way before the end".to_owned());
        }
        match &self.sink {
            SinkState::Connecting(problem) | SinkState::Unavailable(problem) => {
                return (false, "CassandraUnavailable", problem.clone());
            }
            SinkState::Mismatched(problem) => return (false, "SchemaMismatch", problem.clone()),
            SinkState::Healthy => {}
        }
        match self.joined {
            true => (true, "Running", String::new()),
            false => (false, "Joining", "waits for the group to assign partitions".to_owned()),
        }
    }
}

impl Health for ProcessHealth {
    fn readiness(&self) -> Readiness {
        let state = self.lock();
        let (ready, reason, message) = state.verdict();
        let mut assigned: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for PartitionId { topic, partition } in &state.assigned {
            assigned.entry(&self.topics[*topic]).or_default().push(*partition);
        }
        Readiness { ready, reason, message, details: json!({"joined": state.joined, "assigned": assigned}) }
    }

    fn pulses(&self) -> Vec<(String, Pulse)> {
        vec![("consumer".to_owned(), self.consumer.clone()), ("road".to_owned(), self.road.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_joined_and_connected_even_without_a_partition() {
        let health = ProcessHealth::new(vec!["users".to_owned()]);
        assert_eq!(health.readiness().reason, "CassandraUnavailable");
        health.sink(SinkState::Healthy);
        assert_eq!(health.readiness().reason, "Joining");
        health.assign(&[]);
        assert!(health.readiness().ready);
        health.assign(&[PartitionId { topic: 0, partition: 2 }, PartitionId { topic: 0, partition: 0 }]);
        insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!(health.readiness()) });
    }

    #[test]
    fn is_not_ready_while_writes_fail() {
        let health = ProcessHealth::new(Vec::new());
        health.assign(&[]);
        assert!(health.acknowledged());
        assert!(!health.acknowledged());
        assert!(health.sink(SinkState::Unavailable("timed out".to_owned())));
        assert!(!health.sink(SinkState::Unavailable("timed out again".to_owned())));
        assert!(!health.readiness().ready);
        health.sink(SinkState::Mismatched("no table".to_owned()));
        assert_eq!(health.readiness().reason, "SchemaMismatch");
        assert!(health.acknowledged());
        assert!(health.readiness().ready);
        health.drain();
        assert_eq!(health.readiness().reason, "Draining");
    }

    #[test]
    fn is_joining_again_after_its_partitions_were_lost() {
        let partition = PartitionId { topic: 0, partition: 0 };
        let health = ProcessHealth::new(vec!["users".to_owned()]);
        health.sink(SinkState::Healthy);
        health.assign(&[partition]);
        health.lose(&[partition]);
        assert_eq!(health.readiness().reason, "Joining");
        assert_eq!(health.readiness().details, json!({"joined": false, "assigned": {}}));
        health.assign(&[]);
        assert!(health.readiness().ready);
    }
}
