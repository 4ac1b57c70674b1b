//! Tables, and rows of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query};
use millrace_api::StreamingPipeline;
use millrace_api::crd;
use millrace_api::names::Names;
use serde_json::Value;

use crate::access::Right;
use crate::api::rows::{Column, Query as Written, Role, Rows, Table, Tables};
use crate::audit;
use crate::mask::{MASK, Mask};
use crate::messages::render::beginning;
use crate::refusal::Refusal;
use crate::view::quoted;
use crate::viewer::Viewer;

/// Rows of one answer where nobody says how many.
const DEFAULT_LIMIT: u32 = 50;
/// Most rows of one answer.
const MOST: u32 = 500;
/// Longest value that is shown whole, in bytes.
const LONGEST_CELL: usize = 16 << 10;

/// Lists the tables.
pub async fn tables(viewer: Viewer, Path((namespace, name)): Path<(String, String)>) -> Result<Json<Tables>, Refusal> {
    let (names, resource) = viewer.pipeline(&namespace, &name).await?;
    let mask = viewer.mask(&names, &resource).await;
    let cassandra = &resource.spec.cassandra;
    let tables =
        cassandra.tables.iter().map(|table| Table { name: table.name.clone(), columns: columns(table, &mask) });
    Ok(Json(Tables { keyspace: cassandra.keyspace.name.clone(), tables: tables.collect() }))
}

/// Returns the columns that a pipeline declares, those of the key first.
fn columns(table: &crd::Table, mask: &Mask) -> Vec<Column> {
    let mut columns: Vec<Column> = table
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.clone(),
            kind: column.column_type.clone(),
            role: role(table, &column.name),
            masked: mask.hides(&column.name),
        })
        .collect();
    let key = &table.primary_key;
    let place = |name: &String| key.partition.iter().chain(&key.clustering).position(|part| part == name);
    columns.sort_by_key(|column| place(&column.name).unwrap_or(usize::MAX));
    columns
}

fn role(table: &crd::Table, column: &str) -> Role {
    let is_in = |part: &[String]| part.iter().any(|name| name == column);
    match (is_in(&table.primary_key.partition), is_in(&table.primary_key.clustering)) {
        (true, _) => Role::Partition,
        (_, true) => Role::Clustering,
        (false, false) => Role::Regular,
    }
}

/// Shows rows.
pub async fn rows(
    viewer: Viewer,
    Path((namespace, name, table)): Path<(String, String, String)>,
    Query(written): Query<Written>,
) -> Result<Json<Rows>, Refusal> {
    let (names, resource, mask) = permitted(&viewer, &namespace, &name, &table).await?;
    viewer.count_search()?;
    let limit = written.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::field("limit", format!("it must be from 1 to {MOST}")));
    }
    let key = key_of(written.key.as_deref())?;
    // A viewer who does not see a field must not find it out by asking for it either.
    if let Some(masked) = key.keys().find(|column| mask.hides(column)) {
        return Err(Refusal::Forbidden {
            right: Some(Right::Unmasked.as_text()),
            message: format!("column '{masked}' is masked and cannot be searched for"),
        });
    }
    read(&viewer, &names, &resource, &table, &key, limit, &mask).await.map(Json)
}

/// Returns what a viewer who may read rows does not see of them, or refuses. Who read what goes on record.
async fn permitted(
    viewer: &Viewer,
    namespace: &str,
    name: &str,
    table: &str,
) -> Result<(Names, StreamingPipeline, Mask), Refusal> {
    let allowed = async {
        let (names, resource) = viewer.pipeline(namespace, name).await?;
        viewer.require(&names, Right::Rows).await?;
        let mask = viewer.mask(&names, &resource).await;
        Ok((names, resource, mask))
    };
    let permitted = allowed.await;
    let unmasked = permitted.as_ref().is_ok_and(|(_, _, mask)| mask.is_lifted());
    audit::read(viewer.user(), "rows", &Names::new(namespace, name), table, unmasked, &permitted);
    permitted
}

fn key_of(text: Option<&str>) -> Result<BTreeMap<String, Value>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    serde_json::from_str(text).map_err(|error| Refusal::field("key", format!("it is not a valid JSON object: {error}")))
}

/// Reads rows as a viewer with this mask sees them.
pub async fn read(
    viewer: &Viewer,
    names: &Names,
    resource: &StreamingPipeline,
    table: &str,
    key: &BTreeMap<String, Value>,
    limit: u32,
    mask: &Mask,
) -> Result<Rows, Refusal> {
    let declared = resource.spec.cassandra.tables.iter().find(|declared| declared.name == table);
    let declared = declared
        .ok_or_else(|| Refusal::NotFound { what: format!("table '{table}' in pipeline '{}'", names.pipeline()) })?;
    if resource.spec.cassandra.external.is_some() {
        return Err(Refusal::external("Cassandra"));
    }
    let keyspace = &resource.spec.cassandra.keyspace.name;
    let cluster = &viewer.app.cluster;
    let preview = viewer.app.tables.preview(cluster, names, keyspace, table, key, limit as usize).await?;
    let places = places(&columns(declared, mask), &preview.columns);
    let columns: Vec<Column> = places
        .iter()
        .filter_map(|place| preview.columns.get(*place))
        .map(|name| Column {
            name: name.clone(),
            kind: kind(declared, name),
            role: role(declared, name),
            masked: mask.hides(name),
        })
        .collect();
    let rows = preview.rows.into_iter().map(|mut row| {
        let cells = places.iter().map(|place| row.get_mut(*place).map(std::mem::take).unwrap_or_default());
        cells.zip(&columns).map(|(cell, column)| shown(cell, column.masked, mask)).collect()
    });
    let cql = statement(keyspace, table, &columns, key, limit);
    Ok(Rows {
        rows: rows.collect(),
        more: preview.more,
        kubectl: format!(
            "kubectl exec -n {} {} -c cassandra -- cqlsh -e {}",
            names.namespace(),
            first_node(names, resource),
            quoted(&cql)
        ),
        cql,
        columns,
    })
}

/// Returns where each column stands among those that were found: first as the pipeline declares them, the key before the
/// others, then those that only Cassandra has.
fn places(declared: &[Column], found: &[String]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..found.len()).collect();
    let order = |place: &usize| declared.iter().position(|column| column.name == found[*place]).unwrap_or(usize::MAX);
    places.sort_by_key(order);
    places
}

/// Returns the type of a column as the pipeline declares it; one that only Cassandra has is another's.
fn kind(table: &crd::Table, column: &str) -> String {
    let found = table.columns.iter().find(|declared| declared.name == column);
    found.map_or_else(String::new, |column| column.column_type.clone())
}

fn shown(mut cell: Value, masked: bool, mask: &Mask) -> Value {
    if masked && !cell.is_null() {
        return Value::String(MASK.to_owned());
    }
    // Fields of user-defined types have names, too.
    mask.apply(&mut cell);
    match cell {
        Value::String(text) if text.len() > LONGEST_CELL => {
            Value::String(format!("{}…", beginning(&text, LONGEST_CELL)))
        }
        other => other,
    }
}

fn statement(keyspace: &str, table: &str, columns: &[Column], key: &BTreeMap<String, Value>, limit: u32) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let of_key = columns.iter().filter_map(|column| Some((column, key.get(&column.name)?)));
    let conditions: Vec<String> =
        of_key.map(|(column, value)| format!("{} = {}", column.name, literal(value, &column.kind))).collect();
    let wanted = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!("SELECT {} FROM {keyspace}.{table}{wanted} LIMIT {limit}", names.join(", "))
}

/// Writes a value as people type it; what is executed binds it.
fn literal(value: &Value, kind: &str) -> String {
    let bare =
        ["uuid", "timeuuid", "int", "bigint", "smallint", "tinyint", "varint", "decimal", "double", "float", "boolean"];
    match value {
        Value::String(text) if bare.contains(&kind) => text.clone(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

fn first_node(names: &Names, resource: &StreamingPipeline) -> String {
    let rack = resource.spec.cassandra.racks.first().map_or("", |rack| rack.name.as_str());
    format!("{}-0", names.rack(rack))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masked_cells_are_hidden_and_empty_ones_stay_empty() {
        let mask = Mask::new(&["email".to_owned()], None);
        assert_eq!(shown(json!("ann@b"), true, &mask), json!(MASK));
        assert_eq!(shown(Value::Null, true, &mask), Value::Null);
        assert_eq!(
            shown(json!({"email": "ann@b", "city": "Ulm"}), false, &mask),
            json!({"email": MASK, "city": "Ulm"})
        );
        assert_eq!(shown(json!("ann@b"), false, &mask), json!("ann@b"));
    }

    #[test]
    fn columns_stand_as_declared_with_the_key_first() {
        let text = r#"{"name": "visits", "columns": [{"name": "url", "type": "text"}, {"name": "at", "type": "timestamp"},
            {"name": "agent", "type": "text"}, {"name": "id", "type": "uuid"}],
            "primaryKey": {"partition": ["id"], "clustering": ["at"]}}"#;
        let table: crd::Table = serde_json::from_str(text).expect("a table");
        // As Cassandra has them: the key, then by name; one column that the pipeline does not declare.
        let found = ["id", "at", "aaa", "agent", "url"].map(str::to_owned);
        let places = places(&columns(&table, &Mask::new(&[], None)), &found);
        let names: Vec<&str> = places.iter().map(|place| found[*place].as_str()).collect();
        assert_eq!(names, ["id", "at", "url", "agent", "aaa"]);
    }

    #[test]
    fn a_key_is_a_json_object() {
        assert_eq!(key_of(Some(r#"{"id": "a"}"#)), Ok(BTreeMap::from([("id".to_owned(), json!("a"))])));
        assert_eq!(key_of(Some("")), Ok(BTreeMap::new()));
        assert!(key_of(Some("id=a")).is_err());
    }

    #[test]
    fn the_statement_that_is_shown_cannot_be_broken_out_of() {
        let column = |name: &str, kind: &str| Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            role: Role::Partition,
            masked: false,
        };
        let columns = [column("id", "text"), column("n", "int")];
        let key = BTreeMap::from([("id".to_owned(), json!("a'; DROP")), ("n".to_owned(), json!(5))]);
        assert_eq!(
            statement("ks", "t", &columns, &key, 7),
            "SELECT id, n FROM ks.t WHERE id = 'a''; DROP' AND n = 5 LIMIT 7"
        );
    }
}
