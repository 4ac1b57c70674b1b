//! Rows of tables: read-only and limited.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tables of a pipeline, as it declares them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Tables {
    /// Keyspace.
    pub keyspace: String,
    /// The tables.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Columns, those of the key first.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Column {
    /// Name.
    pub name: String,
    /// CQL type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its part in the primary key.
    pub role: Role,
    /// Whether its values are masked for the viewer.
    pub masked: bool,
}

/// Part of a column in the primary key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum Role {
    /// Of the partition key.
    Partition,
    /// Of the clustering key.
    Clustering,
    /// None.
    Regular,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Query {
    /// Most rows of the answer, 1 to 500. Absent: 50.
    pub limit: Option<u32>,
    /// Values of key columns as text, by name: a JSON object such as `{"id":"a"}`. All of the partition key, and any
    /// beginning of the clustering key. Absent: any rows.
    pub key: Option<String>,
}

/// Rows that were found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// Columns, in the order of the cells.
    pub columns: Vec<Column>,
    /// Cells of each row: JSON as Cassandra writes it; `null` where the cell is empty.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there are more rows than the limit.
    pub more: bool,
    /// The statement.
    pub cql: String,
    /// The command that shows the same.
    pub kubectl: String,
}
