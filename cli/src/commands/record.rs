//! A record of a topic, for people and for scripts. Pure.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};
use millrace_stores::json::exact;
use millrace_stores::kafka::Record;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::screen::{Colour, Screen, printable};

/// Draws a record: a line with where, when and key, then perhaps its headers, then its value.
pub fn lines(record: &Record, headers: bool, screen: &Screen) -> String {
    let place = screen.paint(Colour::Bold, &format!("{}:{}", record.partition, record.offset));
    let time = record.time.map_or_else(|| "no time".to_owned(), moment);
    let key = record.key.as_ref().map_or_else(|| "no key".to_owned(), |key| format!("key {}", text(key)));
    let mut drawn = format!("{place}  {}  {}\n", screen.paint(Colour::Dim, &time), printable(&key));
    if headers {
        for (name, value) in &record.headers {
            let value = value.as_ref().map_or_else(String::new, |value| text(value));
            let line = format!("  {}: {}", printable(name), printable(&value));
            let _ = writeln!(drawn, "{}", screen.paint(Colour::Dim, &line));
        }
    }
    let value = record.value.as_ref().map_or_else(|| "no value: a tombstone".to_owned(), |value| text(value));
    for line in printable(&value).lines() {
        let _ = writeln!(drawn, "  {line}");
    }
    drawn
}

/// A record as a document. A value that is JSON stands as it is, other text as a string, and what is no text as `0x` and
/// hexadecimal digits, as a blob does in a row.
#[derive(Serialize)]
pub struct Document<V> {
    partition: i32,
    offset: i64,
    time: Option<String>,
    key: Option<String>,
    headers: Map<String, Value>,
    value: Option<V>,
}

impl<V> Document<V> {
    fn new(record: &Record, value: impl FnOnce(&[u8]) -> V) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            time: record.time.map(moment),
            key: record.key.as_ref().map(|key| text(key)),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_ref().map_or(Value::Null, |value| json!(text(value)))))
                .collect(),
            value: record.value.as_ref().map(|bytes| value(bytes)),
        }
    }
}

/// Returns a record for JSON: its value has every digit and every field that it was produced with.
pub fn json_document(record: &Record) -> Document<Box<RawValue>> {
    Document::new(record, |bytes| {
        let json = serde_json::from_slice::<Box<RawValue>>(bytes);
        json.unwrap_or_else(|_| to_raw_value(&text(bytes)).expect("a text is JSON"))
    })
}

/// Returns a record for YAML: numbers that 64 bits would round are strings.
pub fn yaml_document(record: &Record) -> Document<Value> {
    let json = |bytes: &[u8]| exact(std::str::from_utf8(bytes).ok()?).ok();
    Document::new(record, |bytes| json(bytes).unwrap_or_else(|| json!(text(bytes))))
}

/// Returns a moment of milliseconds since 1970 as RFC 3339.
pub fn moment(milliseconds: i64) -> String {
    match DateTime::from_timestamp_millis(milliseconds) {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => milliseconds.to_string(),
    }
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("0x".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn record(value: Option<&'static [u8]>) -> Record {
        Record {
            partition: 3,
            offset: 1024,
            time: Some(1_767_225_600_123),
            key: Some(b"k\x1b[2J".as_slice().into()),
            value: value.map(Into::into),
            headers: vec![("millrace-run".to_owned(), Some(b"orders-x".as_slice().into())), ("empty".to_owned(), None)],
        }
    }

    #[test]
    fn draws_place_time_key_headers_and_value() {
        let screen = Screen::default();
        let json = lines(&record(Some(b"{\"city\": \"Ulm\"}")), true, &screen);
        let bytes = lines(&record(Some(b"\xff\x00")), false, &screen);
        let none = lines(&Record { key: None, time: None, ..record(None) }, false, &screen);
        assert_snapshot!(format!("{json}{bytes}{none}"));
    }

    #[test]
    fn is_json_where_the_value_is() {
        let document = |bytes: Option<&'static [u8]>| json!(json_document(&record(bytes)));
        let value = |bytes| document(Some(bytes))["value"].clone();
        assert_eq!(value(b"{\"city\": \"Ulm\"}"), json!({"city": "Ulm"}));
        assert_eq!(value(b"plain"), json!("plain"));
        assert_eq!(value(b"\xff\x00"), json!("0xff00"));
        assert_eq!(document(None)["value"], Value::Null);
        assert_eq!(document(None)["headers"], json!({"millrace-run": "orders-x", "empty": null}));
    }

    #[test]
    fn every_digit_and_every_field_of_a_value_stands() {
        let value = br#"{"d":1.50,"n":36893488147419103233,"s":"a","s":"b"}"#;
        let json = serde_json::to_string(&json_document(&record(Some(value)))).expect("JSON");
        assert!(json.ends_with(&format!("\"value\":{}}}", String::from_utf8_lossy(value))), "{json}");
        let yaml = serde_yaml::to_string(&yaml_document(&record(Some(value)))).expect("YAML");
        assert!(yaml.contains("n: '36893488147419103233'"), "{yaml}");
    }
}
