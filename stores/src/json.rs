//! JSON for programs that have numbers of 64 bits, browsers among them. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Digits that a JSON number of 64 bits is sure to keep.
const EXACT_DIGITS: usize = 15;

/// Reads a JSON value; numbers that 64 bits would round become strings, with every digit.
pub fn exact(json: &str) -> Result<Value, serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(json)?;
            items.iter().map(|item| exact(item.get())).collect::<Result<_, _>>().map(Value::Array)
        }
        Some(b'{') => {
            let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json)?;
            let fields = fields.into_iter().map(|(name, value)| Ok((name, exact(value.get())?)));
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
}
