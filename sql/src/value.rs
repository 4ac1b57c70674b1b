//! What a column gets from a record, before it is of the column's own type.

use std::borrow::Cow;

/// A value for a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'record> {
    /// The record does not have the field, or the query does not fill the column: the cell stays as it is.
    Absent,
    /// The cell is cleared.
    Null,
    /// A JSON value as it stands in the record.
    Json(&'record str),
    /// A text.
    Text(Cow<'record, str>),
    /// An integer of any type.
    Integer(i64),
    /// A number, possibly not finite.
    Double(f64),
    /// An exact number as its text.
    Number(String),
    /// true or false.
    Boolean(bool),
    /// Days since the Unix epoch.
    Date(i32),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// Why a record yields no rows although the query is sound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// Not UTF-8, not JSON, or not an object.
    NotJson {
        /// What the parser says.
        problem: String,
    },
    /// A field is not of the type that the stream declares, or that a CAST asks for.
    Field {
        /// The field, as the SQL writes it.
        field: String,
        /// The type and how it is written in JSON.
        wanted: &'static str,
        /// The value as it stands in the record, whole.
        found: String,
    },
    /// A column's value cannot be computed, or does not fit the column.
    Column {
        /// The table's column.
        column: String,
        /// Why.
        problem: String,
    },
    /// The condition cannot be computed.
    Where {
        /// Why.
        problem: String,
    },
    /// The unnested array is longer than a record's may be.
    TooManyRows {
        /// The bound.
        limit: usize,
    },
}
