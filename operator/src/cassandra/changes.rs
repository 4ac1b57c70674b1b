//! What keyspace, types and tables lack, as changes; and what they can never become, in words. Pure.

use millrace_api::Pipeline;
use millrace_api::pipeline::Table;
use millrace_terms::{ColumnType, TypeSettings};

use super::leaving::{leaver, refusal};
use super::ring::{current_racks, is_uniform, releases, ring_is_whole};
use crate::intact;
use crate::observed::Observed;
use millrace_stores::cassandra::{Change, SchemaFacts};

/// Returns the changes that bring keyspace and tables to what is wanted. The ring must be whole and of one release, so that
/// all nodes agree. Nodes that are too many and may not leave hold nothing back.
pub fn schema(pipeline: &Pipeline, observed: &Observed) -> Vec<Change> {
    let facts = &observed.stores.cassandra;
    let given = current_racks(pipeline, observed);
    let complete = pipeline.cassandra.racks.iter().all(|rack| given[&rack.name] >= rack.replicas);
    let leaves = leaver(pipeline, observed).is_some() && refusal(pipeline, observed).is_none();
    let agrees = complete && !leaves && ring_is_whole(&given, facts) && releases(facts).len() <= 1 && is_uniform(facts);
    let Some(schema) = facts.schema.as_ref().filter(|_| agrees) else {
        return Vec::new();
    };
    if intact::holds_tables(pipeline, observed).is_some() {
        return Vec::new();
    }
    if schema.replication.is_none() {
        let types = pipeline.cassandra.types.iter().cloned().map(Change::CreateType);
        let tables = pipeline.cassandra.tables.iter().cloned().map(Change::CreateTable);
        return std::iter::once(Change::CreateKeyspace).chain(types).chain(tables).collect();
    }
    if keyspace_rejected(pipeline, schema).is_some() {
        return Vec::new();
    }
    // What is refused is left as it is, and holds nothing else back.
    let types = pipeline.cassandra.types.iter().filter(|declared| type_rejected(declared, pipeline, schema).is_none());
    let tables = pipeline.cassandra.tables.iter().filter(|table| table_rejected(table, schema).is_none());
    let types = types.flat_map(|declared| type_changes(declared, schema));
    types.chain(tables.flat_map(|table| table_changes(table, schema))).collect()
}

fn type_changes(declared: &TypeSettings, schema: &SchemaFacts) -> Vec<Change> {
    let Some(found) = schema.types.get(&declared.name) else {
        return vec![Change::CreateType(declared.clone())];
    };
    let missing = declared.fields.iter().skip(found.len());
    missing.map(|field| Change::AddField { type_name: declared.name.clone(), field: field.clone() }).collect()
}

fn table_changes(table: &Table, schema: &SchemaFacts) -> Vec<Change> {
    let Some(found) = schema.tables.get(&table.name) else {
        return vec![Change::CreateTable(table.clone())];
    };
    let missing = table.columns.iter().filter(|column| !found.columns.contains_key(&column.name));
    let mut changes: Vec<Change> =
        missing.map(|column| Change::AddColumn { table: table.name.clone(), column: column.clone() }).collect();
    if found.ttl_seconds != table.ttl_seconds {
        changes.push(Change::SetTtl { table: table.name.clone(), ttl_seconds: table.ttl_seconds });
    }
    changes
}

/// Returns what the resource asks of existing keyspace, types and tables and Cassandra cannot do; they are left as they are.
pub fn schema_rejected(pipeline: &Pipeline, schema: &SchemaFacts) -> Option<String> {
    let mut types = pipeline.cassandra.types.iter();
    let mut tables = pipeline.cassandra.tables.iter();
    keyspace_rejected(pipeline, schema)
        .or_else(|| types.find_map(|declared| type_rejected(declared, pipeline, schema)))
        .or_else(|| tables.find_map(|table| table_rejected(table, schema)))
}

fn keyspace_rejected(pipeline: &Pipeline, schema: &SchemaFacts) -> Option<String> {
    let cassandra = &pipeline.cassandra;
    let replication = schema.replication.as_ref()?;
    let wanted = cassandra.replication_factor;
    if schema.replicas(&cassandra.datacenter).is_some_and(|existing| wanted.accepts(existing)) {
        return None;
    }
    let wanted = wanted.of_new();
    let there = replication.get(&cassandra.datacenter).map_or("none", String::as_str);
    Some(format!(
        "keyspace '{}' has {there} replicas in datacenter '{}', and this version cannot change that to {wanted}; set \
         replicationFactor to the existing number",
        cassandra.keyspace, cassandra.datacenter
    ))
}

/// Values of a type are stored by position, so its fields stay where they are.
fn type_rejected(declared: &TypeSettings, pipeline: &Pipeline, schema: &SchemaFacts) -> Option<String> {
    let TypeSettings { name, fields } = declared;
    let found = schema.types.get(name)?;
    let names = |fields: &mut dyn Iterator<Item = &String>| fields.map(String::as_str).collect::<Vec<_>>().join(", ");
    let are_there = found.iter().zip(fields).all(|((found, _), field)| *found == field.name);
    if !are_there || fields.len() < found.len() {
        return Some(format!(
            "type '{name}' has the fields ({}), which cannot be removed or moved; keep them first and in this order, \
             not ({})",
            names(&mut found.iter().map(|(name, _)| name)),
            names(&mut fields.iter().map(|field| &field.name))
        ));
    }
    let changed = found.iter().zip(fields).find(|((_, found), field)| !is_same_type(found, &field.column_type));
    if let Some(((_, found), field)) = changed {
        return Some(format!(
            "field '{}' of type '{name}' has type {found}, which cannot change to {}; use a new field name",
            field.name, field.column_type
        ));
    }
    let is_extended = found.len() < fields.len();
    let table = pipeline.cassandra.tables.iter().find(|table| is_extended && places_rows(name, table, pipeline))?;
    Some(format!(
        "type '{name}' is in the partition key of table '{}', so Cassandra cannot add fields to it; use a new type",
        table.name
    ))
}

/// Returns whether a type is a part of a table's partition key.
fn places_rows(type_name: &str, table: &Table, pipeline: &Pipeline) -> bool {
    let partition = table.columns.iter().filter(|column| table.partition_key.contains(&column.name));
    pipeline.cassandra.types_of(partition).iter().any(|used| used.name == type_name)
}

/// Returns whether Cassandra's text of a type means a type of ours.
fn is_same_type(found: &str, wanted: &ColumnType) -> bool {
    found.parse().is_ok_and(|found: ColumnType| found.cql() == wanted.cql())
}

fn table_rejected(table: &Table, schema: &SchemaFacts) -> Option<String> {
    let found = schema.tables.get(&table.name)?;
    if found.partition_key != table.partition_key || found.clustering_key != table.clustering_key {
        return Some(format!(
            "table '{}' has the primary key (({}), {}), which cannot change; use a new table name",
            table.name,
            found.partition_key.join(", "),
            found.clustering_key.join(", ")
        ));
    }
    let column = table.columns.iter().find(|column| {
        found.columns.get(&column.name).is_some_and(|found| !is_same_type(found, &column.column_type))
    })?;
    Some(format!(
        "column '{}' of table '{}' has type {}, which cannot change to {}; use a new column name",
        column.name, table.name, found.columns[&column.name], column.column_type
    ))
}
