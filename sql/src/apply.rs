//! A plan applied to records: each becomes rows, none, or a failure; none harms another.

use crate::batch::{Piece, Results, truths};
use crate::plan::{Output, Place, Plan};
use crate::rows::{Rows, read};
use crate::value::{Failure, Value};

/// What becomes of one record: its rows, each with one cell per column of the table.
pub type Outcome<C> = Result<Vec<Vec<C>>, Failure>;

/// Room for the fields of one record, kept from record to record.
#[derive(Debug, Default)]
pub struct Scratch<'record>(Vec<Option<&'record str>>);

impl Plan {
    /// Returns whether each record becomes exactly one row by itself, with nothing to compute: then [`Plan::row_onto`]
    /// needs no batch, and no Arrow.
    pub fn is_projection(&self) -> bool {
        self.unnest.is_none() && self.filter.is_none() && self.computed.is_none()
    }

    /// Returns whether a record may become several rows.
    pub fn unnests(&self) -> bool {
        self.unnest.is_some()
    }

    /// Adds the cells of the one row of a record; only for a projection. After a failure, some of them may be there.
    ///
    /// `cell` makes the cell of a column, given by its position in the table, or says why the value does not fit.
    pub fn row_onto<'record, C>(
        &self,
        scratch: &mut Scratch<'record>,
        cells: &mut Vec<C>,
        record: &'record [u8],
        cell: impl Fn(usize, Value<'record>) -> Result<C, String>,
    ) -> Result<(), Failure> {
        assert!(self.is_projection(), "only a projection makes rows one by one");
        let fields = &mut scratch.0;
        fields.resize(self.record.slots(), None);
        read(&self.record, record, fields)?;
        self.cells(|place| fields[place.slot], 0, |_| Value::Absent, &cell, cells)
    }

    /// Returns what becomes of each of a batch of records, in their order.
    ///
    /// `cell` is as for [`Plan::row_onto`].
    pub fn rows<'record, C>(
        &self,
        records: &[&'record [u8]],
        cell: impl Fn(usize, Value<'record>) -> Result<C, String>,
    ) -> Vec<Outcome<C>> {
        let mut outcomes: Vec<Outcome<C>> = records.iter().map(|_| Ok(Vec::new())).collect();
        let mut rows = Rows::new(self, records.len());
        for (index, record) in records.iter().enumerate() {
            if let Err(failure) = rows.add(self, index, record) {
                outcomes[index] = Err(failure);
            }
        }
        self.filter(&mut rows, &mut outcomes);
        let pieces = self.compute(&mut rows, &mut outcomes);
        for Piece { rows: range, result } in pieces {
            let arrays = match &result {
                Ok(arrays) => arrays,
                Err(blame) => {
                    let column = blame.column.map(|column| self.columns[column].clone()).unwrap_or_default();
                    let problem = blame.problem.clone();
                    outcomes[rows.record(range.start)] = Err(Failure::Column { column, problem });
                    continue;
                }
            };
            let results: Vec<Results<'_>> = arrays.iter().map(Results::new).collect();
            for row in range.clone() {
                let outcome = &mut outcomes[rows.record(row)];
                let Ok(made) = outcome else {
                    continue;
                };
                let text = |place| rows.text(row, place);
                let computed = |index: usize| results[index].value(row - range.start);
                let mut cells = Vec::with_capacity(self.outputs.len());
                match self.cells(text, rows.ordinal(row), computed, &cell, &mut cells) {
                    Ok(()) => made.push(cells),
                    Err(failure) => *outcome = Err(failure),
                }
            }
        }
        outcomes
    }

    /// Drops the rows for which the condition is not true.
    fn filter<C>(&self, rows: &mut Rows<'_>, outcomes: &mut [Outcome<C>]) {
        let Some(stage) = &self.filter else {
            return;
        };
        let batch = loop {
            match stage.read(rows) {
                Ok(batch) => break batch,
                Err(failures) => drop_failed(rows, outcomes, failures),
            }
        };
        let mut keep = vec![false; rows.len()];
        for Piece { rows: range, result } in stage.evaluate(&batch) {
            match result {
                Ok(arrays) => range.zip(truths(&arrays[0])).for_each(|(row, truth)| keep[row] = truth),
                Err(blame) => outcomes[rows.record(range.start)] = Err(Failure::Where { problem: blame.problem }),
            }
        }
        rows.retain(|row, record| keep[row] && outcomes[record].is_ok());
    }

    /// Computes what is to be computed of all rows.
    fn compute<C>(&self, rows: &mut Rows<'_>, outcomes: &mut [Outcome<C>]) -> Vec<Piece> {
        let Some(stage) = &self.computed else {
            return vec![Piece { rows: 0..rows.len(), result: Ok(Vec::new()) }];
        };
        loop {
            match stage.read(rows) {
                Ok(batch) => return stage.evaluate(&batch),
                Err(failures) => drop_failed(rows, outcomes, failures),
            }
        }
    }

    fn cells<'record, C>(
        &self,
        text: impl Fn(Place) -> Option<&'record str>,
        ordinal: i64,
        computed: impl Fn(usize) -> Value<'static>,
        cell: &impl Fn(usize, Value<'record>) -> Result<C, String>,
        cells: &mut Vec<C>,
    ) -> Result<(), Failure> {
        for (column, output) in self.outputs.iter().enumerate() {
            let value = match output {
                Output::Absent => Value::Absent,
                Output::Place { place, as_text } => match text(*place) {
                    None => Value::Absent,
                    Some("null") => Value::Null,
                    Some(text) if *as_text && !text.starts_with('"') => Value::Text(text.into()),
                    Some(text) => Value::Json(text),
                },
                Output::Ordinal => Value::Integer(ordinal),
                Output::Constant(value) => value.clone(),
                Output::Computed { index, exact } => match computed(*index) {
                    Value::Text(digits) if *exact => Value::Number(digits.into_owned()),
                    value => value,
                },
            };
            let made = cell(column, value)
                .map_err(|problem| Failure::Column { column: self.columns[column].clone(), problem })?;
            cells.push(made);
        }
        Ok(())
    }
}

/// Takes out the records some of whose rows have failed, so that the others can go on.
fn drop_failed<C>(rows: &mut Rows<'_>, outcomes: &mut [Outcome<C>], failures: Vec<(usize, Failure)>) {
    for (row, failure) in failures {
        let outcome = &mut outcomes[rows.record(row)];
        if outcome.is_ok() {
            *outcome = Err(failure);
        }
    }
    rows.retain(|_, record| outcomes[record].is_ok());
}
