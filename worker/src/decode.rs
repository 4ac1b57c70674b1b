//! Decoding and binding: the bytes of consumed records and a query become the cells of rows. Pure.
//!
//! Without SQL, a field goes to the column of the same name. An absent field leaves its cell as it is (UNSET), an
//! explicit null clears it, and nothing is converted silently: a number is not a text, nor a text a number. A field
//! without a column makes the record a dead letter, unless the query ignores such fields. With SQL,
//! [`Decoder`] does what the query says.

mod cell;
mod decoder;
mod fault;
mod key;
mod moment;
mod nested;
mod number;
mod value;
mod vint;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_terms::{ColumnType, EpochUnit, RecordSettings, TableSettings, TypeSettings, UnknownFields};
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use snafu::ensure;

use crate::rejection::{
    MissingKeySnafu, NotJsonSnafu, Rejection, RepeatedFieldSnafu, TooLargeSnafu, UnknownFieldSnafu, excerpt, hearsay,
};
use crate::text::plain;

pub use cell::Cell;
pub use decoder::{CompileSql, Decoded, Decoder};
use fault::Fault;

/// Largest record that becomes a row: what a Kafka topic takes by default, and well below Cassandra's own bound.
pub const LARGEST_RECORD: usize = 1 << 20;

/// A table as decoding needs it.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    /// Which column each field of the last record went to, in the record's order: records of a topic mostly come with
    /// the same fields in the same order, and a comparison is cheaper than a hash.
    order: Arc<[AtomicUsize]>,
    types: Vec<TypeSettings>,
    unknown_fields: UnknownFields,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    column_type: ColumnType,
    is_key: bool,
    /// What its integers count, if it is a timestamp. Absent: milliseconds.
    unit: Option<EpochUnit>,
}

impl Column {
    /// Reads the text of one JSON value; the error says where in the value what is wrong.
    fn parse<'record>(&self, types: &[TypeSettings], text: &'record str) -> Result<Cell<'record>, Box<Fault>> {
        match self.unit {
            None => Cell::parse(&self.column_type, types, text),
            Some(unit) => Cell::parse_timestamp(unit, text),
        }
    }
}

impl Table {
    /// Takes over a table from the settings.
    pub fn new(settings: &TableSettings) -> Self {
        let columns: Vec<Column> = settings
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                column_type: column.column_type.clone(),
                is_key: settings.primary_key.contains(&column.name),
                unit: None,
            })
            .collect();
        Self::of(settings.name.clone(), columns, settings.types.clone())
    }

    fn of(name: String, columns: Vec<Column>, types: Vec<TypeSettings>) -> Self {
        let by_name = columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        let order = (0..columns.len()).map(AtomicUsize::new).collect();
        Self { name, columns, by_name, order, types, unknown_fields: UnknownFields::Refuse }
    }

    /// Returns the table with the fields of records read as a query says.
    pub fn reading(mut self, records: &RecordSettings) -> Self {
        let RecordSettings { tombstones: _, unknown_fields, epoch_units } = records;
        self.unknown_fields = *unknown_fields;
        for column in &mut self.columns {
            column.unit = epoch_units.get(&column.name).copied();
        }
        self
    }

    /// Returns the table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names and types of the columns in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &ColumnType)> {
        self.columns.iter().map(|column| (column.name.as_str(), &column.column_type))
    }

    /// Returns the user-defined types that the columns use.
    pub fn types(&self) -> &[TypeSettings] {
        &self.types
    }

    /// Returns the positions of the primary-key columns among the columns.
    pub fn key_columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_key).map(|(index, _)| index)
    }

    /// Decodes a record's value into the cells of a row, in the order of the columns, behind those that are there; none
    /// is added if it is rejected.
    pub fn decode_onto<'record>(
        &self,
        cells: &mut Vec<Cell<'record>>,
        payload: Option<&'record [u8]>,
    ) -> Result<(), Rejection> {
        let start = cells.len();
        cells.resize(start + self.columns.len(), Cell::Unset);
        let decoded = self.fill(&mut cells[start..], payload);
        if decoded.is_err() {
            cells.truncate(start);
        }
        decoded
    }

    fn fill<'record>(&self, row: &mut [Cell<'record>], payload: Option<&'record [u8]>) -> Result<(), Rejection> {
        self.read(row, present(payload)?)?;
        self.check_key(row)
    }

    /// Refuses a row without a part of its key.
    fn check_key(&self, row: &[Cell<'_>]) -> Result<(), Rejection> {
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

    fn read<'record>(&self, row: &mut [Cell<'record>], payload: &'record [u8]) -> Result<(), Rejection> {
        // Serde's errors carry text only, so the visitor leaves its own finding here and fails with a placeholder.
        let mut rejection = None;
        // Checked once for the whole record; from bytes, every single text would be.
        let Ok(text) = std::str::from_utf8(payload) else {
            return NotJsonSnafu { problem: "it is not UTF-8" }.fail();
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = Fields { table: self, row, rejection: &mut rejection };
        let Err(error) = fields.deserialize(&mut deserializer).and_then(|()| deserializer.end()) else {
            return Ok(());
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
    plain(payload).map_err(|problem| NotJsonSnafu { problem }.build())
}

/// Reads one JSON object into a row.
struct Fields<'table, 'record> {
    table: &'table Table,
    row: &'table mut [Cell<'record>],
    rejection: &'table mut Option<Rejection>,
}

impl<'record> DeserializeSeed<'record> for Fields<'_, 'record> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'record>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'record> Visitor<'record> for Fields<'_, 'record> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'record>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut position = 0;
        while let Some(Name(field)) = map.next_key()? {
            let text = map.next_value::<&RawValue>()?.get();
            // The rest is read on after a finding: what is not JSON at all is reported as such.
            if self.rejection.is_some() {
                continue;
            }
            let Some(index) = self.table.index(&field, position) else {
                if self.table.unknown_fields == UnknownFields::Ignore {
                    continue;
                }
                let unknown = UnknownFieldSnafu { field: excerpt(&field), table: &self.table.name };
                *self.rejection = Some(unknown.build());
                continue;
            };
            position += 1;
            let column = &self.table.columns[index];
            if !matches!(self.row[index], Cell::Unset) {
                *self.rejection = Some(RepeatedFieldSnafu { field: &column.name }.build());
                continue;
            }
            match column.parse(&self.table.types, text) {
                Ok(cell) => self.row[index] = cell,
                Err(fault) => *self.rejection = Some(fault.reject(&column.name)),
            }
        }
        match self.rejection {
            Some(_) => Err(A::Error::custom("rejected")),
            None => Ok(()),
        }
    }
}

impl Table {
    /// Returns the column of a record's field, which is its `position`th; none has that name.
    fn index(&self, field: &str, position: usize) -> Option<usize> {
        let learned = self.order.get(position);
        if let Some(index) = learned.map(|learned| learned.load(Ordering::Relaxed))
            && self.columns[index].name == field
        {
            return Some(index);
        }
        let index = self.by_name.get(field).copied()?;
        if let Some(learned) = learned {
            learned.store(index, Ordering::Relaxed);
        }
        Some(index)
    }
}

/// A field name that borrows from the record unless it is escaped.
#[derive(serde::Deserialize)]
struct Name<'record>(#[serde(borrow)] Cow<'record, str>);

#[cfg(test)]
mod tests;
