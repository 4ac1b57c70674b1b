//! What goes wrong in clusters, in Kubernetes' own words: `Ready` names the true cause of each (docs/troubles.md).

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

#[path = "plan/world.rs"]
#[expect(dead_code, reason = "the world is that of the tests of plans, which do more to it")]
mod world;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use millrace_api::names::Component;
use millrace_operator::labels::COMPONENT_LABEL;
use millrace_operator::observed::{Children, Warning};
use serde::Deserialize;
use serde_json::{Value, json};
use world::World;

/// More passes than the pipeline needs.
const ENOUGH: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trouble {
    trouble: String,
    of: String,
    #[serde(rename = "where")]
    place: String,
    #[serde(default)]
    cluster: bool,
    pods: Option<String>,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
    #[serde(default)]
    conditions: Vec<DeploymentCondition>,
    #[serde(default)]
    events: Vec<BTreeMap<String, String>>,
    says: String,
}

fn troubles() -> Vec<Trouble> {
    serde_yaml::from_str(include_str!("troubles.yaml")).expect("the list reads")
}

/// Returns a pipeline that is Ready.
fn ready() -> World {
    let mut world = World::of("one");
    for _ in 0..ENOUGH {
        let plan = world.plan();
        world.carry_out(&plan);
    }
    world.observed.now += TimeDelta::hours(1);
    world
}

fn component(name: &str) -> Component {
    Component::ALL.into_iter().find(|component| component.as_str() == name).expect("a component")
}

/// Takes a component's pods away, or their readiness, and the store with them.
fn break_down(world: &mut World, of: Component) {
    let Children { stateful_sets, deployments, .. } = &mut world.observed.children;
    let is_of =
        |labels: &BTreeMap<String, String>| labels.get(COMPONENT_LABEL).is_some_and(|label| label == of.as_str());
    for set in stateful_sets.values_mut().filter(|set| is_of(set.labels())) {
        set.status.as_mut().expect("it has a status").ready_replicas = Some(0);
    }
    for deployment in deployments.values_mut().filter(|deployment| is_of(deployment.labels())) {
        deployment.status.as_mut().expect("it has a status").ready_replicas = Some(0);
    }
    let stores = &mut world.observed.stores;
    match of {
        Component::ZooKeeper => stores.zookeeper.servers.clear(),
        Component::Kafka => stores.kafka = Err("no broker answers".to_owned()),
        Component::Cassandra => stores.cassandra.nodes.clear(),
        Component::Processor | Component::Producer | Component::Run => {}
    }
}

/// Gives the component's first pod the trouble's spec and status. Processors have none in the world of plans.
fn give(world: &mut World, of: Component, trouble: &Trouble) {
    let metadata = ObjectMeta {
        name: Some("users-processor-x".to_owned()),
        labels: Some(BTreeMap::from([(COMPONENT_LABEL.to_owned(), of.as_str().to_owned())])),
        ..ObjectMeta::default()
    };
    let pods = &mut world.observed.children.pods;
    if of == Component::Processor {
        pods.insert("users-processor-x".to_owned(), Pod { metadata, ..Pod::default() });
    }
    let is_of = |pod: &Pod| pod.labels().get(COMPONENT_LABEL).is_some_and(|label| label == of.as_str());
    if trouble.pods.is_some() {
        pods.retain(|_, pod| !is_of(pod));
        for set in world.observed.children.stateful_sets.values_mut() {
            if set.labels().get(COMPONENT_LABEL).is_some_and(|label| label == of.as_str()) {
                set.status.as_mut().expect("it has a status").replicas = 0;
            }
        }
        return;
    }
    let pod = pods.values_mut().find(|pod| is_of(pod)).expect("it has a pod");
    let spec = if trouble.spec.is_null() { json!({"containers": []}) } else { trouble.spec.clone() };
    let spec = match spec.get("containers") {
        Some(_) => spec,
        None => json!({"containers": [], "volumes": spec["volumes"], "nodeName": spec["nodeName"]}),
    };
    pod.spec = Some(serde_json::from_value::<PodSpec>(spec).expect("a pod's spec"));
    pod.status = Some(serde_json::from_value::<PodStatus>(trouble.status.clone()).expect("a pod's status"));
}

/// Returns status and message of `Ready`.
fn ready_says(world: &mut World) -> (String, String) {
    world.plan();
    let conditions = world.resource.status.clone().expect("a status was reported").conditions;
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").expect("Ready is reported");
    (ready.status, ready.message)
}

fn meet(trouble: &Trouble, age: TimeDelta) -> String {
    meet_as(trouble, age, None)
}

/// Meets a trouble whose events are about an object with this UID.
fn meet_as(trouble: &Trouble, age: TimeDelta, uid: Option<&str>) -> String {
    let (mut world, of) = (ready(), component(&trouble.of));
    break_down(&mut world, of);
    give(&mut world, of, trouble);
    for deployment in world.observed.children.deployments.values_mut().filter(|_| !trouble.conditions.is_empty()) {
        deployment.status.as_mut().expect("it has a status").conditions = Some(trouble.conditions.clone());
    }
    let last = world.observed.now - age;
    world.observed.children.warnings = trouble
        .events
        .iter()
        .map(|event| Warning {
            kind: event["kind"].clone(),
            name: event["name"].clone(),
            uid: uid.map(str::to_owned),
            reason: event["reason"].clone(),
            message: event["message"].clone(),
            last,
        })
        .collect();
    let (status, message) = ready_says(&mut world);
    assert_eq!(status, "False", "{}", trouble.trouble);
    message
}

#[test]
fn ready_names_the_cause_of_every_trouble() {
    let troubles = troubles();
    assert!(troubles.len() >= 30, "only {} troubles", troubles.len());
    let mut faults = Vec::new();
    for trouble in &troubles {
        let message = meet(trouble, TimeDelta::seconds(5));
        if !message.ends_with(&format!("; {}", trouble.says)) {
            faults.push(format!("{}: {message}", trouble.trouble));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), troubles.len(), faults.join("\n"));
}

/// Negative control: what was the cause an hour ago is not called the cause now.
#[test]
fn an_old_warning_is_no_cause() {
    for trouble in troubles().iter().filter(|trouble| !trouble.events.is_empty()) {
        let message = meet(trouble, TimeDelta::minutes(59));
        let told = &trouble.events[0]["message"];
        assert!(!message.contains(told.as_str()), "{}: {message}", trouble.trouble);
    }
}

/// Negative control: a warning about a pod that is ready, or about another object, explains nothing.
#[test]
fn a_warning_about_something_else_is_no_cause() {
    let mut world = ready();
    let warning = |name: &str| Warning {
        kind: "Pod".to_owned(),
        name: name.to_owned(),
        uid: None,
        reason: "Unhealthy".to_owned(),
        message: "Readiness probe failed".to_owned(),
        last: world.observed.now,
    };
    world.observed.children.warnings = vec![warning("users-kafka-0"), warning("users-kafka-other")];
    assert_eq!(ready_says(&mut world).0, "True");
    break_down(&mut world, Component::Kafka);
    assert!(!ready_says(&mut world).1.contains("probe"));
}

#[test]
fn a_warning_about_an_earlier_pod_of_the_name_is_no_cause() {
    let troubles = troubles();
    let of_pod = |trouble: &&Trouble| trouble.events.iter().any(|event| event["name"] == "users-kafka-0");
    let mut count = 0;
    for trouble in troubles.iter().filter(of_pod) {
        let (told, now) = (&trouble.events[0]["message"], TimeDelta::seconds(5));
        let message = meet_as(trouble, now, Some("uid-of-an-earlier-one"));
        assert!(!message.contains(told.as_str()), "{}: {message}", trouble.trouble);
        // The negative control: of the pod that is there, it is the cause.
        let message = meet_as(trouble, now, Some("uid-of-users-kafka-0"));
        assert!(message.ends_with(&format!("; {}", trouble.says)), "{}: {message}", trouble.trouble);
        count += 1;
    }
    assert!(count >= 3, "{count} troubles");
}

#[test]
fn the_page_lists_every_trouble() {
    let page = include_str!("../../docs/troubles.md");
    for Trouble { trouble, place, cluster, says, .. } in troubles() {
        // Markdown would take `<` for the beginning of a tag.
        let says = says.trim().replace('<', "\\<");
        let row = format!("| {trouble} | {place} | {says} | {} |", if cluster { "yes" } else { "no" });
        assert!(page.contains(&row), "docs/troubles.md lacks\n{row}");
    }
}
