//! One cell from a value of SQL: the column's type has the last word, as it has for a field of a record.

use std::borrow::Cow;

use millrace_sql::Value;
use worker_settings::ColumnType;

use super::Cell;
use crate::rejection::excerpt;

impl<'record> Cell<'record> {
    /// Makes the cell of a column; the error says why the value does not fit.
    pub(super) fn of(column_type: &ColumnType, value: Value<'record>) -> Result<Self, String> {
        match (value, column_type) {
            (Value::Absent, _) => Ok(Self::Unset),
            (Value::Null, _) => Ok(Self::Null),
            (Value::Json(text), _) => Self::parse(*column_type, text).map_err(|wanted| misfit(wanted, text)),
            (Value::Text(text), ColumnType::Text) => Ok(Self::Text(text)),
            (Value::Text(text), _) => {
                let json = serde_json::to_string(&text).expect("a text is a JSON string");
                read(column_type, &json)
            }
            (Value::Integer(number), ColumnType::Bigint) => Ok(Self::Bigint(number)),
            (Value::Integer(number), _) => read(column_type, &number.to_string()),
            (Value::Double(number), ColumnType::Double) if number.is_finite() => Ok(Self::Double(number)),
            (Value::Double(number), _) => read(column_type, &number.to_string()),
            (Value::Number(number), _) => read(column_type, &number),
            (Value::Boolean(truth), _) => read(column_type, &truth.to_string()),
            (Value::Date(days), ColumnType::Date) => Ok(Self::Date(days)),
            (Value::Timestamp(millis), ColumnType::Timestamp) => Ok(Self::Timestamp(millis)),
            // Compiling has refused these.
            (Value::Date(_) | Value::Timestamp(_), _) => Err(format!("{} holds no date", column_type.cql())),
        }
    }
}

/// Reads the JSON form of a computed value, which nobody keeps.
fn read(column_type: &ColumnType, json: &str) -> Result<Cell<'static>, String> {
    Cell::parse(*column_type, json).map(owned).map_err(|wanted| misfit(wanted, json))
}

fn misfit(wanted: &str, json: &str) -> String {
    format!("wants {wanted}, not {}", excerpt(json))
}

fn owned(cell: Cell<'_>) -> Cell<'static> {
    match cell {
        Cell::Unset => Cell::Unset,
        Cell::Null => Cell::Null,
        Cell::Bigint(number) => Cell::Bigint(number),
        Cell::Boolean(truth) => Cell::Boolean(truth),
        Cell::Date(days) => Cell::Date(days),
        Cell::Double(number) => Cell::Double(number),
        Cell::Float(number) => Cell::Float(number),
        Cell::Inet(address) => Cell::Inet(address),
        Cell::Int(number) => Cell::Int(number),
        Cell::Smallint(number) => Cell::Smallint(number),
        Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        Cell::Timestamp(millis) => Cell::Timestamp(millis),
        Cell::Timeuuid(uuid) => Cell::Timeuuid(uuid),
        Cell::Tinyint(number) => Cell::Tinyint(number),
        Cell::Uuid(uuid) => Cell::Uuid(uuid),
    }
}
