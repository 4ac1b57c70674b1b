//! What kubectl makes of a plain scalar of YAML. Pure.
//!
//! kubectl reads YAML 1.1, as go-yaml 2 does for sigs.k8s.io/yaml: `y`, `no` and `off` are booleans, `010` is eight, `1_000` a
//! thousand, and a number without a fraction is an integer; dates and `12:30:45` stay texts. YAML 1.2 reads some of these
//! otherwise, so a file that is valid by it may be refused by the API server.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Returns the value; `None`: kubectl refuses it, since JSON has no such number.
pub(super) fn plain(text: &str) -> Option<Value> {
    let number = match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Some(true.into()),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(false.into());
        }
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return None,
        _ if text.starts_with('.') => float(text),
        _ if text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    };
    Some(number.unwrap_or_else(|| text.into()))
}

/// Returns the name that a plain scalar is in an object; `None`: kubectl refuses it.
pub(super) fn name(text: &str) -> Option<String> {
    match plain(text)? {
        Value::String(text) => Some(text),
        value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads an integer with Go's prefixes of bases; a leading zero alone is the octal one.
fn integer(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let (digits, base) = match unsigned.as_bytes() {
        [b'0', b'x', ..] => (&unsigned[2..], 16),
        [b'0', b'o', ..] => (&unsigned[2..], 8),
        [b'0', b'b', ..] => (&unsigned[2..], 2),
        [b'0', _, ..] => (&unsigned[1..], 8),
        _ => (unsigned.as_str(), 10),
    };
    // A second sign would be taken, too.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, base).ok()?;
    match text.starts_with('-') {
        true => i64::try_from(-i128::from(size)).ok().map(Value::from),
        false => Some(size.into()),
    }
}

/// Reads a decimal number as Go writes it into JSON: without a fraction where there is none.
fn float(text: &str) -> Option<Value> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$").expect("a regular expression")
    });
    // Every integer below it is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !FORM.is_match(text) {
        return None;
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    match number.fract() == 0.0 && number.abs() < EXACT {
        true => Some((number as i64).into()),
        false => Some(number.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_what_go_yaml_makes_of_them() {
        for (text, value) in [
            ("y", json!(true)),
            ("N", json!(false)),
            ("Yes", json!(true)),
            ("off", json!(false)),
            ("oN", json!("oN")),
            ("~", json!(null)),
            ("", json!(null)),
            ("null", json!(null)),
            ("nil", json!("nil")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("010", json!(8)),
            ("-010", json!(-8)),
            // Not octal, so it is the number eight.
            ("08", json!(8)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("0x", json!("0x")),
            ("0", json!(0)),
            ("1_000", json!(1_000)),
            ("_1", json!("_1")),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1_000)),
            ("1e400", json!("1e400")),
            ("1.2.3", json!("1.2.3")),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("12:30:45", json!("12:30:45")),
            ("2024-01-02", json!("2024-01-02")),
            ("2024-01-02T03:04:05Z", json!("2024-01-02T03:04:05Z")),
            ("10s", json!("10s")),
            ("5Gi", json!("5Gi")),
            ("-", json!("-")),
            ("--1", json!("--1")),
            ("+-1", json!("+-1")),
            ("é", json!("é")),
        ] {
            assert_eq!(plain(text), Some(value), "{text}");
        }
        for text in [".nan", "-.inf", ".INF"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_texts_in_the_end() {
        for (text, expected) in [("a", Some("a")), ("y", Some("true")), ("010", Some("8")), ("~", None), (".nan", None)]
        {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
    }
}
