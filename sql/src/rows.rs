//! The rows of a batch before anything is computed: which record each comes from, and its fields as pieces of text.

use crate::extract::Extractor;
use crate::plan::{Place, Plan, Unnest};
use crate::scope::Level;
use crate::value::Failure;

/// Most rows that one record may become.
pub const MOST_ROWS: usize = 10_000;

/// The rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Rows<'record> {
    /// The fields of record 0, then those of record 1, …
    record_fields: Vec<Option<&'record str>>,
    record_width: usize,
    /// Likewise of the elements.
    element_fields: Vec<Option<&'record str>>,
    element_width: usize,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    record: usize,
    element: usize,
    ordinal: i64,
}

impl<'record> Rows<'record> {
    pub(crate) fn new(plan: &Plan, records: usize) -> Self {
        let record_width = plan.record.slots();
        let element_width = plan.unnest.as_ref().map_or(0, |unnest| unnest.element.slots());
        Self {
            record_fields: vec![None; record_width * records],
            record_width,
            element_fields: Vec::new(),
            element_width,
            rows: Vec::with_capacity(records),
        }
    }

    /// Reads a record and adds its rows.
    pub(crate) fn add(&mut self, plan: &Plan, record: usize, bytes: &'record [u8]) -> Result<(), Failure> {
        let fields = &mut self.record_fields[record * self.record_width..][..self.record_width];
        read(&plan.record, bytes, fields)?;
        let Some(unnest) = &plan.unnest else {
            self.rows.push(Row { record, element: 0, ordinal: 0 });
            return Ok(());
        };
        let array = fields[unnest.slot];
        self.unnest(unnest, record, array)
    }

    fn unnest(&mut self, unnest: &Unnest, record: usize, array: Option<&'record str>) -> Result<(), Failure> {
        let Some(array) = array.filter(|array| *array != "null") else {
            return Ok(());
        };
        if !array.starts_with('[') {
            let found = array.to_owned();
            return Err(Failure::Field { field: unnest.name.clone(), wanted: "a JSON array", found });
        }
        let elements: Vec<&serde_json::value::RawValue> = serde_json::from_str(array).map_err(not_json)?;
        if elements.len() > MOST_ROWS {
            return Err(Failure::TooManyRows { limit: MOST_ROWS });
        }
        let before = self.rows.len();
        for (text, ordinal) in elements.into_iter().zip(1..) {
            let start = self.element_fields.len();
            self.element_fields.resize(start + self.element_width, None);
            // What was passed over as JSON may have names that are none: half of a surrogate pair.
            if let Err(error) = unnest.element.read(text.get(), &mut self.element_fields[start..]) {
                self.rows.truncate(before);
                return Err(not_json(error));
            }
            self.rows.push(Row { record, element: start, ordinal });
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the record that a row comes from.
    pub(crate) fn record(&self, row: usize) -> usize {
        self.rows[row].record
    }

    /// Returns the element's position in its array, from 1.
    pub(crate) fn ordinal(&self, row: usize) -> i64 {
        self.rows[row].ordinal
    }

    /// Returns a field of a row as it stands in the record.
    pub(crate) fn text(&self, row: usize, place: Place) -> Option<&'record str> {
        let row = self.rows[row];
        match place.level {
            Level::Record => self.record_fields[row.record * self.record_width + place.slot],
            Level::Element => self.element_fields[row.element + place.slot],
        }
    }

    /// Keeps the rows for which `keep` says so; it is asked about each in order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(usize, usize) -> bool) {
        let mut index = 0;
        self.rows.retain(|row| {
            index += 1;
            keep(index - 1, row.record)
        });
    }
}

/// Reads the fields of a record, which is a JSON object.
pub(crate) fn read<'record>(
    extractor: &Extractor,
    bytes: &'record [u8],
    fields: &mut [Option<&'record str>],
) -> Result<(), Failure> {
    let text = std::str::from_utf8(bytes).map_err(not_json)?;
    extractor.read(text, fields).map_err(not_json)?;
    if text.trim_ascii_start().starts_with('{') {
        return Ok(());
    }
    Err(not_json("it is JSON, but no object"))
}

fn not_json(problem: impl std::fmt::Display) -> Failure {
    Failure::NotJson { problem: problem.to_string() }
}
