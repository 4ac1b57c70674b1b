//! Who may be away: whether a store has all its members, and what keeps the stores from full strength. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;

use crate::cassandra::memory::pod_name;
use crate::cassandra::ring::{current_racks, is_uniform, releases, ring_is_whole};
use crate::kafka::reassignment::{Reassignment, is_busy};
use crate::link::{Link, LinkState, Reason};
use crate::observed::Observed;
use crate::zookeeper::membership::Membership;
use millrace_stores::cassandra::NodeKey;
use millrace_stores::kafka::{KafkaFacts, OFFSETS_TOPIC};

/// What is judged once in each pass, and handed on.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// Every link of the readiness chain, in order.
    pub links: &'a [LinkState],
    /// Partitions that move between brokers.
    pub reassignment: &'a Reassignment,
    /// Servers on their way into the ensemble or out of it.
    pub membership: &'a Membership,
}

/// Returns what keeps the stores from full strength, in words that follow "waits for"; `None`: every store has all its
/// members, all replicas are in sync and the ring is whole.
///
/// What the stores say is not enough: for a moment after a pod was deleted they still speak of it as of a member.
pub fn shortfall(pipeline: &Pipeline, observed: &Observed, judged: Judged<'_>) -> Option<String> {
    let Judged { links, reassignment, membership } = judged;
    pods_short(pipeline, observed, membership.size)
        .or_else(|| servers_short(pipeline, observed, membership.size))
        .or_else(|| replicas_short(pipeline, observed, reassignment))
        .or_else(|| link_short(pipeline, observed, links))
}

/// Returns which pod of the stores is missing or not ready.
fn pods_short(pipeline: &Pipeline, observed: &Observed, servers: u32) -> Option<String> {
    let wanted = [
        (Component::ZooKeeper, servers),
        (Component::Kafka, brokers(pipeline, observed)),
        (Component::Cassandra, nodes(pipeline, observed)),
    ];
    wanted.into_iter().find_map(|(component, members)| {
        let leaving = observed.children.all_pods_of(component).find(|pod| pod.metadata.deletion_timestamp.is_some());
        if let Some(pod) = leaving {
            return Some(format!("pod '{}', which is being deleted", pod.name_any()));
        }
        if !observed.children.has_pods(component, members) {
            let count = observed.children.all_pods_of(component).count();
            return Some(format!("all pods of {component:?}, which has {count} of {members}"));
        }
        let unready = observed.children.all_pods_of(component).find(|pod| !is_ready(pod))?;
        Some(format!("pod '{}', which is not ready", unready.name_any()))
    })
}

/// Returns how many brokers there are to be: those that have yet to go still have replicas.
fn brokers(pipeline: &Pipeline, observed: &Observed) -> u32 {
    observed.children.given_to(Component::Kafka).max(pipeline.kafka.replicas)
}

/// Returns how many Cassandra nodes there are to be: those that are to leave first get the template that tells them how, and
/// those that are to come wait until all have the scheduler of repairs.
fn nodes(pipeline: &Pipeline, observed: &Observed) -> u32 {
    let given = observed.children.given_to(Component::Cassandra);
    if is_uniform(&observed.stores.cassandra) { given.max(pipeline.cassandra.nodes()) } else { given }
}

/// Returns which ZooKeeper server does not answer.
fn servers_short(pipeline: &Pipeline, observed: &Observed, wanted: u32) -> Option<String> {
    let servers = &observed.stores.zookeeper.servers;
    if servers.len() as u32 == wanted {
        return None;
    }
    let set = pipeline.names.component(Component::ZooKeeper);
    Some(match (0..wanted).find(|ordinal| !servers.contains_key(ordinal)) {
        Some(silent) => format!("ZooKeeper server '{set}-{silent}', which does not answer"),
        None => format!("{wanted} ZooKeeper servers, of which {} answer", servers.len()),
    })
}

/// Returns which partition has replicas that are not in sync or are on their way, or which broker is not registered.
fn replicas_short(pipeline: &Pipeline, observed: &Observed, reassignment: &Reassignment) -> Option<String> {
    if !pipeline.manages(Component::Kafka) {
        return None;
    }
    let facts = match &observed.stores.kafka {
        Ok(facts) => facts,
        Err(error) => return Some(format!("the brokers, which cannot be queried: {error}")),
    };
    if facts.under_replicated > 0 {
        let own = || "partitions of Kafka's own topics, which have replicas out of sync".to_owned();
        return Some(behind(facts).unwrap_or_else(own));
    }
    let brokers = brokers(pipeline, observed).cast_signed();
    if let Some(missing) = (0..brokers).find(|broker| !facts.brokers.contains(broker)) {
        return Some(format!("broker {missing}, which is not registered"));
    }
    // Moves that are refused may be so for want of room, which a restart can bring.
    let goes_on = facts.is_moving() || is_busy(facts) && reassignment.refused.is_none();
    goes_on.then(|| "partitions, which are being moved".to_owned())
}

/// Returns the first partition that is known to be behind.
fn behind(facts: &KafkaFacts) -> Option<String> {
    let topics = facts.topics.iter().map(|(name, topic)| (name.as_str(), topic));
    let mut topics = topics.chain(facts.offsets_topic.iter().map(|topic| (OFFSETS_TOPIC, topic)));
    topics.find_map(|(name, topic)| {
        let found = topic.partitions.iter().find(|partition| partition.is_behind())?;
        let (index, in_sync, replicas) = (found.index, found.in_sync, found.origin().len());
        Some(format!("topic '{name}' partition {index}, which has {in_sync} of {replicas} replicas in sync"))
    })
}

/// Returns which link of the stores is not met, and of the ring which node is not as it should be.
fn link_short(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Option<String> {
    // One that someone else runs could hold our own for ever.
    let is_ours = |link| match link {
        Link::ZooKeeper | Link::Kafka | Link::Topics => pipeline.manages(Component::Kafka),
        Link::Cassandra => pipeline.manages(Component::Cassandra),
        Link::Processor | Link::Producer => false,
    };
    let unmet = links.iter().find(|state| is_ours(state.link) && !is_strong(pipeline, observed, state))?;
    let node = (unmet.link == Link::Cassandra).then(|| node_short(pipeline, observed)).flatten();
    Some(node.unwrap_or_else(|| format!("{}: {}", unmet.link.condition(), unmet.message)))
}

/// Returns which Cassandra node is silent, joining or not Up/Normal for another.
fn node_short(pipeline: &Pipeline, observed: &Observed) -> Option<String> {
    let nodes = &observed.stores.cassandra.nodes;
    let name = |key: &NodeKey| pod_name(pipeline, key);
    let racks = pipeline.cassandra.racks.iter();
    let mut wanted = racks.flat_map(|rack| (0..rack.replicas).map(move |ordinal| (rack.name.clone(), ordinal)));
    if let Some(silent) = wanted.find(|key| !nodes.contains_key(key)) {
        return Some(format!("Cassandra node '{}', which does not answer", name(&silent)));
    }
    for (key, node) in nodes {
        if !node.joined {
            return Some(format!("Cassandra node '{}', which has not joined the ring yet", name(key)));
        }
        if let Some((other, _)) = nodes.iter().find(|(_, other)| !other.sees_normal.contains(&node.address)) {
            return Some(format!("Cassandra node '{}', which is not Up/Normal for '{}'", name(key), name(other)));
        }
    }
    let versions: BTreeSet<_> = nodes.values().map(|node| node.schema_version).collect();
    (versions.len() > 1).then(|| format!("the Cassandra nodes, which have {} schema versions", versions.len()))
}

/// Returns whether a link keeps no pod from being spared. A schema that is yet to come, and nodes, may wait for restarts
/// themselves: until all nodes run the same release, with the scheduler of repairs or without.
fn is_strong(pipeline: &Pipeline, observed: &Observed, state: &LinkState) -> bool {
    let facts = &observed.stores.cassandra;
    let is_mixed = !is_uniform(facts);
    let waits_for_restarts = match state.reason {
        Reason::CreatingSchema => is_mixed || releases(facts).len() > 1,
        Reason::NodeJoining => is_mixed && ring_is_whole(&current_racks(pipeline, observed), facts),
        _ => false,
    };
    state.met || waits_for_restarts
}
