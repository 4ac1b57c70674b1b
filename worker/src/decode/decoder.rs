//! What a query makes of records: by field names, by a projection, or by SQL over batches.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_sql::{Failure, Plan, Scratch, Value};
use millrace_terms::{Problem, QuerySettings, SqlSettings, TableSettings, Tombstones};
use snafu::Snafu;

use super::key::RowKey;
use super::{Cell, Table, present};
use crate::rejection::{
    BadColumnSnafu, BadConditionSnafu, BadFieldSnafu, NotJsonSnafu, Rejection, TooManyRowsSnafu, excerpt, hearsay,
};

/// SQL that does not compile. The operator has compiled the same before, so this is a stale or hand-made file.
#[derive(Debug, Snafu)]
#[snafu(display("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))]
pub struct CompileSql {
    /// All that is wrong, each with its place.
    pub problems: Vec<Problem>,
}

/// Compiles the SQL of a query.
fn compile(sql: &SqlSettings, stream: &str, table: &TableSettings) -> Result<Plan, CompileSql> {
    millrace_sql::compile(sql, stream, table).map_err(|problems| CompileSql { problems })
}

/// A query as decoding needs it. Clones share what is compiled.
#[derive(Clone, Debug)]
pub struct Decoder {
    query: String,
    table: Table,
    plan: Option<Arc<Plan>>,
    tombstones: Tombstones,
    row_key: RowKey,
}

/// What records have become.
#[derive(Debug, Default)]
pub struct Decoded<'record> {
    /// The cells of all rows, row after row, each in the order of the table's columns.
    pub cells: Vec<Cell<'record>>,
    /// Which of the records each row comes from.
    pub rows: Vec<usize>,
    /// Records that can never be written.
    pub rejected: Vec<(usize, Rejection)>,
    /// Records without a value, each of which deletes the row that its key names.
    pub deleting: Vec<usize>,
    /// How many records are sound and have no row: WHERE drops all of them, there is nothing to unnest, or they have no
    /// value and are skipped.
    pub filtered: usize,
}

/// Bytes of records that are unnested together: an element has two at least, so they are some thousand rows.
const UNNESTED: usize = 16 << 10;

impl Decoder {
    /// Takes over a query from the settings; compiles its SQL, once.
    pub fn new(settings: &QuerySettings) -> Result<Self, CompileSql> {
        let QuerySettings { name, from, into, sql, records, write_timestamp_base: _ } = settings;
        let tombstones = records.tombstones;
        let plan = sql.as_ref().map(|sql| compile(sql, from, into)).transpose()?;
        let table = Table::new(into).reading(records);
        let row_key = RowKey::of(&table);
        Ok(Self { query: name.clone(), table, plan: plan.map(Arc::new), tombstones, row_key })
    }

    /// Returns the table that the rows are for.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns whether a record may become many rows.
    pub fn multiplies(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.unnests())
    }

    /// Returns whether a record without a value deletes a row.
    pub fn deletes(&self) -> bool {
        self.tombstones == Tombstones::Delete
    }

    /// Reads a record's key into the cells of the primary key, in the order of the table's columns.
    pub fn row_key<'record>(&self, key: Option<&'record [u8]>) -> Result<Vec<Cell<'record>>, Rejection> {
        self.row_key.read(key)
    }

    /// Returns how many of the records, given by their lengths, are decoded together: all of them, unless each may
    /// become many rows, which need more memory than the records have.
    pub fn portion(&self, lengths: impl Iterator<Item = usize>) -> usize {
        if !self.multiplies() {
            return usize::MAX;
        }
        let mut bytes = 0;
        let fits = lengths.take_while(|length| {
            bytes += length;
            bytes <= UNNESTED
        });
        fits.count().max(1)
    }

    /// Returns what becomes of records. A rejection concerns its record alone. Of a record's rows with the same key
    /// the last one counts: they would be written with the same timestamp, and so mixed.
    pub fn decode<'record>(&self, payloads: impl ExactSizeIterator<Item = Option<&'record [u8]>>) -> Decoded<'record> {
        match &self.plan {
            None => self.each(payloads, |cells, payload| self.table.decode_onto(cells, payload)),
            Some(plan) if plan.is_projection() => {
                let mut scratch = Scratch::default();
                self.each(payloads, |cells, payload| self.project(plan, &mut scratch, cells, payload))
            }
            Some(plan) => self.evaluate(plan, payloads),
        }
    }

    /// Decodes record by record.
    fn each<'record>(
        &self,
        payloads: impl ExactSizeIterator<Item = Option<&'record [u8]>>,
        mut decode: impl FnMut(&mut Vec<Cell<'record>>, Option<&'record [u8]>) -> Result<(), Rejection>,
    ) -> Decoded<'record> {
        let (records, columns) = (payloads.len(), self.table.columns.len());
        let mut decoded = Decoded {
            cells: Vec::with_capacity(records * columns),
            rows: Vec::with_capacity(records),
            ..Decoded::default()
        };
        for (record, payload) in payloads.enumerate() {
            match decode(&mut decoded.cells, payload) {
                Ok(()) => decoded.rows.push(record),
                Err(rejection) => self.refuse(&mut decoded, record, payload, rejection),
            }
        }
        decoded
    }

    fn project<'record>(
        &self,
        plan: &Plan,
        scratch: &mut Scratch<'record>,
        cells: &mut Vec<Cell<'record>>,
        payload: Option<&'record [u8]>,
    ) -> Result<(), Rejection> {
        let start = cells.len();
        let projected = present(payload).and_then(|payload| {
            plan.row_onto(scratch, cells, payload, |column, value| self.cell(column, value))
                .map_err(|failure| self.rejection(failure))?;
            self.table.check_key(&cells[start..])
        });
        if projected.is_err() {
            cells.truncate(start);
        }
        projected
    }

    /// Decodes all records in one batch.
    fn evaluate<'record>(
        &self,
        plan: &Plan,
        payloads: impl Iterator<Item = Option<&'record [u8]>>,
    ) -> Decoded<'record> {
        let mut decoded = Decoded::default();
        let mut sound = Vec::new();
        let mut records = Vec::new();
        for (record, payload) in payloads.enumerate() {
            match present(payload) {
                Ok(present) => {
                    sound.push(record);
                    records.push(present);
                }
                Err(rejection) => self.refuse(&mut decoded, record, payload, rejection),
            }
        }
        let outcomes = plan.rows(&records, |column, value| self.cell(column, value));
        for (record, outcome) in sound.into_iter().zip(outcomes) {
            let rows = outcome.map_err(|failure| self.rejection(failure)).and_then(|rows| {
                rows.iter().try_for_each(|row| self.table.check_key(row))?;
                Ok(rows)
            });
            match rows {
                Ok(rows) if rows.is_empty() => decoded.filtered += 1,
                Ok(mut rows) => {
                    self.keep_last_of_each_key(&mut rows);
                    decoded.rows.extend(rows.iter().map(|_| record));
                    decoded.cells.extend(rows.into_iter().flatten());
                }
                Err(rejection) => decoded.rejected.push((record, rejection)),
            }
        }
        decoded
    }

    /// Notes what becomes of a record that is no row. Here, and not before each record is decoded, since most have a
    /// value.
    fn refuse(&self, decoded: &mut Decoded<'_>, record: usize, payload: Option<&[u8]>, rejection: Rejection) {
        match self.tombstones {
            Tombstones::Skip if payload.is_none() => decoded.filtered += 1,
            Tombstones::Delete if payload.is_none() => decoded.deleting.push(record),
            _ => decoded.rejected.push((record, rejection)),
        }
    }

    fn cell<'record>(&self, column: usize, value: Value<'record>) -> Result<Cell<'record>, String> {
        Cell::of(&self.table.columns[column].column_type, &self.table.types, value)
    }

    fn keep_last_of_each_key(&self, rows: &mut Vec<Vec<Cell<'_>>>) {
        if rows.len() < 2 {
            return;
        }
        let mut seen = HashSet::new();
        let mut later = Vec::with_capacity(rows.len());
        for row in rows.drain(..).rev() {
            if seen.insert(self.key(&row)) {
                later.push(row);
            }
        }
        rows.extend(later.into_iter().rev());
    }

    /// Returns the key of a row as one text of bytes, each part behind its length.
    fn key(&self, row: &[Cell<'_>]) -> Vec<u8> {
        let mut key = Vec::new();
        for index in self.table.key_columns() {
            row[index].encoded(|bytes| {
                key.extend_from_slice(&bytes.len().to_be_bytes());
                key.extend_from_slice(bytes);
            });
        }
        key
    }

    fn rejection(&self, failure: Failure) -> Rejection {
        let query = &self.query;
        match failure {
            Failure::NotJson { problem } => NotJsonSnafu { problem: hearsay(&problem) }.build(),
            Failure::Field { field, wanted, found } => {
                BadFieldSnafu { query, field, wanted, excerpt: excerpt(&found) }.build()
            }
            Failure::Column { column, problem } => BadColumnSnafu { query, column, problem: hearsay(&problem) }.build(),
            Failure::Where { problem } => BadConditionSnafu { query, problem: hearsay(&problem) }.build(),
            Failure::TooManyRows { limit } => TooManyRowsSnafu { query, limit }.build(),
        }
    }
}

#[cfg(test)]
mod tests;
