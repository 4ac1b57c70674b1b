//! A replay as it is asked for: the annotation `millrace.dev/replay` with three words, `NONCE TOPIC FROM`. Pure.
//!
//! What the topic holds is not known here. A nonce counts once: what the status has under it is not done again.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::labels::is_value;
use crate::params::rfc3339;

/// Longest nonce, in characters: that of the value of a label.
const LONGEST_NONCE: usize = 63;
/// Most characters of a request that cannot be understood which are repeated.
const MOST_REPEATED: usize = 200;

/// Where reading again begins, in every partition of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayFrom {
    /// At the first record that is left.
    Earliest,
    /// At an offset, the same in each partition.
    Offset(i64),
    /// At the first record that is not older than this.
    Time(DateTime<Utc>),
}

impl ReplayFrom {
    /// Returns the moment in milliseconds since 1970, as Kafka counts. `None`: it does not begin at a moment.
    pub fn moment(self) -> Option<i64> {
        match self {
            Self::Time(moment) => Some(moment.timestamp_millis()),
            Self::Earliest | Self::Offset(_) => None,
        }
    }
}

impl FromStr for ReplayFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        if let Some(offset) = text.parse::<i64>().ok().filter(|offset| *offset >= 0) {
            return Ok(Self::Offset(offset));
        }
        DateTime::parse_from_rfc3339(text).map(|moment| Self::Time(moment.with_timezone(&Utc))).map_err(|_| {
            format!("'{text}' is not a valid start: use earliest, an offset, or a time such as 2026-01-31T12:00:00Z")
        })
    }
}

impl fmt::Display for ReplayFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Time(moment) => f.write_str(&rfc3339(*moment)),
        }
    }
}

/// A request to read a topic's records again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replay {
    /// Identifies the request.
    pub nonce: String,
    /// The topic.
    pub topic: String,
    /// Where to begin.
    pub from: ReplayFrom,
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [nonce, topic, from] = words.as_slice() else {
            return Err(format!("'{}' must be three words: NONCE TOPIC FROM", in_short(text)));
        };
        if !is_value(nonce) {
            return Err(format!(
                "nonce '{}' must be at most {LONGEST_NONCE} letters, digits, '-', '_' or '.'",
                in_short(nonce)
            ));
        }
        let from: ReplayFrom = in_short(from).parse()?;
        Ok(Self { nonce: (*nonce).to_owned(), topic: (*topic).to_owned(), from })
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nonce, topic, from } = self;
        write!(f, "{nonce} {topic} {from}")
    }
}

/// Returns the nonce of a request, also of one that cannot be understood. Empty: nothing is asked for.
pub fn nonce_of(request: &str) -> String {
    request.split_whitespace().next().unwrap_or_default().chars().take(LONGEST_NONCE).collect()
}

/// Returns a request as messages and the status repeat it.
pub fn in_short(request: &str) -> String {
    request.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_REPEATED).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a1 users_created earliest", "a1 users_created earliest")]
    #[case("  a1   users_created\n120 ", "a1 users_created 120")]
    #[case("a1 users_created 2026-01-31T13:00:00+01:00", "a1 users_created 2026-01-31T12:00:00Z")]
    fn a_request_is_three_words(#[case] text: &str, #[case] same: &str) {
        let replay: Replay = text.parse().expect("it is a request");
        assert_eq!(replay.to_string(), same);
        assert_eq!(same.parse::<Replay>(), Ok(replay));
        assert_eq!(nonce_of(text), "a1");
    }

    #[rstest]
    #[case("a1 users_created", "'a1 users_created' must be three words: NONCE TOPIC FROM")]
    #[case("a1 users created earliest", "must be three words")]
    #[case("a/1 users_created earliest", "nonce 'a/1' must be at most 63 letters")]
    #[case("a1 users_created -5", "'-5' is not a valid start: use earliest, an offset, or a time")]
    #[case("a1 users_created yesterday", "'yesterday' is not a valid start")]
    #[case("a1 users_created 2026-01-31", "'2026-01-31' is not a valid start")]
    fn what_is_none_is_refused_with_what_to_write(#[case] text: &str, #[case] says: &str) {
        let refusal = text.parse::<Replay>().expect_err("it is no request");
        assert!(refusal.contains(says), "{refusal}");
    }

    /// The nonce under which a long text is remembered is that which it is compared by.
    #[test]
    fn a_text_without_end_has_a_nonce_and_a_short_form() {
        let text = "x".repeat(100_000);
        let short = in_short(&text);
        assert_eq!((short.len(), nonce_of(&short)), (MOST_REPEATED, nonce_of(&text)));
        assert_eq!((nonce_of(""), nonce_of("  ")), (String::new(), String::new()));
    }
}
