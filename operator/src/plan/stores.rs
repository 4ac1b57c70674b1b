//! What topics, keyspace and tables lack, as acts; and what they can never become, in words. Pure.

use millrace_api::Pipeline;

use super::Act;
use crate::observe::Observed;
use crate::stores::cassandra::SchemaFacts;
use crate::stores::kafka::{ConfigChange, TopicFacts, wanted_config};
use millrace_api::pipeline::{Table, Topic};

/// Returns the acts that bring the topics to what is wanted. Brokers must all be there, so that replicas spread.
pub fn topics(pipeline: &Pipeline, observed: &Observed) -> Vec<Act> {
    let Ok(facts) = &observed.stores.kafka else {
        return Vec::new();
    };
    let all_brokers = (0..pipeline.kafka.replicas as i32).all(|id| facts.brokers.contains(&id));
    if !all_brokers {
        return Vec::new();
    }
    pipeline.kafka.topics.iter().flat_map(|topic| topic_acts(topic, facts.topics.get(&topic.name))).collect()
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
    let change = ConfigChange {
        set: wanted.iter().filter(|(key, value)| found.config.get(*key) != Some(*value)).map(clone_pair).collect(),
        unset: found.config.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect(),
    };
    if change != ConfigChange::default() {
        acts.push(Act::AlterTopic { topic: topic.name.clone(), change });
    }
    acts
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
        let tables = pipeline.cassandra.tables.iter().cloned().map(Act::CreateTable);
        return std::iter::once(Act::CreateKeyspace).chain(tables).collect();
    }
    if schema_rejected(pipeline, schema).is_some() {
        return Vec::new();
    }
    pipeline.cassandra.tables.iter().flat_map(|table| table_acts(table, schema)).collect()
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

/// Returns what the resource asks of existing keyspace and tables and Cassandra cannot do; they are left as they are.
pub fn schema_rejected(pipeline: &Pipeline, schema: &SchemaFacts) -> Option<String> {
    let cassandra = &pipeline.cassandra;
    let replicas = schema.replication.as_ref().and_then(|options| options.get(&cassandra.datacenter));
    let wanted = cassandra.replication_factor;
    let accepted = replicas.and_then(|text| text.parse().ok()).is_some_and(|existing| wanted.accepts(existing));
    if schema.replication.is_some() && !accepted {
        let wanted = wanted.of_new();
        let there = replicas.map_or("none", String::as_str);
        return Some(format!(
            "keyspace '{}' has {there} replicas in datacenter '{}', and this version cannot change that to {wanted}; \
             set replicationFactor to what is there",
            cassandra.keyspace, cassandra.datacenter
        ));
    }
    cassandra.tables.iter().find_map(|table| table_rejected(table, schema))
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
    let column = table
        .columns
        .iter()
        .find(|column| found.columns.get(&column.name).is_some_and(|found| found != column.column_type.cql()))?;
    Some(format!(
        "column '{}' of table '{}' has type {}, which cannot change to {}; use a new column name",
        column.name,
        table.name,
        found.columns[&column.name],
        column.column_type.cql()
    ))
}
