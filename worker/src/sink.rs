//! The sink: where rows go. One trait, two implementations: Cassandra, and memory for tests.

pub mod cassandra;
pub mod memory;

use std::future::Future;

use snafu::Snafu;

use crate::decode::Cell;

/// Writes rows.
pub trait Sink: Send + Sync + 'static {
    /// Writes one row and waits until enough replicas have it. Writing the same row again changes nothing.
    fn write(&self, write: Write<'_>) -> impl Future<Output = Result<(), WriteRow>> + Send;
}

/// One row to be written.
#[derive(Clone, Copy, Debug)]
pub struct Write<'record> {
    /// Index of the query, and so the table and its statement.
    pub query: usize,
    /// Cells in the order of the table's columns.
    pub cells: &'record [Cell<'record>],
    /// Timestamp of the cells in microseconds. Absent: the server's clock, which only a sabotaged worker uses.
    pub timestamp: Option<i64>,
}

/// Why a row is not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum WriteRow {
    /// The sink is away, slow or overloaded: the same row is written again.
    #[snafu(display("cassandra has not acknowledged a row: {problem}"))]
    AwaitSink {
        /// What the client says.
        problem: String,
    },
    /// Table and settings do not match, or the worker may not write: the row waits until somebody mends it.
    #[snafu(display("cassandra cannot take rows of query {query}: {problem}"))]
    MendSchema {
        /// Index of the query.
        query: usize,
        /// What does not match.
        problem: String,
    },
    /// The server takes rows of this table, but never this one.
    #[snafu(display("cassandra refuses a row: {problem}"))]
    RefuseRow {
        /// What the server says.
        problem: String,
    },
}
