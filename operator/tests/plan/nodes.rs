//! Cassandra's nodes: one whose volume is gone is replaced and founds nothing; repairs are switched on once, and told of.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use millrace_api::crd::UpdatePolicy;
use millrace_operator::act::Act;
use millrace_operator::cassandra::repair::SWITCH;
use millrace_operator::labels::APPROVE_PLAN;
use millrace_operator::link::{Link, Reason};
use millrace_operator::observed::Claim;
use millrace_operator::plan::Plan;
use millrace_stores::cassandra::{NodeKey, RepairFacts};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, claim, host_id};
use crate::{ENOUGH, converge, link, outdate_nodes, restarts, said};

const POD: &str = "users-cassandra-b-0";

fn key() -> NodeKey {
    ("b".to_owned(), 0)
}

/// Returns the claims of nodes, such as `a-0`.
fn claims(nodes: &[&str]) -> BTreeMap<String, Claim> {
    nodes.iter().map(|node| (format!("data-users-cassandra-{node}"), claim("first"))).collect()
}

/// Returns a complete pipeline whose claims can be listed.
fn with_claims() -> World {
    let mut world = World::of("three");
    world.observed.children.volumes = Some(claims(&["a-0", "b-0", "c-0"]));
    converge(&mut world);
    world
}

/// Takes a node's volume away: there is a new claim, and the node does not answer.
fn lose(world: &mut World, rack: &str) {
    let claims = world.observed.children.volumes.as_mut().expect("claims can be listed");
    claims.insert(format!("data-users-cassandra-{rack}-0"), claim("second"));
    world.observed.stores.cassandra.nodes.remove(&(rack.to_owned(), 0));
}

/// Returns the file with the nodes that the pods read: the present one, or as a plan changes it.
fn nodes_file<'a>(world: &'a World, plan: &'a Plan) -> &'a str {
    let mut maps = plan.apply.config_maps.iter();
    let changed = maps.find(|map| map.metadata.name.as_deref() == Some("users-cassandra"));
    let map = changed.unwrap_or_else(|| &world.observed.children.config_maps["users-cassandra"]);
    &map.data.as_ref().expect("it has files")["nodes"]
}

/// Returns what the pods are told of the nodes.
fn told(world: &World, plan: &Plan) -> Vec<String> {
    nodes_file(world, plan).lines().filter(|line| !line.starts_with("ring ")).map(str::to_owned).collect()
}

/// Returns what the ring is called in what the pods are told; empty: it is not complete.
fn ring(world: &World, plan: &Plan) -> String {
    nodes_file(world, plan).lines().find(|line| line.starts_with("ring ")).unwrap_or_default().to_owned()
}

fn planned(world: &World) -> Vec<String> {
    world.resource.status.clone().expect("a status was reported").planned_actions
}

fn line(rack: &str, word: &str) -> String {
    format!("users-cassandra-{rack}-0 {} {word}", host_id(&(rack.to_owned(), 0)))
}

#[test]
fn pods_are_told_of_every_node_and_restart_for_nothing_of_it() {
    let mut world = with_claims();
    let plan = world.plan();
    assert_eq!(told(&world, &plan), [line("a", "wait"), line("b", "wait"), line("c", "wait")]);
    assert_eq!((plan.outdated, restarts(&mut world)), (0, Vec::new()));
}

#[test]
fn a_node_whose_claim_is_another_is_replaced_and_said() {
    let mut world = with_claims();
    lose(&mut world, "b");
    let plan = world.plan();
    assert_eq!(told(&world, &plan), [line("a", "wait"), line("b", "replace"), line("c", "wait")]);
    let state = plan.links.iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
    assert_eq!((state.met, state.reason), (false, Reason::ReplacingNode));
    assert!(state.message.contains(&format!("'{POD}' lost its volume")), "{}", state.message);
    assert!(state.message.contains("2 other copies"), "{}", state.message);

    assert_eq!(planned(&world), [format!("replace the node of pod '{POD}', whose volume is gone")]);

    // When it is back, it is one of the ring again, and what is remembered is its new volume.
    world.settle();
    converge(&mut world);
    let plan = world.plan();
    assert_eq!(told(&world, &plan), [line("a", "wait"), line("b", "wait"), line("c", "wait")]);
    let status = world.resource.status.clone().expect("a status was reported").cassandra.expect("it is reported");
    let claims: Vec<_> = status.nodes.into_iter().filter_map(|node| node.claim).collect();
    assert_eq!(claims, ["first", "second", "first"]);
}

/// Negative controls: a node that is merely away, one of two, the only copy, and one that was given up.
#[test]
fn no_node_is_replaced_that_may_come_back_or_while_others_are_away() {
    let mut away = with_claims();
    away.observed.stores.cassandra.nodes.remove(&key());
    let plan = away.plan();
    assert_eq!(told(&away, &plan)[1], line("b", "wait"));
    assert_eq!(link(&mut away, Link::Cassandra).1, Reason::NodeJoining);

    let mut two = with_claims();
    lose(&mut two, "b");
    two.observed.stores.cassandra.nodes.remove(&("c".to_owned(), 0));
    let plan = two.plan();
    assert_eq!(told(&two, &plan), [line("a", "wait"), line("b", "wait"), line("c", "wait")]);
    assert_eq!(link(&mut two, Link::Cassandra).1, Reason::VolumeLost);

    let mut both = with_claims();
    lose(&mut both, "b");
    lose(&mut both, "c");
    let plan = both.plan();
    assert_eq!(told(&both, &plan), [line("a", "wait"), line("b", "wait"), line("c", "wait")]);
    assert_eq!(link(&mut both, Link::Cassandra).1, Reason::VolumeLost);

    let mut single = with_claims();
    single.replicate(1);
    lose(&mut single, "b");
    let plan = single.plan();
    assert_eq!(told(&single, &plan)[1], line("b", "wait"));
    let state = plan.links.iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
    assert!(state.message.contains(&format!("removenode {}", host_id(&key()))), "{}", state.message);

    let mut unknown = with_claims();
    lose(&mut unknown, "b");
    unknown.observed.children.volumes = None;
    let plan = unknown.plan();
    assert_eq!(told(&unknown, &plan)[1], line("b", "wait"), "whether the claim is another is unknown");
}

#[test]
fn a_node_that_was_given_up_joins_as_a_new_one() {
    let mut world = with_claims();
    lose(&mut world, "b");
    for node in world.observed.stores.cassandra.nodes.values_mut() {
        node.ring.remove(&host_id(&key()));
    }
    let plan = world.plan();
    assert_eq!(told(&world, &plan), [line("a", "wait"), line("c", "wait")]);
}

#[test]
fn a_ring_whose_volumes_are_all_gone_is_founded_anew() {
    let mut world = with_claims();
    for rack in ["a", "b", "c"] {
        lose(&mut world, rack);
    }
    let plan = world.plan();
    assert_eq!(told(&world, &plan), [""; 0]);
}

/// Returns a complete pipeline whose rack `a` has two nodes, and is to have one.
fn lowered() -> World {
    let mut world = World::of("three");
    world.resource.spec.cassandra.racks[0].replicas = 2;
    converge(&mut world);
    world.resource.spec.cassandra.racks[0].replicas = 1;
    world
}

/// Returns how many nodes rack `a` is given by a plan; `None`: as many as before.
fn given(plan: &Plan) -> Option<i32> {
    let mut sets = plan.apply.stateful_sets.iter();
    let set = sets.find(|set| set.metadata.name.as_deref() == Some("users-cassandra-a"))?;
    set.spec.as_ref()?.replicas
}

fn second() -> NodeKey {
    ("a".to_owned(), 1)
}

/// Has the other nodes drop the second of rack `a`, which serves on.
fn drop_second(world: &mut World) {
    for (key, node) in &mut world.observed.stores.cassandra.nodes {
        node.ring.remove(&host_id(&second()));
        node.joined = *key != second();
    }
}

fn is_told_to_leave(world: &World, plan: &Plan) -> bool {
    told(world, plan).iter().any(|line| line.ends_with(" leave"))
}

#[test]
fn a_rack_is_lowered_when_its_last_node_has_left_the_ring() {
    let mut world = lowered();
    let plan = world.plan();
    let leaving = format!("users-cassandra-a-1 {} leave", host_id(&second()));
    assert!(told(&world, &plan).contains(&leaving), "{:?}", told(&world, &plan));
    assert_eq!((given(&plan), ring(&world, &plan)), (None, String::new()));
    assert!(planned(&world)[0].starts_with("decommission the node of pod 'users-cassandra-a-1'"));
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::NodeLeaving));
    world.carry_out(&plan);

    // It leaves: it serves nobody, and the others have it in their ring.
    world.observed.stores.cassandra.nodes.remove(&second());
    assert_eq!(given(&world.plan()), None, "the others still know it");
    for node in world.observed.stores.cassandra.nodes.values_mut() {
        node.ring.remove(&host_id(&second()));
    }
    let plan = world.plan();
    assert_eq!(given(&plan), Some(1));
    assert!(told(&world, &plan).contains(&"users-cassandra-a-1 - later".to_owned()), "it must not come back meanwhile");
    world.observed.children.pods.remove("users-cassandra-a-1");
    world.carry_out(&plan);
    converge(&mut world);
    let plan = world.plan();
    assert_eq!(told(&world, &plan), [line("a", "wait"), line("b", "wait"), line("c", "wait")]);
}

/// The others drop a node some seconds before it is done.
#[test]
fn a_rack_is_not_lowered_while_the_node_that_leaves_still_serves() {
    let mut world = lowered();
    world.step();
    drop_second(&mut world);
    assert_eq!(given(&world.plan()), None);
    world.observed.stores.cassandra.nodes.remove(&second());
    assert_eq!(given(&world.plan()), Some(1));
}

/// The one is not replaced while the other streams, and what waits to be replaced keeps nobody from having left.
#[test]
fn a_volume_that_is_lost_while_a_node_leaves_is_replaced_when_that_has_left() {
    let mut world = World::of("three");
    world.observed.children.volumes = Some(claims(&["a-0", "a-1", "b-0", "c-0"]));
    world.resource.spec.cassandra.racks[0].replicas = 2;
    converge(&mut world);
    world.resource.spec.cassandra.racks[0].replicas = 1;
    world.step();
    let leaver = world.observed.stores.cassandra.nodes[&second()].address;
    for node in world.observed.stores.cassandra.nodes.values_mut() {
        node.sees_normal.remove(&leaver);
    }
    lose(&mut world, "b");
    let plan = world.plan();
    assert_eq!((given(&plan), told(&world, &plan).contains(&line("b", "wait"))), (None, true));

    drop_second(&mut world);
    world.observed.stores.cassandra.nodes.remove(&second());
    let plan = world.plan();
    assert_eq!(given(&plan), Some(1));
    assert!(told(&world, &plan).contains(&line("b", "replace")), "{:?}", told(&world, &plan));
}

#[test]
fn a_node_that_was_told_to_leave_is_not_passed_over_for_another() {
    let mut world = World::of("three");
    for rack in [0, 1] {
        world.resource.spec.cassandra.racks[rack].replicas = 2;
        converge(&mut world);
    }
    world.resource.spec.cassandra.racks[1].replicas = 1;
    world.step();
    world.resource.spec.cassandra.racks[0].replicas = 1;
    let plan = world.plan();
    let leave: Vec<String> = told(&world, &plan).into_iter().filter(|line| line.ends_with(" leave")).collect();
    assert_eq!(leave, [format!("users-cassandra-b-1 {} leave", host_id(&("b".to_owned(), 1)))]);
}

/// Pods that keep the template of an earlier version have a script that cannot do it. Nothing else waits for that.
#[test]
fn no_node_leaves_or_is_replaced_before_its_pod_has_a_script_that_knows_how() {
    let mut world = lowered();
    world.of_another_version();
    let plan = world.plan();
    assert!(!plan.kept.is_empty());
    assert_eq!((given(&plan).unwrap_or(2), is_told_to_leave(&world, &plan)), (2, false));
    let says = "node 'users-cassandra-a-1' leaves once the new template of the nodes' pods is approved";
    assert!(planned(&world).iter().any(|action| action == says), "{:?}", planned(&world));
    assert_eq!(link(&mut world, Link::Cassandra), (true, Reason::NodesUpNormal));
    let mut table = world.resource.spec.cassandra.tables[0].clone();
    table.name = "another".to_owned();
    world.resource.spec.cassandra.tables.push(table);
    assert!(world.plan().acts.iter().any(|act| matches!(act, Act::Cassandra(_))), "the table is made");

    world.annotate(APPROVE_PLAN, &plan.approval.hash);
    let mut leaves = || {
        let plan = world.step();
        is_told_to_leave(&world, &plan)
    };
    assert!((0..ENOUGH).any(|_| leaves()));

    let mut lost = with_claims();
    lost.of_another_version();
    lose(&mut lost, "b");
    let plan = lost.plan();
    assert!(told(&lost, &plan).contains(&line("b", "wait")));
    let state = plan.links.iter().find(|state| state.link == Link::Cassandra).expect("it is judged");
    assert!(state.message.contains("once the new template of the nodes' pods is approved"), "{}", state.message);
}

/// What is told would not reach the pods.
#[test]
fn no_node_leaves_while_nothing_is_applied_to_the_nodes() {
    let mut world = lowered();
    world.resource.spec.cassandra.pod_template = Some(json!({"nodeSelektor": {}}));
    let plan = world.plan();
    assert_eq!((given(&plan), is_told_to_leave(&world, &plan)), (None, false));
    assert_eq!(planned(&world), [""; 0]);
    assert_eq!(link(&mut world, Link::Cassandra), (true, Reason::NodesUpNormal));
}

/// Negative controls: another node is away; fewer nodes than copies; no room for its rows.
#[test]
fn no_node_leaves_while_another_is_away_or_its_rows_have_no_place() {
    let mut away = lowered();
    away.observed.stores.cassandra.nodes.remove(&key());
    let plan = away.plan();
    assert!(told(&away, &plan).iter().all(|line| !line.ends_with(" leave")), "{:?}", told(&away, &plan));

    let mut few = World::of("three");
    few.resource.spec.cassandra.racks[0].replicas = 2;
    few.resource.spec.cassandra.keyspace.replication_factor = None;
    converge(&mut few);
    few.replicate(4);
    converge(&mut few);
    few.resource.spec.cassandra.racks[0].replicas = 1;
    let plan = few.plan();
    assert_eq!((given(&plan), plan.refused.len()), (None, 1));
    assert!(plan.refused[0].message.contains("4 copies of each row"), "{}", plan.refused[0]);
    assert!(told(&few, &plan).iter().all(|line| !line.ends_with(" leave")));

    let mut full = lowered();
    for node in full.observed.stores.cassandra.nodes.values_mut() {
        node.used_mebibytes = Some(15 * 1024);
    }
    let plan = full.plan();
    assert_eq!((given(&plan), plan.refused.len()), (None, 1));
    assert!(plan.refused[0].message.contains("of 20480 MiB in use"), "{}", plan.refused[0]);
    // Half full, the others have room for it.
    for node in full.observed.stores.cassandra.nodes.values_mut() {
        node.used_mebibytes = Some(8 * 1024);
    }
    assert!(full.plan().refused.is_empty());
    // They have not, if their volumes have yet to grow to what the spec asks for.
    let mut volumes = claims(&["a-0", "a-1", "b-0", "c-0"]);
    for claim in volumes.values_mut() {
        claim.component = Some("cassandra".to_owned());
        claim.growth.capacity = Some("10Gi".to_owned());
    }
    full.observed.children.volumes = Some(volumes);
    let refused = full.plan().refused;
    assert!(refused[0].message.contains("of 10240 MiB in use"), "{refused:?}");
}

#[test]
fn a_node_that_is_wanted_again_stays_or_joins_anew() {
    let mut world = lowered();
    world.step();
    world.resource.spec.cassandra.racks[0].replicas = 2;
    let plan = world.plan();
    assert!(told(&world, &plan).contains(&format!("users-cassandra-a-1 {} wait", host_id(&second()))));
    converge(&mut world);
}

#[test]
fn the_ring_has_another_name_when_a_node_has_joined_and_only_then() {
    let mut world = World::of("three");
    converge(&mut world);
    let plan = world.plan();
    let before = ring(&world, &plan);
    assert!(before.starts_with("ring "), "{before}");
    world.resource.spec.cassandra.racks[0].replicas = 2;
    let plan = world.plan();
    assert_eq!(ring(&world, &plan), "", "a node is to come");
    converge(&mut world);
    let plan = world.plan();
    let after = ring(&world, &plan);
    assert!(after.starts_with("ring ") && after != before, "{after}");
    world.observed.stores.cassandra.nodes.remove(&second());
    let plan = world.plan();
    assert_eq!(ring(&world, &plan), after, "a node that is away owns its part");
}

/// Returns a pipeline whose nodes are of a version that repairs by itself, and never were told to.
fn without_scheduler() -> World {
    let mut world = World::of("three");
    converge(&mut world);
    world.resource.spec.cassandra.version = "5.0.9".to_owned();
    world
}

fn is_switched_on(plan: &Plan) -> bool {
    let maps = plan.apply.config_maps.iter().filter_map(|map| map.data.as_ref());
    maps.filter_map(|data| data.get("jvm-server.options")).any(|options| options.lines().any(|line| line == SWITCH))
}

#[test]
fn a_new_ring_repairs_by_itself_and_never_stops() {
    let mut world = World::of("three");
    world.resource.spec.cassandra.version = "5.0.9".to_owned();
    assert!(is_switched_on(&world.plan()));
    converge(&mut world);
    let files = world.observed.children.config_maps["users-cassandra"].data.clone().expect("it has files");
    assert!(files["cassandra.yaml"].lines().any(|line| line.starts_with("auto_repair: {")));
    world.observed.stores.cassandra.nodes.clear();
    world.observed.stores.cassandra.schema = None;
    assert!(world.plan().apply.config_maps.is_empty(), "it stays switched on while nobody answers");
    // The negative control: an earlier version does not know it.
    assert!(!is_switched_on(&World::of("three").plan()));
}

#[test]
fn a_ring_that_is_there_repairs_by_itself_once_every_node_can() {
    let mut world = without_scheduler();
    // By itself it would wait for approval: nobody asks for it in the spec.
    world.resource.spec.update_policy = UpdatePolicy::Automatic;
    let plan = world.plan();
    assert!(!is_switched_on(&plan), "the nodes still run 5.0.6");
    world.carry_out(&plan);
    // The world's nodes are of the version that is asked for.
    assert!(is_switched_on(&world.plan()));
    let node = world.observed.stores.cassandra.nodes.get_mut(&key()).expect("it answers");
    node.release = "5.0.7".to_owned();
    assert!(!is_switched_on(&world.plan()));
    // One that is away for a moment changes no template, and neither do all.
    world.observed.stores.cassandra.nodes.remove(&key());
    assert!(is_switched_on(&world.plan()));
    world.observed.stores.cassandra.nodes.clear();
    world.observed.stores.cassandra.schema = None;
    assert!(is_switched_on(&world.plan()));
}

#[test]
fn nodes_are_restarted_though_those_with_the_scheduler_hold_another_schema_version() {
    let mut world = without_scheduler();
    converge(&mut world);
    outdate_nodes(&mut world);
    let node = world.observed.stores.cassandra.nodes.get_mut(&key()).expect("it answers");
    (node.has_auto_repair, node.schema_version) = (true, Uuid::from_u128(2));
    assert_eq!(link(&mut world, Link::Cassandra), (true, Reason::NodesUpNormal));
    assert_eq!(restarts(&mut world).len(), 1);

    // No schema is changed meanwhile, and a change that waits for it holds no restart.
    let mut table = world.resource.spec.cassandra.tables[0].clone();
    table.name = "another".to_owned();
    world.resource.spec.cassandra.tables.push(table);
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::CreatingSchema));
    assert_eq!(restarts(&mut world).len(), 1);
    assert_eq!(world.plan().acts.len(), 1, "it is the restart");

    // The negative control: nodes of one kind must agree.
    let node = world.observed.stores.cassandra.nodes.get_mut(&key()).expect("it answers");
    node.has_auto_repair = false;
    assert_eq!(link(&mut world, Link::Cassandra), (false, Reason::SchemaDisagreement));
    assert_eq!(restarts(&mut world), [""; 0]);
}

/// Says when each node's last repair began and ended, in days after the world's beginning.
fn repaired(world: &mut World, repairs: &[(&str, i64, i64, bool)]) {
    let day = |days: i64| TimeDelta::days(days).num_milliseconds();
    let facts = |(rack, started, finished, has_begun): &(&str, i64, i64, bool)| {
        let repair = RepairFacts { started: day(*started), finished: day(*finished), has_begun: *has_begun };
        (host_id(&((*rack).to_owned(), 0)), repair)
    };
    world.observed.stores.cassandra.repairs = Some(repairs.iter().map(facts).collect());
    world.observed.stores.cassandra.nodes.values_mut().for_each(|node| node.has_auto_repair = true);
}

#[test]
fn repairs_are_reported_and_overdue_before_deletions_are_forgotten() {
    let mut world = World::of("three");
    world.resource.spec.cassandra.version = "5.0.9".to_owned();
    converge(&mut world);
    let has_condition = |world: &World| {
        let conditions = world.resource.status.clone().expect("a status was reported").conditions;
        conditions.iter().any(|condition| condition.type_ == "RepairOnSchedule")
    };
    assert!(!has_condition(&world), "no node has the scheduler");

    world.observed.now = DateTime::UNIX_EPOCH + TimeDelta::days(7);
    repaired(&mut world, &[("a", 3, 4, true), ("b", 6, 1, true), ("c", 0, 0, false)]);
    assert_eq!(said(&mut world, "RepairOnSchedule"), ("True".to_owned(), "RepairInTime".to_owned()));
    let status = world.resource.status.clone().expect("a status was reported").cassandra.expect("it is reported");
    let repair = status.repair.expect("repairs are reported");
    assert_eq!((repair.nodes.as_str(), &repair.under_way[..], repair.oldest), ("1/3", &[POD.to_owned()][..], None));

    world.observed.now += TimeDelta::days(1);
    assert_eq!(said(&mut world, "RepairOnSchedule"), ("False".to_owned(), "RepairOverdue".to_owned()));
    let conditions = world.resource.status.clone().expect("a status was reported").conditions;
    let overdue = conditions.iter().find(|condition| condition.type_ == "RepairOnSchedule").expect("it is reported");
    let said_of = ["'users-cassandra-c-0'", "8 days", "table 'created_users'", "10 days"];
    assert!(said_of.iter().all(|words| overdue.message.contains(words)), "{}", overdue.message);

    // What cannot be asked now is as it was.
    world.observed.stores.cassandra.repairs = None;
    world.observed.stores.cassandra.nodes.clear();
    world.observed.stores.cassandra.schema = None;
    assert_eq!(said(&mut world, "RepairOnSchedule").1, "RepairOverdue");

    // One copy of each row has nothing to be repaired from.
    world.settle();
    world.replicate(1);
    repaired(&mut world, &[("a", 0, 0, false)]);
    world.plan();
    assert!(!has_condition(&world));
}
