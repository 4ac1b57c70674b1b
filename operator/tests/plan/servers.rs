//! ZooKeeper servers that come and go: they are there before they vote, and go when they know that they vote no more.

use std::collections::BTreeSet;

use millrace_operator::act::Act;
use millrace_operator::link::Link;
use millrace_operator::observed::Claim;
use millrace_operator::plan::Plan;
use millrace_stores::zookeeper::{Configuration, Reconfiguration};

use super::world::{World, claim};
use super::{ENOUGH, converge, link, restarts};

fn want(world: &mut World, replicas: i32) {
    world.resource.spec.zookeeper.as_mut().expect("the fixture has it").replicas = replicas;
}

fn changes(plan: &Plan) -> Vec<Reconfiguration> {
    let of = |act: &Act| match act {
        Act::ZooKeeper(change) => Some(change.clone()),
        _ => None,
    };
    plan.acts.iter().filter_map(of).collect()
}

/// Carries plans out until there is nothing to do. Returns the changes of who votes. The world itself holds that each
/// is one that ZooKeeper takes, that brokers have no session with a server that goes, and that no server goes that
/// votes.
fn settle(world: &mut World) -> Vec<Reconfiguration> {
    let mut changed = Vec::new();
    for _ in 0..4 * ENOUGH {
        let plan = world.step();
        let met = plan.links.iter().any(|state| state.link == Link::ZooKeeper && state.met);
        assert!(met, "there is a quorum all the while: {:?}", plan.links);
        changed.extend(changes(&plan));
        if plan.is_empty() && !plan.membership.is_wanted && plan.outdated == 0 {
            return changed;
        }
    }
    panic!("it does not come to rest: {:?}", world.plan());
}

fn assert_settled(world: &mut World, wanted: u32) {
    assert_eq!(world.voting.voters, (0..wanted).collect::<BTreeSet<u32>>());
    assert_eq!(world.size("users-zookeeper"), wanted.cast_signed());
    let files = world.observed.children.config_maps["users-kafka"].data.clone().unwrap_or_default();
    assert_eq!(files["server.properties"].matches("users-zookeeper-nodes").count(), wanted as usize);
    let told = world.observed.children.config_maps["users-zookeeper-members"].data.clone().unwrap_or_default();
    assert_eq!(told["servers"].lines().count(), wanted as usize);
    assert_eq!(told["founded"], "true\n");
    let status = world.resource.status.clone().unwrap_or_default();
    let ready = status.zookeeper.map(|zookeeper| zookeeper.ready);
    assert_eq!(ready, Some(format!("{wanted}/{wanted}")));
    assert_eq!(restarts(world), [""; 0]);
}

#[test]
fn an_ensemble_grows_to_five_and_shrinks_to_one_with_the_leader_among_those_that_go() {
    let mut world = World::of("one");
    converge(&mut world);
    for (wanted, steps) in [(3, 1), (5, 1), (3, 2), (1, 2)] {
        want(&mut world, wanted);
        world.leader = world.voting.voters.last().copied().expect("somebody votes");
        world.settle();
        let changed = settle(&mut world);
        assert_eq!(changed.len(), steps, "{changed:?}");
        assert_settled(&mut world, wanted.cast_unsigned());
    }
}

#[test]
fn no_size_between_is_passed_through() {
    let mut world = World::of("one");
    converge(&mut world);
    want(&mut world, 5);
    let changed = settle(&mut world);
    assert_eq!(changed.iter().map(|change| change.joining.len()).collect::<Vec<_>>(), [4]);
    assert_settled(&mut world, 5);
    want(&mut world, 1);
    world.leader = 3;
    world.settle();
    let leaving: Vec<BTreeSet<u32>> = settle(&mut world).into_iter().map(|change| change.leaving).collect();
    assert_eq!(leaving, [BTreeSet::from([1_u32, 2, 4]), BTreeSet::from([3])], "the leader goes last");
    assert_settled(&mut world, 1);
}

#[test]
fn a_spec_that_changes_on_the_way_ends_in_the_last_one() {
    for steps in 0..14 {
        let mut world = World::of("one");
        converge(&mut world);
        for replicas in [3, 1, 5, 3] {
            want(&mut world, replicas);
            for _ in 0..steps {
                world.step();
            }
        }
        settle(&mut world);
        assert_settled(&mut world, 3);
    }
}

#[test]
fn a_server_votes_only_once_it_has_all_that_the_leader_has() {
    let mut world = World::of("one");
    converge(&mut world);
    want(&mut world, 3);
    world.behind.insert(2, Configuration::default());
    for _ in 0..ENOUGH {
        let plan = world.step();
        assert_eq!(changes(&plan), []);
    }
    let planned = world.resource.status.clone().unwrap_or_default().planned_actions;
    let said = "the change of the ZooKeeper ensemble waits for server 'users-zookeeper-2', which does not follow the \
                leader yet";
    assert!(planned.iter().any(|action| action == said), "{planned:?}");
    assert!(link(&mut world, Link::ZooKeeper).0, "one is a quorum of one");
    world.behind.clear();
    world.settle();
    settle(&mut world);
    assert_settled(&mut world, 3);
}

#[test]
fn a_server_goes_only_once_it_knows_that_it_votes_no_more() {
    let mut world = World::of("three");
    converge(&mut world);
    let before = world.voting.clone();
    want(&mut world, 1);
    world.leader = 0;
    world.behind.insert(1, before);
    world.settle();
    for _ in 0..ENOUGH {
        world.step();
    }
    assert_eq!((world.voting.voters.len(), world.size("users-zookeeper")), (1, 3));
    let said = "waits for server 'users-zookeeper-1' to confirm that it no longer votes";
    let planned = world.resource.status.clone().unwrap_or_default().planned_actions;
    assert!(planned.iter().any(|action| action.contains(said)), "{planned:?}");
    world.behind.clear();
    world.settle();
    settle(&mut world);
    assert_settled(&mut world, 1);
}

/// Gives every server a claim with a volume.
fn give_claims(world: &mut World) {
    let of = |uid: &str| Claim { component: Some("zookeeper".to_owned()), ..claim(uid) };
    let claims = (0..3).map(|ordinal| (format!("data-users-zookeeper-{ordinal}"), of(&format!("uid-{ordinal}"))));
    world.observed.children.volumes = Some(claims.collect());
}

#[test]
fn claims_of_servers_that_left_are_marked_until_they_vote_again() {
    let mut world = World::of("three");
    converge(&mut world);
    give_claims(&mut world);
    assert_eq!(world.plan().marks.len(), 0);
    want(&mut world, 1);
    settle(&mut world);
    let marks: Vec<(String, bool)> = world.plan().marks.into_iter().collect();
    let name = |ordinal: u32| format!("data-users-zookeeper-{ordinal}");
    assert_eq!(marks, [(name(1), true), (name(2), true)]);
    for (name, has_left) in marks {
        let claims = world.observed.children.volumes.as_mut().expect("there are claims");
        claims.get_mut(&name).expect("it is there").has_left = has_left;
    }
    assert_eq!(world.plan().marks.len(), 0);
    want(&mut world, 3);
    settle(&mut world);
    let marks: Vec<(String, bool)> = world.plan().marks.into_iter().collect();
    assert_eq!(marks, [(name(1), false), (name(2), false)]);
}

/// An earlier pipeline shrank from three servers to one, and was deleted.
#[test]
fn a_volume_that_left_founds_nothing_and_is_in_nobodys_way() {
    let mut world = World::of("one");
    give_claims(&mut world);
    for ordinal in 1..3 {
        let claims = world.observed.children.volumes.as_mut().expect("there are claims");
        claims.get_mut(&format!("data-users-zookeeper-{ordinal}")).expect("it is there").has_left = true;
    }
    want(&mut world, 3);
    converge(&mut world);
    assert_settled(&mut world, 3);
    assert_eq!(world.voting.version, 2, "one founded it, and let the others in");
}

#[test]
fn brokers_that_cannot_get_their_settings_keep_their_servers() {
    let mut world = World::of("three");
    converge(&mut world);
    want(&mut world, 1);
    // What is refused holds the brokers as they are.
    world.resource.spec.kafka.jvm_options = vec!["-Xmx4g".to_owned()];
    for _ in 0..ENOUGH {
        assert_eq!(changes(&world.step()), []);
    }
    world.resource.spec.kafka.jvm_options.clear();
    settle(&mut world);
    assert_settled(&mut world, 1);
}
