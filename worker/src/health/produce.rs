//! Health of `worker produce`: ready means that Kafka answers; a broken source shows, but does not make it unready.

use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_terms::{SourcePhase, SourceState};
use serde::Serialize;

use super::{Health, Pulse, Readiness};

/// What a producer knows about itself.
#[derive(Debug)]
pub struct ProduceHealth {
    state: Mutex<State>,
    /// Heartbeats of the lanes, in the order of the sources.
    pub lanes: Vec<Pulse>,
    /// Heartbeat of the loop that asks Kafka whether it is there.
    pub watch: Pulse,
}

#[derive(Debug)]
struct State {
    /// Why Kafka cannot be used. Absent: it can.
    kafka: Option<String>,
    draining: bool,
    sources: Vec<SourceReport>,
}

/// What is to be said about one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// What it is doing, or why its last fetch failed.
    pub state: SourcePhase,
    /// What is wrong. Empty when nothing is.
    pub message: String,
    /// Records that Kafka has acknowledged since the start.
    pub acknowledged: u64,
    /// Records that could not be read or mapped since the start.
    pub rejected: u64,
    /// When the source last gave what was asked of it, in milliseconds since 1970. Absent: not yet.
    #[serde(skip)]
    pub last_success: Option<i64>,
}

impl ProduceHealth {
    /// Makes the health of a producer that has not reached Kafka yet.
    pub fn new(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let starting = |(name, topic)| SourceReport {
            name,
            topic,
            state: SourcePhase::Starting,
            message: String::new(),
            acknowledged: 0,
            rejected: 0,
            last_success: None,
        };
        let sources: Vec<SourceReport> = sources.into_iter().map(starting).collect();
        let lanes = sources.iter().map(|_| Pulse::default()).collect();
        let kafka = Some("not connected to kafka yet".to_owned());
        let state = Mutex::new(State { kafka, draining: false, sources });
        Self { state, lanes, watch: Pulse::default() }
    }

    /// Notes whether Kafka can be used; returns whether that is news.
    pub fn kafka(&self, problem: Option<String>) -> bool {
        let mut state = self.lock();
        let news = state.kafka.is_some() != problem.is_some();
        state.kafka = problem;
        news
    }

    /// Returns why Kafka cannot be used; `None`: it can.
    pub fn kafka_problem(&self) -> Option<String> {
        self.lock().kafka.clone()
    }

    /// Changes the report of the source at `index`.
    pub fn source(&self, index: usize, change: impl FnOnce(&mut SourceReport)) {
        change(&mut self.lock().sources[index]);
    }

    /// Returns how the sources are doing, as the operator is told.
    pub fn sources(&self) -> Vec<SourceState> {
        let state = |report: &SourceReport| SourceState {
            name: report.name.clone(),
            state: report.state,
            message: report.message.clone(),
            acknowledged: report.acknowledged,
            rejected: report.rejected,
            last_success: report.last_success,
        };
        self.lock().sources.iter().map(state).collect()
    }

    /// Notes that the worker is stopping.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health for ProduceHealth {
    fn readiness(&self) -> Readiness {
        let state = self.lock();
        let (ready, reason, message) = match (&state.kafka, state.draining) {
            (_, true) => (false, "Draining", "sending what is under way before the end".to_owned()),
            (Some(problem), false) => (false, "KafkaUnavailable", problem.clone()),
            (None, false) => (true, "Running", String::new()),
        };
        Readiness { ready, reason, message, details: serde_json::json!({"sources": state.sources}) }
    }

    fn pulses(&self) -> Vec<(String, Pulse)> {
        let state = self.lock();
        let mut pulses = vec![("kafka".to_owned(), self.watch.clone())];
        // Told to stop, the lanes end one by one, each by its own deadline.
        if !state.draining {
            let names = state.sources.iter().map(|source| source.name.clone());
            pulses.extend(names.zip(self.lanes.iter().cloned()));
        }
        pulses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_source_shows_without_making_the_worker_unready() {
        let health = ProduceHealth::new([("users".to_owned(), "users_created".to_owned())]);
        assert_eq!(health.readiness().reason, "KafkaUnavailable");
        assert!(health.kafka(None));
        health.source(0, |source| {
            source.state = SourcePhase::BadAnswer;
            source.message = "'example.com' answers 404 Not Found".to_owned();
        });
        insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!(health.readiness()) });
    }

    #[test]
    fn each_lane_must_go_round_until_the_worker_drains() {
        let health = ProduceHealth::new(["users", "orders"].map(|name| (name.to_owned(), format!("{name}_created"))));
        let names = || health.pulses().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(), ["kafka", "users", "orders"]);
        health.drain();
        assert_eq!(names(), ["kafka"]);
    }
}
