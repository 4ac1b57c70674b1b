//! A body → its records. Pure.

use std::io::Read as _;

use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;

use super::refusal::Refusal;
use crate::rejection::excerpt;
use crate::source::document::{Form, text};
use crate::source::{Document, Records};

/// How a body is written and packed, by its headers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Format {
    form: Form,
    content_type: String,
    /// Whether the body is packed with gzip.
    pub(super) packed: bool,
}

impl Format {
    /// Reads Content-Type and Content-Encoding.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let given = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = given(header::CONTENT_TYPE);
        let form = Form::of(content_type).ok_or_else(|| Refusal::ReadFormat { given: excerpt(content_type) })?;
        let packed = match given(header::CONTENT_ENCODING).trim().to_ascii_lowercase().as_str() {
            "" | "identity" => false,
            "gzip" | "x-gzip" => true,
            other => return Err(Refusal::Unpack { given: excerpt(other) }),
        };
        Ok(Self { form, content_type: content_type.to_owned(), packed })
    }

    /// Takes a body apart that is at most `limit` bytes long, unpacked.
    pub(super) fn records(&self, body: Vec<u8>, limit: millrace_terms::Bytes) -> Result<Records, Refusal> {
        let body = if self.packed { unpack(&body, limit)? } else { body };
        let text = text(body, &self.content_type).map_err(|problem| Refusal::ParseBody { problem })?;
        match self.form {
            Form::Json => {
                let document =
                    Document::read(text).map_err(|(error, _)| Refusal::ParseBody { problem: error.to_string() })?;
                Ok(Records::written(document))
            }
            Form::Lines => Ok(Records::lines(text)),
        }
    }
}

fn unpack(packed: &[u8], limit: millrace_terms::Bytes) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    let mut unpacked = MultiGzDecoder::new(packed).take(limit.0 + 1);
    unpacked
        .read_to_end(&mut body)
        .map_err(|error| Refusal::ReadBody { problem: format!("it is not gzip: {error}") })?;
    if body.len() as u64 > limit.0 {
        return Err(Refusal::FitBody { limit });
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use millrace_fuzz::{Corpus, feed};
    use millrace_terms::Bytes;

    use super::*;

    const LIMIT: Bytes = Bytes(1 << 10);

    fn format(content_type: &'static str, encoding: &'static str) -> Result<Format, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        Format::of(&headers)
    }

    fn records(body: &[u8], content_type: &'static str, encoding: &'static str) -> Result<Vec<String>, Refusal> {
        let records = format(content_type, encoding)?.records(body.to_vec(), LIMIT)?;
        Ok(records.map(|read| read.map_or_else(|error| error.problem, |read| read.record.get().to_owned())).collect())
    }

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    #[test]
    fn an_array_has_its_elements_and_anything_else_is_one_record() {
        let json = |body: &str| records(body.as_bytes(), "application/json", "").ok();
        assert_eq!(json(r#"[{"a":1.50}, 2]"#).as_deref(), Some(&[r#"{"a":1.50}"#.to_owned(), "2".to_owned()][..]));
        assert_eq!(json(r#" {"a":[1,2]} "#).as_deref(), Some(&[r#"{"a":[1,2]}"#.to_owned()][..]));
        assert_eq!(json("\u{feff}[]"), Some(Vec::new()));
        for body in ["", "[1,", "{} {}"] {
            assert_eq!(json(body), None, "{body}");
        }
    }

    #[test]
    fn a_packed_body_is_read_up_to_the_bound_that_counts_for_all() {
        let body = packed(br#"[{"a":1}]"#);
        assert_eq!(records(&body, "application/cloudevents+json", "gzip").ok(), Some(vec![r#"{"a":1}"#.to_owned()]));
        let bomb = packed(&vec![b' '; 1 << 20]);
        assert!(matches!(records(&bomb, "application/json", "gzip"), Err(Refusal::FitBody { .. })));
        assert!(matches!(records(b"[]", "application/json", "gzip"), Err(Refusal::ReadBody { .. })));
        assert!(matches!(format("application/json", "br"), Err(Refusal::Unpack { .. })));
        assert!(matches!(format("text/plain", ""), Err(Refusal::ReadFormat { .. })));
    }

    /// Whatever a body is: records or a refusal, and the same of it when it is packed.
    #[test]
    fn no_body_breaks_its_reader() {
        let array = br#"[{"id":"a","n":1.50},{"id":"b","list":[null,NaN,"\u00e9"]}]"#;
        let lines = b"{\"id\":\"a\"}\r\n\n[1]\n{\"half\":";
        let (packed_array, packed_lines) = (packed(array), packed(lines));
        let inputs: &[&[u8]] = &[array, lines, b"\xff\xfe[\0{\0}\0]\0", &packed_array, &packed_lines];
        let words = &["[", "]", "{", "}", ",", "\"", "\\ud800", "\n", "NaN", "Infinity", "\u{feff}", "\u{1f}", "\u{0}"];
        let limit = Bytes(16 << 10);
        let corpus = Corpus { inputs, words, longest: 16 << 10 };
        let formats = ["application/json", "application/x-ndjson", "application/json; charset=utf-16le"]
            .map(|content_type| ["", "gzip"].map(|encoding| format(content_type, encoding).expect("a format")));
        feed("bodies of pushes", corpus, |input| {
            for [plain, unpacked] in &formats {
                let records = plain.records(input.to_vec(), limit).map(Iterator::count).ok();
                assert_eq!(unpacked.records(packed(input), limit).map(Iterator::count).ok(), records);
                // What says that it is packed, and may be anything.
                let _ = unpacked.records(input.to_vec(), limit).map(Iterator::count);
            }
        });
    }
}
