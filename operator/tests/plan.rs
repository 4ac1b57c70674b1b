//! The plan on a simulated world: it converges, in the right order, and its own result leaves nothing to plan.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

#[path = "plan/brokers.rs"]
mod brokers_come_and_go;
#[path = "plan/canary.rs"]
mod canary;
#[path = "plan/external.rs"]
mod external;
#[path = "plan/growth.rs"]
mod growth;
#[path = "plan/held.rs"]
mod held;
#[path = "plan/intact.rs"]
mod intact;
#[path = "plan/nodes.rs"]
mod nodes;
#[path = "plan/pushes.rs"]
mod pushes;
#[path = "plan/replay.rs"]
mod replay;
#[path = "plan/retention.rs"]
mod retention;
#[path = "plan/scaling.rs"]
mod scaling;
#[path = "plan/servers.rs"]
mod servers_come_and_go;
#[path = "plan/settings.rs"]
mod settings;
#[path = "plan/suspend.rs"]
mod suspend;
#[path = "plan/world.rs"]
mod world;

use std::collections::BTreeMap;

use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_api::{StreamingPipeline, validate};
use millrace_operator::act::Act;
use millrace_operator::link::{Link, Reason};
use millrace_operator::observed::Claim;
use millrace_operator::plan::{Hold, Plan};
use millrace_stores::kafka::Change;
use millrace_stores::kafka::KafkaFacts;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;
use world::{World, workloads};

/// More passes than any pipeline here needs.
const ENOUGH: usize = 20;

/// Carries plans out until there is nothing to do; returns the workloads in the order of their creation.
fn converge(world: &mut World) -> Vec<String> {
    let mut created: Vec<String> = Vec::new();
    for _ in 0..ENOUGH {
        let plan = world.plan();
        let rests = plan.is_empty() && !plan.reassignment.is_wanted && !plan.membership.is_wanted;
        if rests && plan.first_unmet().is_none() {
            return created;
        }
        world.carry_out(&plan);
        let new: Vec<String> =
            workloads(&world.observed.children).into_iter().filter(|name| !created.contains(name)).collect();
        created.extend(new);
    }
    panic!("no convergence; the first unmet link is {:?}", world.plan().first_unmet());
}

fn brokers(world: &mut World) -> &mut KafkaFacts {
    world.observed.stores.kafka.as_mut().expect("the brokers answer")
}

/// Returns the pods that a pass over the world would restart.
fn restarts(world: &mut World) -> Vec<String> {
    let acts = world.plan().acts;
    let pods = acts.into_iter().filter_map(|act| match act {
        Act::RestartPod(restart) => Some(restart.pod),
        _ => None,
    });
    pods.collect()
}

/// Changes a setting of the brokers, and has the new template applied.
fn outdate_brokers(world: &mut World) {
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    world.step();
}

/// Changes a setting of the Cassandra nodes, and has the new template applied.
fn outdate_nodes(world: &mut World) {
    world.resource.spec.cassandra.config.insert("concurrent_reads".to_owned(), "8".to_owned());
    world.step();
}

fn link(world: &mut World, link: Link) -> (bool, Reason) {
    let plan = world.plan();
    let state = plan.links.into_iter().find(|state| state.link == link).expect("every link is judged");
    (state.met, state.reason)
}

#[rstest]
#[case("one")]
#[case("three")]
#[case("sources")]
fn converges_and_then_plans_nothing(#[case] fixture: &str) {
    let mut world = World::of(fixture);
    converge(&mut world);
    let again = world.plan();
    assert!(again.is_empty(), "{:?}", again.acts);
    assert_eq!(again.holds, []);
}

/// Returns the topics that the brokers have once the pipeline is complete.
fn topics(fixture: &str) -> Vec<String> {
    let mut world = World::of(fixture);
    converge(&mut world);
    brokers(&mut world).topics.keys().cloned().collect()
}

#[test]
fn a_topic_for_cursors_is_made_only_where_a_source_has_one() {
    assert_eq!(topics("sources"), ["users-cursors", "users-dead-letters", "users_created"]);
    assert_eq!(topics("one"), ["users-dead-letters", "users_created"]);
}

/// Positions are of several kinds of sources, and all are kept in one topic.
#[test]
fn every_pipeline_with_positions_has_a_topic_for_them() {
    let folder = format!("{}/../e2e/samples/accepted", env!("CARGO_MANIFEST_DIR"));
    let mut with_positions = 0;
    for file in std::fs::read_dir(folder).expect("the samples are there") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("it is text");
        let Ok(resource) = serde_yaml::from_str::<StreamingPipeline>(&text) else { continue };
        let Some(pipeline) = validate(&resource, millrace_sql::judge).pipeline else { continue };
        let has_positions = pipeline.producer.has_cursors();
        let topic = pipeline.names.cursors_topic();
        let has_topic = pipeline.kafka.topics.iter().any(|found| found.name == topic);
        assert!(has_topic || !has_positions, "{}", path.display());
        with_positions += usize::from(has_positions);
    }
    assert!(with_positions >= 2, "files and since are among the samples");
}

#[test]
fn creates_workloads_in_the_order_of_the_chain() {
    let mut world = World::of("three");
    let created = converge(&mut world);
    let position = |part: &str| created.iter().position(|name| name.contains(part)).expect("it was created");
    assert!(position("zookeeper") < position("kafka"));
    assert!(position("kafka") < position("processor"));
    assert!(position("cassandra-c") < position("processor"), "{created:?}");
    assert!(position("processor") < position("producer"));
}

/// Its topic keeps the records until the query is mended.
#[test]
fn a_pipeline_whose_only_query_is_broken_keeps_no_processor() {
    let mut world = World::of("one");
    converge(&mut world);
    let query = &mut world.resource.spec.processor.queries[0];
    query.sql = Some(format!("SELECT nothing FROM {}", query.from));
    let plan = world.plan();
    let replicas: Vec<_> =
        plan.apply.deployments.iter().filter_map(|deployment| deployment.spec.as_ref()?.replicas).collect();
    assert_eq!(replicas, [0]);
    world.carry_out(&plan);
    assert_eq!(link(&mut world, Link::Processor), (false, Reason::NoQuery));
    world.resource.spec.processor.queries[0].sql = None;
    converge(&mut world);
    assert!(link(&mut world, Link::Processor).0);
}

#[test]
fn adds_cassandra_nodes_one_at_a_time() {
    let mut world = World::of("three");
    let mut nodes = vec![];
    for _ in 0..ENOUGH {
        world.step();
        nodes.push(
            world.observed.addresses(Component::Cassandra).len().max(world.observed.stores.cassandra.nodes.len()),
        );
    }
    assert!(nodes.windows(2).all(|pair| pair[1] - pair[0] <= 1), "{nodes:?}");
    assert_eq!(nodes.last(), Some(&3));
}

#[test]
fn adds_no_node_while_one_is_not_seen_as_normal() {
    let mut world = World::of("three");
    world.step();
    for node in world.observed.stores.cassandra.nodes.values_mut() {
        node.sees_normal.clear();
    }
    let plan = world.plan();
    let grown = plan
        .apply
        .stateful_sets
        .iter()
        .filter(|set| set.metadata.name.as_ref().is_some_and(|n| n.contains("cassandra")));
    let replicas: i32 = grown.filter_map(|set| set.spec.as_ref()?.replicas).sum();
    assert!(replicas <= 1, "{replicas}");
}

#[test]
fn restarts_outdated_brokers_one_at_a_time_and_the_controller_last() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    let mut restarted = Vec::new();
    for _ in 0..ENOUGH {
        let plan = world.plan();
        let restarts: Vec<_> = plan.acts.iter().filter(|act| matches!(act, Act::RestartPod(_))).collect();
        assert!(restarts.len() <= 1);
        if let [Act::RestartPod(restart)] = restarts[..] {
            restarted.push(restart.pod.clone());
        }
        world.carry_out(&plan);
    }
    // Broker 0 is the controller of the simulated world.
    assert_eq!(restarted, ["users-kafka-2", "users-kafka-1", "users-kafka-0"]);
}

#[test]
fn restarts_nothing_while_a_partition_is_under_replicated() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_brokers(&mut world);
    brokers(&mut world).under_replicated = 1;
    let plan = world.plan();
    assert!(plan.acts.is_empty(), "{:?}", plan.acts);
    // The negative control: with every replica in sync it does restart.
    brokers(&mut world).under_replicated = 0;
    assert!(matches!(world.plan().acts[..], [Act::RestartPod(_)]));
}

#[test]
fn replaces_a_broken_pod_of_an_outdated_template_at_once() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_nodes(&mut world);
    brokers(&mut world).under_replicated = 1;
    world.crash("users-cassandra-b-0");
    let plan = world.plan();
    let [Act::RestartPod(restart)] = &plan.acts[..] else { panic!("{:?}", plan.acts) };
    assert_eq!((restart.pod.as_str(), restart.uid.as_str()), ("users-cassandra-b-0", "uid-of-users-cassandra-b-0"));
}

/// As after settings that shut the operator out, and their revert: full strength can only come back with the restart.
#[test]
fn replaces_outdated_brokers_that_run_and_cannot_be_asked_one_at_a_time() {
    let mut world = World::of("three");
    converge(&mut world);
    world.age(60);
    outdate_brokers(&mut world);
    let kafka = std::mem::replace(&mut world.observed.stores.kafka, Err("not authorized".to_owned()));
    assert_eq!(restarts(&mut world), ["users-kafka-0"]);
    world.observed.children.pods.remove("users-kafka-0");
    assert_eq!(restarts(&mut world), [""; 0], "it is gone");
    world.settle();
    world.observed.stores.kafka = kafka.map(|facts| KafkaFacts { brokers: [0].into(), ..facts });
    world.unready("users-kafka-0");
    assert_eq!(restarts(&mut world), [""; 0], "it is on its way");
    world.observed.children.pods.remove("users-kafka-0");
    let kafka = world.observed.stores.kafka.clone();
    world.settle();
    world.observed.stores.kafka = kafka;
    assert_eq!(restarts(&mut world), ["users-kafka-1"]);

    // The negative controls: they have only just started, or the operator hears of nobody.
    let mut young = World::of("three");
    converge(&mut young);
    young.age(4);
    outdate_brokers(&mut young);
    young.observed.stores.kafka = Err("not authorized".to_owned());
    assert_eq!(restarts(&mut young), [""; 0]);
    let mut cut_off = World::of("three");
    converge(&mut cut_off);
    cut_off.age(60);
    outdate_brokers(&mut cut_off);
    cut_off.observed.stores = millrace_operator::observed::Stores::default();
    assert_eq!(restarts(&mut cut_off), [""; 0]);
}

#[test]
fn restarts_no_second_broker_while_the_first_is_on_its_way_and_the_stores_still_look_whole() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_brokers(&mut world);
    assert_eq!(restarts(&mut world), ["users-kafka-2"]);
    world.begin_deletion("users-kafka-2");
    assert_eq!(restarts(&mut world), Vec::<String>::new(), "it is being deleted");
    world.observed.children.pods.remove("users-kafka-2");
    assert_eq!(restarts(&mut world), Vec::<String>::new(), "it is gone");
    // The negative control: once it is back, the next one goes.
    world.settle();
    assert_eq!(restarts(&mut world), ["users-kafka-1"]);
}

#[test]
fn restarts_no_broker_while_a_node_of_another_store_is_missing() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_brokers(&mut world);
    world.begin_deletion("users-cassandra-b-0");
    assert_eq!(restarts(&mut world), Vec::<String>::new());
}

#[test]
fn does_not_take_a_pod_that_is_merely_not_ready_for_a_broken_one() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_brokers(&mut world);
    brokers(&mut world).under_replicated = 1;
    world.unready("users-kafka-2");
    assert_eq!(restarts(&mut world), Vec::<String>::new());
    // The negative control: one that crashes is replaced.
    world.crash("users-kafka-2");
    assert_eq!(restarts(&mut world), ["users-kafka-2"]);
}

#[test]
fn replaces_no_broken_pod_while_a_sibling_is_away() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_brokers(&mut world);
    world.crash("users-kafka-2");
    world.begin_deletion("users-kafka-1");
    assert_eq!(restarts(&mut world), Vec::<String>::new(), "it is being deleted");
    world.observed.children.pods.remove("users-kafka-1");
    assert_eq!(restarts(&mut world), Vec::<String>::new(), "it is gone");
}

#[test]
fn replaces_a_broken_pod_of_a_later_store_while_an_earlier_store_waits_for_it() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_brokers(&mut world);
    outdate_nodes(&mut world);
    world.crash("users-cassandra-b-0");
    world.observed.stores.cassandra.nodes.remove(&("b".to_owned(), 0));
    assert_eq!(restarts(&mut world), ["users-cassandra-b-0"]);
}

#[test]
fn restarts_nothing_and_joins_in_the_same_order_when_racks_are_reordered() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.cassandra.racks.reverse();
    let plan = world.plan();
    assert!(plan.is_empty(), "{plan:?}");
    let mut fresh = World::of("three");
    fresh.resource.spec.cassandra.racks.reverse();
    fresh.step();
    let pods = &fresh.observed.children.pods;
    let nodes: Vec<_> = pods.keys().filter(|name| name.contains("cassandra")).collect();
    assert_eq!(nodes, ["users-cassandra-a-0"]);
}

#[test]
fn says_which_nodes_of_an_adopted_ring_run_in_no_pod() {
    let mut world = World::of("one");
    converge(&mut world);
    let stranger = Uuid::from_u128(99);
    world.observed.stores.cassandra.nodes.values_mut().for_each(|node| node.ring = [stranger].into());
    let plan = world.plan();
    let state = plan.links.into_iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
    assert_eq!((state.met, state.reason), (false, Reason::UnknownNodes));
    assert!(state.message.contains(&stranger.to_string()), "{}", state.message);
}

#[test]
fn adopts_the_nodes_of_a_larger_ring_one_by_one() {
    let mut world = World::of("three");
    world.step();
    // The first node's volume knows the others, whose pods are still to come.
    world.observed.stores.cassandra.nodes.values_mut().for_each(|node| node.ring = [Uuid::from_u128(99)].into());
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::NodeJoining));
    converge(&mut world);
}

#[test]
fn refuses_fewer_partitions_and_leaves_the_topic_alone() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.kafka.topics[0].partitions = 2;
    let plan = world.plan();
    assert!(plan.acts.is_empty(), "{:?}", plan.acts);
    assert_eq!(link(&mut world, Link::Topics), (false, Reason::PartitionDecreaseRejected));
}

#[test]
fn refuses_another_primary_key_and_leaves_the_table_alone() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.cassandra.tables[0].primary_key.clustering.clear();
    let plan = world.plan();
    assert!(plan.acts.is_empty(), "{:?}", plan.acts);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaChangeRejected));
}

#[test]
fn extends_topics_and_tables() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.kafka.topics[0].partitions = 12;
    world.resource.spec.kafka.topics[0].config.clear();
    let mut column = world.resource.spec.cassandra.tables[0].columns[1].clone();
    column.name = "nickname".to_owned();
    world.resource.spec.cassandra.tables[0].columns.push(column);
    let plan = world.plan();
    let acts: Vec<String> = plan.acts.iter().map(Act::describe).collect();
    assert_eq!(
        acts,
        [
            "raise topic 'users_created' to 12 partitions",
            "change the configuration of topic 'users_created'",
            "add column 'nickname' to table 'created_users'"
        ]
    );
    world.carry_out(&plan);
    converge(&mut world);
}

/// Adds a column to the table, and a field of that name to the source.
fn add_column_and_field(world: &mut World) {
    let spec = &mut world.resource.spec;
    let mut column = spec.cassandra.tables[0].columns[1].clone();
    column.name = "nickname".to_owned();
    spec.cassandra.tables[0].columns.push(column);
    spec.producer.sources[0].fields.insert("nickname".to_owned(), "record.login.username".to_owned());
}

/// Returns whether the plan changes the producers' settings or pods.
fn changes_producers(plan: &Plan) -> bool {
    let producer = |name: Option<&String>| name.is_some_and(|name| name.contains("producer"));
    let mut config_maps = plan.apply.config_maps.iter();
    config_maps.any(|map| producer(map.metadata.name.as_ref()))
        || plan.apply.stateful_sets.iter().any(|set| producer(set.metadata.name.as_ref()))
}

#[test]
fn gives_producers_new_settings_only_when_every_processor_has_its_own() {
    let mut world = World::of("three");
    converge(&mut world);
    add_column_and_field(&mut world);
    let plan = world.plan();
    assert!(!plan.apply.deployments.is_empty(), "the processors are changed at once");
    assert!(!changes_producers(&plan));
    assert_eq!(plan.holds, [Hold { component: Component::Producer, link: Link::Processor }]);

    world.carry_out(&plan);
    world.roll_out(0);
    assert!(!changes_producers(&world.plan()), "one processor has not been replaced yet");
    // The negative control: once it has, they are changed.
    world.settle();
    assert!(changes_producers(&world.plan()));
    converge(&mut world);
}

#[test]
fn stops_producers_whatever_the_processors_do() {
    let mut world = World::of("three");
    converge(&mut world);
    add_column_and_field(&mut world);
    world.resource.spec.producer.replicas = 0;
    assert!(changes_producers(&world.plan()));
}

/// The first node runs another release than the others.
fn mix_releases(world: &mut World) {
    let node = world.observed.stores.cassandra.nodes.values_mut().next().expect("there are nodes");
    node.release = "5.0.12".to_owned();
}

#[test]
fn a_schema_waits_until_all_nodes_run_one_release_and_their_restarts_go_on() {
    let mut world = World::of("three");
    converge(&mut world);
    outdate_nodes(&mut world);
    let columns = &mut world.resource.spec.cassandra.tables[0].columns;
    let column = millrace_api::crd::Column { name: "nickname".to_owned(), ..columns[1].clone() };
    columns.push(column);
    mix_releases(&mut world);
    let changes = |plan: &Plan| plan.acts.iter().filter(|act| matches!(act, Act::Cassandra(_))).count();
    let plan = world.plan();
    assert_eq!(changes(&plan), 0);
    let state = plan.links.iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
    assert_eq!(state.reason, Reason::CreatingSchema);
    assert!(
        state
            .message
            .ends_with("; nodes run 5.0.12 and 5.0.6; the schema is changed once all nodes run the same release")
    );
    // Processors get their new settings; then only restarts are left.
    world.carry_out(&plan);
    mix_releases(&mut world);
    assert_eq!(restarts(&mut world), ["users-cassandra-c-0"]);
    // The negative control: with one release the schema comes first.
    world.settle();
    let plan = world.plan();
    assert_eq!((changes(&plan), plan.acts.len()), (1, 1));
}

#[test]
fn the_newest_release_that_a_node_has_run_is_remembered() {
    let mut world = World::of("three");
    converge(&mut world);
    let version = |world: &mut World| {
        world.plan();
        world.resource.status.clone().and_then(|status| status.cassandra).and_then(|cassandra| cassandra.version)
    };
    assert_eq!(version(&mut world).as_deref(), Some("5.0.6"));
    mix_releases(&mut world);
    assert_eq!(version(&mut world).as_deref(), Some("5.0.12"), "by its numbers");
    world.observed.stores.cassandra.nodes.clear();
    assert_eq!(version(&mut world).as_deref(), Some("5.0.12"), "though nobody says so now");
    world.settle();
    for node in world.observed.stores.cassandra.nodes.values_mut() {
        node.release = "5.0.13-SNAPSHOT".to_owned();
    }
    assert_eq!(version(&mut world).as_deref(), Some("5.0.12"), "of no published release");
}

#[test]
fn extends_a_table_beside_one_that_is_refused() {
    let mut world = World::of("three");
    converge(&mut world);
    let tables = &mut world.resource.spec.cassandra.tables;
    let mut other = tables[0].clone();
    other.name = "other_users".to_owned();
    tables[0].primary_key.clustering.clear();
    tables.push(other);
    let acts: Vec<String> = world.plan().acts.iter().map(Act::describe).collect();
    assert_eq!(acts, ["create table 'other_users'"]);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaChangeRejected));
}

/// Declares a user-defined type with fields of type text, and a column of it in the first table.
fn declare_address(world: &mut World, fields: &[&str], column: &str) {
    let field = |name: &&str| json!({"name": name, "type": "text"});
    let fields: Vec<_> = fields.iter().map(field).collect();
    let declared = json!({"name": "address", "fields": fields});
    let cassandra = &mut world.resource.spec.cassandra;
    cassandra.types = vec![serde_json::from_value(declared).expect("it is a type")];
    let columns = &mut cassandra.tables[0].columns;
    columns.retain(|column| column.name != "home");
    columns.push(serde_json::from_value(json!({"name": "home", "type": column})).expect("it is a column"));
}

#[test]
fn creates_and_extends_types_before_the_tables_that_use_them() {
    let mut world = World::of("one");
    converge(&mut world);
    declare_address(&mut world, &["street", "city"], "map<text, frozen<address>>");
    let plan = world.plan();
    let acts: Vec<String> = plan.acts.iter().map(Act::describe).collect();
    assert_eq!(acts, ["create type 'address'", "add column 'home' to table 'created_users'"]);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::CreatingSchema));
    world.carry_out(&plan);
    converge(&mut world);

    declare_address(&mut world, &["street", "city", "country"], "map<text, frozen<address>>");
    let plan = world.plan();
    let acts: Vec<String> = plan.acts.iter().map(Act::describe).collect();
    assert_eq!(acts, ["add field 'country' to type 'address'"]);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::CreatingSchema));
    world.carry_out(&plan);
    converge(&mut world);

    let mut fresh = World::of("one");
    declare_address(&mut fresh, &["street", "city"], "address");
    converge(&mut fresh);
}

#[test]
fn refuses_other_fields_of_a_type_and_leaves_it_alone() {
    let mut world = World::of("one");
    declare_address(&mut world, &["street", "city"], "frozen<address>");
    converge(&mut world);
    let said = |world: &mut World| {
        let plan = world.plan();
        assert!(plan.acts.is_empty(), "{:?}", plan.acts);
        let state = plan.links.into_iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
        assert_eq!((state.met, state.reason), (false, Reason::SchemaChangeRejected));
        state.message
    };
    for fields in [&["street"][..], &["city", "street"], &["country", "street", "city"]] {
        declare_address(&mut world, fields, "frozen<address>");
        let message = "type 'address' has the fields (street, city), which cannot be removed or moved; keep them first \
                       and in this order, not ";
        assert_eq!(said(&mut world), format!("{message}({})", fields.join(", ")));
    }
    declare_address(&mut world, &["street", "city"], "frozen<address>");
    world.resource.spec.cassandra.types[0].fields[1].field_type = "set<text>".to_owned();
    assert_eq!(
        said(&mut world),
        "field 'city' of type 'address' has type text, which cannot change to set<text>; use a new field name"
    );
    declare_address(&mut world, &["street", "city"], "set<text>");
    assert_eq!(
        said(&mut world),
        "column 'home' of table 'created_users' has type frozen<address>, which cannot change to set<text>; use a \
         new column name"
    );
}

#[test]
fn adds_no_field_to_a_type_that_places_rows() {
    let mut world = World::of("one");
    declare_address(&mut world, &["street"], "frozen<address>");
    world.resource.spec.cassandra.tables[0].primary_key.partition = vec!["home".to_owned()];
    // The generator has no such field, so that all but the producer comes up.
    for _ in 0..ENOUGH {
        world.step();
    }
    assert!(link(&mut world, Link::Cassandra).0);
    declare_address(&mut world, &["street", "city"], "frozen<address>");
    assert!(world.plan().acts.is_empty());
    let plan = world.plan();
    let state = plan.links.into_iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
    assert_eq!(
        state.message,
        "type 'address' is in the partition key of table 'created_users', so Cassandra cannot add fields to it; use a \
         new type"
    );
}

#[test]
fn takes_cassandras_words_for_a_type_for_the_type() {
    let mut world = World::of("one");
    declare_address(&mut world, &["street"], "tuple<int, frozen<list<varchar>>>");
    converge(&mut world);
    for found in ["frozen<tuple<int, frozen<list<text>>>>", "tuple<int,frozen<list<text>>>"] {
        world.found_column("created_users", "home", found);
        let plan = world.plan();
        assert!(plan.is_empty(), "{:?}", plan.links);
    }
    // The negative control.
    world.found_column("created_users", "home", "frozen<tuple<int, frozen<set<text>>>>");
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaChangeRejected));
}

#[test]
fn leaves_alone_what_kafka_writes_otherwise_and_what_tools_set_for_a_while() {
    let mut world = World::of("three");
    world.resource.spec.kafka.topics[0].config.insert("cleanup.policy".to_owned(), "compact, delete".to_owned());
    converge(&mut world);
    let config = &mut brokers(&mut world).topics.get_mut("users_created").expect("it exists").config;
    config.insert("cleanup.policy".to_owned(), "compact,delete".to_owned());
    config.insert("leader.replication.throttled.replicas".to_owned(), "0:1".to_owned());
    let plan = world.plan();
    assert!(plan.acts.is_empty(), "{:?}", plan.acts);
    // The negative control: what somebody else set for good is unset.
    let config = &mut brokers(&mut world).topics.get_mut("users_created").expect("it exists").config;
    config.insert("retention.bytes".to_owned(), "1".to_owned());
    assert!(matches!(world.plan().acts[..], [Act::Kafka(Change::AlterTopic { .. })]));
}

#[test]
fn raises_the_write_timestamp_base_with_the_partitions_only() {
    let mut world = World::of("one");
    converge(&mut world);
    let base = |world: &World| {
        let status = world.resource.status.clone().expect("a status was reported");
        let topics = status.kafka.expect("kafka was reported").topics;
        topics.into_iter().find(|topic| topic.name == "users_created").expect("it exists").write_timestamp_base
    };
    let first = base(&world);
    world.observed.now += chrono::TimeDelta::hours(1);
    world.plan();
    assert_eq!(base(&world), first, "time alone changes nothing");
    world.resource.spec.kafka.topics.iter_mut().for_each(|topic| topic.partitions += 1);
    converge(&mut world);
    world.plan();
    assert!(base(&world) > first);
}

#[test]
fn says_the_first_unmet_link_in_ready() {
    let mut world = World::of("three");
    converge(&mut world);
    let ready = |world: &World| {
        let status = world.resource.status.clone().expect("a status was reported");
        let ready = status.conditions.into_iter().find(|condition| condition.type_ == "Ready");
        let ready = ready.expect("Ready is reported");
        (ready.status, ready.reason)
    };
    world.plan();
    assert_eq!(ready(&world), ("True".to_owned(), "AllComponentsReady".to_owned()));
    world.observed.stores.zookeeper.servers.clear();
    world.observed.stores.cassandra.nodes.clear();
    world.plan();
    assert_eq!(ready(&world), ("False".to_owned(), "WaitingForQuorum".to_owned()));
}

#[test]
fn demands_two_copies_of_committed_offsets_where_there_are_three() {
    let mut world = World::of("three");
    converge(&mut world);
    let offsets = brokers(&mut world).offsets_topic.clone().expect("a group has committed");
    assert_eq!(offsets.config["min.insync.replicas"], "2");
}

#[test]
fn keeps_the_copies_of_what_exists_when_members_are_added() {
    let mut world = World::of("one");
    let spec = &mut world.resource.spec;
    spec.kafka
        .topics
        .iter_mut()
        .for_each(|topic| (topic.replication_factor, topic.min_in_sync_replicas) = (None, None));
    spec.cassandra.keyspace.replication_factor = None;
    converge(&mut world);
    world.resource.spec.kafka.replicas = Some(3);
    world.resource.spec.cassandra.racks[0].replicas = 3;
    converge(&mut world);
    let topics = &brokers(&mut world).topics;
    assert!(
        topics.values().all(|topic| topic.config["min.insync.replicas"] == "1"),
        "writes to one copy must not stop"
    );
    let offsets = brokers(&mut world).offsets_topic.clone().expect("a group has committed");
    assert_eq!(offsets.config, BTreeMap::new(), "commits to one copy must not stop");
    // The negative control: a factor that the user wrote is not ignored.
    world.resource.spec.cassandra.keyspace.replication_factor = Some(3);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaChangeRejected));
}

/// Returns how the nodes that start now acknowledge a write.
fn commit_log(world: &World) -> String {
    let files = world.observed.children.config_maps["users-cassandra"].data.clone().expect("it has files");
    let line = files["cassandra.yaml"].lines().find(|line| line.starts_with("commitlog_sync:")).map(str::to_owned);
    line.expect("it is set")
}

#[test]
fn nodes_keep_the_settings_of_their_keyspace_when_members_are_added() {
    let mut world = World::of("one");
    world.resource.spec.cassandra.keyspace.replication_factor = None;
    converge(&mut world);
    assert_eq!(commit_log(&world), "commitlog_sync: \"batch\"", "there is one copy");
    world.resource.spec.cassandra.racks[0].replicas = 3;
    converge(&mut world);
    assert_eq!(commit_log(&world), "commitlog_sync: \"batch\"", "there is still one copy");
    assert_eq!((restarts(&mut world), world.plan().outdated), (Vec::new(), 0), "a node's start is no other's restart");

    world.observed.stores.cassandra.schema = None;
    let plan = world.plan();
    assert!(plan.apply.config_maps.is_empty(), "what nobody can say now is what it was");
    // The negative control: a keyspace of three copies.
    world.replicate(3);
    converge(&mut world);
    assert_eq!(commit_log(&world), "commitlog_sync: \"periodic\"");
}

#[test]
fn a_changed_spec_is_ready_when_the_last_pod_has_it() {
    let mut world = World::of("one");
    converge(&mut world);
    world.resource.metadata.generation = world.resource.metadata.generation.map_or(Some(1), |was| Some(was + 1));
    outdate_brokers(&mut world);
    world.unready("users-zookeeper-0");
    assert_eq!(restarts(&mut world), [""; 0], "no store can spare a pod now");
    assert_eq!(said(&mut world, "Ready"), ("False".to_owned(), "ApplyingChanges".to_owned()));
    world.observed.children.pods.remove("users-zookeeper-0");
    world.settle();
    converge(&mut world);
    assert_eq!(said(&mut world, "Ready"), ("True".to_owned(), "AllComponentsReady".to_owned()));
}

#[test]
fn a_paused_pipeline_says_so_first_and_what_waits() {
    let mut world = World::of("one");
    converge(&mut world);
    let paused = [("millrace.dev/paused".to_owned(), "true".to_owned())];
    world.resource.metadata.annotations = Some(paused.into());
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    assert_eq!(said(&mut world, "Ready"), ("Unknown".to_owned(), "Paused".to_owned()));
    assert_eq!(said(&mut world, "Stalled"), ("False".to_owned(), "Paused".to_owned()));
    assert_eq!(said(&mut world, "KafkaReady"), ("True".to_owned(), "BrokersRegistered".to_owned()));
    let status = world.resource.status.clone().expect("a status was reported");
    assert_eq!(status.phase.as_deref(), Some("Paused"));
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").expect("it is always reported");
    assert_eq!(
        ready.message,
        "paused by the annotation millrace.dev/paused: the operator changes nothing; 2 changes are pending; observed \
         state: every link of the readiness chain is met"
    );
    // The negative control: any other value is none.
    world.resource.metadata.annotations = Some([("millrace.dev/paused".to_owned(), "no".to_owned())].into());
    assert_ne!(said(&mut world, "Ready").1, "Paused");
}

/// Returns status and reason of a condition.
fn said(world: &mut World, wanted: &str) -> (String, String) {
    world.plan();
    let conditions = world.resource.status.clone().expect("a status was reported").conditions;
    let found = conditions.into_iter().find(|condition| condition.type_ == wanted).expect("it is always reported");
    (found.status, found.reason)
}

#[test]
fn a_repair_lets_ready_stand_and_a_changed_spec_waits_until_it_is_carried_out() {
    let mut world = World::of("one");
    converge(&mut world);
    let pair = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(said(&mut world, "Ready"), pair("True", "AllComponentsReady"));
    assert_eq!(said(&mut world, "Reconciling"), pair("False", "AllComponentsReady"));

    world.observed.children.services.clear();
    assert_eq!(said(&mut world, "Ready"), pair("True", "AllComponentsReady"));
    assert_eq!(said(&mut world, "Reconciling"), pair("True", "ApplyingChanges"));

    let generation = world.resource.metadata.generation.unwrap_or_default();
    world.resource.metadata.generation = Some(generation + 1);
    assert_eq!(said(&mut world, "Ready"), pair("False", "ApplyingChanges"));
    converge(&mut world);
    assert_eq!(said(&mut world, "Ready"), pair("True", "AllComponentsReady"));
}

/// Gives a broker a claim, which has a volume or waits for one.
fn claim(world: &mut World, ordinal: u32, is_unbound: bool) {
    let children = &mut world.observed.children;
    let brokers = children.stateful_sets.get_mut("users-kafka").expect("there are brokers");
    brokers.metadata.uid = Some("uid-of-brokers".to_owned());
    let name = format!("data-users-kafka-{ordinal}");
    let claim = Claim {
        class: Some("fast".to_owned()),
        component: Some("kafka".to_owned()),
        is_unbound,
        ..world::claim(&format!("uid-of-{name}"))
    };
    children.volumes.get_or_insert_default().insert(name, claim);
}

/// Returns the storage class of the brokers' claims in what a plan applies; `None`: it applies no brokers.
fn applied_class(plan: &Plan) -> Option<serde_json::Value> {
    let sets = serde_json::to_value(&plan.apply.stateful_sets).expect("they serialise");
    let brokers = sets.as_array()?.iter().find(|set| set["metadata"]["name"] == "users-kafka")?.clone();
    Some(brokers["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"].clone())
}

fn volume(world: &mut World) -> &mut millrace_api::crd::Storage {
    world.resource.spec.kafka.storage.as_mut().expect("the brokers have volumes")
}

#[test]
fn a_storage_class_is_corrected_while_no_claim_has_a_volume() {
    let mut world = World::of("three");
    converge(&mut world);
    (0..3).for_each(|ordinal| claim(&mut world, ordinal, true));
    volume(&mut world).class_name = Some("slow".to_owned());

    let plan = world.plan();
    assert!(matches!(&plan.acts[..], [Act::RemoveSet(set)] if set.uid == "uid-of-brokers"), "{:?}", plan.acts);
    assert_eq!((applied_class(&plan), plan.refused.clone()), (None, Vec::new()));
    world.carry_out(&plan);

    let plan = world.plan();
    let removed = plan.acts.iter().filter_map(|act| match act {
        Act::RemoveClaim(claim) => Some((claim.name.as_str(), claim.resource_version.as_str())),
        _ => None,
    });
    let removed: Vec<(&str, &str)> = removed.collect();
    assert_eq!(removed, [("data-users-kafka-0", "7"), ("data-users-kafka-1", "7"), ("data-users-kafka-2", "7")]);
    assert_eq!(applied_class(&plan), None, "a claim that is still there would be taken over");
    world.carry_out(&plan);

    let plan = world.plan();
    assert_eq!(applied_class(&plan), Some(json!("slow")));
    world.carry_out(&plan);
    assert!(world.plan().is_empty());
}

#[rstest]
#[case::one_is_bound(Some(2), "the storage class of a bound volume cannot change; set it back to 'fast'")]
#[case::claims_are_unknown(None, "it is unknown whether volumes are bound")]
fn the_storage_class_of_what_may_hold_data_stays(#[case] unbound: Option<u32>, #[case] says: &str) {
    let mut world = World::of("three");
    converge(&mut world);
    if let Some(unbound) = unbound {
        (0..3).for_each(|ordinal| claim(&mut world, ordinal, ordinal < unbound));
    }
    volume(&mut world).class_name = Some("slow".to_owned());
    let plan = world.plan();
    assert!(plan.is_empty(), "{:?}", plan.acts);
    let [refused] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert_eq!(refused.path, "spec.kafka.storage.className");
    assert!(refused.message.starts_with(says), "{refused}");
    let conditions = world.resource.status.clone().unwrap_or_default().conditions;
    let valid = conditions.iter().find(|condition| condition.type_ == "SpecValid").expect("it is reported");
    assert!(valid.status == "False" && valid.message.contains(says), "{valid:?}");

    // All else of the change goes ahead.
    world.resource.spec.kafka.pod_template = Some(json!({"priorityClassName": "high"}));
    assert_eq!(applied_class(&world.plan()), Some(json!("fast")));
    volume(&mut world).class_name = Some("fast".to_owned());
    assert_eq!(world.plan().refused, []);
}

#[test]
fn a_store_that_has_run_keeps_its_storage_class() {
    let mut world = World::of("three");
    converge(&mut world);
    (0..3).for_each(|ordinal| claim(&mut world, ordinal, true));
    let pod = world.observed.children.pods.get_mut("users-kafka-1").expect("the pod is there");
    pod.spec = Some(k8s_openapi::api::core::v1::PodSpec { node_name: Some("node".to_owned()), ..Default::default() });
    volume(&mut world).class_name = None;
    let plan = world.plan();
    assert!(plan.acts.is_empty() && plan.refused.len() == 1, "{:?}", plan.acts);
}

#[test]
fn a_claim_with_a_volume_is_never_removed() {
    let mut world = World::of("three");
    converge(&mut world);
    (0..3).for_each(|ordinal| claim(&mut world, ordinal, ordinal == 0));
    world.observed.children.stateful_sets.remove("users-kafka");
    volume(&mut world).class_name = Some("slow".to_owned());
    let plan = world.plan();
    assert!(
        matches!(&plan.acts[..], [Act::RemoveClaim(claim)] if claim.name == "data-users-kafka-0"),
        "{:?}",
        plan.acts
    );
}

/// Returns the ConfigMaps and workloads that a plan changes.
fn changed(plan: &Plan) -> Vec<String> {
    let objects = &plan.apply;
    let maps = objects.config_maps.iter().map(ResourceExt::name_any);
    let sets = objects.stateful_sets.iter().map(ResourceExt::name_any);
    maps.chain(sets).chain(objects.deployments.iter().map(ResourceExt::name_any)).collect()
}

#[test]
fn a_component_with_an_invalid_pod_template_stays_as_it_is_and_the_others_go_ahead() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.kafka.pod_template = Some(json!({"nodeSelektor": {}}));
    world.resource.spec.kafka.config.insert("num.partitions".to_owned(), "4".to_owned());
    world.resource.spec.cassandra.config.insert("concurrent_reads".to_owned(), "8".to_owned());
    let names = changed(&world.plan());
    assert!(!names.is_empty() && names.iter().all(|name| name.contains("cassandra")), "{names:?}");
    // Nor is its set made anew for another storage class.
    let class = volume(&mut world).class_name.replace("slow".to_owned());
    let plan = world.plan();
    assert!(plan.acts.is_empty() && plan.refused.is_empty(), "{:?} {:?}", plan.acts, plan.refused);
    volume(&mut world).class_name = class;
    // The negative control: with a valid one, the brokers are changed, too.
    world.resource.spec.kafka.pod_template = Some(json!({"nodeSelector": {}}));
    let names = changed(&world.plan());
    assert!(names.iter().any(|name| name.contains("kafka")), "{names:?}");
}

#[test]
fn a_component_with_an_invalid_pod_template_is_not_created_and_its_link_says_why() {
    let mut world = World::of("one");
    world.resource.spec.kafka.pod_template = Some(json!({"nodeSelektor": {}}));
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!(workloads(&world.observed.children), ["users-cassandra-r1", "users-zookeeper"]);
    let kafka = world.plan().links.into_iter().find(|state| state.link == Link::Kafka).expect("it is judged");
    assert_eq!(kafka.reason, Reason::SpecInvalid);
    let says = "kafka is not created until the spec is corrected: spec.kafka.podTemplate";
    assert!(kafka.message.starts_with(says), "{}", kafka.message);
    // The negative control: corrected, it is created, and all that waited for it.
    world.resource.spec.kafka.pod_template = None;
    converge(&mut world);
}

#[test]
fn producers_get_no_new_settings_while_the_processors_keep_theirs() {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.processor.pod_template = Some(json!({"nodeSelektor": {}}));
    // The negative control: while the processors would get the same settings, producers go ahead.
    world.resource.spec.producer.pod_template = Some(json!({"labels": {"team": "data"}}));
    let plan = world.plan();
    assert!(changes_producers(&plan) && plan.apply.deployments.is_empty());
    add_column_and_field(&mut world);
    let plan = world.plan();
    assert!(plan.apply.deployments.is_empty());
    assert!(!changes_producers(&plan), "a new field would be a dead letter");
}
