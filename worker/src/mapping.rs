//! Mapping and encoding: a fetched record becomes the key and the bytes of a Kafka record. Pure.
//!
//! Each field of the mapped record is a CEL expression over the variable `record`, compiled once. The result is a
//! flat JSON object with its fields in sorted order, so that the same record gives the same bytes. A record that
//! cannot be mapped is rejected with what to look at; the others go on.

pub(crate) mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::{Context, Env, ExecutionError, ParseErrors, Program};
use millrace_terms::SourceSettings;
use serde_json::Value;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::rejection::{excerpt, hearsay};

/// Largest encoded record: what a Kafka topic takes by default, less room for headers and framing.
pub const LARGEST_ENCODED: usize = 1_000_000;

/// Why the expressions of a source do not compile.
#[derive(Debug, Snafu)]
pub enum CompileMapping {
    /// One expression is no CEL.
    #[snafu(display("source '{source_name}': field '{field}': cannot compile '{expression}'"))]
    CompileField {
        /// The source.
        source_name: String,
        /// The field.
        field: String,
        /// The expression.
        expression: String,
        /// What the parser says.
        #[snafu(source(from(ParseErrors, Box::new)))]
        source: Box<ParseErrors>,
    },
}

/// Why a fetched record does not become a Kafka record.
#[derive(Debug, PartialEq, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum MapRecord {
    /// The record is JSON, but not all of it is a value that can be held: a number out of range, for instance.
    #[snafu(display("the record cannot be read: {problem}"))]
    ReadRecord {
        /// What the parser says.
        problem: String,
    },
    /// An expression fails on this record.
    #[snafu(display("field '{field}': '{expression}' fails: {problem}"))]
    EvaluateField {
        /// The field.
        field: String,
        /// The expression.
        expression: String,
        /// What the evaluation says.
        problem: String,
    },
    /// An expression gives something that is no single value.
    #[snafu(display("field '{field}': '{expression}' gives {given}; a field is a text, a number, a boolean or null"))]
    FlattenField {
        /// The field.
        field: String,
        /// The expression.
        expression: String,
        /// What it gives.
        given: &'static str,
    },
    /// The record itself is no JSON object, and there are no expressions to make it one.
    #[snafu(display(
        "the record is no JSON object but {excerpt}; give the source 'fields', or point 'records' deeper"
    ))]
    ExpectObject {
        /// The record, cut.
        excerpt: String,
    },
    /// The key field is absent, null, empty or nested.
    #[snafu(display("the key field '{key}' is {state}"))]
    TakeKey {
        /// The key field.
        key: String,
        /// What it is instead.
        state: &'static str,
    },
    /// The encoded record is larger than Kafka takes.
    #[snafu(display("the encoded record has {length} bytes, more than {LARGEST_ENCODED}"))]
    FitRecord {
        /// Its length.
        length: usize,
    },
}

impl MapRecord {
    /// Returns the stable name of the reason, for the metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ReadRecord { .. } => "ReadRecord",
            Self::EvaluateField { .. } => "EvaluateField",
            Self::FlattenField { .. } => "FlattenField",
            Self::ExpectObject { .. } => "ExpectObject",
            Self::TakeKey { .. } => "TakeKey",
            Self::FitRecord { .. } => "FitRecord",
        }
    }
}

/// The compiled mapping of one source.
pub struct Mapping {
    environment: Arc<Env>,
    fields: Vec<Field>,
    key: String,
}

struct Field {
    name: String,
    expression: String,
    program: Program,
}

/// A mapped and encoded record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoded {
    /// Text of the key field.
    pub key: String,
    /// The flat JSON object.
    pub payload: Vec<u8>,
}

impl Mapping {
    /// Compiles the expressions of a source.
    pub fn compile(source: &SourceSettings) -> Result<Self, CompileMapping> {
        let environment = Arc::new(Env::stdlib());
        let mut fields = Vec::with_capacity(source.fields.len());
        for (name, expression) in &source.fields {
            let program = environment.compile(expression).context(CompileFieldSnafu {
                source_name: &source.name,
                field: name,
                expression,
            })?;
            fields.push(Field { name: name.clone(), expression: expression.clone(), program });
        }
        Ok(Self { environment, fields, key: source.key.clone() })
    }

    /// Maps and encodes one fetched record.
    pub fn encode(&self, record: &Value) -> Result<Encoded, MapRecord> {
        let mapped;
        let object = match self.fields.is_empty() {
            true => match record {
                Value::Object(fields) => fields.iter().map(|(name, value)| (name.as_str(), value)).collect(),
                other => {
                    return ExpectObjectSnafu { excerpt: excerpt(&other.to_string()) }.fail();
                }
            },
            false => {
                mapped = self.evaluate(record)?;
                self.fields.iter().map(|field| field.name.as_str()).zip(&mapped).collect()
            }
        };
        let key = self.key(&object)?;
        let payload = encode(&object);
        ensure!(payload.len() <= LARGEST_ENCODED, FitRecordSnafu { length: payload.len() });
        Ok(Encoded { key, payload })
    }

    fn evaluate(&self, record: &Value) -> Result<Vec<Value>, MapRecord> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.add_variable_from_value("record", value::to_cel(record));
        let values = self.fields.iter().map(|field| field.evaluate(&context));
        values.collect()
    }

    fn key(&self, object: &BTreeMap<&str, &Value>) -> Result<String, MapRecord> {
        let absent = TakeKeySnafu { key: &self.key, state: "absent" };
        let state = match object.get(self.key.as_str()).context(absent)? {
            Value::String(text) if text.is_empty() => "empty",
            Value::String(text) => return Ok(text.clone()),
            Value::Number(number) => return Ok(number.to_string()),
            Value::Bool(boolean) => return Ok(boolean.to_string()),
            Value::Null => "null",
            Value::Array(_) | Value::Object(_) => "nested",
        };
        TakeKeySnafu { key: &self.key, state }.fail()
    }
}

impl Field {
    fn evaluate(&self, context: &Context<'_, '_>) -> Result<Value, MapRecord> {
        let value = self.program.execute(context).map_err(|error| self.describe(&error))?;
        value::to_json(&value)
            .map_err(|given| FlattenFieldSnafu { field: &self.name, expression: &self.expression, given }.build())
    }

    fn describe(&self, error: &ExecutionError) -> MapRecord {
        let problem = match error {
            ExecutionError::NoSuchKey(key) => format!("the record has no '{key}' there"),
            ExecutionError::UndeclaredReference(name) => {
                format!("'{name}' is not known; expressions start from 'record'")
            }
            other => hearsay(&other.to_string()),
        };
        EvaluateFieldSnafu { field: &self.name, expression: &self.expression, problem }.build()
    }
}

fn encode(object: &BTreeMap<&str, &Value>) -> Vec<u8> {
    // A map in memory with text keys always serializes.
    serde_json::to_vec(object).expect("JSON values serialize")
}

#[cfg(test)]
mod tests;
