//! JSON as it is written: what is in a value, without reading its numbers. Pure.
//!
//! All functions take the text of one JSON value that a parser has accepted, such as that of a `RawValue`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use snafu::{ResultExt, Snafu, ensure};

/// Why the parts of a value cannot be told apart.
#[derive(Debug, Snafu)]
pub enum ReadParts {
    /// A name that is there twice: which of its values counts would be a guess.
    #[snafu(display("it has '{name}' twice"))]
    RepeatName {
        /// The name.
        name: String,
    },
    /// A name or a text that is no text: half a character, for instance.
    #[snafu(display("{source}"))]
    ReadText {
        /// What the parser says.
        source: serde_json::Error,
    },
}

/// A member of an object: its name, and the text of its value.
pub type Member<'text> = (Cow<'text, str>, &'text str);

/// Returns the members of an object, sorted by name; `None`: it is no object.
///
/// Sorted, so that the same record gives the same bytes, and each is found quickly.
pub fn members(text: &str) -> Result<Option<Vec<Member<'_>>>, ReadParts> {
    if !text.starts_with('{') {
        return Ok(None);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut members = deserializer.deserialize_map(Members).context(ReadTextSnafu)?;
    members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let repeated = members.windows(2).find(|pair| pair[0].0 == pair[1].0);
    ensure!(repeated.is_none(), RepeatNameSnafu { name: repeated.map_or("", |pair| &pair[0].0) });
    Ok(Some(members))
}

/// Returns the elements of an array; `None`: it is no array.
pub fn elements(text: &str) -> Result<Option<Vec<&str>>, ReadParts> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_seq(Elements).context(ReadTextSnafu).map(Some)
}

/// Returns the text of a string, borrowed unless it has escapes; `None`: it is no string, or has half a character.
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    let [b'"', .., b'"'] = text.as_bytes() else {
        return None;
    };
    // A string that was accepted ends where it says, so one without escapes is what lies between its quotes.
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).ok().map(Cow::Owned)
}

/// Appends a text as a string.
pub fn append_string(text: &str, json: &mut Vec<u8>) {
    serde_json::to_writer(json, text).expect("a text is a JSON string, and memory takes it");
}

/// Appends a value as it is written, without the white space between its parts.
pub fn append(text: &str, json: &mut Vec<u8>) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    if !text.starts_with(['{', '[']) || !text.bytes().any(|byte| is_space(&byte)) {
        json.extend_from_slice(text.as_bytes());
        return;
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if !in_string && is_space(&byte) {
            continue;
        }
        json.push(byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
}

struct Members;

impl<'text> Visitor<'text> for Members {
    type Value = Vec<Member<'text>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'text>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'text>, &RawValue>()? {
            members.push((name, value.get()));
        }
        Ok(members)
    }
}

struct Elements;

impl<'text> Visitor<'text> for Elements {
    type Value = Vec<&'text str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'text>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = array.next_element::<&RawValue>()? {
            elements.push(element.get());
        }
        Ok(elements)
    }
}

/// A member's name, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'text>(#[serde(borrow)] Cow<'text, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(text: &str) -> String {
        let mut json = Vec::new();
        append(text, &mut json);
        String::from_utf8(json).expect("text stays text")
    }

    #[test]
    fn members_are_sorted_and_stand_as_they_are_written() {
        let members =
            members(r#"{"z" : 1.50, "a\u0062": [1, 2] , "": -0}"#).expect("no name twice").expect("an object");
        let expected: [(&str, &str); 3] = [("", "-0"), ("ab", "[1, 2]"), ("z", "1.50")];
        assert_eq!(members.iter().map(|(name, value)| (name.as_ref(), *value)).collect::<Vec<_>>(), expected);
        assert!(super::members("[1]").expect("no object").is_none());
    }

    #[test]
    fn a_name_that_is_there_twice_is_an_error_however_it_is_written() {
        let error = members(r#"{"s":"a","b":1,"\u0073":"b"}"#).expect_err("a name twice");
        assert_eq!(error.to_string(), "it has 's' twice");
        assert!(members(r#"{"\ud800":1}"#).is_err(), "half a character");
    }

    #[test]
    fn elements_stand_as_they_are_written() {
        assert_eq!(elements("[ 1.0, [2] ,\"],\"]").expect("an array"), Some(vec!["1.0", "[2]", "\"],\""]));
        assert_eq!(elements("{}").expect("no array"), None);
    }

    #[test]
    fn white_space_goes_and_nothing_else() {
        assert_eq!(appended("{ \"a b\" : [ 1.50 ,\n\"\\\" c\" ] }"), r#"{"a b":[1.50,"\" c"]}"#);
        assert_eq!(appended("1.50"), "1.50");
        assert_eq!(appended("\" a \""), "\" a \"");
    }

    #[test]
    fn a_string_is_what_it_stands_for() {
        assert_eq!(string(r#""a\n\u00e9""#).as_deref(), Some("a\né"));
        assert!(matches!(string("\"Liège\""), Some(Cow::Borrowed("Liège"))));
        for none in ["\"\\ud800\"", "1", "\"", "null"] {
            assert_eq!(string(none), None, "{none}");
        }
    }
}
