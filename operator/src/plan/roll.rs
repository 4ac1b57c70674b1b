//! Chooses the one store pod to restart next, if any, so that it gets its StatefulSet's current template. Pure.
//!
//! A pod that runs an old template and cannot run is replaced first: it serves nobody, and a corrected spec must reach
//! it; so is one that has long run without an answer. One that is merely not ready may still vote or hold replicas, so it
//! gets no such treatment. All others are
//! restarted only while every store is at full strength, by its own word and by its pods, one pod at a time over all
//! stores, in the order ZooKeeper, Kafka, Cassandra; leader and controller come last.

use chrono::{DateTime, TimeDelta};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pods::{is_ready, ordinal};

use super::disruption::{full_strength, given, is_complete};
use crate::act::Restart;
use crate::labels::RACK_LABEL;
use crate::link::LinkState;
use crate::observed::Observed;
use crate::readiness::trouble;
use millrace_stores::zookeeper::Mode;

/// Label that the StatefulSet controller puts on its pods.
const REVISION_LABEL: &str = "controller-revision-hash";

/// How long a pod may run without being heard of.
const SILENCE: TimeDelta = TimeDelta::minutes(5);

/// The stores in the order in which they are restarted.
const STORES: [Component; 3] = [Component::ZooKeeper, Component::Kafka, Component::Cassandra];

/// Returns the pod to restart next; `None`: all run the current template, or it is not safe now.
pub fn next_restart(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Option<Restart> {
    let silent = || next_silent(observed);
    next_broken(observed).or_else(silent).or_else(|| next_in_order(pipeline, observed, links))
}

/// Returns how many pods of the stores have an outdated template.
pub fn outdated(observed: &Observed) -> usize {
    STORES.into_iter().map(|component| outdated_pods(observed, component).len()).sum()
}

/// Returns an outdated pod that cannot run, of whichever store: a later store's would otherwise keep an earlier store's
/// orderly restart waiting for ever. It waits itself while a sibling is away, since what it holds may be needed then.
fn next_broken(observed: &Observed) -> Option<Restart> {
    STORES.into_iter().filter(|component| is_complete(observed, *component, given(observed, *component))).find_map(
        |component| {
            let broken = outdated_pods(observed, component).into_iter().find(|pod| trouble(pod).is_some())?;
            restart(broken, component, "it does not work and its template is outdated")
        },
    )
}

/// Returns an outdated pod that has run for long and cannot be asked, as with settings that shut the operator out: its
/// store would be at full strength only once the corrected spec has reached it. Those that have it already are ready.
///
/// An operator that hears of no store has lost its own way to them.
fn next_silent(observed: &Observed) -> Option<Restart> {
    let heard =
        |component: &Component| observed.children.pods_of(*component).any(|pod| is_heard(observed, *component, pod));
    if !STORES.iter().any(heard) {
        return None;
    }
    STORES.into_iter().filter(|component| is_complete(observed, *component, given(observed, *component))).find_map(
        |component| {
            let outdated = outdated_pods(observed, component);
            let is_outdated = |pod: &Pod| outdated.iter().any(|known| known.name_any() == pod.name_any());
            if !observed.children.pods_of(component).all(|pod| is_outdated(pod) || is_ready(pod)) {
                return None;
            }
            let mut silent =
                outdated.iter().filter(|pod| !is_heard(observed, component, pod) && runs_long(observed, pod));
            restart(silent.next()?, component, "it cannot be asked and its template is outdated")
        },
    )
}

fn is_heard(observed: &Observed, component: Component, pod: &Pod) -> bool {
    let Some(ordinal) = ordinal(pod) else { return false };
    let stores = &observed.stores;
    match component {
        Component::ZooKeeper => stores.zookeeper.servers.contains_key(&ordinal),
        Component::Kafka => stores.kafka.as_ref().is_ok_and(|facts| facts.brokers.contains(&ordinal.cast_signed())),
        Component::Cassandra => {
            let rack = pod.labels().get(RACK_LABEL).cloned().unwrap_or_default();
            stores.cassandra.nodes.contains_key(&(rack, ordinal))
        }
        Component::Producer | Component::Processor | Component::Run => false,
    }
}

fn runs_long(observed: &Observed, pod: &Pod) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let started = started.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0));
    let mut containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    // One that reads its log is silent, too.
    containers.all(|container| container.started != Some(false))
        && started.is_some_and(|started| started + SILENCE < observed.now)
}

/// Returns the next outdated pod in the order of stores and members, if every store can spare one.
fn next_in_order(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Option<Restart> {
    // One store at a time: while this one waits, no later one is touched.
    let mut outdated = STORES.into_iter().map(|component| (component, outdated_pods(observed, component)));
    let (component, mut candidates) = outdated.find(|(_, pods)| !pods.is_empty())?;
    if !full_strength(pipeline, observed, links) {
        return None;
    }
    let last = last_to_restart(observed, component);
    candidates.sort_by_key(|pod| (ordinal(pod) == last, std::cmp::Reverse(pod.name_any())));
    restart(candidates.first()?, component, "its template is outdated")
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

/// Returns the ordinal of the member whose restart costs most: the leader, the controller.
fn last_to_restart(observed: &Observed, component: Component) -> Option<u32> {
    match component {
        Component::ZooKeeper => {
            let mut servers = observed.stores.zookeeper.servers.iter();
            servers.find(|(_, mode)| **mode == Mode::Leader).map(|(ordinal, _)| *ordinal)
        }
        Component::Kafka => observed.stores.kafka.as_ref().ok()?.controller.map(i32::unsigned_abs),
        Component::Cassandra | Component::Producer | Component::Processor | Component::Run => None,
    }
}
