//! Volumes that grow: one claim after the other, then the StatefulSet anew around its pods, from wherever an operator left it;
//! and what is refused. The world here does nothing about a claim by itself: each test says what Kubernetes does.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use millrace_api::crd::{Amount, DeletionPolicy};
use millrace_operator::act::Act;
use millrace_operator::observed::{Claim, Growth};
use millrace_operator::plan::Plan;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{self, World};
use crate::{converge, outdate_brokers, restarts, said};

/// What the API server says of a StorageClass that does not allow it.
const REFUSAL: &str = "persistentvolumeclaims \"data-users-kafka-0\" is forbidden: only dynamically provisioned pvc can be \
                       resized and the storageclass that provisions the pvc must support resize";

/// Three brokers, whose bound claims may grow from 10Gi.
fn brokers() -> World {
    let mut world = World::of("three");
    world.resource.spec.deletion_policy = DeletionPolicy::Retain;
    converge(&mut world);
    let claim = |name: &str| Claim {
        class: Some("fast".to_owned()),
        size: Some("10Gi".to_owned()),
        component: Some("kafka".to_owned()),
        growth: Growth { capacity: Some("10Gi".to_owned()), answer: Some(Ok(())), ..Growth::default() },
        ..world::claim(&format!("uid-of-{name}"))
    };
    let names = (0..3).map(|ordinal| format!("data-users-kafka-{ordinal}"));
    world.observed.children.volumes = Some(names.map(|name| (name.clone(), claim(&name))).collect());
    world
}

fn ask_for(world: &mut World, size: &str) {
    world.resource.spec.kafka.storage.as_mut().expect("it has volumes").size = Amount(size.to_owned());
}

fn claims(world: &mut World) -> impl Iterator<Item = &mut Claim> {
    world.observed.children.volumes.as_mut().expect("claims are there").values_mut()
}

fn claim(world: &mut World, ordinal: usize) -> &mut Claim {
    claims(world).nth(ordinal).expect("the claim is there")
}

/// Kubernetes gives a claim what it asks for.
fn resize(world: &mut World, ordinal: usize) {
    let claim = claim(world, ordinal);
    claim.growth.capacity.clone_from(&claim.size);
}

/// All claims have 20Gi.
fn resize_all(world: &mut World) {
    claims(world).for_each(|claim| claim.size = Some("20Gi".to_owned()));
    (0..3).for_each(|ordinal| resize(world, ordinal));
}

fn acts(plan: &Plan) -> Vec<String> {
    plan.acts.iter().map(Act::describe).collect()
}

/// Returns the brokers' StatefulSet in what a plan applies; null: it applies none.
fn applied(plan: &Plan) -> Value {
    let sets = serde_json::to_value(&plan.apply.stateful_sets).expect("they serialise");
    let sets = sets.as_array().cloned().unwrap_or_default();
    sets.into_iter().find(|set| set["metadata"]["name"] == "users-kafka").unwrap_or_default()
}

fn applied_size(plan: &Plan) -> Value {
    let path = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    applied(plan).pointer(path).cloned().unwrap_or_default()
}

fn pods(world: &World) -> Vec<Option<String>> {
    world.observed.children.pods.values().map(|pod| pod.metadata.uid.clone()).collect()
}

const REMAKE: &str = "recreate StatefulSet 'users-kafka' for the new size of its claims; its pods keep running";

#[test]
fn claims_grow_one_after_the_other_and_the_set_is_made_anew_around_its_pods() {
    let mut world = brokers();
    let before = pods(&world);
    ask_for(&mut world, "20Gi");
    for ordinal in 0..3 {
        let plan = world.plan();
        assert_eq!(acts(&plan), [format!("grow claim 'data-users-kafka-{ordinal}' from 10Gi to 20Gi")]);
        assert_eq!(applied(&plan), Value::Null, "the template of claims cannot change");
        world.carry_out(&plan);
        claim(&mut world, ordinal).growth.waits = Some("Resizing, the driver is at it".to_owned());
        let plan = world.plan();
        let waits = [format!("claim 'data-users-kafka-{ordinal}' has 10Gi of 20Gi: Resizing, the driver is at it")];
        assert_eq!((acts(&plan), &plan.growing[..]), (Vec::new(), &waits[..]), "no other before this one is done");
        let status = world.resource.status.clone().expect("a status was reported");
        assert_eq!(status.planned_actions, waits);
        resize(&mut world, ordinal);
    }
    let plan = world.plan();
    assert_eq!(acts(&plan), [REMAKE], "{:?}", plan.growing);
    assert_eq!(applied(&plan), Value::Null);
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!(applied_size(&plan), json!("20Gi"));
    world.carry_out(&plan);
    let plan = world.plan();
    assert!(plan.is_empty() && plan.outdated == 0 && plan.growing.is_empty(), "{plan:?}");
    assert_eq!(pods(&world), before, "no pod was restarted");
}

#[test]
fn a_changed_size_is_ready_when_the_last_volume_has_it() {
    let mut world = brokers();
    assert_eq!(said(&mut world, "Ready").0, "True");
    world.resource.metadata.generation = world.resource.metadata.generation.map_or(Some(1), |was| Some(was + 1));
    ask_for(&mut world, "20Gi");
    claims(&mut world).for_each(|claim| claim.size = Some("20Gi".to_owned()));
    assert_eq!(said(&mut world, "Ready"), ("False".to_owned(), "ApplyingChanges".to_owned()));
    resize_all(&mut world);
    converge(&mut world);
    assert_eq!(said(&mut world, "Ready").0, "True");
    let kafka = world.resource.status.clone().and_then(|status| status.kafka).expect("kafka was reported");
    assert_eq!(kafka.storage.as_deref(), Some("20Gi"));
}

/// An operator that was killed after the removal finds pods and no StatefulSet.
#[test]
fn a_set_that_was_removed_is_made_anew_at_once_whatever_it_once_waited_for() {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    resize_all(&mut world);
    world.observed.children.stateful_sets.remove("users-kafka");
    world.observed.stores.zookeeper.servers.clear();
    assert_eq!(applied_size(&world.plan()), json!("20Gi"));
    // The negative control: brokers that have not begun wait for the quorum.
    world.observed.children.pods.retain(|name, _| !name.starts_with("users-kafka"));
    assert_eq!(applied(&world.plan()), Value::Null);
}

#[test]
fn a_rack_that_was_removed_is_made_anew_with_all_its_nodes() {
    let mut world = World::of("three");
    world.resource.spec.cassandra.racks[0].replicas = 2;
    converge(&mut world);
    world.observed.children.stateful_sets.remove("users-cassandra-a");
    let replicas = |world: &mut World| {
        let sets = world.plan().apply.stateful_sets;
        let rack = sets.into_iter().find(|set| set.metadata.name.as_deref() == Some("users-cassandra-a"));
        rack.and_then(|rack| rack.spec?.replicas)
    };
    assert_eq!(replicas(&mut world), Some(2), "with fewer, a node would be deleted without having left the ring");
    // The negative control: pods of a set that was deleted with them, such as an earlier pipeline's, are nobody's members.
    for pod in world.observed.children.pods.values_mut() {
        pod.metadata.owner_references = Some(vec![OwnerReference::default()]);
    }
    assert_eq!(replicas(&mut world), Some(1), "one node after the other");
}

#[test]
fn a_set_on_its_way_out_is_waited_for_and_no_pod_is_restarted() {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    outdate_brokers(&mut world);
    resize_all(&mut world);
    let set = world.observed.children.stateful_sets.get_mut("users-kafka").expect("there are brokers");
    set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let plan = world.plan();
    assert_eq!((acts(&plan), applied(&plan)), (Vec::new(), Value::Null));
    assert_eq!(plan.growing, ["StatefulSet 'users-kafka' is being deleted, and is then recreated"]);
}

/// What would go with the StatefulSet is taken off it first.
#[test]
fn claims_that_go_with_their_set_are_let_go_of_before_it_is_removed() {
    let mut world = brokers();
    world.resource.spec.deletion_policy = DeletionPolicy::Delete;
    converge(&mut world);
    ask_for(&mut world, "20Gi");
    resize_all(&mut world);
    claims(&mut world).for_each(|claim| claim.is_owned = true);
    let policy = |plan: &Plan| applied(plan)["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"].clone();
    let plan = world.plan();
    assert_eq!((acts(&plan), policy(&plan), applied_size(&plan)), (Vec::new(), json!("Retain"), json!("10Gi")));
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!(acts(&plan), [""; 0], "one is still owned");
    assert_eq!(plan.growing, ["StatefulSet 'users-kafka' releases its claims before it is recreated"]);
    claims(&mut world).for_each(|claim| claim.is_owned = false);
    let plan = world.plan();
    assert_eq!(acts(&plan), [REMAKE]);
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!((policy(&plan), applied_size(&plan)), (json!("Delete"), json!("20Gi")));
}

#[test]
fn outdated_pods_stay_outdated_while_their_set_is_made_anew() {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    outdate_brokers(&mut world);
    resize_all(&mut world);
    let plan = world.plan();
    assert_eq!(acts(&plan), [REMAKE], "a restart is the last thing to do; {:?}", plan.growing);
    world.carry_out(&plan);
    world.step();
    assert_eq!((restarts(&mut world), world.plan().outdated), (vec!["users-kafka-2".to_owned()], 3));
}

#[rstest]
#[case::not_expandable(Some("fast"), "of StorageClass 'fast' cannot grow from 10Gi to 20Gi")]
#[case::of_no_class(None, "of no StorageClass cannot grow from 10Gi to 20Gi")]
fn what_the_api_server_would_not_take_is_refused_and_all_else_goes_ahead(
    #[case] class: Option<&str>,
    #[case] says: &str,
) {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    claim(&mut world, 0).growth.answer = Some(Err(REFUSAL.to_owned()));
    claim(&mut world, 0).class = class.map(str::to_owned);
    let plan = world.plan();
    assert!(plan.is_empty(), "{:?}", plan.acts);
    let [refused] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert_eq!(refused.path, "spec.kafka.storage.size");
    let message = &refused.message;
    assert!(
        message.contains(says) && message.contains(REFUSAL) && message.contains("set it back to 10Gi"),
        "{message}"
    );
    assert_eq!(message.contains("set allowVolumeExpansion of StorageClass 'fast'"), class.is_some(), "{message}");
    assert_eq!(said(&mut world, "SpecValid").0, "False");

    world.resource.spec.kafka.pod_template = Some(json!({"priorityClassName": "high"}));
    assert_eq!(applied_size(&world.plan()), json!("10Gi"));
    // The negative control: once the class allows it, it grows.
    claim(&mut world, 0).growth.answer = Some(Ok(()));
    let plan = world.plan();
    assert_eq!((plan.acts.len(), plan.refused.len()), (1, 0));
}

#[test]
fn nothing_grows_while_it_is_unknown_what_there_is_or_what_may_be() {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    claim(&mut world, 0).growth.answer = None;
    let plan = world.plan();
    assert_eq!((acts(&plan), plan.refused.len()), (Vec::new(), 0));
    assert_eq!(
        plan.growing,
        ["claim 'data-users-kafka-0' must grow from 10Gi to 20Gi, but the operator could not check whether it can"]
    );
    claim(&mut world, 0).is_unbound = true;
    let grows_once_bound = ["claim 'data-users-kafka-0' grows from 10Gi to 20Gi once it has a volume"];
    assert_eq!(world.plan().growing, grows_once_bound);

    world.observed.children.volumes = None;
    let plan = world.plan();
    assert!(plan.is_empty(), "{:?}", plan.acts);
    assert!(plan.refused[0].message.contains("the operator may not list claims"), "{:?}", plan.refused);
}

/// As of a resource that went round admission.
#[test]
fn a_volume_does_not_shrink() {
    let mut world = brokers();
    ask_for(&mut world, "5Gi");
    let plan = world.plan();
    assert!(plan.is_empty(), "{:?}", plan.acts);
    let [refused] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert_eq!(refused.message, "a volume cannot shrink without losing data; set it back to 10Gi");
    // The negative control: the same size in other words.
    ask_for(&mut world, "10240Mi");
    assert_eq!(world.plan().refused, []);
}

/// A growth that is taken back leaves what has grown, and nothing else.
#[test]
fn a_size_that_is_taken_back_half_way_stops_the_growth() {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    world.step();
    resize(&mut world, 0);
    ask_for(&mut world, "10Gi");
    let plan = world.plan();
    assert!(plan.is_empty() && plan.refused.is_empty() && plan.growing.is_empty(), "{plan:?}");
    let kafka = world.resource.status.clone().and_then(|status| status.kafka).expect("kafka was reported");
    assert_eq!(kafka.storage.as_deref(), Some("10Gi"), "what all volumes have");
}

#[test]
fn claims_without_a_volume_are_made_anew_in_another_size() {
    let mut world = brokers();
    ask_for(&mut world, "20Gi");
    claims(&mut world).for_each(|claim| claim.is_unbound = true);
    let plan = world.plan();
    assert!(matches!(&plan.acts[..], [Act::RemoveSet(_)]), "{:?}", plan.acts);
    world.carry_out(&plan);
    let plan = world.plan();
    assert!(plan.acts.len() == 3 && plan.acts.iter().all(|act| matches!(act, Act::RemoveClaim(_))), "{:?}", plan.acts);
    world.carry_out(&plan);
    assert_eq!(applied_size(&world.plan()), json!("20Gi"));
}

/// Makes the file system of the second broker's volume one that has been about to grow since then.
fn await_file_system(world: &mut World, since: DateTime<Utc>) {
    let claim = claim(world, 1);
    claim.size = Some("20Gi".to_owned());
    claim.growth.file_system_since = Some(since);
}

#[test]
fn a_pod_whose_file_system_grows_only_at_a_start_is_restarted() {
    let mut world = brokers();
    world.age(60);
    let now = world.observed.now;
    await_file_system(&mut world, now - TimeDelta::minutes(6));
    assert_eq!(restarts(&mut world), ["users-kafka-1"]);
    assert_eq!(world.plan().outdated, 0);
    // The negative controls: most drivers need some moments; a store that is not at full strength; a pod that has started
    // since, which a second start would not help.
    await_file_system(&mut world, now - TimeDelta::minutes(4));
    assert_eq!(restarts(&mut world), [""; 0]);
    await_file_system(&mut world, now - TimeDelta::minutes(6));
    world.unready("users-kafka-2");
    assert_eq!(restarts(&mut world), [""; 0]);
    let mut world = brokers();
    world.observed.now += TimeDelta::minutes(60);
    world.age(0);
    await_file_system(&mut world, DateTime::UNIX_EPOCH - TimeDelta::minutes(1));
    assert_eq!(restarts(&mut world), [""; 0]);
}
