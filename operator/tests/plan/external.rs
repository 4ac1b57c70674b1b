//! Stores that someone else runs: the pipeline waits for what is missing or adds it, as the resource says, and changes nothing
//! else there.

use millrace_api::crd::Changes;
use millrace_operator::act::Act;
use millrace_operator::link::{Link, Reason};
use millrace_operator::plan::Plan;
use millrace_stores::{cassandra, kafka};
use serde_json::json;

use crate::held::{condition, ready, status};
use crate::world::{World, workloads};
use crate::{converge, link};

const TOPIC: &str = "users_created";

/// Returns a pipeline on stores that someone else runs, and that may add what is missing.
fn adding() -> World {
    let mut world = World::of("external");
    let spec = &mut world.resource.spec;
    spec.kafka.external.as_mut().expect("it is external").changes = Changes::Additions;
    spec.cassandra.external.as_mut().expect("it is external").changes = Changes::Additions;
    world.settle();
    world
}

/// Returns a complete pipeline that may add nothing any more.
fn complete() -> World {
    let mut world = adding();
    converge(&mut world);
    let spec = &mut world.resource.spec;
    spec.kafka.external.as_mut().expect("it is external").changes = Changes::None;
    spec.cassandra.external.as_mut().expect("it is external").changes = Changes::None;
    world
}

fn described(plan: &Plan) -> Vec<String> {
    plan.acts.iter().map(Act::describe).collect()
}

#[test]
fn what_is_missing_is_waited_for_and_named_with_the_command() {
    let mut world = World::of("external");
    world.settle();
    for _ in 0..3 {
        let plan = world.step();
        assert_eq!(described(&plan), [""; 0]);
    }
    assert_eq!(link(&mut world, Link::Kafka), (true, Reason::StoreReachable));
    assert_eq!(link(&mut world, Link::Topics), (false, Reason::TopicsMissing));
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaMissing));
    let topics = condition(&world, "TopicsReady").expect("it is judged").message;
    let command =
        "kafka-topics.sh --bootstrap-server kafka-0.example.com:9092 --create --topic users_created --partitions 3";
    assert!(topics.contains(command), "{topics}");
    // There is no ensemble, no broker and no node here.
    assert_eq!(condition(&world, "ZooKeeperReady"), None);
    assert!(world.observed.children.stateful_sets.keys().all(|set| set == "users-producer"));
    let status = status(&world);
    let kafka = status.kafka.expect("it is reported").ready;
    let cassandra = status.cassandra.expect("it is reported").ready;
    assert_eq!((status.zookeeper, kafka.as_str(), cassandra.as_str()), (None, "external", "external"));
}

#[test]
fn what_is_missing_is_added_where_the_resource_allows_it() {
    let mut world = adding();
    let plan = world.plan();
    let added = [
        "create topic 'users_created'",
        "create topic 'data.users.dead-letters'",
        "create the keyspace",
        "create table 'created_users'",
    ];
    assert_eq!(described(&plan), added);
    converge(&mut world);
    assert_eq!(workloads(&world.observed.children), ["users-producer", "users-processor"]);
    assert_eq!(ready(&world).0, "True AllComponentsReady");
    let again = world.plan();
    assert!(again.is_empty(), "{:?}", again.acts);
}

/// The topic has settings, and the table a time to live, that others chose.
#[test]
fn what_others_chose_stays_even_where_additions_are_allowed() {
    let mut world = adding();
    converge(&mut world);
    let config =
        kafka::ConfigChange { set: [("retention.ms".to_owned(), "1".to_owned())].into(), ..Default::default() };
    world.others(&Act::Kafka(kafka::Change::AlterTopic { topic: TOPIC.to_owned(), config }));
    let table = "created_users".to_owned();
    world.others(&Act::Cassandra(cassandra::Change::SetTtl { table, ttl_seconds: 60 }));
    let plan = world.plan();
    assert!(plan.is_empty() && plan.first_unmet().is_none(), "{:?} {:?}", plan.acts, plan.first_unmet());
}

#[test]
fn partitions_are_asked_for_and_never_added() {
    let mut world = adding();
    converge(&mut world);
    world.resource.spec.kafka.topics[0].partitions = 5;
    let plan = world.plan();
    assert_eq!(described(&plan), [""; 0]);
    let topics = plan.links.iter().find(|state| state.link == Link::Topics).expect("it is judged");
    assert_eq!((topics.met, topics.reason), (false, Reason::TopicsMissing));
    assert!(topics.message.contains("has 3 of 5 partitions"), "{}", topics.message);
}

#[test]
fn a_column_is_added_only_where_additions_are_allowed() {
    let column = json!({"name": "extra", "type": "text"});
    let column: millrace_api::crd::Column = serde_json::from_value(column).expect("a column");
    let mut world = complete();
    world.resource.spec.cassandra.tables[0].columns.push(column);
    assert_eq!(described(&world.plan()), [""; 0]);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaMissing));
    world.resource.spec.cassandra.external.as_mut().expect("it is external").changes = Changes::Additions;
    assert_eq!(described(&world.plan()), ["add column 'extra' to table 'created_users'"]);
}

/// With the base of records that are thought gone, processors would be stopped for a right that somebody took away.
#[test]
fn a_topic_that_may_not_be_described_is_not_taken_for_one_that_is_gone() {
    let mut world = complete();
    world.plan();
    let processors = |world: &World| world.observed.children.deployments["users-processor"].spec.clone();
    let before = processors(&world);
    world.refused.insert(TOPIC.to_owned(), "TopicAuthorizationFailed".to_owned());
    world.delete_topic(TOPIC);
    let plan = world.step();
    assert_eq!(described(&plan), [""; 0]);
    assert_eq!(processors(&world), before);
    let topics = condition(&world, "TopicsReady").expect("it is judged").message;
    assert!(topics.contains("does not describe topic 'users_created': TopicAuthorizationFailed"), "{topics}");
    // The control: one that is gone stops them.
    world.refused.clear();
    world.settle();
    world.step();
    assert_ne!(processors(&world), before);
}

#[test]
fn a_store_that_does_not_answer_stops_nothing_that_runs() {
    let mut world = complete();
    world.plan();
    let before = workloads(&world.observed.children);
    world.away.insert(1001);
    world.settle();
    let plan = world.step();
    assert_eq!(described(&plan), [""; 0]);
    assert_eq!(workloads(&world.observed.children), before);
    assert_eq!(link(&mut world, Link::Kafka), (false, Reason::StoreUnreachable));
}
