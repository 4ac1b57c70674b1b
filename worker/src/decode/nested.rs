//! Values of several parts → bytes as the native protocol has them. What they are written as in JSON follows
//! Cassandra's `INSERT JSON`; what that would bend, drop or fill in is refused here. Pure.

use std::collections::HashSet;
use std::fmt;

use millrace_terms::{ColumnType, TypeSettings, fields_of};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::cell::{Cell, string, wanted};
use super::fault::Fault;
use super::vint;
use crate::rejection::excerpt;

/// Most bytes of a value. A field that is absent takes four, so that the bound of records alone would not do.
const LARGEST_VALUE: usize = 8 << 20;

type Outcome = Result<(), Box<Fault>>;

/// Encodes a collection, tuple, vector or value of a user-defined type.
pub(super) fn encode(column_type: &ColumnType, types: &[TypeSettings], text: &str) -> Result<Vec<u8>, Box<Fault>> {
    let mut encoder = Encoder { types, bytes: Vec::with_capacity(text.len()) };
    encoder.value(column_type, text)?;
    Ok(encoder.bytes)
}

struct Encoder<'types> {
    types: &'types [TypeSettings],
    bytes: Vec<u8>,
}

impl Encoder<'_> {
    /// Appends a value that is not null.
    fn value(&mut self, column_type: &ColumnType, text: &str) -> Outcome {
        let not_of_type = |encoder: &Self| Fault::value(wanted(column_type, encoder.types), text);
        if text == "null" {
            return Err(not_of_type(self));
        }
        match column_type {
            ColumnType::Frozen(inner) => return self.value(inner, text),
            ColumnType::List(element) | ColumnType::Set(element) => {
                let at = self.reserve();
                let taken = items(text, |index, item| {
                    self.part(element, item).map_err(|fault| fault.within(&format!("[{index}]")))
                });
                let count = taken.ok_or_else(|| not_of_type(self))??;
                self.fill(at, count);
            }
            ColumnType::Map(key_type, value_type) => {
                let at = self.reserve();
                let mut keys = HashSet::new();
                let taken = entries(text, |key, value| {
                    let begin = self.bytes.len();
                    self.key(key_type, key)?;
                    if !keys.insert(self.bytes[begin..].to_vec()) {
                        return Err(Fault::value("this key only once", value).within(&place_of(key)));
                    }
                    self.part(value_type, value).map_err(|fault| fault.within(&place_of(key)))
                });
                let count = taken.ok_or_else(|| not_of_type(self))??;
                self.fill(at, count);
            }
            ColumnType::Tuple(members) => {
                let taken = items(text, |index, item| match members.get(index) {
                    Some(member) => {
                        self.part_or_null(member, item).map_err(|fault| fault.within(&format!("[{index}]")))
                    }
                    None => Ok(()),
                });
                let count = taken.ok_or_else(|| not_of_type(self))??;
                if count != members.len() {
                    return Err(not_of_type(self));
                }
            }
            ColumnType::Vector(element, dimension) => {
                let fixed = has_fixed_length(element);
                let taken = items(text, |index, item| {
                    let written = if fixed { self.value(element, item) } else { self.part_after_vint(element, item) };
                    written.map_err(|fault| fault.within(&format!("[{index}]")))
                });
                let count = taken.ok_or_else(|| not_of_type(self))??;
                if count != usize::from(*dimension) {
                    return Err(not_of_type(self));
                }
            }
            ColumnType::UserDefined(name) => self.user_defined(name, text, not_of_type)?,
            simple => {
                let cell = Cell::parse(simple, self.types, text)?;
                cell.encoded(|bytes| self.bytes.extend_from_slice(bytes));
            }
        }
        Ok(())
    }

    /// Appends the fields in the order of the type; one that is absent is null.
    fn user_defined(&mut self, name: &str, text: &str, not_of_type: impl Fn(&Self) -> Box<Fault>) -> Outcome {
        let fields = fields_of(self.types, name);
        let mut given: Vec<Option<&str>> = vec![None; fields.len()];
        let taken = entries(text, |key, value| {
            let key = string(key).unwrap_or_default();
            let Some(index) = fields.iter().position(|field| field.name == key) else {
                return Err(Fault::unknown_field(&key, name));
            };
            match given[index].replace(value) {
                None => Ok(()),
                Some(_) => Err(not_of_type(self)),
            }
        });
        taken.ok_or_else(|| not_of_type(self))??;
        for (field, value) in fields.iter().zip(given) {
            self.part_or_null(&field.column_type, value.unwrap_or("null"))
                .map_err(|fault| fault.within(&format!(".{}", field.name)))?;
        }
        Ok(())
    }

    /// Appends the key of a map, which JSON has as a string: the key itself if its type is written as a string, else
    /// the key's JSON.
    fn key(&mut self, key_type: &ColumnType, quoted: &str) -> Outcome {
        let begin = self.bytes.len();
        if self.part(key_type, quoted).is_ok() {
            return Ok(());
        }
        self.bytes.truncate(begin);
        let inner = string(quoted).unwrap_or_default();
        let json = serde_json::from_str::<&RawValue>(&inner).ok();
        match json.map(|json| self.part(key_type, json.get())) {
            Some(Ok(())) => Ok(()),
            // Which key is wrong says more than what in it.
            _ => Err(Fault::value(format!("as key {}", wanted(key_type, self.types)), quoted)),
        }
    }

    /// Appends a value after its length in four bytes.
    fn part(&mut self, column_type: &ColumnType, text: &str) -> Outcome {
        let at = self.reserve();
        self.value(column_type, text)?;
        if self.bytes.len() > LARGEST_VALUE {
            return Err(Fault::value("less: the whole value takes more than 8 MiB in Cassandra", text));
        }
        self.fill(at, self.bytes.len() - at - 4);
        Ok(())
    }

    fn part_or_null(&mut self, column_type: &ColumnType, text: &str) -> Outcome {
        if text == "null" {
            self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        self.part(column_type, text)
    }

    /// Appends a value after its length, as vectors of values of any length have it.
    fn part_after_vint(&mut self, column_type: &ColumnType, text: &str) -> Outcome {
        let mut part = Encoder { types: self.types, bytes: Vec::new() };
        part.value(column_type, text)?;
        vint::append(part.bytes.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(&part.bytes);
        Ok(())
    }

    /// Leaves room for a length or a count.
    fn reserve(&mut self) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        at
    }

    fn fill(&mut self, at: usize, number: usize) {
        let number = i32::try_from(number).expect("a value has at most LARGEST_VALUE bytes, and no more parts");
        self.bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
}

fn place_of(quoted_key: &str) -> String {
    format!("[{}]", excerpt(quoted_key))
}

/// Whether values of a type need no length in a vector. Cassandra 5.0 counts some that have one among those that do.
fn has_fixed_length(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Bigint
        | ColumnType::Boolean
        | ColumnType::Double
        | ColumnType::Float
        | ColumnType::Int
        | ColumnType::Timestamp
        | ColumnType::Timeuuid
        | ColumnType::Uuid => true,
        ColumnType::Vector(element, _) => has_fixed_length(element),
        _ => false,
    }
}

/// Hands over the items of a JSON array, one by one, and returns how many there were; `None`: it is no array.
fn items<'text>(text: &'text str, take: impl FnMut(usize, &'text str) -> Outcome) -> Option<Result<usize, Box<Fault>>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    if text.starts_with('[') { deserializer.deserialize_seq(Items(take)).ok() } else { None }
}

/// Hands over keys, in their quotes, and values of a JSON object likewise; `None`: it is no object.
fn entries<'text>(
    text: &'text str,
    take: impl FnMut(&'text str, &'text str) -> Outcome,
) -> Option<Result<usize, Box<Fault>>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    if text.starts_with('{') { deserializer.deserialize_map(Entries(take)).ok() } else { None }
}

struct Items<F>(F);

impl<'text, F: FnMut(usize, &'text str) -> Outcome> Visitor<'text> for Items<F> {
    type Value = Result<usize, Box<Fault>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'text>>(mut self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut count = 0;
        while let Some(item) = items.next_element::<&RawValue>()? {
            if let Err(fault) = (self.0)(count, item.get()) {
                // Serde wants the rest to be read.
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(fault));
            }
            count += 1;
        }
        Ok(Ok(count))
    }
}

struct Entries<F>(F);

impl<'text, F: FnMut(&'text str, &'text str) -> Outcome> Visitor<'text> for Entries<F> {
    type Value = Result<usize, Box<Fault>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'text>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut count = 0;
        while let Some((key, value)) = entries.next_entry::<&RawValue, &RawValue>()? {
            if let Err(fault) = (self.0)(key.get(), value.get()) {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Err(fault));
            }
            count += 1;
        }
        Ok(Ok(count))
    }
}

#[cfg(test)]
mod tests;
