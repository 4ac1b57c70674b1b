//! One cell: a JSON value read as a CQL type, without silent conversion.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use millrace_terms::{ColumnType, EpochUnit, TypeSettings, fields_of};
use uuid::Uuid;

use super::fault::Fault;
use super::{moment, nested, number};

/// What is bound for one column.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant from Bigint on is the CQL type of that name")]
pub enum Cell<'record> {
    /// The record does not have the field: the cell stays as it is.
    Unset,
    /// The record clears the cell.
    Null,
    Bigint(i64),
    Boolean(bool),
    /// Days since the Unix epoch.
    Date(i32),
    Double(f64),
    /// A value of any other type, as the native protocol has it.
    Encoded(Vec<u8>),
    Float(f32),
    Inet(IpAddr),
    Int(i32),
    Smallint(i16),
    /// Text and ASCII.
    Text(Cow<'record, str>),
    /// Nanoseconds since midnight.
    Time(i64),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    Timeuuid(Uuid),
    Tinyint(i8),
    Uuid(Uuid),
}

impl<'record> Cell<'record> {
    /// Reads the text of one JSON value as a CQL type; the error says where in the value what is wrong.
    pub(super) fn parse(
        column_type: &ColumnType,
        types: &[TypeSettings],
        text: &'record str,
    ) -> Result<Self, Box<Fault>> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let cell = match column_type {
            ColumnType::Ascii => string(text).filter(|text| text.is_ascii()).map(Self::Text),
            ColumnType::Bigint => integer(text).map(Self::Bigint),
            ColumnType::Blob => string(text).and_then(|text| blob(&text)).map(Self::Encoded),
            ColumnType::Boolean => text.parse().ok().map(Self::Boolean),
            ColumnType::Date => string(text).and_then(|text| moment::date(&text)).map(Self::Date),
            ColumnType::Decimal => number_or_string(text).and_then(|text| number::decimal(&text)).map(Self::Encoded),
            ColumnType::Double => finite::<f64>(text, f64::is_finite).map(Self::Double),
            ColumnType::Duration => string(text).and_then(|text| moment::duration(&text)).map(Self::Encoded),
            ColumnType::Float => finite::<f32>(text, f32::is_finite).map(Self::Float),
            ColumnType::Inet => string(text).and_then(|text| text.parse().ok()).map(Self::Inet),
            ColumnType::Int => integer(text).map(Self::Int),
            ColumnType::Smallint => integer(text).map(Self::Smallint),
            ColumnType::Text => string(text).map(Self::Text),
            ColumnType::Time => string(text).and_then(|text| moment::time(&text)).map(Self::Time),
            ColumnType::Timestamp => timestamp(text).map(Self::Timestamp),
            ColumnType::Timeuuid => uuid(text).filter(|uuid| uuid.get_version_num() == 1).map(Self::Timeuuid),
            ColumnType::Tinyint => integer(text).map(Self::Tinyint),
            ColumnType::Uuid => uuid(text).map(Self::Uuid),
            ColumnType::Varint => number_or_string(text).and_then(|text| number::varint(&text)).map(Self::Encoded),
            ColumnType::List(_)
            | ColumnType::Set(_)
            | ColumnType::Map(..)
            | ColumnType::Tuple(_)
            | ColumnType::Vector(..)
            | ColumnType::UserDefined(_)
            | ColumnType::Frozen(_) => return nested::encode(column_type, types, text).map(Self::Encoded),
        };
        cell.ok_or_else(|| Fault::value(wanted(column_type, types), text))
    }

    /// Reads the text of one JSON value as a timestamp whose integers count a unit.
    pub(super) fn parse_timestamp(unit: EpochUnit, text: &'record str) -> Result<Self, Box<Fault>> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let millis = match string(text) {
            Some(text) => moment::timestamp(&text),
            None => integer(text).and_then(|count| moment::epoch(count, unit)),
        };
        millis.map(Self::Timestamp).ok_or_else(|| {
            let unit = unit.name();
            let wanted =
                format!("timestamp, a JSON string such as \"2024-02-29T23:59:59.999Z\" or an integer of {unit}");
            Fault::value(wanted, text)
        })
    }

    /// Hands over the value as the native protocol has it; nothing, if there is no value.
    pub fn encoded<T>(&self, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        Some(match self {
            Self::Unset | Self::Null => return None,
            Self::Bigint(number) | Self::Time(number) | Self::Timestamp(number) => take(&number.to_be_bytes()),
            Self::Boolean(boolean) => take(&[u8::from(*boolean)]),
            // Counted from 2^31 days before the Unix epoch: the sign bit is the other way round.
            Self::Date(days) => take(&(*days as u32 ^ 1 << 31).to_be_bytes()),
            Self::Double(number) => take(&number.to_be_bytes()),
            Self::Encoded(bytes) => take(bytes),
            Self::Float(number) => take(&number.to_be_bytes()),
            Self::Inet(IpAddr::V4(address)) => take(&address.octets()),
            Self::Inet(IpAddr::V6(address)) => take(&address.octets()),
            Self::Int(number) => take(&number.to_be_bytes()),
            Self::Smallint(number) => take(&number.to_be_bytes()),
            Self::Text(text) => take(text.as_bytes()),
            Self::Timeuuid(uuid) | Self::Uuid(uuid) => take(uuid.as_bytes()),
            Self::Tinyint(number) => take(&number.to_be_bytes()),
        })
    }
}

/// Says how a value of a type is written in JSON.
pub(super) fn wanted(column_type: &ColumnType, types: &[TypeSettings]) -> Cow<'static, str> {
    let wanted = match column_type {
        ColumnType::Ascii => "ascii, a JSON string of ASCII characters",
        ColumnType::Bigint => "bigint, a JSON integer of 64 bits",
        ColumnType::Blob => "blob, a JSON string of 0x and pairs of hexadecimal digits",
        ColumnType::Boolean => "boolean, true or false",
        ColumnType::Date => "date, a JSON string such as \"2024-02-29\"",
        ColumnType::Decimal => "decimal, a JSON number or a string of one, with at most 10000 digits",
        ColumnType::Double => "double, a finite JSON number",
        ColumnType::Duration => "duration, a JSON string such as \"1mo3d12h\" or \"P1M3DT12H\"",
        ColumnType::Float => "float, a JSON number in the range of 32 bits",
        ColumnType::Inet => "inet, a JSON string with an IPv4 or IPv6 address",
        ColumnType::Int => "int, a JSON integer of 32 bits",
        ColumnType::Smallint => "smallint, a JSON integer of 16 bits",
        ColumnType::Text => "text, a JSON string",
        ColumnType::Time => "time, a JSON string such as \"23:59:59.999999999\"",
        ColumnType::Timestamp => {
            "timestamp, a JSON string such as \"2024-02-29T23:59:59.999Z\" or an integer of milliseconds"
        }
        ColumnType::Timeuuid => "timeuuid, a JSON string with a version 1 UUID",
        ColumnType::Tinyint => "tinyint, a JSON integer of 8 bits",
        ColumnType::Uuid => "uuid, a JSON string with a UUID",
        ColumnType::Varint => "varint, a JSON integer or a string of one, with at most 10000 digits",
        ColumnType::List(_) | ColumnType::Set(_) => return format!("{column_type}, a JSON array").into(),
        ColumnType::Map(..) => return format!("{column_type}, a JSON object with each key once").into(),
        ColumnType::Tuple(members) => {
            return format!("{column_type}, a JSON array of {} values", members.len()).into();
        }
        ColumnType::Vector(_, dimension) => return format!("{column_type}, a JSON array of {dimension} values").into(),
        ColumnType::UserDefined(name) => {
            let fields = fields_of(types, name).iter().map(|field| field.name.as_str());
            let fields = fields.collect::<Vec<_>>().join(", ");
            return format!("{column_type}, a JSON object with each of {fields} at most once").into();
        }
        ColumnType::Frozen(inner) => return wanted(inner, types),
    };
    wanted.into()
}

/// A JSON string's text, borrowed unless it has escapes.
pub(super) fn string(text: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'record>(#[serde(borrow)] Cow<'record, str>);

    let [b'"', .., b'"'] = text.as_bytes() else {
        return None;
    };
    // JSON has checked that a string ends, so that one without escapes is what lies between its quotes.
    let inner = &text[1..text.len() - 1];
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).ok().map(|Text(text)| text)
}

fn integer<T: FromStr>(text: &str) -> Option<T> {
    // JSON has checked the syntax of numbers; a fraction or an exponent fails here.
    if is_number(text) { text.parse().ok() } else { None }
}

fn finite<T: FromStr + Copy>(text: &str, is_finite: fn(T) -> bool) -> Option<T> {
    let number = if is_number(text) { text.parse().ok() } else { None };
    number.filter(|number| is_finite(*number))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// The text of a number whose digits matter: producers write such as strings where their JSON has floating point only.
fn number_or_string(text: &str) -> Option<Cow<'_, str>> {
    if is_number(text) { Some(Cow::Borrowed(text)) } else { string(text) }
}

fn uuid(text: &str) -> Option<Uuid> {
    string(text).and_then(|text| Uuid::parse_str(&text).ok())
}

fn timestamp(text: &str) -> Option<i64> {
    match string(text) {
        Some(text) => moment::timestamp(&text),
        None => integer(text),
    }
}

fn blob(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
