//! A suspended pipeline: sources close, what they wrote is drained, that is recorded, and only then the processors stop.

use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_operator::act::Act;
use millrace_operator::link::Link;
use millrace_operator::plan::Hold;
use millrace_stores::kafka::Change;
use serde_json::json;

use crate::held::{condition, ready, status};
use crate::world::World;
use crate::{ENOUGH, brokers, converge};

const TOPIC: &str = "users_created";
const PRODUCER: &str = "users-producer";
const PROCESSOR: &str = "users-processor";

/// Returns a complete pipeline whose processors have 41,234 records to write.
fn loaded() -> World {
    let mut world = World::of("one");
    converge(&mut world);
    world.read(TOPIC, 50_000, 8_766);
    world
}

/// Changes `spec.suspend`, as a user does.
fn suspend(world: &mut World, suspend: bool) {
    world.resource.spec.suspend = suspend;
    world.resource.metadata.generation = world.resource.metadata.generation.map(|generation| generation + 1);
}

/// Returns how many producers and processors Kubernetes is told to run.
fn told(world: &World) -> (i32, i32) {
    let children = &world.observed.children;
    let producers = children.stateful_sets[PRODUCER].spec.as_ref().and_then(|spec| spec.replicas);
    let processors = children.deployments[PROCESSOR].spec.as_ref().and_then(|spec| spec.replicas);
    (producers.expect("it is set"), processors.expect("it is set"))
}

/// Returns status and reason of the condition, and its message.
fn suspended(world: &World) -> (String, String) {
    let found = condition(world, "Suspended").expect("it is there while the pipeline is suspended");
    (format!("{} {}", found.status, found.reason), found.message)
}

fn pair(said: &str, message: &str) -> (String, String) {
    (said.to_owned(), message.to_owned())
}

/// Returns a pipeline that is suspended and drained.
fn drained() -> World {
    let mut world = loaded();
    suspend(&mut world, true);
    world.read(TOPIC, 50_000, 50_000);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(suspended(&world).0, "True Drained");
    world
}

#[test]
fn processors_drain_what_closed_sources_wrote_and_stop_when_that_is_recorded() {
    let mut world = loaded();
    suspend(&mut world, true);
    world.step();
    assert_eq!(suspended(&world).0, "False ClosingSources");
    assert_eq!(told(&world), (0, 1));
    for _ in 0..ENOUGH {
        world.step();
    }
    let left = "41000 records in 1 partition of 'users_created' (0: 41000) are left";
    assert_eq!(suspended(&world), pair("False Draining", left));
    assert_eq!(ready(&world), pair("False Suspending", left));
    let said = status(&world);
    assert_eq!((said.phase.as_deref(), said.lag, &said.drained), (Some("Suspending"), Some(41_000), &None));
    assert_eq!(told(&world), (0, 1));

    world.read(TOPIC, 50_000, 50_000);
    world.step();
    let proof = status(&world).drained.expect("all is committed");
    assert_eq!(proof.offsets, [(TOPIC.to_owned(), 50_000)].into());
    assert_eq!(told(&world), (0, 1), "the record comes first");
    assert_eq!(suspended(&world).0, "False StoppingProcessors");
    world.step();
    assert_eq!(told(&world), (0, 0));
    assert!(world.step().is_empty(), "nothing is left to do");
    assert_eq!(suspended(&world).0, "True Drained");
    assert_eq!(ready(&world).0, "False Suspended");
    for kind in ["Reconciling", "Stalled"] {
        assert_eq!(condition(&world, kind).map(|found| found.status).as_deref(), Some("False"), "{kind}");
    }
    let said = status(&world);
    assert_eq!(said.phase.as_deref(), Some("Suspended"));
    assert_eq!(said.producer.map(|producer| producer.ready).as_deref(), Some("0/0"));
    assert_eq!(said.processor.map(|processor| processor.ready).as_deref(), Some("0/0"));
    assert_eq!(said.kafka.map(|kafka| kafka.ready).as_deref(), Some("1/1"), "the stores stay up");
    assert_eq!(said.drained, Some(proof));
}

#[test]
fn nothing_is_written_for_a_suspended_pipeline() {
    let mut world = drained();
    let before = status(&world);
    world.age(60);
    for _ in 0..ENOUGH {
        assert!(world.step().is_empty());
    }
    assert_eq!(status(&world), before);
}

#[test]
fn a_resumed_pipeline_loses_its_proof_first_and_its_producers_come_last() {
    let mut world = drained();
    suspend(&mut world, false);
    world.step();
    assert_eq!((told(&world), status(&world).drained), ((0, 0), None));
    assert_eq!(condition(&world, "Suspended"), None);
    assert_eq!(status(&world).phase.as_deref(), Some("Resuming"));
    let plan = world.step();
    assert_eq!(told(&world), (0, 1));
    assert_eq!(plan.holds, [Hold { component: Component::Producer, link: Link::Processor }]);
    let said = condition(&world, "ProducerReady").expect("it is always there");
    assert_eq!(said.reason, "WaitingForProcessors");
    world.step();
    assert_eq!(told(&world), (1, 1));
    converge(&mut world);
    world.plan();
    assert_eq!(ready(&world).0, "True AllComponentsReady");
    assert_eq!(status(&world).phase.as_deref(), Some("Running"));
}

/// Every other operator dies after it has changed the objects and before it can report.
#[test]
fn operators_that_die_before_they_report_come_to_the_same_end() {
    let mut world = loaded();
    suspend(&mut world, true);
    let dying_pass = |world: &mut World, dies: bool| {
        let before = world.resource.status.clone();
        world.step();
        if dies {
            world.resource.status = before;
        }
        status(world).drained.is_some()
    };
    for number in 0..2 * ENOUGH {
        let is_recorded = dying_pass(&mut world, number % 2 == 0);
        assert!(is_recorded || told(&world).1 == 1, "processors stop in pass {number} without a record");
        assert!(!is_recorded || number > ENOUGH, "recorded in pass {number}");
        if number == ENOUGH {
            world.read(TOPIC, 50_000, 50_000);
        }
    }
    assert_eq!(told(&world), (0, 0));
    suspend(&mut world, false);
    for number in 0..2 * ENOUGH {
        let is_recorded = dying_pass(&mut world, number % 2 == 0);
        assert!(!is_recorded || told(&world) == (0, 0), "workers start in pass {number} while a drain is recorded");
        assert!(told(&world) != (1, 0), "producers start before processors in pass {number}");
    }
    assert_eq!(told(&world), (1, 1));
}

#[test]
fn a_drain_that_is_stuck_says_what_is_left_and_why() {
    let mut world = loaded();
    suspend(&mut world, true);
    world.step();
    let deployment = world.observed.children.deployments.get_mut(PROCESSOR).expect("it is there");
    deployment.status.as_mut().expect("it has a status").ready_replicas = Some(0);
    brokers(&mut world).group.as_mut().expect("it is known").members = 0;
    world.plan();
    let (said, message) = suspended(&world);
    assert_eq!(said, "False Draining");
    let left = "41000 records in 1 partition of 'users_created' (0: 41000) are left; ProcessorReady: 0 of 1 processors are \
                ready, 0 have joined the group";
    assert!(message.starts_with(left), "{message}");
    world.observed.stores.cassandra.nodes.clear();
    world.plan();
    assert!(ready(&world).1.contains("are left; CassandraReady: "), "{:?}", ready(&world));
    world.resource.spec.processor.replicas = 0;
    world.plan();
    assert!(
        ready(&world).1.ends_with("no processors are desired: raise spec.processor.replicas"),
        "{:?}",
        ready(&world)
    );
    assert_eq!(status(&world).drained, None);
}

/// What cannot be seen is not nothing. The control is the same world, seen.
#[test]
fn unknown_lag_ends_no_drain() {
    type Hide = fn(&mut World);
    let unknown: [(&str, Hide); 4] = [
        ("do not report how far", |world| brokers(world).positions = None),
        ("every partition of topic 'users_created'", |world| {
            brokers(world).positions.as_mut().expect("they are known").clear();
        }),
        ("every partition of topic 'users_created'", |world| {
            brokers(world).topics.get_mut(TOPIC).expect("it is there").partitions.truncate(2);
        }),
        ("cannot be queried: no broker answers", |world| {
            world.observed.stores.kafka = Err("no broker answers".to_owned());
        }),
    ];
    for (says, hide) in unknown {
        let mut world = loaded();
        world.read(TOPIC, 50_000, 50_000);
        suspend(&mut world, true);
        world.step();
        for _ in 0..ENOUGH {
            hide(&mut world);
            world.plan();
            assert_eq!(status(&world).drained, None, "{says}");
        }
        let (said, message) = suspended(&world);
        assert_eq!(said, "False Draining");
        assert!(message.starts_with("the number of records left is unknown: ") && message.contains(says), "{message}");
        world.settle();
        world.plan();
        assert!(status(&world).drained.is_some(), "the control: what is known is counted");
    }
}

#[test]
fn the_topic_of_a_query_that_cannot_run_is_not_drained() {
    let mut world = loaded();
    world.read(TOPIC, 50_000, 50_000);
    suspend(&mut world, true);
    let query = &mut world.resource.spec.processor.queries[0];
    query.sql = Some(format!("SELECT nothing FROM {}", query.from));
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(status(&world).drained, None);
    assert!(suspended(&world).1.contains("query 'users' cannot run"), "{:?}", suspended(&world));
    world.resource.spec.processor.queries[0].sql = None;
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(suspended(&world).0, "True Drained");
}

#[test]
fn a_drain_waits_for_the_last_producer_and_the_last_run() {
    let mut world = loaded();
    world.read(TOPIC, 50_000, 50_000);
    let mut pod = world.observed.children.pods["users-producer-0"].clone();
    suspend(&mut world, true);
    world.step();
    // It has yet to send what it has in memory.
    world.observed.children.pods.insert(pod.name_any(), pod.clone());
    world.plan();
    let still_there = "the producers are being stopped, pod 'users-producer-0' still exists";
    assert_eq!(suspended(&world), pair("False ClosingSources", still_there));
    // The control: one that has ended writes no more.
    pod.status.get_or_insert_default().phase = Some("Failed".to_owned());
    world.observed.children.pods.insert(pod.name_any(), pod);
    world.plan();
    assert_eq!(suspended(&world).0, "False Draining");

    // A run's pass had begun before the pipeline was suspended.
    world.observed.children.runs = ["nightly".to_owned()].into();
    for _ in 0..ENOUGH {
        world.step();
    }
    let waits = "waiting for runs to end: nightly; to cancel a run, set its spec.cancel";
    assert_eq!(suspended(&world), pair("False ClosingSources", waits));
    world.observed.children.runs.clear();
    world.step();
    assert_eq!((suspended(&world).0.as_str(), status(&world).drained), ("False Draining", None), "it is checked twice");
    world.step();
    assert!(status(&world).drained.is_some());
}

/// Their pods cannot be stopped without their StatefulSet.
#[test]
fn producers_whose_template_is_invalid_are_said_to_stay() {
    let mut world = loaded();
    world.resource.spec.producer.pod_template = Some(json!({"nodeSelektor": {}}));
    suspend(&mut world, true);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(told(&world).0, 1);
    let (said, message) = suspended(&world);
    assert_eq!(said, "False ClosingSources");
    assert!(
        message.contains("they stay unchanged until the spec is corrected: spec.producer.podTemplate"),
        "{message}"
    );
}

#[test]
fn records_that_come_after_the_drain_wait_and_start_no_processor() {
    let mut world = drained();
    let proof = status(&world).drained;
    world.read(TOPIC, 50_003, 50_000);
    for _ in 0..ENOUGH {
        world.step();
    }
    let waits = "drained; 3 records in 1 partition of 'users_created' (0: 3) now wait until spec.suspend is false";
    assert_eq!(suspended(&world), pair("True RecordsWaiting", waits));
    assert_eq!((status(&world).lag, told(&world)), (Some(3), (0, 0)));
    assert_eq!(status(&world).drained, proof, "what was proved then is as it was");
}

/// Kafka deletes the offsets of a group that has had no member for `offsets.retention.minutes`.
#[test]
fn offsets_that_kafka_has_forgotten_are_told_from_new_records() {
    let mut world = drained();
    world.read(TOPIC, 50_000, 0);
    world.step();
    let (said, message) = suspended(&world);
    assert_eq!(said, "True RecordsWaiting");
    assert!(
        message.contains("Kafka has deleted the committed offsets") && message.contains("50000 records"),
        "{message}"
    );
    assert_eq!(told(&world), (0, 0));
}

#[test]
fn stores_follow_the_spec_while_the_pipeline_is_suspended() {
    let mut world = drained();
    world.resource.spec.kafka.topics[0].partitions = 5;
    let columns = &mut world.resource.spec.cassandra.tables[0].columns;
    let column = millrace_api::crd::Column { name: "nickname".to_owned(), ..columns[1].clone() };
    columns.push(column);
    world.resource.metadata.generation = Some(7);
    let acts: Vec<Act> = (0..ENOUGH).flat_map(|_| world.step().acts).collect();
    let adds_partitions =
        |act: &Act| matches!(act, Act::Kafka(Change::AddPartitions { topic, partitions: 5 }) if topic == TOPIC);
    assert!(acts.iter().any(adds_partitions), "{acts:?}");
    assert!(acts.iter().any(|act| matches!(act, Act::Cassandra(_))), "{acts:?}");
    assert_eq!((told(&world), suspended(&world).0.as_str()), ((0, 0), "True Drained"));
    assert!(status(&world).drained.is_some());
}

#[test]
fn a_store_that_fails_meanwhile_comes_first_in_ready() {
    let mut world = drained();
    world.observed.stores.kafka = Err("no broker answers".to_owned());
    world.plan();
    assert_eq!(ready(&world).0, "False WaitingForBrokers");
    assert!(ready(&world).1.ends_with("the stores stay up"), "{:?}", ready(&world));
    assert_eq!((status(&world).phase.as_deref(), suspended(&world).0.as_str()), (Some("Suspended"), "True Drained"));
}

/// A pipeline that is created suspended has stores and no worker.
#[test]
fn a_pipeline_that_is_created_suspended_is_drained_at_once() {
    let mut world = World::of("three");
    suspend(&mut world, true);
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((told(&world), suspended(&world).0.as_str()), ((0, 0), "True Drained"));
    suspend(&mut world, false);
    converge(&mut world);
}
