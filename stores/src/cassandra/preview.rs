//! First rows of a table, and rows by key, as JSON: a look, never a change.
//!
//! Cassandra writes the JSON itself (`SELECT JSON`) and reads the keys as JSON (`fromJson`), so every type looks as in a
//! record (docs/types.md). Names come from the schema, values are bound; nothing that was typed becomes CQL.

use std::collections::BTreeMap;

use scylla::client::session::Session;
use serde_json::Value;
use serde_json::value::RawValue;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use super::{AskCassandra, SchemaFacts, TableFacts, quoted, rows, schema};
use crate::json::{exact, is_number};

/// Most rows of one preview.
pub const MAX_ROWS: usize = 1_000;

/// Why a table cannot be shown.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PreviewTable {
    #[snafu(display("cannot query Cassandra"), context(false))]
    Ask { source: AskCassandra },
    #[snafu(display("there is no table '{table}'; there are: {tables}"))]
    FindTable { table: String, tables: String },
    #[snafu(display("table '{table}' has no column '{column}'; it has: {columns}"))]
    FindColumn { table: String, column: String, columns: String },
    #[snafu(display("column '{column}' is not in the key of table '{table}'; the key is: {key}"))]
    KeyColumn { table: String, column: String, key: String },
    #[snafu(display("the key of table '{table}' also requires '{column}'"))]
    WholeKey { table: String, column: String },
    #[snafu(display("column '{column}' cannot be read as JSON"))]
    ReadJson { column: String, source: serde_json::Error },
}

/// Rows of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// Columns: the partition key, the clustering key, then the others by name.
    pub columns: Vec<String>,
    /// A value for each column. Numbers that JSON numbers of 64 bits would round are strings.
    pub rows: Vec<Vec<Value>>,
    /// Whether there are more.
    pub more: bool,
}

/// Returns keyspace, types and tables as a node has them.
pub async fn describe(session: &Session, keyspace: &str) -> Result<SchemaFacts, AskCassandra> {
    schema(session, keyspace).await
}

/// Reads the first rows of a table, at most `limit` and [`MAX_ROWS`], in the order of their partitions' tokens; with a
/// `key`, those of one partition, or of a beginning of its clustering key.
pub async fn preview(
    session: &Session,
    keyspace: &str,
    table: &str,
    key: &BTreeMap<String, Value>,
    limit: usize,
) -> Result<Preview, PreviewTable> {
    let facts = describe(session, keyspace).await?;
    let found = facts.tables.get(table).with_context(|| FindTableSnafu { table, tables: list(facts.tables.keys()) })?;
    let limit = limit.clamp(1, MAX_ROWS);
    let columns = columns_of(found);
    // One more, to know whether there are more.
    let (statement, values) = statement_of(keyspace, table, found, &columns, key, limit + 1)?;
    let answer: Vec<(String,)> = rows(session, &statement, values).await?;
    let more = answer.len() > limit;
    let rows = answer.iter().take(limit).map(|(json,)| cells(json, found, &columns)).collect::<Result<_, _>>()?;
    Ok(Preview { columns, rows, more })
}

fn columns_of(table: &TableFacts) -> Vec<String> {
    let key: Vec<&String> = table.partition_key.iter().chain(&table.clustering_key).collect();
    let others = table.columns.keys().filter(|name| !key.contains(name));
    key.iter().copied().chain(others).cloned().collect()
}

/// Returns the statement and what is bound to it.
fn statement_of(
    keyspace: &str,
    name: &str,
    table: &TableFacts,
    columns: &[String],
    key: &BTreeMap<String, Value>,
    limit: usize,
) -> Result<(String, Vec<String>), PreviewTable> {
    for column in key.keys() {
        let known = table.columns.contains_key(column);
        ensure!(known, FindColumnSnafu { table: name, column, columns: list(table.columns.keys()) });
        let in_key = table.partition_key.contains(column) || table.clustering_key.contains(column);
        let whole = || list(table.partition_key.iter().chain(&table.clustering_key));
        ensure!(in_key, KeyColumnSnafu { table: name, column, key: whole() });
    }
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    let parts = table.partition_key.iter().chain(&table.clustering_key);
    for (place, column) in parts.enumerate() {
        match key.get(column) {
            Some(value) => {
                conditions.push(format!("{} = fromJson(?)", quoted(column)));
                values.push(value.to_string());
            }
            None if place < table.partition_key.len() && key.is_empty() => break,
            // A gap: nothing behind it may be given.
            None => {
                let whole = place >= table.partition_key.len() && key.len() == values.len();
                ensure!(whole, WholeKeySnafu { table: name, column });
                break;
            }
        }
    }
    let selected: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let wanted = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let from = format!("{}.{}", quoted(keyspace), quoted(name));
    Ok((format!("SELECT JSON {} FROM {from}{wanted} LIMIT {limit}", selected.join(", ")), values))
}

/// Takes a row that Cassandra has written apart.
fn cells(json: &str, table: &TableFacts, columns: &[String]) -> Result<Vec<Value>, PreviewTable> {
    let row: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).context(ReadJsonSnafu { column: "" })?;
    columns
        .iter()
        .map(|column| {
            // Names that are not all small letters come in their quotes.
            let Some(raw) = row.get(column).or_else(|| row.get(&quoted(column))) else {
                return Ok(Value::Null);
            };
            let keeps_scale = table.columns.get(column).is_some_and(|name| name == "decimal");
            match raw.get() {
                number if keeps_scale && is_number(number) => Ok(Value::String(number.to_owned())),
                other => exact(other).context(ReadJsonSnafu { column }),
            }
        })
        .collect()
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> TableFacts {
        let columns =
            [("tenant", "text"), ("day", "date"), ("at", "timestamp"), ("Cost", "decimal"), ("big", "varint")];
        TableFacts {
            id: uuid::Uuid::nil(),
            columns: columns.map(|(name, cql)| (name.to_owned(), cql.to_owned())).into(),
            partition_key: vec!["tenant".to_owned(), "day".to_owned()],
            clustering_key: vec!["at".to_owned()],
            ttl_seconds: 0,
            gc_grace_seconds: 864_000,
        }
    }

    fn statement(key: &[(&str, Value)]) -> Result<(String, Vec<String>), String> {
        let key = key.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let table = table();
        statement_of("streams", "visits", &table, &columns_of(&table), &key, 11).map_err(|error| error.to_string())
    }

    const SELECTED: &str = "SELECT JSON \"tenant\", \"day\", \"at\", \"Cost\", \"big\" FROM \"streams\".\"visits\"";

    #[test]
    fn asks_for_first_rows_or_by_key_with_bound_values() {
        assert_eq!(statement(&[]), Ok((format!("{SELECTED} LIMIT 11"), Vec::new())));
        let partition = [("tenant", json!("a' OR 1=1")), ("day", json!("2024-02-29"))];
        let wanted = format!("{SELECTED} WHERE \"tenant\" = fromJson(?) AND \"day\" = fromJson(?) LIMIT 11");
        let bound = vec!["\"a' OR 1=1\"".to_owned(), "\"2024-02-29\"".to_owned()];
        assert_eq!(statement(&partition), Ok((wanted, bound)));
        let row = [("tenant", json!("a")), ("day", json!("2024-02-29")), ("at", json!(0))];
        assert_eq!(statement(&row).expect("the whole key").1.len(), 3);
    }

    #[test]
    fn says_what_is_wrong_with_a_key() {
        let wrong = |key: &[(&str, Value)]| statement(key).expect_err("it is wrong");
        assert_eq!(wrong(&[("tenant", json!("a"))]), "the key of table 'visits' also requires 'day'");
        assert_eq!(wrong(&[("at", json!(0))]), "the key of table 'visits' also requires 'tenant'");
        assert_eq!(
            wrong(&[("big", json!(1))]),
            "column 'big' is not in the key of table 'visits'; the key is: tenant, day, at"
        );
        assert_eq!(
            wrong(&[("x\" = 1; --", json!(1))]),
            "table 'visits' has no column 'x\" = 1; --'; it has: Cost, at, big, day, tenant"
        );
    }

    #[test]
    fn keeps_every_digit() {
        let table = table();
        let json = r#"{"tenant": "a", "at": null, "\"Cost\"": 1.50, "big": 170141183460469231731687303715884105728}"#;
        let row = cells(json, &table, &columns_of(&table)).expect("it is JSON");
        assert_eq!(
            row,
            [json!("a"), Value::Null, Value::Null, json!("1.50"), json!("170141183460469231731687303715884105728")]
        );
    }
}
