//! The records of one fetch, given one at a time: an answer stays text, which may be a twentieth of its JSON tree.

use std::vec::IntoIter;

use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use crate::message::Header;

/// Records in order; what was given is gone.
#[derive(Debug, Default)]
pub struct Records {
    origin: Origin,
    /// How many may still be given. Absent: all.
    left: Option<u64>,
}

/// A record as its source has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The record.
    pub value: Value,
    /// Where it stood in the source, for the record's headers. Empty: the source cannot tell.
    pub headers: Vec<Header>,
}

/// A record that cannot be read: its bytes are no value of the source's format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// What is wrong.
    pub problem: String,
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

#[derive(Debug)]
enum Origin {
    /// Made here, or read already.
    Made(IntoIter<Read>),
    /// Not parsed yet.
    Written(Text),
}

/// A JSON array of records, or one record alone.
#[derive(Debug)]
struct Text {
    json: Box<RawValue>,
    /// Where the next record, or what separates it from the last one, begins.
    position: usize,
}

impl Default for Origin {
    fn default() -> Self {
        Self::Made(Vec::new().into_iter())
    }
}

impl Records {
    /// Takes over the elements of a JSON array, or any other value as the only record.
    pub fn written(json: Box<RawValue>) -> Self {
        let position = usize::from(json.get().starts_with('['));
        Self { origin: Origin::Written(Text { json, position }), left: None }
    }

    /// Gives at most so many of the records; returns how many that are, and whether there were more.
    pub fn cut(&mut self, most: u64) -> (u64, bool) {
        let (kept, more) = match &mut self.origin {
            Origin::Made(records) => {
                let count = records.len() as u64;
                (count.min(most), count > most)
            }
            Origin::Written(text) => text.count_up_to(most),
        };
        self.left = Some(kept);
        (kept, more)
    }

    /// Returns whether there is certainly no record: a text is not looked through for it.
    pub fn is_known_empty(&self) -> bool {
        self.left == Some(0) || matches!(&self.origin, Origin::Made(records) if records.len() == 0)
    }
}

impl FromIterator<Value> for Records {
    fn from_iter<I: IntoIterator<Item = Value>>(records: I) -> Self {
        records.into_iter().map(|value| Ok(Fetched { value, headers: Vec::new() })).collect()
    }
}

impl FromIterator<Read> for Records {
    fn from_iter<I: IntoIterator<Item = Read>>(records: I) -> Self {
        Self { origin: Origin::Made(records.into_iter().collect::<Vec<Read>>().into_iter()), left: None }
    }
}

impl Iterator for Records {
    /// An error is, in an answer, a record that is JSON but no value: a number out of range, half a character, a
    /// thousand brackets.
    type Item = Read;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        match &mut self.origin {
            Origin::Made(records) => records.next(),
            Origin::Written(text) => text.next().map(|record| match serde_json::from_str(record.get()) {
                Ok(value) => Ok(Fetched { value, headers: Vec::new() }),
                Err(error) => Err(Unreadable { problem: error.to_string(), headers: Vec::new() }),
            }),
        }
    }
}

impl Text {
    /// Counts the records, up to a bound, without reading them; returns also whether there are more.
    fn count_up_to(&mut self, most: u64) -> (u64, bool) {
        let begin = self.position;
        let mut count = 0;
        while count < most && self.next().is_some() {
            count += 1;
        }
        let more = self.next().is_some();
        self.position = begin;
        (count, more)
    }

    fn next(&mut self) -> Option<&RawValue> {
        let rest = &self.json.get()[self.position..];
        let separated = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        let mut records = Deserializer::from_str(separated).into_iter();
        // The closing bracket is no value, and so the end; there is no other error in a `RawValue`.
        let record: &RawValue = records.next()?.ok()?;
        self.position += rest.len() - separated.len() + records.byte_offset();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(json: &str) -> Vec<Result<Value, String>> {
        let raw = RawValue::from_string(json.to_owned()).expect("JSON");
        Records::written(raw).map(|record| record.map(|read| read.value).map_err(|error| error.problem)).collect()
    }

    #[test]
    fn gives_the_elements_of_an_array_in_order() {
        let records = written("[ {\"a\":[1,{}]} ,\n\t[2],\"],[\", 3 ,null,-4.5e1]");
        let expected = [json!({"a": [1, {}]}), json!([2]), json!("],["), json!(3), json!(null), json!(-45.0)];
        assert_eq!(records, expected.map(Ok));
        assert_eq!(written("[]"), []);
        assert_eq!(written(" [ ] "), []);
    }

    #[test]
    fn gives_an_object_as_the_only_record() {
        assert_eq!(written(" {\"a\":[1,2]} "), [Ok(json!({"a": [1, 2]}))]);
    }

    #[test]
    fn a_record_that_is_no_value_does_not_hide_those_behind_it() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        let records = written(&format!(r#"[1,{deep},1e999,"\ud800",2]"#));
        let values: Vec<Option<Value>> = records.into_iter().map(Result::ok).collect();
        assert_eq!(values, [Some(json!(1)), None, None, None, Some(json!(2))]);
    }
}
