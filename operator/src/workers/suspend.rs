//! Suspending a pipeline: sources close, what they wrote is drained, that is recorded, and the processors stop. Pure.
//!
//! Each pass judges by what there is, so that an operator that is killed anywhere goes on. `status.drained` is written
//! before the processors stop, and is taken away before any worker starts again: as long as it is there, none was
//! started. Unknown lag is never zero.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::crd::condition::ConditionType;
use millrace_api::crd::status::DrainedStatus;
use millrace_api::crd::time::time_of;
use millrace_api::names::Component;

use crate::labels::RUN_LABEL;
use crate::link::{LinkState, Reason};
use crate::observed::Observed;
use crate::readiness;
use crate::rounding::two_digits;
use crate::workers::scaling;
use millrace_stores::kafka::Position;

/// Most partitions of a topic, and most pods and runs, that a message names.
const MOST_NAMED: usize = 3;

/// How far a pipeline that is to be suspended has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspension {
    /// Whether everything is drained and no worker runs.
    pub is_done: bool,
    /// Why, in one word.
    pub reason: Reason,
    /// What is left and why, or since when nothing is.
    pub message: String,
    /// What the drain has proved. Absent: nothing yet.
    pub drained: Option<DrainedStatus>,
}

/// Returns how many producers there shall be: none while the pipeline is suspended or a drain is still recorded.
pub fn producers(pipeline: &Pipeline, observed: &Observed) -> u32 {
    if pipeline.suspend || is_recorded(observed) { 0 } else { scaling::wanted_producers(pipeline, observed) }
}

/// Returns how many processors there shall be: as many as usual until a drain is recorded.
pub fn processors(pipeline: &Pipeline, observed: &Observed) -> u32 {
    if is_recorded(observed) { 0 } else { scaling::wanted(pipeline, observed) }
}

/// Returns whether a pipeline is suspended and its processors have nothing left to do.
pub fn is_drained(pipeline: &Pipeline, observed: &Observed) -> bool {
    pipeline.suspend && is_recorded(observed)
}

fn is_recorded(observed: &Observed) -> bool {
    observed.remembered.status.drained.is_some()
}

/// Judges how far a pipeline has come. `None`: it is not to be suspended.
pub fn judge(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Option<Suspension> {
    if !pipeline.suspend {
        return None;
    }
    Some(match &observed.remembered.status.drained {
        None => draining(pipeline, observed, links),
        Some(drained) => stopping(pipeline, observed, drained.clone()),
    })
}

fn draining(pipeline: &Pipeline, observed: &Observed, links: &[LinkState]) -> Suspension {
    let under_way = |reason, message| Suspension { is_done: false, reason, message, drained: None };
    if let Some(open) = open_sources(pipeline, observed) {
        return under_way(Reason::ClosingSources, open);
    }
    let left = match rest(pipeline, observed) {
        Rest::Nothing(offsets) if were_closed(pipeline, observed) => {
            let message = "everything is drained; the processors are about to be stopped".to_owned();
            let drained = Some(DrainedStatus { at: time_of(observed.now), offsets });
            return Suspension { is_done: false, reason: Reason::StoppingProcessors, message, drained };
        }
        Rest::Nothing(_) => {
            return under_way(Reason::Draining, "no record is left; this is checked twice".to_owned());
        }
        Rest::Records { listed, are } => format!("{listed} {are} left"),
        Rest::Unknown(why) => format!("the number of records left is unknown: {why}"),
    };
    under_way(Reason::Draining, format!("{left}{}", hindrance(pipeline, links)))
}

/// Returns whether the pass before, of the same spec, found the sources closed as well. The pass of a run may have begun
/// before `suspend` was set, and its attempt after this pipeline's first look.
fn were_closed(pipeline: &Pipeline, observed: &Observed) -> bool {
    let before = ConditionType::Suspended.of(&observed.remembered.status.conditions);
    before.is_some_and(|before| {
        before.reason == Reason::Draining.to_string() && before.observed_generation == Some(pipeline.generation)
    })
}

/// Returns what keeps the processors from writing what is left, behind a semicolon; empty: nothing that is known.
fn hindrance(pipeline: &Pipeline, links: &[LinkState]) -> String {
    if pipeline.processor.replicas == 0 {
        return "; no processors are desired: raise spec.processor.replicas".to_owned();
    }
    let unmet = links.iter().find(|link| !link.met);
    unmet.map(|link| format!("; {}: {}", link.link.condition(), link.message)).unwrap_or_default()
}

fn stopping(pipeline: &Pipeline, observed: &Observed, drained: DrainedStatus) -> Suspension {
    let left = processors_left(pipeline, observed);
    let is_done = left.is_none();
    let (reason, message) = match (left, rest(pipeline, observed)) {
        (Some(left), _) => (Reason::StoppingProcessors, format!("everything is drained; {left}")),
        (None, Rest::Records { listed, .. }) if is_forgotten(observed, &drained) => {
            let message = format!(
                "drained; since then Kafka has deleted the committed offsets (offsets.retention.minutes): when \
                 spec.suspend is set to false, {listed} are written again, each over its own row"
            );
            (Reason::RecordsWaiting, message)
        }
        (None, Rest::Records { listed, .. }) => {
            (Reason::RecordsWaiting, format!("drained; {listed} now wait until spec.suspend is false"))
        }
        (None, Rest::Nothing(_) | Rest::Unknown(_)) => {
            let message = "drained: all records of the sources are in the tables or the dead-letter topic, and no \
                           worker runs; the stores stay up";
            (Reason::Drained, message.to_owned())
        }
    };
    Suspension { is_done, reason, message, drained: Some(drained) }
}

/// Returns which processors may still run, in words; `None`: none does, and none is about to start.
pub fn processors_left(pipeline: &Pipeline, observed: &Observed) -> Option<String> {
    let deployment = observed.children.deployments.get(&pipeline.names.component(Component::Processor));
    let pods = running(observed, Component::Processor);
    if pods.is_empty() && deployment.is_none_or(has_no_pods) {
        return None;
    }
    let held = held(pipeline, Component::Processor);
    Some(format!("the processors are being stopped{}{held}", there(&pods)))
}

/// Returns whether Kafka has no offset left of a topic that was drained, as happens to groups that are empty for days.
fn is_forgotten(observed: &Observed, drained: &DrainedStatus) -> bool {
    let Ok(kafka) = &observed.stores.kafka else { return false };
    let is_unread = |topic: &String| kafka.position(topic).is_some_and(|now| now.committed == 0 && now.lag > 0);
    drained.offsets.iter().any(|(topic, end)| *end > 0 && is_unread(topic))
}

/// Returns what may still write into the topics; `None`: nothing of this pipeline does.
fn open_sources(pipeline: &Pipeline, observed: &Observed) -> Option<String> {
    let children = &observed.children;
    let set = children.stateful_sets.get(&pipeline.names.component(Component::Producer));
    let pods = running(observed, Component::Producer);
    if !pods.is_empty() || set.is_some_and(|found| !has_no_members(found)) {
        let held = held(pipeline, Component::Producer);
        return Some(format!("the producers are being stopped{}{held}", there(&pods)));
    }
    let pods = children.all_pods_of(Component::Run).filter(|pod| !readiness::has_ended(pod));
    let of_pods = pods.map(|pod| pod.labels().get(RUN_LABEL).cloned().unwrap_or_else(|| pod.name_any()));
    let runs: BTreeSet<String> = children.runs.iter().cloned().chain(of_pods).collect();
    let runs: Vec<String> = runs.into_iter().collect();
    (!runs.is_empty()).then(|| {
        let runs = named(&runs);
        format!("waiting for runs to end: {runs}; to cancel a run, set its spec.cancel")
    })
}

/// Returns the pods of a component whose processes may still run, those that are being deleted included.
fn running(observed: &Observed, component: Component) -> Vec<String> {
    let pods = observed.children.all_pods_of(component).filter(|pod| !readiness::has_ended(pod));
    pods.map(ResourceExt::name_any).collect()
}

/// Returns whether a StatefulSet has no members, and its controller knows that it shall have none.
fn has_no_members(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
    let members = set.status.as_ref().map(|status| status.replicas);
    wanted == Some(0) && members == Some(0) && readiness::stateful_set(Some(set)).current
}

/// Returns whether a Deployment has no pods, and its controller knows that it shall have none.
fn has_no_pods(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let pods = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    wanted == Some(0) && pods == 0 && readiness::deployment(Some(deployment)).current
}

/// Returns why a component's objects are left as they are, behind a semicolon; empty: they are not.
fn held(pipeline: &Pipeline, component: Component) -> String {
    let rejected = pipeline.held.get(&component);
    rejected
        .map(|rejected| format!("; they stay unchanged until the spec is corrected: {rejected}"))
        .unwrap_or_default()
}

/// Returns which pods are still there, behind a comma; empty: none is.
fn there(pods: &[String]) -> String {
    match pods {
        [] => String::new(),
        [only] => format!(", pod '{only}' still exists"),
        pods => format!(", {} pods still exist: {}", pods.len(), named(pods)),
    }
}

fn named(names: &[String]) -> String {
    let listed: Vec<&str> = names.iter().map(String::as_str).take(MOST_NAMED).collect();
    let more = if names.len() > MOST_NAMED { ", …" } else { "" };
    format!("{}{more}", listed.join(", "))
}

/// What is left in the topics that queries read.
#[derive(Debug, PartialEq)]
enum Rest {
    /// Nothing: where each topic ends.
    Nothing(BTreeMap<String, i64>),
    /// Records, listed by topic, and whether they `is` or `are`.
    Records { listed: String, are: &'static str },
    /// Nobody knows, and why.
    Unknown(String),
}

/// Compares what the group has committed with where the topics end. What was lost beyond an end is no rest: `DataIntact`
/// has it.
fn rest(pipeline: &Pipeline, observed: &Observed) -> Rest {
    if let Some(query) = pipeline.processor.left_out.first() {
        return Rest::Unknown(format!("query '{query}' cannot run, and its topic keeps its records; see SpecValid"));
    }
    let kafka = match &observed.stores.kafka {
        Ok(kafka) => kafka,
        Err(error) => return Rest::Unknown(format!("the brokers cannot be queried: {error}")),
    };
    let Some(positions) = &kafka.positions else {
        return Rest::Unknown("the brokers do not report how far the topics are read".to_owned());
    };
    let topics: BTreeSet<&String> = pipeline.processor.queries.iter().map(|query| &query.from).collect();
    let (mut offsets, mut listed, mut records) = (BTreeMap::new(), Vec::new(), 0);
    for topic in topics {
        // A broker that has just started may not know of all partitions yet.
        let known = kafka.topics.get(topic).map_or(0, |topic| topic.partitions.len());
        let Some(position) = positions.get(topic).filter(|_| known >= partitions(pipeline, observed, topic)) else {
            return Rest::Unknown(format!("the brokers do not know every partition of topic '{topic}'"));
        };
        if position.lag > 0 {
            listed.push(describe(topic, position));
            records += position.lag;
        }
        offsets.insert(topic.clone(), position.end);
    }
    match records {
        0 => Rest::Nothing(offsets),
        1 => Rest::Records { listed: listed.join(", "), are: "is" },
        _ => Rest::Records { listed: listed.join(", "), are: "are" },
    }
}

/// Returns how many partitions a topic has at least: those that it shall have, and those that it had.
fn partitions(pipeline: &Pipeline, observed: &Observed, topic: &str) -> usize {
    let wanted = pipeline.kafka.topics.iter().find(|wanted| wanted.name == topic).map_or(0, |wanted| wanted.partitions);
    let before = observed.remembered.topic(topic).map_or(0, |before| before.partitions.unsigned_abs());
    wanted.max(before) as usize
}

/// Returns how many records are left in a topic, and in which of its partitions most of them.
fn describe(topic: &str, position: &Position) -> String {
    let mut behind: Vec<(i64, i32)> =
        position.behind.iter().map(|(partition, records)| (two_digits(*records), *partition)).collect();
    behind.sort_by_key(|(records, partition)| (std::cmp::Reverse(*records), *partition));
    let listed: Vec<String> = behind.iter().map(|(records, partition)| format!("{partition}: {records}")).collect();
    let records = counted(two_digits(position.lag), "record");
    let partitions = counted(i64::try_from(behind.len()).unwrap_or(i64::MAX), "partition");
    format!("{records} in {partitions} of '{topic}' ({})", named(&listed))
}

fn counted(count: i64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_partitions_with_most_records_first() {
        let behind = BTreeMap::from([(0, 8_123), (1, 1), (2, 30_999), (4, 3_000), (7, 77)]);
        let position = Position { lag: behind.values().sum(), behind, ..Position::default() };
        assert_eq!(
            describe("users", &position),
            "42000 records in 5 partitions of 'users' (2: 30000, 0: 8100, 4: 3000, …)"
        );
        let one = Position { lag: 1, behind: BTreeMap::from([(3, 1)]), ..Position::default() };
        assert_eq!(describe("users", &one), "1 record in 1 partition of 'users' (3: 1)");
    }

    #[test]
    fn names_a_few_pods_and_counts_the_others() {
        let pods: Vec<String> = (0..5).map(|ordinal| format!("users-producer-{ordinal}")).collect();
        assert_eq!(there(&[]), "");
        assert_eq!(there(&pods[..1]), ", pod 'users-producer-0' still exists");
        assert_eq!(there(&pods), ", 5 pods still exist: users-producer-0, users-producer-1, users-producer-2, …");
    }
}
