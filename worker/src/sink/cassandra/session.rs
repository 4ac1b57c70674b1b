//! A session with its prepared statements, and the properties it is made with.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use millrace_terms::causes::chain_of;
use millrace_terms::{CassandraSettings, Consistency};
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::Node;
use scylla::cluster::metadata::Strategy;
use scylla::errors::{ExecutionError, NewSessionError, PrepareError};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::Consistency as CqlConsistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use snafu::{ResultExt, Snafu};

use super::super::{Row, WriteRows};
use super::failure;
use super::requests::{self, Bounds};
use super::statement::{Mismatch, Values, check, delete, insert, probe, select};
use crate::process::Query;

/// Longest that one write may take before it counts as not acknowledged.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest that one connection or name lookup may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no session.
#[derive(Debug, Snafu)]
pub(super) enum OpenSession {
    #[snafu(display("cannot reach cassandra at {contact_points:?}"))]
    Connect {
        contact_points: Vec<String>,
        #[snafu(source(from(NewSessionError, Box::new)))]
        source: Box<NewSessionError>,
    },
    #[snafu(display("cannot prepare the statements of query '{query}'"))]
    Prepare {
        query: String,
        #[snafu(source(from(PrepareError, Box::new)))]
        source: Box<PrepareError>,
    },
    #[snafu(display("query '{query}' does not fit its table"))]
    FitTable { query: String, source: Mismatch },
}

impl OpenSession {
    /// Returns whether the server answers, but table and settings do not match.
    pub(super) fn is_mismatch(&self) -> bool {
        match self {
            Self::Connect { .. } => false,
            Self::Prepare { source, .. } => failure::is_schema(source),
            Self::FitTable { .. } => true,
        }
    }
}

/// A session and its statements by query.
pub(super) struct Connection {
    session: Session,
    keyspace: String,
    datacenter: String,
    statements: Vec<PreparedStatement>,
    /// For each query what deletes a row; `None`: it deletes none.
    deletes: Vec<Option<PreparedStatement>>,
    /// For each query a batch of its statement for each number of rows, from none on.
    batches: Vec<Vec<Batch>>,
    bounds: Bounds,
    queries: Vec<Query>,
    /// A question that is answered at the consistency of writes.
    probe: String,
}

impl Connection {
    /// Connects, prepares, and checks that the tables are what the settings say.
    pub(super) async fn open(
        settings: &CassandraSettings,
        queries: &[Query],
        with_timestamp: bool,
    ) -> Result<Self, OpenSession> {
        let contact_points = &settings.contact_points;
        let session =
            builder(settings).build().await.context(ConnectSnafu { contact_points: contact_points.clone() })?;
        let mut statements = Vec::with_capacity(queries.len());
        let mut deletes = Vec::with_capacity(queries.len());
        for query in queries {
            let text = insert(&settings.keyspace, query.table(), with_timestamp);
            let prepared = prepare(&session, query, text).await?;
            check(&prepared, query.table()).context(FitTableSnafu { query: &query.name })?;
            statements.push(prepared);
            deletes.push(match query.decoder.deletes() {
                true => {
                    let text = delete(&settings.keyspace, query.table(), with_timestamp);
                    Some(prepare(&session, query, text).await?)
                }
                false => None,
            });
        }
        let bounds = Bounds::of_server(&session).await;
        Ok(Self {
            probe: probe(&settings.keyspace, queries[0].table()),
            batches: statements.iter().map(|statement| batches(statement, bounds.rows)).collect(),
            session,
            keyspace: settings.keyspace.clone(),
            datacenter: settings.datacenter.clone(),
            statements,
            deletes,
            bounds,
            queries: queries.to_vec(),
        })
    }

    /// Writes rows of one query in one request: a plain write of one row, an unlogged batch of several.
    pub(super) async fn execute(&self, query: usize, rows: &[Row<'_>]) -> Result<(), ExecutionError> {
        match rows {
            [row] => self.session.execute_unpaged(self.statement(query, row), Values::of(row)).await.map(|_| ()),
            rows => {
                let values: Vec<Values<'_>> = rows.iter().map(Values::of).collect();
                if rows.iter().any(|row| row.deletes) {
                    let batch = unlogged(rows.iter().map(|row| self.statement(query, row)));
                    return self.session.batch(&batch, values).await.map(|_| ());
                }
                self.session.batch(&self.batches[query][rows.len()], values).await.map(|_| ())
            }
        }
    }

    /// Returns what writes or deletes a row.
    fn statement(&self, query: usize, row: &Row<'_>) -> &PreparedStatement {
        match &self.deletes[query] {
            Some(delete) if row.deletes => delete,
            _ => &self.statements[query],
        }
    }

    /// Returns how many rows fill one request for each set of replicas.
    pub(super) fn appetite(&self) -> usize {
        let sets = if self.shares_replicas() { 1 } else { self.nodes() };
        (self.bounds.rows * sets).min(requests::MOST_AT_ONCE)
    }

    /// Sorts rows into requests of one set of replicas each.
    pub(super) fn requests(&self, query: usize, rows: &mut [Row<'_>]) -> Vec<Range<usize>> {
        if self.shares_replicas() {
            return self.bounds.requests(rows);
        }
        let state = self.session.get_cluster_state();
        let replicas = |row: &Row<'_>| {
            let token = self.statement(query, row).calculate_token(&Values::of(row)).ok().flatten()?;
            let table = self.queries[query].table().name();
            let mut nodes: Vec<_> = state
                .get_token_endpoints(&self.keyspace, table, token)
                .into_iter()
                .map(|(node, _)| node.host_id)
                .collect();
            nodes.sort_unstable();
            Some(nodes)
        };
        let mut keyed: Vec<_> = rows.iter().map(|row| (replicas(row), *row)).collect();
        keyed.sort_by(|(first, _), (second, _)| first.cmp(second));
        rows.iter_mut().zip(&keyed).for_each(|(row, (_, sorted))| *row = *sorted);
        self.bounds.requests_where(rows, |first, second| keyed[first].0 == keyed[second].0)
    }

    /// Returns whether every node of the datacenter holds every row.
    fn shares_replicas(&self) -> bool {
        let state = self.session.get_cluster_state();
        let strategy = state.get_keyspace(&self.keyspace).map(|keyspace| &keyspace.strategy);
        let replicas = match strategy {
            Some(Strategy::SimpleStrategy { replication_factor }) => *replication_factor,
            Some(Strategy::NetworkTopologyStrategy { datacenter_repfactors }) => {
                datacenter_repfactors.get(&self.datacenter).copied().unwrap_or_default()
            }
            _ => 0,
        };
        let local = |node: &&Arc<Node>| node.datacenter.as_deref() == Some(self.datacenter.as_str());
        state.get_nodes_info().iter().filter(local).count() <= replicas
    }

    /// Prepares a statement again; the error says what became of the table, or that the server is away.
    pub(super) async fn prepare_again(&self, query: usize) -> Result<(), WriteRows> {
        let text = self.statements[query].get_statement().to_owned();
        let mend = |problem: String| WriteRows::MendSchema { query, problem };
        match self.session.prepare(text).await {
            Ok(prepared) => check(&prepared, self.queries[query].table()).map_err(|error| mend(error.to_string())),
            Err(error) if failure::is_schema(&error) => Err(mend(chain_of(&error))),
            Err(error) => Err(WriteRows::AwaitSink { problem: chain_of(&error) }),
        }
    }

    /// Prepares all statements again; the error is that of the first table that does not fit.
    pub(super) async fn prepare_all_again(&self) -> Result<(), WriteRows> {
        for query in 0..self.queries.len() {
            self.prepare_again(query).await?;
        }
        Ok(())
    }

    /// Returns whether enough replicas for a write answer a question about the first table, which stands for the
    /// others: they are in the same keyspace.
    pub(super) async fn answers(&self) -> bool {
        self.session.query_unpaged(self.probe.as_str(), ()).await.is_ok()
    }

    /// Returns whether a query's table has the row of a key of one text column, at the consistency of writes.
    pub(super) async fn has_row(&self, query: usize, key: &str) -> Result<bool, String> {
        let text = select(&self.keyspace, self.queries[query].table());
        let answer = self.session.query_unpaged(text, (key,)).await.map_err(|error| chain_of(&error))?;
        let rows = answer.into_rows_result().map_err(|error| chain_of(&error))?;
        Ok(rows.rows_num() > 0)
    }

    /// Returns whether any node is connected.
    pub(super) fn is_reachable(&self) -> bool {
        self.session.get_cluster_state().get_nodes_info().iter().any(|node| node.is_connected())
    }

    /// Returns how many nodes the cluster has.
    pub(super) fn nodes(&self) -> usize {
        self.session.get_cluster_state().get_nodes_info().len()
    }
}

/// Returns a batch of a statement for each number of rows up to `most`.
fn batches(statement: &PreparedStatement, most: usize) -> Vec<Batch> {
    (0..=most).map(|rows| unlogged(std::iter::repeat_n(statement, rows))).collect()
}

fn unlogged<'session>(statements: impl Iterator<Item = &'session PreparedStatement>) -> Batch {
    let mut batch = Batch::new(BatchType::Unlogged);
    statements.for_each(|statement| batch.append_statement(statement.clone()));
    batch.set_is_idempotent(true);
    batch
}

async fn prepare(session: &Session, query: &Query, text: String) -> Result<PreparedStatement, OpenSession> {
    let prepared = session.prepare(text).await.context(PrepareSnafu { query: &query.name });
    let mut prepared = prepared?;
    prepared.set_is_idempotent(true);
    Ok(prepared)
}

fn builder(settings: &CassandraSettings) -> SessionBuilder {
    let consistency = match settings.consistency {
        Consistency::One => CqlConsistency::One,
        Consistency::LocalQuorum => CqlConsistency::LocalQuorum,
    };
    let balancing = DefaultPolicy::builder()
        .prefer_datacenter(settings.datacenter.clone())
        .token_aware(true)
        .permit_dc_failover(false)
        .build();
    let profile = ExecutionProfile::builder()
        .consistency(consistency)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .load_balancing_policy(balancing)
        .build();
    SessionBuilder::new()
        .known_nodes(&settings.contact_points)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(CONNECT_TIMEOUT)
        .hostname_resolution_timeout(Some(CONNECT_TIMEOUT))
        .keepalive_interval(Duration::from_secs(5))
        .keepalive_timeout(Duration::from_secs(5))
        .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
        .keyspaces_to_fetch([settings.keyspace.as_str()])
        .cluster_metadata_refresh_interval(Duration::from_secs(20))
}
