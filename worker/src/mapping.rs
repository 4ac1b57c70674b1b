//! Mapping and encoding: a fetched record becomes the key and the bytes of a Kafka record. Pure.
//!
//! Each field of the mapped record is a CEL expression over the variable `record`, compiled once; without fields the
//! record is taken as it is. The result is a JSON object with its fields in sorted order, so that the same record gives
//! the same bytes. What is not computed stands in it as the source wrote it, to the last digit. A record that cannot be
//! mapped is rejected with what to look at; the others go on.

use std::ops::Range;

use cel::common::types::CelOptional;
use cel::common::value::CowVal;
use cel::{Context, ExecutionError, ParseErrors, Program, Value};
use millrace_expressions::json::{append as append_json, append_string, members, string};
use millrace_expressions::{RECORD_VARIABLE, append, environment, scope};
use millrace_terms::SourceSettings;
use millrace_terms::expression::{self, ExceedBound};
use serde_json::value::RawValue;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::rejection::{excerpt, hearsay};
use crate::text::key_text;

/// Largest encoded record: what a Kafka topic takes by default, less room for headers and framing.
pub const LARGEST_ENCODED: usize = 1_000_000;

/// Why the expressions of a source do not compile.
#[derive(Debug, Snafu)]
pub enum CompileMapping {
    /// One expression is larger than any may be.
    #[snafu(display("source '{source_name}': field '{field}' {source}"))]
    BoundField {
        /// The source.
        source_name: String,
        /// The field.
        field: String,
        /// Which bound.
        source: ExceedBound,
    },
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
    /// The record is no value of its source's format, or one that has no clear meaning.
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
    /// An expression gives something that JSON has no form for.
    #[snafu(display("field '{field}': '{expression}' gives {given}, which JSON has no form for"))]
    EncodeField {
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
    /// The record itself is null: neither expressions nor a pointer help.
    #[snafu(display("the record is null, which has no fields; send an object in its place, or leave it out"))]
    ExpectRecord,
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
            Self::EncodeField { .. } => "EncodeField",
            Self::ExpectObject { .. } | Self::ExpectRecord => "ExpectObject",
            Self::TakeKey { .. } => "TakeKey",
            Self::FitRecord { .. } => "FitRecord",
        }
    }
}

/// The compiled mapping of one source.
pub struct Mapping {
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
    /// The JSON object.
    pub payload: Vec<u8>,
}

impl Mapping {
    /// Compiles the expressions of a source.
    pub fn compile(source: &SourceSettings) -> Result<Self, CompileMapping> {
        let environment = environment();
        let mut fields = Vec::with_capacity(source.fields.len());
        for (name, expression) in &source.fields {
            let place = BoundFieldSnafu { source_name: &source.name, field: name };
            expression::check(expression).context(place)?;
            let program = environment.compile(expression).context(CompileFieldSnafu {
                source_name: &source.name,
                field: name,
                expression,
            })?;
            fields.push(Field { name: name.clone(), expression: expression.clone(), program });
        }
        Ok(Self { fields, key: source.key.clone() })
    }

    /// Maps and encodes one fetched record.
    pub fn encode(&self, record: &RawValue) -> Result<Encoded, MapRecord> {
        let mut object = Object::default();
        let read = match self.fields.is_empty() {
            true => self.copy(record.get(), &mut object),
            false => self.evaluate(record.get(), &mut object),
        };
        // Only where it fails: an expression may well make something of null.
        read.map_err(|problem| if record.get() == "null" { ExpectRecordSnafu.build() } else { problem })?;
        let payload = object.finish();
        let key = self.key(object.key.clone().map(|key| &payload[key]))?;
        ensure!(payload.len() <= LARGEST_ENCODED, FitRecordSnafu { length: payload.len() });
        Ok(Encoded { key, payload: payload.into_bytes() })
    }

    /// Returns the key of the records that one with a null value ends, from the key that this has in another topic: the
    /// text there, or the key field of the object there.
    pub fn ended_key(&self, key: &[u8]) -> Result<String, MapRecord> {
        let computed = "its value is null, so that 'fields' cannot compute its key";
        ensure!(self.fields.is_empty(), ReadRecordSnafu { problem: computed });
        let text = key_text(key).map_err(|problem| unreadable(&format!("its key: {problem}")))?;
        ensure!(!text.is_empty(), TakeKeySnafu { key: &self.key, state: "empty" });
        if !text.starts_with(['{', '"']) {
            return Ok(text.to_owned());
        }
        let json: &RawValue = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        match members(json.get()).map_err(|error| unreadable(&error))? {
            Some(members) => self.key(members.iter().find(|(name, _)| *name == self.key).map(|(_, value)| *value)),
            None => self.key(Some(json.get())),
        }
    }

    /// Takes the members of a record as they are.
    fn copy(&self, record: &str, object: &mut Object) -> Result<(), MapRecord> {
        let members = members(record).map_err(|error| unreadable(&error))?;
        for (name, value) in members.context(ExpectObjectSnafu { excerpt: excerpt(record) })? {
            object.begin(&name, name == self.key);
            append_json(value, &mut object.json);
            object.end();
        }
        Ok(())
    }

    fn evaluate(&self, record: &str, object: &mut Object) -> Result<(), MapRecord> {
        let scope = scope(record).map_err(|error| unreadable(&error))?;
        for field in &self.fields {
            let value = field.evaluate(&scope)?;
            if value.downcast_ref::<CelOptional>().is_some_and(|optional| optional.option().is_none()) {
                continue;
            }
            object.begin(&field.name, field.name == self.key);
            append(value.as_ref(), &mut object.json).map_err(|given| field.without_form(given))?;
            object.end();
        }
        Ok(())
    }

    /// Returns the text that the key field stands for.
    fn key(&self, json: Option<&str>) -> Result<String, MapRecord> {
        let json = json.context(TakeKeySnafu { key: &self.key, state: "absent" })?;
        let state = match json.as_bytes() {
            b"null" => "null",
            b"\"\"" => "empty",
            [b'{' | b'[', ..] => "nested",
            [b'"', ..] => match string(json) {
                Some(text) => return Ok(text.into_owned()),
                None => "a text with half a character",
            },
            _ => return Ok(json.to_owned()),
        };
        TakeKeySnafu { key: &self.key, state }.fail()
    }
}

fn unreadable(problem: &impl ToString) -> MapRecord {
    ReadRecordSnafu { problem: hearsay(&problem.to_string()) }.build()
}

/// A JSON object that is being written.
#[derive(Default)]
struct Object {
    json: Vec<u8>,
    /// Where the value of the key field lies. Absent: it is not there.
    key: Option<Range<usize>>,
    is_key: bool,
    begin: usize,
}

impl Object {
    /// Writes a name; its value is to be appended next.
    fn begin(&mut self, name: &str, is_key: bool) {
        self.json.push(if self.json.is_empty() { b'{' } else { b',' });
        append_string(name, &mut self.json);
        self.json.push(b':');
        (self.begin, self.is_key) = (self.json.len(), is_key);
    }

    fn end(&mut self) {
        if self.is_key {
            self.key = Some(self.begin..self.json.len());
        }
    }

    fn finish(&mut self) -> String {
        if self.json.is_empty() {
            self.json.push(b'{');
        }
        self.json.push(b'}');
        String::from_utf8(std::mem::take(&mut self.json)).expect("it is made of texts")
    }
}

impl Field {
    fn evaluate<'scope, 'record>(
        &'scope self,
        scope: &'scope Context<'_, 'record>,
    ) -> Result<CowVal<'scope, 'record>, MapRecord> {
        Value::resolve_val(self.program.expression(), scope).map_err(|error| self.describe(&error))
    }

    fn without_form(&self, given: &'static str) -> MapRecord {
        EncodeFieldSnafu { field: &self.name, expression: &self.expression, given }.build()
    }

    fn describe(&self, error: &ExecutionError) -> MapRecord {
        let problem = match error {
            ExecutionError::NoSuchKey(key) => format!("the record has no '{key}' there; '.?{key}' allows for it"),
            ExecutionError::UndeclaredReference(name) => {
                format!("'{name}' is not known; expressions start from 'record'")
            }
            ExecutionError::NoSuchOverload(overload)
                if overload.argument_types().first().is_some_and(|first| first == "null_type") =>
            {
                "it looks into null; '.?' instead of '.' allows for it".to_owned()
            }
            ExecutionError::UnsupportedBinaryOperator(..) => {
                "its operands are of different types; double(…) or int(…) makes them the same".to_owned()
            }
            ExecutionError::FunctionError { function, message } if function == RECORD_VARIABLE => hearsay(message),
            other => hearsay(&other.to_string()),
        };
        EvaluateFieldSnafu { field: &self.name, expression: &self.expression, problem }.build()
    }
}

#[cfg(test)]
mod tests;
