//! The way of a handful of records: decoded, bound, written in as few requests as their replicas allow and
//! acknowledged, or sent to the dead-letter topic and acknowledged.
//!
//! Returns only when that is done for each, however long the sink is away, or when a record's permit is withdrawn
//! between two attempts. An attempt under way is never cut off. A refused request is split until the refusal is that of
//! one row, so that a bad row harms no other.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all, select_all};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dead_letter;
use super::query::{Queries, Query};
use crate::backoff::Backoff;
use crate::decode::{Cell, Decoded};
use crate::health::process::{ProcessHealth, SinkState};
use crate::kafka::{PublishRecord, Publisher};
use crate::message::{Consumed, Outgoing, PartitionId, Position};
use crate::progress::Progress;
use crate::rejection::Rejection;
use crate::sabotage::{Sabotage, Sabotages};
use crate::sink::{Row, Sink, WriteRows};
use crate::telemetry::Telemetry;

/// First and longest wait between attempts at a sink or broker that is away: long enough not to press it, short
/// enough to go on soon after it is back.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// First and longest wait while somebody has to mend table or rights.
const MEND: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Where records are settled.
pub struct Desk<S, P> {
    /// What is made of the records of each topic.
    pub queries: Queries,
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
    /// Told when records are settled.
    pub progress: Progress,
    /// Switches of test builds.
    pub sabotages: Sabotages,
}

/// Records of one topic that are settled together.
#[derive(Debug)]
pub(super) struct Handful {
    pub(super) topic: usize,
    pub(super) records: Vec<Consumed>,
    /// Most rows of it that are under way at once: as many as there are records, where each becomes one row at most.
    pub(super) rows: usize,
    /// The right to write those of each partition.
    pub(super) permits: Vec<(PartitionId, CancellationToken)>,
}

impl Handful {
    fn is_withdrawn(&self, record: usize) -> bool {
        let partition = self.records[record].position.partition;
        let permit = self.permits.iter().find(|(of, _)| *of == partition);
        permit.is_none_or(|(_, permit)| permit.is_cancelled())
    }

    /// Waits for `delay` or until one of the permits is withdrawn.
    async fn wait(&self, delay: Duration) {
        let withdrawn = self.permits.iter().filter(|(_, permit)| !permit.is_cancelled());
        let withdrawn: Vec<_> = withdrawn.map(|(_, permit)| Box::pin(permit.cancelled())).collect();
        if withdrawn.is_empty() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = select_all(withdrawn) => {}
        }
    }
}

/// How a handful ended.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) records: Vec<(Position, Outcome)>,
    /// Rows that it has had under way at most.
    pub(super) rows: usize,
    /// When it was begun.
    pub(super) begun: Instant,
    /// Whether a write was not acknowledged at the first attempt.
    pub(super) failed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Its row or its dead letter is acknowledged.
    Done,
    /// Its permit was withdrawn first.
    Abandoned,
}

/// What a query makes of some records of a handful that stand together.
struct Portion<'handful> {
    /// Index of the query.
    query: usize,
    /// Which of the records is the first.
    first: usize,
    /// Whether nothing of the handful was awaited before.
    begins: bool,
    /// When the handful was begun.
    begun: Instant,
    decoded: Decoded<'handful>,
}

/// How the rows of one request ended.
#[derive(Debug, Default)]
struct Ended {
    abandoned: Vec<usize>,
    refused: Vec<(usize, Rejection)>,
    failed: bool,
}

impl<S: Sink, P: Publisher> Desk<S, P> {
    pub(super) fn shared(&self) -> (Telemetry, Arc<ProcessHealth>, Sabotages) {
        (self.telemetry.clone(), Arc::clone(&self.health), self.sabotages.clone())
    }

    #[expect(clippy::disallowed_methods, reason = "rows are timed from their sending to their acknowledgement")]
    pub(super) async fn settle(&self, handful: Handful) -> Settled {
        let begun = Instant::now();
        let mut failed = false;
        let mut abandoned = Vec::new();
        let mut begins = true;
        for query in self.queries.of_topic(handful.topic) {
            let mut next = 0;
            while next < handful.records.len() {
                let rest = &handful.records[next..];
                let length = |consumed: &Consumed| consumed.payload().map_or(0, <[u8]>::len);
                let decoder = &self.queries[query].decoder;
                let portion = decoder.portion(rest.iter().map(length)).min(rest.len());
                let decoded = decoder.decode(rest[..portion].iter().map(Consumed::payload));
                let first = next;
                next += portion;
                let portion = Portion { query, first, begins, begun, decoded };
                failed |= self.settle_portion(&handful, portion, &mut abandoned).await;
                begins = false;
            }
        }
        let outcome = |record| if abandoned.contains(&record) { Outcome::Abandoned } else { Outcome::Done };
        let records = handful.records.iter().enumerate();
        let records = records.map(|(record, consumed)| (consumed.position, outcome(record))).collect();
        Settled { records, rows: handful.rows, begun, failed }
    }

    /// Settles what a query makes of some records, and notes which are abandoned; returns whether a write was not
    /// acknowledged at the first attempt.
    async fn settle_portion(&self, handful: &Handful, portion: Portion<'_>, abandoned: &mut Vec<usize>) -> bool {
        let Portion { query: index, first, begins, begun, decoded } = portion;
        let Decoded { cells, rows, rejected, deleting, filtered } = decoded;
        let query = &self.queries[index];
        if filtered > 0 {
            self.telemetry.records_filtered(&query.name, filtered);
        }
        let mut rejected: Vec<(usize, Rejection)> =
            rejected.into_iter().map(|(record, rejection)| (first + record, rejection)).collect();
        let mut keys = Vec::new();
        for record in deleting.into_iter().map(|record| first + record) {
            match query.decoder.row_key(handful.records[record].key()) {
                Ok(key) => keys.push((record, key)),
                Err(rejection) => rejected.push((record, rejection)),
            }
        }
        let is_canary = self.queries.is_canary(handful.topic);
        if is_canary {
            // It is never a dead letter: another one follows.
            abandoned.extend(rejected.drain(..).map(|(record, _)| record));
        }
        let mut rows: Vec<Row<'_>> = rows
            .into_iter()
            .zip(cells.chunks_exact(query.table().columns().len()))
            .map(|(record, cells)| self.row(handful, query, first + record, cells))
            .collect();
        rows.extend(keys.iter().map(|(record, key)| Row {
            deletes: true,
            bytes: handful.records[*record].key().map_or(0, <[u8]>::len),
            ..self.row(handful, query, *record, key)
        }));
        let mut failed = false;
        let mut refused = Vec::new();
        let writes = async {
            // More than one round only where records become several rows: no more are under way than the window knows.
            for (round, rows) in rows.chunks_mut(handful.rows).enumerate() {
                let requests = self.sink.requests(index, rows);
                let rows: &[Row<'_>] = rows;
                let writes = requests.into_iter().map(|request| async move {
                    match begins && round == 0 {
                        true => self.write(handful, index, &rows[request], begun).await,
                        // Permits may have been withdrawn meanwhile.
                        false => self.write_while_permitted(handful, index, &rows[request], None, begun).await,
                    }
                });
                for ended in join_all(writes).await {
                    failed |= ended.failed;
                    abandoned.extend(ended.abandoned);
                    refused.extend(ended.refused);
                }
            }
        };
        let ((), given_up) = join(writes, self.bury_all(handful, query, rejected)).await;
        abandoned.extend(given_up);
        if is_canary {
            abandoned.extend(refused.drain(..).map(|(record, _)| record));
        }
        // Of several rows of one record, each may be refused: one letter says so.
        refused.sort_by_key(|(record, _)| *record);
        refused.dedup_by_key(|(record, _)| *record);
        abandoned.extend(self.bury_all(handful, query, refused).await);
        failed
    }

    #[expect(clippy::disallowed_methods, reason = "a sabotage: without it a row's timestamp never follows the clock")]
    fn row<'cells>(
        &self,
        handful: &Handful,
        query: &Query,
        record: usize,
        cells: &'cells [Cell<'cells>],
    ) -> Row<'cells> {
        let consumed = &handful.records[record];
        let timestamp = if self.sabotages.has(Sabotage::NoWriteTimestamp) {
            None
        } else if self.sabotages.has(Sabotage::ClockTimestamp) {
            Some(chrono::Utc::now().timestamp_micros())
        } else {
            Some(dead_letter::write_timestamp(consumed, query))
        };
        // An element's row is smaller than the record.
        let bytes = match query.decoder.multiplies() {
            true => cells.iter().filter_map(|cell| cell.encoded(<[u8]>::len)).sum(),
            false => consumed.payload().map_or(0, <[u8]>::len),
        };
        Row { record, cells, deletes: false, timestamp, bytes }
    }

    /// Writes the rows of one request until each is acknowledged, refused or abandoned.
    async fn write(&self, handful: &Handful, query: usize, rows: &[Row<'_>], begun: Instant) -> Ended {
        match self.sink.write(query, rows).await {
            Ok(()) => {
                self.acknowledge(handful, rows, begun);
                Ended::default()
            }
            Err(error) => self.write_while_permitted(handful, query, rows, Some(error), begun).await,
        }
    }

    /// Writes rows until each is acknowledged, refused or abandoned; goes on after an attempt that failed, if there was
    /// one.
    async fn write_while_permitted(
        &self,
        handful: &Handful,
        query: usize,
        rows: &[Row<'_>],
        error: Option<WriteRows>,
        begun: Instant,
    ) -> Ended {
        let mut ended = Ended { failed: error.is_some(), ..Ended::default() };
        // Requests that remain, each with the error of its last attempt if there was one.
        let mut remaining = vec![(rows.to_vec(), error)];
        while let Some((mut rows, mut error)) = remaining.pop() {
            let mut retry = Backoff::new(RETRY.0, RETRY.1);
            let mut mend = Backoff::new(MEND.0, MEND.1);
            loop {
                match error.take() {
                    None => {}
                    Some(WriteRows::RefuseRows { problem }) => {
                        if let [row] = rows[..] {
                            ended.refused.push((row.record, Rejection::RefusedByCassandra { problem }));
                        } else {
                            let second = rows.split_off(rows.len() / 2);
                            remaining.extend([(second, None), (rows, None)]);
                        }
                        break;
                    }
                    Some(error @ WriteRows::AwaitSink { .. }) => {
                        self.telemetry.write_failed("AwaitSink", &error.to_string());
                        self.health.sink(SinkState::Unavailable(error.to_string()));
                        handful.wait(retry.next_delay()).await;
                    }
                    // What is wrong with the canary's own table is no reason to take no records.
                    Some(WriteRows::MendSchema { .. }) if self.queries.is_canary(handful.topic) => {
                        ended.abandoned.extend(rows.iter().map(|row| row.record));
                        break;
                    }
                    Some(WriteRows::MendSchema { problem, .. }) => {
                        let table = self.queries[query].table().name();
                        let problem = format!("table '{table}' cannot take rows: {problem}");
                        self.telemetry.write_failed("MendSchema", &problem);
                        self.health.sink(SinkState::Mismatched(problem));
                        handful.wait(mend.next_delay()).await;
                    }
                }
                rows.retain(|row| {
                    let stays = !handful.is_withdrawn(row.record);
                    if !stays {
                        ended.abandoned.push(row.record);
                    }
                    stays
                });
                if rows.is_empty() {
                    break;
                }
                match self.sink.write(query, &rows).await {
                    Ok(()) => {
                        self.acknowledge(handful, &rows, begun);
                        break;
                    }
                    Err(next) => {
                        ended.failed = true;
                        error = Some(next);
                    }
                }
            }
        }
        ended
    }

    #[expect(clippy::disallowed_methods, reason = "rows are timed from their sending to their acknowledgement")]
    fn acknowledge(&self, handful: &Handful, rows: &[Row<'_>], begun: Instant) {
        let now = chrono::Utc::now().timestamp_millis();
        let ages = rows.iter().filter_map(|row| handful.records[row.record].produced_at()).map(|produced_at| {
            // Clocks of two machines: a record from the future is as old as the write.
            Duration::from_millis(u64::try_from(now.saturating_sub(produced_at)).unwrap_or_default())
        });
        let is_canary = self.queries.is_canary(handful.topic);
        if !is_canary {
            self.telemetry.rows_written(rows.len(), begun.elapsed(), ages);
        }
        // That the canary's table takes rows does not show that another table fits by now.
        if is_canary && self.health.is_mismatched() {
            return;
        }
        if self.health.acknowledged() {
            self.telemetry.sink_recovered();
        }
    }

    /// Sends records to the dead-letter topic until each is acknowledged there; returns those that were abandoned.
    async fn bury_all(&self, handful: &Handful, query: &Query, rejected: Vec<(usize, Rejection)>) -> Vec<usize> {
        let buried = rejected.iter().map(async |(record, rejection)| {
            let outcome = self.bury(handful, *record, query, rejection).await;
            (outcome == Outcome::Abandoned).then_some(*record)
        });
        join_all(buried).await.into_iter().flatten().collect()
    }

    async fn bury(&self, handful: &Handful, record: usize, query: &Query, rejection: &Rejection) -> Outcome {
        if self.sabotages.has(Sabotage::DropDeadLetter) {
            return Outcome::Done;
        }
        let consumed = &handful.records[record];
        let mut letter: Outgoing = dead_letter::letter(&self.dead_letter_topic, consumed, query, rejection);
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        while !handful.is_withdrawn(record) {
            match self.publisher.publish(&letter).await {
                Ok(_) => {
                    self.telemetry.dead_letter_sent(&query.topic, consumed.position, rejection);
                    return Outcome::Done;
                }
                Err(error @ PublishRecord::AwaitBroker { .. }) => {
                    self.telemetry.publish_failed(&error.to_string());
                    handful.wait(retry.next_delay()).await;
                }
                Err(error @ PublishRecord::RefuseRecord { .. }) => {
                    match dead_letter::cut(&mut letter) {
                        Some(kept) => {
                            let length = consumed.payload().map_or(0, <[u8]>::len);
                            self.telemetry.dead_letter_cut(&query.topic, length, kept);
                        }
                        // Nothing left to cut: the topic's own bound has to be raised.
                        None => {
                            self.telemetry.publish_failed(&error.to_string());
                            handful.wait(retry.next_delay()).await;
                        }
                    }
                }
            }
        }
        Outcome::Abandoned
    }
}
