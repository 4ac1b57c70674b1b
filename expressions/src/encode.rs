//! What an expression gives, as JSON. Pure.

use std::io::Write as _;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelOptional, CelString, CelTimestamp, CelUInt,
    Kind,
};
use cel::common::value::Val;
use chrono::SecondsFormat;
use serde_json::Number;

use crate::json::append_string;
use crate::number;

/// Appends the JSON of a value, with all that is in it, or returns what has none. Maps have their keys sorted, so that
/// the same values give the same text; an optional value that is none is null in a list, and left out of a map.
pub fn append(value: &dyn Val, json: &mut Vec<u8>) -> Result<(), &'static str> {
    let own = "the kind of a value is that of its Rust type";
    match value.get_type().kind() {
        Kind::NullType => json.extend_from_slice(b"null"),
        Kind::Boolean => append_display(value.downcast_ref::<CelBool>().expect(own).inner(), json),
        Kind::Int => append_display(value.downcast_ref::<CelInt>().expect(own).inner(), json),
        Kind::UInt => append_display(value.downcast_ref::<CelUInt>().expect(own).inner(), json),
        Kind::Double => {
            let double = *value.downcast_ref::<CelDouble>().expect(own).inner();
            append_display(&Number::from_f64(double).ok_or("a number that is not finite")?, json);
        }
        Kind::String => append_string(value.downcast_ref::<CelString>().expect(own).inner(), json),
        Kind::Timestamp => {
            let moment = value.downcast_ref::<CelTimestamp>().expect(own).inner();
            append_string(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true), json);
        }
        Kind::Bytes => {
            let bytes = value.downcast_ref::<CelBytes>().expect(own).inner();
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            append_string(&format!("0x{digits}"), json);
        }
        Kind::List => append_list(value.downcast_ref::<CelList>().expect(own), json)?,
        Kind::Map => match value.downcast_ref::<CelMap>() {
            Some(map) => append_map(map, json)?,
            // An object of the record: it says itself how it is written.
            None => write!(json, "{value:?}").expect("memory takes what is written"),
        },
        Kind::Opaque => match value.downcast_ref::<CelOptional>().ok_or("something opaque")?.option() {
            Some(value) => append(value, json)?,
            None => json.extend_from_slice(b"null"),
        },
        Kind::Duration => return Err("a duration"),
        Kind::Type => return Err("a type"),
        _ => json.extend_from_slice(number::text_of(value).ok_or("something unknown")?.as_bytes()),
    }
    Ok(())
}

fn append_list(list: &CelList<'_>, json: &mut Vec<u8>) -> Result<(), &'static str> {
    json.push(b'[');
    for (index, element) in list.inner().iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        append(element.as_ref(), json)?;
    }
    json.push(b']');
    Ok(())
}

fn append_map(map: &CelMap<'_>, json: &mut Vec<u8>) -> Result<(), &'static str> {
    let name = |key: &CelMapKey<'_>| match key {
        CelMapKey::String(name) => name.inner().to_owned(),
        CelMapKey::Bool(truth) => truth.inner().to_string(),
        CelMapKey::Int(number) => number.inner().to_string(),
        CelMapKey::UInt(number) => number.inner().to_string(),
    };
    let mut members: Vec<(String, &dyn Val)> =
        map.inner().iter().map(|(key, value)| (name(key), value.as_ref())).collect();
    members.retain(|(_, value)| !is_none(*value));
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("a map with two keys of one name");
    }
    json.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        append_string(&name, json);
        json.push(b':');
        append(value, json)?;
    }
    json.push(b'}');
    Ok(())
}

fn is_none(value: &dyn Val) -> bool {
    value.downcast_ref::<CelOptional>().is_some_and(|optional| optional.option().is_none())
}

fn append_display(value: &impl std::fmt::Display, json: &mut Vec<u8>) {
    write!(json, "{value}").expect("memory takes what is written");
}
