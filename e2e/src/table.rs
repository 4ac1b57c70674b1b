//! The table as Cassandra has it, read whole, page by page, past Kafka and workers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt;
use millrace_stores::cassandra::{NodeSession, open};
use scylla::policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession};
use scylla::statement::Statement;
use uuid::Uuid;

use crate::ledger::{Comparison, Ledger, Row};
use crate::spec::TABLE;

/// Rows per page.
const PAGE: i32 = 2_000;
/// How often a page is asked for again: a node that pauses to collect garbage refuses what it had been asked by then.
const TRIES: usize = 5;

/// A connection to the table by way of one node.
pub struct Table {
    session: NodeSession,
}

/// A text cell with its write timestamp in microseconds.
pub type Stamped = (Option<String>, Option<i64>);

type Text = Option<String>;
type Moment = Option<DateTime<Utc>>;
type Columns = (Uuid, Text, Text, Text, Text, Text, Text, Text, Moment, Moment, Text, Text);

impl Table {
    /// Connects to a node.
    pub async fn open(address: IpAddr) -> Result<Self> {
        Ok(Self { session: open(address).await.context("cannot reach Cassandra")? })
    }

    /// Reads every row and enters it into the ledger.
    pub async fn compare(&self, mut ledger: Ledger) -> Result<Comparison> {
        self.for_each(|row| ledger.enter(&row)).await?;
        Ok(ledger.close())
    }

    /// Returns the ids of all rows.
    pub async fn ids(&self) -> Result<Vec<Uuid>> {
        let mut ids = Vec::new();
        self.for_each(|row| ids.push(row.id)).await?;
        Ok(ids)
    }

    async fn for_each(&self, mut take: impl FnMut(Row)) -> Result<()> {
        let columns = crate::ledger::COLUMNS.join(", ");
        let statement = reading(format!("SELECT id, {columns} FROM {TABLE}"));
        let pager = self.session.query_iter(statement, ()).await.context("cannot read the table")?;
        let mut stream = pager.rows_stream::<Columns>().context("the table has other columns")?;
        while let Some(columns) = stream.next().await {
            take(row_of(columns.context("cannot read a page of the table")?));
        }
        Ok(())
    }

    /// Returns the number of rows as Cassandra counts them.
    pub async fn count(&self) -> Result<i64> {
        self.number("count(*)").await
    }

    /// Returns the number of rows whose `column` is not empty.
    pub async fn filled(&self, column: &str) -> Result<i64> {
        self.number(&format!("count({column})")).await
    }

    async fn number(&self, aggregate: &str) -> Result<i64> {
        let counted = self.session.query_unpaged(reading(format!("SELECT {aggregate} FROM {TABLE}")), ()).await?;
        Ok(counted.into_rows_result()?.single_row::<(i64,)>()?.0)
    }

    /// Returns first name, last name and their write timestamps of every row: what a replay must leave as it is.
    pub async fn stamps(&self) -> Result<BTreeMap<Uuid, [Stamped; 2]>> {
        let statement =
            format!("SELECT id, first_name, WRITETIME(first_name), last_name, WRITETIME(last_name) FROM {TABLE}");
        type Stamps = (Uuid, Text, Option<i64>, Text, Option<i64>);
        let pager = self.session.query_iter(reading(statement), ()).await?;
        let mut stream = pager.rows_stream::<Stamps>()?;
        let mut stamps = BTreeMap::new();
        while let Some(row) = stream.next().await {
            let (id, first, first_at, last, last_at) = row?;
            stamps.insert(id, [(first, first_at), (last, last_at)]);
        }
        Ok(stamps)
    }
}

/// Returns a statement that reads by pages, and asks again for one that was refused.
fn reading(text: String) -> Statement {
    let mut statement = Statement::new(text).with_page_size(PAGE);
    statement.set_is_idempotent(true);
    statement.set_retry_policy(Some(Arc::new(Patient)));
    statement
}

/// Asks the same node again, whatever it answered.
#[derive(Debug)]
struct Patient;

/// Tries that are left of one request.
struct TriesLeft(usize);

impl RetryPolicy for Patient {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(TriesLeft(TRIES))
    }
}

impl RetrySession for TriesLeft {
    fn decide_should_retry(&mut self, _: RequestInfo) -> RetryDecision {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { RetryDecision::DontRetry } else { RetryDecision::RetrySameTarget(None) }
    }

    fn reset(&mut self) {
        self.0 = TRIES;
    }
}

fn row_of(columns: Columns) -> Row {
    let moment = |moment: Moment| moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true));
    let (id, first_name, last_name, gender, address, post_code, email, username, dob, registered, phone, picture) =
        columns;
    Row {
        id,
        values: [
            first_name,
            last_name,
            gender,
            address,
            post_code,
            email,
            username,
            moment(dob),
            moment(registered),
            phone,
            picture,
        ],
    }
}
