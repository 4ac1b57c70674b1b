//! One cell: a JSON value read as a CQL type, without silent conversion.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate};
use uuid::Uuid;
use worker_settings::ColumnType;

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
    Float(f32),
    Inet(IpAddr),
    Int(i32),
    Smallint(i16),
    /// Text and ASCII.
    Text(Cow<'record, str>),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    Timeuuid(Uuid),
    Tinyint(i8),
    Uuid(Uuid),
}

impl<'record> Cell<'record> {
    /// Reads the text of one JSON value as a CQL type; the error says what the type wants.
    pub(super) fn parse(column_type: ColumnType, text: &'record str) -> Result<Self, &'static str> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let cell = match column_type {
            ColumnType::Ascii => string(text).filter(|text| text.is_ascii()).map(Self::Text),
            ColumnType::Bigint => integer(text).map(Self::Bigint),
            ColumnType::Boolean => text.parse().ok().map(Self::Boolean),
            ColumnType::Date => string(text).and_then(|text| date(&text)).map(Self::Date),
            ColumnType::Double => number::<f64>(text).filter(|number| number.is_finite()).map(Self::Double),
            ColumnType::Float => number::<f32>(text).filter(|number| number.is_finite()).map(Self::Float),
            ColumnType::Inet => string(text).and_then(|text| text.parse().ok()).map(Self::Inet),
            ColumnType::Int => integer(text).map(Self::Int),
            ColumnType::Smallint => integer(text).map(Self::Smallint),
            ColumnType::Text => string(text).map(Self::Text),
            ColumnType::Timestamp => timestamp(text).map(Self::Timestamp),
            ColumnType::Timeuuid => uuid(text).filter(|uuid| uuid.get_version_num() == 1).map(Self::Timeuuid),
            ColumnType::Tinyint => integer(text).map(Self::Tinyint),
            ColumnType::Uuid => uuid(text).map(Self::Uuid),
        };
        cell.ok_or_else(|| wanted(column_type))
    }
}

/// Says how a value of a type is written in JSON.
fn wanted(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Ascii => "ascii, a JSON string of ASCII characters",
        ColumnType::Bigint => "bigint, a JSON integer of 64 bits",
        ColumnType::Boolean => "boolean, true or false",
        ColumnType::Date => "date, a JSON string such as \"2024-02-29\"",
        ColumnType::Double => "double, a finite JSON number",
        ColumnType::Float => "float, a JSON number in the range of 32 bits",
        ColumnType::Inet => "inet, a JSON string with an IPv4 or IPv6 address",
        ColumnType::Int => "int, a JSON integer of 32 bits",
        ColumnType::Smallint => "smallint, a JSON integer of 16 bits",
        ColumnType::Text => "text, a JSON string",
        ColumnType::Timestamp => "timestamp, an RFC 3339 string or an integer of milliseconds",
        ColumnType::Timeuuid => "timeuuid, a JSON string with a version 1 UUID",
        ColumnType::Tinyint => "tinyint, a JSON integer of 8 bits",
        ColumnType::Uuid => "uuid, a JSON string with a UUID",
    }
}

/// A JSON string's text, borrowed unless it has escapes.
fn string(text: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'record>(#[serde(borrow)] Cow<'record, str>);

    if !text.starts_with('"') {
        return None;
    }
    serde_json::from_str(text).ok().map(|Text(text)| text)
}

fn integer<T: FromStr>(text: &str) -> Option<T> {
    // JSON has checked the syntax of numbers; a fraction or an exponent fails here.
    if is_number(text) { text.parse().ok() } else { None }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    if is_number(text) { text.parse().ok() } else { None }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn uuid(text: &str) -> Option<Uuid> {
    string(text).and_then(|text| Uuid::parse_str(&text).ok())
}

fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).ok()
}

/// An instant with at least milliseconds; finer digits are cut off, as the type has none.
fn timestamp(text: &str) -> Option<i64> {
    match string(text) {
        Some(text) => DateTime::parse_from_rfc3339(&text).ok().map(|moment| moment.timestamp_millis()),
        None => integer(text),
    }
}
