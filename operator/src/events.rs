//! Publishes events on pipelines. The same thing said again within a few minutes is counted by its first event.
//!
//! kube's recorder takes events of one reason for the same, whatever they say: the second table that is created would
//! be told of as the first one, twice. So each note has a recorder of its own for as long as one counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};

/// How long a recorder counts what is said again (kube's `CACHE_TTL`).
const COUNTED_FOR: Duration = Duration::from_secs(6 * 60);

/// Publishes events; clones count together.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    recent: Arc<Mutex<HashMap<Said, (Recorder, Instant)>>>,
}

/// Of which object, by its UID, and what.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Said {
    uid: Option<String>,
    note: Option<String>,
}

impl Events {
    /// Makes a publisher; `instance` is the operator's pod.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "millrace-operator".to_owned(), instance: Some(instance) };
        Self { client, reporter, recent: Arc::default() }
    }

    /// Publishes an event on an object.
    pub async fn publish(&self, event: &Event, object: &ObjectReference) -> Result<(), kube::Error> {
        self.recorder_of(event, object).publish(event, object).await
    }

    #[expect(clippy::disallowed_methods, reason = "how long an event is counted for is no fact of a pipeline")]
    fn recorder_of(&self, event: &Event, object: &ObjectReference) -> Recorder {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (_, used)| used.elapsed() < COUNTED_FOR);
        let said = Said { uid: object.uid.clone(), note: event.note.clone() };
        let new = || (Recorder::new(self.client.clone(), self.reporter.clone()), Instant::now());
        let (recorder, used) = recent.entry(said).or_insert_with(new);
        *used = Instant::now();
        recorder.clone()
    }
}
