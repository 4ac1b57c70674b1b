//! Dead letters read back: counted by reason, shown, and redriven once their cause is mended.
//!
//! Nothing is ever taken out of the dead-letter topic. A redrive sends each letter's record to the topic it came from,
//! with the timestamp it had there, so that it is written as if it had never failed: what came after it stays. One that a
//! source had goes through the source's mapping once more, and so is a record of now. A redrive goes on
//! where the last one for the same reason ended; a crash may send the same records again, which changes nothing. What
//! fails again is a dead letter again and is not redriven a second time unless that is asked for, so nothing loops.

mod desk;
mod reader;
mod redrive;

use std::collections::BTreeMap;

use serde::Serialize;
use snafu::Snafu;

use crate::mapping::Encoded;
use crate::message::{Header, Outgoing, SOURCE_HEADER};
use crate::process::dead_letter::{
    CUT, FIRST_TIMESTAMP, MESSAGE, OFFSET, PARTITION, QUERY, REASON, REDRIVEN, TOPIC, WRITE_TIMESTAMP,
};
use crate::produce::letter::RECORD;
use crate::source::Fetched;
pub use desk::{LetterDesk, OpenDesk};
use desk::{Way, Ways};
pub use reader::{ReadLetters, Start, read};
pub use redrive::{Redriven, RunRedrive, redrive};

/// What the names of the headers begin with that only dead letters have.
const LETTER_HEADERS: &str = "millrace-dead-letter-";

/// A record of the dead-letter topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// Absent: no key.
    pub key: Option<Vec<u8>>,
    /// Absent: a null value.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<Header>,
}

/// Why a letter cannot be redriven.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Snafu)]
pub enum KeepLetter {
    /// Only the beginning of its value was kept.
    #[snafu(display("only the beginning of its value was kept"))]
    WasCut,
    /// It does not say where it came from.
    #[snafu(display("its headers do not say where it came from"))]
    LacksOrigin,
    /// No query consumes the topic that it came from any more.
    #[snafu(display("no query consumes topic '{topic}' any more"))]
    LostTopic {
        /// The topic.
        topic: String,
    },
    /// A source could not map it, which only a producer can try again.
    #[snafu(display("source '{source_name}' rejected it; run this in a producer's pod: worker letters redrive"))]
    OfSource {
        /// The source.
        source_name: String,
    },
    /// A processor could not write it, which only a processor can try again.
    #[snafu(display("a query rejected it; run this in a processor's pod: worker letters redrive"))]
    OfQuery,
    /// There is no source of that name any more.
    #[snafu(display("no source '{source_name}' is fetched continuously or pushed to"))]
    LostSource {
        /// The source.
        source_name: String,
    },
    /// Its bytes are not JSON.
    #[snafu(display("it is not JSON, and has to be put right where it came from"))]
    Unreadable,
    /// The source's mapping rejects it still.
    #[snafu(display("it is rejected still: {problem}"))]
    RejectedStill {
        /// Why.
        problem: String,
    },
    /// It was redriven and failed again.
    #[snafu(display("it was redriven already and failed again; --again tries once more"))]
    FailedAgain,
}

impl Letter {
    /// Returns the text of a header; the last one of that name counts.
    fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().rfind(|header| header.name == name)?;
        std::str::from_utf8(header.value.as_deref()?).ok()
    }

    /// Returns the stable name of its reason.
    pub fn reason(&self) -> &str {
        self.header(REASON).unwrap_or("Unknown")
    }

    /// Returns the record to send for it.
    pub(crate) fn record(&self, ways: &Ways, again: bool) -> Result<Outgoing, KeepLetter> {
        if self.header(CUT).is_some() {
            return Err(KeepLetter::WasCut);
        }
        let redriven: u32 = self.header(REDRIVEN).and_then(|times| times.parse().ok()).unwrap_or_default();
        if redriven > 0 && !again {
            return Err(KeepLetter::FailedAgain);
        }
        let source = self.header(RECORD).and(self.header(SOURCE_HEADER));
        let topics = match (ways, source) {
            (Ways::Topics(topics), None) => topics,
            (Ways::Topics(_), Some(source)) => return Err(KeepLetter::OfSource { source_name: source.to_owned() }),
            (Ways::Sources(ways), Some(source)) => {
                let way = ways.get(source).ok_or_else(|| KeepLetter::LostSource { source_name: source.to_owned() })?;
                return self.mapped(way, source, redriven);
            }
            (Ways::Sources(_), None) => return Err(KeepLetter::OfQuery),
        };
        let topic = self.header(TOPIC).ok_or(KeepLetter::LacksOrigin)?;
        if !topics.iter().any(|consumed| consumed == topic) {
            return Err(KeepLetter::LostTopic { topic: topic.to_owned() });
        }
        let timestamp = self.header(WRITE_TIMESTAMP).ok_or(KeepLetter::LacksOrigin)?;
        let mut headers = self.kept_headers();
        headers.extend([
            Header::text(FIRST_TIMESTAMP, timestamp),
            Header::text(REDRIVEN, redriven.saturating_add(1).to_string()),
        ]);
        Ok(Outgoing { topic: topic.to_owned(), key: self.key.clone(), payload: self.payload.clone(), headers })
    }

    /// Maps what a source had once more.
    fn mapped(&self, way: &Way, source: &str, redriven: u32) -> Result<Outgoing, KeepLetter> {
        let text = self.payload.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let record = text.and_then(|text| Fetched::read(text).ok()).ok_or(KeepLetter::Unreadable)?;
        let encoded = way.mapping.encode(&record);
        let Encoded { key, payload } =
            encoded.map_err(|rejection| KeepLetter::RejectedStill { problem: rejection.to_string() })?;
        let mut headers = vec![Header::text(SOURCE_HEADER, source)];
        headers.extend(self.kept_headers().into_iter().filter(|header| header.name != SOURCE_HEADER));
        headers.push(Header::text(REDRIVEN, redriven.saturating_add(1).to_string()));
        Ok(Outgoing { topic: way.topic.clone(), key: Some(key.into_bytes()), payload: Some(payload), headers })
    }

    /// Returns the headers that the record had before it was a letter.
    fn kept_headers(&self) -> Vec<Header> {
        let own = [FIRST_TIMESTAMP, REDRIVEN];
        let kept = |header: &&Header| !header.name.starts_with(LETTER_HEADERS) && !own.contains(&header.name.as_str());
        self.headers.iter().filter(kept).cloned().collect()
    }

    /// Returns what people look at. Bytes that are no text are shown as the replacement character.
    pub fn shown(&self) -> Shown<'_> {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Shown {
            partition: self.partition,
            offset: self.offset,
            reason: self.reason(),
            message: self.header(MESSAGE),
            query: self.header(QUERY),
            source: self.header(SOURCE_HEADER),
            from_topic: self.header(TOPIC),
            from_partition: self.header(PARTITION),
            from_offset: self.header(OFFSET),
            redriven: self.header(REDRIVEN),
            key: text(&self.key),
            value: text(&self.payload),
        }
    }
}

/// A letter as `worker letters show` prints it, one JSON object a line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "each field is the header of that name, or the letter's own place")]
pub struct Shown<'letter> {
    pub partition: i32,
    pub offset: i64,
    pub reason: &'letter str,
    pub message: Option<&'letter str>,
    pub query: Option<&'letter str>,
    pub source: Option<&'letter str>,
    pub from_topic: Option<&'letter str>,
    pub from_partition: Option<&'letter str>,
    pub from_offset: Option<&'letter str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven: Option<&'letter str>,
    pub key: Option<String>,
    pub value: Option<String>,
}

/// Numbers of letters by reason.
pub type Counts = BTreeMap<String, u64>;

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use millrace_terms::{GeneratorSettings, Origin, SourceSettings};

    use super::*;
    use crate::mapping::Mapping;

    fn letter(headers: &[(&str, &str)]) -> Letter {
        let mut all = vec![Header::text("millrace-source", "web"), Header::text(REASON, "BadValue")];
        all.extend(headers.iter().map(|(name, value)| Header::text(name, *value)));
        Letter { partition: 0, offset: 9, key: Some(b"k".to_vec()), payload: Some(b"{}".to_vec()), headers: all }
    }

    fn topics() -> Ways {
        Ways::Topics(vec!["users".to_owned()])
    }

    const ORIGIN: [(&str, &str); 4] =
        [(PARTITION, "4"), (OFFSET, "17"), (TOPIC, "users"), (WRITE_TIMESTAMP, "1000017")];

    #[test]
    fn is_sent_to_where_it_came_from_with_the_timestamp_it_had() {
        let record = letter(&ORIGIN).record(&topics(), false).expect("it can be sent");
        assert_eq!((record.topic.as_str(), record.key.as_deref()), ("users", Some(b"k".as_slice())));
        let expected = [("millrace-source", "web"), (FIRST_TIMESTAMP, "1000017"), (REDRIVEN, "1")];
        assert_eq!(record.headers, expected.map(|(name, value)| Header::text(name, value)));
    }

    #[test]
    fn goes_again_only_when_asked() {
        let mut headers = ORIGIN.to_vec();
        headers.extend([(FIRST_TIMESTAMP, "1000017"), (REDRIVEN, "1")]);
        let letter = letter(&headers);
        assert_eq!(letter.record(&topics(), false), Err(KeepLetter::FailedAgain));
        let record = letter.record(&topics(), true).expect("it was asked for");
        let last: Vec<_> = record.headers.iter().rev().take(2).rev().cloned().collect();
        assert_eq!(last, [Header::text(FIRST_TIMESTAMP, "1000017"), Header::text(REDRIVEN, "2")]);
    }

    /// Anyone who may write to the topic may write such a count.
    #[test]
    fn a_count_that_cannot_be_raised_stays() {
        let most = u32::MAX.to_string();
        let mut headers = ORIGIN.to_vec();
        headers.push((REDRIVEN, most.as_str()));
        let record = letter(&headers).record(&topics(), true).expect("it can be sent");
        assert_eq!(record.headers.last(), Some(&Header::text(REDRIVEN, most.as_str())));
    }

    #[test]
    fn stays_where_sending_it_would_lose_or_mix_something() {
        let mut cut = ORIGIN.to_vec();
        cut.push((CUT, "200000"));
        assert_eq!(letter(&cut).record(&topics(), true), Err(KeepLetter::WasCut));
        assert_eq!(letter(&[]).record(&topics(), false), Err(KeepLetter::LacksOrigin));
        assert_eq!(letter(&ORIGIN[..3]).record(&topics(), false), Err(KeepLetter::LacksOrigin));
        let lost =
            letter(&ORIGIN).record(&Ways::Topics(vec!["orders".to_owned()]), false).expect_err("nobody reads it");
        assert_eq!(lost.to_string(), "no query consumes topic 'users' any more");
    }

    fn sources() -> Ways {
        let settings = SourceSettings {
            name: "web".to_owned(),
            topic: "users".to_owned(),
            key: "id".to_owned(),
            fields: [("id".to_owned(), "record.id".to_owned())].into(),
            params: BTreeMap::new(),
            origin: Origin::Generator(GeneratorSettings { seed: 1, count: None, records_per_second: None }),
        };
        let mapping = Mapping::compile(&settings).expect("it compiles");
        Ways::Sources([("web".to_owned(), Way { topic: "users".to_owned(), mapping })].into())
    }

    #[test]
    fn what_a_source_had_goes_through_its_mapping_once_more() {
        let sources = sources();
        let rejected = |payload: &[u8]| Letter {
            payload: Some(payload.to_vec()),
            ..letter(&[(RECORD, "3"), ("millrace-file", "a.csv")])
        };
        let record = rejected(br#"{"id": 1.50}"#).record(&sources, false).expect("it maps now");
        assert_eq!((record.topic.as_str(), record.payload.as_deref()), ("users", Some(&br#"{"id":1.50}"#[..])));
        let expected = [("millrace-source", "web"), ("millrace-file", "a.csv"), (REDRIVEN, "1")];
        assert_eq!(record.headers, expected.map(|(name, value)| Header::text(name, value)));
        assert_eq!(rejected(b"1,2,3").record(&sources, false), Err(KeepLetter::Unreadable));
        assert!(matches!(rejected(b"{}").record(&sources, false), Err(KeepLetter::RejectedStill { .. })));
        let elsewhere = KeepLetter::OfSource { source_name: "web".to_owned() };
        assert_eq!(rejected(b"{}").record(&topics(), false), Err(elsewhere));
        assert_eq!(letter(&ORIGIN).record(&sources, false), Err(KeepLetter::OfQuery));
    }

    /// Anyone who may write to the topic writes letters: their keys, values and headers may be anything.
    #[test]
    fn no_letter_breaks_its_reader() {
        let inputs: &[&[u8]] = &[br#"{"id": 1.50}"#, b"4294967295", b"1000017", b"users", b"web"];
        let words = &["{", "}", "\"id\":", "\"", "-", "99999999999999999999", "\u{0}", "\u{e9}", "NaN"];
        let all_ways = [topics(), sources()];
        feed("dead letters", Corpus { inputs, words, longest: 4096 }, |input| {
            for name in [REDRIVEN, WRITE_TIMESTAMP, TOPIC, RECORD, CUT] {
                let mut letter = letter(&ORIGIN);
                letter.headers.push(Header { name: name.to_owned(), value: Some(input.to_vec()) });
                (letter.key, letter.payload) = (Some(input.to_vec()), Some(input.to_vec()));
                for ways in &all_ways {
                    let _ = letter.record(ways, true);
                }
                assert!(serde_json::to_string(&letter.shown()).is_ok());
            }
        });
    }
}
