//! Objects that the CRD leaves open: read as a type of Kubernetes or of ours, with what was not understood named by its
//! path.
//!
//! Kubernetes' own types take unknown fields in silence, so what was read is written again and compared.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::rejected::Rejected;

/// What a value was expected to be: as Rust calls it, and in words of YAML.
const WORDS: [(&str, &str); 6] = [
    ("expected i64", "expected an integer"),
    ("expected i32", "expected an integer"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected an object"),
    ("expected a boolean", "expected true or false"),
    ("expected a string", "expected a string; quote it"),
];

/// Reads an object as written at a path; `of` is what it belongs to, such as `a pod`. Returns unknown fields beside it.
pub(crate) fn read<T>(path: &str, written: &Value, of: &str) -> Result<(T, Vec<Rejected>), Rejected>
where
    T: DeserializeOwned + Serialize,
{
    let read: T = serde_path_to_error::deserialize(written)
        .map_err(|error| Rejected::new(place(path, error.path()), in_words(error.inner())))?;
    let understood = serde_json::to_value(&read).expect("what was read as JSON can be written as JSON");
    let rejected = unknown(path, written, &understood)
        .into_iter()
        .map(|path| Rejected::new(path, format!("there is no such field in {of}; correct its name or remove it")))
        .collect();
    Ok((read, rejected))
}

/// Returns the path of what stands at a place below another.
fn place(path: &str, below: &Path) -> String {
    below.iter().fold(path.to_owned(), |path, segment| match segment {
        Segment::Seq { index } => format!("{path}[{index}]"),
        Segment::Map { key } if key.contains(['.', '/']) => format!("{path}[{key}]"),
        Segment::Map { key } | Segment::Enum { variant: key } => format!("{path}.{key}"),
        Segment::Unknown => path,
    })
}

/// Returns what is wrong with a value, in words of YAML.
fn in_words(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    for (of_rust, word) in WORDS {
        if let Some(found) = text.strip_suffix(of_rust) {
            text = format!("{found}{word}");
        }
    }
    text
}

/// Returns the paths of what was written and not understood.
fn unknown(path: &str, written: &Value, understood: &Value) -> Vec<String> {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            let mut paths = Vec::new();
            for (key, value) in written {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(understood) => paths.extend(unknown(&path, value, understood)),
                    None if is_empty(value) => {}
                    None => paths.push(path),
                }
            }
            paths
        }
        (Value::Array(written), Value::Array(understood)) => {
            let pairs = written.iter().zip(understood).enumerate();
            pairs
                .flat_map(|(index, (written, understood))| unknown(&format!("{path}[{index}]"), written, understood))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
