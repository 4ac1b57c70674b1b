//! Judges each query: are its topic and table declared, and does its SQL compile, over the columns of its stream and
//! for those of its table? The caller brings the judge of SQL, so that this crate links no compiler.
//!
//! Admission checks the names, too; a check without a cluster must report the same. A fault takes the query out, and
//! those of the same topic with it, so that the topic keeps the records; everything else continues.

use std::collections::BTreeSet;

use millrace_terms::{ColumnType, Problem, SqlQuestion, Tombstones};

use super::Fault;
use crate::pipeline::{Pipeline, Query};
use crate::rejected::Rejected;

/// Returns every fault, in the order of the resource. `judge` returns what is wrong with a query's SQL.
pub(super) fn check(pipeline: &Pipeline, mut judge: impl FnMut(SqlQuestion) -> Vec<Problem>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, query) in pipeline.processor.queries.iter().enumerate() {
        let path = format!("spec.processor.queries[{index}]");
        let rejected = names(&path, query, pipeline)
            .into_iter()
            .chain(deletes(&path, query))
            .chain(epoch_units(&path, query, pipeline))
            .chain(sql(&path, query, pipeline, &mut judge));
        faults.extend(rejected.map(|rejected| Fault { name: query.name.clone(), rejected }));
    }
    faults
}

/// Returns the queries that cannot run: the faulty ones and those of the same topics, since the records that they write
/// would be done with when the faulty ones are fixed.
pub(super) fn held(pipeline: &Pipeline, faulty: &BTreeSet<String>) -> BTreeSet<String> {
    let queries = &pipeline.processor.queries;
    let topics: BTreeSet<&String> =
        queries.iter().filter(|query| faulty.contains(&query.name)).map(|query| &query.from).collect();
    queries.iter().filter(|query| topics.contains(&query.from)).map(|query| query.name.clone()).collect()
}

fn names(path: &str, query: &Query, pipeline: &Pipeline) -> Vec<Rejected> {
    let undeclared = |field: &str, name: &str, list: &str| {
        Rejected::new(
            format!("{path}.{field}"),
            format!("'{name}' is not declared; add it to {list} or correct the name"),
        )
    };
    let mut rejected = Vec::new();
    if pipeline.kafka.topics.iter().all(|topic| topic.name != query.from) {
        rejected.push(undeclared("from", &query.from, "spec.kafka.topics"));
    }
    if pipeline.cassandra.table(&query.into).is_none() {
        rejected.push(undeclared("into", &query.into, "spec.cassandra.tables"));
    }
    rejected
}

/// Refuses to delete rows whose keys SQL computes, as admission does: the worker would not start.
fn deletes(path: &str, query: &Query) -> Option<Rejected> {
    let refused = query.sql.is_some() && query.records.tombstones == Tombstones::Delete;
    refused.then(|| {
        let message = "with sql, the key of the row to delete is unknown; remove sql, or use Skip or Reject";
        Rejected::new(format!("{path}.tombstones"), message)
    })
}

/// Refuses a unit of what is not a timestamp column of the table.
fn epoch_units(path: &str, query: &Query, pipeline: &Pipeline) -> Vec<Rejected> {
    let Some(table) = pipeline.cassandra.table(&query.into) else {
        return Vec::new();
    };
    let mut rejected = Vec::new();
    for name in query.records.epoch_units.keys() {
        let column = table.columns.iter().find(|column| column.name == *name);
        let message = match column.map(|column| &column.column_type) {
            Some(ColumnType::Timestamp) => continue,
            Some(other) => format!("column '{name}' is {other}, and only a timestamp has a unit; remove it"),
            None => format!("table '{}' has no column '{name}'; correct the name or remove it", table.name),
        };
        rejected.push(Rejected::new(format!("{path}.epochUnits.{name}"), message));
    }
    rejected
}

fn sql(
    path: &str,
    query: &Query,
    pipeline: &Pipeline,
    judge: &mut impl FnMut(SqlQuestion) -> Vec<Problem>,
) -> Vec<Rejected> {
    let (Some(sql), Some(table)) = (&query.sql, pipeline.cassandra.table(&query.into)) else {
        return Vec::new();
    };
    let into = pipeline.cassandra.table_settings(table);
    let problems = judge(SqlQuestion { sql: sql.clone(), from: query.from.clone(), into });
    let rejected = problems.into_iter().map(|problem| Rejected {
        path: format!("{path}.sql"),
        message: format!("query '{}': {problem}", query.name),
        excerpt: Some(problem.excerpt(&sql.text)),
    });
    rejected.collect()
}
