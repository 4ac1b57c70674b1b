//! What the ring is and what it may become: nodes given so far, whether all have joined, which one comes next. Pure.

use std::collections::BTreeMap;

use millrace_api::Pipeline;
use millrace_api::crd::status::StreamingPipelineStatus;

use crate::observed::Observed;
use millrace_stores::cassandra::CassandraFacts;

/// Returns whether every node that was given has joined, is seen as normal by every other, and agrees on the schema.
/// A ring without any node given is whole: the first may start.
pub fn ring_is_whole(given: &BTreeMap<String, u32>, facts: &CassandraFacts) -> bool {
    let expected = given.iter().flat_map(|(rack, count)| (0..*count).map(move |ordinal| (rack.clone(), ordinal)));
    let Some(nodes) = expected.map(|key| facts.nodes.get(&key)).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let agreed = nodes.windows(2).all(|pair| pair[0].schema_version == pair[1].schema_version);
    agreed
        && nodes.iter().all(|node| node.joined && nodes.iter().all(|other| other.sees_normal.contains(&node.address)))
}

/// Returns how many answering nodes have joined and are seen as normal by every other answering node.
pub fn normal_nodes(facts: &CassandraFacts) -> usize {
    let seen = |address| facts.nodes.values().all(|other| other.sees_normal.contains(address));
    facts.nodes.values().filter(|node| node.joined && seen(&node.address)).count()
}

/// Returns how many nodes each rack has been given so far.
pub fn current_racks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, u32> {
    let given = |rack: &str| {
        let stateful_set = observed.children.stateful_sets.get(&pipeline.names.rack(rack))?;
        stateful_set.spec.as_ref()?.replicas.map(i32::unsigned_abs)
    };
    pipeline.cassandra.racks.iter().map(|rack| (rack.name.clone(), given(&rack.name).unwrap_or(0))).collect()
}

/// Returns how many nodes each rack shall have right now: those it has, and one more while the ring is whole and smaller
/// than wanted.
pub fn racks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, u32> {
    let mut racks = current_racks(pipeline, observed);
    if !ring_is_whole(&racks, &observed.stores.cassandra) {
        return racks;
    }
    let wanting = pipeline.cassandra.racks.iter().filter(|rack| racks[&rack.name] < rack.replicas);
    // The emptiest rack first, so that replicas spread over racks from the start. By name among equals: a reordered
    // list changes nothing, and the first node of all is the one that is told to found the ring.
    if let Some(next) = wanting.min_by_key(|rack| (racks[&rack.name], &rack.name)) {
        *racks.entry(next.name.clone()).or_default() += 1;
    }
    racks
}

/// Returns how many copies of each row the keyspace has, or had when it was last seen. `None`: there was none yet.
///
/// While no node answers, what was seen holds: nodes must not come back with the settings of another factor.
pub fn replication_factor(
    pipeline: &Pipeline,
    observed: &Observed,
    status: Option<&StreamingPipelineStatus>,
) -> Option<u32> {
    let seen = || status?.cassandra.as_ref()?.replication_factor.map(i32::unsigned_abs);
    let schema = observed.stores.cassandra.schema.as_ref();
    schema.and_then(|schema| schema.replicas(&pipeline.cassandra.datacenter)).or_else(seen)
}
