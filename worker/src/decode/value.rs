//! One cell from a value of SQL: the column's type has the last word, as it has for a field of a record.

use std::borrow::Cow;

use millrace_sql::Value;
use millrace_terms::{ColumnType, TypeSettings};

use super::Cell;

impl<'record> Cell<'record> {
    /// Makes the cell of a column; the error says why the value does not fit.
    pub(super) fn of(column_type: &ColumnType, types: &[TypeSettings], value: Value<'record>) -> Result<Self, String> {
        let read = |json: &str| Self::parse_owned(column_type, types, json);
        match (value, column_type) {
            (Value::Absent, _) => Ok(Self::Unset),
            (Value::Null, _) => Ok(Self::Null),
            (Value::Json(text), _) => Self::parse(column_type, types, text).map_err(|fault| fault.to_string()),
            (Value::Text(text), ColumnType::Text) => Ok(Self::Text(text)),
            (Value::Text(text), _) => read(&serde_json::to_string(&text).expect("a text is a JSON string")),
            (Value::Integer(number), ColumnType::Bigint) => Ok(Self::Bigint(number)),
            (Value::Integer(number), _) => read(&number.to_string()),
            (Value::Double(number), ColumnType::Double) if number.is_finite() => Ok(Self::Double(number)),
            (Value::Double(number), _) => read(&number.to_string()),
            (Value::Number(number), _) => read(&number),
            (Value::Boolean(truth), ColumnType::Boolean) => Ok(Self::Boolean(truth)),
            (Value::Date(days), ColumnType::Date) => Ok(Self::Date(days)),
            (Value::Timestamp(millis), ColumnType::Timestamp) => Ok(Self::Timestamp(millis)),
            (Value::Boolean(_) | Value::Date(_) | Value::Timestamp(_), _) => {
                Err(format!("{column_type} takes no such value"))
            }
        }
    }

    /// Reads the JSON form of a computed value, which nobody keeps.
    fn parse_owned(column_type: &ColumnType, types: &[TypeSettings], json: &str) -> Result<Self, String> {
        match Cell::parse(column_type, types, json) {
            Ok(cell) => Ok(cell.into_owned()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// Returns the cell with a text of its own.
    pub(super) fn into_owned<'other>(self) -> Cell<'other> {
        match self {
            Self::Unset => Cell::Unset,
            Self::Null => Cell::Null,
            Self::Bigint(number) => Cell::Bigint(number),
            Self::Boolean(truth) => Cell::Boolean(truth),
            Self::Date(days) => Cell::Date(days),
            Self::Double(number) => Cell::Double(number),
            Self::Encoded(bytes) => Cell::Encoded(bytes),
            Self::Float(number) => Cell::Float(number),
            Self::Inet(address) => Cell::Inet(address),
            Self::Int(number) => Cell::Int(number),
            Self::Smallint(number) => Cell::Smallint(number),
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Self::Time(nanoseconds) => Cell::Time(nanoseconds),
            Self::Timestamp(millis) => Cell::Timestamp(millis),
            Self::Timeuuid(uuid) => Cell::Timeuuid(uuid),
            Self::Tinyint(number) => Cell::Tinyint(number),
            Self::Uuid(uuid) => Cell::Uuid(uuid),
        }
    }
}
