//! The sink in Cassandra: one session, one prepared statement for each query, rows of one replica set in one request.
//!
//! A supervisor makes the session and makes it anew, with host names looked up again, when no node has answered for a
//! while: the driver knows nodes by address, and a pod comes back with another one. Retries are the road's business,
//! so the driver's own are off. Writes between two sessions fail at once as [`WriteRows::AwaitSink`].

mod failure;
mod requests;
mod session;
mod statement;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use millrace_terms::CassandraSettings;
use millrace_terms::causes::chain_of;

use super::{AwaitSinkSnafu, Row, Sink, WriteRows};
use crate::backoff::Backoff;
use crate::health::process::{ProcessHealth, SinkState};
use crate::process::Query;
use crate::sabotage::{Sabotage, Sabotages};
use crate::telemetry::Telemetry;
use failure::Verdict;
use requests::Bounds;
use session::Connection;

/// How long no node may answer before the session is made anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the supervisor looks.
const WATCH: Duration = Duration::from_secs(1);

/// How long after the last write that was not acknowledged the server itself is asked.
const SILENCE: Duration = Duration::from_secs(4);

/// How long after the last write that met a mismatch the tables are looked at again; longer than rows wait between
/// attempts, which tell more.
const MISMATCH: Duration = Duration::from_secs(15);

/// First and longest wait between attempts to make a session.
const CONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Rows into Cassandra; clones share the session.
#[derive(Clone)]
pub struct CassandraSink {
    shared: Arc<Shared>,
}

struct Shared {
    settings: CassandraSettings,
    queries: Vec<Query>,
    with_timestamp: bool,
    current: RwLock<Option<Arc<Connection>>>,
    outage: Mutex<Outage>,
    health: Arc<ProcessHealth>,
    telemetry: Telemetry,
}

/// Since when nothing has been acknowledged.
#[derive(Debug, Default)]
struct Outage {
    /// Absent: the last answer was good.
    since: Option<Instant>,
    last_attempt: Option<Instant>,
    /// When the tables were last looked at because one did not fit.
    last_look: Option<Instant>,
}

impl CassandraSink {
    /// Starts the supervisor in the background; does not wait for a node.
    pub fn start(
        settings: &CassandraSettings,
        queries: &[Query],
        health: Arc<ProcessHealth>,
        telemetry: Telemetry,
        sabotages: &Sabotages,
    ) -> Self {
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            queries: queries.to_vec(),
            with_timestamp: !sabotages.has(Sabotage::NoWriteTimestamp),
            current: RwLock::new(None),
            outage: Mutex::default(),
            health,
            telemetry,
        });
        tokio::spawn(Arc::clone(&shared).supervise());
        Self { shared }
    }
}

impl Sink for CassandraSink {
    fn appetite(&self) -> usize {
        self.shared.connection().map_or(requests::ROWS, |connection| connection.appetite())
    }

    fn requests(&self, query: usize, rows: &mut [Row<'_>]) -> Vec<Range<usize>> {
        match self.shared.connection() {
            Some(connection) => connection.requests(query, rows),
            None => Bounds::default().requests(rows),
        }
    }

    async fn write(&self, query: usize, rows: &[Row<'_>]) -> Result<(), WriteRows> {
        let Some(connection) = self.shared.connection() else {
            return AwaitSinkSnafu { problem: "there is no session yet" }.fail();
        };
        let Err(error) = connection.execute(query, rows).await else {
            self.shared.answered();
            return Ok(());
        };
        match failure::judge(&error) {
            Verdict::Await(problem) => {
                self.shared.unanswered();
                AwaitSinkSnafu { problem }.fail()
            }
            Verdict::Mend(problem) => {
                self.shared.answered();
                Err(WriteRows::MendSchema { query, problem })
            }
            // "Invalid" is said of rows, of too many rows, and of tables alike; preparing again tells which it is.
            Verdict::RefuseOrMend(problem) => match connection.prepare_again(query).await {
                Ok(()) => Err(WriteRows::RefuseRows { problem }),
                Err(error) => Err(error),
            },
        }
    }

    async fn read_back(&self, query: usize, key: &str) -> Result<bool, String> {
        let connection = self.shared.connection().ok_or_else(|| "there is no session yet".to_owned())?;
        connection.has_row(query, key).await
    }
}

#[expect(clippy::disallowed_methods, reason = "how long Cassandra has been away decides what the sink does")]
impl Shared {
    fn connection(&self) -> Option<Arc<Connection>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answered(&self) {
        let mut outage = self.outage();
        outage.since = None;
        outage.last_attempt = Some(Instant::now());
    }

    fn unanswered(&self) {
        let now = Instant::now();
        let mut outage = self.outage();
        outage.since.get_or_insert(now);
        outage.last_attempt = Some(now);
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sessions for ever.
    async fn supervise(self: Arc<Self>) {
        let mut state = SinkState::Healthy;
        loop {
            let connection = Arc::new(self.connect().await);
            let nodes = connection.nodes();
            let since = (state != SinkState::Healthy).then(Instant::now);
            *self.outage() = Outage { since, ..Outage::default() };
            // Told before writes can begin, lest it hide the first acknowledgement.
            self.health.sink(state);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
            self.telemetry.sink_connected(nodes);
            let silence = self.watch(&connection).await;
            self.telemetry.sink_lost(silence.as_secs());
            // That statements can be prepared does not show that enough replicas are back: a write or a probe does.
            state = SinkState::Unavailable("connected again, but nothing has been acknowledged yet".to_owned());
        }
    }

    async fn connect(&self) -> Connection {
        let mut backoff = Backoff::new(CONNECT.0, CONNECT.1);
        loop {
            match Connection::open(&self.settings, &self.queries, self.with_timestamp).await {
                Ok(connection) => return connection,
                Err(error) => {
                    let problem = chain_of(&error);
                    self.telemetry.sink_unconnected(&problem);
                    self.health.sink(match error.is_mismatch() {
                        true => SinkState::Mismatched(problem),
                        false => SinkState::Connecting(problem),
                    });
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Returns how long nothing was answered, once that is too long.
    async fn watch(&self, connection: &Connection) -> Duration {
        let mut unreachable: Option<Instant> = None;
        loop {
            tokio::time::sleep(WATCH).await;
            self.probe_after_outage(connection).await;
            self.look_again_after_mismatch(connection).await;
            let since = self.outage().since;
            unreachable = match connection.is_reachable() {
                true => None,
                false => unreachable.or_else(|| Some(Instant::now())),
            };
            let silent = [since, unreachable].into_iter().flatten().map(|since| since.elapsed()).max();
            match silent {
                Some(silence) if silence >= PATIENCE => return silence,
                _ => {}
            }
        }
    }

    /// Asks the server itself when the last write failed and no other follows, as after a revoked partition; else
    /// a worker without records would stay unready for ever.
    async fn probe_after_outage(&self, connection: &Connection) {
        let is_open = self.outage().since.is_some();
        if is_open && self.is_idle(SILENCE) && connection.answers().await {
            self.recover();
        }
    }

    /// Prepares the statements again from time to time when a table did not fit: no write may follow that would show that it
    /// does now.
    async fn look_again_after_mismatch(&self, connection: &Connection) {
        let is_due = self.outage().last_look.is_none_or(|last| last.elapsed() > MISMATCH);
        if !self.health.is_mismatched() || !is_due {
            return;
        }
        self.outage().last_look = Some(Instant::now());
        if connection.prepare_all_again().await.is_ok() {
            self.recover();
        }
    }

    fn is_idle(&self, time: Duration) -> bool {
        self.outage().last_attempt.is_none_or(|last| last.elapsed() > time)
    }

    fn recover(&self) {
        self.answered();
        if self.health.acknowledged() {
            self.telemetry.sink_recovered();
        }
    }
}
