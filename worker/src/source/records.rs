//! The records of one fetch, given one at a time: an answer stays text, which may be a twentieth of its JSON tree.
//!
//! A record is the text that its source wrote: no number is read here, so none is changed.

use std::vec::IntoIter;

use serde_json::Deserializer;
use serde_json::value::{RawValue, to_raw_value};

use super::document::{Document, Lines};
use crate::message::Header;

/// Records in order; what was given is gone.
#[derive(Clone, Debug, Default)]
pub struct Records {
    origin: Origin,
    /// How many were given.
    given: u64,
    /// How many may still be given. Absent: all.
    left: Option<u64>,
}

/// A record as its source has it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The text of the record, a JSON value.
    pub record: Box<RawValue>,
    /// Where it stood in the source, for the record's headers. Empty: the source cannot tell.
    pub headers: Vec<Header>,
}

/// A record that cannot be read: its bytes are no value of the source's format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// What is wrong.
    pub problem: String,
    /// Key of a record whose value is null in its topic, which ends what has this key. Absent: it is another record.
    pub ends: Option<Vec<u8>>,
    /// The bytes, or a part of them. Empty: there are none to keep.
    pub bytes: Vec<u8>,
    /// How many bytes there are.
    pub length: u64,
    /// Where it stood. Empty: the source cannot tell.
    pub headers: Vec<Header>,
}

/// What comes for each record: one that cannot be read does not hide those behind it.
pub type Read = Result<Fetched, Unreadable>;

/// Returns where a record stood, in words.
pub fn place(headers: &[Header]) -> String {
    let said = headers.iter().map(|header| {
        let value = String::from_utf8_lossy(header.value.as_deref().unwrap_or_default());
        format!("{}={value}", header.name.trim_start_matches("millrace-"))
    });
    said.collect::<Vec<_>>().join(" ")
}

#[derive(Clone, Debug)]
enum Origin {
    /// Made here, or read already.
    Made(IntoIter<Read>),
    /// A JSON array of records, or one record alone.
    Written(Text),
    /// A record a line.
    Lines(Lines),
}

/// A document that is looked through as records are asked for.
#[derive(Clone, Debug)]
struct Text {
    document: Document,
    /// Where the next record, or what separates it from the last one, begins.
    position: usize,
}

impl Default for Origin {
    fn default() -> Self {
        Self::Made(Vec::new().into_iter())
    }
}

impl Unreadable {
    /// Makes one of which all bytes are there.
    pub fn new(problem: impl Into<String>, bytes: &[u8], headers: Vec<Header>) -> Self {
        Self { problem: problem.into(), ends: None, bytes: bytes.to_vec(), length: bytes.len() as u64, headers }
    }
}

impl Fetched {
    /// Takes a record over from its text. The error says why it is no JSON value.
    pub fn read(text: &str) -> Result<Box<RawValue>, String> {
        RawValue::from_string(text.to_owned()).map_err(|error| error.to_string())
    }
}

impl Records {
    /// Takes over the elements of a JSON array, or any other value as the only record.
    pub fn written(document: Document) -> Self {
        let json = document.json();
        let begin = json.len() - json.trim_ascii_start().len();
        let position = begin + usize::from(json[begin..].starts_with('['));
        Self::of(Origin::Written(Text { document, position }))
    }

    /// Takes over the lines of a text, each a record.
    pub fn lines(text: String) -> Self {
        Self::of(Origin::Lines(Lines::new(text)))
    }

    fn of(origin: Origin) -> Self {
        Self { origin, given: 0, left: None }
    }

    /// Returns which of the records of the fetch was given last, counted from 1.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Gives at most so many of the records; returns how many that are, and whether there were more.
    pub fn cut(&mut self, most: u64) -> (u64, bool) {
        let (kept, more) = match &mut self.origin {
            Origin::Made(records) => {
                let count = records.len() as u64;
                (count.min(most), count > most)
            }
            Origin::Written(text) => text.count_up_to(most),
            Origin::Lines(lines) => {
                let mut counted = lines.clone();
                let kept = counted.by_ref().take(usize::try_from(most).unwrap_or(usize::MAX)).count() as u64;
                (kept, counted.next().is_some())
            }
        };
        self.left = Some(kept);
        (kept, more)
    }

    /// Returns whether there is certainly no record: a text is not looked through for it.
    pub fn is_known_empty(&self) -> bool {
        self.left == Some(0) || matches!(&self.origin, Origin::Made(records) if records.len() == 0)
    }
}

impl<T: serde::Serialize> FromIterator<T> for Records {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        let record = |record| Fetched {
            record: to_raw_value(&record).expect("what is made in memory has text keys"),
            headers: Vec::new(),
        };
        Self::made(records.into_iter().map(|one| Ok(record(one))))
    }
}

impl Records {
    /// Takes over records that were read already.
    pub fn made(records: impl IntoIterator<Item = Read>) -> Self {
        Self::of(Origin::Made(records.into_iter().collect::<Vec<Read>>().into_iter()))
    }
}

impl Iterator for Records {
    type Item = Read;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let read = match &mut self.origin {
            Origin::Made(records) => records.next(),
            Origin::Written(text) => text.next(),
            Origin::Lines(lines) => lines.next(),
        };
        self.given += u64::from(read.is_some());
        read
    }
}

impl Text {
    /// Counts the records, up to a bound, without reading them; returns also whether there are more.
    fn count_up_to(&mut self, most: u64) -> (u64, bool) {
        let begin = self.position;
        let mut count = 0;
        while count < most && find(self.document.json(), &mut self.position).is_some() {
            count += 1;
        }
        let more = find(self.document.json(), &mut self.position).is_some();
        self.position = begin;
        (count, more)
    }

    fn next(&mut self) -> Option<Read> {
        let Self { document, position } = self;
        let json = find(document.json(), position)?;
        Some(document.record(json).map(|record| Fetched { record, headers: Vec::new() }))
    }
}

/// Finds the next record, and moves the position behind it.
fn find<'json>(json: &'json str, position: &mut usize) -> Option<&'json RawValue> {
    let rest = &json[*position..];
    let separated = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
    let mut records = Deserializer::from_str(separated).into_iter();
    // The closing bracket is no value, and so the end; there is no other error in a document that was accepted.
    let record: &RawValue = records.next()?.ok()?;
    *position += rest.len() - separated.len() + records.byte_offset();
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> Vec<Result<String, String>> {
        let document = Document::read(json.to_owned()).expect("JSON");
        let records = Records::written(document);
        records.map(|read| read.map(|read| read.record.get().to_owned()).map_err(|error| error.problem)).collect()
    }

    #[test]
    fn gives_the_elements_of_an_array_in_order_and_as_they_are_written() {
        let records = written("[ {\"a\":[1,{}]} ,\n\t[2],\"],[\", 3.0 ,null,-4.5e1,1e999,\"\\ud800\"]");
        let expected = ["{\"a\":[1,{}]}", "[2]", "\"],[\"", "3.0", "null", "-4.5e1", "1e999", "\"\\ud800\""];
        assert_eq!(records, expected.map(|text| Ok(text.to_owned())));
        assert_eq!(written("[]"), []);
        assert_eq!(written(" [ ] "), []);
    }

    #[test]
    fn gives_an_object_as_the_only_record() {
        assert_eq!(written(" {\"a\":[1,2]} "), [Ok("{\"a\":[1,2]}".to_owned())]);
    }

    #[test]
    fn a_record_with_what_is_no_json_number_does_not_hide_those_behind_it() {
        let records = written(r#"[{"d":NaN},{"d":"NaN"},{"d":[-Infinity, 1]},{"d":1.5}]"#);
        let read: Vec<bool> = records.iter().map(Result::is_ok).collect();
        assert_eq!(read, [false, true, false, true]);
        assert_eq!(records[3].as_deref(), Ok(r#"{"d":1.5}"#));
        let problem = records[2].clone().expect_err("infinity");
        assert_eq!(problem, "NaN and Infinity are not JSON numbers; null or a text can stand for them");
    }

    #[test]
    fn counts_what_it_gives() {
        let mut records = Records::written(Document::read("[1,2]".to_owned()).expect("JSON"));
        assert_eq!((records.given(), records.next().is_some(), records.given()), (0, true, 1));
        assert_eq!((records.by_ref().count(), records.given()), (1, 2));
    }
}
