//! A stage evaluated over a batch of rows: fields into Arrow, expressions over them, and who is to blame.
//!
//! An error of a batch says nothing about which row it comes from. The batch is halved until the row is alone, so
//! that one bad record harms no other.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, StringBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::DataType;
use millrace_terms::StreamType;

use crate::expression::plain;
use crate::plan::{Input, Stage};
use crate::read;
use crate::rows::Rows;
use crate::scope::Read;
use crate::value::{Failure, Value};

/// Rows that a stage has been evaluated over, and what came of them.
pub(crate) struct Piece {
    pub(crate) rows: Range<usize>,
    pub(crate) result: Result<Vec<ArrayRef>, Blame>,
}

/// Why a single row cannot be evaluated.
pub(crate) struct Blame {
    /// The table's column, or none for the condition.
    pub(crate) column: Option<usize>,
    pub(crate) problem: String,
}

impl Stage {
    /// Reads the fields of all rows; or says which rows have fields that are not of their type.
    pub(crate) fn read(&self, rows: &Rows<'_>) -> Result<RecordBatch, Vec<(usize, Failure)>> {
        let mut failures = Vec::new();
        let arrays: Vec<ArrayRef> = self.inputs.iter().map(|input| column(input, rows, &mut failures)).collect();
        if !failures.is_empty() {
            return Err(failures);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("each input is read into the type of its column"))
    }

    /// Evaluates the expressions, in pieces that are in the order of the rows.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.evaluate_part(batch, 0..batch.num_rows(), &mut pieces);
        pieces
    }

    fn evaluate_part(&self, batch: &RecordBatch, rows: Range<usize>, pieces: &mut Vec<Piece>) {
        if rows.is_empty() {
            return;
        }
        let part = batch.slice(rows.start, rows.len());
        match self.evaluate_at_once(&part) {
            Err(_) if rows.len() > 1 => {
                let middle = rows.start + rows.len() / 2;
                self.evaluate_part(batch, rows.start..middle, pieces);
                self.evaluate_part(batch, middle..rows.end, pieces);
            }
            result => pieces.push(Piece { rows, result }),
        }
    }

    fn evaluate_at_once(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Blame> {
        let mut arrays = Vec::with_capacity(self.expressions.len());
        for (column, expression) in &self.expressions {
            let blame = |problem| Blame { column: *column, problem };
            // A function that panics is a bug of a library; it costs the record, not the worker.
            let evaluated = catch_unwind(AssertUnwindSafe(|| {
                expression.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()))
            }));
            match evaluated {
                Ok(Ok(array)) => arrays.push(array),
                Ok(Err(error)) => return Err(blame(plain(&error))),
                Err(_) => return Err(blame("a function failed unexpectedly; this is a bug".to_owned())),
            }
        }
        Ok(arrays)
    }
}

/// Reads one field of all rows.
fn column(input: &Input, rows: &Rows<'_>, failures: &mut Vec<(usize, Failure)>) -> ArrayRef {
    let Input { place, read, name } = input;
    let texts = (0..rows.len()).map(|row| rows.text(row, *place));
    let mut take = |row: usize, wanted, text: &str| {
        failures.push((row, Failure::Field { field: name.clone(), wanted, found: text.to_owned() }));
    };
    macro_rules! primitive {
        ($array:ty, $parse:expr, $wanted:expr) => {{
            let values = texts.enumerate().map(|(row, text)| {
                let text = text.filter(|text| *text != "null")?;
                let value = $parse(text);
                if value.is_none() {
                    take(row, $wanted, text);
                }
                value
            });
            Arc::new(values.collect::<$array>())
        }};
    }
    match read {
        Read::Ordinal => Arc::new((0..rows.len()).map(|row| Some(rows.ordinal(row))).collect::<Int64Array>()),
        Read::Text | Read::Json | Read::Typed(StreamType::Json) => {
            let mut builder = StringBuilder::new();
            texts.for_each(|text| match text.filter(|text| *text != "null") {
                None => builder.append_null(),
                Some(text) => match read::string(text) {
                    Some(text) => builder.append_value(text),
                    None => builder.append_value(text),
                },
            });
            Arc::new(builder.finish())
        }
        Read::Typed(StreamType::Text) => {
            let mut builder = StringBuilder::new();
            for (row, text) in texts.enumerate() {
                match text.filter(|text| *text != "null").map(|text| (text, read::string(text))) {
                    None => builder.append_null(),
                    Some((_, Some(text))) => builder.append_value(text),
                    Some((text, None)) => {
                        take(row, "text, a JSON string", text);
                        builder.append_null();
                    }
                }
            }
            Arc::new(builder.finish())
        }
        Read::Typed(StreamType::Bigint) => {
            primitive!(Int64Array, read::integer::<i64>, "bigint, a JSON integer of 64 bits")
        }
        Read::Typed(StreamType::Int) => primitive!(Int32Array, read::integer::<i32>, "int, a JSON integer of 32 bits"),
        Read::Typed(StreamType::Double) => primitive!(Float64Array, read::double, "double, a finite JSON number"),
        Read::Typed(StreamType::Boolean) => primitive!(BooleanArray, read::boolean, "boolean, true or false"),
        Read::Typed(StreamType::Date) => {
            primitive!(Date32Array, read::date, "date, a JSON string such as \"2024-02-29\"")
        }
        Read::Typed(StreamType::Timestamp) => primitive!(
            TimestampMillisecondArray,
            read::timestamp,
            "timestamp, an RFC 3339 string or an integer of milliseconds"
        ),
    }
}

/// Returns a condition's answers; what is unknown is not true.
pub(crate) fn truths(array: &ArrayRef) -> impl Iterator<Item = bool> + '_ {
    let array = array.as_any().downcast_ref::<BooleanArray>().expect("a condition is boolean");
    array.iter().map(|truth| truth == Some(true))
}

/// The results of one expression, read row by row.
pub(crate) enum Results<'array> {
    Null,
    Boolean(&'array BooleanArray),
    Integer(&'array Int64Array),
    Double(&'array Float64Array),
    Text(&'array StringArray),
    Date(&'array Date32Array),
    Timestamp(&'array TimestampMillisecondArray),
}

impl<'array> Results<'array> {
    /// Takes an array of one of the types that results are converted to when the query is compiled.
    pub(crate) fn new(array: &'array ArrayRef) -> Self {
        fn typed<A: 'static>(array: &ArrayRef) -> &A {
            array.as_any().downcast_ref().expect("an array is what its type says")
        }
        match array.data_type() {
            DataType::Boolean => Self::Boolean(typed(array)),
            DataType::Int64 => Self::Integer(typed(array)),
            DataType::Float64 => Self::Double(typed(array)),
            DataType::Utf8 => Self::Text(typed(array)),
            DataType::Date32 => Self::Date(typed(array)),
            DataType::Timestamp(_, _) => Self::Timestamp(typed(array)),
            _ => Self::Null,
        }
    }

    /// Returns the value of a row.
    pub(crate) fn value(&self, row: usize) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(array) if array.is_valid(row) => Value::Boolean(array.value(row)),
            Self::Integer(array) if array.is_valid(row) => Value::Integer(array.value(row)),
            Self::Double(array) if array.is_valid(row) => Value::Double(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Value::Text(array.value(row).to_owned().into()),
            Self::Date(array) if array.is_valid(row) => Value::Date(array.value(row)),
            Self::Timestamp(array) if array.is_valid(row) => Value::Timestamp(array.value(row)),
            _ => Value::Null,
        }
    }
}
