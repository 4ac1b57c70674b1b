//! The Kafka source: all partitions of a topic of another cluster.
//!
//! The position is kept in a consumer group of that cluster, and only behind what our own brokers have acknowledged
//! ([`GroupKeeper`]). Partitions are assigned by hand, since one pod reads them all: nothing rebalances, and a lane that
//! waits for our brokers for an hour is not taken for dead. librdkafka blocks, and so is asked on threads that may.

mod reader;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millrace_terms::causes::chain_of;
use millrace_terms::{KafkaSourceSettings, PipelineName};
use tokio::time::{Instant, sleep_until};

use super::{AcceptAnswerSnafu, AwaitEndpointSnafu, Batch, FetchRecords, Source};
use crate::backoff::Backoff;
use crate::cursor::{KeepMarks, Mark};
use reader::{Polled, Reader};

/// First and longest wait between attempts to reach the cluster.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// The reader, while there is one: shared by the source and its keeper.
type Slot = Arc<Mutex<Option<Arc<Reader>>>>;

/// A topic of another cluster.
pub struct KafkaSource {
    settings: KafkaSourceSettings,
    pipeline: PipelineName,
    /// Bytes that librdkafka may fetch ahead.
    ahead: u64,
    slot: Slot,
    backoff: Backoff,
    due: Instant,
}

impl KafkaSource {
    /// Makes the source; connects when it is first asked. Of `buffer_memory` a quarter is for what is fetched ahead.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    pub fn new(settings: &KafkaSourceSettings, pipeline: &PipelineName, buffer_memory: u64) -> Self {
        Self {
            settings: settings.clone(),
            pipeline: pipeline.clone(),
            ahead: buffer_memory / 4,
            slot: Slot::default(),
            backoff: Backoff::new(RETRY.0, RETRY.1),
            due: Instant::now(),
        }
    }

    /// Returns what keeps this source's position.
    pub fn keeper(&self) -> GroupKeeper {
        GroupKeeper { slot: Arc::clone(&self.slot) }
    }

    /// Connects, and begins where the group stands. What that says of lost records is an error, once.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    async fn reader(&mut self) -> Result<Arc<Reader>, FetchRecords> {
        if let Some(reader) = lock(&self.slot).clone() {
            return Ok(reader);
        }
        sleep_until(self.due).await;
        let (settings, pipeline, ahead) = (self.settings.clone(), self.pipeline.clone(), self.ahead);
        let opened = tokio::task::spawn_blocking(move || Reader::open(&settings, &pipeline, ahead)).await;
        match opened.expect("opening a topic does not panic") {
            Ok((reader, missing)) => {
                self.backoff.reset();
                let reader = Arc::new(reader);
                *lock(&self.slot) = Some(Arc::clone(&reader));
                match missing {
                    None => Ok(reader),
                    Some(problem) => AcceptAnswerSnafu { problem }.fail(),
                }
            }
            Err(error) => {
                self.due = Instant::now() + self.backoff.next_delay();
                AwaitEndpointSnafu { problem: chain_of(&error) }.fail()
            }
        }
    }
}

impl Source for KafkaSource {
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        loop {
            let reader = self.reader().await?;
            let polled = tokio::task::spawn_blocking(move || reader.poll()).await;
            match polled.expect("reading a topic does not panic") {
                Polled::Records(batch) => return Ok(batch),
                Polled::Nothing => {}
                Polled::Unavailable(problem) => return AwaitEndpointSnafu { problem }.fail(),
                Polled::BeginAgain(problem) => {
                    *lock(&self.slot) = None;
                    self.due = Instant::now() + self.backoff.next_delay();
                    return AwaitEndpointSnafu { problem }.fail();
                }
            }
        }
    }
}

/// Keeps the position of a Kafka source in its consumer group.
pub struct GroupKeeper {
    slot: Slot,
}

impl KeepMarks for GroupKeeper {
    fn keep(&mut self, marks: Vec<Mark>) -> BoxFuture<'static, Result<(), String>> {
        let reader = lock(&self.slot).clone();
        async move {
            let reader = reader.ok_or("there is no connection to the other cluster")?;
            let committed = tokio::task::spawn_blocking(move || reader.commit(&marks)).await;
            committed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

fn lock(slot: &Slot) -> std::sync::MutexGuard<'_, Option<Arc<Reader>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
