//! Settings that every broker takes while it runs change without a restart, from wherever an operator left them; all others
//! restart every broker, as ever.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use millrace_api::crd::UpdatePolicy;
use millrace_operator::act::Act;
use millrace_operator::labels::APPROVE_PLAN;
use millrace_operator::objects::Objects;
use millrace_operator::objects::properties::{SERVER_PROPERTIES, parse};
use millrace_operator::objects::scope::CONFIG_CHECKSUM;
use millrace_operator::plan::Plan;
use rstest::rstest;

use crate::world::World;
use crate::{ENOUGH, converge, restarts, said};

const BYTES: &str = "message.max.bytes";
const THREADS: &str = "num.io.threads";
/// One that brokers read when they start.
const STATIC: &str = "num.partitions";

fn complete() -> World {
    let mut world = World::of("three");
    converge(&mut world);
    world
}

fn set(world: &mut World, key: &str, value: &str) {
    world.resource.spec.kafka.config.insert(key.to_owned(), value.to_owned());
}

fn acts(plan: &Plan) -> Vec<String> {
    plan.acts.iter().map(Act::describe).collect()
}

/// Carries plans out until nothing is left to do. Returns the acts.
fn all_acts(world: &mut World) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..ENOUGH {
        let plan = world.plan();
        done.extend(acts(&plan));
        world.carry_out(&plan);
    }
    let plan = world.plan();
    assert!(plan.is_empty() && plan.outdated == 0 && plan.waiting.is_empty(), "{done:?}, then {:?}", plan.waiting);
    done
}

/// Returns the value of a setting in the brokers' file.
fn in_file(world: &World, key: &str) -> Option<String> {
    let files = world.observed.children.config_maps["users-kafka"].data.clone().unwrap_or_default();
    parse(&files[SERVER_PROPERTIES]).remove(key)
}

fn in_force(world: &World, key: &str) -> Vec<String> {
    (0..3).map(|broker| world.in_force(broker, key)).collect()
}

/// Returns the acts that restart every broker.
fn roll() -> Vec<String> {
    let restart = |broker| format!("restart pod 'users-kafka-{broker}': its template is outdated");
    [2, 1, 0].map(restart).into()
}

#[test]
fn a_setting_that_every_broker_takes_is_set_and_no_broker_restarts() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    let plan = world.plan();
    let says = "set message.max.bytes=2000 on all brokers, without a restart";
    assert_eq!(acts(&plan), [says]);
    assert!(plan.apply.config_maps.is_empty(), "the file has it last");
    let planned = world.resource.status.clone().map(|status| status.planned_actions);
    assert_eq!(planned, Some(vec![says.to_owned()]));
    world.carry_out(&plan);
    assert_eq!((in_force(&world, BYTES), in_file(&world, BYTES)), (vec!["2000".to_owned(); 3], None));
    assert_eq!(all_acts(&mut world), [""; 0]);
    assert_eq!(in_file(&world, BYTES).as_deref(), Some("2000"), "the next start has it, too");
    // Another value, and the one before it again.
    for value in ["3000", "2000"] {
        set(&mut world, BYTES, value);
        assert_eq!(all_acts(&mut world), [format!("set message.max.bytes={value} on all brokers, without a restart")]);
        assert_eq!(
            (in_force(&world, BYTES), in_file(&world, BYTES)),
            (vec![value.to_owned(); 3], Some(value.to_owned()))
        );
    }
    // The negative control: a setting that only a start changes.
    set(&mut world, STATIC, "4");
    assert_eq!(all_acts(&mut world), roll());
    assert_eq!(
        (in_force(&world, STATIC), in_force(&world, BYTES)),
        (vec!["4".to_owned(); 3], vec!["2000".to_owned(); 3])
    );
}

#[test]
fn a_value_that_all_have_anyway_is_only_written() {
    let mut world = complete();
    // Kafka's default.
    set(&mut world, THREADS, "8");
    assert_eq!(all_acts(&mut world), [""; 0]);
    assert_eq!(in_file(&world, THREADS).as_deref(), Some("8"));
}

#[test]
fn with_a_setting_of_the_other_kind_both_come_with_the_restart() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    set(&mut world, STATIC, "4");
    assert_eq!(all_acts(&mut world), roll());
    assert_eq!((in_force(&world, BYTES), world.for_all.len()), (vec!["2000".to_owned(); 3], 0));
}

#[test]
fn a_setting_that_is_removed_is_unset_and_every_broker_restarts() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    all_acts(&mut world);
    // One has begun with it by now.
    world.observed.children.pods.remove("users-kafka-1");
    world.settle();
    world.resource.spec.kafka.config.remove(BYTES);
    let mut expected = vec!["unset message.max.bytes on all brokers, without a restart".to_owned()];
    expected.extend(roll());
    assert_eq!(all_acts(&mut world), expected);
    assert_eq!(in_force(&world, BYTES), ["8"; 3]);
}

#[test]
fn one_broker_of_three_that_refuses_has_all_restarted() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    world.refuse.insert(1, "Invalid config value for resource".to_owned());
    assert_eq!(all_acts(&mut world), roll());
    assert_eq!(in_force(&world, BYTES), ["2000"; 3]);
}

#[test]
fn more_threads_than_kafka_adds_at_once_come_with_a_restart() {
    let mut world = complete();
    set(&mut world, THREADS, "50");
    assert_eq!(all_acts(&mut world), roll());
    assert_eq!((in_force(&world, THREADS), world.for_all.len()), (vec!["50".to_owned(); 3], 0));
}

/// What is set for all brokers stands over their files also after a restart, and Kafka takes it back by halves only.
#[test]
fn threads_that_were_doubled_again_and_again_are_taken_back_by_halves() {
    let mut world = complete();
    for threads in ["16", "32", "64"] {
        set(&mut world, THREADS, threads);
        assert_eq!(all_acts(&mut world).len(), 1, "{threads}");
    }
    world.resource.spec.kafka.config.remove(THREADS);
    let mut expected = vec!["unset num.io.threads on all brokers, without a restart".to_owned(); 3];
    expected.extend(roll());
    assert_eq!(all_acts(&mut world), expected);
    assert_eq!((in_force(&world, THREADS), world.for_all.len()), (vec!["8".to_owned(); 3], 0));
}

#[test]
fn a_broker_that_does_not_tell_is_waited_for_and_after_a_minute_all_restart() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    world.mute.insert(1);
    let plan = world.plan();
    assert!(plan.acts.is_empty() && plan.is_under_way(), "{:?}", plan.acts);
    let waiting = world.resource.status.clone().map(|status| status.waiting).unwrap_or_default();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].cause, "broker 1, which does not report its settings");
    world.mute.clear();
    assert_eq!(acts(&world.plan()), ["set message.max.bytes=2000 on all brokers, without a restart"]);

    world.mute.insert(1);
    world.plan();
    world.observed.now += TimeDelta::seconds(61);
    assert_eq!(all_acts(&mut world), roll());
}

#[test]
fn brokers_that_cannot_run_get_the_change_at_once() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    world.crash("users-kafka-1");
    world.mute.insert(1);
    assert_eq!(world.plan().apply.config_maps.len(), 1);
    assert_eq!(restarts(&mut world), [""; 0], "its template is not outdated yet");
    world.step();
    assert_eq!(restarts(&mut world), ["users-kafka-1"]);
}

#[test]
fn a_value_that_a_broker_does_not_take_is_claimed_by_no_file_before_its_restart() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    world.deaf.insert(2);
    world.step();
    let plan = world.plan();
    assert!(plan.is_empty() && plan.is_under_way(), "{:?}", plan.acts);
    assert_eq!(
        (plan.waiting[0].cause.message.as_str(), in_file(&world, BYTES)),
        ("broker 2, which has not applied it yet", None)
    );
    world.observed.now += TimeDelta::seconds(59);
    assert!(world.plan().is_empty(), "it may only be slow");
    world.observed.now += TimeDelta::seconds(2);
    assert_eq!(all_acts(&mut world), roll());
    assert_eq!(in_force(&world, BYTES), ["2000"; 3], "that of the deaf one is in its file");
}

/// What was carried out of a plan when its operator was killed.
#[rstest]
#[case::nothing(0)]
#[case::the_change(1)]
#[case::the_files(2)]
#[case::the_set(3)]
fn an_operator_that_is_killed_anywhere_changes_nothing_in_the_end(#[case] carried_out: usize) {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    let change = world.plan();
    if carried_out >= 1 {
        world.carry_out(&Plan { apply: Objects::default(), ..change });
        let files = world.plan();
        let only = Objects { config_maps: files.apply.config_maps.clone(), ..Objects::default() };
        match carried_out {
            1 => {}
            2 => world.carry_out(&Plan { apply: only, ..files }),
            _ => world.carry_out(&files),
        }
    }
    // The status may be lost, too.
    world.resource.status.as_mut().expect("it was reported").waiting.clear();
    assert_eq!(all_acts(&mut world).len(), usize::from(carried_out == 0));
    assert_eq!(
        (in_force(&world, BYTES), in_file(&world, BYTES).as_deref()),
        (vec!["2000".to_owned(); 3], Some("2000"))
    );
}

/// An operator that was killed between files and StatefulSet, where the change needs a restart.
#[test]
fn files_without_their_set_still_lead_to_the_restart() {
    for with_carried in [false, true] {
        let mut world = complete();
        if with_carried {
            set(&mut world, BYTES, "2000");
            all_acts(&mut world);
        }
        set(&mut world, STATIC, "4");
        let plan = world.plan();
        let only = Objects { config_maps: plan.apply.config_maps.clone(), ..Objects::default() };
        world.carry_out(&Plan { apply: only, ..plan });
        assert_eq!(all_acts(&mut world), roll(), "{with_carried}");
    }
}

#[test]
fn a_change_that_is_taken_back_half_way_leaves_nothing() {
    let mut world = complete();
    let before = in_force(&world, BYTES);
    set(&mut world, BYTES, "2000");
    world.step();
    world.resource.spec.kafka.config.remove(BYTES);
    assert_eq!(all_acts(&mut world), ["unset message.max.bytes on all brokers, without a restart"]);
    assert_eq!((in_force(&world, BYTES), world.for_all.len()), (before, 0));
}

/// Pods that began with the later files have the checksum of the first ones.
#[test]
fn the_way_back_to_the_first_files_reaches_brokers_that_began_with_later_ones() {
    let mut world = complete();
    let checksum = |world: &World| {
        let template = world.observed.children.stateful_sets["users-kafka"].spec.clone().map(|spec| spec.template);
        let annotations = template.and_then(|template| template.metadata).and_then(|metadata| metadata.annotations);
        annotations.map(|annotations| annotations[CONFIG_CHECKSUM].clone())
    };
    let first = checksum(&world);
    set(&mut world, BYTES, "2000");
    all_acts(&mut world);
    assert_eq!(checksum(&world), first, "no template changed");
    world.resource.spec.kafka.config.remove(BYTES);
    all_acts(&mut world);
    assert_ne!(checksum(&world), first);
}

#[test]
fn what_is_set_for_all_brokers_and_is_in_no_file_is_unset() {
    let mut world = complete();
    world.for_all.insert("log.retention.ms".to_owned(), "1000".to_owned());
    assert_eq!(all_acts(&mut world), ["unset log.retention.ms on all brokers, without a restart"]);
    assert_eq!(world.for_all, BTreeMap::new());
}

#[test]
fn a_value_that_somebody_unset_is_set_again_and_one_of_a_single_broker_is_left_alone() {
    let mut world = complete();
    set(&mut world, BYTES, "2000");
    all_acts(&mut world);
    world.own.insert((1, BYTES.to_owned()), "77".to_owned());
    assert_eq!(all_acts(&mut world), [""; 0]);
    world.for_all.clear();
    assert_eq!(all_acts(&mut world), ["set message.max.bytes=2000 on all brokers, without a restart"]);
    assert_eq!(in_force(&world, BYTES), ["2000", "77", "2000"]);
}

/// Files that others change are set back, and are no change of ours, whatever was carried over.
#[test]
fn files_that_somebody_changes_are_set_back_without_a_restart() {
    for with_carried in [false, true] {
        let mut world = complete();
        if with_carried {
            set(&mut world, BYTES, "2000");
            all_acts(&mut world);
        }
        let files = world.observed.children.config_maps.get_mut("users-kafka").expect("there are files");
        files.data.get_or_insert_default().insert(SERVER_PROPERTIES.to_owned(), "num.partitions=9\n".to_owned());
        let plan = world.plan();
        assert_eq!((acts(&plan), plan.apply.config_maps.len()), (Vec::new(), 1), "{with_carried}");
        assert_eq!(all_acts(&mut world), [""; 0], "{with_carried}");
    }
}

#[test]
fn what_restarts_nothing_needs_no_approval_and_what_waits_for_it_sets_nothing() {
    let mut world = complete();
    world.resource.spec.update_policy = UpdatePolicy::Manual;
    set(&mut world, BYTES, "2000");
    assert_eq!(all_acts(&mut world).len(), 1);
    set(&mut world, STATIC, "4");
    set(&mut world, BYTES, "3000");
    let plan = world.plan();
    assert!(plan.is_empty() && plan.kept.len() == 1, "{:?}", plan.acts);
    assert_eq!(in_force(&world, BYTES), ["2000"; 3]);
    world.annotate(APPROVE_PLAN, &plan.approval.hash);
    let mut expected = vec!["set message.max.bytes=3000 on all brokers, without a restart".to_owned()];
    expected.extend(roll());
    assert_eq!(all_acts(&mut world), expected);
    assert_eq!(in_force(&world, BYTES), ["3000"; 3]);
}

#[test]
fn a_changed_setting_is_ready_when_every_broker_has_it() {
    let mut world = complete();
    assert_eq!(said(&mut world, "Ready").0, "True");
    world.resource.metadata.generation = world.resource.metadata.generation.map_or(Some(1), |was| Some(was + 1));
    set(&mut world, BYTES, "2000");
    world.deaf.insert(2);
    world.step();
    assert_eq!(said(&mut world, "Ready"), ("False".to_owned(), "ApplyingChanges".to_owned()));
    world.deaf.clear();
    converge(&mut world);
    assert_eq!(said(&mut world, "Ready").0, "True");
}
