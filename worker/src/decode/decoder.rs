//! What a query makes of records: by field names, by a projection, or by SQL over batches.

use std::collections::HashSet;

use millrace_sql::{Failure, Plan, Problem, Value};
use snafu::Snafu;
use worker_settings::{QuerySettings, SqlSettings, TableSettings};

use super::{Cell, Row, Table, present};
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
pub(crate) fn compile(sql: &SqlSettings, stream: &str, table: &TableSettings) -> Result<Plan, CompileSql> {
    millrace_sql::compile(sql, stream, table).map_err(|problems| CompileSql { problems })
}

/// A query as decoding needs it.
#[derive(Debug)]
pub struct Decoder {
    query: String,
    table: Table,
    plan: Option<Plan>,
}

impl Decoder {
    /// Takes over a query from the settings; compiles its SQL, once.
    pub fn new(settings: &QuerySettings) -> Result<Self, CompileSql> {
        let QuerySettings { name, from, into, sql, write_timestamp_base: _ } = settings;
        let plan = sql.as_ref().map(|sql| compile(sql, from, into)).transpose()?;
        Ok(Self { query: name.clone(), table: Table::new(into), plan })
    }

    /// Returns the table that the rows are for.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns whether the query has something to compute, to drop or to unnest: then batches of some hundred records
    /// cost much less per record, and [`Self::decode`] cannot be used.
    pub fn wants_batches(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| !plan.is_projection())
    }

    /// Returns the one row of a record; only for a query that wants no batches.
    pub fn decode<'record>(&self, payload: Option<&'record [u8]>) -> Result<Row<'record>, Rejection> {
        let Some(plan) = &self.plan else {
            return self.table.decode(payload);
        };
        let row = plan
            .row(present(payload)?, |column, value| self.cell(column, value))
            .map_err(|failure| self.rejection(failure))?;
        self.table.check_key(&row)?;
        Ok(row)
    }

    /// Returns for each record of a batch, in order, its rows: none when the condition drops it, several when an array
    /// is unnested. A rejection concerns its record alone. Of a record's rows with the same key the last one counts,
    /// since they would be written with the same timestamp, and so mixed.
    pub fn decode_batch<'record>(
        &self,
        payloads: &[Option<&'record [u8]>],
    ) -> Vec<Result<Vec<Row<'record>>, Rejection>> {
        let plan = match &self.plan {
            Some(plan) if !plan.is_projection() => plan,
            _ => return payloads.iter().map(|payload| self.decode(*payload).map(|row| vec![row])).collect(),
        };
        let presents: Vec<Result<&[u8], Rejection>> = payloads.iter().map(|payload| present(*payload)).collect();
        let records: Vec<&[u8]> = presents.iter().filter_map(|present| present.as_ref().ok().copied()).collect();
        let mut outcomes = plan.rows(&records, |column, value| self.cell(column, value)).into_iter();
        presents
            .into_iter()
            .map(|present| {
                present?;
                let outcome = outcomes.next().expect("each record has an outcome");
                let mut rows = outcome.map_err(|failure| self.rejection(failure))?;
                rows.iter().try_for_each(|row| self.table.check_key(row))?;
                self.keep_last_of_each_key(&mut rows);
                Ok(rows)
            })
            .collect()
    }

    fn cell<'record>(&self, column: usize, value: Value<'record>) -> Result<Cell<'record>, String> {
        Cell::of(&self.table.columns[column].column_type, value)
    }

    fn keep_last_of_each_key(&self, rows: &mut Vec<Row<'_>>) {
        if rows.len() < 2 {
            return;
        }
        let mut seen = HashSet::new();
        let mut later = Vec::with_capacity(rows.len());
        for row in rows.drain(..).rev() {
            let key = self.table.key_columns().map(|index| format!("{:?};", row[index])).collect::<String>();
            if seen.insert(key) {
                later.push(row);
            }
        }
        rows.extend(later.into_iter().rev());
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
