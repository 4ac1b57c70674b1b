//! Whose node is whose: the identity of each pod's node, remembered with the claim that it joined with. Pure.
//!
//! A pod whose claim is another one has an empty volume. If it joined so, it would be one more node, and what was the pod's
//! would stay in the ring for ever, away. So the pods read here, from a file of their ConfigMap, which node was theirs and
//! whether they may take its place (`files/start.sh`). Only one node is replaced at a time, and only while all others are
//! well and there are other copies of its rows.

use std::fmt::Write as _;

use millrace_api::Pipeline;
use millrace_api::crd::status::NodeStatus;
use millrace_stores::cassandra::{NodeFacts, NodeKey};
use uuid::Uuid;

use super::leaving::{has_left, later_leaver, leaver, may_leave};
pub use super::memory::FILE;
use super::memory::{claim_of, is_heeded, is_lost, lost, pod_name, remembered, was_to_leave};
use super::ring::{all_but, current_racks, expected, replication_factor};
use crate::observed::Observed;

/// What becomes of nodes whose volumes are gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// This pod takes the place of its node; its rows come from so many other copies.
    Replaced {
        /// Name of the pod.
        pod: String,
        /// Other copies of each of its rows.
        copies: u32,
    },
    /// There was one copy of each row, and that of these is gone: a person has to give the node up.
    OnlyCopy(NodeStatus),
    /// Nothing yet: others have to come back first, pods have a script that cannot do it, or more than one volume is gone.
    Held(Vec<NodeStatus>),
}

/// Returns the nodes that have joined, by the names of their pods: as they say now, or else as remembered.
pub fn known(pipeline: &Pipeline, observed: &Observed) -> Vec<NodeStatus> {
    keys(pipeline, observed).iter().filter_map(|key| node(pipeline, observed, key)).collect()
}

/// Returns the keys of all nodes that may have joined: a StatefulSet may be away for a moment.
fn keys(pipeline: &Pipeline, observed: &Observed) -> Vec<NodeKey> {
    let mut racks = current_racks(pipeline, observed);
    for rack in &pipeline.cassandra.racks {
        let given = racks.entry(rack.name.clone()).or_default();
        *given = rack.replicas.max(*given);
    }
    expected(&racks).collect()
}

fn node(pipeline: &Pipeline, observed: &Observed, key: &NodeKey) -> Option<NodeStatus> {
    let name = pod_name(pipeline, key);
    let before = remembered(pipeline, observed, key);
    let Some(facts) = observed.stores.cassandra.nodes.get(key).filter(|facts| facts.joined) else {
        return before.filter(|before| !is_given_up(pipeline, observed, key, before)).cloned();
    };
    let host_id = facts.host_id.to_string();
    let before = before.filter(|before| before.host_id == host_id);
    Some(NodeStatus {
        claim: claim_of(observed, &name).or_else(|| before?.claim.clone()),
        last_repair: before.and_then(|before| before.last_repair.clone()),
        name,
        host_id,
    })
}

/// Returns whether a node that is away has left the ring, as all others know that have their volumes.
fn is_given_up(pipeline: &Pipeline, observed: &Observed, key: &NodeKey, before: &NodeStatus) -> bool {
    let given = current_racks(pipeline, observed);
    let lost = lost(pipeline, observed, expected(&given));
    let others = all_but(pipeline, observed, |other| other == key || lost.contains_key(other));
    others.is_some_and(|others| !others.is_empty() && others.iter().all(|other| !has_in_ring(other, before)))
}

fn has_in_ring(node: &NodeFacts, other: &NodeStatus) -> bool {
    node.ring.iter().any(|id| id.to_string() == other.host_id)
}

/// Returns what becomes of the nodes whose volumes are gone; `None`: there is none, or nobody is left to have known them.
pub fn loss(pipeline: &Pipeline, observed: &Observed) -> Option<Loss> {
    let known = known(pipeline, observed);
    let lost: Vec<&NodeStatus> = known.iter().filter(|node| is_lost(observed, node)).collect();
    if lost.is_empty() || lost.len() == known.len() {
        return None;
    }
    let copies = copies(pipeline, observed);
    let [only] = lost[..] else {
        return Some(Loss::Held(lost.into_iter().cloned().collect()));
    };
    if copies < 2 {
        return Some(Loss::OnlyCopy(only.clone()));
    }
    let key = keys(pipeline, observed).into_iter().find(|key| pod_name(pipeline, key) == only.name)?;
    let gone = leaver(pipeline, observed).filter(|leaver| has_left(pipeline, observed, leaver));
    let others = all_but(pipeline, observed, |other| *other == key || gone.as_ref() == Some(other));
    let all_know_it =
        others.is_some_and(|others| !others.is_empty() && others.iter().all(|other| has_in_ring(other, only)));
    match all_know_it && is_heeded(pipeline, observed) {
        true => Some(Loss::Replaced { pod: only.name.clone(), copies: copies - 1 }),
        false => Some(Loss::Held(vec![only.clone()])),
    }
}

/// Returns what pods are told to do with their nodes, in words, for `.status.plannedActions`.
pub fn planned(pipeline: &Pipeline, observed: &Observed) -> Vec<String> {
    let replaced = match loss(pipeline, observed) {
        Some(Loss::Replaced { pod, .. }) => Some(format!("replace the node of pod '{pod}', whose volume is gone")),
        Some(Loss::OnlyCopy(_) | Loss::Held(_)) | None => None,
    };
    let leaver = leaver(pipeline, observed).filter(|key| may_leave(pipeline, observed, key));
    let leaver = leaver.map(|key| {
        format!("decommission the node of pod '{}': its rack has more nodes than desired", pod_name(pipeline, &key))
    });
    let later = later_leaver(pipeline, observed).map(|key| {
        format!("node '{}' leaves once the new template of the nodes' pods is approved", pod_name(pipeline, &key))
    });
    replaced.into_iter().chain(leaver).chain(later).collect()
}

fn copies(pipeline: &Pipeline, observed: &Observed) -> u32 {
    let seen = replication_factor(pipeline, observed, Some(&observed.remembered.status));
    seen.unwrap_or_else(|| pipeline.cassandra.replication_factor.of_new())
}

/// Returns the file that tells the pods of the nodes. Empty if the volumes of all are gone: then there is no ring to come
/// back to, and the first node founds one anew when no other pod is there. Beside others it waits for one that has joined,
/// so that a person scales them away first.
///
/// On each line is a pod, its node's identity, or `-`, and a word: `replace` if a pod with an empty volume may take the
/// place of that node now; `leave` if the node is to leave the ring now, and `later` if it has to wait, or has left; for all
/// others `wait`. Once the ring is complete, the line `ring` has what changes with every node that comes or goes: then the
/// nodes drop the rows that are no longer theirs.
pub fn file(pipeline: &Pipeline, observed: &Observed) -> String {
    let known = known(pipeline, observed);
    if known.iter().all(|node| is_lost(observed, node)) {
        return String::new();
    }
    let loss = loss(pipeline, observed);
    let leaver = leaver(pipeline, observed);
    let leaving = leaver.as_ref().map(|key| pod_name(pipeline, key));
    let may_leave = leaver.as_ref().is_some_and(|key| may_leave(pipeline, observed, key));
    let mut file = String::new();
    for NodeStatus { name, host_id, .. } in &known {
        let is_replaced = matches!(&loss, Some(Loss::Replaced { pod, .. }) if pod == name);
        let word = match leaving.as_ref() == Some(name) {
            _ if is_replaced => "replace",
            true if may_leave => "leave",
            true => "later",
            false => "wait",
        };
        writeln!(file, "{name} {host_id} {word}").expect("a String takes all");
    }
    let is_unknown = |pod: &String| known.iter().all(|node| node.name != *pod);
    if let Some(pod) = leaving.filter(|pod| is_unknown(pod) && was_to_leave(pipeline, observed, pod)) {
        writeln!(file, "{pod} - later").expect("a String takes all");
    }
    if loss.is_none() && known.len() == pipeline.cassandra.nodes() as usize {
        writeln!(file, "ring {}", identity_of_ring(&known)).expect("a String takes all");
    }
    file
}

/// Returns what is the same for the same nodes only.
fn identity_of_ring(nodes: &[NodeStatus]) -> Uuid {
    let ids = nodes.iter().filter_map(|node| node.host_id.parse::<Uuid>().ok());
    Uuid::from_u128(ids.fold(0, |sum, id| sum ^ id.as_u128()))
}
