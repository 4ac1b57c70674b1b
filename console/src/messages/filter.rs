//! The query of a viewer → which records are wanted. Pure.
//!
//! What is masked cannot be searched for: a text is looked for in what the viewer would see.

use millrace_stores::kafka::Record;

use super::render::{Masking, RUN_HEADER, render};
use crate::api::messages::{Filter as Written, Message};
use crate::refusal::Refusal;

/// Longest text of a filter, in bytes.
const LONGEST: usize = 1_024;

/// Which records are wanted; everything together must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    key: Option<String>,
    contains: Option<String>,
    header: Option<(String, Option<String>)>,
    run: Option<String>,
}

impl Filter {
    /// Parses a viewer's filter; a key that is masked cannot be asked for.
    pub fn parse(written: &Written, masking: &Masking) -> Result<Self, Refusal> {
        let Written { partition: _, key, contains, header, run } = written;
        for (name, text) in [("key", key), ("contains", contains), ("header", header), ("run", run)] {
            if text.as_ref().is_some_and(|text| text.len() > LONGEST) {
                return Err(Refusal::field(name, format!("it is longer than {LONGEST} bytes")));
            }
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let key = given(key);
        if key.is_some() && masking.key {
            return Err(Refusal::Forbidden {
                right: Some("get streamingpipelines/unmasked".to_owned()),
                message: "the key of this topic is masked and cannot be searched for".to_owned(),
            });
        }
        let header = given(header).map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text, None),
        });
        // Whether there is one is no secret; what it says is.
        let guesses = |(name, value): &(String, Option<String>)| value.is_some() && masking.hides_header(name);
        if header.as_ref().is_some_and(guesses) {
            return Err(Refusal::Forbidden {
                right: Some("get streamingpipelines/unmasked".to_owned()),
                message: "this header may quote what is masked and cannot be searched for".to_owned(),
            });
        }
        Ok(Self { key, contains: given(contains).map(|text| text.to_lowercase()), header, run: given(run) })
    }

    /// Returns whether every record is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the message of a record that is wanted.
    pub fn take(&self, record: &Record, masking: &Masking) -> Option<Message> {
        // Cheap questions first: most records of a search are not wanted.
        let key_fits = self.key.as_ref().is_none_or(|key| record.key.as_deref() == Some(key.as_bytes()));
        let run_fits = self.run.as_ref().is_none_or(|run| has_header(record, RUN_HEADER, Some(run)));
        let header_fits = self.header.as_ref().is_none_or(|(name, value)| has_header(record, name, value.as_deref()));
        if !(key_fits && run_fits && header_fits) {
            return None;
        }
        if let Some(text) = &self.contains
            && masking.mask.is_empty()
        {
            let value = record.value.as_deref().unwrap_or_default();
            if !String::from_utf8_lossy(value).to_lowercase().contains(text) {
                return None;
            }
        }
        let message = render(record, masking);
        let sees = |text: &String| message.value.as_ref().is_some_and(|value| value.text.to_lowercase().contains(text));
        // Without a mask the whole value counts, not only the beginning that is shown.
        let text_fits = masking.mask.is_empty() || self.contains.as_ref().is_none_or(sees);
        text_fits.then_some(message)
    }
}

fn has_header(record: &Record, name: &str, value: Option<&str>) -> bool {
    let mut of_name = record.headers.iter().filter(|(header, _)| header == name);
    of_name.any(|(_, bytes)| value.is_none_or(|value| bytes.as_deref() == Some(value.as_bytes())))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mask::Mask;
    use crate::messages::render::LETTER_MESSAGE;

    fn record() -> Record {
        Record {
            partition: 0,
            offset: 1,
            time: Some(0),
            key: Some(Bytes::from_static(b"k1")),
            value: Some(Bytes::from_static(br#"{"city": "Ulm", "email": "ann@b"}"#)),
            headers: vec![("millrace-run".to_owned(), Some(Bytes::from_static(b"orders-1")))],
        }
    }

    fn masking(fields: &[&str]) -> Masking {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        Masking { mask: Mask::new(&fields, None), key: false }
    }

    fn wants(written: Written, masking: &Masking) -> bool {
        Filter::parse(&written, masking).expect("a filter").take(&record(), masking).is_some()
    }

    #[test]
    fn everything_together_must_hold() {
        let none = masking(&[]);
        let with = |change: fn(&mut Written)| {
            let mut written = Written::default();
            change(&mut written);
            wants(written, &none)
        };
        assert!(with(|_| ()));
        assert!(with(|written| written.key = Some("k1".to_owned())));
        assert!(!with(|written| written.key = Some("k".to_owned())));
        assert!(with(|written| written.contains = Some("ULM".to_owned())));
        assert!(!with(|written| written.contains = Some("Bonn".to_owned())));
        assert!(with(|written| written.header = Some("millrace-run".to_owned())));
        assert!(with(|written| written.header = Some("millrace-run=orders-1".to_owned())));
        assert!(!with(|written| written.header = Some("millrace-run=orders-2".to_owned())));
        assert!(!with(|written| written.run = Some("orders-2".to_owned())));
        assert!(!with(|written| {
            written.run = Some("orders-1".to_owned());
            written.contains = Some("Bonn".to_owned());
        }));
    }

    #[test]
    fn what_is_masked_cannot_be_found_out_by_searching() {
        let search = |text: &str, masking: &Masking| {
            wants(Written { contains: Some(text.to_owned()), ..Written::default() }, masking)
        };
        assert!(search("ann@b", &masking(&[])));
        assert!(!search("ann@b", &masking(&["email"])));
        assert!(search("Ulm", &masking(&["email"])));
        let key = Masking { key: true, ..masking(&["id"]) };
        let written = Written { key: Some("k1".to_owned()), ..Written::default() };
        assert!(matches!(Filter::parse(&written, &key), Err(Refusal::Forbidden { .. })));
        assert!(Filter::parse(&written, &masking(&["id"])).is_ok());
    }

    #[test]
    fn a_masked_header_confirms_no_guess() {
        let asking = |header: &str| Written { header: Some(header.to_owned()), ..Written::default() };
        let quoting = format!("{LETTER_MESSAGE}='ann@b' is no number");
        assert!(matches!(Filter::parse(&asking(&quoting), &masking(&["email"])), Err(Refusal::Forbidden { .. })));
        assert!(Filter::parse(&asking(&quoting), &masking(&[])).is_ok());
        assert!(Filter::parse(&asking(LETTER_MESSAGE), &masking(&["email"])).is_ok());
        assert!(Filter::parse(&asking("millrace-run=orders-1"), &masking(&["email"])).is_ok());
    }

    #[test]
    fn a_filter_cannot_be_as_long_as_anybody_likes() {
        let written = Written { contains: Some("x".repeat(LONGEST + 1)), ..Written::default() };
        assert!(matches!(Filter::parse(&written, &masking(&[])), Err(Refusal::Rejected { .. })));
    }
}
