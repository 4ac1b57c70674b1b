//! What is wrong with a query's SQL, and where.

use std::fmt;

use sqlparser::tokenizer::{Location, Span};

/// A place in the SQL, both counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Character in the line.
    pub column: u64,
}

impl Position {
    /// Returns where a piece of SQL begins, or `otherwise` where the parser does not know.
    pub(crate) fn of(span: Span, otherwise: Self) -> Self {
        let Location { line, column } = span.start;
        if line == 0 { otherwise } else { Self { line, column } }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A user error in the SQL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// The table's column that the faulty expression fills; `None` outside of the SELECT list.
    pub column: Option<String>,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, column: None, message: message.into() }
    }

    /// Names the column, unless something inside has named it.
    pub(crate) fn of_column(self, column: &str) -> Self {
        Self { column: self.column.or_else(|| Some(column.to_owned())), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{}: column '{column}': {}", self.position, self.message),
            None => write!(f, "{}: {}", self.position, self.message),
        }
    }
}

impl std::error::Error for Problem {}

pub(crate) type Result<T> = std::result::Result<T, Problem>;
