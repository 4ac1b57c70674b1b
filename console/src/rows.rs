//! Rows of tables: sessions with Cassandra, kept for a while, and questions over them.
//!
//! A session talks to one node, the first that answers; one that fails is thrown away. Values are bound, names are those
//! that admission has bounded, and nothing that a viewer writes becomes CQL.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millrace_api::names::Names;
use millrace_stores::cassandra::{AskCassandra, NodeSession, Preview, PreviewTable, open, preview, rows};
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use serde_json::Value;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::refusal::{Refusal, chain};

/// Longest that one question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that it may take to reach a node.
const OPEN_TIMEOUT: Duration = Duration::from_secs(4);
/// Sessions at once: each has connections and threads of its node.
const MOST: usize = 8;
/// Time without a question after which a session is closed.
const IDLE: Duration = Duration::from_secs(60);

struct Held {
    session: Arc<NodeSession>,
    used: Instant,
}

/// Sessions with the Cassandra of each pipeline.
#[derive(Clone, Default)]
pub struct Tables {
    held: Arc<Mutex<HashMap<Names, Held>>>,
}

impl Tables {
    /// Reads rows of a table.
    pub async fn preview(
        &self,
        cluster: &Cluster,
        names: &Names,
        keyspace: &str,
        table: &str,
        key: &BTreeMap<String, Value>,
        limit: usize,
    ) -> Result<Preview, Refusal> {
        let session = self.session(cluster, names).await?;
        let Ok(answer) = timeout(ANSWER_TIMEOUT, preview(&session, keyspace, table, key, limit)).await else {
            self.forget(names);
            return Err(silent());
        };
        answer.map_err(|error| {
            if let PreviewTable::Ask { .. } = error {
                self.forget(names);
            }
            refusal(&error)
        })
    }

    /// Returns when a cell of the row with this key was written, in microseconds since 1970; `None`: it is empty, or there
    /// is no such row.
    pub async fn write_time(
        &self,
        cluster: &Cluster,
        names: &Names,
        keyspace: &str,
        table: &str,
        column: &str,
        key: &[(String, Value)],
    ) -> Result<Option<i64>, Refusal> {
        let session = self.session(cluster, names).await?;
        let conditions: Vec<String> = key.iter().map(|(name, _)| format!("\"{name}\" = fromJson(?)")).collect();
        let statement = format!(
            "SELECT WRITETIME(\"{column}\") FROM \"{keyspace}\".\"{table}\" WHERE {} LIMIT 1",
            conditions.join(" AND ")
        );
        let values: Vec<String> = key.iter().map(|(_, value)| value.to_string()).collect();
        let asked = rows::<(Option<i64>,)>(&session, &statement, values);
        let Ok(answer) = timeout(ANSWER_TIMEOUT, asked).await else {
            self.forget(names);
            return Err(silent());
        };
        let times = answer.map_err(|error| {
            self.forget(names);
            Refusal::unavailable("cannot query Cassandra", &error)
        })?;
        Ok(times.first().and_then(|(time,)| *time))
    }

    async fn session(&self, cluster: &Cluster, names: &Names) -> Result<Arc<NodeSession>, Refusal> {
        if let Some(session) = self.recall(names) {
            return Ok(session);
        }
        let mut causes = vec!["no Cassandra node has an address".to_owned()];
        for node in cluster.nodes(names) {
            match timeout(OPEN_TIMEOUT, open(node)).await {
                Ok(Ok(session)) => return Ok(self.keep(names, Arc::new(session))),
                Ok(Err(error)) => causes = chain(&error),
                Err(_) => causes = vec![format!("node {node} does not answer in time")],
            }
        }
        Err(Refusal::Unavailable { message: "Cassandra does not answer".to_owned(), causes })
    }

    #[expect(clippy::disallowed_methods, reason = "sessions of Cassandra are kept for a while")]
    fn recall(&self, names: &Names) -> Option<Arc<NodeSession>> {
        let mut held = self.lock();
        held.retain(|_, held| held.used.elapsed() < IDLE);
        let held = held.get_mut(names)?;
        held.used = Instant::now();
        Some(held.session.clone())
    }

    #[expect(clippy::disallowed_methods, reason = "sessions of Cassandra are kept for a while")]
    fn keep(&self, names: &Names, session: Arc<NodeSession>) -> Arc<NodeSession> {
        let mut held = self.lock();
        if held.len() >= MOST {
            let oldest = held.iter().min_by_key(|(_, held)| held.used).map(|(names, _)| names.clone());
            oldest.map(|names| held.remove(&names));
        }
        held.insert(names.clone(), Held { session: session.clone(), used: Instant::now() });
        session
    }

    /// Throws a session away.
    fn forget(&self, names: &Names) {
        self.lock().remove(names);
    }

    /// Closes sessions that nobody has used for a while.
    #[expect(clippy::disallowed_methods, reason = "sessions of Cassandra are kept for a while")]
    pub fn sweep(&self) {
        self.lock().retain(|_, held| held.used.elapsed() < IDLE);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Names, Held>> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn silent() -> Refusal {
    let causes = vec![format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())];
    Refusal::Unavailable { message: "Cassandra does not answer".to_owned(), causes }
}

fn refusal(error: &PreviewTable) -> Refusal {
    match error {
        // What was typed as a key is no value of its type.
        PreviewTable::Ask { source: AskCassandra::Execute { source, .. } } if is_invalid(source) => {
            let said = chain(source.as_ref());
            Refusal::field("key", said.last().cloned().unwrap_or_default())
        }
        PreviewTable::Ask { .. } => Refusal::unavailable("cannot query Cassandra", error),
        PreviewTable::FindTable { table, .. } => {
            Refusal::NotFound { what: format!("table '{table}' in Cassandra yet") }
        }
        PreviewTable::FindColumn { .. } | PreviewTable::KeyColumn { .. } | PreviewTable::WholeKey { .. } => {
            Refusal::field("key", error)
        }
        PreviewTable::ReadJson { .. } => Refusal::Broken { message: error.to_string(), causes: chain(error) },
    }
}

fn is_invalid(error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) = error else {
        return false;
    };
    // A value is read by fromJson, which is a function to Cassandra.
    matches!(error, DbError::Invalid | DbError::FunctionFailure { .. })
}
