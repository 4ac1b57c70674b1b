//! JSON for programs that have numbers of 64 bits, browsers among them. Pure.

use std::collections::BTreeMap;

use serde::de::Error;
use serde_json::Value;
use serde_json::value::RawValue;

/// Digits that a JSON number of 64 bits is sure to keep.
const EXACT_DIGITS: usize = 15;

/// Lists and objects inside of each other that are read, as many as serde_json reads. A record may have as many of them as it
/// has bytes, and each takes some of the stack.
const DEEPEST: usize = 128;

/// Reads a JSON value; numbers that 64 bits would round become strings, with every digit.
pub fn exact(json: &str) -> Result<Value, serde_json::Error> {
    let value: &RawValue = serde_json::from_str(json)?;
    within(value.get(), DEEPEST)
}

fn within(json: &str, levels: usize) -> Result<Value, serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'[' | b'{') if levels == 0 => {
            Err(Error::custom(format!("more than {DEEPEST} lists and objects are inside of each other")))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            items.into_iter().map(|item| within(item.get(), levels - 1)).collect::<Result<_, _>>().map(Value::Array)
        }
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            let fields = fields.into_iter().map(|(name, value)| Ok((name, within(value.get(), levels - 1)?)));
            fields.collect::<Result<_, _>>().map(Value::Object)
        }
        _ if is_number(json) && !is_exact(json) => Ok(Value::String(json.to_owned())),
        _ => serde_json::from_str(json),
    }
}

pub(crate) fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn is_exact(number: &str) -> bool {
    if number.parse::<i64>().is_ok() {
        return true;
    }
    // A float in its shortest form has up to 17 digits, and is what was written all the same.
    let shortest = number.parse::<f64>().is_ok_and(|value| format!("{value:?}").eq_ignore_ascii_case(number));
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    (shortest || digits <= EXACT_DIGITS) && number.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_64_bits_would_round_are_strings() {
        let nested = exact(r#"{"a": [1, 2.5, 0.1234567890123456789], "b": 1.0E10, "c": 0.30000000000000004}"#);
        assert_eq!(
            nested.expect("it is JSON"),
            json!({"a": [1, 2.5, "0.1234567890123456789"], "b": 1.0e10, "c": 0.300_000_000_000_000_04})
        );
        assert_eq!(exact("913749.2887673969").expect("JSON").to_string(), "913749.2887673969");
        assert_eq!(exact("1e400").expect("JSON"), json!("1e400"));
    }

    #[test]
    fn what_is_not_json_is_no_number_either_and_white_space_around_it_does_not_count() {
        assert!(exact("2026-11-29").is_err());
        assert_eq!(exact(" 0.1234567890123456789\n").expect("JSON"), json!("0.1234567890123456789"));
    }

    /// What ended the console when somebody looked at it: a megabyte of brackets takes a megabyte of frames.
    #[test]
    fn a_value_that_is_nested_deeper_than_the_stack_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(exact(&nested(DEEPEST)).is_ok());
        let refused = exact(&nested(500_000)).expect_err("too deep").to_string();
        assert!(refused.contains("more than 128"), "{refused}");
    }

    #[test]
    fn no_value_breaks_its_reader() {
        let inputs: &[&[u8]] = &[
            br#"{"a": [1, 2.5, 0.1234567890123456789], "b": {"c": [[], {}, "\u00e9"]}, "d": -1.0E10}"#,
            br#"[null, true, "x", 9223372036854775808, 1e400]"#,
        ];
        let words = &["[", "]", "{", "}", ",", ":", "\"", "\\ud800", "1e999999999", "-0", "{\"a\":", "NaN", " "];
        feed("values that people look at", Corpus { inputs, words, longest: 64 << 10 }, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return };
            assert!(exact(text).is_err() || serde_json::from_str::<&RawValue>(text).is_ok());
        });
    }
}
