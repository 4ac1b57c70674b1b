//! Chooses the one store pod to restart next, if any, so that it gets its StatefulSet's current template, or the file
//! system of its volume grows. Pure.
//!
//! A pod that runs an old template and cannot run is replaced first: it serves nobody, and a corrected spec must reach
//! it; so is one that has long run without an answer. One that is merely not ready may still vote or hold replicas, so it
//! gets no such treatment. All others are
//! restarted only while every store is at full strength, by its own word and by its pods, and no partition is being moved,
//! one pod at a time over all stores, in the order ZooKeeper, Kafka, Cassandra; leader and controller come last. Every
//! replica is then in sync, so that a broker takes none below its topic's `min.insync.replicas` that another copy could have
//! kept. One that waits says for which partition, server, node or pod.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pods::{is_ready, ordinal};

use super::disruption::{Judged, shortfall};
use super::waiting::{Cause, Waiting};
use crate::act::{Act, Restart};
use crate::labels::RACK_LABEL;
use crate::observed::Observed;
use crate::readiness::{outdated_pods, trouble};
use millrace_stores::zookeeper::Mode;

/// How long the file system of a volume that has grown may take to grow below a running pod, which most drivers let it do.
const FILE_SYSTEM_PATIENCE: TimeDelta = TimeDelta::minutes(5);

/// How long a pod may run without being heard of.
const SILENCE: TimeDelta = TimeDelta::minutes(5);

/// The stores in the order in which they are restarted.
const STORES: [Component; 3] = [Component::ZooKeeper, Component::Kafka, Component::Cassandra];

/// What comes of the pods with an outdated template.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// All run the current one.
    Nothing,
    /// This one can be restarted now.
    Restart(Restart),
    /// The next one waits for the stores.
    Waits(Waiting),
}

/// Returns the pod to restart next.
pub fn next(pipeline: &Pipeline, observed: &Observed, judged: Judged<'_>) -> Next {
    match next_broken(observed).or_else(|| next_silent(observed)) {
        Some(repair) => Next::Restart(Restart { is_repair: true, ..repair }),
        None => next_in_order(pipeline, observed, judged),
    }
}

/// Returns how many pods of the stores have an outdated template.
pub fn outdated(observed: &Observed) -> usize {
    STORES.into_iter().map(|component| outdated_pods(&observed.children, component).len()).sum()
}

/// Returns an outdated pod that cannot run, of whichever store: a later store's would otherwise keep an earlier store's
/// orderly restart waiting for ever. It waits itself while a sibling is away, since what it holds may be needed then.
fn next_broken(observed: &Observed) -> Option<Restart> {
    STORES.into_iter().filter(|component| is_complete(observed, *component)).find_map(|component| {
        let broken = outdated_pods(&observed.children, component).into_iter().find(|pod| trouble(pod).is_some())?;
        restart(broken, component, "it is not working and its template is outdated")
    })
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
    STORES.into_iter().filter(|component| is_complete(observed, *component)).find_map(|component| {
        let outdated = outdated_pods(&observed.children, component);
        let is_outdated = |pod: &Pod| outdated.iter().any(|known| known.name_any() == pod.name_any());
        if !observed.children.pods_of(component).all(|pod| is_outdated(pod) || is_ready(pod)) {
            return None;
        }
        let mut silent = outdated.iter().filter(|pod| !is_heard(observed, component, pod) && runs_long(observed, pod));
        restart(silent.next()?, component, "it does not answer and its template is outdated")
    })
}

/// Returns whether a store has as many pods as its StatefulSets are told to have, and none that is being deleted.
fn is_complete(observed: &Observed, component: Component) -> bool {
    observed.children.has_pods(component, observed.children.given_to(component))
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
    let mut containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    // One that reads its log is silent, too.
    containers.all(|container| container.started != Some(false))
        && started(pod).is_some_and(|started| started + SILENCE < observed.now)
}

/// Returns when a pod started. `None`: it has not.
fn started(pod: &Pod) -> Option<DateTime<Utc>> {
    let started = pod.status.as_ref()?.start_time.as_ref()?;
    DateTime::from_timestamp(started.0.as_second(), 0)
}

/// Returns whether the file system of a pod's volume has long been about to grow, and the pod has not started since.
fn awaits_file_system(observed: &Observed, pod: &Pod) -> bool {
    let claim = observed.children.volumes.as_ref().and_then(|claims| claims.get(&format!("data-{}", pod.name_any())));
    let Some(since) = claim.and_then(|claim| claim.growth.file_system_since) else { return false };
    since + FILE_SYSTEM_PATIENCE < observed.now && started(pod).is_some_and(|started| started < since)
}

/// Returns the next pod in the order of stores and members. It waits until every store can spare one.
fn next_in_order(pipeline: &Pipeline, observed: &Observed, judged: Judged<'_>) -> Next {
    let Some(restart) = first_in_order(observed) else { return Next::Nothing };
    match shortfall(pipeline, observed, judged) {
        Some(shortfall) => Next::Waits(Waiting { act: Act::RestartPod(restart), cause: Cause::of_stores(shortfall) }),
        None => Next::Restart(restart),
    }
}

fn first_in_order(observed: &Observed) -> Option<Restart> {
    // One store at a time: while this one waits, no later one is touched.
    let mut stores = STORES.into_iter().map(|component| (component, due(observed, component)));
    let (component, mut candidates) = stores.find(|(_, pods)| !pods.is_empty())?;
    let last = last_to_restart(observed, component);
    candidates.sort_by_key(|(pod, _)| (ordinal(pod) == last, std::cmp::Reverse(pod.name_any())));
    let (pod, reason) = candidates.first()?;
    restart(pod, component, reason)
}

/// Returns the pods of a store that are to be restarted in order, each with the reason.
fn due(observed: &Observed, component: Component) -> Vec<(&Pod, &'static str)> {
    let outdated = outdated_pods(&observed.children, component);
    let is_outdated = |pod: &Pod| outdated.iter().any(|known| known.name_any() == pod.name_any());
    let waiting =
        observed.children.pods_of(component).filter(|pod| awaits_file_system(observed, pod) && !is_outdated(pod));
    let waiting = waiting.map(|pod| (pod, "its volume has grown, and its file system grows when the pod starts"));
    outdated.iter().map(|pod| (*pod, "its template is outdated")).chain(waiting).collect()
}

fn restart(pod: &Pod, component: Component, reason: &str) -> Option<Restart> {
    Some(Restart { pod: pod.name_any(), uid: pod.uid()?, component, reason: reason.to_owned(), is_repair: false })
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
