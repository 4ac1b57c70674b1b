//! Between JSON and CEL: integers stay integers, and what comes back is one value or nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::Value as CelValue;
use cel::objects::{Key, Map};
use chrono::SecondsFormat;
use serde_json::{Number, Value};

/// Returns the CEL value of a JSON value: whole numbers are `int`, and `uint` only above its range.
pub(super) fn to_cel(json: &Value) -> CelValue {
    match json {
        Value::Null => CelValue::Null,
        Value::Bool(boolean) => CelValue::Bool(*boolean),
        Value::Number(number) => number_to_cel(number),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, CelValue> =
                fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value))).collect();
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}

fn number_to_cel(number: &Number) -> CelValue {
    if let Some(integer) = number.as_i64() {
        return CelValue::Int(integer);
    }
    match number.as_u64() {
        Some(integer) => CelValue::UInt(integer),
        None => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// Returns the JSON value of a CEL value with all that is in it, or what cannot be one.
pub(crate) fn to_json_nested(value: &CelValue) -> Result<Value, &'static str> {
    match value {
        CelValue::List(items) => items.iter().map(to_json_nested).collect(),
        CelValue::Map(map) => {
            let entry = |(key, value): (&Key, &CelValue)| match key {
                Key::String(name) => Ok((name.as_ref().clone(), to_json_nested(value)?)),
                _ => Err("a map with keys that are no texts"),
            };
            // Sorted, so that the same values give the same text.
            let entries: BTreeMap<String, Value> = map.map.iter().map(entry).collect::<Result<_, _>>()?;
            Ok(Value::Object(entries.into_iter().collect()))
        }
        single => to_json(single),
    }
}

/// Returns the JSON value of a single CEL value, or what it is instead.
pub(crate) fn to_json(value: &CelValue) -> Result<Value, &'static str> {
    match value {
        CelValue::Null => Ok(Value::Null),
        CelValue::Bool(boolean) => Ok(Value::Bool(*boolean)),
        CelValue::Int(integer) => Ok(Value::from(*integer)),
        CelValue::UInt(integer) => Ok(Value::from(*integer)),
        CelValue::Float(number) => Number::from_f64(*number).map(Value::Number).ok_or("a number that is not finite"),
        CelValue::String(text) => Ok(Value::String(text.as_ref().clone())),
        CelValue::Timestamp(moment) => Ok(Value::String(moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
        CelValue::List(_) => Err("a list"),
        CelValue::Map(_) | CelValue::Struct(_) => Err("a map"),
        CelValue::Bytes(_) => Err("bytes"),
        CelValue::Duration(_) => Err("a duration"),
        CelValue::Function(..) => Err("a function"),
        CelValue::Opaque(_) => Err("something opaque"),
    }
}
