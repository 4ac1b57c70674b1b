//! Why a consumed record can never become a row: the reason and message of a dead letter.

use std::borrow::Cow;

use snafu::Snafu;

/// A record that can never be written, and why. The discriminant is the reason in the dead letter's header and the
/// metric's label; the text is the message.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
#[snafu(visibility(pub))]
pub enum Rejection {
    /// Not UTF-8, not JSON, not an object, or no value at all.
    #[snafu(display("the record is not a JSON object: {problem}"))]
    NotJson {
        /// What the parser says.
        problem: String,
    },
    /// A primary-key column is absent or null.
    #[snafu(display("field '{column}' is {state}, but it is part of the primary key of table '{table}'"))]
    MissingKey {
        /// The column.
        column: String,
        /// The table.
        table: String,
        /// `absent` or `null`.
        state: &'static str,
    },
    /// The record has no value, and its key does not name the row that this deletes.
    #[snafu(display("the record has no value, and its key does not name a row of table '{table}': {problem}"))]
    BadKey {
        /// The table.
        table: String,
        /// What is wrong with the key.
        problem: String,
    },
    /// A field that the table has no column for.
    #[snafu(display("table '{table}' has no column '{field}'"))]
    UnknownField {
        /// The field, escaped and cut.
        field: String,
        /// The table.
        table: String,
    },
    /// A field that is there more than once: which of its values counts would be a guess.
    #[snafu(display("field '{field}' is there twice"))]
    RepeatedField {
        /// The field.
        field: String,
    },
    /// A field in a value that the user-defined type does not have.
    #[snafu(display("field '{path}' is unknown: type '{type_name}' has no such field"))]
    UnknownElement {
        /// The column with the path to the field, escaped and cut.
        path: String,
        /// The type.
        type_name: String,
    },
    /// A value that is not of the column's type, or out of its range.
    #[snafu(display("field '{column}' wants {wanted}, not {excerpt}"))]
    BadValue {
        /// The column, with the path to the faulty part of its value, such as `tags[3]` or `address.city`.
        column: String,
        /// The type and how it is written.
        wanted: Cow<'static, str>,
        /// The value as it stands in the record, escaped and cut.
        excerpt: String,
    },
    /// A record larger than a row may be.
    #[snafu(display("the record has {length} bytes, more than the {limit} bytes that a row may have"))]
    TooLarge {
        /// Length of the value.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// A field is not of the type that the stream declares, or that a CAST asks for.
    #[snafu(display("query '{query}': field {field} wants {wanted}, not {excerpt}"))]
    BadField {
        /// The query.
        query: String,
        /// The field, as the SQL writes it.
        field: String,
        /// The type and how it is written.
        wanted: &'static str,
        /// The value as it stands in the record, escaped and cut.
        excerpt: String,
    },
    /// A column's value cannot be computed, or does not fit the column.
    #[snafu(display("query '{query}': column '{column}': {problem}"))]
    BadColumn {
        /// The query.
        query: String,
        /// The column.
        column: String,
        /// Why.
        problem: String,
    },
    /// The condition cannot be computed.
    #[snafu(display("query '{query}': WHERE: {problem}"))]
    BadCondition {
        /// The query.
        query: String,
        /// Why.
        problem: String,
    },
    /// An array of the record is longer than a query may unnest.
    #[snafu(display("query '{query}': the record would become more than {limit} rows"))]
    TooManyRows {
        /// The query.
        query: String,
        /// The bound.
        limit: usize,
    },
    /// The server accepts the statement but not this row.
    #[snafu(display("cassandra refuses the row: {problem}"))]
    RefusedByCassandra {
        /// What the server says.
        problem: String,
    },
}

impl Rejection {
    /// Returns the stable name of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "NotJson",
            Self::MissingKey { .. } => "MissingKey",
            Self::BadKey { .. } => "BadKey",
            Self::UnknownField { .. } | Self::UnknownElement { .. } => "UnknownField",
            Self::RepeatedField { .. } => "RepeatedField",
            Self::BadValue { .. } => "BadValue",
            Self::TooLarge { .. } => "TooLarge",
            Self::BadField { .. } => "BadField",
            Self::BadColumn { .. } => "BadColumn",
            Self::BadCondition { .. } => "BadCondition",
            Self::TooManyRows { .. } => "TooManyRows",
            Self::RefusedByCassandra { .. } => "RefusedByCassandra",
        }
    }
}

/// Returns a short piece of foreign text that is safe in a log line and a header: escaped, at most 60 characters.
pub fn excerpt(text: &str) -> String {
    cut(text, 60)
}

/// Returns what another program says about foreign text, made safe likewise; such sentences are a little longer.
pub fn hearsay(text: &str) -> String {
    cut(text, 200)
}

fn cut(text: &str, longest: usize) -> String {
    let mut piece: String = text.chars().take(longest).flat_map(escape).collect();
    if text.chars().nth(longest).is_some() {
        piece.push('…');
    }
    piece
}

/// Escapes what a terminal or a log pipeline could take for something else; quotes stay, for JSON's sake.
fn escape(character: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = match character.is_control() {
        true => (None, Some(character.escape_default())),
        false => (Some(character), None),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_escaped() {
        assert_eq!(excerpt("\"a\"\n\u{1b}[31m"), "\"a\"\\n\\u{1b}[31m");
        assert_eq!(excerpt(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
    }
}
