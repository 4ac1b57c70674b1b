//! A session with its prepared statements, and the properties it is made with.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{ExecutionError, NewSessionError, PrepareError};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::Consistency as CqlConsistency;
use scylla::statement::prepared::PreparedStatement;
use snafu::{ResultExt, Snafu};
use worker_settings::{CassandraSettings, Consistency};

use super::super::WriteRow;
use super::failure;
use super::statement::{Mismatch, Values, check, insert, probe};
use crate::causes::chain;
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
    #[snafu(display("cannot prepare the insert of query '{query}'"))]
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
    statements: Vec<PreparedStatement>,
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
        for query in queries {
            let text = insert(&settings.keyspace, &query.table, with_timestamp);
            let prepared = session.prepare(text).await.context(PrepareSnafu { query: &query.name });
            let mut prepared = prepared?;
            check(&prepared, &query.table).context(FitTableSnafu { query: &query.name })?;
            prepared.set_is_idempotent(true);
            statements.push(prepared);
        }
        let probe = probe(&settings.keyspace, &queries[0].table);
        Ok(Self { session, statements, queries: queries.to_vec(), probe })
    }

    /// Writes one row.
    pub(super) async fn execute(&self, query: usize, values: Values<'_>) -> Result<(), ExecutionError> {
        self.session.execute_unpaged(&self.statements[query], values).await.map(|_| ())
    }

    /// Prepares a statement again; the error says what became of the table, or that the server is away.
    pub(super) async fn prepare_again(&self, query: usize) -> Result<(), WriteRow> {
        let text = self.statements[query].get_statement().to_owned();
        let mend = |problem: String| WriteRow::MendSchema { query, problem };
        match self.session.prepare(text).await {
            Ok(prepared) => check(&prepared, &self.queries[query].table).map_err(|error| mend(error.to_string())),
            Err(error) if failure::is_schema(&error) => Err(mend(chain(&error))),
            Err(error) => Err(WriteRow::AwaitSink { problem: chain(&error) }),
        }
    }

    /// Prepares all statements again; the error is that of the first table that does not fit.
    pub(super) async fn prepare_all_again(&self) -> Result<(), WriteRow> {
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

    /// Returns whether any node is connected.
    pub(super) fn is_reachable(&self) -> bool {
        self.session.get_cluster_state().get_nodes_info().iter().any(|node| node.is_connected())
    }

    /// Returns how many nodes the cluster has.
    pub(super) fn nodes(&self) -> usize {
        self.session.get_cluster_state().get_nodes_info().len()
    }
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
