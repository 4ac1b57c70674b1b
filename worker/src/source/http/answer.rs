//! Reading an answer: where its records are, and when the server wants to be asked again. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Longest Retry-After that is honoured: a server may ask for an hour, and then be mended in a minute.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Takes the records out of a document: the array at `pointer`, or the one object there.
pub(super) fn records(mut document: Value, pointer: &str) -> Result<Vec<Value>, String> {
    match document.pointer_mut(pointer).map(Value::take) {
        Some(Value::Array(records)) => Ok(records),
        Some(record @ Value::Object(_)) => Ok(vec![record]),
        Some(_) => Err(format!("answers with neither an array nor an object at '{pointer}'")),
        None => Err(format!("answers with a document that has nothing at '{pointer}'")),
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
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_records_at_the_pointer() {
        let document = json!({"results": [1, 2], "a/b": {"c": 3}, "n": 4});
        assert_eq!(records(document.clone(), "/results"), Ok(vec![json!(1), json!(2)]));
        assert_eq!(records(document.clone(), "/a~1b"), Ok(vec![json!({"c": 3})]));
        assert_eq!(records(json!([5]), ""), Ok(vec![json!(5)]));
        for pointer in ["/n", "/none", "/results/7"] {
            assert!(records(document.clone(), pointer).is_err(), "{pointer}");
        }
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
