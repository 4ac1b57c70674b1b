//! The node that leaves the ring because its rack has more nodes than wanted: which, whether it may, and whether it has
//! left. Pure.
//!
//! It is the highest ordinal of the rack, and one at a time, after all that are to come. The pod reads that it is to leave
//! (`nodes.rs`), and decommissions its node; its StatefulSet is lowered when no other node has it in its ring any more. The
//! claim stays. What a node has been told cannot be taken back: one that is wanted again meanwhile leaves, and joins anew.
//! To lower `replicas` is the word for it: it waits for no window and no approval, but for a script that knows how.

use std::collections::{BTreeMap, BTreeSet};

use millrace_api::names::Component;
use millrace_api::pipeline::Rack;
use millrace_api::quantity::Quantity;
use millrace_api::{Pipeline, Rejected};
use millrace_stores::cassandra::{NodeFacts, NodeKey};
use uuid::Uuid;

use super::memory::{awaits_template, is_heeded, lost, pod_name, was_to_leave};
use super::ring::{all_but, current_racks, expected, others, replication_factor};
use crate::observed::{Claim, Observed};
use crate::readiness::outdated_pods;

/// Returns the node that is to leave next. `None`: no rack has too many, some are still to come, or pods have or run a script
/// that may not know how to leave.
pub fn leaver(pipeline: &Pipeline, observed: &Observed) -> Option<NodeKey> {
    surplus(pipeline, observed).filter(|_| is_heeded(pipeline, observed))
}

/// Returns the node that is to leave next, once the new template of the nodes' pods is approved.
pub fn later_leaver(pipeline: &Pipeline, observed: &Observed) -> Option<NodeKey> {
    surplus(pipeline, observed).filter(|_| awaits_template(pipeline, observed))
}

/// Returns the last node of a rack that has too many. One that was told to leave comes first, whatever was lowered since:
/// two nodes must never be told at once.
fn surplus(pipeline: &Pipeline, observed: &Observed) -> Option<NodeKey> {
    let given = current_racks(pipeline, observed);
    let racks = || pipeline.cassandra.racks.iter();
    let still_grows = racks().any(|rack| given[&rack.name] < rack.replicas);
    if still_grows || !outdated_pods(&observed.children, Component::Cassandra).is_empty() {
        return None;
    }
    let last = |rack: &Rack| (rack.name.clone(), given[&rack.name] - 1);
    let is_new = |rack: &Rack| !was_to_leave(pipeline, observed, &pod_name(pipeline, &last(rack)));
    let too_many = racks().filter(|rack| given[&rack.name] > rack.replicas);
    too_many.min_by_key(|rack| (is_new(rack), &rack.name)).map(last)
}

/// Returns how many nodes each rack shall have right now, while one is to leave; `None`: none is.
pub fn racks(pipeline: &Pipeline, observed: &Observed) -> Option<BTreeMap<String, u32>> {
    let key = leaver(pipeline, observed)?;
    let mut racks = current_racks(pipeline, observed);
    if has_left(pipeline, observed, &key) {
        racks.insert(key.0, key.1);
    }
    Some(racks)
}

/// Returns whether a node that is to leave serves nobody, all others are well, and none has it in its ring. A node whose volume
/// is gone is none of those that must be well: it is replaced only when the other has left.
///
/// Cassandra has the others drop the node first, serves for ten seconds more, and only then is done; the pod notes that some
/// seconds later. Nothing that can be observed says that it has, and the pod may go at any moment for other reasons. So
/// `start.sh` asks the other nodes what became of a node that had begun to leave and did not note that it had left.
pub fn has_left(pipeline: &Pipeline, observed: &Observed, key: &NodeKey) -> bool {
    let given = current_racks(pipeline, observed);
    let lost = lost(pipeline, observed, expected(&given));
    let Some(others) = all_but(pipeline, observed, |other| other == key || lost.contains_key(other)) else {
        return false;
    };
    let others_lost = lost.iter().filter(|(other, _)| *other != key);
    let lost_ids = others_lost.filter_map(|(_, node)| node.host_id.parse::<Uuid>().ok());
    let ids: BTreeSet<Uuid> = others.iter().map(|other| other.host_id).chain(lost_ids).collect();
    let serves = observed.stores.cassandra.nodes.contains_key(key);
    !others.is_empty() && !serves && others.iter().all(|other| other.ring.is_subset(&ids))
}

/// Returns whether a node that is to leave may do so now.
pub fn may_leave(pipeline: &Pipeline, observed: &Observed, key: &NodeKey) -> bool {
    refusal(pipeline, observed).is_none() && others(pipeline, observed, key).is_some()
}

/// Returns why no node may leave; `None`: one may, or none is to.
pub fn refusal(pipeline: &Pipeline, observed: &Observed) -> Option<Rejected> {
    let key = leaver(pipeline, observed)?;
    let message = too_few(pipeline, observed).or_else(|| too_full(pipeline, observed, &key))?;
    Some(Rejected { path: "spec.cassandra.racks".to_owned(), message, excerpt: None })
}

fn too_few(pipeline: &Pipeline, observed: &Observed) -> Option<String> {
    let copies = replication_factor(pipeline, observed, Some(&observed.remembered.status))?;
    let wanted = pipeline.cassandra.nodes();
    (wanted < copies).then(|| {
        format!(
            "the keyspace has {copies} copies of each row, and {wanted} nodes could not hold them; keep at least \
             {copies} nodes across all racks"
        )
    })
}

/// Returns which other node may have no room for its part of the rows. Tokens are not spread evenly, so twice the even part
/// is reckoned with, and a fifth of the volume is left to compaction. Once the node is leaving, or where it is unknown how
/// much is in use, Cassandra's own check before it streams has to do.
fn too_full(pipeline: &Pipeline, observed: &Observed, key: &NodeKey) -> Option<String> {
    let node = observed.stores.cassandra.nodes.get(key)?;
    let others = others(pipeline, observed, key)?;
    let is_leaving = |other: &&NodeFacts| !other.sees_normal.contains(&node.address);
    if others.is_empty() || others.iter().any(is_leaving) {
        return None;
    }
    let moved = node.used_mebibytes?;
    let part = (moved * 2 / others.len() as u64).min(moved);
    let size = volume_mebibytes(pipeline, observed)?;
    let is_full = |other: &&&NodeFacts| other.used_mebibytes.is_some_and(|used| used + part > size / 5 * 4);
    let full = others.iter().find(is_full)?;
    Some(format!(
        "node {} has {} MiB of {size} MiB in use, and may receive up to {part} MiB from the node that would leave; \
         enlarge the volumes, or keep the current number of nodes",
        full.address,
        full.used_mebibytes.unwrap_or_default()
    ))
}

/// Returns how many mebibytes the smallest volume has; where that is unknown, how many it is to have.
fn volume_mebibytes(pipeline: &Pipeline, observed: &Observed) -> Option<u64> {
    let of_nodes = |claim: &&Claim| claim.component.as_deref() == Some(Component::Cassandra.as_str());
    let claims = observed.children.volumes.iter().flat_map(BTreeMap::values).filter(of_nodes);
    let capacities = claims.filter_map(|claim| claim.growth.capacity.as_ref()?.parse::<Quantity>().ok());
    let wanted = pipeline.cassandra.member.storage.size.parse::<Quantity>().ok();
    Some(capacities.min().or(wanted)?.whole()? >> 20)
}
