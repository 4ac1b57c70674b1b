//! Who votes in the ensemble: every state that sizes of the spec, crashes, elections and passes of the operator lead
//! to.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use millrace_api::{Pipeline, StreamingPipeline, validate};
use millrace_operator::observed::Observed;
use millrace_operator::zookeeper::membership::{Membership, asked, judge, line};
use millrace_stores::zookeeper::{Configuration, Mode};
use serde_json::json;

const SIZES: [u32; 3] = [1, 3, 5];
/// Versions of the configuration that is in use, and of the one before.
const NOW: i64 = 7;
const BEFORE: i64 = 6;
/// More passes than any change needs.
const ENOUGH: usize = 12;

fn pipeline(servers: u32) -> Result<Pipeline> {
    let path = format!("{}/tests/fixtures/three.yaml", env!("CARGO_MANIFEST_DIR"));
    let mut resource: StreamingPipeline = serde_yaml::from_str(&std::fs::read_to_string(path)?)?;
    resource.spec.zookeeper.as_mut().context("the fixture has it")?.replicas = servers.cast_signed();
    validate(&resource, millrace_sql::judge).pipeline.context("the fixture is valid")
}

/// An ensemble, and what the spec asks for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct State {
    wanted: u32,
    size: u32,
    voters: BTreeSet<u32>,
    leader: u32,
    /// Servers that have yet to hear of the last change.
    behind: BTreeSet<u32>,
    crashed: Option<u32>,
}

impl State {
    fn of(servers: u32, wanted: u32) -> Self {
        let voters = (0..servers).collect();
        Self { wanted, size: servers, voters, leader: 0, behind: BTreeSet::new(), crashed: None }
    }

    fn is_there(&self, ordinal: u32) -> bool {
        ordinal < self.size && self.crashed != Some(ordinal)
    }

    fn has_quorum(&self) -> bool {
        self.voters.iter().filter(|ordinal| self.is_there(**ordinal)).count() > self.voters.len() / 2
    }

    fn observed(&self) -> Result<Observed> {
        let mut observed = Observed::default();
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "users-zookeeper"},
            "spec": {"replicas": self.size, "selector": {}, "serviceName": "", "template": {}},
        }))?;
        observed.children.stateful_sets.insert("users-zookeeper".to_owned(), set);
        let lines: String = self.voters.iter().map(|ordinal| format!("server.{}=host\n", ordinal + 1)).collect();
        let members: ConfigMap = serde_json::from_value(json!({"metadata": {}, "data": {"servers": lines}}))?;
        observed.children.config_maps.insert("users-zookeeper-members".to_owned(), members);
        if !self.has_quorum() {
            return Ok(observed);
        }
        let facts = &mut observed.stores.zookeeper;
        for ordinal in (0..self.size).filter(|ordinal| self.is_there(*ordinal)) {
            let mode = if ordinal == self.leader { Mode::Leader } else { Mode::Follower };
            facts.servers.insert(ordinal, mode);
            let mut voters = self.voters.clone();
            let is_behind = self.behind.contains(&ordinal);
            voters.extend(is_behind.then_some(ordinal));
            let version = if is_behind { BEFORE } else { NOW };
            facts.configurations.insert(ordinal, Configuration { version, voters });
        }
        Ok(observed)
    }

    /// Has another lead where the leader is away or votes no more.
    fn elect(&mut self) {
        let leads = |state: &Self| state.voters.contains(&state.leader) && state.is_there(state.leader);
        if !leads(self)
            && let Some(next) = self.voters.iter().copied().find(|ordinal| self.is_there(*ordinal))
        {
            self.leader = next;
        }
    }

    /// A pass of the operator, at full strength where it changes who votes, as `plan` has it.
    fn pass(&self, pipelines: &BTreeMap<u32, Pipeline>) -> Result<Self> {
        let (pipeline, observed) = (&pipelines[&self.wanted], self.observed()?);
        let mut next = self.clone();
        let Membership { ensemble, size, next: change, .. } = judge(pipeline, &observed);
        next.size = size;
        for gone in next.size..self.size {
            assert!(!self.voters.contains(&gone), "{gone} goes, and votes: {self:?}");
            assert!(!self.behind.contains(&gone), "{gone} goes, and does not know that it votes no more: {self:?}");
        }
        assert!(next.size > *self.voters.last().unwrap_or(&0), "{self:?}");
        let connected = ensemble.connected;
        assert!(!connected.is_empty() && connected.iter().all(|ordinal| *ordinal < self.wanted), "{connected:?}");
        if next.size != self.size || self.crashed.is_some() {
            next.elect();
            return Ok(next);
        }
        let Some(change) = change else { return Ok(next) };
        let asked = asked(&observed.stores.zookeeper, &change).context("nobody can be asked")?;
        assert!(!change.leaving.contains(&asked) && self.voters.contains(&asked), "{asked} is asked: {change:?}");
        assert!(connected.is_disjoint(&change.leaving), "brokers are connected to those that go: {change:?}");
        assert!(change.joining.keys().all(|ordinal| !self.behind.contains(ordinal)), "{change:?} of {self:?}");
        next.voters.retain(|ordinal| !change.leaving.contains(ordinal));
        next.voters.extend(change.joining.keys());
        assert!(!next.voters.is_empty() && next.has_quorum(), "{change:?} of {self:?}");
        next.behind.retain(|ordinal| !change.joining.contains_key(ordinal));
        next.behind.extend(&change.leaving);
        next.elect();
        Ok(next)
    }

    /// What else may happen.
    fn events(&self) -> Vec<Self> {
        let mut events: Vec<Self> = SIZES.into_iter().map(|wanted| Self { wanted, ..self.clone() }).collect();
        match self.crashed {
            Some(_) => events.push(Self { crashed: None, ..self.clone() }),
            None => events.extend((0..self.size).map(|ordinal| Self { crashed: Some(ordinal), ..self.clone() })),
        }
        let leaders = self.voters.iter().copied().filter(|ordinal| self.is_there(*ordinal));
        events.extend(leaders.map(|leader| Self { leader, ..self.clone() }));
        for ordinal in self.behind.iter().filter(|ordinal| self.is_there(**ordinal)) {
            let mut heard = self.clone();
            heard.behind.remove(ordinal);
            events.push(heard);
        }
        events.iter_mut().for_each(Self::elect);
        events
    }
}

#[test]
fn no_pass_takes_a_server_that_votes_and_all_end_where_the_spec_says() -> Result<()> {
    let pipelines: BTreeMap<u32, Pipeline> =
        SIZES.into_iter().map(|servers| Ok((servers, pipeline(servers)?))).collect::<Result<_>>()?;
    let mut open: Vec<State> = SIZES.into_iter().map(|servers| State::of(servers, servers)).collect();
    let mut seen: BTreeSet<State> = open.iter().cloned().collect();
    while let Some(state) = open.pop() {
        let passed = state.pass(&pipelines)?;
        for next in state.events().into_iter().chain([passed]) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    assert!(seen.len() > 1_000, "only {} states", seen.len());
    for state in &seen {
        let mut calm = State { crashed: None, behind: BTreeSet::new(), ..state.clone() };
        calm.elect();
        for _ in 0..ENOUGH {
            calm = calm.pass(&pipelines)?;
            calm.behind.clear();
        }
        let wanted: BTreeSet<u32> = (0..calm.wanted).collect();
        assert_eq!((calm.size, &calm.voters), (calm.wanted, &wanted), "{state:?}");
    }
    println!("{} states", seen.len());
    Ok(())
}

fn judged(state: &State) -> Result<Membership> {
    Ok(judge(&pipeline(state.wanted)?, &state.observed()?))
}

#[test]
fn each_row_of_the_table_has_its_step() -> Result<()> {
    let planned = |state: &State| -> Result<u32> { Ok(judged(state)?.size) };
    // Nobody leads.
    let lost = State { crashed: Some(0), ..State::of(1, 3) };
    assert_eq!((planned(&lost)?, judged(&lost)?.next), (1, None));
    assert!(judged(&lost)?.waits.is_some_and(|waits| waits.ends_with("a leader that reports which servers vote")));
    // More are wanted: all come at once, and vote at once when they follow.
    let few = State::of(1, 5);
    assert_eq!((planned(&few)?, judged(&few)?.next), (5, None));
    let come = State { size: 5, ..few };
    let change = judged(&come)?.next.context("they follow")?;
    let names = pipeline(5)?.names;
    let lines: BTreeMap<u32, String> = (1..5).map(|ordinal| (ordinal, line(&names, ordinal))).collect();
    assert_eq!(change.joining, lines);
    assert_eq!((change.leaving.len(), change.version), (0, NOW));
    let late = State { behind: [3].into(), ..come };
    assert_eq!(judged(&late)?.next, None);
    // Fewer are wanted: the leader goes last, and alone.
    let many = State { leader: 4, ..State::of(5, 1) };
    assert_eq!(planned(&many)?, 5);
    assert_eq!(judged(&many)?.next.map(|change| change.leaving), Some([1, 2, 3].into()));
    let two = State { voters: [0, 4].into(), ..many };
    assert_eq!(judged(&two)?.next.map(|change| change.leaving), Some([4].into()));
    // Nobody goes before it knows.
    let left = State { size: 5, behind: [4].into(), ..State::of(1, 1) };
    assert_eq!((planned(&left)?, judged(&left)?.next), (5, None));
    let all_know = State { behind: BTreeSet::new(), ..left };
    assert_eq!((planned(&all_know)?, judged(&all_know)?.next), (1, None));
    // There is nothing to do.
    let settled = judged(&State::of(3, 3))?;
    assert_eq!((settled.size, settled.next, settled.is_wanted, settled.waits), (3, None, false, None));
    Ok(())
}

/// Without a version nothing was agreed upon: the servers have the list from their own files.
#[test]
fn nothing_changes_before_the_servers_have_agreed() -> Result<()> {
    let mut observed = State { size: 5, ..State::of(3, 5) }.observed()?;
    for configuration in observed.stores.zookeeper.configurations.values_mut() {
        configuration.version = 0;
    }
    let pipeline = pipeline(5)?;
    let judged = judge(&pipeline, &observed);
    assert_eq!((judged.size, judged.next, judged.ensemble.is_founded), (5, None, false));
    // Nor while two say that they lead.
    let mut observed = State { size: 5, ..State::of(3, 5) }.observed()?;
    observed.stores.zookeeper.servers.insert(1, Mode::Leader);
    assert_eq!(judge(&pipeline, &observed).next, None);
    Ok(())
}
