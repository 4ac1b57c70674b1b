//! What others do to the pipeline's objects, at random: what they add is left alone, and what they change is set back by one
//! write, and told once.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

#[path = "plan/world.rs"]
#[expect(dead_code, reason = "the world is that of the tests of plans, which do more to it")]
mod world;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::TimeDelta;
use kube::Resource;
use millrace_operator::ledger::{ObjectKey, Written};
use millrace_operator::observed::Children;
use millrace_operator::plan::Plan;
use millrace_operator::plan::drift::DESIRED_CHECKSUM;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use world::World;

/// More passes than any pipeline here needs.
const ENOUGH: usize = 20;

/// Returns a pipeline that is Ready.
fn ready(fixture: &str) -> World {
    let mut world = World::of(fixture);
    world.resource.spec.kafka.pod_template = Some(json!({
        "labels": {"team": "data"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "TZ", "value": "UTC"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    }));
    for _ in 0..ENOUGH {
        let plan = world.plan();
        world.carry_out(&plan);
    }
    assert!(world.plan().is_empty());
    world
}

/// Returns a pipeline that is Ready, one of three; they are walked to once.
fn world(index: usize) -> World {
    static READY: LazyLock<[World; 3]> = LazyLock::new(|| ["one", "three", "sources"].map(ready));
    READY[index].clone()
}

/// A kind of object among the children.
#[derive(Clone, Copy, Debug)]
enum Kind {
    ServiceAccount,
    ConfigMap,
    Service,
    NetworkPolicy,
    DisruptionBudget,
    StatefulSet,
    Deployment,
}

const KINDS: [Kind; 7] = [
    Kind::ServiceAccount,
    Kind::ConfigMap,
    Kind::Service,
    Kind::NetworkPolicy,
    Kind::DisruptionBudget,
    Kind::StatefulSet,
    Kind::Deployment,
];

/// Changes the `pick`-th object of a kind as JSON. Returns its name; `None`: what came of it is not of that kind.
fn change(children: &mut Children, kind: Kind, pick: usize, change: impl FnOnce(&mut Value)) -> Option<String> {
    match kind {
        Kind::ServiceAccount => change_in(&mut children.service_accounts, pick, change),
        Kind::ConfigMap => change_in(&mut children.config_maps, pick, change),
        Kind::Service => change_in(&mut children.services, pick, change),
        Kind::NetworkPolicy => change_in(&mut children.network_policies, pick, change),
        Kind::DisruptionBudget => change_in(&mut children.disruption_budgets, pick, change),
        Kind::StatefulSet => change_in(&mut children.stateful_sets, pick, change),
        Kind::Deployment => change_in(&mut children.deployments, pick, change),
    }
}

fn change_in<K: Resource + Serialize + DeserializeOwned>(
    objects: &mut BTreeMap<String, K>,
    pick: usize,
    change: impl FnOnce(&mut Value),
) -> Option<String> {
    let count = objects.len();
    let (name, object) = objects.iter_mut().nth(pick % count)?;
    let mut value = serde_json::to_value(&*object).expect("objects serialise");
    change(&mut value);
    *object = serde_json::from_value(value).ok()?;
    Some(name.clone())
}

/// Takes the `pick`-th object of a kind away. Returns its name; `None`: there are not so many.
fn take(children: &mut Children, kind: Kind, pick: usize) -> Option<String> {
    match kind {
        Kind::ServiceAccount => take_of(&mut children.service_accounts, pick),
        Kind::ConfigMap => take_of(&mut children.config_maps, pick),
        Kind::Service => take_of(&mut children.services, pick),
        Kind::NetworkPolicy => take_of(&mut children.network_policies, pick),
        Kind::DisruptionBudget => take_of(&mut children.disruption_budgets, pick),
        Kind::StatefulSet => take_of(&mut children.stateful_sets, pick),
        Kind::Deployment => take_of(&mut children.deployments, pick),
    }
}

fn take_of<K>(objects: &mut BTreeMap<String, K>, pick: usize) -> Option<String> {
    let name = objects.keys().nth(pick)?.clone();
    objects.remove(&name);
    Some(name)
}

/// What others may add to an object: where, and what.
fn addition(number: u32) -> impl Strategy<Value = (&'static str, Value)> {
    let name = format!("theirs-{number}");
    prop_oneof![
        Just(("/metadata/annotations", json!({(name.clone()): "x"}))),
        Just(("/metadata/labels", json!({(name.clone()): "x"}))),
        Just(("/metadata/finalizers", json!([name.clone()]))),
        Just(("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}]))),
        Just(("/data", json!({(name.clone()): "x"}))),
        Just(("/imagePullSecrets", json!([{"name": name}]))),
        Just(("/secrets", json!([{"name": name}]))),
        Just(("/spec/ports", json!([{"name": name, "port": 15000 + number, "protocol": "TCP"}]))),
        Just(("/spec/ipFamilies", json!(["IPv4"]))),
        Just(("/spec/template/metadata/annotations", json!({(name.clone()): "x"}))),
        Just(("/spec/template/metadata/labels", json!({(name.clone()): "x"}))),
        Just(("/spec/template/spec/containers", json!([{"name": name, "image": "sidecar:1"}]))),
        Just(("/spec/template/spec/initContainers", json!([{"name": name, "image": "init:1"}]))),
        Just(("/spec/template/spec/volumes", json!([{"name": name, "emptyDir": {}}]))),
        Just(("/spec/template/spec/tolerations", json!([{"key": name, "operator": "Exists"}]))),
        Just(("/spec/template/spec/imagePullSecrets", json!([{"name": name}]))),
        Just(("/spec/template/spec/hostAliases", json!([{"ip": "10.1.2.3", "hostnames": [name]}]))),
        Just(("/spec/template/spec/nodeSelector", json!({(name.clone()): "x"}))),
        Just((
            "/spec/template/spec/topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": name, "whenUnsatisfiable": "DoNotSchedule"}])
        )),
        Just(("/spec/template/spec", json!({"priorityClassName": name, "dnsPolicy": "Default"}))),
        Just(("/spec/template/spec/containers/0/env", json!([{"name": name, "value": "bar"}]))),
        Just(("/spec/template/spec/containers/0/ports", json!([{"containerPort": 15000 + number, "protocol": "TCP"}]))),
        Just(("/spec/template/spec/containers/0/volumeMounts", json!([{"name": name, "mountPath": name}]))),
        Just(("/spec/template/spec/containers/0/resources/requests", json!({"ephemeral-storage": "1Gi"}))),
        Just(("/spec/template/spec/containers/0", json!({"terminationMessagePath": "/dev/termination-log"}))),
    ]
}

/// Adds to an object, before or behind what is there.
fn add(object: &mut Value, (pointer, added): &(&str, Value), in_front: bool) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let Some(Value::Object(fields)) = object.pointer_mut(parent) else {
        if let Some(place @ Value::Object(_)) = object.pointer_mut(pointer) {
            merge(place, added);
        }
        return;
    };
    let place = fields.entry(key).or_insert_with(|| if added.is_array() { json!([]) } else { json!({}) });
    match (place, added) {
        (Value::Array(items), Value::Array(added)) if in_front => {
            items.splice(0..0, added.iter().cloned());
        }
        (Value::Array(items), Value::Array(added)) => items.extend(added.iter().cloned()),
        (place, added) => merge(place, added),
    }
}

fn merge(place: &mut Value, added: &Value) {
    if let (Value::Object(fields), Value::Object(added)) = (place, added) {
        fields.extend(added.clone());
    }
}

/// Returns the places of all values in an object that we set, but for what tells it from others.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                leaves(value, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{path}/{index}"), found);
            }
        }
        Value::Null => {}
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            let is_ours = !["/metadata/name", "/metadata/namespace", "/apiVersion", "/kind"].contains(&path)
                && !path.contains(&DESIRED_CHECKSUM.replace('/', "~1"))
                && !path.starts_with("/status");
            found.extend(is_ours.then(|| path.to_owned()));
        }
    }
}

/// Makes a value another of its sort.
fn spoil(value: &mut Value) {
    *value = match &*value {
        Value::String(text) => json!(format!("{text}x")),
        Value::Number(number) => json!(number.as_i64().unwrap_or_default() + 1),
        Value::Bool(truth) => json!(!truth),
        other => other.clone(),
    };
}

/// Notes the plan's writes as `apply` does. The server keeps what is `kept` of them.
fn note(world: &mut World, plan: &Plan) {
    let now = world.observed.now;
    for changed in &plan.set_back {
        let before = world.observed.writes.get(&changed.object).cloned();
        let checksum = before.as_ref().map_or("same".to_owned(), |before| before.checksum.clone());
        let written = Written::after(before.as_ref(), checksum, now, Vec::new(), &changed.differences);
        world.observed.writes.insert(changed.object.clone(), written);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_others_add_is_left_alone(
        index in 0..3usize,
        additions in proptest::collection::vec((0..7usize, any::<prop::sample::Index>(), any::<bool>(), (0..1_000u32).prop_flat_map(addition)), 1..12),
    ) {
        let mut world = world(index);
        for (kind, pick, in_front, addition) in &additions {
            let before = world.observed.children.clone();
            let made = change(&mut world.observed.children, KINDS[*kind], pick.index(1_000), |object| add(object, addition, *in_front));
            if made.is_none() {
                world.observed.children = before;
            }
        }
        let plan = world.plan();
        prop_assert!(plan.apply.is_empty(), "{:?}", plan.set_back);
        prop_assert!(plan.contested.is_empty() && plan.set_back.is_empty());
    }

    #[test]
    fn what_others_change_is_set_back_by_one_write_and_told_once(
        index in 0..3usize,
        kind in 0..7usize,
        pick in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
    ) {
        let mut world = world(index);
        let mut spoilt = String::new();
        let spoil_one = |object: &mut Value| {
            let mut found = Vec::new();
            leaves(object, "", &mut found);
            spoilt = found[place.index(found.len())].clone();
            spoil(object.pointer_mut(&spoilt).expect("it is there"));
        };
        let before = world.observed.children.clone();
        let Some(name) = change(&mut world.observed.children, KINDS[kind], pick.index(1_000), spoil_one) else {
            return Ok(());
        };
        // Nobody changes the claims of a StatefulSet; `plan/storage.rs` takes another class for one that was corrected.
        if spoilt.starts_with("/spec/volumeClaimTemplates") {
            return Ok(());
        }
        let plan = world.plan();
        if plan.apply.is_empty() {
            // What the operator does not set has no value that is ours; only such may stay.
            prop_assert!(is_of_nobody(&spoilt), "{name} {spoilt} stays as it was changed");
            return Ok(());
        }
        prop_assert_eq!(plan.apply.len(), 1, "{}", spoilt);
        // How many there are is what scaling changes, and may be applied without a word.
        prop_assert!(plan.set_back.len() == 1 || spoilt == "/spec/replicas", "{}", spoilt);
        note(&mut world, &plan);
        world.observed.children = before;
        let again = world.plan();
        prop_assert!(again.apply.is_empty() && again.set_back.is_empty() && again.contested.is_empty());
    }
}

/// Returns whether a value that is there is none that we set: the played world's own.
fn is_of_nobody(path: &str) -> bool {
    path.ends_with("/uid") && !path.contains("ownerReferences")
}

/// By a crash in the middle of the first pass, or by anyone: what is there says what is missing, not what was done.
#[test]
fn whatever_is_missing_is_made_again() {
    let mut taken = 0;
    for (index, kind) in (0..3).flat_map(|index| KINDS.map(|kind| (index, kind))) {
        for pick in 0.. {
            let mut world = world(index);
            let Some(name) = take(&mut world.observed.children, kind, pick) else { break };
            assert!(!world.plan().apply.is_empty(), "{kind:?} '{name}' stays away");
            taken += 1;
        }
    }
    assert!(taken > 60, "only {taken} objects");
}

#[test]
fn what_is_changed_again_and_again_is_set_back_once_and_then_left_alone_and_reported() {
    let mut world = ready("one");
    let other = |world: &mut World| {
        let image = "/spec/template/spec/containers/0/image";
        change(&mut world.observed.children, Kind::Deployment, 0, |object| {
            *object.pointer_mut(image).expect("it is there") = json!("other:1")
        })
    };
    let as_desired = world.observed.children.clone();
    assert!(other(&mut world).is_some());
    let plan = world.plan();
    assert_eq!((plan.apply.len(), plan.set_back.len(), plan.contested.len()), (1, 1, 0));
    let told = plan.set_back[0].describe();
    assert_eq!(
        told,
        "Deployment 'users-processor': spec.template.spec.containers[processor].image is 'other:1' instead of 'worker:1'"
    );
    let checksum = plan.apply.deployments[0].metadata.annotations.as_ref().map(|notes| notes[DESIRED_CHECKSUM].clone());
    let key = ObjectKey { kind: "Deployment".to_owned(), name: "users-processor".to_owned() };
    let written = Written::after(
        None,
        checksum.clone().expect("it is noted"),
        world.observed.now,
        Vec::new(),
        &plan.set_back[0].differences,
    );
    world.observed.writes.insert(key.clone(), written.clone());
    world.observed.children = as_desired.clone();
    assert!(world.plan().is_empty());

    assert!(other(&mut world).is_some());
    let plan = world.plan();
    assert_eq!((plan.apply.len(), plan.set_back.len(), plan.contested.len()), (0, 0, 1));
    assert!(plan.is_empty(), "it holds up nothing");
    let condition = |world: &World| {
        let conditions = world.resource.status.clone().expect("a status was reported").conditions;
        conditions.into_iter().find(|condition| condition.type_ == "Contested")
    };
    let contested = condition(&world).expect("it is reported");
    assert!(contested.message.contains(&told), "{}", contested.message);
    // Another change of the same object is set back nevertheless.
    let mut twice = world.observed.children.clone();
    assert!(change(&mut twice, Kind::Deployment, 0, |object| object["spec"]["replicas"] = json!(7)).is_some());
    let once = std::mem::replace(&mut world.observed.children, twice);
    assert_eq!(world.plan().set_back.len(), 1);
    world.observed.children = once;
    // After a while it is tried once more.
    world.observed.now += TimeDelta::minutes(10);
    assert_eq!(world.plan().set_back.len(), 1);
    // And the report goes with its reason.
    world.observed.children = as_desired;
    world.plan();
    assert_eq!(condition(&world), None);
}

#[test]
fn what_the_server_answers_to_our_own_write_is_no_reason_for_another() {
    let mut world = ready("one");
    let rounded = |object: &mut Value| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror.example.com/worker:1")
    };
    assert!(change(&mut world.observed.children, Kind::Deployment, 0, rounded).is_some());
    let plan = world.plan();
    let [changed] = &plan.set_back[..] else { panic!("{:?}", plan.set_back) };
    let checksum = plan.apply.deployments[0].metadata.annotations.as_ref().map(|notes| notes[DESIRED_CHECKSUM].clone());
    let checksum = checksum.expect("it is noted");
    // A webhook rewrites each image of the answer.
    let written = Written::after(None, checksum, world.observed.now, changed.differences.clone(), &[]);
    world.observed.writes.insert(changed.object.clone(), written);
    let plan = world.plan();
    assert!(plan.is_empty() && plan.set_back.is_empty());
    assert_eq!(plan.contested.len(), 1, "it is reported");
    // The negative control: another value is not the server's answer.
    let changed =
        |object: &mut Value| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("elsewhere:1");
    assert!(change(&mut world.observed.children, Kind::Deployment, 0, changed).is_some());
    assert_eq!(world.plan().set_back.len(), 1);
}

/// Negative control: an object that only the annotation says to be another is one of ours that changed, and no repair.
#[test]
fn our_own_change_is_not_told_as_somebody_elses() {
    let mut world = ready("one");
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    let plan = world.plan();
    assert!(!plan.apply.is_empty() && plan.set_back.is_empty());
}

#[test]
fn the_manager_that_changed_it_is_named() {
    let mut world = ready("one");
    let scaled = |object: &mut Value| {
        object["spec"]["replicas"] = json!(9);
        object["metadata"]["managedFields"] = json!([
            {"manager": "millrace-operator", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-scale", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "other", "operation": "Update", "time": "2026-01-03T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-01-04T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:replicas": {}}}},
        ]);
    };
    assert!(change(&mut world.observed.children, Kind::Deployment, 0, scaled).is_some());
    let plan = world.plan();
    assert_eq!(
        plan.set_back[0].describe(),
        "Deployment 'users-processor': spec.replicas is '9' instead of '1', by field manager 'kubectl-scale'"
    );
}
