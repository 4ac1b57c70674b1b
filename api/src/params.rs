//! Params: from a declaration and a text to a value of its type, or what is wrong. Pure.
//!
//! The declaration is the source's; the text comes from a run, a schedule, the form of the console or a flag of the
//! command line, which all ask here.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use millrace_terms::ParamValue;
use regex::Regex;

use crate::crd::{Param, ParamType};
use crate::rejected::Rejected;

/// Checks what a source declares; `path` is that of the source.
pub(crate) fn check(path: &str, declared: &[Param]) -> Vec<Rejected> {
    let mut rejected = Vec::new();
    for (index, param) in declared.iter().enumerate() {
        let path = format!("{path}.params[{index}]");
        let Param { name: _, param_type, default, description: _, minimum, maximum, choices, pattern } = param;
        let is_number = matches!(param_type, ParamType::Integer | ParamType::Number);
        for (field, bound) in [("minimum", minimum), ("maximum", maximum)] {
            if bound.is_some() && !is_number {
                let message = format!("only an integer or a number has a {field}; remove it or set type");
                rejected.push(Rejected::new(format!("{path}.{field}"), message));
            }
        }
        if let (Some(minimum), Some(maximum)) = (minimum, maximum)
            && minimum > maximum
        {
            let message = format!("{minimum} is above the maximum {maximum}, so no value fits; lower it");
            rejected.push(Rejected::new(format!("{path}.minimum"), message));
        }
        if let Some(pattern) = pattern {
            if *param_type != ParamType::String {
                let message = "only a string has a pattern; remove it or set type";
                rejected.push(Rejected::new(format!("{path}.pattern"), message));
            } else if let Err(error) = whole(pattern) {
                let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                let message = format!("'{pattern}' is not a valid regular expression: {reason}");
                rejected.push(Rejected::new(format!("{path}.pattern"), message));
                // Its default cannot be judged.
                continue;
            }
        }
        for (choice, text) in choices.iter().enumerate() {
            if let Err(problem) = typed(*param_type, text) {
                rejected.push(Rejected::new(format!("{path}.enum[{choice}]"), problem));
            }
        }
        if let Some(Err(problem)) = default.as_ref().map(|text| parse(param, text)) {
            rejected.push(Rejected::new(format!("{path}.default"), problem));
        }
    }
    rejected
}

/// Returns the value of each declared param: the given one or the default. `path` is where the given ones stand.
pub fn values(
    declared: &[Param],
    given: &BTreeMap<String, String>,
    path: &str,
) -> Result<BTreeMap<String, ParamValue>, Vec<Rejected>> {
    let mut rejected = Vec::new();
    for name in given.keys().filter(|name| declared.iter().all(|param| param.name != **name)) {
        let known: Vec<&str> = declared.iter().map(|param| param.name.as_str()).collect();
        let message = match known.is_empty() {
            true => "the source declares no params; remove it".to_owned(),
            false => format!("the source declares no such param; it has {}", known.join(", ")),
        };
        rejected.push(Rejected::new(format!("{path}.{name}"), message));
    }
    let mut values = BTreeMap::new();
    for param in declared {
        let path = format!("{path}.{}", param.name);
        match given.get(&param.name).or(param.default.as_ref()) {
            None => rejected.push(Rejected::new(path, "the param has no default; give it a value")),
            Some(text) => match parse(param, text) {
                Ok(value) => drop(values.insert(param.name.clone(), value)),
                Err(problem) => rejected.push(Rejected::new(path, problem)),
            },
        }
    }
    if rejected.is_empty() { Ok(values) } else { Err(rejected) }
}

/// Parses one value, and holds it against what its declaration allows.
pub fn parse(param: &Param, text: &str) -> Result<ParamValue, String> {
    let value = typed(param.param_type, text)?;
    let number = match value {
        ParamValue::Integer(integer) => Some(integer as f64),
        ParamValue::Number(number) => Some(number),
        ParamValue::String(_) | ParamValue::Boolean(_) | ParamValue::Timestamp(_) => None,
    };
    // An integer is compared as one: as a float, neighbours of 2^53 are the same.
    let below = |bound: i64| match value {
        ParamValue::Integer(integer) => integer < bound,
        _ => number.is_some_and(|number| number < bound as f64),
    };
    let above = |bound: i64| match value {
        ParamValue::Integer(integer) => integer > bound,
        _ => number.is_some_and(|number| number > bound as f64),
    };
    if let Some(minimum) = param.minimum.filter(|bound| below(*bound)) {
        return Err(format!("'{text}' is below the minimum {minimum}"));
    }
    if let Some(maximum) = param.maximum.filter(|bound| above(*bound)) {
        return Err(format!("'{text}' is above the maximum {maximum}"));
    }
    let is_choice = |choice: &String| typed(param.param_type, choice).is_ok_and(|choice| choice == value);
    if !param.choices.is_empty() && !param.choices.iter().any(is_choice) {
        return Err(format!("'{text}' is not one of {}", param.choices.join(", ")));
    }
    if let (Some(pattern), ParamValue::String(text)) = (&param.pattern, &value) {
        let fits = whole(pattern).map_err(|error| error.to_string())?.is_match(text);
        if !fits {
            return Err(format!("'{text}' does not match the pattern {pattern}"));
        }
    }
    Ok(value)
}

fn typed(param_type: ParamType, text: &str) -> Result<ParamValue, String> {
    let wrong = |what: &str| format!("'{text}' is not {what}");
    match param_type {
        ParamType::String => Ok(ParamValue::String(text.to_owned())),
        ParamType::Integer => {
            text.parse().map(ParamValue::Integer).map_err(|_| wrong("an integer of 64 bits, such as 42"))
        }
        ParamType::Number => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(ParamValue::Number(number)),
            Ok(_) | Err(_) => Err(wrong("a finite number, such as 0.5")),
        },
        ParamType::Boolean => text.parse().map(ParamValue::Boolean).map_err(|_| wrong("true or false")),
        ParamType::Timestamp => match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => Ok(ParamValue::Timestamp(rfc3339(moment.with_timezone(&Utc)))),
            Err(_) => Err(wrong("an RFC 3339 moment, such as 2026-01-31T00:00:00Z")),
        },
    }
}

/// Writes a moment as params and settings have it.
pub fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Compiles a pattern that the whole text must match.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn param(written: serde_json::Value) -> Param {
        serde_json::from_value(written).expect("a param")
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_have_the_type_of_their_declaration() {
        let cases = [
            (json!({"name": "a"}), "5", Ok(ParamValue::String("5".to_owned()))),
            (json!({"name": "a", "type": "integer"}), "-5", Ok(ParamValue::Integer(-5))),
            (json!({"name": "a", "type": "integer"}), "5.0", Err("'5.0' is not an integer of 64 bits, such as 42")),
            (json!({"name": "a", "type": "number"}), "2.5", Ok(ParamValue::Number(2.5))),
            (json!({"name": "a", "type": "number"}), "inf", Err("'inf' is not a finite number, such as 0.5")),
            (json!({"name": "a", "type": "boolean"}), "true", Ok(ParamValue::Boolean(true))),
            (json!({"name": "a", "type": "boolean"}), "yes", Err("'yes' is not true or false")),
            (
                json!({"name": "a", "type": "timestamp"}),
                "2026-03-29T02:00:00+02:00",
                Ok(ParamValue::Timestamp("2026-03-29T00:00:00Z".to_owned())),
            ),
            (
                json!({"name": "a", "type": "timestamp"}),
                "2026-03-29",
                Err("'2026-03-29' is not an RFC 3339 moment, such as 2026-01-31T00:00:00Z"),
            ),
            (json!({"name": "a", "type": "integer", "minimum": 1}), "0", Err("'0' is below the minimum 1")),
            (json!({"name": "a", "type": "number", "maximum": 1}), "1.5", Err("'1.5' is above the maximum 1")),
            (
                json!({"name": "a", "type": "integer", "maximum": 9_007_199_254_740_992_i64}),
                "9007199254740993",
                Err("'9007199254740993' is above the maximum 9007199254740992"),
            ),
            (json!({"name": "a", "enum": ["x", "y"]}), "z", Err("'z' is not one of x, y")),
            (json!({"name": "a", "type": "integer", "enum": ["01"]}), "1", Ok(ParamValue::Integer(1))),
            (json!({"name": "a", "pattern": "[a-z]+"}), "ab", Ok(ParamValue::String("ab".to_owned()))),
            (json!({"name": "a", "pattern": "[a-z]+|x"}), "ab1", Err("'ab1' does not match the pattern [a-z]+|x")),
        ];
        for (declared, text, expected) in cases {
            assert_eq!(parse(&param(declared.clone()), text), expected.map_err(str::to_owned), "{declared} {text}");
        }
    }

    #[test]
    fn what_is_unknown_missing_or_wrong_is_told_with_its_path() {
        let declared =
            [param(json!({"name": "day"})), param(json!({"name": "pages", "type": "integer", "default": "3"}))];
        let values_of = |pairs| values(&declared, &given(pairs), "spec.params");
        let wrong = values_of(&[("page", "1"), ("pages", "x")]).expect_err("three faults");
        let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "spec.params.page: the source declares no such param; it has day, pages",
                "spec.params.day: the param has no default; give it a value",
                "spec.params.pages: 'x' is not an integer of 64 bits, such as 42",
            ]
        );
        let good = values_of(&[("day", "monday")]).expect("a default for the other");
        assert_eq!(good["pages"], ParamValue::Integer(3));
        assert_eq!(
            values(&[], &given(&[("a", "b")]), "spec.params").expect_err("unknown")[0].message,
            "the source declares no params; remove it"
        );
    }

    #[test]
    fn declarations_that_no_value_fits_are_rejected() {
        let declared = [
            param(json!({"name": "a", "minimum": 1})),
            param(json!({"name": "b", "type": "integer", "minimum": 2, "maximum": 1})),
            param(json!({"name": "c", "pattern": "("})),
            param(json!({"name": "d", "type": "boolean", "pattern": "x"})),
            param(json!({"name": "e", "type": "integer", "enum": ["1", "x"]})),
            param(json!({"name": "f", "type": "integer", "default": "0", "minimum": 1})),
            param(json!({"name": "g", "type": "integer", "default": "1", "minimum": 1})),
        ];
        let paths: Vec<String> = check("s", &declared).into_iter().map(|rejected| rejected.path).collect();
        assert_eq!(
            paths,
            [
                "s.params[0].minimum",
                "s.params[1].minimum",
                "s.params[2].pattern",
                "s.params[3].pattern",
                "s.params[4].enum[1]",
                "s.params[5].default"
            ]
        );
    }
}
