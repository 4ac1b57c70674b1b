//! What the names in the SQL mean: a column of the stream, an element of the unnested array, its position.

use millrace_terms::{Position, Problem, StreamColumn, StreamType};
use sqlparser::ast::Ident;

use crate::extract::Step;
use crate::position::{Result, position_of};
use crate::statement::{Parts, Unnest};

/// Which document a field is read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// The record.
    Record,
    /// An element of the record's unnested array.
    Element,
}

/// How a field is read, and so its type in the SQL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Read {
    /// As a type of the stream; never `json`.
    Typed(StreamType),
    /// Not at all yet: a JSON value that wants a path, a CAST, or a column of the table.
    Json,
    /// As text: a string's own, any other value's JSON.
    Text,
    /// The position of the element in its array, from 1.
    Ordinal,
}

impl From<StreamType> for Read {
    fn from(stream_type: StreamType) -> Self {
        match stream_type {
            StreamType::Json => Self::Json,
            other => Self::Typed(other),
        }
    }
}

/// A field of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    pub(crate) level: Level,
    pub(crate) path: Vec<Step>,
    pub(crate) read: Read,
    /// Whether the type is that of a CAST, and not only declared.
    pub(crate) is_cast: bool,
    /// As the SQL writes it, for messages.
    pub(crate) name: String,
}

/// The names that an expression may use.
pub(crate) struct Scope<'a> {
    stream: &'a str,
    alias: Option<String>,
    columns: &'a [StreamColumn],
    unnest: Option<(String, String, Option<String>)>,
}

impl<'a> Scope<'a> {
    /// Takes the names from FROM; the stream must be the one that there is.
    pub(crate) fn new(parts: &Parts, stream: &'a str, columns: &'a [StreamColumn]) -> Result<Self> {
        let name = &parts.stream.name;
        if name.value != stream {
            let position = position_of(name.span, Position { line: 1, column: 1 });
            let written = quoted(stream);
            return Err(Problem::new(
                position,
                format!("'{}' is not a stream of this query, which reads one: FROM {written}", name.value),
            ));
        }
        let unnest = parts.unnest.as_ref().map(|Unnest { table, element, ordinal, .. }| {
            (table.value.clone(), element.value.clone(), ordinal.as_ref().map(|name| name.value.clone()))
        });
        let alias = parts.stream.alias.as_ref().map(|alias| alias.value.clone());
        Ok(Self { stream, alias, columns, unnest })
    }

    /// Returns the stream's columns, for `SELECT *`.
    pub(crate) fn columns(&self) -> impl Iterator<Item = Field> + use<'a> {
        self.columns.iter().map(column)
    }

    /// Looks a name up.
    pub(crate) fn resolve(&self, position: Position, names: &[Ident]) -> Result<Field> {
        let (table, name) = match names {
            [name] => (None, &name.value),
            [table, name] => (Some(&table.value), &name.value),
            _ => return Err(Problem::new(position, "a column is written as name or table.name")),
        };
        let of_stream = table.is_none_or(|table| match &self.alias {
            Some(alias) => table == alias,
            None => table == self.stream,
        });
        if let Some((unnested, element, ordinal)) = &self.unnest
            && table.is_none_or(|table| table == unnested)
        {
            let field = |read| {
                let name = name.clone();
                Field { level: Level::Element, path: Vec::new(), read, is_cast: false, name }
            };
            if name == element {
                return Ok(field(Read::Json));
            }
            if Some(name) == ordinal.as_ref() {
                return Ok(field(Read::Ordinal));
            }
        }
        if of_stream && let Some(found) = self.columns.iter().find(|column| column.name == *name) {
            return Ok(column(found));
        }
        Err(Problem::new(position, self.unknown(table, name, of_stream)))
    }

    fn unknown(&self, table: Option<&String>, name: &str, of_stream: bool) -> String {
        if let Some(table) = table
            && !of_stream
        {
            if self.columns.iter().any(|column| column.name == *table && column.column_type == StreamType::Json) {
                return format!("a field of json column '{table}' is written {table}->'{name}' or {table}->>'{name}'");
            }
            return format!("'{table}' has no column '{name}', or is not a table here");
        }
        let elements = self.unnest.iter().flat_map(|(_, element, ordinal)| [Some(element), ordinal.as_ref()]).flatten();
        let known = self.columns.iter().map(|column| &column.name).chain(elements);
        let like = known.min_by_key(|known| distance(known, name)).filter(|known| distance(known, name) <= 2);
        match like {
            Some(like) => {
                format!("'{name}' is not a column of stream '{}'; did you mean {}?", self.stream, quoted(like))
            }
            None => format!("'{name}' is not a column of stream '{}'; declare it in columns", self.stream),
        }
    }
}

fn column(column: &StreamColumn) -> Field {
    let StreamColumn { name, column_type } = column;
    Field {
        level: Level::Record,
        path: vec![Step::Field(name.clone())],
        read: Read::from(*column_type),
        is_cast: false,
        name: name.clone(),
    }
}

/// Writes a name so that SQL takes it.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

/// How many letters differ, regardless of case (Levenshtein); enough to find a misspelt name.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
