//! Records that retention is about to delete unread are reported before it does, and only then.

use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use millrace_stores::kafka::{Position, Retention};

use crate::converge;
use crate::held::{condition, ready};
use crate::world::World;

const TOPIC: &str = "users_created";
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Returns a pipeline whose processors have some records to read.
fn behind() -> World {
    let mut world = World::of("one");
    converge(&mut world);
    place(&mut world, 0, Some(0));
    world
}

/// Has the group stand at an offset of 100,000 records, of which so many are about to be deleted.
fn place(world: &mut World, committed: i64, due: Option<i64>) {
    world.read(TOPIC, 100_000, committed);
    let position = world.read.get_mut(TOPIC).expect("it was just read");
    *position = Position {
        reached: [(0, committed)].into(),
        ends: [(0, 100_000)].into(),
        retention: Retention { time: Some(WEEK), ..Retention::default() },
        due: due.map(|due| [(0, due)].into_iter().filter(|(_, due)| *due > 0).collect()),
        at: Some(SystemTime::from(world.observed.now)),
        ..position.clone()
    };
    world.settle();
}

fn at_risk(world: &mut World) -> Option<Condition> {
    world.plan();
    condition(world, "RetentionAtRisk")
}

#[test]
fn a_pipeline_without_processors_is_at_risk_once_records_are_due() {
    let mut world = behind();
    world.resource.spec.processor.replicas = 0;
    converge(&mut world);
    assert_eq!(at_risk(&mut world), None);
    place(&mut world, 0, Some(40_000));
    let found = at_risk(&mut world).expect("records are due");
    assert_eq!((found.status.as_str(), found.reason.as_str()), ("True", "RetentionAtRisk"));
    assert!(found.message.starts_with("topic 'users_created' deletes records after 168h"), "{}", found.message);
    assert_eq!(ready(&world).0.split(' ').next(), Some("True"), "data flows");
    // A few more are no news.
    let before = world.resource.status.clone();
    place(&mut world, 0, Some(40_400));
    world.plan();
    assert_eq!(world.resource.status, before);
    // What is unknown for a moment stays.
    world.observed.stores.kafka = Err("no broker answers".to_owned());
    assert!(at_risk(&mut world).is_some());
    // The records are read.
    place(&mut world, 100_000, Some(0));
    assert_eq!(at_risk(&mut world), None);
}

/// The pace is that of the last minutes: one partition of the topic is read by nobody.
#[test]
fn processors_that_run_and_read_nothing_are_noticed() {
    let mut world = behind();
    place(&mut world, 0, Some(40_000));
    assert_eq!(at_risk(&mut world), None, "the pace is unknown");
    world.observed.now += TimeDelta::minutes(2);
    place(&mut world, 0, Some(40_000));
    assert!(at_risk(&mut world).is_some());
    // The control: at some 8 records a second, 1.2 million are read within 42 hours.
    world.observed.now += TimeDelta::minutes(2);
    place(&mut world, 2_000, Some(40_000));
    assert_eq!(at_risk(&mut world), None);
}

/// Negative control: what nobody reads may be deleted.
#[test]
fn a_topic_that_no_query_reads_is_at_no_risk() {
    let mut world = behind();
    world.resource.spec.processor.replicas = 0;
    converge(&mut world);
    place(&mut world, 0, Some(40_000));
    let due = world.read[TOPIC].clone();
    place(&mut world, 0, Some(0));
    insert(&mut world, "another", due.clone());
    assert_eq!(at_risk(&mut world), None);
    insert(&mut world, TOPIC, due);
    assert!(at_risk(&mut world).is_some(), "the control");
}

/// Has Kafka report where the group stands in a topic, whether or not a query reads it.
fn insert(world: &mut World, topic: &str, position: Position) {
    let kafka = world.observed.stores.kafka.as_mut().expect("it answers");
    kafka.positions.get_or_insert_default().insert(topic.to_owned(), position);
}
