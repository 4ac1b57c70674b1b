//! A record and a mask → the message that a viewer sees. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use millrace_stores::json::exact;
use millrace_stores::kafka::Record;
use serde_json::Value;

use crate::api::messages::{Encoding, Message, MessageHeader, Text};
use crate::mask::{MASK, Mask};

/// Header with the run that a record came from; the worker's own constant, a test holds them together.
pub const RUN_HEADER: &str = "millrace-run";
/// Header with what is wrong with a dead letter. It may quote the value.
pub const LETTER_MESSAGE: &str = "millrace-dead-letter-message";

/// Most bytes of a value that are shown.
const LONGEST_VALUE: usize = 64 << 10;
/// Most bytes of a key or of a header that are shown.
const LONGEST_KEY: usize = 4 << 10;

/// What is kept from a viewer of a topic.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Masking {
    /// Fields of values.
    pub mask: Mask,
    /// Whether the key is one of them.
    pub key: bool,
}

impl Masking {
    /// Returns whether a header is kept from the viewer, since it may quote a value.
    pub fn hides_header(&self, name: &str) -> bool {
        name == LETTER_MESSAGE && !self.mask.is_empty()
    }
}

/// Returns what the viewer sees of a record.
pub fn render(record: &Record, masking: &Masking) -> Message {
    let Record { partition, offset, time, key, value, headers } = record;
    let (value, json) = value.as_ref().map_or((None, None), |value| self::value(value, &masking.mask));
    let run = headers.iter().rfind(|(name, _)| name == RUN_HEADER).and_then(|(_, value)| value.as_ref());
    Message {
        partition: *partition,
        offset: *offset,
        timestamp: time.and_then(DateTime::<Utc>::from_timestamp_millis),
        key: key.as_ref().map(|key| if masking.key { hidden() } else { text(key, LONGEST_KEY) }),
        value,
        json,
        headers: headers
            .iter()
            .map(|(name, value)| {
                let shown = |value| if masking.hides_header(name) { hidden() } else { text(value, LONGEST_KEY) };
                let value = value.as_ref().map(|value| shown(value));
                MessageHeader { name: name.clone(), value }
            })
            .collect(),
        run: run.and_then(|run| std::str::from_utf8(run).ok()).map(str::to_owned),
        bytes: record.size() as u64,
    }
}

/// Returns a value as it is shown: its text, and its JSON if it is JSON and short enough. Browsers have numbers of 64 bits,
/// so those that would be rounded are strings there.
fn value(bytes: &Bytes, mask: &Mask) -> (Option<Text>, Option<Value>) {
    let whole = std::str::from_utf8(bytes).ok().and_then(|text| exact(text).ok());
    if mask.is_empty() {
        let json = whole.filter(|_| bytes.len() <= LONGEST_VALUE);
        return (Some(text(bytes, LONGEST_VALUE)), json);
    }
    // Nobody can say which fields something has that is no object.
    let Some(mut json) = whole.filter(|value| value.is_object() || value.is_array()) else {
        return (Some(hidden()), None);
    };
    let masked = mask.apply(&mut json);
    let shown = if masked { Bytes::from(json.to_string()) } else { bytes.clone() };
    let text = Text { masked, ..text(&shown, LONGEST_VALUE) };
    let json = Some(json).filter(|_| !text.cut);
    (Some(text), json)
}

/// Returns what stands in place of something that is masked as a whole.
fn hidden() -> Text {
    Text { encoding: Encoding::Utf8, text: MASK.to_owned(), cut: false, masked: true }
}

/// Returns as many whole characters as so many bytes hold.
pub(crate) fn beginning(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Returns bytes for people.
fn text(bytes: &[u8], longest: usize) -> Text {
    let cut = bytes.len() > longest;
    match std::str::from_utf8(bytes) {
        Ok(text) => Text { encoding: Encoding::Utf8, text: beginning(text, longest).to_owned(), cut, masked: false },
        Err(_) => {
            let text = STANDARD.encode(&bytes[..bytes.len().min(longest)]);
            Text { encoding: Encoding::Base64, text, cut, masked: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use serde_json::json;

    use super::*;

    fn record(value: &'static [u8]) -> Record {
        Record {
            partition: 2,
            offset: 7,
            time: Some(1_000),
            key: Some(Bytes::from_static(b"\xff\x00")),
            value: Some(Bytes::from_static(value)),
            headers: vec![(LETTER_MESSAGE.to_owned(), Some(Bytes::from_static(b"'ann@b' is no number")))],
        }
    }

    fn masking(fields: &[&str]) -> Masking {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        Masking { mask: Mask::new(&fields, None), key: false }
    }

    #[test]
    fn names_of_headers_are_those_that_the_worker_writes() {
        assert_eq!(RUN_HEADER, millrace_worker::message::RUN_HEADER);
        assert_eq!(LETTER_MESSAGE, millrace_worker::process::dead_letter::MESSAGE);
    }

    #[test]
    fn shows_text_as_text_and_the_rest_as_base64() {
        let message = render(&record(br#"{"id": 1}"#), &masking(&[]));
        let value = message.value.expect("a value");
        assert_eq!((value.text.as_str(), value.encoding, value.masked), (r#"{"id": 1}"#, Encoding::Utf8, false));
        assert_eq!(message.json, Some(json!({"id": 1})));
        let key = message.key.expect("a key");
        assert_eq!((key.text.as_str(), key.encoding), ("/wA=", Encoding::Base64));
        assert_eq!(message.headers[0].value.as_ref().map(|value| value.masked), Some(false));
    }

    #[test]
    fn a_masked_field_stands_nowhere_in_the_message() {
        let value: &[u8] = br#"{"id": 1, "to": {"email": "ann@b"}}"#;
        let message = render(&record(value), &masking(&["email"]));
        assert!(!serde_json::to_string(&message).expect("JSON").contains("ann@b"), "{message:?}");
        assert_eq!(message.json, Some(json!({"id": 1, "to": {"email": MASK}})));
        // Control: without the mask it does.
        let message = render(&record(value), &masking(&["phone"]));
        assert!(message.value.expect("a value").text.contains("ann@b"));
    }

    #[test]
    fn what_is_no_json_is_masked_as_a_whole() {
        for value in [&b"ann@b"[..], br#""ann@b""#, b"\xff\xfe", br#"{"email": "ann"#] {
            let message = render(&record(value), &masking(&["email"]));
            assert_eq!(message.value.expect("a value").text, MASK);
            assert_eq!(message.json, None);
        }
        let open = render(&record(b"ann@b"), &masking(&[]));
        assert_eq!(open.value.expect("a value").text, "ann@b");
    }

    #[test]
    fn a_masked_key_is_not_shown() {
        let masking = Masking { key: true, ..masking(&["id"]) };
        let key = render(&record(b"{}"), &masking).key.expect("a key");
        assert_eq!((key.text.as_str(), key.masked), (MASK, true));
    }

    #[test]
    fn long_values_are_cut_at_a_whole_letter_and_say_so() {
        let long = "ä".repeat(LONGEST_VALUE);
        let text = text(long.as_bytes(), LONGEST_VALUE + 1);
        assert!(text.cut && text.text.len() == LONGEST_VALUE);
        assert!(!super::text(b"short", LONGEST_VALUE).cut);
    }

    /// Whatever stands in a topic is shown, with a mask and without.
    #[test]
    fn no_record_breaks_the_messages() {
        let inputs: &[&[u8]] = &[
            br#"{"id": 1, "email": "ann@b", "list": [{"email": null}, 0.12345678901234567890]}"#,
            b"\xff\x00",
            b"plain",
        ];
        let words = &["{", "}", "[", "]", "\"email\":", "\"", ",", "\\u00e9", "\u{e9}", "NaN", "1e999", "\u{0}"];
        let maskings = [masking(&[]), masking(&["email"])];
        feed("messages", Corpus { inputs, words, longest: 128 << 10 }, |input| {
            let bytes = Bytes::copy_from_slice(input);
            let headers = vec![(RUN_HEADER.to_owned(), Some(bytes.clone())), (LETTER_MESSAGE.to_owned(), None)];
            let record = Record { key: Some(bytes.clone()), value: Some(bytes), headers, ..record(b"") };
            for masking in &maskings {
                let _ = render(&record, masking);
            }
        });
    }
}
