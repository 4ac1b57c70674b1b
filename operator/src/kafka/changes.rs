//! What topics lack, as changes. Pure.

use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::Topic;

use super::reassignment::{are_going, brokers};
use crate::intact::processors_run;
use crate::observed::Observed;
use millrace_stores::kafka::{
    BROKER_MIN_IN_SYNC, Change, ConfigChange, KafkaFacts, MIN_IN_SYNC, OFFSETS_TOPIC, PartitionFacts,
    THROTTLED_REPLICAS, TopicFacts, is_marked, wanted_config,
};

/// Returns the changes that bring the topics to what is wanted. Brokers must all be there, so that replicas spread.
pub fn topics(pipeline: &Pipeline, observed: &Observed) -> Vec<Change> {
    let Ok(facts) = &observed.stores.kafka else {
        return Vec::new();
    };
    if !pipeline.manages(Component::Kafka) {
        return additions(pipeline, observed, facts);
    }
    // Those that are added only when moves have ended are not waited for, but by topics that need them.
    let wanted = pipeline.kafka.replicas;
    let there = brokers(pipeline, observed).min(wanted);
    if !facts.has_brokers(there) {
        return Vec::new();
    }
    let fits = |topic: &Topic| there == wanted || topic.replication_factor.of_new() <= there;
    // One that was there is made anew when no processor has its earlier write-timestamp base.
    let runs = processors_run(observed);
    let waits = |topic: &Topic| runs && observed.remembered.topic(&topic.name).is_some();
    let topics = pipeline.kafka.topics.iter().flat_map(|topic| topic_changes(topic, facts));
    let topics = topics.filter(|change| !matches!(change, Change::CreateTopic(topic) if waits(topic) || !fits(topic)));
    // A broker that is about to stop would get replicas.
    let are_going = are_going(pipeline, observed, facts);
    let places = |change: &Change| matches!(change, Change::CreateTopic(_) | Change::AddPartitions { .. });
    let topics = topics.filter(|change| !(are_going && places(change)));
    topics.chain(offsets_topic_change(facts)).collect()
}

/// Returns the topics that a Kafka lacks which someone else runs. What is there stays as it is; so does one that may not be
/// described.
fn additions(pipeline: &Pipeline, observed: &Observed, facts: &KafkaFacts) -> Vec<Change> {
    let runs = processors_run(observed);
    let is_missing =
        |topic: &&Topic| !facts.topics.contains_key(&topic.name) && !facts.refused.contains_key(&topic.name);
    // With the base of one that was there, new records would lose against the rows of older ones.
    let waits = |topic: &&Topic| runs && observed.remembered.topic(&topic.name).is_some();
    let missing = pipeline.kafka.topics.iter().filter(is_missing).filter(|topic| !waits(topic));
    missing.cloned().map(Change::AddTopic).collect()
}

/// Returns the change that makes committed offsets as safe as their copies allow, once Kafka has made their topic. It
/// keeps the copies that it was made with, however many brokers are added.
fn offsets_topic_change(facts: &KafkaFacts) -> Option<Change> {
    let found = facts.offsets_topic.as_ref()?;
    let copies = copies(found).filter(|_| knows_copies(facts, found))?;
    let wanted = if copies >= 3 { "2" } else { "1" }.to_owned();
    let in_force = found.config.get(MIN_IN_SYNC).cloned().unwrap_or_else(|| BROKER_MIN_IN_SYNC.to_string());
    let config = ConfigChange { set: [(MIN_IN_SYNC.to_owned(), wanted.clone())].into(), ..ConfigChange::default() };
    (in_force != wanted).then(|| Change::AlterTopic { topic: OFFSETS_TOPIC.to_owned(), config })
}

/// Returns the copies that every partition has. `None`: there is no partition.
fn copies(found: &TopicFacts) -> Option<usize> {
    found.partitions.iter().map(PartitionFacts::copies).min()
}

/// Returns whether a topic has the copies that it seems to have. What moves keeps their number, and may for a moment look as
/// if it had another.
fn knows_copies(facts: &KafkaFacts, found: &TopicFacts) -> bool {
    facts.knows_reassignments && !is_marked(found)
}

fn topic_changes(topic: &Topic, facts: &KafkaFacts) -> Vec<Change> {
    let Some(found) = facts.topics.get(&topic.name) else {
        return vec![Change::CreateTopic(topic.clone())];
    };
    let mut changes = Vec::new();
    // Kafka adds none while any of them moves.
    let moves = found.partitions.iter().any(PartitionFacts::is_moving);
    if found.partitions.len() < topic.partitions as usize && !moves {
        changes.push(Change::AddPartitions { topic: topic.name.clone(), partitions: topic.partitions });
    }
    let copies = copies(found).map_or(topic.replication_factor.of_new(), |copies| copies as u32);
    let mut wanted = wanted_config(topic, copies);
    if !knows_copies(facts, found) {
        wanted.remove(MIN_IN_SYNC);
        wanted.extend(found.config.get_key_value(MIN_IN_SYNC).map(clone_pair));
    }
    let is_set = |key: &str, wanted: &str| found.config.get(key).is_some_and(|found| is_same_value(wanted, found));
    // Those of a move are set for its time, by tools or by the operator, and removed again by the same.
    let is_extra = |key: &str| !wanted.contains_key(key) && !THROTTLED_REPLICAS.contains(&key);
    let config = ConfigChange {
        set: wanted.iter().filter(|(key, value)| !is_set(key, value)).map(clone_pair).collect(),
        unset: found.config.keys().filter(|key| is_extra(key)).cloned().collect(),
    };
    if config != ConfigChange::default() {
        changes.push(Change::AlterTopic { topic: topic.name.clone(), config });
    }
    changes
}

/// Returns whether Kafka tells `found` of a setting that was written as `wanted`: it tells the value, not the text.
pub fn is_same_value(wanted: &str, found: &str) -> bool {
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
