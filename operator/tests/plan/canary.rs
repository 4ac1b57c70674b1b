//! A pipeline with a canary: it has a topic, a table and a condition of its own, and is nowhere among the data of users.

use millrace_api::crd::Canary;
use millrace_terms::{CanaryRead, CanaryReport, CanaryWait, Station};

use crate::held::{condition, status};
use crate::world::World;
use crate::{brokers, converge};

const TOPIC: &str = "users-canary";
const TABLE: &str = "millrace_canary";

/// Returns a complete pipeline that got a canary later.
fn with_canary() -> World {
    let mut world = World::of("one");
    converge(&mut world);
    world.resource.spec.processor.canary = Some(Canary { interval: "10s".to_owned() });
    converge(&mut world);
    world
}

fn settings(world: &World) -> &str {
    let files = &world.observed.children.config_maps["users-processor"];
    files.data.as_ref().expect("it has files")["process.yaml"].as_str()
}

fn read(latency: u64) -> CanaryReport {
    CanaryReport { waits: None, read: Some(CanaryRead { ago: 1_000, latency }) }
}

fn report(world: &mut World, report: CanaryReport) {
    world.observed.stores.canaries = [("users-processor-0".to_owned(), report)].into();
    world.plan();
}

/// The control is the data of users, which the status does list.
#[test]
fn a_canary_has_a_topic_and_a_table_that_the_status_does_not_list() {
    let mut world = with_canary();
    assert_eq!(brokers(&mut world).topics[TOPIC].partitions.len(), 3);
    let schema = world.observed.stores.cassandra.schema.clone().expect("the nodes answer");
    assert!(schema.tables.contains_key(TABLE));
    let status = status(&world);
    let topics: Vec<String> = status.kafka.expect("it is known").topics.into_iter().map(|topic| topic.name).collect();
    assert!(topics.contains(&"users_created".to_owned()) && !topics.contains(&TOPIC.to_owned()), "{topics:?}");
    let tables = status.cassandra.expect("it is known").tables;
    assert!(!tables.is_empty() && tables.iter().all(|table| table.name != TABLE), "{tables:?}");
}

#[test]
fn processors_are_told_of_a_canary_and_only_then_the_condition_is_there() {
    let mut without = World::of("one");
    converge(&mut without);
    assert!(!settings(&without).contains(TOPIC));
    assert_eq!(condition(&without, "DataFlowing"), None);
    let world = with_canary();
    assert!(settings(&world).contains("canary:\n  topic: users-canary\n  interval: 10s\n"), "{}", settings(&world));
    let found = condition(&world, "DataFlowing").expect("it has a canary");
    assert_eq!((found.status.as_str(), found.reason.as_str()), ("Unknown", "WaitingForProcessors"));
}

/// The status of an idle pipeline stays the same, whatever the milliseconds. The control is a stop.
#[test]
fn what_is_read_back_is_reported_once() {
    let mut world = with_canary();
    report(&mut world, read(20));
    let first = status(&world);
    let found = condition(&world, "DataFlowing").expect("it has a canary");
    assert_eq!((found.status.as_str(), found.reason.as_str()), ("True", "RecordsReadable"));
    let latency = first.processor.as_ref().and_then(|processor| processor.canary_latency.as_deref());
    assert_eq!(latency, Some("20ms"));
    report(&mut world, read(33));
    assert_eq!(status(&world), first);
    let waits = Some(CanaryWait { station: Station::Written, since: 60_000 });
    report(&mut world, CanaryReport { waits, ..read(33) });
    let found = condition(&world, "DataFlowing").expect("it has a canary");
    assert_eq!((found.status.as_str(), found.reason.as_str()), ("False", "NotWritten"));
    assert_eq!(status(&world).processor.and_then(|processor| processor.canary_latency), None);
}
