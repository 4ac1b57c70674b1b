//! Durations and byte sizes as people write them in Kubernetes: `1s`, `250ms`, `1m30s`; `16Mi`, `5Gi`, `1000`.
//!
//! Both parse once at the border and print what they parse, so that rendered settings are deterministic.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use snafu::{OptionExt, Snafu, ensure};

/// A length of time, in whole milliseconds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Duration(std::time::Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub u64);

/// Why a text is not a duration or a size.
#[derive(Debug, Snafu, PartialEq)]
#[snafu(visibility(pub))]
pub enum ParseUnit {
    /// Not of the form of a duration.
    #[snafu(display("'{text}' is not a duration; write numbers with ms, s, m or h, such as 500ms or 1m30s"))]
    ParseDuration {
        /// What was written.
        text: String,
    },
    /// Not of the form of a size.
    #[snafu(display(
        "'{text}' is not a size in bytes; write a whole number with Ki, Mi, Gi, Ti, k, M, G, T or nothing"
    ))]
    ParseBytes {
        /// What was written.
        text: String,
    },
}

const MILLIS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

impl Duration {
    /// Makes a duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Makes a duration of milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// Returns the standard library's form.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = ParseUnit;

    fn from_str(text: &str) -> Result<Self, ParseUnit> {
        let broken = || ParseDurationSnafu { text };
        ensure!(!text.is_empty(), broken());
        let mut rest = text;
        let mut total = 0u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).with_context(broken)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let (_, scale) = MILLIS.iter().find(|(name, _)| *name == unit).with_context(broken)?;
            let number: u64 = number.parse().ok().with_context(broken)?;
            let part = number.checked_mul(*scale).with_context(broken)?;
            total = total.checked_add(part).with_context(broken)?;
            rest = tail;
        }
        Ok(Self::from_millis(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in MILLIS {
            if rest >= scale {
                write!(f, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl FromStr for Bytes {
    type Err = ParseUnit;

    fn from_str(text: &str) -> Result<Self, ParseUnit> {
        let broken = || ParseBytesSnafu { text };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let (_, scale) = SIZES.iter().find(|(name, _)| *name == unit).with_context(broken)?;
        let number: u64 = number.parse().ok().with_context(broken)?;
        Ok(Self(number.checked_mul(*scale).with_context(broken)?))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZES[..4].iter().rev().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        match binary {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Implements serde as the text form.
macro_rules! serde_as_text {
    ($unit:ty) => {
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

serde_as_text!(Duration);
serde_as_text!(Bytes);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_durations_without_unit_and_with_unknown_unit() {
        for text in ["", "5", "5x", "s", "1.5s", "-1s", "1s5", "99999999999999999h"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_sizes_that_are_no_whole_number_of_bytes() {
        for text in ["", "Mi", "1.5Gi", "1KB", "-1", "1 Mi", "99999999999Ti"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn durations_print_what_they_parse(millis in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn sizes_print_what_they_parse(bytes in any::<u64>()) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
    }
}
