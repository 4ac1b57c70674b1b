//! One JSON value read as a type of the stream, without silent conversion. `None`: it is not of that type.

use std::borrow::Cow;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate};

/// A JSON string's text, borrowed unless it has escapes.
pub(crate) fn string(text: &str) -> Option<Cow<'_, str>> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(text).ok().map(Cow::Owned)
}

/// A JSON integer; one with a fraction or an exponent is none.
pub(crate) fn integer<T: FromStr>(text: &str) -> Option<T> {
    if is_number(text) { text.parse().ok() } else { None }
}

/// A JSON number that a double can hold.
pub(crate) fn double(text: &str) -> Option<f64> {
    if is_number(text) { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// true or false.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// Days since the Unix epoch.
pub(crate) fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(&string(text)?, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Milliseconds since the Unix epoch.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    match string(text) {
        Some(text) => DateTime::parse_from_rfc3339(&text).ok().map(|moment| moment.timestamp_millis()),
        None => integer(text),
    }
}
