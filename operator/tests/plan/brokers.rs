//! Brokers that come and go: partitions move onto the new ones, and off those that go before they stop.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use millrace_api::crd::{Amount, Reassignment};
use millrace_operator::act::Act;
use millrace_operator::link::{Link, Reason};
use millrace_operator::plan::Plan;
use millrace_stores::kafka::{ANY_REPLICA, Change, KafkaFacts, MIN_IN_SYNC, PartitionFacts, THROTTLED_REPLICAS};

use super::world::World;
use super::{ENOUGH, brokers, converge, link, outdate_brokers, restarts};

/// Returns a pipeline at rest with more partitions than are moved at once.
fn three() -> World {
    let mut world = World::of("three");
    world.resource.spec.kafka.topics[0].partitions = 24;
    converge(&mut world);
    world
}

fn want(world: &mut World, replicas: i32) {
    world.resource.spec.kafka.replicas = Some(replicas);
}

/// Returns how many brokers the StatefulSet is told to have once a pass over the world is carried out.
fn planned_size(world: &mut World) -> i32 {
    let plan = world.plan();
    let set = plan.apply.stateful_sets.iter().find(|set| set.name_any() == "users-kafka");
    set.and_then(|set| set.spec.as_ref()?.replicas).unwrap_or_else(|| world.size("users-kafka"))
}

fn partitions(facts: &KafkaFacts) -> impl Iterator<Item = &PartitionFacts> {
    facts.all_topics().flat_map(|(_, topic)| &topic.partitions)
}

/// Returns how many replicas each broker has.
fn counts(world: &mut World) -> Vec<usize> {
    let facts = brokers(world);
    let hosts: Vec<i32> = partitions(facts).flat_map(|partition| partition.replicas.clone()).collect();
    facts.brokers.iter().map(|broker| hosts.iter().filter(|host| *host == broker).count()).collect()
}

fn moves(plan: &Plan) -> usize {
    let of = |act: &Act| match act {
        Act::Kafka(Change::Reassign { moves, .. }) => moves.iter().filter(|moved| !moved.added().is_empty()).count(),
        _ => 0,
    };
    plan.acts.iter().map(of).sum()
}

/// Carries plans out until there is nothing to do, and holds that no more is done at once than may be.
fn settle(world: &mut World) {
    for _ in 0..3 * ENOUGH {
        let before = world.size("users-kafka");
        let plan = world.step();
        assert!(moves(&plan) <= 10, "{:?}", plan.acts);
        assert!(world.size("users-kafka") >= before - 1, "more than one broker stops");
        let alters = plan.acts.iter().any(|act| matches!(act, Act::Kafka(Change::AlterTopic { .. })));
        assert!(!alters, "a topic that moves keeps its settings: {:?}", plan.acts);
        if plan.is_empty() && !plan.reassignment.is_wanted {
            return;
        }
    }
    panic!("it does not come to rest: {:?}", world.plan().acts);
}

/// Holds that all copies are there, evenly spread, led by whom they prefer, and that nothing is left of the moves.
fn assert_even(world: &mut World, size_wanted: i32) {
    assert_eq!(world.size("users-kafka"), size_wanted);
    let counts = counts(world);
    assert!(counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
    let facts = brokers(world).clone();
    assert_eq!((facts.brokers.len(), facts.under_replicated), (size_wanted as usize, 0));
    for (name, topic) in facts.all_topics() {
        assert!(!topic.config.keys().any(|key| key.contains("throttled")), "'{name}' is still throttled");
        for partition in &topic.partitions {
            let different: BTreeSet<i32> = partition.replicas.iter().copied().collect();
            assert_eq!(
                (partition.replicas.len(), different.len(), partition.in_sync),
                (3, 3, 3),
                "{name} {partition:?}"
            );
        }
    }
    assert_eq!(restarts(world), [""; 0], "nobody was restarted for it");
}

#[test]
fn a_new_broker_gets_its_share_and_gives_it_back_before_it_stops() {
    let mut world = three();
    let before = counts(&mut world);
    want(&mut world, 4);
    settle(&mut world);
    assert_even(&mut world, 4);
    let led = partitions(brokers(&mut world)).filter(|partition| partition.leader == Some(3)).count();
    assert!(led > 0, "it leads none");
    want(&mut world, 3);
    settle(&mut world);
    assert_even(&mut world, 3);
    assert_eq!(counts(&mut world).iter().sum::<usize>(), before.iter().sum::<usize>());
}

#[test]
fn a_spec_that_changes_on_the_way_ends_in_the_last_one() {
    for steps in 0..12 {
        let mut world = three();
        for replicas in [4, 3, 5] {
            want(&mut world, replicas);
            for _ in 0..steps {
                world.step();
            }
        }
        settle(&mut world);
        assert_even(&mut world, 5);
        for replicas in [3, 4] {
            want(&mut world, replicas);
            for _ in 0..steps {
                world.step();
            }
        }
        settle(&mut world);
        assert_even(&mut world, 4);
    }
}

#[test]
fn says_what_moves_and_how_much_is_left() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    let plan = world.step();
    assert!(moves(&plan) > 0, "{:?}", plan.acts);
    let said = plan.acts[0].describe();
    assert!(said.starts_with("move ") && said.ends_with(" onto broker 3"), "{said}");
    assert_eq!(plan.acts[0].event_reason(), "PartitionsMoving");

    let plan = world.plan();
    assert!(plan.acts.is_empty(), "what is on its way is not ordered again: {:?}", plan.acts);
    let kafka = world.resource.status.clone().and_then(|status| status.kafka).expect("it is reported");
    let reassignment = kafka.reassignment.expect("partitions move");
    assert!(reassignment.partitions_moving > 0 && reassignment.bytes_left > Some(0), "{reassignment:?}");
    let ready = plan.links.iter().find(|link| link.message.contains("registered")).expect("the brokers are judged");
    assert!(ready.met && ready.message.contains("being moved"), "{}", ready.message);
    assert_eq!(plan.first_unmet(), None, "replicas that are being copied are nothing to wait for");
    settle(&mut world);
    let kafka = world.resource.status.clone().and_then(|status| status.kafka).expect("it is reported");
    assert_eq!(kafka.reassignment, None);
}

#[test]
fn another_pace_holds_for_what_is_being_copied() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    world.step();
    assert!(world.plan().acts.is_empty());
    let pace = Reassignment { bytes_per_second: Some(Amount("10Mi".to_owned())) };
    world.resource.spec.kafka.reassignment = Some(pace);
    let acts = world.plan().acts;
    assert_eq!(acts, [Act::Kafka(Change::Throttle { rate: 10 << 20 })]);
    settle(&mut world);
    assert_even(&mut world, 4);
}

#[test]
fn nobody_is_restarted_while_partitions_move_and_nothing_moves_before_a_restart() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    world.step();
    outdate_brokers(&mut world);
    assert!(world.plan().reassignment.has_begun);
    assert_eq!(restarts(&mut world), [""; 0]);

    let mut other = three();
    want(&mut other, 4);
    other.step();
    outdate_brokers(&mut other);
    let plan = other.plan();
    assert_eq!((moves(&plan), plan.acts.len()), (0, 1), "a restart comes first: {:?}", plan.acts);
}

#[test]
fn a_broker_stays_while_it_has_a_replica_or_replicas_are_out_of_sync() {
    let mut world = three();
    want(&mut world, 4);
    settle(&mut world);
    want(&mut world, 3);
    brokers(&mut world).under_replicated = 1;
    let plan = world.plan();
    assert!(plan.is_empty(), "{:?}", plan.acts);
    // The negative control: with every replica in sync they begin to move, and it still stays.
    brokers(&mut world).under_replicated = 0;
    let plan = world.step();
    assert!(moves(&plan) > 0 && world.size("users-kafka") == 4, "{:?}", plan.acts);
}

#[test]
fn no_broker_goes_while_no_topic_is_listed() {
    let mut world = three();
    want(&mut world, 4);
    settle(&mut world);
    want(&mut world, 3);
    let facts = brokers(&mut world);
    facts.topics.clear();
    facts.offsets_topic = None;
    assert_eq!(planned_size(&mut world), 4, "a controller that has just begun tells of brokers first");
}

#[test]
fn a_broker_that_cannot_run_is_taken_back_and_one_that_is_silent_is_waited_for() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    world.away.insert(3);
    world.settle();
    want(&mut world, 3);
    assert_eq!(planned_size(&mut world), 4, "its pod is ready");
    world.unready("users-kafka-3");
    assert_eq!(planned_size(&mut world), 3);
}

#[test]
fn a_move_onto_a_broker_that_is_away_is_taken_back_with_the_broker() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    world.step();
    let moved = partitions(brokers(&mut world)).filter(|partition| partition.adding == [3]).count();
    world.away.insert(3);
    world.unready("users-kafka-3");
    world.settle();
    let plan = world.plan();
    assert!(plan.acts.is_empty(), "it may come back: {:?}", plan.acts);
    want(&mut world, 3);
    let plan = world.step();
    let [Act::Kafka(change @ Change::CancelMoves { partitions })] = &plan.acts[..] else { panic!("{:?}", plan.acts) };
    assert!(moved > 0 && partitions.len() == moved, "{partitions:?}");
    assert_eq!(change.describe(), format!("cancel the moves of {moved} partitions"));
    assert_eq!(change.event_reason(), "MovesCancelled");
    settle(&mut world);
    assert_even(&mut world, 3);
}

#[test]
fn more_brokers_come_at_once_where_moves_wait_for_them() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    world.step();
    want(&mut world, 5);
    assert_eq!(planned_size(&mut world), 4, "what moves goes on first");
    world.usable = 1 << 20;
    world.settle();
    assert!(!world.plan().refused.is_empty(), "there is no room");
    assert_eq!(planned_size(&mut world), 5);

    // Somebody took a broker away that has a replica.
    let mut other = three();
    let topic = brokers(&mut other).topics.get_mut("users_created").expect("it is there");
    topic.config.extend(THROTTLED_REPLICAS.map(|key| (key.to_owned(), ANY_REPLICA.to_owned())));
    want(&mut other, 4);
    assert_eq!(planned_size(&mut other), 3, "what moves goes on first");
    let topic = brokers(&mut other).topics.get_mut("users_created").expect("it is there");
    topic.partitions[0].replicas = vec![0, 1, 3];
    assert_eq!(planned_size(&mut other), 4);
}

#[test]
fn topics_are_changed_while_brokers_wait_to_be_added() {
    let mut world = three();
    want(&mut world, 4);
    world.step();
    world.step();
    want(&mut world, 5);
    let topics = &mut world.resource.spec.kafka.topics;
    let (mut new, mut wide) = (topics[0].clone(), topics[0].clone());
    topics[0].config.insert("retention.ms".to_owned(), "1000".to_owned());
    (new.name, wide.name) = ("new".to_owned(), "wide".to_owned());
    wide.replication_factor = Some(5);
    topics.extend([new, wide]);
    let described: Vec<String> = world.plan().acts.iter().map(Act::describe).collect();
    // The third has more copies than there are brokers yet.
    assert_eq!(described, ["change the configuration of topic 'users_created'", "create topic 'new'"]);
    assert_eq!(link(&mut world, Link::Kafka), (false, Reason::WaitingForBrokers));
}

#[test]
fn demands_no_more_copies_than_the_partition_with_the_fewest_has() {
    let mut world = three();
    world.resource.spec.kafka.topics[0].min_in_sync_replicas = None;
    let topic = brokers(&mut world).topics.get_mut("users_created").expect("it is there");
    topic.partitions[5].replicas.truncate(1);
    // A controller that is being elected cannot say whether it is only being moved.
    brokers(&mut world).knows_reassignments = false;
    let acts = world.plan().acts;
    assert!(acts.is_empty(), "{acts:?}");
    brokers(&mut world).knows_reassignments = true;
    let acts = world.plan().acts;
    let [Act::Kafka(Change::AlterTopic { config, .. })] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(config.set, BTreeMap::from([(MIN_IN_SYNC.to_owned(), "1".to_owned())]));
}

/// An earlier version allowed it. What the operator takes off its topics at the end of moves must not come back.
#[test]
fn a_topic_whose_resource_throttles_its_replicas_is_not_throttled() {
    let mut world = World::of("three");
    let config = &mut world.resource.spec.kafka.topics[0].config;
    config.extend(THROTTLED_REPLICAS.map(|key| (key.to_owned(), ANY_REPLICA.to_owned())));
    converge(&mut world);
    want(&mut world, 4);
    settle(&mut world);
    assert_even(&mut world, 4);
}

#[test]
fn refuses_fewer_brokers_than_copies() {
    let mut world = three();
    want(&mut world, 2);
    let plan = world.step();
    let [refused] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert_eq!(refused.path, "spec.kafka.replicas");
    assert!(refused.message.starts_with("2 brokers cannot hold the 3 copies"), "{refused}");
    assert_eq!((moves(&plan), world.size("users-kafka")), (0, 3));
    assert!(refused.message.ends_with("use 3 brokers or more, or delete the topic"), "{refused}");
    let mut own = world.clone();
    brokers(&mut own).topics.clear();
    let plan = own.plan();
    let [refused] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert!(refused.message.contains("'__consumer_offsets'"), "{refused}");
    assert!(refused.message.ends_with("use 3 brokers or more"), "{refused}");
    want(&mut world, 3);
    assert_eq!(world.plan().refused, []);
}

#[test]
fn refuses_to_fill_a_disk() {
    let mut world = three();
    want(&mut world, 4);
    settle(&mut world);
    world.usable = 1 << 20;
    want(&mut world, 3);
    world.settle();
    let plan = world.step();
    let [refused] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert!(refused.message.contains("has 1 MiB free"), "{refused}");
    assert_eq!((moves(&plan), world.size("users-kafka")), (0, 4));
    // The negative control: with room there is nothing to refuse.
    world.usable = 64 << 30;
    world.settle();
    settle(&mut world);
    assert_even(&mut world, 3);
}

#[test]
fn leaves_alone_what_people_place() {
    let mut world = three();
    want(&mut world, 4);
    settle(&mut world);
    // All of a topic on the same three, as somebody may want it: broker 3 keeps some of the others.
    for partition in &mut brokers(&mut world).topics.get_mut("users_created").expect("it is there").partitions {
        partition.replicas = vec![2, 1, 0];
        partition.leader = Some(1);
    }
    let counts = counts(&mut world);
    if counts.iter().all(|count| *count > 0) {
        assert!(world.plan().is_empty(), "{counts:?}");
    }
    // The negative control: a broker that has none at all gets its share.
    for topic in brokers(&mut world).topics.values_mut() {
        topic.partitions.iter_mut().for_each(|partition| partition.replicas = vec![0, 1, 2]);
    }
    if let Some(topic) = &mut brokers(&mut world).offsets_topic {
        topic.partitions.iter_mut().for_each(|partition| partition.replicas = vec![0, 1, 2]);
    }
    assert!(moves(&world.plan()) > 0);
}

#[test]
fn what_a_tool_moves_is_waited_for_and_left_alone() {
    let mut world = three();
    want(&mut world, 4);
    settle(&mut world);
    let topic = brokers(&mut world).topics.get_mut("users_created").expect("it is there");
    let partition = &mut topic.partitions[0];
    let new = (0..4).find(|broker| !partition.replicas.contains(broker)).expect("one has none");
    partition.removing = vec![partition.replicas[2]];
    partition.adding = vec![new];
    partition.replicas.insert(2, new);
    brokers(&mut world).under_replicated = 1;
    let plan = world.plan();
    assert!(plan.acts.is_empty(), "{:?}", plan.acts);
    assert_eq!(plan.first_unmet(), None);
}
