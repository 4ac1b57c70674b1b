//! The statements that write and delete rows of a table, whether they fit the table that the server has, and the values
//! bound to them.

use millrace_terms::{ColumnType, TypeSettings};
use scylla::cluster::metadata::{CollectionType, ColumnType as CqlType, NativeType};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::{CellWriter, RowWriter};
use scylla::statement::prepared::PreparedStatement;
use snafu::{ResultExt, Snafu, ensure};

use crate::decode::{Cell, Table};
use crate::sink::Row;

/// How a table on the server differs from the settings.
#[derive(Debug, PartialEq, Snafu)]
pub(super) enum Mismatch {
    #[snafu(display("the insert has {actual} values instead of {expected}"))]
    CountValues { expected: usize, actual: usize },
    #[snafu(display("column '{column}' of table '{table}' is {actual} on the server and {expected} in the settings"))]
    MatchType { table: String, column: String, expected: String, actual: String },
}

/// Returns the insert of all columns. Names are quoted, so that any name and case stands for itself.
pub(super) fn insert(keyspace: &str, table: &Table, with_timestamp: bool) -> String {
    let columns: Vec<String> = table.columns().map(|(name, _)| quote(name)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let timestamp = if with_timestamp { " USING TIMESTAMP ?" } else { "" };
    let (keyspace, table) = (quote(keyspace), quote(table.name()));
    format!("INSERT INTO {keyspace}.{table} ({}) VALUES ({marks}){timestamp}", columns.join(", "))
}

/// Returns the delete of one row by its whole primary key.
pub(super) fn delete(keyspace: &str, table: &Table, with_timestamp: bool) -> String {
    let columns: Vec<String> = table.columns().map(|(name, _)| quote(name)).collect();
    let key: Vec<String> = table.key_columns().map(|index| format!("{} = ?", columns[index])).collect();
    let timestamp = if with_timestamp { " USING TIMESTAMP ?" } else { "" };
    let (keyspace, table) = (quote(keyspace), quote(table.name()));
    format!("DELETE FROM {keyspace}.{table}{timestamp} WHERE {}", key.join(" AND "))
}

/// Returns the read of the primary key of one row.
pub(super) fn select(keyspace: &str, table: &Table) -> String {
    let columns: Vec<String> = table.columns().map(|(name, _)| quote(name)).collect();
    let key: Vec<&str> = table.key_columns().map(|index| columns[index].as_str()).collect();
    let wanted: Vec<String> = key.iter().map(|column| format!("{column} = ?")).collect();
    let (keyspace, table) = (quote(keyspace), quote(table.name()));
    format!("SELECT {} FROM {keyspace}.{table} WHERE {}", key.join(", "), wanted.join(" AND "))
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
        let actual = || format!("{:?}", spec.typ());
        let expected = column_type.to_string();
        let mismatch = MatchTypeSnafu { table: table.name(), column, expected, actual: actual() };
        ensure!(fits(column_type, table.types(), spec.typ()), mismatch);
    }
    Ok(())
}

/// Returns whether values of a type are what the server expects. It does not say what is frozen, since values are the
/// same. Of a user-defined type it may have further fields after ours: those are null.
fn fits(column_type: &ColumnType, types: &[TypeSettings], server: &CqlType<'_>) -> bool {
    let fits = |inner: &ColumnType, server: &CqlType<'_>| fits(inner, types, server);
    match (column_type, server) {
        (ColumnType::Frozen(inner), server) => fits(inner, server),
        (ColumnType::List(element), CqlType::Collection { typ: CollectionType::List(found), .. })
        | (ColumnType::Set(element), CqlType::Collection { typ: CollectionType::Set(found), .. }) => {
            fits(element, found)
        }
        (ColumnType::Map(key, value), CqlType::Collection { typ: CollectionType::Map(found_key, found), .. }) => {
            fits(key, found_key) && fits(value, found)
        }
        (ColumnType::Tuple(members), CqlType::Tuple(found)) => {
            members.len() == found.len() && members.iter().zip(found).all(|(member, found)| fits(member, found))
        }
        (ColumnType::Vector(element, dimension), CqlType::Vector { typ, dimensions }) => {
            dimension == dimensions && fits(element, typ)
        }
        (ColumnType::UserDefined(name), CqlType::UserDefinedType { definition, .. }) => {
            let Some(ours) = types.iter().find(|one| one.name == *name) else {
                return false;
            };
            let mut fields = ours.fields.iter().zip(&definition.field_types);
            definition.name == *name
                && ours.fields.len() <= definition.field_types.len()
                && fields.all(|(ours, (name, found))| ours.name == *name && fits(&ours.column_type, found))
        }
        (simple, CqlType::Native(found)) => native(simple).is_some_and(|native| native == *found),
        _ => false,
    }
}

fn native(column_type: &ColumnType) -> Option<NativeType> {
    Some(match column_type {
        ColumnType::Ascii => NativeType::Ascii,
        ColumnType::Bigint => NativeType::BigInt,
        ColumnType::Blob => NativeType::Blob,
        ColumnType::Boolean => NativeType::Boolean,
        ColumnType::Date => NativeType::Date,
        ColumnType::Decimal => NativeType::Decimal,
        ColumnType::Double => NativeType::Double,
        ColumnType::Duration => NativeType::Duration,
        ColumnType::Float => NativeType::Float,
        ColumnType::Inet => NativeType::Inet,
        ColumnType::Int => NativeType::Int,
        ColumnType::Smallint => NativeType::SmallInt,
        ColumnType::Text => NativeType::Text,
        ColumnType::Time => NativeType::Time,
        ColumnType::Timestamp => NativeType::Timestamp,
        ColumnType::Timeuuid => NativeType::Timeuuid,
        ColumnType::Tinyint => NativeType::TinyInt,
        ColumnType::Uuid => NativeType::Uuid,
        ColumnType::Varint => NativeType::Varint,
        ColumnType::List(_)
        | ColumnType::Set(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::Vector(..)
        | ColumnType::UserDefined(_)
        | ColumnType::Frozen(_) => return None,
    })
}

/// The cells of a row and its timestamp, written straight into the request. Types were checked at preparation.
#[derive(Clone, Copy)]
pub(super) struct Values<'record> {
    pub(super) cells: &'record [Cell<'record>],
    /// Whether they are of a delete, which has its timestamp before its cells and not behind them.
    pub(super) deletes: bool,
    /// Absent: the statement has no timestamp.
    pub(super) timestamp: Option<i64>,
}

impl<'record> Values<'record> {
    pub(super) fn of(row: &Row<'record>) -> Self {
        Self { cells: row.cells, deletes: row.deletes, timestamp: row.timestamp }
    }
}

/// Why a row cannot be bound; a bug or a changed table.
#[derive(Debug, Snafu)]
enum BindRow {
    #[snafu(display("the statement wants {wanted} values, the row has {given}"))]
    CountCells { wanted: usize, given: usize },
    #[snafu(display("cell {index} is longer than a cell may be"))]
    FitCell { index: usize, source: scylla::serialize::writers::CellOverflowError },
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
        let (first, last) = match self.deletes {
            true => (timestamp.as_slice(), self.cells),
            false => (self.cells, timestamp.as_slice()),
        };
        for (index, cell) in first.iter().chain(last).enumerate() {
            bind(index, cell, writer.make_cell_writer()).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

fn bind(index: usize, cell: &Cell<'_>, writer: CellWriter<'_>) -> Result<(), BindRow> {
    match cell {
        Cell::Unset => drop(writer.set_unset()),
        Cell::Null => drop(writer.set_null()),
        cell => cell.encoded(|bytes| writer.set_value(bytes)).transpose().map(drop).context(FitCellSnafu { index })?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_terms::{ColumnSettings, TableSettings};
    use scylla::cluster::metadata::UserDefinedType;

    use super::*;

    fn table() -> Table {
        let column = |name: &str, column_type| ColumnSettings { name: name.to_owned(), column_type };
        Table::new(&TableSettings {
            name: "people".to_owned(),
            columns: vec![column("id", ColumnType::Uuid), column("odd \"name\"", ColumnType::Text)],
            primary_key: vec!["id".to_owned()],
            types: Vec::new(),
        })
    }

    #[test]
    fn inserts_quote_names_and_carry_the_timestamp() {
        let plain = "INSERT INTO \"streams\".\"people\" (\"id\", \"odd \"\"name\"\"\") VALUES (?, ?)";
        assert_eq!(insert("streams", &table(), false), plain);
        assert_eq!(insert("streams", &table(), true), format!("{plain} USING TIMESTAMP ?"));
    }

    #[test]
    fn reads_name_the_primary_key_alone() {
        let text = "SELECT \"id\" FROM \"streams\".\"people\" WHERE \"id\" = ?";
        assert_eq!(select("streams", &table()), text);
    }

    #[test]
    fn deletes_name_the_whole_primary_key_and_carry_the_timestamp() {
        let column = |name: &str, column_type| ColumnSettings { name: name.to_owned(), column_type };
        let table = Table::new(&TableSettings {
            name: "lines".to_owned(),
            columns: vec![
                column("id", ColumnType::Uuid),
                column("n", ColumnType::Int),
                column("Line", ColumnType::Int),
            ],
            primary_key: vec!["Line".to_owned(), "id".to_owned()],
            types: Vec::new(),
        });
        let condition = "WHERE \"id\" = ? AND \"Line\" = ?";
        assert_eq!(delete("streams", &table, false), format!("DELETE FROM \"streams\".\"lines\" {condition}"));
        let timed = format!("DELETE FROM \"streams\".\"lines\" USING TIMESTAMP ? {condition}");
        assert_eq!(delete("streams", &table, true), timed);
    }

    #[test]
    fn cells_are_bound_as_the_protocol_wants_them() {
        let cells: [(Cell<'_>, &[u8]); 10] = [
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
            (Cell::Encoded(vec![7, 8]), &[0, 0, 0, 2, 7, 8]),
            (Cell::Time(258), &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2]),
            (Cell::Timestamp(258), &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2]),
        ];
        for (cell, expected) in cells {
            let mut buffer = Vec::new();
            bind(0, &cell, RowWriter::new(&mut buffer).make_cell_writer()).expect("it fits");
            assert_eq!(buffer, expected, "{cell:?}");
        }
    }

    fn column_type(text: &str) -> ColumnType {
        text.parse().expect(text)
    }

    /// What Cassandra says of the column types of a statement.
    fn server(text: &str) -> CqlType<'static> {
        let collection = |typ| CqlType::Collection { frozen: false, typ };
        match column_type(text) {
            ColumnType::Frozen(inner) => server(&inner.to_string()),
            ColumnType::List(element) => collection(CollectionType::List(Box::new(server(&element.to_string())))),
            ColumnType::Set(element) => collection(CollectionType::Set(Box::new(server(&element.to_string())))),
            ColumnType::Map(key, value) => collection(CollectionType::Map(
                Box::new(server(&key.to_string())),
                Box::new(server(&value.to_string())),
            )),
            ColumnType::Tuple(members) => {
                CqlType::Tuple(members.iter().map(|member| server(&member.to_string())).collect())
            }
            ColumnType::Vector(element, dimensions) => {
                CqlType::Vector { typ: Box::new(server(&element.to_string())), dimensions }
            }
            ColumnType::UserDefined(name) => CqlType::UserDefinedType {
                frozen: false,
                definition: Arc::new(UserDefinedType {
                    name: name.into(),
                    keyspace: "streams".into(),
                    field_types: vec![("street".into(), server("text")), ("number".into(), server("int"))],
                }),
            },
            simple => CqlType::Native(native(&simple).expect("it is simple")),
        }
    }

    #[test]
    fn types_fit_those_of_the_server_whatever_is_frozen() {
        let field = |name: &str, text: &str| ColumnSettings { name: name.to_owned(), column_type: column_type(text) };
        let address = |fields: Vec<ColumnSettings>| [TypeSettings { name: "address".to_owned(), fields }];
        let types = address(vec![field("street", "text"), field("number", "int")]);
        let different = [
            "int",
            "varint",
            "set<int>",
            "frozen<list<int>>",
            "map<text, frozen<address>>",
            "tuple<int, text>",
            "tuple<int>",
            "vector<float, 3>",
            "vector<float, 4>",
            "address",
        ];
        for ours in different {
            for theirs in different {
                assert_eq!(fits(&column_type(ours), &types, &server(theirs)), ours == theirs, "{ours} and {theirs}");
            }
        }
        let ours = column_type("frozen<address>");
        let fits_with = |fields| fits(&ours, &address(fields), &server("address"));
        assert!(fits_with(vec![field("street", "text")]), "the server has a further field");
        assert!(!fits_with(vec![field("number", "int")]), "the server has another first field");
        assert!(!fits_with(vec![field("street", "ascii")]), "of another type");
        assert!(!fits_with(vec![field("street", "text"), field("number", "int"), field("city", "text")]), "one more");
    }
}
