//! A document against a resource's schema, with the API server's words. Pure.
//!
//! Knows what our schemas use: types, required and unknown fields, enums, bounds, formats of integers, and lists that
//! are maps or sets. Anything else in a schema would be passed over, so a test holds the schemas against this list.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keywords of a schema that are judged here, and those that say nothing about a value or are judged elsewhere.
#[cfg(test)]
pub(super) const KNOWN: [&str; 26] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// What is wrong with a field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mismatch {
    pub(super) path: String,
    pub(super) message: String,
    /// Whether it is about the field's name.
    pub(super) of_name: bool,
}

/// Returns what is wrong with a value, in the order of the schema.
pub(super) fn mismatches(schema: &Value, value: &Value) -> Vec<Mismatch> {
    let mut found = Vec::new();
    walk(schema, value, "", &mut found);
    found
}

/// Takes null out where the schema does not allow it, as the API server does before it fills in defaults.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<Mismatch>) {
    let mut wrong = |message: String| found.push(Mismatch { path: path.to_owned(), message, of_name: false });
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let wanted = schema["type"].as_str().unwrap_or_default();
    if !wanted.is_empty() && !is_of(wanted, value) {
        return wrong(format!("must be of type {wanted}, not {}", kind(value)));
    }
    if schema["x-kubernetes-int-or-string"] == true && !value.is_string() && !is_of("integer", value) {
        return wrong(format!("must be an integer or a string, such as \"{value}\", not {}", kind(value)));
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        let choices: Vec<String> = choices.iter().filter(|choice| !choice.is_null()).map(ToString::to_string).collect();
        wrong(format!("Unsupported value: {value}: supported values: {}", choices.join(", ")));
    }
    match value {
        Value::String(text) => of_text(schema, text, &mut wrong),
        Value::Number(_) => of_number(schema, value, &mut wrong),
        Value::Array(items) => of_list(schema, items, path, found),
        Value::Object(fields) => of_object(schema, fields, path, found),
        Value::Null | Value::Bool(_) => {}
    }
}

fn is_of(wanted: &str, value: &Value) -> bool {
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn of_text(schema: &Value, text: &str, wrong: &mut impl FnMut(String)) {
    let length = text.chars().count() as u64;
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        wrong(format!("should be at least {least} chars long"));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        wrong(format!("Too long: may not be more than {most} characters, has {length}"));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        wrong(format!("should match '{pattern}'"));
    }
    if schema["format"] == "date-time" && chrono::DateTime::parse_from_rfc3339(text).is_err() {
        wrong(format!("must be of type date-time, such as 2026-01-31T12:00:00Z, not '{text}'"));
    }
}

fn of_number(schema: &Value, value: &Value, wrong: &mut impl FnMut(String)) {
    let Some(number) = value.as_f64() else {
        return;
    };
    if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
        wrong(format!("should be greater than or equal to {least}"));
    }
    if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
        wrong(format!("should be less than or equal to {most}"));
    }
    if schema["format"] == "int32" && value.as_i64().is_none_or(|integer| i32::try_from(integer).is_err()) {
        wrong(format!("must be an integer of 32 bits, which {value} is not"));
    }
}

fn of_list(schema: &Value, items: &[Value], path: &str, found: &mut Vec<Mismatch>) {
    let mut wrong = |path: String, message: String| found.push(Mismatch { path, message, of_name: false });
    let count = items.len() as u64;
    if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
        wrong(path.to_owned(), format!("should have at least {least} items"));
    }
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
        wrong(path.to_owned(), format!("Too many: {count}: must have at most {most} items"));
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let identity = |item: &Value| match (schema["x-kubernetes-list-type"].as_str(), keys) {
        (Some("map"), Some(keys)) => {
            let fields = keys.iter().filter_map(Value::as_str).map(|key| (key.to_owned(), item[key].clone()));
            Some(Value::Object(fields.collect()).to_string())
        }
        (Some("set"), _) => Some(item.to_string()),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(identity) = identity(item).filter(|identity| !seen.insert(identity.clone())) {
            wrong(format!("{path}[{index}]"), format!("Duplicate value: {identity}"));
        }
    }
    for (index, item) in items.iter().enumerate() {
        walk(&schema["items"], item, &format!("{path}[{index}]"), found);
    }
}

fn of_object(schema: &Value, fields: &Map<String, Value>, path: &str, found: &mut Vec<Mismatch>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut wrong = |path: String, message: String, of_name| found.push(Mismatch { path, message, of_name });
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !fields.contains_key(*name)) {
        wrong(below(name), format!("Required value: '{name}' is missing"), false);
    }
    if let Some(least) = schema["minProperties"].as_u64().filter(|least| (fields.len() as u64) < *least) {
        wrong(path.to_owned(), format!("should have at least {least} properties"), false);
    }
    if let Some(most) = schema["maxProperties"].as_u64().filter(|most| fields.len() as u64 > *most) {
        wrong(path.to_owned(), format!("Too many: {}: must have at most {most} fields", fields.len()), false);
    }
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    for (name, value) in fields {
        let path = below(name);
        if let Some(schema) = schema["properties"].get(name) {
            walk(schema, value, &path, found);
        } else if schema["additionalProperties"].is_object() {
            walk(&schema["additionalProperties"], value, &path, found);
        } else if !open && schema["properties"].is_object() {
            let known = schema["properties"].as_object().into_iter().flat_map(Map::keys);
            let message = format!("unknown field '{name}'{}", meant(name, known));
            found.push(Mismatch { path, message, of_name: true });
        }
    }
}

/// Names the field that may have been meant.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let closest = known.map(|known| (distance(&plain(name), &plain(known)), known)).min();
    match closest {
        Some((apart, known)) if apart <= 2 => format!("; did you mean '{known}'?"),
        _ => String::new(),
    }
}

/// Returns how many characters have to be put in, taken out or changed to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, character) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = place + 1;
        for (index, with) in other.iter().enumerate() {
            let change = diagonal + usize::from(character != *with);
            diagonal = row[index + 1];
            row[index + 1] = change.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(value: Value) -> Vec<String> {
        let schema = json!({
            "type": "object", "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 4},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 7, "format": "int32"},
                "mode": {"type": "string", "enum": ["A", "B"]},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
                "racks": {
                    "type": "array", "minItems": 1, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                },
                "maybe": {"type": "string", "nullable": true},
                "peer": {"type": "object", "minProperties": 1, "x-kubernetes-preserve-unknown-fields": true},
                "cpu": {"x-kubernetes-int-or-string": true, "pattern": "^[0-9.]+m?$"},
            },
        });
        mismatches(&schema, &value).iter().map(|found| format!("{}: {}", found.path, found.message)).collect()
    }

    #[test]
    fn says_what_the_api_server_says() {
        let wrong = json!({
            "replicas": 9, "mode": "C", "labels": {"a": 1, "b": "x"}, "racks": [{"name": "a"}, {"name": "a"}], "Replica": 1,
        });
        assert_eq!(
            said(wrong),
            [
                "name: Required value: 'name' is missing",
                "replicas: should be less than or equal to 7",
                "mode: Unsupported value: \"C\": supported values: \"A\", \"B\"",
                "labels: Too many: 2: must have at most 1 fields",
                "labels.a: must be of type string, not integer",
                "racks[1]: Duplicate value: {\"name\":\"a\"}",
                "Replica: unknown field 'Replica'; did you mean 'replicas'?",
            ]
        );
        assert_eq!(said(json!({"name": "", "racks": [], "replicas": 0.5})).len(), 3);
        assert_eq!(said(json!({"name": "a", "peer": {}})), ["peer: should have at least 1 properties"]);
        assert_eq!(said(json!({"name": "a", "peer": {"any": 1}})), [""; 0]);
        assert_eq!(said(json!({"name": "a", "cpu": "0.5"})), Vec::<String>::new());
        assert_eq!(said(json!({"name": "a", "cpu": 2})), Vec::<String>::new());
        let amount = "cpu: must be an integer or a string, such as \"0.5\", not number";
        assert_eq!(said(json!({"name": "a", "cpu": 0.5})), [amount]);
    }

    #[test]
    fn control_what_fits_is_not_complained_about() {
        let fits = json!({"name": "a", "replicas": 3, "mode": "A", "labels": {"x": "y"}, "racks": [{"name": "a"}], "maybe": null});
        assert_eq!(said(fits), [""; 0]);
    }
}
