//! Reading an answer: where its records are, and when the server wants to be asked again. Pure.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use millrace_expressions::json::{append_string, members};
use millrace_terms::RecordsAre;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Error;
use serde_json::value::RawValue;

use super::super::document::{Document, Form, text};
use super::super::{Fetched, Records};

/// Longest Retry-After that is honoured: a server may ask for an hour, and then be mended in a minute.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What of an answer is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'settings> {
    /// JSON pointer to the records.
    pub(super) pointer: &'settings str,
    /// What of the value there is a record.
    pub(super) are: RecordsAre,
    /// JSON pointer to the cursor of the next page. Absent: there is none.
    pub(super) cursor: Option<&'settings str>,
}

/// Takes the records and the cursor, as JSON, out of an answer.
pub(super) fn read(body: Vec<u8>, content_type: &str, wanted: Wanted<'_>) -> Result<(Records, Option<String>), String> {
    let mut cursor = None;
    let records = records(body, content_type, wanted, &mut cursor)?;
    Ok((records, cursor))
}

/// Takes the records out of an answer: a record a line, or what is at the pointer. Nothing at all, and null at the
/// pointer, are no records.
fn records(
    body: Vec<u8>,
    content_type: &str,
    Wanted { pointer, are, cursor: cursor_pointer }: Wanted<'_>,
    cursor: &mut Option<String>,
) -> Result<Records, String> {
    let text = text(body, content_type).map_err(|problem| format!("answers with what cannot be read: {problem}"))?;
    if text.trim_ascii().is_empty() {
        return Ok(Records::default());
    }
    if Form::of(content_type) == Some(Form::Lines) {
        return Ok(Records::lines(text));
    }
    let document = match Document::read(text) {
        Ok(document) => document,
        Err((_, text)) if pointer.is_empty() && is_lines(&text) => return Ok(Records::lines(text)),
        Err((error, _)) => return Err(format!("answers with something that is not JSON: {error}")),
    };
    if let Some(pointer) = cursor_pointer {
        let found = find(document.json(), pointer).map_err(|error| error.to_string())?;
        let found = found.map(|found| document.written(found.get())).transpose();
        *cursor = found.map_err(|error| format!("has no cursor: {}", error.problem))?.map(str::to_owned);
    }
    let Some(part) = find(document.json(), pointer).map_err(|error| error.to_string())? else {
        return Err(format!("answers with a document that has nothing at '{pointer}'"));
    };
    match part.get().as_bytes().first() {
        Some(b'{') if are == RecordsAre::Entries => entries(&document, part.get()),
        Some(b'[' | b'{') if pointer.is_empty() => Ok(Records::written(document)),
        Some(b'[' | b'{') => {
            let start = part.get().as_ptr().addr() - document.json().as_ptr().addr();
            Ok(Records::written(document.part(start..start + part.get().len())))
        }
        Some(b'n') => Ok(Records::default()),
        _ => Err(format!("answers with neither an array nor an object at '{pointer}'")),
    }
}

/// Makes a record of each member of an object.
fn entries(document: &Document, object: &str) -> Result<Records, String> {
    let members =
        members(object).map_err(|problem| format!("answers with an object that has no records: {problem}"))?;
    let record = |(name, value): (Cow<'_, str>, &str)| {
        let value = document.written(value)?;
        let mut json = b"{\"key\":".to_vec();
        append_string(&name, &mut json);
        json.extend_from_slice(b",\"value\":");
        json.extend_from_slice(value.as_bytes());
        json.push(b'}');
        let text = String::from_utf8(json).expect("it is made of texts");
        Ok(Fetched { record: RawValue::from_string(text).expect("it is made of JSON"), headers: Vec::new() })
    };
    Ok(Records::made(members.unwrap_or_default().into_iter().map(record)))
}

/// Returns whether a text that is not JSON has an object or array in its first line, and more behind it.
fn is_lines(text: &str) -> bool {
    let first = text.trim_ascii_start().lines().next().unwrap_or_default();
    first.starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(first).is_ok()
}

/// Returns the text of what a JSON pointer (RFC 6901) leads to, without making a tree of what it passes.
fn find<'document>(document: &'document str, pointer: &str) -> Result<Option<&'document RawValue>, Error> {
    let mut found: &RawValue = serde_json::from_str(document)?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        match step(found, &token)? {
            Some(inner) => found = inner,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

fn step<'document>(value: &'document RawValue, token: &str) -> Result<Option<&'document RawValue>, Error> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    match value.get().as_bytes().first() {
        Some(b'{') => deserializer.deserialize_map(Member(token)),
        Some(b'[') => match index(token) {
            Some(index) => deserializer.deserialize_seq(Element(index)),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Reads an array index, which has no sign and no leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = !token.starts_with('+') && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| plain)
}

/// Takes the member of that name out of an object; the last one, where it is there twice.
struct Member<'token>(&'token str);

impl<'document> Visitor<'document> for Member<'_> {
    type Value = Option<&'document RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'document>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<String>()? {
            match name == self.0 {
                true => found = Some(members.next_value()?),
                false => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Takes one element out of an array.
struct Element(usize);

impl<'document> Visitor<'document> for Element {
    type Value = Option<&'document RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'document>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = elements.next_element()?;
        // serde_json wants an array read to its end.
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// Reads a Retry-After header: seconds or an HTTP date.
pub(super) fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let moment = DateTime::parse_from_rfc2822(text.trim()).ok()?;
            moment.signed_duration_since(now).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};

    use super::*;

    fn elements(pointer: &str) -> Wanted<'_> {
        Wanted { pointer, are: RecordsAre::Elements, cursor: None }
    }

    fn taken(document: &str, pointer: &str) -> Result<Vec<String>, String> {
        let records = self::records(document.as_bytes().to_vec(), "application/json", elements(pointer), &mut None)?;
        Ok(records
            .map(|record| record.map_or_else(|error| error.problem, |read| read.record.get().to_owned()))
            .collect())
    }

    #[test]
    fn takes_records_at_the_pointer_as_they_are_written() {
        let document = r#" {"results": [1.0, 2], "a/b": {"c": 3}, "n": 4, "~": [[], [{"d": [5]}, 6]], "none": null} "#;
        assert_eq!(taken(document, "/results"), Ok(vec!["1.0".to_owned(), "2".to_owned()]));
        assert_eq!(taken(document, "/a~1b"), Ok(vec![r#"{"c": 3}"#.to_owned()]));
        assert_eq!(taken(document, "/~0/0"), Ok(Vec::new()));
        assert_eq!(taken(document, "/~0/1/0/d"), Ok(vec!["5".to_owned()]));
        assert_eq!(taken(document, "/none"), Ok(Vec::new()));
        assert_eq!(taken("[5]", ""), Ok(vec!["5".to_owned()]));
        for pointer in ["/n", "/nothing", "/results/7", "/results/00", "/results/+1", "/results/-", "/n/0", "/a/b"] {
            assert!(taken(document, pointer).is_err(), "{pointer}");
        }
    }

    #[test]
    fn takes_the_last_of_two_members_of_one_name() {
        assert_eq!(taken(r#"{"a": [1], "a": [2]}"#, "/a"), Ok(vec!["2".to_owned()]));
    }

    #[test]
    fn members_of_an_object_are_records_with_their_names() {
        let answer = br#"{"rates": {"USD": 1.10, "A\"": {"x": 1}}, "next": "abc"}"#;
        let wanted = Wanted { pointer: "/rates", are: RecordsAre::Entries, cursor: Some("/next") };
        let (records, cursor) = read(answer.to_vec(), "application/json", wanted).expect("an object");
        let records: Vec<String> = records.flatten().map(|record| record.record.get().to_owned()).collect();
        assert_eq!(records, [r#"{"key":"A\"","value":{"x": 1}}"#, r#"{"key":"USD","value":1.10}"#]);
        assert_eq!(cursor.as_deref(), Some("\"abc\""));
    }

    #[test]
    fn what_is_no_number_is_neither_a_member_nor_a_cursor() {
        let answer = |text: &str, cursor| {
            let wanted = Wanted { pointer: "/rates", are: RecordsAre::Entries, cursor };
            read(text.as_bytes().to_vec(), "application/json", wanted)
        };
        let text = r#"{"rates": {"A": NaN, "B": 1.5}, "next": NaN}"#;
        let read: Vec<bool> = answer(text, None).expect("an object").0.map(|read| read.is_ok()).collect();
        assert_eq!(read, [false, true]);
        let problem = answer(text, Some("/next")).map(drop).expect_err("no cursor");
        assert!(problem.starts_with("has no cursor: NaN and Infinity"), "{problem}");
    }

    #[test]
    fn nothing_is_no_records() {
        for document in ["", " \n", "\u{feff}", "[]", "null"] {
            assert_eq!(taken(document, ""), Ok(Vec::new()), "{document:?}");
        }
    }

    #[test]
    fn constants_that_are_no_json_cost_only_their_record() {
        let records = taken(r#"{"results": [{"d": NaN}, {"d": 1.5}]}"#, "/results").expect("an array");
        assert_eq!(records[1], r#"{"d": 1.5}"#);
        assert!(records[0].starts_with("NaN and Infinity"), "{records:?}");
    }

    #[test]
    fn lines_are_records_whether_the_server_says_so_or_not() {
        let text = "{\"a\": 1.50}\n{\"a\":\n{\"a\": 2}\n";
        for content_type in ["application/x-ndjson", "application/json", ""] {
            let records = read(text.as_bytes().to_vec(), content_type, elements("")).expect("lines").0;
            assert_eq!(records.map(|record| record.is_ok()).collect::<Vec<_>>(), [true, false, true], "{content_type}");
        }
    }

    #[test]
    fn refuses_a_document_that_is_broken_anywhere() {
        for document in ["[1", "[1,]", "[1] 2", "{\"a\":[1],}", "<html>"] {
            let problem = taken(document, "/a").expect_err(document);
            assert!(problem.starts_with("answers with something that is not JSON: "), "{problem}");
        }
        let problem = read(b"[\"\xff\"]".to_vec(), "application/json", elements("")).expect_err("not UTF-8");
        assert!(problem.contains("byte 2 is not UTF-8"), "{problem}");
    }

    #[test]
    fn reads_retry_after_in_both_forms() {
        let now = "2015-10-21T07:28:00Z".parse().expect("a moment");
        let cases = [
            ("0", Some(0)),
            ("17", Some(17)),
            ("86400", Some(300)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("Wed, 21 Oct 2015 19:28:00 GMT", Some(300)),
            ("soon", None),
            ("-3", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    /// Whatever a server answers: records and a cursor that are JSON, or what is wrong.
    #[test]
    fn no_answer_breaks_its_reader() {
        let inputs: &[&[u8]] = &[
            br#"{"results": [{"id": 1.50}, {"d": NaN}], "next": "abc", "a": [{"~/": {"k": {}, "l\u00e9": [null]}}]}"#,
            br#"[{"id": 1}, [2], "],[", -4.5e1]"#,
            b"{\"id\":1}\n{\"id\":2}\r\n{\"half\":",
        ];
        let words = &[
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"",
            "\\ud800",
            "NaN",
            "-Infinity",
            "\n",
            "null",
            "\"results\":",
            "\"next\":",
            "\"a\":",
            "\u{feff}",
            "1e999",
        ];
        let corpus = Corpus { inputs, words, longest: 16 << 10 };
        let wants = [
            ("", RecordsAre::Elements),
            ("", RecordsAre::Entries),
            ("/results", RecordsAre::Elements),
            ("/results/1", RecordsAre::Entries),
            ("/a/0/~0~1", RecordsAre::Entries),
        ];
        feed("answers of HTTP sources", corpus, |input| {
            for (pointer, are) in wants {
                for content_type in ["application/json", "application/x-ndjson"] {
                    let wanted = Wanted { pointer, are, cursor: Some("/next") };
                    let Ok((records, cursor)) = read(input.to_vec(), content_type, wanted) else { continue };
                    records.for_each(drop);
                    assert!(cursor.is_none_or(|cursor| serde_json::from_str::<&RawValue>(&cursor).is_ok()));
                }
            }
        });
    }

    #[test]
    fn no_retry_after_breaks_its_reader() {
        let inputs: &[&[u8]] = &[b"120", b"Wed, 21 Oct 2026 07:28:00 GMT", b"Sun, 06 Nov 1994 08:49:37 +0100"];
        let words = &["GMT", "-2400", "99999999999999999999", "9999", "Feb 29", ":60", " "];
        let now = "2026-11-29T12:00:00Z".parse().expect("a moment");
        feed("Retry-After", Corpus { inputs, words, longest: 256 }, |input| {
            let wait = retry_after(&String::from_utf8_lossy(input), now);
            assert!(wait.is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
        });
    }
}
