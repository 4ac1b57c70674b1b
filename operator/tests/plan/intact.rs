//! Data that is gone is reported and never green; nothing starts on kept volumes that do not fit.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use millrace_operator::act::Act;
use millrace_operator::labels::ACCEPT_LOSS;
use millrace_operator::link::{Link, Reason};
use millrace_operator::observed::Claim;
use rstest::rstest;

use crate::world::{self, World, workloads};
use crate::{converge, link};
use millrace_stores::kafka::{Change, Position};

const TOPIC: &str = "users_created";

/// Returns a pipeline of one of each, whose processors have read some records.
fn read(committed: i64) -> World {
    let mut world = World::of("one");
    converge(&mut world);
    world.read(TOPIC, 2_000, committed);
    world.plan();
    world
}

fn condition(world: &World, kind: &str) -> Condition {
    let conditions = &world.resource.status.as_ref().expect("a status was reported").conditions;
    conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .cloned()
        .unwrap_or_else(|| panic!("no condition {kind}"))
}

/// Returns what `DataIntact` and `Ready` say.
fn verdict(world: &World) -> (String, String, String) {
    let (intact, ready) = (condition(world, "DataIntact"), condition(world, "Ready"));
    (intact.status, intact.reason, ready.status)
}

fn is_intact(world: &mut World) -> bool {
    world.plan();
    verdict(world) == ("True".to_owned(), "NothingMissing".to_owned(), "True".to_owned())
}

fn is_lost(world: &mut World, reason: Reason) -> bool {
    world.plan();
    verdict(world) == ("False".to_owned(), reason.to_string(), "False".to_owned())
}

/// Accepts every loss that the status has.
fn accept(world: &mut World) {
    let losses = &world.resource.status.as_ref().expect("a status was reported").losses;
    let ids: Vec<String> = losses.iter().map(|loss| loss.id.clone()).collect();
    world.resource.metadata.annotations.get_or_insert_default().insert(ACCEPT_LOSS.to_owned(), ids.join(","));
}

#[test]
fn an_empty_cassandra_under_committed_offsets_is_a_loss() {
    let mut world = read(2_000);
    assert!(is_intact(&mut world));
    world.empty_cassandra();
    converge(&mut world);
    assert!(is_lost(&mut world, Reason::TableRecreated), "{:?}", verdict(&world));
    let message = condition(&world, "Ready").message;
    for part in [
        "table 'streams.created_users' was recreated, and the rows of 2000 records",
        "kubectl scale -n data spl/users --replicas=0",
        "--group users-processor --topic users_created --reset-offsets --to-earliest --execute",
        "kubectl annotate --overwrite -n data spl/users millrace.dev/accept-loss=table-created_users-",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // It stays, whatever is read from here on.
    world.read(TOPIC, 9_000, 9_000);
    assert!(is_lost(&mut world, Reason::TableRecreated));
    // Read again from the start, it ends.
    world.read(TOPIC, 9_000, 100);
    assert!(is_intact(&mut world));
    world.read(TOPIC, 9_000, 9_000);
    assert!(is_intact(&mut world));
}

#[test]
fn a_table_that_is_dropped_by_hand_is_a_loss() {
    let mut world = read(2_000);
    world.drop_table("created_users");
    converge(&mut world);
    assert!(is_lost(&mut world, Reason::TableRecreated), "{:?}", verdict(&world));
}

#[test]
fn tables_into_which_nothing_was_read_may_come_and_go() {
    let mut world = read(0);
    world.empty_cassandra();
    converge(&mut world);
    assert!(is_intact(&mut world));
}

#[test]
fn an_accepted_loss_ends_and_the_next_one_counts() {
    let mut world = read(2_000);
    world.empty_cassandra();
    converge(&mut world);
    assert!(is_lost(&mut world, Reason::TableRecreated));
    accept(&mut world);
    assert!(is_intact(&mut world));
    world.observed.now += chrono::TimeDelta::minutes(1);
    world.empty_cassandra();
    converge(&mut world);
    assert!(is_lost(&mut world, Reason::TableRecreated));
}

/// A table that is new while Kafka cannot be asked is judged when it can.
#[test]
fn a_loss_is_not_forgotten_while_kafka_is_away() {
    let mut world = read(2_000);
    world.empty_cassandra();
    let kafka = std::mem::replace(&mut world.observed.stores.kafka, Err("no broker answers".to_owned()));
    let plan = world.plan();
    assert!(plan.acts.iter().any(|act| matches!(act, Act::Cassandra(_))), "tables do not wait: {:?}", plan.acts);
    world.carry_out(&plan);
    world.observed.stores.kafka = Err("no broker answers".to_owned());
    world.plan();
    assert_eq!(condition(&world, "DataIntact").status, "True", "as it was");
    world.observed.stores.kafka = kafka;
    world.settle();
    assert!(is_lost(&mut world, Reason::TableRecreated));
}

#[test]
fn a_new_pipeline_makes_no_tables_where_records_were_read_into_others() {
    let mut world = read(2_000);
    world.empty_cassandra();
    world.found_keyspace("old_streams");
    world.resource.status = None;
    for _ in 0..3 {
        let plan = world.plan();
        assert!(!plan.acts.iter().any(|act| matches!(act, Act::Cassandra(_))), "{:?}", plan.acts);
        world.carry_out(&plan);
    }
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::TablesMissing));
    let message = condition(&world, "Ready").message;
    assert!(message.contains("2000 records") && message.contains("old_streams"), "{message}");
    accept(&mut world);
    converge(&mut world);
    assert!(is_intact(&mut world));
}

/// The negative control: the same over Kafka's new volumes.
#[test]
fn a_new_pipeline_without_records_makes_its_tables() {
    let mut world = read(0);
    world.empty_cassandra();
    world.found_keyspace("old_streams");
    world.resource.status = None;
    converge(&mut world);
    assert!(is_intact(&mut world));
}

#[test]
fn a_topic_that_is_another_one_is_a_loss() {
    let mut world = read(1_500);
    world.delete_topic(TOPIC);
    converge(&mut world);
    assert!(is_lost(&mut world, Reason::TopicRecreated), "{:?}", verdict(&world));
    let message = condition(&world, "DataIntact").message;
    assert!(message.contains("processors had not read about 500 of these records"), "{message}");
    accept(&mut world);
    assert!(is_intact(&mut world));
}

/// Processors that still have the old base would write new records behind the rows of old ones.
#[test]
fn a_topic_is_made_anew_only_when_no_processor_runs() {
    let mut world = read(1_500);
    let mut processor = world.observed.children.pods["users-kafka-0"].clone();
    processor.metadata.name = Some("users-processor-abc".to_owned());
    let labels = processor.metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/component".to_owned(), "processor".to_owned());
    world.observed.children.pods.insert("users-processor-abc".to_owned(), processor);
    world.delete_topic(TOPIC);
    for _ in 0..3 {
        let plan = world.plan();
        assert!(!plan.acts.iter().any(|act| matches!(act, Act::Kafka(_))), "{:?}", plan.acts);
        world.carry_out(&plan);
    }
    let replicas = |world: &World| {
        let deployment = &world.observed.children.deployments["users-processor"];
        deployment.spec.as_ref().and_then(|spec| spec.replicas)
    };
    assert_eq!(replicas(&world), Some(0));
    // One that stops still writes what it holds.
    world.begin_deletion("users-processor-abc");
    assert!(!world.plan().acts.iter().any(|act| matches!(act, Act::Kafka(_))));
    // One that has ended holds nothing, and Kubernetes may leave it where it is.
    let ended = world.observed.children.pods.get_mut("users-processor-abc").expect("it is there");
    ended.status.get_or_insert_default().phase = Some("Failed".to_owned());
    let plan = world.plan();
    assert!(plan.acts.iter().any(|act| matches!(act, Act::Kafka(_))), "{:?}", plan.acts);
    world.carry_out(&plan);
    let plan = world.plan();
    assert!(plan.apply.deployments.is_empty(), "the base of the new topic is not published yet");
    world.carry_out(&plan);
    converge(&mut world);
    assert_ne!(replicas(&world), Some(0));
}

/// A topic that is new does not wait for one that is gone: it has no earlier base.
#[test]
fn a_new_topic_is_made_beside_one_that_is_gone() {
    let mut world = read(1_500);
    let mut processor = world.observed.children.pods["users-kafka-0"].clone();
    let labels = processor.metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/component".to_owned(), "processor".to_owned());
    world.observed.children.pods.insert("users-processor-abc".to_owned(), processor);
    world.delete_topic(TOPIC);
    let mut topic = world.resource.spec.kafka.topics[0].clone();
    topic.name = "orders".to_owned();
    world.resource.spec.kafka.topics.push(topic);
    let plan = world.plan();
    let made = plan.acts.iter().filter_map(|act| match act {
        Act::Kafka(Change::CreateTopic(topic)) => Some(topic.name.as_str()),
        _ => None,
    });
    assert_eq!(made.collect::<Vec<_>>(), ["orders"]);
}

/// The end of a log is what a broker loses that did not write it to its disk: too little for what is rounded.
#[test]
fn a_group_that_has_read_beyond_the_end_shows_what_is_lost() {
    let mut world = read(2_000);
    world.read(TOPIC, 10_999, 10_999);
    assert!(is_intact(&mut world));
    world.read(TOPIC, 10_099, 10_999);
    assert!(is_lost(&mut world, Reason::RecordsMissing));
    let message = condition(&world, "DataIntact").message;
    assert!(message.contains("and 900 fewer than processors had read"), "{message}");
    // It is one loss, whose records get one later base, and processors go on: only they can bring the group back.
    let noted = world.resource.status.clone().expect("a status was reported");
    world.observed.now += chrono::TimeDelta::minutes(1);
    converge(&mut world);
    let now = world.resource.status.clone().expect("a status was reported");
    assert_eq!(
        (now.losses, now.kafka.map(|kafka| kafka.topics)),
        (noted.losses, noted.kafka.map(|kafka| kafka.topics))
    );
    let deployment = &world.observed.children.deployments["users-processor"];
    assert_ne!(deployment.spec.as_ref().and_then(|spec| spec.replicas), Some(0));
    // A further loss counts again.
    world.read(TOPIC, 10_090, 10_999);
    world.plan();
    assert_eq!(world.resource.status.as_ref().expect("a status was reported").losses.len(), 2);
}

/// The keyspace has tables, so that Cassandra lost nothing.
#[test]
fn a_table_may_be_renamed_whatever_comes_between() {
    let mut world = read(2_000);
    let renamed = "renamed".to_owned();
    world.resource.spec.cassandra.tables[0].name.clone_from(&renamed);
    world.resource.spec.processor.queries[0].into = renamed;
    // The table is not made by this pass, and the status forgets the one before.
    world.plan();
    converge(&mut world);
    assert!(is_intact(&mut world));
}

/// New records must win over the rows of lost ones, whose offsets they have.
#[test]
fn a_topic_that_has_fewer_records_is_a_loss_and_gets_a_later_base() {
    let base = |world: &World| {
        let status = world.resource.status.clone().expect("a status was reported");
        let topics = status.kafka.expect("kafka was reported").topics;
        topics.into_iter().find(|topic| topic.name == TOPIC).expect("it exists").write_timestamp_base
    };
    let mut world = read(2_000);
    let before = base(&world);
    world.observed.now += chrono::TimeDelta::minutes(1);
    world.read(TOPIC, 2_100, 2_100);
    assert!(is_intact(&mut world));
    assert_eq!(base(&world), before, "more records change nothing");
    world.read(TOPIC, 3, 0);
    assert!(is_lost(&mut world, Reason::RecordsMissing), "{:?}", verdict(&world));
    assert!(base(&world) > before);
    let after = base(&world);
    world.read(TOPIC, 5, 5);
    assert!(is_lost(&mut world, Reason::RecordsMissing));
    assert_eq!(base(&world), after);
}

/// Has the group stand at an offset of a log of 2,000 records that begins at another.
fn keep_from(world: &mut World, start: i64, committed: i64) {
    world.read(TOPIC, 2_000, committed.max(start));
    let position = world.read.get_mut(TOPIC).expect("it was just read");
    *position =
        Position { committed, starts: [(0, start)].into(), reached: [(0, committed)].into(), ..position.clone() };
    world.settle();
}

#[test]
fn records_that_retention_deletes_unread_are_one_loss_of_the_topic() {
    let mut world = read(500);
    keep_from(&mut world, 500, 500);
    assert!(is_intact(&mut world), "what was read may be deleted");
    keep_from(&mut world, 700, 500);
    assert!(is_lost(&mut world, Reason::RecordsExpired), "{:?}", verdict(&world));
    let message = condition(&world, "Ready").message;
    assert!(message.contains("retention deleted 200 records of topic 'users_created' before processors"), "{message}");
    assert!(message.contains("millrace.dev/accept-loss=expired-users_created-"), "{message}");
    let losses = |world: &World| world.resource.status.clone().expect("a status was reported").losses;
    let first = losses(&world);
    world.observed.now += chrono::TimeDelta::minutes(1);
    converge(&mut world);
    assert_eq!(losses(&world), first, "nothing is deleted, and nothing is new");
    // More of it adds to the same loss, which stays when the group goes on.
    keep_from(&mut world, 800, 500);
    world.plan();
    let further = losses(&world);
    assert_eq!((further.len(), &further[0].id, further[0].expired), (1, &first[0].id, Some(300)));
    keep_from(&mut world, 800, 1_900);
    assert!(is_lost(&mut world, Reason::RecordsExpired));
    accept(&mut world);
    assert!(is_intact(&mut world));
    world.observed.now += chrono::TimeDelta::minutes(1);
    keep_from(&mut world, 1_950, 1_900);
    assert!(is_lost(&mut world, Reason::RecordsExpired), "a later one counts");
    assert_ne!(losses(&world)[0].id, first[0].id);
}

/// Negative control: offsets behind the last record that can be read, such as the ends of transactions, are never committed.
#[test]
fn offsets_that_hold_no_record_are_no_loss_when_they_are_deleted() {
    let mut world = read(1_999);
    let position = world.read.get_mut(TOPIC).expect("it was read");
    *position = Position { lag: 0, behind: [].into(), reached: [(0, 1_999)].into(), ..position.clone() };
    world.settle();
    assert!(is_intact(&mut world));
    let position = world.read.get_mut(TOPIC).expect("it was read");
    position.starts = [(0, 2_000)].into();
    world.settle();
    assert!(is_intact(&mut world));
}

#[test]
fn a_broker_on_the_volume_of_another_cluster_is_named() {
    let mut world = read(2_000);
    let ended = ContainerStateTerminated {
        exit_code: 65,
        message: Some("some line\nthis volume was written by another Kafka cluster\n".to_owned()),
        ..ContainerStateTerminated::default()
    };
    let state = ContainerState { terminated: Some(ended), ..ContainerState::default() };
    let container = ContainerStatus { name: "kafka".to_owned(), last_state: Some(state), ..ContainerStatus::default() };
    let broker = world.observed.children.pods.get_mut("users-kafka-0").expect("there is a broker");
    broker.status.as_mut().expect("it has a status").container_statuses = Some(vec![container]);
    assert!(is_lost(&mut world, Reason::ClusterIdDiffers));
    let message = condition(&world, "DataIntact").message;
    assert_eq!(message, "pod 'users-kafka-0' does not start: this volume was written by another Kafka cluster");
}

#[test]
fn a_zookeeper_that_lost_its_volumes_is_named_though_the_brokers_still_run() {
    let mut world = read(2_000);
    world.observed.stores.zookeeper.znodes = Some(5);
    assert!(is_intact(&mut world), "the brokers answer");
    world.observed.stores.kafka = Err("no broker answers".to_owned());
    assert!(is_lost(&mut world, Reason::ClusterIdDiffers));
    let message = condition(&world, "Ready").message;
    assert!(message.contains("ZooKeeper is empty, but Kafka has had topics"), "{message}");
    // The control: brokers that are away are no sign of it.
    world.settle();
    assert!(is_intact(&mut world));
    world.observed.stores.kafka = Err("no broker answers".to_owned());
    world.plan();
    assert_eq!(condition(&world, "DataIntact").status, "True", "as it was");
}

/// Adds a claim that an earlier pipeline left.
fn keep(world: &mut World, name: &str, component: &str, rack: Option<&str>, size: &str) {
    let claim = Claim {
        size: Some(size.to_owned()),
        component: Some(component.to_owned()),
        rack: rack.map(str::to_owned),
        ..world::claim("uid")
    };
    world.observed.children.volumes.get_or_insert_default().insert(name.to_owned(), claim);
}

#[rstest]
#[case("data-users-zookeeper-0", "zookeeper", None, "512Mi", Link::ZooKeeper, "set that to 512Mi")]
#[case("data-users-kafka-0", "kafka", None, "512Mi", Link::Kafka, "spec.kafka.storage.size asks for 1Gi")]
#[case("data-users-kafka-1", "kafka", None, "1Gi", Link::Kafka, "set that to 2 or more")]
#[case(
    "data-users-cassandra-r1-0",
    "cassandra",
    Some("r1"),
    "512Mi",
    Link::Cassandra,
    "has 512Mi, and spec.cassandra.storage.size asks for 1Gi"
)]
#[case("data-users-cassandra-old-0", "cassandra", Some("old"), "1Gi", Link::Cassandra, "belongs to rack 'old'")]
fn nothing_starts_on_kept_volumes_that_do_not_fit(
    #[case] claim: &str,
    #[case] component: &str,
    #[case] rack: Option<&str>,
    #[case] size: &str,
    #[case] of: Link,
    #[case] said: &str,
) {
    let mut world = World::of("one");
    keep(&mut world, claim, component, rack, size);
    for _ in 0..5 {
        world.step();
    }
    let begun = workloads(&world.observed.children);
    assert!(!begun.iter().any(|name| name.contains(component)), "{begun:?}");
    assert_eq!(link(&mut world, of), (false, Reason::VolumesDiffer));
    let message = condition(&world, of.condition().as_str()).message;
    assert!(
        message.contains(said) && message.contains("kubectl delete pvc -n data -l millrace.dev/pipeline=users"),
        "{message}"
    );
    // What is in the way is removed.
    world.observed.children.volumes = None;
    converge(&mut world);
}

#[rstest]
#[case("data-users-kafka-0", "kafka", None, "1024Mi")]
#[case("data-users-kafka-0", "kafka", None, "3Gi")]
#[case("data-users-cassandra-r1-0", "cassandra", Some("r1"), "1Gi")]
fn kept_volumes_that_fit_are_taken(
    #[case] claim: &str,
    #[case] component: &str,
    #[case] rack: Option<&str>,
    #[case] size: &str,
) {
    let mut world = World::of("one");
    keep(&mut world, claim, component, rack, size);
    converge(&mut world);
}
