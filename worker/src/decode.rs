//! Decoding and binding: the bytes of consumed records and a query become the cells of rows. Pure.
//!
//! Without SQL, a field goes to the column of the same name. An absent field leaves its cell as it is (UNSET), an
//! explicit null clears it, and nothing is converted silently: a number is no text and a text is no number. With SQL,
//! [`Decoder`] does what the query says.

mod cell;
mod decoder;
mod value;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use snafu::ensure;
use worker_settings::{ColumnType, TableSettings};

use crate::rejection::{
    BadValueSnafu, MissingKeySnafu, NotJsonSnafu, Rejection, TooLargeSnafu, UnknownFieldSnafu, excerpt, hearsay,
};

pub use cell::Cell;
pub use decoder::{CompileSql, Decoder};

/// Largest record that becomes a row: what a Kafka topic takes by default, and well below Cassandra's own bound.
pub const LARGEST_RECORD: usize = 1 << 20;

/// A table as decoding needs it.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    column_type: ColumnType,
    is_key: bool,
}

/// The cells of one row in the order of the table's columns, borrowing from the record.
pub type Row<'record> = Vec<Cell<'record>>;

impl Table {
    /// Takes over a table from the settings.
    pub fn new(settings: &TableSettings) -> Self {
        let columns: Vec<Column> = settings
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                column_type: column.column_type,
                is_key: settings.primary_key.contains(&column.name),
            })
            .collect();
        let by_name = columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        Self { name: settings.name.clone(), columns, by_name }
    }

    /// Returns the table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names and types of the columns in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, ColumnType)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.column_type))
    }

    /// Returns the positions of the primary-key columns among the columns.
    pub fn key_columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_key).map(|(index, _)| index)
    }

    /// Decodes a record's value into the cells of a row.
    pub fn decode<'record>(&self, payload: Option<&'record [u8]>) -> Result<Row<'record>, Rejection> {
        let row = self.read(present(payload)?)?;
        self.check_key(&row)?;
        Ok(row)
    }

    /// Refuses a row without a part of its key.
    fn check_key(&self, row: &Row<'_>) -> Result<(), Rejection> {
        for index in self.key_columns() {
            let state = match row[index] {
                Cell::Unset => "absent",
                Cell::Null => "null",
                _ => continue,
            };
            return MissingKeySnafu { column: &self.columns[index].name, table: &self.name, state }.fail();
        }
        Ok(())
    }

    fn read<'record>(&self, payload: &'record [u8]) -> Result<Row<'record>, Rejection> {
        // Serde's errors carry text only, so the visitor leaves its own finding here and fails with a placeholder.
        let mut rejection = None;
        let mut deserializer = serde_json::Deserializer::from_slice(payload);
        let fields = Fields { table: self, rejection: &mut rejection };
        let row = fields.deserialize(&mut deserializer).and_then(|row| deserializer.end().map(|()| row));
        let error = match row {
            Ok(row) => return Ok(row),
            Err(error) => error,
        };
        match rejection {
            Some(rejection) if error.is_data() => Err(rejection),
            _ => NotJsonSnafu { problem: hearsay(&error.to_string()) }.fail(),
        }
    }
}

/// Returns a record's value, if it has one and it is not too large.
fn present(payload: Option<&[u8]>) -> Result<&[u8], Rejection> {
    let Some(payload) = payload else {
        return NotJsonSnafu { problem: "it has no value" }.fail();
    };
    ensure!(payload.len() <= LARGEST_RECORD, TooLargeSnafu { length: payload.len(), limit: LARGEST_RECORD });
    Ok(payload)
}

/// Reads one JSON object into a row.
struct Fields<'table> {
    table: &'table Table,
    rejection: &'table mut Option<Rejection>,
}

impl<'record> DeserializeSeed<'record> for Fields<'_> {
    type Value = Row<'record>;

    fn deserialize<D: serde::Deserializer<'record>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'record> Visitor<'record> for Fields<'_> {
    type Value = Row<'record>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'record>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut row = vec![Cell::Unset; self.table.columns.len()];
        let mut expected = 0;
        while let Some(Name(field)) = map.next_key()? {
            let text = map.next_value::<&RawValue>()?.get();
            // The rest is read on after a finding: what is not JSON at all is reported as such.
            if self.rejection.is_some() {
                continue;
            }
            let Some(index) = self.table.index(&field, expected) else {
                let unknown = UnknownFieldSnafu { field: excerpt(&field), table: &self.table.name };
                *self.rejection = Some(unknown.build());
                continue;
            };
            expected = index + 1;
            let column = &self.table.columns[index];
            match Cell::parse(column.column_type, text) {
                Ok(cell) => row[index] = cell,
                Err(wanted) => {
                    let bad = BadValueSnafu { column: &column.name, wanted, excerpt: excerpt(text) };
                    *self.rejection = Some(bad.build());
                }
            }
        }
        match self.rejection {
            Some(_) => Err(A::Error::custom("rejected")),
            None => Ok(row),
        }
    }
}

impl Table {
    /// Returns the position of a column; records mostly come with the fields in one order, so the next one is tried
    /// first.
    fn index(&self, field: &str, expected: usize) -> Option<usize> {
        match self.columns.get(expected) {
            Some(column) if column.name == field => Some(expected),
            _ => self.by_name.get(field).copied(),
        }
    }
}

/// A field name that borrows from the record unless it is escaped.
#[derive(serde::Deserialize)]
struct Name<'record>(#[serde(borrow)] Cow<'record, str>);

#[cfg(test)]
mod tests;
