//! Who votes in the ensemble, how many servers there shall be right now, whom brokers connect to, and the next
//! change. Pure (docs/decisions/0026-zookeeper-membership.md).
//!
//! Who votes is agreed upon by the servers, and the leader says it; the spec is where it shall end. Servers that are
//! to come are there before they vote, and those that are to go are there until they know that they vote no more: so
//! a volume that has left can never found an ensemble with others. Brokers know none that does not vote before a
//! change and after it. All follows from what is there, so that nothing is remembered here.

use std::collections::{BTreeMap, BTreeSet};

use millrace_api::Pipeline;
use millrace_api::names::{Component, Names};
use millrace_api::ports::{ZOOKEEPER_CLIENT, ZOOKEEPER_ELECTION, ZOOKEEPER_QUORUM};
use millrace_stores::zookeeper::{Configuration, Mode, Reconfiguration, ZooKeeperFacts};

use crate::objects::scope::Ensemble;
use crate::observed::{Claim, Observed};
use crate::readiness;

/// Key of the ConfigMap's data: a line of the configuration for each server that votes.
pub const SERVERS: &str = "servers";
/// Key of the ConfigMap's data: there once the servers have agreed upon who votes. It stays as long as the ConfigMap.
pub const FOUNDED: &str = "founded";

/// What is judged of the ensemble, once in each pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    /// What the files of servers and brokers contain about the ensemble.
    pub ensemble: Ensemble,
    /// How many servers there shall be right now: all that vote, all that are to, and those that do not know yet that they
    /// vote no more.
    pub size: u32,
    /// What is to be done next. `None`: nothing, or something is waited for.
    pub next: Option<Reconfiguration>,
    /// Whether other servers vote, or other servers are there, than the spec asks for.
    pub is_wanted: bool,
    /// What is waited for, in a sentence. `None`: nothing.
    pub waits: Option<String>,
}

/// Returns the line of a server that votes. Without the clients' port ZooKeeper takes none in.
pub fn line(names: &Names, ordinal: u32) -> String {
    let host = names.pod_host(&names.component(Component::ZooKeeper), Component::ZooKeeper, ordinal);
    let (quorum, election, client) = (ZOOKEEPER_QUORUM.number, ZOOKEEPER_ELECTION.number, ZOOKEEPER_CLIENT.number);
    format!("server.{}={host}:{quorum}:{election}:participant;{client}", ordinal + 1)
}

/// Returns what the files of servers and brokers contain about the ensemble.
fn ensemble(pipeline: &Pipeline, observed: &Observed) -> Ensemble {
    let noted = observed.children.config_maps.get(&pipeline.names.zookeeper_members());
    let noted = noted.and_then(|members| members.data.as_ref());
    let was_founded = noted.is_some_and(|data| data.contains_key(FOUNDED));
    let committed = observed.stores.zookeeper.committed().filter(|committed| !committed.voters.is_empty());
    let voters = match committed {
        Some(committed) => committed.voters.clone(),
        None => noted.and_then(noted_in).unwrap_or_else(|| founders(pipeline, observed)),
    };
    let wanted = wanted(pipeline);
    let stay: BTreeSet<u32> = voters.intersection(&wanted).copied().collect();
    Ensemble {
        is_founded: was_founded || committed.is_some_and(|committed| committed.version > 0),
        connected: if stay.is_empty() { wanted } else { stay },
        voters,
    }
}

/// Reads which servers vote from the ConfigMap. `None`: it names none.
fn noted_in(data: &BTreeMap<String, String>) -> Option<BTreeSet<u32>> {
    let number = |line: &str| line.strip_prefix("server.")?.split_once('=')?.0.parse::<u32>().ok()?.checked_sub(1);
    let voters: BTreeSet<u32> = data.get(SERVERS)?.lines().filter_map(number).collect();
    (!voters.is_empty()).then_some(voters)
}

/// Returns the servers that found an ensemble: those whose volumes an earlier pipeline left, since empty ones beside
/// them could found one without them; else all.
fn founders(pipeline: &Pipeline, observed: &Observed) -> BTreeSet<u32> {
    let has_data = |claim: &Claim| !claim.is_unbound && !claim.has_left;
    let kept: BTreeSet<u32> =
        claims(pipeline, observed).filter(|(_, _, claim)| has_data(claim)).map(|(ordinal, ..)| ordinal).collect();
    if kept.is_empty() { wanted(pipeline) } else { kept }
}

/// Returns the servers that are to vote in the end.
fn wanted(pipeline: &Pipeline) -> BTreeSet<u32> {
    (0..pipeline.zookeeper.replicas).collect()
}

/// Returns the claims of the servers, with their ordinals and names.
fn claims<'a>(pipeline: &Pipeline, observed: &'a Observed) -> impl Iterator<Item = (u32, &'a String, &'a Claim)> {
    let prefix = format!("data-{}-", pipeline.names.component(Component::ZooKeeper));
    let volumes = observed.children.volumes.iter().flatten();
    volumes
        .filter_map(move |(name, claim)| Some((name.strip_prefix(prefix.as_str())?.parse::<u32>().ok()?, name, claim)))
}

/// Returns who votes, once the servers have agreed upon it. `None`: nobody leads, or the leader has it from its own
/// file.
fn agreed(facts: &ZooKeeperFacts) -> Option<&Configuration> {
    facts.committed().filter(|committed| committed.version > 0 && !committed.voters.is_empty())
}

/// Returns how many servers there are. 0: there is no StatefulSet.
fn given(pipeline: &Pipeline, observed: &Observed) -> u32 {
    observed.children.given(&pipeline.names.component(Component::ZooKeeper))
}

/// Returns how many servers there shall be right now.
fn size(pipeline: &Pipeline, observed: &Observed, voters: &BTreeSet<u32>) -> u32 {
    let (wanted, given) = (pipeline.zookeeper.replicas, given(pipeline, observed));
    let least = voters.last().map_or(wanted, |last| last + 1);
    let Some(committed) = agreed(&observed.stores.zookeeper) else { return given.max(least) };
    let is_settled = committed.voters.iter().copied().eq(0..wanted);
    match is_settled && (wanted..given).all(|ordinal| has_left(pipeline, observed, committed, ordinal)) {
        true => wanted,
        false => given.max(least).max(wanted),
    }
}

/// Returns whether a server that votes no more can go: it says so itself, so that its volume has it, or it never had
/// a volume.
fn has_left(pipeline: &Pipeline, observed: &Observed, committed: &Configuration, ordinal: u32) -> bool {
    let own = observed.stores.zookeeper.configurations.get(&ordinal);
    let knows = own.is_some_and(|own| own.version >= committed.version && !own.voters.contains(&ordinal));
    let has_volume = claims(pipeline, observed).any(|(of, _, claim)| of == ordinal && !claim.is_unbound);
    knows || observed.children.volumes.is_some() && !has_volume
}

/// Returns whether servers are on their way into the ensemble or out of it.
fn is_moving(pipeline: &Pipeline, observed: &Observed) -> bool {
    let given = given(pipeline, observed);
    let others_vote = |committed: &Configuration| committed.voters != wanted(pipeline);
    given > 0 && (given != pipeline.zookeeper.replicas || agreed(&observed.stores.zookeeper).is_some_and(others_vote))
}

/// Judges the ensemble, and where its change stands.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Membership {
    let facts = &observed.stores.zookeeper;
    let ensemble = ensemble(pipeline, observed);
    let mut judged = Membership {
        size: size(pipeline, observed, &ensemble.voters),
        ensemble,
        is_wanted: is_moving(pipeline, observed),
        ..Membership::default()
    };
    if !judged.is_wanted {
        return judged;
    }
    let name = |ordinal: u32| format!("{}-{ordinal}", pipeline.names.component(Component::ZooKeeper));
    let wait = |what: String| Some(format!("the change of the ZooKeeper ensemble waits for {what}"));
    let Some(committed) = agreed(facts) else {
        judged.waits = wait("a leader that reports which servers vote".to_owned());
        return judged;
    };
    let (voters, wanted) = (&committed.voters, wanted(pipeline));
    let joining: BTreeSet<u32> = wanted.difference(voters).copied().collect();
    let leaving: BTreeSet<u32> = voters.difference(&wanted).copied().collect();
    let change = |joining: BTreeSet<u32>, leaving: BTreeSet<u32>| Reconfiguration {
        joining: joining.into_iter().map(|ordinal| (ordinal, line(&pipeline.names, ordinal))).collect(),
        leaving,
        version: committed.version,
    };
    if !joining.is_empty() {
        match joining.iter().find(|ordinal| !follows(facts, committed, **ordinal)) {
            Some(late) => {
                judged.waits = wait(format!("server '{}', which does not follow the leader yet", name(*late)))
            }
            None => judged.next = Some(change(joining, BTreeSet::new())),
        }
    } else if !leaving.is_empty() {
        // Only a leader that leaves stops writes for a moment: it goes last, and alone.
        let others: BTreeSet<u32> =
            leaving.iter().copied().filter(|ordinal| facts.leader() != Some(*ordinal)).collect();
        match brokers_have_settings(observed) {
            true => judged.next = Some(change(BTreeSet::new(), if others.is_empty() { leaving } else { others })),
            false => judged.waits = wait("the brokers, which are being configured with fewer servers".to_owned()),
        }
    } else {
        let given = given(pipeline, observed);
        let stays = |ordinal: &u32| !has_left(pipeline, observed, committed, *ordinal);
        judged.waits = (pipeline.zookeeper.replicas..given).find(stays).and_then(|ordinal| {
            wait(format!(
                "server '{}' to confirm that it no longer votes, or for its claim to be deleted",
                name(ordinal)
            ))
        });
    }
    judged
}

/// Returns whether a server that is to vote has all that the leader has.
fn follows(facts: &ZooKeeperFacts, committed: &Configuration, ordinal: u32) -> bool {
    let version = facts.configurations.get(&ordinal).map(|own| own.version);
    facts.servers.get(&ordinal) == Some(&Mode::Follower) && version == Some(committed.version)
}

/// Returns whether the StatefulSet controller knows the template that the brokers' pods have to have: until then no
/// pod shows that it is outdated.
fn brokers_have_settings(observed: &Observed) -> bool {
    let mut sets = observed.children.of_component(&observed.children.stateful_sets, Component::Kafka);
    sets.all(|set| readiness::stateful_set(Some(set)).current)
}

/// Returns the server to ask for a change: one that votes and stays, best of all the leader.
pub fn asked(facts: &ZooKeeperFacts, change: &Reconfiguration) -> Option<u32> {
    let committed = facts.committed()?;
    let mut stay = facts.answering(committed).filter(|ordinal| !change.leaving.contains(ordinal));
    let leader = facts.leader().filter(|leader| !change.leaving.contains(leader));
    leader.or_else(|| stay.next())
}

/// Returns the claims whose mark that their servers have left is to change, and to what.
pub fn marks(pipeline: &Pipeline, observed: &Observed) -> BTreeMap<String, bool> {
    let Some(committed) = agreed(&observed.stores.zookeeper) else { return BTreeMap::new() };
    let wanted = wanted(pipeline);
    let marks = claims(pipeline, observed).filter_map(|(ordinal, name, claim)| {
        let votes = committed.voters.contains(&ordinal);
        let has_left = !votes && (claim.has_left || !wanted.contains(&ordinal));
        (has_left != claim.has_left).then(|| (name.clone(), has_left))
    });
    marks.collect()
}
