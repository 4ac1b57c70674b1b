//! What the status says of each component: members, volumes, versions, tables and topics. Pure.

use std::collections::BTreeMap;

use millrace_api::Pipeline;
use millrace_api::crd::status::{
    CassandraStatus, ComponentStatus, KafkaStatus, ProcessorStatus, StreamingPipelineStatus, TopicStatus,
};
use millrace_api::names::Component;
use millrace_api::quantity::Quantity;

use crate::cassandra::repair;
use crate::cassandra::ring::{newest_release, normal_nodes, replication_factor};
use crate::intact::{self, has_lost_records};
use crate::kafka::link::registered_brokers;
use crate::labels::pod_selector;
use crate::observed::{Claim, Observed};
use crate::readiness;
use crate::rounding::two_digits;
use crate::workers::{replay, suspend};
use millrace_stores::kafka::{KafkaFacts, Position};
use millrace_stores::zookeeper::ZooKeeperFacts;

/// Returns how many of the servers that are wanted vote and answer.
fn voting(facts: &ZooKeeperFacts, wanted: u32) -> usize {
    match facts.committed() {
        Some(committed) => facts.answering(committed).filter(|ordinal| *ordinal < wanted).count(),
        None => facts.servers.len(),
    }
}

pub(super) fn components(
    status: &mut StreamingPipelineStatus,
    pipeline: &Pipeline,
    observed: &Observed,
    old: &StreamingPipelineStatus,
) {
    let of = |ready: usize, wanted: u32| format!("{ready}/{wanted}");
    let of_store = |component, ready, wanted| match pipeline.manages(component) {
        true => of(ready, wanted),
        false => "external".to_owned(),
    };
    let stores = &observed.stores;
    let (zookeeper, kafka, cassandra) =
        (pipeline.zookeeper.replicas, pipeline.kafka.replicas, pipeline.cassandra.nodes());
    status.zookeeper = pipeline.manages(Component::ZooKeeper).then(|| ComponentStatus {
        ready: of(voting(&stores.zookeeper, zookeeper), zookeeper),
        storage: storage(observed, Component::ZooKeeper),
    });
    status.cassandra = Some(CassandraStatus {
        ready: of_store(Component::Cassandra, normal_nodes(&stores.cassandra), cassandra),
        storage: storage(observed, Component::Cassandra),
        version: newest_release(&stores.cassandra, old.cassandra.as_ref().and_then(|old| old.version.as_deref())),
        replication_factor: replication_factor(pipeline, observed, Some(old)).map(u32::cast_signed),
        tables: intact::tables(pipeline, observed),
        nodes: repair::nodes(pipeline, observed),
        repair: repair::status(pipeline, observed),
    });

    let facts = stores.kafka.as_ref().ok();
    let rewound = replay::rewound(old.replay.as_ref(), status.replay.as_ref());
    status.kafka = Some(KafkaStatus {
        ready: of_store(Component::Kafka, facts.map_or(0, |facts| registered_brokers(kafka, facts)), kafka),
        storage: storage(observed, Component::Kafka),
        topics: topics(pipeline, observed, old.kafka.as_ref(), rewound.as_deref()),
        reassignment: None,
    });
    status.lag = facts.and_then(KafkaFacts::lag).map(two_digits);

    let children = &observed.children;
    let deployment = children.deployments.get(&pipeline.names.component(Component::Processor));
    let existing = deployment.and_then(|workload| workload.status.as_ref()?.replicas).unwrap_or(0);
    status.processor = Some(ProcessorStatus {
        ready: of(readiness::deployment(deployment).ready as usize, replay::processors(pipeline, observed)),
        replicas: existing,
        selector: pod_selector(&pipeline.names, Component::Processor),
        scaling: None,
        canary_latency: None,
    });
}

/// Returns the size that every volume of a store was given at least. `None`: it has none, or they cannot be listed.
fn storage(observed: &Observed, component: Component) -> Option<String> {
    let of_store = |claim: &&Claim| claim.component.as_deref() == Some(component.as_str());
    let claims = observed.children.volumes.iter().flat_map(BTreeMap::values).filter(of_store);
    let sizes = claims.filter_map(|claim| claim.size.as_ref());
    let least = sizes.filter_map(|size| Some((size.parse::<Quantity>().ok()?, size))).min();
    least.map(|(_, size)| size.clone())
}

pub(super) fn ready_producers(pipeline: &Pipeline, observed: &Observed) -> String {
    let name = pipeline.names.component(Component::Producer);
    let producer = readiness::stateful_set(observed.children.stateful_sets.get(&name));
    format!("{}/{}", producer.ready, suspend::producers(pipeline, observed))
}

/// Keeps the base of each topic's write timestamps for as long as the topic is the same one with the same partitions and
/// all its records, and gives a new topic a base above all earlier ones: now. One that is `rewound`, to be read again, gets a
/// base above all timestamps that its records have had. Topics that cannot be asked for keep what they had.
/// The canary's has no base, and is left out.
fn topics(
    pipeline: &Pipeline,
    observed: &Observed,
    old: Option<&KafkaStatus>,
    rewound: Option<&str>,
) -> Vec<TopicStatus> {
    let old = old.map_or(&[][..], |kafka| &kafka.topics);
    let Ok(facts) = &observed.stores.kafka else {
        return old.to_vec();
    };
    // Above every earlier base, also when this operator's clock is behind that of the one before it.
    let highest = old.iter().map(|topic| topic.write_timestamp_base).max();
    let now = observed.now.timestamp_micros().max(highest.map_or(i64::MIN, |highest| highest + 1));
    let mut topics: BTreeMap<String, TopicStatus> =
        old.iter().map(|topic| (topic.name.clone(), topic.clone())).collect();
    for (name, found) in facts.topics.iter().filter(|(name, _)| !pipeline.is_canary_topic(name)) {
        let id = found.id.to_string();
        let partitions = found.partitions.len() as i32;
        let position = facts.position(name);
        let is_same = |topic: &&TopicStatus| {
            topic.id == id && topic.partitions == partitions && !has_lost_records(topic, found, position)
        };
        let before = topics.get(name).filter(is_same);
        let unknown = before.filter(|_| facts.positions.is_none());
        let end = position.map_or(0, |position| position.end);
        let base = match before.map(|topic| topic.write_timestamp_base) {
            Some(base) if rewound == Some(name.as_str()) => now.max(base + end + 1),
            Some(base) => base,
            None => now,
        };
        let topic = TopicStatus {
            name: name.clone(),
            id,
            partitions,
            write_timestamp_base: base,
            records: position.map(|position| two_digits(position.end)).or_else(|| unknown?.records),
            lag: position.map(|position| two_digits(position.lag)).or_else(|| unknown?.lag),
            beyond: position.map(|position| position.beyond).filter(|beyond| *beyond > 0).or_else(|| unknown?.beyond),
            expired: position.map(Position::expired).filter(|expired| *expired > 0).or_else(|| unknown?.expired),
        };
        topics.insert(name.clone(), topic);
    }
    topics.into_values().collect()
}
