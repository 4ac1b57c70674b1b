//! One record's way: decoded, bound, written and acknowledged, or sent to the dead-letter topic and acknowledged.
//!
//! Returns only when that is done, however long the sink is away, or when the record's permit is withdrawn between
//! two attempts. An attempt under way is never cut off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use worker_settings::QuerySettings;

use super::dead_letter;
use crate::backoff::Backoff;
use crate::decode::{Cell, Table};
use crate::health::process::{ProcessHealth, SinkState};
use crate::kafka::{PublishRecord, Publisher};
use crate::message::{Consumed, Outgoing, Position};
use crate::rejection::Rejection;
use crate::sabotage::{Sabotage, Sabotages};
use crate::sink::{Sink, Write, WriteRow};
use crate::telemetry::Telemetry;

/// First and longest wait between attempts at a sink or broker that is away: long enough not to press it, short
/// enough to go on soon after it is back.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// First and longest wait while somebody has to mend table or rights.
const MEND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// A query as the road needs it.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its name.
    pub name: String,
    /// Topic that it consumes.
    pub topic: String,
    /// Table that it fills.
    pub table: Table,
    /// Write timestamp of offset 0, in microseconds since the Unix epoch.
    pub write_timestamp_base: i64,
}

impl Query {
    /// Takes over a query from the settings.
    pub fn new(settings: &QuerySettings) -> Self {
        Self {
            name: settings.name.clone(),
            topic: settings.from.clone(),
            table: Table::new(&settings.into),
            write_timestamp_base: settings.write_timestamp_base,
        }
    }
}

/// Where records are settled.
pub struct Desk<S, P> {
    /// Queries by index.
    pub queries: Vec<Query>,
    /// Where rows go.
    pub sink: S,
    /// Where dead letters go.
    pub publisher: P,
    /// Topic of the dead letters.
    pub dead_letter_topic: String,
    /// Counts and logs.
    pub telemetry: Telemetry,
    /// Told how it stands with the sink.
    pub health: Arc<ProcessHealth>,
    /// Switches of test builds.
    pub sabotages: Sabotages,
}

/// How a record ended.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) position: Position,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Its row or its dead letter is acknowledged.
    Done,
    /// Its permit was withdrawn first.
    Abandoned,
}

impl<S: Sink, P: Publisher> Desk<S, P> {
    pub(super) fn shared(&self) -> (Telemetry, Arc<ProcessHealth>, Sabotages) {
        (self.telemetry.clone(), Arc::clone(&self.health), self.sabotages.clone())
    }

    pub(super) async fn settle(&self, record: Consumed, permit: CancellationToken) -> Settled {
        let position = record.position;
        let query = &self.queries[position.partition.query];
        let outcome = match query.table.decode(record.payload.as_deref()) {
            Ok(cells) => match self.write(&record, query, &cells, &permit).await {
                Ok(outcome) => outcome,
                Err(rejection) => self.bury(&record, query, &rejection, &permit).await,
            },
            Err(rejection) => self.bury(&record, query, &rejection, &permit).await,
        };
        Settled { position, outcome }
    }

    /// Writes a row until it is acknowledged; the error is the server's refusal of this very row.
    async fn write(
        &self,
        record: &Consumed,
        query: &Query,
        cells: &[Cell<'_>],
        permit: &CancellationToken,
    ) -> Result<Outcome, Rejection> {
        let timestamp = match self.sabotages.has(Sabotage::NoWriteTimestamp) {
            true => None,
            false => Some(query.write_timestamp_base + record.position.offset),
        };
        let write = Write { query: record.position.partition.query, cells, timestamp };
        let start = Instant::now();
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        let mut mend = Backoff::new(MEND.0, MEND.1);
        while !permit.is_cancelled() {
            let delay = match self.sink.write(write).await {
                Ok(()) => {
                    self.acknowledge(record, start);
                    return Ok(Outcome::Done);
                }
                Err(WriteRow::RefuseRow { problem }) => return Err(Rejection::RefusedByCassandra { problem }),
                Err(error @ WriteRow::AwaitSink { .. }) => {
                    self.telemetry.write_failed("AwaitSink", &error.to_string());
                    self.health.sink(SinkState::Unavailable(error.to_string()));
                    retry.next_delay()
                }
                Err(WriteRow::MendSchema { problem, .. }) => {
                    let problem = format!("table '{}' cannot take rows: {problem}", query.table.name());
                    self.telemetry.write_failed("MendSchema", &problem);
                    self.health.sink(SinkState::Mismatched(problem));
                    mend.next_delay()
                }
            };
            wait(delay, permit).await;
        }
        Ok(Outcome::Abandoned)
    }

    fn acknowledge(&self, record: &Consumed, start: Instant) {
        let age = record.produced_at().map(|produced_at| {
            // Clocks of two machines: a record from the future is as old as the write.
            let age = chrono::Utc::now().timestamp_millis().saturating_sub(produced_at);
            Duration::from_millis(u64::try_from(age).unwrap_or_default())
        });
        self.telemetry.row_written(start.elapsed(), age);
        if self.health.acknowledged() {
            self.telemetry.sink_recovered();
        }
    }

    /// Sends a record to the dead-letter topic until it is acknowledged there.
    async fn bury(
        &self,
        record: &Consumed,
        query: &Query,
        rejection: &Rejection,
        permit: &CancellationToken,
    ) -> Outcome {
        if self.sabotages.has(Sabotage::DropDeadLetter) {
            return Outcome::Done;
        }
        let mut letter: Outgoing = dead_letter::letter(&self.dead_letter_topic, record, query, rejection);
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        while !permit.is_cancelled() {
            match self.publisher.publish(&letter).await {
                Ok(()) => {
                    self.telemetry.dead_letter_sent(&query.topic, record.position, rejection);
                    return Outcome::Done;
                }
                Err(error @ PublishRecord::AwaitBroker { .. }) => {
                    self.telemetry.publish_failed(&error.to_string());
                    wait(retry.next_delay(), permit).await;
                }
                Err(error @ PublishRecord::RefuseRecord { .. }) => {
                    match dead_letter::cut(&mut letter) {
                        Some(kept) => {
                            let length = record.payload.as_ref().map_or(0, Vec::len);
                            self.telemetry.dead_letter_cut(&query.topic, length, kept);
                        }
                        // Nothing left to cut: the topic's own bound has to be raised.
                        None => {
                            self.telemetry.publish_failed(&error.to_string());
                            wait(retry.next_delay(), permit).await;
                        }
                    }
                }
            }
        }
        Outcome::Abandoned
    }
}

/// Waits for `delay` or until the permit is withdrawn.
async fn wait(delay: Duration, permit: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = permit.cancelled() => {}
    }
}
