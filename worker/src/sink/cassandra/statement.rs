//! The insert statement of a table, whether it fits the table that the server has, and the values bound to it.

use std::net::IpAddr;

use scylla::cluster::metadata::{ColumnType as CqlType, NativeType};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::{CellWriter, RowWriter};
use scylla::statement::prepared::PreparedStatement;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use worker_settings::ColumnType;

use crate::decode::{Cell, Table};
use crate::sink::Row;

/// How a table on the server differs from the settings.
#[derive(Debug, PartialEq, Snafu)]
pub(super) enum Mismatch {
    #[snafu(display("the insert has {actual} values instead of {expected}"))]
    CountValues { expected: usize, actual: usize },
    #[snafu(display("column '{column}' of table '{table}' is {actual} on the server and {expected} in the settings"))]
    MatchType { table: String, column: String, expected: &'static str, actual: String },
}

/// Returns the insert of all columns. Names are quoted, so that any name and case stands for itself.
pub(super) fn insert(keyspace: &str, table: &Table, with_timestamp: bool) -> String {
    let columns: Vec<String> = table.columns().map(|(name, _)| quote(name)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let timestamp = if with_timestamp { " USING TIMESTAMP ?" } else { "" };
    let (keyspace, table) = (quote(keyspace), quote(table.name()));
    format!("INSERT INTO {keyspace}.{table} ({}) VALUES ({marks}){timestamp}", columns.join(", "))
}

/// Returns a question about any one row of a table.
pub(super) fn probe(keyspace: &str, table: &Table) -> String {
    let column = table.columns().next().map_or_else(|| "*".to_owned(), |(name, _)| quote(name));
    format!("SELECT {column} FROM {}.{} LIMIT 1", quote(keyspace), quote(table.name()))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Compares what the server expects to be bound with what the settings say.
pub(super) fn check(prepared: &PreparedStatement, table: &Table) -> Result<(), Mismatch> {
    let specs = prepared.get_variable_col_specs();
    let expected = table.columns().len();
    ensure!(specs.len() >= expected, CountValuesSnafu { expected, actual: specs.len() });
    for ((column, column_type), spec) in table.columns().zip(specs.iter()) {
        let fits = *spec.typ() == CqlType::Native(native(column_type));
        let actual = || format!("{:?}", spec.typ());
        let mismatch = MatchTypeSnafu { table: table.name(), column, expected: column_type.cql(), actual: actual() };
        ensure!(fits, mismatch);
    }
    Ok(())
}

fn native(column_type: ColumnType) -> NativeType {
    match column_type {
        ColumnType::Ascii => NativeType::Ascii,
        ColumnType::Bigint => NativeType::BigInt,
        ColumnType::Boolean => NativeType::Boolean,
        ColumnType::Date => NativeType::Date,
        ColumnType::Double => NativeType::Double,
        ColumnType::Float => NativeType::Float,
        ColumnType::Inet => NativeType::Inet,
        ColumnType::Int => NativeType::Int,
        ColumnType::Smallint => NativeType::SmallInt,
        ColumnType::Text => NativeType::Text,
        ColumnType::Timestamp => NativeType::Timestamp,
        ColumnType::Timeuuid => NativeType::Timeuuid,
        ColumnType::Tinyint => NativeType::TinyInt,
        ColumnType::Uuid => NativeType::Uuid,
    }
}

/// The cells of a row and its timestamp, written straight into the request. Types were checked at preparation.
#[derive(Clone, Copy)]
pub(super) struct Values<'record> {
    pub(super) cells: &'record [Cell<'record>],
    /// Absent: the statement has no timestamp.
    pub(super) timestamp: Option<i64>,
}

impl<'record> Values<'record> {
    pub(super) fn of(row: &Row<'record>) -> Self {
        Self { cells: row.cells, timestamp: row.timestamp }
    }
}

/// Why a row cannot be bound; a bug or a changed table.
#[derive(Debug, Snafu)]
enum BindRow {
    #[snafu(display("the statement wants {wanted} values, the row has {given}"))]
    CountCells { wanted: usize, given: usize },
    #[snafu(display("cell {index} is longer than a cell may be"))]
    FitCell { index: usize, source: scylla::serialize::writers::CellOverflowError },
    #[snafu(display("cell {index} is a date out of range"))]
    FitDate { index: usize },
}

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let given = self.cells.len() + usize::from(self.timestamp.is_some());
        let wanted = context.columns().len();
        if given != wanted {
            return Err(SerializationError::new(CountCellsSnafu { wanted, given }.build()));
        }
        let timestamp = self.timestamp.map(Cell::Bigint);
        for (index, cell) in self.cells.iter().chain(&timestamp).enumerate() {
            bind(index, cell, writer.make_cell_writer()).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

fn bind(index: usize, cell: &Cell<'_>, writer: CellWriter<'_>) -> Result<(), BindRow> {
    let written = match cell {
        Cell::Unset => {
            writer.set_unset();
            return Ok(());
        }
        Cell::Null => {
            writer.set_null();
            return Ok(());
        }
        Cell::Bigint(number) | Cell::Timestamp(number) => writer.set_value(&number.to_be_bytes()),
        Cell::Boolean(boolean) => writer.set_value(&[u8::from(*boolean)]),
        Cell::Date(days) => writer.set_value(&cql_date(*days).context(FitDateSnafu { index })?.to_be_bytes()),
        Cell::Double(number) => writer.set_value(&number.to_be_bytes()),
        Cell::Float(number) => writer.set_value(&number.to_be_bytes()),
        Cell::Inet(IpAddr::V4(address)) => writer.set_value(&address.octets()),
        Cell::Inet(IpAddr::V6(address)) => writer.set_value(&address.octets()),
        Cell::Int(number) => writer.set_value(&number.to_be_bytes()),
        Cell::Smallint(number) => writer.set_value(&number.to_be_bytes()),
        Cell::Text(text) => writer.set_value(text.as_bytes()),
        Cell::Timeuuid(uuid) | Cell::Uuid(uuid) => writer.set_value(uuid.as_bytes()),
        Cell::Tinyint(number) => writer.set_value(&number.to_be_bytes()),
    };
    written.map(|_| ()).context(FitCellSnafu { index })
}

/// CQL counts days from 2^31 days before the Unix epoch.
fn cql_date(days: i32) -> Option<u32> {
    u32::try_from(i64::from(days) + (1 << 31)).ok()
}

#[cfg(test)]
mod tests {
    use worker_settings::{ColumnSettings, TableSettings};

    use super::*;

    fn table() -> Table {
        let column = |name: &str, column_type| ColumnSettings { name: name.to_owned(), column_type };
        Table::new(&TableSettings {
            name: "people".to_owned(),
            columns: vec![column("id", ColumnType::Uuid), column("odd \"name\"", ColumnType::Text)],
            primary_key: vec!["id".to_owned()],
        })
    }

    #[test]
    fn inserts_quote_names_and_carry_the_timestamp() {
        let plain = "INSERT INTO \"streams\".\"people\" (\"id\", \"odd \"\"name\"\"\") VALUES (?, ?)";
        assert_eq!(insert("streams", &table(), false), plain);
        assert_eq!(insert("streams", &table(), true), format!("{plain} USING TIMESTAMP ?"));
    }

    #[test]
    fn cells_are_bound_as_the_protocol_wants_them() {
        let cells: [(Cell<'_>, &[u8]); 8] = [
            (Cell::Unset, &[255, 255, 255, 254]),
            (Cell::Null, &[255, 255, 255, 255]),
            (Cell::Boolean(true), &[0, 0, 0, 1, 1]),
            (Cell::Date(-1), &[0, 0, 0, 4, 0x7f, 255, 255, 255]),
            (Cell::Int(-2), &[0, 0, 0, 4, 255, 255, 255, 254]),
            (Cell::Text("é".into()), &[0, 0, 0, 2, 0xc3, 0xa9]),
            (
                Cell::Inet("::1".parse().expect("an address")),
                &[0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ),
            (Cell::Timestamp(258), &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2]),
        ];
        for (cell, expected) in cells {
            let mut buffer = Vec::new();
            bind(0, &cell, RowWriter::new(&mut buffer).make_cell_writer()).expect("it fits");
            assert_eq!(buffer, expected, "{cell:?}");
        }
    }
}
