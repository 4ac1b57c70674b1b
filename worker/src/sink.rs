//! The sink: where rows go, and where the canary's are read back. One trait, two implementations: Cassandra, and memory for tests.

pub mod cassandra;
pub mod memory;

use std::future::Future;
use std::ops::Range;

use snafu::Snafu;

use crate::decode::Cell;

/// Writes rows.
pub trait Sink: Send + Sync + 'static {
    /// Returns how many rows make one full request, or several where rows differ in their replicas.
    fn appetite(&self) -> usize;

    /// Sorts rows of one query into requests: those that share one stand together in its range.
    /// By default they are as they stand, as many to a request as make a full one.
    fn requests(&self, _query: usize, rows: &mut [Row<'_>]) -> Vec<Range<usize>> {
        let full = self.appetite();
        (0..rows.len()).step_by(full).map(|start| start..rows.len().min(start + full)).collect()
    }

    /// Writes rows of one query in one request and waits until enough replicas have them. An error is that of the
    /// request: any of the rows may be there, and none need be. Writing the same rows again changes nothing.
    fn write(&self, query: usize, rows: &[Row<'_>]) -> impl Future<Output = Result<(), WriteRows>> + Send;

    /// Returns whether the row of a query with this key is there, as enough replicas have it. The key is one column of
    /// text; only the canary's table is read. An error says why the sink does not answer.
    fn read_back(&self, query: usize, key: &str) -> impl Future<Output = Result<bool, String>> + Send;
}

/// One row to be written.
#[derive(Clone, Copy, Debug)]
pub struct Row<'record> {
    /// Which of the records that are settled together it comes from.
    pub record: usize,
    /// Cells in the order of the table's columns: of all columns, or of the primary key alone if the row is deleted.
    pub cells: &'record [Cell<'record>],
    /// Whether the row is deleted, as far as it was written before.
    pub deletes: bool,
    /// Timestamp of the cells in microseconds. Absent: the server's clock, which only a sabotaged worker uses.
    pub timestamp: Option<i64>,
    /// Bytes of the record that it comes from, or of the row where a record becomes several.
    pub bytes: usize,
}

/// Why rows are not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum WriteRows {
    /// The sink is away, slow or overloaded: the same rows are written again.
    #[snafu(display("cassandra has not acknowledged rows: {problem}"))]
    AwaitSink {
        /// What the client says.
        problem: String,
    },
    /// Table and settings do not match, or the worker may not write: the rows wait until somebody mends it.
    #[snafu(display("cassandra cannot take rows of query {query}: {problem}"))]
    MendSchema {
        /// Index of the query.
        query: usize,
        /// What does not match.
        problem: String,
    },
    /// The server takes rows of this table, but never one of these, or not all of them at once.
    #[snafu(display("cassandra refuses a row: {problem}"))]
    RefuseRows {
        /// What the server says.
        problem: String,
    },
}
