//! The form of a source's dead letter: what was read and could not be mapped, with its reason and its place in the
//! source. Pure.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::mapping::MapRecord;
use crate::message::{Header, Outgoing, SOURCE_HEADER};
use crate::process::dead_letter::{CUT, KEPT, MESSAGE, REASON};

/// Which of the records of its answer, file or body a letter was, counted from 1, where that is its place.
pub const RECORD: &str = "millrace-dead-letter-record";

/// A record that cannot become a Kafka record.
#[derive(Debug)]
pub(super) struct Rejected {
    /// Why.
    pub(super) rejection: MapRecord,
    /// What the source wrote, or a part of it.
    pub(super) bytes: Vec<u8>,
    /// How many bytes it wrote.
    pub(super) length: u64,
    /// Where it stood in the source. Empty: its number in the fetch is all that is known.
    pub(super) place: Vec<Header>,
    /// Which record of the fetch it was, counted from 1.
    pub(super) number: u64,
}

impl Rejected {
    /// Makes the dead letter.
    pub(super) fn letter(self, topic: &str, source: &str) -> Outgoing {
        let Self { rejection, mut bytes, length, place, number } = self;
        let mut headers = vec![
            Header::text(SOURCE_HEADER, source),
            Header::text(REASON, rejection.reason()),
            Header::text(MESSAGE, rejection.to_string()),
            Header::text(RECORD, number.to_string()),
        ];
        headers.extend(place);
        bytes.truncate(KEPT);
        if length > bytes.len() as u64 {
            headers.push(Header::text(CUT, length.to_string()));
        }
        Outgoing { topic: topic.to_owned(), key: Some(source.as_bytes().to_vec()), payload: Some(bytes), headers }
    }
}

/// Most letters that are remembered.
const REMEMBERED: usize = 10_000;

/// The last letters of a source: an endpoint that is polled gives the same bad record each time, and one letter of it
/// is enough.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl Seen {
    /// Notes a record; returns whether it is new.
    pub(super) fn is_new(&mut self, rejected: &Rejected) -> bool {
        let mut hasher = DefaultHasher::new();
        rejected.bytes.hash(&mut hasher);
        rejected.rejection.reason().hash(&mut hasher);
        rejected.place.iter().for_each(|header| header.value.hash(&mut hasher));
        let hash = hasher.finish();
        if !self.known.insert(hash) {
            return false;
        }
        self.oldest_first.push_back(hash);
        if self.oldest_first.len() > REMEMBERED {
            let oldest = self.oldest_first.pop_front();
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(text: &str, offset: &str) -> Rejected {
        Rejected {
            rejection: MapRecord::ReadRecord { problem: "it has 's' twice".to_owned() },
            bytes: text.as_bytes().to_vec(),
            length: text.len() as u64,
            place: vec![Header::text("millrace-file-offset", offset)],
            number: 7,
        }
    }

    #[test]
    fn a_letter_says_what_where_and_why() {
        let letter = rejected("{", "12").letter("letters", "exports");
        let said: Vec<(String, String)> = letter
            .headers
            .iter()
            .map(|header| {
                (header.name.clone(), String::from_utf8_lossy(header.value.as_deref().unwrap_or_default()).into())
            })
            .collect();
        let expected = [
            ("millrace-source", "exports"),
            ("millrace-dead-letter-reason", "ReadRecord"),
            ("millrace-dead-letter-message", "the record cannot be read: it has 's' twice"),
            ("millrace-dead-letter-record", "7"),
            ("millrace-file-offset", "12"),
        ];
        assert_eq!(said, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((letter.topic.as_str(), letter.payload.as_deref()), ("letters", Some(&b"{"[..])));
    }

    #[test]
    fn a_long_record_is_cut_and_says_so() {
        let letter = rejected(&"x".repeat(KEPT + 1), "0").letter("letters", "exports");
        assert_eq!(letter.payload.map(|payload| payload.len()), Some(KEPT));
        assert_eq!(letter.headers.last(), Some(&Header::text(CUT, (KEPT + 1).to_string())));
        let passed_over = Rejected { length: 2_000_000, ..rejected("the end", "0") }.letter("letters", "exports");
        assert_eq!(passed_over.headers.last(), Some(&Header::text(CUT, "2000000")));
    }

    #[test]
    fn the_same_record_at_the_same_place_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&rejected("a", "1")));
        assert!(!seen.is_new(&rejected("a", "1")));
        assert!(seen.is_new(&rejected("a", "2")));
        for offset in 0..REMEMBERED {
            seen.is_new(&rejected("b", &offset.to_string()));
        }
        assert!(seen.known.len() == REMEMBERED && seen.is_new(&rejected("a", "1")), "the oldest is forgotten");
    }
}
