//! The types of SQL values: which may meet in an expression, and which column takes which.

use arrow::datatypes::{DataType, TimeUnit};
use millrace_terms::{ColumnType, StreamType};
use sqlparser::ast::{self, ExactNumberInfo, TimezoneInfo};

use crate::scope::Read;

/// What a type is, as far as the rules here go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Null,
    Boolean,
    Integer,
    Decimal,
    Double,
    Text,
    Date,
    Timestamp,
    /// What a column cannot hold: intervals, lists.
    Other,
}

impl Class {
    /// Returns the class of an Arrow type.
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            data_type if data_type.is_integer() => Self::Integer,
            data_type if data_type.is_floating() => Self::Double,
            data_type if data_type.is_decimal() => Self::Decimal,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(_, _) => Self::Timestamp,
            _ => Self::Other,
        }
    }

    /// Returns the class's name for messages: that of its widest type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Double => "double",
            Self::Text => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Other => "interval or list",
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Decimal | Self::Double)
    }

    pub(crate) fn is_moment(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp)
    }

    /// Returns the one Arrow type in which results of this class are read; decimals as their exact text.
    pub(crate) fn result_type(self) -> Option<DataType> {
        match self {
            Self::Null => Some(DataType::Null),
            Self::Boolean => Some(DataType::Boolean),
            Self::Integer => Some(DataType::Int64),
            Self::Decimal | Self::Text => Some(DataType::Utf8),
            Self::Double => Some(DataType::Float64),
            Self::Date => Some(DataType::Date32),
            Self::Timestamp => Some(TIMESTAMP),
            Self::Other => None,
        }
    }
}

/// Timestamps are in UTC and have milliseconds, as Cassandra's.
pub(crate) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// Returns the Arrow type that a field is read into; JSON values stay out of Arrow until they have a type.
pub(crate) fn arrow(read: Read) -> Option<DataType> {
    match read {
        Read::Json | Read::Typed(StreamType::Json) => None,
        Read::Typed(StreamType::Bigint) | Read::Ordinal => Some(DataType::Int64),
        Read::Typed(StreamType::Boolean) => Some(DataType::Boolean),
        Read::Typed(StreamType::Date) => Some(DataType::Date32),
        Read::Typed(StreamType::Double) => Some(DataType::Float64),
        Read::Typed(StreamType::Int) => Some(DataType::Int32),
        Read::Typed(StreamType::Text) | Read::Text => Some(DataType::Utf8),
        Read::Typed(StreamType::Timestamp) => Some(TIMESTAMP),
    }
}

/// Returns whether a column takes values of a class; a value out of its range is the record's fault, not the query's.
///
/// Text goes wherever a JSON string goes, so the column's own form is checked per record. Collections and the like are
/// filled from json alone. Nothing else is converted silently: a CAST says it.
pub(crate) fn takes(column: &ColumnType, class: Class) -> bool {
    use ColumnType as T;

    if class == Class::Null {
        return true;
    }
    match column {
        T::Ascii | T::Blob | T::Duration | T::Inet | T::Text | T::Time | T::Timeuuid | T::Uuid => class == Class::Text,
        T::Bigint | T::Int | T::Smallint | T::Tinyint => class == Class::Integer,
        T::Boolean => class == Class::Boolean,
        T::Date => matches!(class, Class::Date | Class::Text),
        T::Decimal => class.is_number() || class == Class::Text,
        T::Double | T::Float => class.is_number(),
        T::Timestamp => matches!(class, Class::Timestamp | Class::Text),
        T::Varint => matches!(class, Class::Integer | Class::Text),
        T::List(_) | T::Set(_) | T::Map(..) | T::Tuple(_) | T::Vector(..) | T::UserDefined(_) | T::Frozen(_) => false,
    }
}

/// Returns whether a column reads a JSON value as a type of the stream does, or takes further forms of the same.
pub(crate) fn reads_alike(column: &ColumnType, read: Read) -> bool {
    use ColumnType as C;
    use StreamType as S;

    match read {
        Read::Json | Read::Text | Read::Ordinal => true,
        Read::Typed(stream_type) => matches!(
            (stream_type, column),
            (S::Bigint, C::Bigint)
                | (S::Boolean, C::Boolean)
                | (S::Date, C::Date)
                | (S::Double, C::Double)
                | (S::Int, C::Int)
                | (S::Timestamp, C::Timestamp)
        ),
    }
}

/// Returns the type that a CAST names, and how a JSON value is read as it; `None` for a type that there is not.
pub(crate) fn cast(written: &ast::DataType) -> Option<(DataType, Read)> {
    use ast::DataType as T;

    let typed = |stream_type| arrow(Read::Typed(stream_type)).map(|data_type| (data_type, Read::Typed(stream_type)));
    match written {
        T::Boolean | T::Bool => typed(StreamType::Boolean),
        T::BigInt(None) | T::Int8(None) | T::Int64 => typed(StreamType::Bigint),
        T::Int(None) | T::Integer(None) | T::Int4(None) | T::Int32 => typed(StreamType::Int),
        T::SmallInt(None) | T::Int2(None) | T::Int16 => Some((DataType::Int16, Read::Typed(StreamType::Int))),
        T::TinyInt(None) => Some((DataType::Int8, Read::Typed(StreamType::Int))),
        T::Double(ExactNumberInfo::None) | T::DoublePrecision | T::Float8 | T::Float64 => typed(StreamType::Double),
        T::Float(ExactNumberInfo::None) | T::Real | T::Float4 | T::Float32 => {
            Some((DataType::Float32, Read::Typed(StreamType::Double)))
        }
        T::Decimal(info) | T::Numeric(info) | T::Dec(info) => decimal(info).map(|data_type| (data_type, Read::Text)),
        T::Text
        | T::String(None)
        | T::Varchar(None)
        | T::Char(None)
        | T::CharacterVarying(None)
        | T::CharVarying(None) => Some((DataType::Utf8, Read::Text)),
        T::Date => typed(StreamType::Date),
        T::Timestamp(None | Some(3), TimezoneInfo::None | TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
        | T::Timestamp(None, TimezoneInfo::WithoutTimeZone) => typed(StreamType::Timestamp),
        _ => None,
    }
}

/// Names what [`cast`] knows.
pub(crate) const CASTS: &str =
    "bigint, boolean, date, decimal(p,s), double, float, int, smallint, text, timestamp and tinyint";

fn decimal(info: &ExactNumberInfo) -> Option<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let precision = u8::try_from(precision).ok().filter(|precision| (1..=38).contains(precision))?;
    let scale = i8::try_from(scale).ok().filter(|scale| (0..=precision.cast_signed()).contains(scale))?;
    Some(DataType::Decimal128(precision, scale))
}
