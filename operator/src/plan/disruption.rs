//! Who may be away: whether a store has all its members, and whether all stores are at full strength. Pure.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;

use crate::labels::COMPONENT_LABEL;
use crate::link::{Link, LinkState};
use crate::observed::Observed;

/// Returns whether every store has all its members, all replicas are in sync and the ring is whole.
///
/// What the stores say is not enough: for a moment after a pod was deleted they still speak of it as of a member.
pub fn full_strength(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> bool {
    let stores = [Link::ZooKeeper, Link::Kafka, Link::Topics, Link::Cassandra];
    let all_servers = observed.stores.zookeeper.servers.len() as u32 == pipeline.zookeeper.replicas;
    let in_sync = observed.stores.kafka.as_ref().is_ok_and(|facts| facts.under_replicated == 0);
    let wanted = [
        (Component::ZooKeeper, pipeline.zookeeper.replicas),
        (Component::Kafka, pipeline.kafka.replicas),
        (Component::Cassandra, pipeline.cassandra.nodes()),
    ];
    let all_ready = wanted.into_iter().all(|(component, members)| {
        is_complete(observed, component, members) && pods(observed, component).all(is_ready)
    });
    all_servers
        && in_sync
        && all_ready
        && links.iter().filter(|state| stores.contains(&state.link)).all(|state| state.met)
}

/// Returns whether a store has exactly this many pods, and none that is being deleted.
pub fn is_complete(observed: &Observed, component: Component, members: u32) -> bool {
    pods(observed, component).count() == members as usize
        && pods(observed, component).all(|pod| pod.metadata.deletion_timestamp.is_none())
}

/// Returns all pods of a component, those that are being deleted included.
fn pods(observed: &Observed, component: Component) -> impl Iterator<Item = &Pod> {
    observed.children.pods.values().filter(move |pod| is_of(*pod, component))
}

/// Returns how many pods a component's StatefulSets are told to have right now.
pub fn given(observed: &Observed, component: Component) -> u32 {
    let sets = observed.children.stateful_sets.values().filter(|set| is_of(*set, component));
    sets.filter_map(|set| set.spec.as_ref()?.replicas).map(i32::unsigned_abs).sum()
}

fn is_of(object: &impl ResourceExt, component: Component) -> bool {
    object.labels().get(COMPONENT_LABEL).is_some_and(|label| label == component.as_str())
}
