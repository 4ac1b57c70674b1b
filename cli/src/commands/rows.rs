//! `rows`: rows of a table, through a port-forward to a Cassandra node.

use std::collections::BTreeMap;

use millrace_api::StreamingPipeline;
use millrace_stores::cassandra::{Preview, preview};
use serde_json::{Map, Value};

use super::Context;
use crate::arguments::Rows;
use crate::cluster::names_of;
use crate::screen::{Format, Screen, document, write};
use crate::stores::cassandra;
use crate::{Failure, Outcome};

/// Shows rows.
pub async fn run(context: &Context<'_>, flags: &Rows) -> Result<Outcome, Failure> {
    let what = format!("table '{}'", flags.table);
    let has =
        |pipeline: &StreamingPipeline| pipeline.spec.cassandra.tables.iter().any(|table| table.name == flags.table);
    let pipeline = context.cluster.pipeline_with(flags.pipeline.as_deref(), &what, has).await?;
    let declared = pipeline.spec.cassandra.tables.iter().find(|table| table.name == flags.table);
    let types: BTreeMap<&str, &str> = declared
        .iter()
        .flat_map(|table| &table.columns)
        .map(|column| (column.name.as_str(), column.column_type.as_str()))
        .collect();
    let key = flags.key.iter().map(|(column, text)| (column.clone(), key_value(types.get(column.as_str()), text)));
    let key: BTreeMap<String, Value> = key.collect();
    let reached = cassandra(&context.cluster, &names_of(&pipeline)).await?;
    let keyspace = &pipeline.spec.cassandra.keyspace.name;
    let found = preview(&reached.client, keyspace, &flags.table, &key, flags.limit as usize).await?;
    let text = match context.format {
        Format::Table => table(&found, context.screen),
        format => document(format, &objects(&found)),
    };
    write(&text)?;
    if found.more {
        eprintln!("note: there are more rows; raise --limit, or give a --key");
    } else if found.rows.is_empty() {
        eprintln!("note: no matching rows");
    }
    Ok(Outcome::Fine)
}

/// Returns a value of the key as Cassandra shall read it: text as it is typed, whatever else the type is as JSON, where it
/// is JSON.
fn key_value(cql: Option<&&str>, text: &str) -> Value {
    let is_text = cql.is_some_and(|cql| ["text", "varchar", "ascii"].contains(cql));
    match serde_json::from_str(text) {
        Ok(value) if !is_text => value,
        Ok(_) | Err(_) => Value::String(text.to_owned()),
    }
}

fn table(found: &Preview, screen: &Screen) -> String {
    let header: Vec<&str> = found.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = found.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    screen.table(&header, &rows)
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn objects(found: &Preview) -> Vec<Map<String, Value>> {
    let object = |row: &Vec<Value>| found.columns.iter().cloned().zip(row.iter().cloned()).collect();
    found.rows.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_text_where_the_column_is() {
        assert_eq!(key_value(Some(&"text"), "42"), json!("42"));
        assert_eq!(key_value(Some(&"int"), "42"), json!(42));
        assert_eq!(
            key_value(Some(&"uuid"), "0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11"),
            json!("0f3e6a52-6f0b-4c58-9f0e-7b1f0c6f2a11")
        );
        assert_eq!(key_value(Some(&"frozen<tuple<int, text>>"), "[1, \"a\"]"), json!([1, "a"]));
        assert_eq!(key_value(None, "7"), json!(7));
    }

    #[test]
    fn null_is_told_from_empty_text() {
        let found = Preview {
            columns: vec!["id".to_owned(), "city".to_owned(), "tags".to_owned()],
            rows: vec![vec![json!(1), json!(""), json!(["a", "b"])], vec![json!(2), Value::Null, json!("\u{1b}[2J")]],
            more: false,
        };
        assert_snapshot!(table(&found, &Screen::default()));
        assert_eq!(json!(objects(&found))[1], json!({"id": 2, "city": null, "tags": "\u{1b}[2J"}));
    }
}
