//! What the ring is and what it may become: nodes given so far, whether all have joined, which one comes next. Pure.

use std::collections::{BTreeMap, BTreeSet};

use millrace_api::Pipeline;
use millrace_api::crd::status::StreamingPipelineStatus;

use crate::observed::Observed;
use millrace_stores::cassandra::{CassandraFacts, NodeFacts, NodeKey};

/// Returns whether every node that was given has joined, is seen as normal by every other, and agrees on the schema.
/// A ring without any node given is whole: the first may start.
pub fn ring_is_whole(given: &BTreeMap<String, u32>, facts: &CassandraFacts) -> bool {
    is_whole(expected(given), facts)
}

/// Returns the keys of the nodes that were given.
pub fn expected(given: &BTreeMap<String, u32>) -> impl Iterator<Item = NodeKey> {
    given.iter().flat_map(|(rack, count)| (0..*count).map(move |ordinal| (rack.clone(), ordinal)))
}

/// Returns whether these nodes have joined, are seen as normal by each other, and agree on the schema.
pub fn is_whole(keys: impl Iterator<Item = NodeKey>, facts: &CassandraFacts) -> bool {
    let Some(nodes) = keys.map(|key| facts.nodes.get(&key)).collect::<Option<Vec<_>>>() else {
        return false;
    };
    agree(&nodes)
        && nodes.iter().all(|node| node.joined && nodes.iter().all(|other| other.sees_normal.contains(&node.address)))
}

/// Returns all nodes that were given but one. `None`: not all of them are well.
pub fn others<'a>(pipeline: &Pipeline, observed: &'a Observed, key: &NodeKey) -> Option<Vec<&'a NodeFacts>> {
    all_but(pipeline, observed, |other| other == key)
}

/// Returns all nodes that were given but those that are left out. `None`: not all of them are well.
pub fn all_but<'a>(
    pipeline: &Pipeline,
    observed: &'a Observed,
    is_left_out: impl Fn(&NodeKey) -> bool,
) -> Option<Vec<&'a NodeFacts>> {
    let given = current_racks(pipeline, observed);
    let facts = &observed.stores.cassandra;
    let keys: Vec<NodeKey> = expected(&given).filter(|key| !is_left_out(key)).collect();
    is_whole(keys.iter().cloned(), facts).then(|| keys.iter().filter_map(|other| facts.nodes.get(other)).collect())
}

/// Returns whether nodes agree on the schema, as far as they can.
///
/// The scheduler of repairs is switched on node by node. Those that have its tables hold another schema version than those
/// that do not know them yet, until the last is restarted; each kind agrees for itself.
pub fn agree(nodes: &[&NodeFacts]) -> bool {
    nodes.iter().all(|one| {
        let same = |other: &&&NodeFacts| other.has_auto_repair == one.has_auto_repair;
        nodes.iter().filter(same).all(|other| other.schema_version == one.schema_version)
    })
}

/// Returns whether all answering nodes can take the same schema: what is changed while one does not know the tables of
/// the scheduler never comes to it.
pub fn is_uniform(facts: &CassandraFacts) -> bool {
    let mut kinds = facts.nodes.values().map(|node| node.has_auto_repair);
    let first = kinds.next();
    kinds.all(|kind| Some(kind) == first)
}

/// Returns how many answering nodes have joined and are seen as normal by every other answering node.
pub fn normal_nodes(facts: &CassandraFacts) -> usize {
    let seen = |address| facts.nodes.values().all(|other| other.sees_normal.contains(address));
    facts.nodes.values().filter(|node| node.joined && seen(&node.address)).count()
}

/// Returns the releases of Cassandra that the nodes run: more than one while an upgrade is under way.
pub fn releases(facts: &CassandraFacts) -> BTreeSet<&str> {
    facts.nodes.values().map(|node| node.release.as_str()).collect()
}

/// Returns the newest release that a node runs or, by what was known before, has run. `None`: none is known.
pub fn newest_release(facts: &CassandraFacts, before: Option<&str>) -> Option<String> {
    let known = releases(facts).into_iter().chain(before);
    let newest = known.filter_map(|release| Some((numbers(release)?, release))).max();
    newest.map(|(_, release)| release.to_owned())
}

/// Returns a release's numbers. `None`: it is none that was published.
fn numbers(release: &str) -> Option<Vec<u32>> {
    let numbers: Vec<u32> = release.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    (numbers.len() == 3).then_some(numbers)
}

/// Returns how many nodes each rack has been given so far.
pub fn current_racks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, u32> {
    let given = |rack: &str| observed.children.given(&pipeline.names.rack(rack));
    pipeline.cassandra.racks.iter().map(|rack| (rack.name.clone(), given(&rack.name))).collect()
}

/// Returns how many nodes each rack shall have right now: those it has, and one more while the ring is whole and smaller
/// than wanted.
pub fn racks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, u32> {
    let mut racks = current_racks(pipeline, observed);
    let facts = &observed.stores.cassandra;
    if !ring_is_whole(&racks, facts) || !is_uniform(facts) {
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
