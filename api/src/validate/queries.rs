//! Judges each query: are its topic and table declared, and does its SQL compile, over the columns of its stream and
//! for those of its table?
//!
//! Admission sees the names, too; whoever asks without a cluster shall hear the same. A fault belongs to one query and takes that query out; its topic keeps the records, and everything else goes on.

use super::{Fault, Rejected};
use crate::pipeline::{Pipeline, Query, Table};

/// Returns every fault, in the order of the resource.
pub(super) fn check(pipeline: &Pipeline) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, query) in pipeline.processor.queries.iter().enumerate() {
        let path = format!("spec.processor.queries[{index}]");
        let rejected = names(&path, query, pipeline).into_iter().chain(sql(&path, query, pipeline));
        faults.extend(rejected.map(|rejected| Fault { name: query.name.clone(), rejected }));
    }
    faults
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
    if table(query, pipeline).is_none() {
        rejected.push(undeclared("into", &query.into, "spec.cassandra.tables"));
    }
    rejected
}

fn sql(path: &str, query: &Query, pipeline: &Pipeline) -> Vec<Rejected> {
    let (Some(sql), Some(table)) = (&query.sql, table(query, pipeline)) else {
        return Vec::new();
    };
    let problems = millrace_sql::compile(sql, &query.from, &table.settings()).err().unwrap_or_default();
    problems.into_iter().map(|problem| Rejected::new(format!("{path}.sql"), problem)).collect()
}

fn table<'a>(query: &Query, pipeline: &'a Pipeline) -> Option<&'a Table> {
    pipeline.cassandra.tables.iter().find(|table| table.name == query.into)
}
