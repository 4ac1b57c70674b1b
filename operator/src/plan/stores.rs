//! What topics, keyspace, types and tables lack, as acts; and what they can never become, in words. Pure.

use millrace_api::Pipeline;

use super::Act;
use crate::observe::Observed;
use millrace_api::pipeline::{Table, Topic};
use millrace_stores::cassandra::SchemaFacts;
use millrace_stores::kafka::{
    BROKER_MIN_IN_SYNC, ConfigChange, KafkaFacts, MIN_IN_SYNC, OFFSETS_TOPIC, TopicFacts, wanted_config,
};
use millrace_terms::{ColumnType, TypeSettings};

/// Topic settings that tools set for the time of a reassignment, and remove themselves.
const TEMPORARY: [&str; 2] = ["follower.replication.throttled.replicas", "leader.replication.throttled.replicas"];

/// Returns the acts that bring the topics to what is wanted. Brokers must all be there, so that replicas spread.
pub fn topics(pipeline: &Pipeline, observed: &Observed) -> Vec<Act> {
    let Ok(facts) = &observed.stores.kafka else {
        return Vec::new();
    };
    let all_brokers = (0..pipeline.kafka.replicas as i32).all(|id| facts.brokers.contains(&id));
    if !all_brokers {
        return Vec::new();
    }
    let topics = pipeline.kafka.topics.iter().flat_map(|topic| topic_acts(topic, facts.topics.get(&topic.name)));
    topics.chain(offsets_topic_act(facts)).collect()
}

/// Returns the act that makes committed offsets as safe as their copies allow, once Kafka has made their topic. It
/// keeps the copies that it was made with, however many brokers are added.
fn offsets_topic_act(facts: &KafkaFacts) -> Option<Act> {
    let found = facts.offsets_topic.as_ref()?;
    let copies = found.partitions.iter().map(|partition| partition.replicas).min()?;
    let wanted = if copies >= 3 { "2" } else { "1" }.to_owned();
    let in_force = found.config.get(MIN_IN_SYNC).cloned().unwrap_or_else(|| BROKER_MIN_IN_SYNC.to_string());
    let change = ConfigChange { set: [(MIN_IN_SYNC.to_owned(), wanted.clone())].into(), ..ConfigChange::default() };
    (in_force != wanted).then(|| Act::AlterTopic { topic: OFFSETS_TOPIC.to_owned(), change })
}

fn topic_acts(topic: &Topic, found: Option<&TopicFacts>) -> Vec<Act> {
    let Some(found) = found else {
        return vec![Act::CreateTopic(topic.clone())];
    };
    let mut acts = Vec::new();
    if found.partitions.len() < topic.partitions as usize {
        acts.push(Act::AddPartitions { topic: topic.name.clone(), partitions: topic.partitions });
    }
    let copies =
        found.partitions.first().map_or(topic.replication_factor.of_new(), |partition| partition.replicas as u32);
    let wanted = wanted_config(topic, copies);
    let is_set = |key: &str, wanted: &str| found.config.get(key).is_some_and(|found| is_same_value(wanted, found));
    let is_extra = |key: &str| !wanted.contains_key(key) && !TEMPORARY.contains(&key);
    let change = ConfigChange {
        set: wanted.iter().filter(|(key, value)| !is_set(key, value)).map(clone_pair).collect(),
        unset: found.config.keys().filter(|key| is_extra(key)).cloned().collect(),
    };
    if change != ConfigChange::default() {
        acts.push(Act::AlterTopic { topic: topic.name.clone(), change });
    }
    acts
}

/// Returns whether Kafka tells `found` of a setting that was written as `wanted`: it tells the value, not the text.
fn is_same_value(wanted: &str, found: &str) -> bool {
    let (wanted, found) = (wanted.trim(), found.trim());
    if let (Ok(wanted), Ok(found)) = (wanted.parse::<i64>(), found.parse::<i64>()) {
        return wanted == found;
    }
    if let (Ok(wanted), Ok(found)) = (wanted.parse::<f64>(), found.parse::<f64>()) {
        return wanted == found;
    }
    if matches!(found, "true" | "false") {
        return wanted.eq_ignore_ascii_case(found);
    }
    wanted.split(',').map(str::trim).eq(found.split(',').map(str::trim))
}

fn clone_pair((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// Returns the acts that bring keyspace and tables to what is wanted. The ring must be whole, so that all nodes agree.
pub fn schema(pipeline: &Pipeline, observed: &Observed) -> Vec<Act> {
    let facts = &observed.stores.cassandra;
    let given = crate::scale::current_racks(pipeline, observed);
    let complete = given.values().sum::<u32>() == pipeline.cassandra.nodes();
    let Some(schema) = facts.schema.as_ref().filter(|_| complete && crate::chain::ring_is_whole(&given, facts)) else {
        return Vec::new();
    };
    if schema.replication.is_none() {
        let types = pipeline.cassandra.types.iter().cloned().map(Act::CreateType);
        let tables = pipeline.cassandra.tables.iter().cloned().map(Act::CreateTable);
        return std::iter::once(Act::CreateKeyspace).chain(types).chain(tables).collect();
    }
    if keyspace_rejected(pipeline, schema).is_some() {
        return Vec::new();
    }
    // What is refused is left as it is, and holds nothing else back.
    let types = pipeline.cassandra.types.iter().filter(|declared| type_rejected(declared, pipeline, schema).is_none());
    let tables = pipeline.cassandra.tables.iter().filter(|table| table_rejected(table, schema).is_none());
    let types = types.flat_map(|declared| type_acts(declared, schema));
    types.chain(tables.flat_map(|table| table_acts(table, schema))).collect()
}

fn type_acts(declared: &TypeSettings, schema: &SchemaFacts) -> Vec<Act> {
    let Some(found) = schema.types.get(&declared.name) else {
        return vec![Act::CreateType(declared.clone())];
    };
    let missing = declared.fields.iter().skip(found.len());
    missing.map(|field| Act::AddField { type_name: declared.name.clone(), field: field.clone() }).collect()
}

fn table_acts(table: &Table, schema: &SchemaFacts) -> Vec<Act> {
    let Some(found) = schema.tables.get(&table.name) else {
        return vec![Act::CreateTable(table.clone())];
    };
    let missing = table.columns.iter().filter(|column| !found.columns.contains_key(&column.name));
    let mut acts: Vec<Act> =
        missing.map(|column| Act::AddColumn { table: table.name.clone(), column: column.clone() }).collect();
    if found.ttl_seconds != table.ttl_seconds {
        acts.push(Act::SetTtl { table: table.name.clone(), ttl_seconds: table.ttl_seconds });
    }
    acts
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
        "keyspace '{}' has {there} replicas in datacenter '{}', and this version cannot change that to {wanted}; \
         set replicationFactor to what is there",
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
            "type '{name}' has the fields ({}), which can neither go nor move; keep them first and in this order, not \
             ({})",
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
        "type '{name}' is in the partition key of table '{}', so that Cassandra adds no field to it; use a new type",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_kafka_makes_of_a_value_for_the_value() {
        for (wanted, found) in [
            ("0.50", "0.5"),
            ("compact, delete", "compact,delete"),
            (" 86400000", "86400000"),
            ("TRUE", "true"),
            ("lz4", "lz4"),
        ] {
            assert!(is_same_value(wanted, found), "{wanted} and {found}");
        }
        for (wanted, found) in [
            ("0.5", "0.51"),
            ("compact", "compact,delete"),
            ("9223372036854775806", "9223372036854775807"),
            ("false", "true"),
            ("lz4", "zstd"),
        ] {
            assert!(!is_same_value(wanted, found), "{wanted} and {found}");
        }
    }
}
