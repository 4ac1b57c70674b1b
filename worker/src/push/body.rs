//! A body → its records. Pure.

use axum::http::{HeaderMap, header};
use serde_json::Value;
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::source::Records;

/// How a body is written, by its Content-Type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// One JSON value: an array of records, or a record.
    Json,
    /// A record a line.
    Lines,
}

impl Format {
    /// Reads the Content-Type.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            _ => Err(Refusal::ReadFormat { given: crate::rejection::excerpt(given) }),
        }
    }

    /// Takes a body apart.
    pub(super) fn records(self, body: Vec<u8>) -> Result<BodyRecords, Refusal> {
        match self {
            Self::Json => {
                let json: Box<RawValue> =
                    serde_json::from_slice(&body).map_err(|error| Refusal::ParseBody { problem: error.to_string() })?;
                Ok(BodyRecords::Json(Records::written(json)))
            }
            Self::Lines => Ok(BodyRecords::Text { body, position: 0, line: 0 }),
        }
    }
}

/// The records of a body, in order; an error says what is wrong with one.
pub(super) enum BodyRecords {
    /// Elements of an array, or the only value.
    Json(Records),
    /// Lines from `position` on, of which the first has the number `line`, counted from 0.
    Text { body: Vec<u8>, position: usize, line: usize },
}

impl Iterator for BodyRecords {
    type Item = Result<Value, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Json(records) => {
                records.next().map(|read| read.map(|record| record.value).map_err(|record| record.problem))
            }
            Self::Text { body, position, line } => loop {
                let rest = body.get(*position..).filter(|rest| !rest.is_empty())?;
                let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let (start, text) = (*position, &rest[..length]);
                *position += length + 1;
                *line += 1;
                if text.trim_ascii().is_empty() {
                    continue;
                }
                let number = *line;
                let read = serde_json::from_slice(text);
                return Some(read.map_err(|error: serde_json::Error| {
                    format!("line {number}, from byte {start} on, is no JSON: {error}")
                }));
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn records(format: Format, body: &str) -> Vec<Result<Value, String>> {
        format.records(body.as_bytes().to_vec()).unwrap_or_else(|_| panic!("'{body}' is refused")).collect()
    }

    #[test]
    fn an_array_has_its_elements_and_anything_else_is_one_record() {
        assert_eq!(records(Format::Json, r#"[{"a":1}, 2]"#), [Ok(json!({"a": 1})), Ok(json!(2))]);
        assert_eq!(records(Format::Json, r#" {"a":[1,2]} "#), [Ok(json!({"a": [1, 2]}))]);
        assert_eq!(records(Format::Json, "[]"), []);
        for body in ["", "[1,", "{} {}", "\u{feff}[]"] {
            assert!(Format::Json.records(body.as_bytes().to_vec()).is_err(), "{body}");
        }
    }

    #[test]
    fn lines_are_records_with_or_without_a_last_line_break() {
        assert_eq!(records(Format::Lines, "{\"a\":1}\r\n\n2"), [Ok(json!({"a": 1})), Ok(json!(2))]);
        assert_eq!(records(Format::Lines, "1\n2\n"), [Ok(json!(1)), Ok(json!(2))]);
        assert_eq!(records(Format::Lines, ""), []);
        let problem = records(Format::Lines, "1\n\n{\"a\":\n")[1].clone().expect_err("half a record");
        assert!(problem.starts_with("line 3, from byte 3 on, is no JSON: "), "{problem}");
    }

    #[test]
    fn the_content_type_decides() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            Format::of(&headers).ok()
        };
        assert_eq!(of("application/json; charset=utf-8"), Some(Format::Json));
        assert_eq!(of("Application/X-NDJSON"), Some(Format::Lines));
        assert_eq!(of("application/jsonl"), Some(Format::Lines));
        assert_eq!(of("text/plain"), None);
        assert!(Format::of(&HeaderMap::new()).is_err());
    }
}
