//! A topic is read again: processors stop, offsets are set back while nobody reads, and processors start with a later base.

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use millrace_api::crd::UpdatePolicy;
use millrace_api::crd::status::{ReplayPhase, ReplayStatus};
use millrace_operator::act::Act;
use millrace_operator::labels::{APPROVE_PLAN, COMPONENT_LABEL, HOLD_DISRUPTIONS, PAUSED, REPLAY};
use millrace_stores::kafka::{Change, Span};
use rstest::rstest;

use crate::held::{condition, ready, status};
use crate::world::World;
use crate::{ENOUGH, brokers, converge};

const TOPIC: &str = "users_created";
const PROCESSOR: &str = "users-processor";
const EARLIEST: &str = "a1 users_created earliest";
/// Records that each of the three partitions holds, all of them read.
const RECORDS: i64 = 100;

/// Returns a complete pipeline that has read all its records.
fn caught_up() -> World {
    let mut world = World::of("one");
    world.observed.now = "2026-01-10T12:00:00Z".parse::<DateTime<Utc>>().expect("a moment");
    converge(&mut world);
    world.read(TOPIC, 3 * RECORDS, 3 * RECORDS);
    let span = Span { start: 0, end: RECORDS, committed: Some(RECORDS), at: Some(40) };
    world.spans = (0..3).map(|index| (index, span)).collect();
    world.plan();
    world
}

/// Returns a pipeline whose status has a replay in a phase.
fn in_phase(phase: ReplayPhase) -> World {
    let mut world = caught_up();
    world.annotate(REPLAY, EARLIEST);
    for _ in 0..ENOUGH {
        world.step();
        if replay(&world).phase == phase {
            return world;
        }
    }
    panic!("it never is {phase:?}: {:?}", replay(&world));
}

fn replay(world: &World) -> ReplayStatus {
    status(world).replay.expect("a replay was asked for")
}

/// Returns the base of the topic's write timestamps that the status has.
fn base(world: &World) -> i64 {
    let topics = status(world).kafka.expect("the brokers answer").topics;
    topics.iter().find(|topic| topic.name == TOPIC).expect("the topic is there").write_timestamp_base
}

/// Returns how many processors Kubernetes is told to run.
fn told(world: &World) -> i32 {
    let spec = world.observed.children.deployments[PROCESSOR].spec.as_ref();
    spec.and_then(|spec| spec.replicas).expect("it is set")
}

/// Returns the offset that processors read next in each partition.
fn offsets(world: &World) -> Vec<i64> {
    world.spans.values().map(|span| span.committed.expect("they have read it")).collect()
}

/// Returns whether the processors' settings have a base.
fn have_base(world: &World, base: i64) -> bool {
    let files = world.observed.children.config_maps.values().filter_map(|files| files.data.as_ref());
    files.flat_map(|data| data.values()).any(|file| file.contains(&base.to_string()))
}

fn sets_offsets(act: &Act) -> bool {
    matches!(act, Act::Kafka(Change::Rewind { .. }))
}

#[test]
fn each_step_is_recorded_before_it_is_carried_out() {
    let mut world = caught_up();
    let before = base(&world);
    assert!(have_base(&world, before));
    world.annotate(REPLAY, EARLIEST);

    let plan = world.step();
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Stopping, 1), "the record comes first");
    assert!(plan.is_empty() && plan.is_under_way());
    let says = "replay 'a1 users_created earliest': the processors stop, and then topic 'users_created' is read again \
                from earliest";
    assert_eq!(status(&world).planned_actions, [says]);

    world.step();
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Stopping, 0));
    assert_eq!(ready(&world).0, "False Replaying");

    let plan = world.step();
    let now = replay(&world);
    assert_eq!((now.phase, now.from, now.to), (ReplayPhase::Rewinding, Some(0), Some(3 * RECORDS)));
    assert!(!plan.acts.iter().any(sets_offsets));
    assert_eq!(offsets(&world), [RECORDS; 3]);

    let plan = world.step();
    assert!(plan.acts.iter().any(sets_offsets), "{:?}", plan.acts);
    assert_eq!((offsets(&world), told(&world), base(&world)), (vec![0; 3], 0, before));

    world.step();
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Rewound, 0), "the base comes first");
    assert!(base(&world) > before + 3 * RECORDS, "above every timestamp that was written");

    world.step();
    assert_eq!(told(&world), 1);
    assert!(have_base(&world, base(&world)) && !have_base(&world, before));
    converge(&mut world);
    world.plan();
    assert_eq!(ready(&world).0, "True AllComponentsReady");
    let says = "300 records of topic 'users_created' are read again from earliest";
    assert!(replay(&world).message.starts_with(says), "{:?}", replay(&world));
}

#[test]
fn a_nonce_counts_once() {
    let mut world = in_phase(ReplayPhase::Rewound);
    converge(&mut world);
    // They have caught up again.
    world.spans.values_mut().for_each(|span| span.committed = Some(RECORDS));
    let before = (replay(&world), base(&world));
    for request in [EARLIEST, "a1 users_created 50", "a1"] {
        world.annotate(REPLAY, request);
        for _ in 0..ENOUGH {
            assert!(world.step().is_empty(), "{request}");
        }
        assert_eq!((replay(&world), base(&world), told(&world)), (before.0.clone(), before.1, 1), "{request}");
    }
    // The control: another one begins.
    world.annotate(REPLAY, "a2 users_created 50");
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, offsets(&world)), (ReplayPhase::Rewound, vec![50; 3]));
    assert!(base(&world) > before.1);
}

/// Every other operator dies after it has changed objects and offsets, and before it can report; then the same with the others.
#[rstest]
#[case::the_even_ones(0)]
#[case::the_odd_ones(1)]
fn operators_that_die_before_they_report_come_to_the_same_end(#[case] dies: usize) {
    let mut world = caught_up();
    let first = base(&world);
    world.annotate(REPLAY, EARLIEST);
    for number in 0..2 * ENOUGH {
        let before = world.resource.status.clone();
        world.step();
        if number % 2 == dies {
            world.resource.status = before;
        }
        let is_set_back = offsets(&world) != [RECORDS; 3];
        let phase = status(&world).replay.map(|replay| replay.phase);
        assert!(is_set_back || phase != Some(ReplayPhase::Rewound), "pass {number} reports what is not so");
        let reads = told(&world) == 1;
        assert!(!reads || !is_set_back || base(&world) > first, "pass {number} reads with the old base");
        assert!(!reads || !is_set_back || have_base(&world, base(&world)), "pass {number} has another base");
    }
    let end = (replay(&world).phase, offsets(&world), told(&world));
    assert_eq!(end, (ReplayPhase::Rewound, vec![0; 3], 1));
    assert!(base(&world) <= first + 3 * RECORDS + 1, "it was raised once");
}

/// What may still commit keeps offsets as they are. The control is the same world, seen without it.
#[test]
fn offsets_stay_while_anybody_may_commit() {
    type Hide = fn(&mut World);
    let may: [(&str, Hide); 5] = [
        ("pod 'users-processor-x' still exists", |world| {
            let mut pod = world.observed.children.pods["users-producer-0"].clone();
            pod.metadata.name = Some("users-processor-x".to_owned());
            pod.labels_mut().insert(COMPONENT_LABEL.to_owned(), "processor".to_owned());
            world.observed.children.pods.insert(pod.name_any(), pod);
        }),
        ("the processors are being stopped", |world| {
            let deployment = world.observed.children.deployments.get_mut(PROCESSOR).expect("it is there");
            deployment.status.as_mut().expect("it has a status").replicas = Some(1);
        }),
        ("still has 2 members", |world| brokers(world).group.as_mut().expect("it is known").members = 2),
        ("has members is unknown", |world| brokers(world).group = None),
        ("has members is unknown", |world| {
            world.observed.stores.kafka = Err("no broker answers".to_owned());
        }),
    ];
    for phase in [ReplayPhase::Stopping, ReplayPhase::Rewinding] {
        for (says, hide) in may {
            let mut world = in_phase(phase);
            if phase == ReplayPhase::Stopping {
                world.step();
            }
            let seen = world.observed.clone();
            for _ in 0..ENOUGH {
                hide(&mut world);
                let plan = world.plan();
                assert!(!plan.acts.iter().any(sets_offsets), "{says}");
                assert_eq!((replay(&world).phase, told(&world)), (phase, 0), "{says}");
            }
            assert!(replay(&world).message.contains(says), "{says}: {}", replay(&world).message);
            world.observed = seen;
            for _ in 0..ENOUGH {
                world.step();
            }
            assert_eq!((replay(&world).phase, offsets(&world)), (ReplayPhase::Rewound, vec![0; 3]), "the control");
        }
    }
}

#[test]
fn people_hold_its_begin_and_not_its_end() {
    let mut world = caught_up();
    world.annotate(HOLD_DISRUPTIONS, "true");
    world.annotate(REPLAY, EARLIEST);
    for _ in 0..ENOUGH {
        assert!(world.step().is_empty());
    }
    assert_eq!((status(&world).replay, told(&world)), (None, 1));
    assert_eq!(ready(&world).0, "True DisruptionsHeld");
    let waits =
        "read topic 'users_created' again from earliest; waits for the annotation millrace.dev/hold-disruptions";
    assert!(status(&world).planned_actions[0].contains(waits), "{:?}", status(&world).planned_actions);
    assert!(condition(&world, "UpdatesHeld").is_some());

    world.resource.annotations_mut().remove(HOLD_DISRUPTIONS);
    world.step();
    assert_eq!(replay(&world).phase, ReplayPhase::Stopping, "the control: nobody holds it");
    world.annotate(HOLD_DISRUPTIONS, "true");
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Rewound, 1), "its processors were stopped already");
}

#[test]
fn where_all_is_to_be_approved_it_is_in_the_plan() {
    let mut world = caught_up();
    world.resource.spec.update_policy = UpdatePolicy::Manual;
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(status(&world).plan, None, "the control: nothing is asked for");
    world.annotate(REPLAY, EARLIEST);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(status(&world).replay, None);
    let plan = status(&world).plan.expect("it waits for approval");
    assert_eq!(plan.actions, ["read topic 'users_created' again from earliest"]);
    world.annotate(APPROVE_PLAN, &plan.hash);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, status(&world).plan), (ReplayPhase::Rewound, None));
}

#[test]
fn nothing_begins_while_the_operator_is_paused() {
    let mut world = caught_up();
    world.annotate(PAUSED, "true");
    world.annotate(REPLAY, EARLIEST);
    world.plan();
    assert_eq!(status(&world).replay, None);
    world.resource.annotations_mut().remove(PAUSED);
    world.plan();
    assert_eq!(replay(&world).phase, ReplayPhase::Stopping, "the control");
}

/// Processors that could not start again, or have to drain first, are not stopped.
#[test]
fn it_waits_for_the_stores_and_for_the_end_of_a_suspension() {
    let mut world = caught_up();
    world.annotate(REPLAY, EARLIEST);
    let nodes = std::mem::take(&mut world.observed.stores.cassandra.nodes);
    world.plan();
    assert_eq!(status(&world).replay, None);
    let planned = status(&world).planned_actions;
    assert!(planned.iter().any(|planned| planned.contains("waits for CassandraReady: ")), "{planned:?}");
    world.observed.stores.cassandra.nodes = nodes;

    world.resource.spec.suspend = true;
    world.plan();
    assert_eq!(status(&world).replay, None);
    let planned = status(&world).planned_actions;
    assert!(planned.iter().any(|planned| planned.contains("waits for the end of the suspension")), "{planned:?}");
    world.resource.spec.suspend = false;
    world.plan();
    assert_eq!(replay(&world).phase, ReplayPhase::Stopping, "the control");
}

#[rstest]
#[case("a1 others earliest", "no query that can run reads topic 'others'")]
#[case("a1 users_created 101", "offset 101 is out of range: no partition has more than 100")]
#[case("a1 users_created 100", "there is nothing to read again")]
#[case("a1 users_created 10", "records 10 to 19 of partition 1 have been deleted")]
#[case("a1 users_created 10", "to read again the 280 records that are left, use earliest")]
#[case("a1 users_created", "annotation millrace.dev/replay: 'a1 users_created' must be three words: NONCE TOPIC FROM")]
#[case("a1 users_created noon", "'noon' is not a valid start")]
fn what_cannot_be_read_again_is_refused_and_stops_nothing(#[case] request: &str, #[case] says: &str) {
    let mut world = caught_up();
    world.spans.get_mut(&1).expect("it is there").start = 20;
    world.annotate(REPLAY, request);
    for _ in 0..ENOUGH {
        assert!(world.step().is_empty());
        assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Refused, 1));
    }
    assert!(replay(&world).message.contains(says), "{}", replay(&world).message);
    assert_eq!(ready(&world).0, "True AllComponentsReady");
    // The control: another nonce, from where there is something.
    world.annotate(REPLAY, "a2 users_created 2026-01-10T11:00:00Z");
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, offsets(&world)), (ReplayPhase::Rewound, vec![40; 3]));
}

/// Retention has deleted records after the processors were stopped.
#[test]
fn what_is_deleted_meanwhile_is_refused_and_processors_start_again() {
    let mut world = caught_up();
    world.annotate(REPLAY, "a1 users_created 10");
    world.step();
    world.step();
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Stopping, 0));
    let before = base(&world);
    world.spans.get_mut(&1).expect("it is there").start = 20;
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Refused, 1));
    assert_eq!((offsets(&world), base(&world)), (vec![RECORDS; 3], before));
}

#[test]
fn a_request_can_be_taken_back_until_offsets_are_set() {
    let mut world = in_phase(ReplayPhase::Stopping);
    world.resource.annotations_mut().remove(REPLAY);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, told(&world)), (ReplayPhase::Cancelled, 1));
    assert_eq!(offsets(&world), [RECORDS; 3]);
    // From then on, some offsets may be set and others not: it goes to its end.
    let mut world = in_phase(ReplayPhase::Rewinding);
    world.resource.annotations_mut().remove(REPLAY);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((replay(&world).phase, told(&world), offsets(&world)), (ReplayPhase::Rewound, 1, vec![0; 3]));
}
