//! Chooses the one store pod to restart next, if any, so that it gets its StatefulSet's current template. Pure.
//!
//! A pod that runs an old template and does not work is restarted at once: it serves nobody, and a corrected spec must
//! reach it. A pod that works is restarted only while its whole store is at full strength by data-plane facts, one pod
//! at a time over all stores, in the order ZooKeeper, Kafka, Cassandra; leader and controller come last.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;

use super::readiness::is_ready;
use crate::chain::{Link, LinkState};
use crate::observe::Observed;
use crate::stores::zookeeper::Mode;

/// Label that the StatefulSet controller puts on its pods.
const REVISION_LABEL: &str = "controller-revision-hash";

/// A pod to restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restart {
    /// Name.
    pub pod: String,
    /// UID as observed: the delete's precondition.
    pub uid: String,
    /// Whose pod.
    pub component: Component,
    /// Why.
    pub reason: String,
}

/// Returns the pod to restart next; `None`: all run the current template, or it is not safe now.
pub fn next_restart(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Option<Restart> {
    for component in [Component::ZooKeeper, Component::Kafka, Component::Cassandra] {
        let outdated = outdated_pods(observed, component);
        if let Some(broken) = outdated.iter().find(|pod| !is_ready(pod)) {
            return restart(broken, component, "it does not work and its template is outdated");
        }
        if outdated.is_empty() {
            continue;
        }
        // One tier at a time: while this one waits, no later one is touched.
        if !full_strength(pipeline, observed, links) {
            return None;
        }
        let last = last_to_restart(observed, component);
        let mut candidates = outdated;
        candidates.sort_by_key(|pod| (ordinal(pod) == last, std::cmp::Reverse(pod.name_any())));
        return restart(candidates.first()?, component, "its template is outdated");
    }
    None
}

fn restart(pod: &Pod, component: Component, reason: &str) -> Option<Restart> {
    Some(Restart { pod: pod.name_any(), uid: pod.uid()?, component, reason: reason.to_owned() })
}

fn outdated_pods(observed: &Observed, component: Component) -> Vec<&Pod> {
    let is_outdated = |pod: &&Pod| {
        let owner = pod.name_any().rsplit_once('-').map(|(owner, _)| owner.to_owned());
        let revision = owner.and_then(|owner| observed.children.stateful_sets.get(&owner)).and_then(update_revision);
        revision.is_some_and(|revision| pod.labels().get(REVISION_LABEL).is_some_and(|label| *label != revision))
    };
    observed.children.pods_of(component).filter(is_outdated).collect()
}

/// Returns the revision of the current template, once the StatefulSet controller has computed it.
fn update_revision(stateful_set: &StatefulSet) -> Option<String> {
    let status = stateful_set.status.as_ref()?;
    (status.observed_generation >= stateful_set.metadata.generation).then(|| status.update_revision.clone())?
}

/// Returns whether every store has all its members, all replicas are in sync and the ring is whole.
fn full_strength(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> bool {
    let stores = [Link::ZooKeeper, Link::Kafka, Link::Topics, Link::Cassandra];
    let all_servers = observed.stores.zookeeper.servers.len() as u32 == pipeline.zookeeper.replicas;
    let in_sync = observed.stores.kafka.as_ref().is_ok_and(|facts| facts.under_replicated == 0);
    let all_ready = [Component::ZooKeeper, Component::Kafka, Component::Cassandra]
        .into_iter()
        .all(|component| observed.children.pods_of(component).all(is_ready));
    all_servers
        && in_sync
        && all_ready
        && links.iter().filter(|state| stores.contains(&state.link)).all(|state| state.met)
}

/// Returns the ordinal of the member whose restart costs most: the leader, the controller.
fn last_to_restart(observed: &Observed, component: Component) -> Option<u32> {
    match component {
        Component::ZooKeeper => {
            let mut servers = observed.stores.zookeeper.servers.iter();
            servers.find(|(_, mode)| **mode == Mode::Leader).map(|(ordinal, _)| *ordinal)
        }
        Component::Kafka => observed.stores.kafka.as_ref().ok()?.controller.map(i32::unsigned_abs),
        Component::Cassandra | Component::Producer | Component::Processor => None,
    }
}

fn ordinal(pod: &Pod) -> Option<u32> {
    pod.name_any().rsplit_once('-')?.1.parse().ok()
}
