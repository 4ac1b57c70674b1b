//! The question to the judge of a query's SQL: the compiler, in the same process or in one of its own.

use serde::{Deserialize, Serialize};

use crate::{SqlSettings, TableSettings};

/// A query's SQL and all that decides whether it can run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SqlQuestion {
    /// The SQL, and the columns of its stream.
    pub sql: SqlSettings,
    /// Name of the stream, which is that of the topic.
    pub from: String,
    /// The table that its rows are for.
    pub into: TableSettings,
}
