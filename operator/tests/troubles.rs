//! What goes wrong in clusters, in Kubernetes' own words, and with data and sources: `Ready` and `millrace explain` name the true
//! cause of each (docs/troubles.md).

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

#[path = "plan/world.rs"]
#[expect(dead_code, reason = "the world is that of the tests of plans, which do more to it")]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use millrace_api::names::Component;
use millrace_cli::commands::explain::explained;
use millrace_operator::labels::COMPONENT_LABEL;
use millrace_operator::observed::{Children, Warning};
use millrace_stores::kafka::{Position, Retention};
use millrace_terms::{SourcePhase, SourceState};
use serde::Deserialize;
use serde_json::{Value, json};
use world::World;

/// More passes than the pipeline needs.
const ENOUGH: usize = 20;
const TOPIC: &str = "users_created";

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
    go_on(&mut world);
    world.observed.now += TimeDelta::hours(1);
    world
}

/// Lets the operator do all that it does.
fn go_on(world: &mut World) {
    for _ in 0..ENOUGH {
        world.step();
    }
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

/// Returns what `millrace explain -o json` says of a pipeline, by what the operator reported last.
fn explain(world: &World) -> Value {
    serde_json::from_str(&explained(&world.resource, world.observed.now)).expect("it is JSON")
}

/// Returns what `explain` advises, as the page has it.
fn advice(explained: &Value) -> String {
    let text = explained["fix"]["text"].as_str().unwrap_or_default();
    match explained["fix"]["command"].as_str() {
        Some(command) => format!("{text}: `{command}`"),
        None => text.to_owned(),
    }
}

/// Returns status and message of `Ready`, after another pass.
fn ready_says(world: &mut World) -> (String, String) {
    world.plan();
    ready_said(world)
}

fn ready_said(world: &World) -> (String, String) {
    let conditions = world.resource.status.clone().expect("a status was reported").conditions;
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").expect("Ready is reported");
    (ready.status, ready.message)
}

fn meet(trouble: &Trouble, age: TimeDelta) -> String {
    meet_as(trouble, age, None)
}

/// Meets a trouble whose events are about an object with this UID.
fn meet_as(trouble: &Trouble, age: TimeDelta, uid: Option<&str>) -> String {
    ready_said(&met(trouble, age, uid)).1
}

/// Returns a pipeline that is in trouble and reported so.
fn met(trouble: &Trouble, age: TimeDelta, uid: Option<&str>) -> World {
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
    let (status, _) = ready_says(&mut world);
    assert_eq!(status, "False", "{}", trouble.trouble);
    world
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

#[test]
fn explain_names_the_same_cause_and_what_helps() {
    for trouble in troubles() {
        let explained = explain(&met(&trouble, TimeDelta::seconds(5), None));
        assert_eq!(explained["verdict"], "notReady", "{}", trouble.trouble);
        let cause = explained["cause"].as_str().unwrap_or_default();
        assert!(cause.ends_with(&format!("; {}", trouble.says)), "{}: {cause}", trouble.trouble);
        assert!(!advice(&explained).is_empty(), "{}: {explained}", trouble.trouble);
    }
}

/// Negative control: of a pipeline that is well, it names nothing.
#[test]
fn explain_names_no_cause_where_there_is_none() {
    let mut world = ready();
    world.plan();
    world.observed.stores.sources = vec![source(SourcePhase::Running, "")];
    world.plan();
    let explained = explain(&world);
    assert_eq!((&explained["verdict"], &explained["cause"]), (&json!("well"), &Value::Null), "{explained}");
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

/// Something that goes wrong although pods run, or before Kubernetes notices.
struct Fault {
    fault: &'static str,
    /// Where it shows.
    condition: &'static str,
    happens: fn(&mut World),
    /// What the cause contains that `explain` names.
    says: &'static str,
}

const fn fault(fault: &'static str, condition: &'static str, happens: fn(&mut World), says: &'static str) -> Fault {
    Fault { fault, condition, happens, says }
}

const FAULTS: [Fault; 14] = [
    fault(
        "a topic is deleted by hand",
        "`DataIntact`",
        topic_deleted,
        "topic 'users_created' was recreated, and its records, at least 2000, are lost",
    ),
    fault(
        "a table is dropped by hand",
        "`DataIntact`",
        table_dropped,
        "table 'streams.created_users' was recreated, and the rows of 1500 records that were read before are lost",
    ),
    fault(
        "Cassandra loses its volumes",
        "`DataIntact`",
        cassandra_emptied,
        "table 'streams.created_users' was recreated, and the rows of 1500 records that were read before are lost",
    ),
    fault(
        "ZooKeeper loses its volumes while the brokers run",
        "`KafkaReady`",
        zookeeper_emptied,
        "ZooKeeper is empty, but Kafka has had topics",
    ),
    fault(
        "a broker loses the only copy of records",
        "`DataIntact`",
        records_lost,
        "Kafka lost records: topic 'users_created' has 900 and had at least 2000",
    ),
    fault(
        "retention deletes records before they are read",
        "`DataIntact`",
        records_expired,
        "retention deleted 200 records of topic 'users_created' before processors read them",
    ),
    fault(
        "retention is about to do so",
        "`RetentionAtRisk`",
        records_due,
        "topic 'users_created' deletes records after 168h (retention.ms), and 300 that processors have not read are due within 42h",
    ),
    fault(
        "a source answers with an error of the server",
        "`SourcesHealthy`",
        source_answers_500,
        "source 'made-up': Unavailable: 'shop.example' answers 500 Internal Server Error",
    ),
    fault(
        "a source does not accept the token or password",
        "`SourcesHealthy`",
        source_answers_401,
        "source 'made-up': BadAnswer: 'shop.example' answers 401 Unauthorized",
    ),
    fault(
        "a token server does not accept the client's secret",
        "`SourcesHealthy`",
        token_server_answers_401,
        "source 'made-up': BadAnswer: the token server 'id.example' answers 401 Unauthorized",
    ),
    fault(
        "a source's address is wrong",
        "`SourcesHealthy`",
        source_answers_404,
        "source 'made-up': BadAnswer: 'shop.example' answers 404 Not Found",
    ),
    fault(
        "a source's name does not resolve",
        "`SourcesHealthy`",
        source_unresolved,
        "source 'made-up': Unavailable: 'shop.example' cannot be read: failed to lookup address information: Name or service not known",
    ),
    fault(
        "no processor is to run",
        "`ProcessorReady`",
        no_processor,
        "no rows are written, since spec.processor.replicas is 0: records stay in Kafka",
    ),
    fault("the operator is paused", "`Ready`", paused, "paused by the annotation millrace.dev/paused"),
];

/// Has processors read some of a topic's records.
fn read(world: &mut World) {
    world.read(TOPIC, 2_000, 1_500);
    world.plan();
}

fn topic_deleted(world: &mut World) {
    read(world);
    world.delete_topic(TOPIC);
    go_on(world);
}

fn table_dropped(world: &mut World) {
    read(world);
    world.drop_table("created_users");
    go_on(world);
}

fn cassandra_emptied(world: &mut World) {
    read(world);
    world.empty_cassandra();
    go_on(world);
}

fn zookeeper_emptied(world: &mut World) {
    read(world);
    world.observed.stores.zookeeper.znodes = Some(5);
    world.observed.stores.kafka = Err("no broker answers".to_owned());
}

fn records_lost(world: &mut World) {
    read(world);
    world.read(TOPIC, 900, 900);
    go_on(world);
}

fn records_expired(world: &mut World) {
    read(world);
    let position = world.read.get_mut(TOPIC).expect("it was just read");
    *position = Position { starts: [(0, 1_700)].into(), reached: [(0, 1_500)].into(), ..position.clone() };
    world.settle();
}

fn records_due(world: &mut World) {
    world.resource.spec.processor.replicas = 0;
    go_on(world);
    read(world);
    let position = world.read.get_mut(TOPIC).expect("it was just read");
    let retention = Retention { time: Some(Duration::from_secs(7 * 24 * 3_600)), ..Retention::default() };
    *position = Position { retention, due: Some([(0, 300)].into()), ..position.clone() };
    world.settle();
}

fn no_processor(world: &mut World) {
    world.resource.spec.processor.replicas = 0;
    go_on(world);
}

fn paused(world: &mut World) {
    world.annotate("millrace.dev/paused", "true");
}

fn source(state: SourcePhase, message: &str) -> SourceState {
    SourceState { name: "made-up".to_owned(), state, message: message.to_owned(), ..SourceState::default() }
}

fn fail(world: &mut World, state: SourcePhase, message: &str) {
    world.observed.stores.sources = vec![source(state, message)];
}

fn source_answers_500(world: &mut World) {
    fail(world, SourcePhase::Unavailable, "'shop.example' answers 500 Internal Server Error");
}

fn source_answers_401(world: &mut World) {
    fail(world, SourcePhase::BadAnswer, "'shop.example' answers 401 Unauthorized");
}

fn token_server_answers_401(world: &mut World) {
    fail(world, SourcePhase::BadAnswer, "the token server 'id.example' answers 401 Unauthorized");
}

fn source_answers_404(world: &mut World) {
    fail(world, SourcePhase::BadAnswer, "'shop.example' answers 404 Not Found");
}

fn source_unresolved(world: &mut World) {
    let problem = "failed to lookup address information: Name or service not known";
    fail(world, SourcePhase::Unavailable, &format!("'shop.example' cannot be read: {problem}"));
}

/// Returns what `explain` says of a pipeline that has a fault.
fn explained_with(fault: &Fault) -> Value {
    let mut world = ready();
    (fault.happens)(&mut world);
    world.plan();
    explain(&world)
}

#[test]
fn explain_names_the_cause_of_every_fault() {
    for fault in &FAULTS {
        let explained = explained_with(fault);
        let cause = explained["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(fault.says), "{}: {explained}", fault.fault);
        let condition = fault.condition.trim_matches('`');
        assert_eq!(explained["evidence"][0]["object"], condition, "{}", fault.fault);
        assert!(!advice(&explained).is_empty(), "{}", fault.fault);
    }
}

#[test]
fn the_page_lists_every_trouble() {
    let page = include_str!("../../docs/troubles.md");
    let mut missing = Vec::new();
    for trouble in troubles() {
        let advice = advice(&explain(&met(&trouble, TimeDelta::seconds(5), None)));
        let Trouble { trouble, place, cluster, says, .. } = trouble;
        // Markdown would take `<` for the beginning of a tag.
        let says = says.trim().replace('<', "\\<");
        missing.push(format!("| {trouble} | {place} | {says} | {advice} | {} |", if cluster { "yes" } else { "no" }));
    }
    for fault in &FAULTS {
        let advice = advice(&explained_with(fault));
        missing.push(format!("| {} | {} | {} | {advice} |", fault.fault, fault.condition, fault.says));
    }
    missing.retain(|row| !page.contains(row));
    assert!(missing.is_empty(), "docs/troubles.md lacks\n{}", missing.join("\n"));
}
