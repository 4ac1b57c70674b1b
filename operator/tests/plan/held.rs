//! What disturbs a store waits for windows, people and approval, visibly; a new version of the operator restarts nothing.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use millrace_api::crd::time::time_of;
use millrace_api::crd::{MaintenanceWindow, StreamingPipelineStatus, UpdatePolicy};
use millrace_operator::labels::{APPROVE_PLAN, HOLD_DISRUPTIONS};
use millrace_operator::objects::scope::{INPUTS_CHECKSUM, TEMPLATE_CHECKSUM};
use millrace_operator::plan::Plan;
use millrace_operator::plan::drift::DESIRED_CHECKSUM;
use rstest::rstest;

use crate::world::{OTHER_GRACE, World};
use crate::{ENOUGH, brokers, converge, outdate_brokers, outdate_nodes, restarts};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

fn window(schedule: &str, time_zone: &str) -> MaintenanceWindow {
    let [schedule, duration, time_zone] = [schedule, "2h", time_zone].map(str::to_owned);
    MaintenanceWindow { schedule, duration, time_zone }
}

/// Returns a complete pipeline of three of each store.
fn complete() -> World {
    let mut world = World::of("three");
    converge(&mut world);
    world
}

/// Returns a complete pipeline with outdated brokers, at noon.
fn outdated() -> World {
    let mut world = complete();
    world.observed.now = at("2026-01-10T12:00:00Z");
    outdate_brokers(&mut world);
    world
}

pub fn status(world: &World) -> StreamingPipelineStatus {
    world.resource.status.clone().expect("a status was reported")
}

pub fn condition(world: &World, kind: &str) -> Option<Condition> {
    status(world).conditions.into_iter().find(|condition| condition.type_ == kind)
}

/// Returns status and reason of `Ready`, and its message.
pub fn ready(world: &World) -> (String, String) {
    let ready = condition(world, "Ready").expect("it is always reported");
    (format!("{} {}", ready.status, ready.reason), ready.message)
}

/// Returns the StatefulSets that keep their template.
fn kept(plan: &Plan) -> Vec<&str> {
    plan.kept.iter().map(|kept| kept.stateful_set.as_str()).collect()
}

/// Carries plans out until nothing is left to do. Returns the pods that were restarted.
fn roll(world: &mut World) -> Vec<String> {
    let mut restarted = Vec::new();
    for _ in 0..ENOUGH {
        let pods = restarts(world);
        restarted.extend(pods);
        world.step();
    }
    restarted
}

#[test]
fn restarts_wait_for_the_maintenance_window_and_ready_says_when_it_opens() {
    let mut world = outdated();
    world.resource.spec.maintenance_windows = vec![window("0 2 * * *", "UTC"), window("0 1 * * SUN", "UTC")];
    let plan = world.plan();
    assert!(plan.is_empty(), "{:?}", plan.acts);
    // The day is a Saturday.
    assert_eq!(plan.waiting[0].cause.until, Some(at("2026-01-11T01:00:00Z")));
    let says = "3 pods with an outdated template wait for the maintenance window, which opens at 2026-01-11T01:00:00Z";
    assert_eq!(
        ready(&world),
        ("True WaitingForWindow".to_owned(), format!("every link of the readiness chain is met; {says}"))
    );
    assert_eq!(condition(&world, "UpdatesHeld").map(|held| held.message), Some(says.to_owned()));
    assert_eq!(
        status(&world).planned_actions,
        ["held since 2026-01-10T12:00:00Z: restart pod 'users-kafka-2': its template is outdated; waits for the \
          maintenance window, which opens at 2026-01-11T01:00:00Z"]
    );

    // The negative controls: while a window is open they are restarted, and before and after it not.
    for (moment, expected) in [
        ("2026-01-11T00:59:59Z", None),
        ("2026-01-11T01:00:00Z", Some("users-kafka-2")),
        ("2026-01-11T03:59:59Z", Some("users-kafka-2")),
        ("2026-01-11T04:00:00Z", None),
    ] {
        world.observed.now = at(moment);
        assert_eq!(restarts(&mut world).first().map(String::as_str), expected, "{moment}");
    }
}

#[test]
fn a_changed_spec_that_a_window_holds_is_ready_and_says_what_waits() {
    let mut world = complete();
    world.observed.now = at("2026-01-10T12:00:00Z");
    world.resource.spec.maintenance_windows = vec![window("0 2 * * *", "UTC")];
    world.resource.metadata.generation = world.resource.metadata.generation.map(|was| was + 1);
    outdate_brokers(&mut world);
    world.plan();
    assert_eq!(ready(&world).0, "True WaitingForWindow");
    // The negative control: without a window it is under way.
    world.resource.spec.maintenance_windows.clear();
    world.resource.metadata.generation = world.resource.metadata.generation.map(|was| was + 1);
    world.plan();
    assert_eq!(ready(&world).0, "False ApplyingChanges");
    assert_eq!(condition(&world, "UpdatesHeld"), None);
}

#[test]
fn a_window_goes_by_the_clock_of_its_time_zone_also_when_clocks_change() {
    let mut world = outdated();
    world.resource.spec.maintenance_windows = vec![window("30 2 * * *", "Europe/Berlin")];
    for (moment, is_open) in [
        ("2026-03-28T01:30:00Z", true),
        // On 29 March clocks skip the hour from 01:00 UTC on.
        ("2026-03-29T00:59:00Z", false),
        ("2026-03-29T01:00:00Z", true),
        ("2026-03-30T00:29:00Z", false),
        ("2026-03-30T00:30:00Z", true),
    ] {
        world.observed.now = at(moment);
        assert_eq!(!restarts(&mut world).is_empty(), is_open, "{moment}");
    }
}

#[test]
fn what_cannot_run_is_replaced_whatever_holds_restarts() {
    for hold in ["window", "annotation"] {
        let mut world = outdated();
        match hold {
            "window" => world.resource.spec.maintenance_windows = vec![window("0 2 * * *", "UTC")],
            _ => world.annotate(HOLD_DISRUPTIONS, "true"),
        }
        assert_eq!(restarts(&mut world), [""; 0], "{hold}");
        world.crash("users-kafka-1");
        assert_eq!(restarts(&mut world), ["users-kafka-1"], "{hold}");
    }
}

#[test]
fn the_annotation_holds_restarts_and_nothing_else() {
    let mut world = outdated();
    world.annotate(HOLD_DISRUPTIONS, "true");
    assert_eq!(restarts(&mut world), [""; 0]);
    assert_eq!(ready(&world).0, "True DisruptionsHeld");
    assert!(ready(&world).1.ends_with("wait for the annotation millrace.dev/hold-disruptions to be removed"));
    world.observed.children.services.clear();
    assert!(!world.plan().apply.services.is_empty(), "repairs go on");
    // The negative control: any other value is none.
    world.annotate(HOLD_DISRUPTIONS, "no");
    world.step();
    assert_eq!(restarts(&mut world), ["users-kafka-2"]);
}

#[test]
fn a_plan_waits_for_approval_and_its_hash_stays_until_it_is_carried_out() {
    let mut world = complete();
    world.resource.spec.update_policy = UpdatePolicy::Manual;
    let files = world.observed.children.config_maps["users-kafka"].clone();
    outdate_brokers(&mut world);
    let plan = world.plan();
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(kept(&plan), ["users-kafka"]);
    assert_eq!(world.observed.children.config_maps["users-kafka"], files, "nothing changes below a running pod");
    let proposed = status(&world).plan.expect("a plan waits");
    assert!(!proposed.approved && proposed.actions.len() == 1, "{proposed:?}");
    assert!(proposed.actions[0].contains("StatefulSet 'users-kafka'"), "{proposed:?}");
    assert_eq!(ready(&world).0, "True ApprovalRequired");
    assert_eq!(condition(&world, "RequiresUpdate"), None, "it is the spec that changed");

    world.annotate(APPROVE_PLAN, "0123456789abcdef");
    assert!(world.plan().is_empty(), "another plan was approved");

    world.annotate(APPROVE_PLAN, &proposed.hash);
    let mut restarted = Vec::new();
    for _ in 0..ENOUGH {
        let plan = world.plan();
        assert_eq!(plan.approval.hash, proposed.hash, "after {restarted:?}");
        let found = status(&world).plan;
        assert!(found.is_none_or(|found| found.approved && found.since == proposed.since));
        restarted.extend(restarts(&mut world));
        world.carry_out(&plan);
    }
    assert_eq!(restarted, ["users-kafka-2", "users-kafka-1", "users-kafka-0"]);
    assert_eq!(status(&world).plan, None);

    // Another change is another plan, although the annotation is still there.
    outdate_nodes(&mut world);
    let plan = world.plan();
    assert!(plan.is_empty() && plan.approval.hash != proposed.hash, "{plan:?}");
    assert_eq!(kept(&plan), ["users-cassandra-a", "users-cassandra-b", "users-cassandra-c"]);
}

#[test]
fn an_approval_that_is_taken_back_holds_the_rest() {
    let mut world = complete();
    world.resource.spec.update_policy = UpdatePolicy::Manual;
    outdate_brokers(&mut world);
    let hash = world.plan().approval.hash;
    world.annotate(APPROVE_PLAN, &hash);
    for _ in 0..2 {
        world.step();
    }
    world.annotate(APPROVE_PLAN, "");
    let plan = world.plan();
    assert!(plan.is_empty() && plan.outdated == 2, "{plan:?}");
    assert_eq!(ready(&world).0, "True ApprovalRequired");
}

#[test]
fn a_new_version_of_the_operator_restarts_nothing_until_it_may() {
    let mut world = complete();
    world.of_another_version();
    let files = world.observed.children.config_maps["users-kafka"].clone();
    assert_eq!(roll(&mut world), [""; 0]);
    let plan = world.plan();
    assert!(plan.is_empty() && plan.outdated == 0, "{plan:?}");
    assert_eq!(world.observed.children.config_maps["users-kafka"], files, "nothing changes below a running pod");
    let required = condition(&world, "RequiresUpdate").expect("it is reported");
    assert_eq!((required.status.as_str(), required.reason.as_str()), ("True", "OperatorUpgraded"));
    assert!(required.message.contains("the pods of ZooKeeper, Kafka, Cassandra,"), "{}", required.message);
    assert!(required.message.ends_with(&format!("{APPROVE_PLAN}={}", plan.approval.hash)), "{}", required.message);
    assert_eq!(ready(&world).0, "True OperatorUpgraded");

    world.annotate(APPROVE_PLAN, &plan.approval.hash);
    assert_eq!(roll(&mut world).len(), 9, "each pod of the stores once");
    assert_eq!(condition(&world, "RequiresUpdate"), None);
    assert_ne!(world.observed.children.config_maps["users-kafka"], files);
}

#[test]
fn control_a_policy_that_lets_everything_through_does() {
    let mut world = complete();
    world.of_another_version();
    world.resource.spec.update_policy = UpdatePolicy::Automatic;
    assert_eq!(roll(&mut world).len(), 9);
}

#[test]
fn a_change_of_a_stores_spec_takes_the_new_template_of_that_store_along() {
    let mut world = complete();
    world.of_another_version();
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    assert_eq!(roll(&mut world), ["users-kafka-2", "users-kafka-1", "users-kafka-0"]);
    let required = condition(&world, "RequiresUpdate").expect("it is reported");
    assert!(required.message.contains("the pods of ZooKeeper, Cassandra,"), "{}", required.message);
}

#[test]
fn what_no_template_follows_takes_none_along() {
    let mut world = complete();
    world.of_another_version();
    let spec = &mut world.resource.spec;
    spec.kafka.topics[0].partitions = 12;
    spec.processor.replicas += 1;
    spec.cassandra.racks[0].replicas = 2;
    assert_eq!(roll(&mut world), [""; 0]);
    let grown = world.observed.children.stateful_sets["users-cassandra-a"].spec.clone().expect("it has a spec");
    let grace = grown.template.spec.and_then(|pod| pod.termination_grace_period_seconds);
    assert_eq!((grown.replicas, grace), (Some(2), Some(OTHER_GRACE)), "new pods are as the others");
}

/// As the first version that makes notes finds the objects of those before it.
#[test]
fn what_has_no_notes_is_taken_for_what_people_want_now() {
    let mut world = complete();
    world.of_another_version();
    for set in world.observed.children.stateful_sets.values_mut() {
        for note in [INPUTS_CHECKSUM, TEMPLATE_CHECKSUM] {
            set.annotations_mut().remove(note);
        }
    }
    assert_eq!(roll(&mut world), [""; 0]);
    let noted = &world.observed.children.stateful_sets["users-kafka"];
    assert!(noted.annotations().contains_key(INPUTS_CHECKSUM), "{:?}", noted.annotations());
    assert!(condition(&world, "RequiresUpdate").is_some());
    // The negative control: a change after that is one.
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    assert_eq!(roll(&mut world).len(), 3);
}

#[test]
fn notes_that_somebody_changes_are_set_back_and_hold_nothing() {
    for note in [INPUTS_CHECKSUM, TEMPLATE_CHECKSUM] {
        let mut world = complete();
        let set = world.observed.children.stateful_sets.get_mut("users-kafka").expect("there are brokers");
        assert!(set.annotations().contains_key(DESIRED_CHECKSUM));
        set.annotations_mut().insert(note.to_owned(), "spoilt".to_owned());
        let plan = world.plan();
        assert_eq!((kept(&plan), plan.apply.stateful_sets.len()), (Vec::new(), 1), "{note}");
    }
}

#[rstest]
#[case::a_partition("partition", "topic 'users_created' partition 0, which has 2 of 3 replicas in sync")]
#[case::a_server("server", "ZooKeeper server 'users-zookeeper-2', which does not answer")]
#[case::a_node("node", "Cassandra node 'users-cassandra-a-0', which is not Up/Normal for 'users-cassandra-b-0'")]
#[case::a_silent_node("silent", "Cassandra node 'users-cassandra-c-0', which does not answer")]
#[case::a_pod("pod", "pod 'users-zookeeper-1', which is not ready")]
fn a_restart_that_waits_says_for_what_and_since_when(#[case] away: &str, #[case] says: &str) {
    let mut world = outdated();
    let first_of = |rack: &str| (rack.to_owned(), 0_u32);
    match away {
        "partition" => {
            let facts = brokers(&mut world);
            facts.topics.get_mut("users_created").expect("it exists").partitions[0].in_sync = 2;
            facts.under_replicated = 1;
        }
        "server" => {
            world.observed.stores.zookeeper.servers.remove(&2);
        }
        "node" => {
            let nodes = &mut world.observed.stores.cassandra.nodes;
            let address = nodes[&first_of("a")].address;
            nodes.get_mut(&first_of("b")).expect("it is there").sees_normal.remove(&address);
        }
        "silent" => {
            world.observed.stores.cassandra.nodes.remove(&first_of("c"));
        }
        _ => world.unready("users-zookeeper-1"),
    }
    let begun = world.observed.now;
    assert!(world.plan().acts.is_empty());
    let waits = |world: &World| {
        let waiting = status(world).waiting;
        let [waiting] = &waiting[..] else { panic!("{waiting:?}") };
        (waiting.action.clone(), waiting.cause.clone(), waiting.since.clone())
    };
    let action = "restart pod 'users-kafka-2': its template is outdated".to_owned();
    assert_eq!(waits(&world), (action.clone(), says.to_owned(), time_of(begun)));
    world.observed.now = begun + TimeDelta::minutes(5);
    world.plan();
    assert_eq!(waits(&world), (action, says.to_owned(), time_of(begun)), "it waits for the same");
    // Another cause is a new one.
    world.annotate(HOLD_DISRUPTIONS, "true");
    world.plan();
    assert_eq!(waits(&world).2, time_of(begun + TimeDelta::minutes(5)));
}
