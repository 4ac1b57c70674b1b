//! Reading an answer: where its records are, and when the server wants to be asked again. Pure.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Error;
use serde_json::value::RawValue;

use super::super::Records;

/// Longest Retry-After that is honoured: a server may ask for an hour, and then be mended in a minute.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Takes the records out of a document: the array at `pointer`, or the one object there.
pub(super) fn records(document: &[u8], pointer: &str) -> Result<Records, String> {
    let found = find(document, pointer).map_err(|error| format!("answers with something that is not JSON: {error}"))?;
    match found {
        Some(records) if records.get().starts_with(['[', '{']) => Ok(Records::written(records.to_owned())),
        Some(_) => Err(format!("answers with neither an array nor an object at '{pointer}'")),
        None => Err(format!("answers with a document that has nothing at '{pointer}'")),
    }
}

/// Returns the text of what a JSON pointer (RFC 6901) leads to, without making a tree of what it passes.
fn find<'document>(document: &'document [u8], pointer: &str) -> Result<Option<&'document RawValue>, Error> {
    let mut found: &RawValue = serde_json::from_slice(document)?;
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
    use serde_json::{Value, json};

    use super::*;

    fn taken(document: &str, pointer: &str) -> Result<Vec<Value>, String> {
        let records = records(document.as_bytes(), pointer)?;
        Ok(records.map(|record| record.expect("a value").value).collect())
    }

    #[test]
    fn takes_records_at_the_pointer() {
        let document = r#" {"results": [1, 2], "a/b": {"c": 3}, "n": 4, "~": [[], [{"d": [5]}, 6]]} "#;
        assert_eq!(taken(document, "/results"), Ok(vec![json!(1), json!(2)]));
        assert_eq!(taken(document, "/a~1b"), Ok(vec![json!({"c": 3})]));
        assert_eq!(taken(document, "/~0/0"), Ok(Vec::new()));
        assert_eq!(taken(document, "/~0/1/0/d"), Ok(vec![json!(5)]));
        assert_eq!(taken("[5]", ""), Ok(vec![json!(5)]));
        for pointer in ["/n", "/none", "/results/7", "/results/00", "/results/+1", "/results/-", "/n/0", "/a/b"] {
            assert!(taken(document, pointer).is_err(), "{pointer}");
        }
    }

    #[test]
    fn takes_the_last_of_two_members_of_one_name() {
        assert_eq!(taken(r#"{"a": [1], "a": [2]}"#, "/a"), Ok(vec![json!(2)]));
    }

    #[test]
    fn refuses_a_document_that_is_broken_anywhere() {
        for document in ["", "[1", "[1,]", "[1] 2", "{\"a\":[1],}", "<html>"] {
            let problem = taken(document, "").expect_err(document);
            assert!(problem.starts_with("answers with something that is not JSON: "), "{problem}");
        }
        assert!(records(b"[\"\xff\"]", "").is_err());
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
}
