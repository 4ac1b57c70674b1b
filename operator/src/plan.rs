//! `Desired` + `Observed` → `Plan`: what to apply, what to hold back and why, what to do to the stores. Pure.
//!
//! Ordering and safety live only here. Objects that are already as desired are left alone, so planning the plan's own
//! result gives an empty plan. What disturbs a store waits for the stores, and for the people who hold it. A hold delays
//! the creation of a workload, never its update, but for the producers: those without a pod start only when the
//! processors are there, and they get new settings only when the processors have theirs, since a new field is a dead
//! letter to a processor that does not know its column. A component whose spec is invalid is left as it is with all its
//! objects.

pub mod disruption;
pub mod drift;
pub mod foreign;
pub mod growth;
pub mod roll;
pub mod settings;
pub mod storage;
pub mod template;
pub mod waiting;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Resource, ResourceExt};
use millrace_api::crd::status::ReplayStatus;
use millrace_api::names::Component;
use millrace_api::{Pipeline, Rejected};
use millrace_stores::kafka::Change;

use crate::act::Act;
use crate::chain::judge;
use crate::desire::Desired;
use crate::intact::Intact;
use crate::kafka::reassignment::{self, Reassignment};
use crate::ledger::ObjectKey;
use crate::link::{Link, LinkState, Reason};
use crate::objects::Objects;
use crate::observed::Observed;
use crate::workers::replay;
use crate::workers::suspend::{self, Suspension};
use crate::zookeeper::membership::{self, Membership};
use crate::{cassandra, intact, kafka, readiness};
use disruption::Judged;
use drift::{Changed, Drift, drift};
use roll::Next;
use template::{Approval, Kept};
use waiting::{Cause, Waiting, held_by_people};

/// What one reconcile will do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Objects that are missing or differ.
    pub apply: Objects,
    /// Workloads that wait, and for which link.
    pub holds: Vec<Hold>,
    /// What to do to the stores, and which pods to restart.
    pub acts: Vec<Act>,
    /// Pods of the stores whose template is outdated; they are restarted one by one, when it is safe.
    pub outdated: usize,
    /// What could be done to the stores and waits.
    pub waiting: Vec<Waiting>,
    /// StatefulSets of the stores that keep their template for now.
    pub kept: Vec<Kept>,
    /// The templates that the stores' pods shall have, and whether people approve them.
    pub approval: Approval,
    /// Every link of the readiness chain, in order.
    pub links: Vec<LinkState>,
    /// Whether all data is there that was there.
    pub intact: Intact,
    /// Claims to take the label off by which others would delete them.
    pub claims: Vec<String>,
    /// Claims whose mark that their servers have left is to change, and to what.
    pub marks: BTreeMap<String, bool>,
    /// Workloads that wait and are not there yet.
    pub held: Vec<ObjectKey>,
    /// What others changed of our objects, and what `apply` sets back.
    pub set_back: Vec<Changed>,
    /// What others keep changing of our objects, or the API server keeps otherwise: it is left alone and reported.
    pub contested: Vec<Changed>,
    /// Partitions that move between brokers.
    pub reassignment: Reassignment,
    /// Servers on their way into the ensemble or out of it.
    pub membership: Membership,
    /// What the resource asks for and cannot be, as things stand; the rest goes ahead.
    pub refused: Vec<Rejected>,
    /// What volumes that grow wait for, in sentences.
    pub growing: Vec<String>,
    /// How far a pipeline that is to be suspended has come. Absent: it is not to be.
    pub suspension: Option<Suspension>,
    /// What the status says of the last replay. Absent: there was none.
    pub replay: Option<ReplayStatus>,
}

impl Plan {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.acts.is_empty()
    }

    /// Returns whether volumes grow, partitions move, the ensemble changes, brokers take other settings, or topics are
    /// drained or set back, which goes on without a step of ours. What people hold does not.
    pub fn is_under_way(&self) -> bool {
        let is_wanted = self.reassignment.is_wanted || self.membership.is_wanted;
        let moves = self.reassignment.has_begun || is_wanted && self.held_by_people().is_none();
        let is_of_settings = |waiting: &Waiting| matches!(waiting.act, Act::Kafka(Change::AlterBrokers { .. }));
        let takes_settings = self.waiting.iter().any(is_of_settings);
        let drains = self.suspension.as_ref().is_some_and(|suspension| !suspension.is_done);
        moves || takes_settings || drains || self.is_setting_back() || !self.growing.is_empty() && self.kept.is_empty()
    }

    /// Returns whether processors are stopped to have a topic read again.
    pub fn is_setting_back(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.phase.stops_processors())
    }

    /// Returns how many objects and acts there are to change.
    pub fn changes(&self) -> usize {
        self.apply.len() + self.acts.len()
    }

    /// Returns what people or a time hold, whatever the stores say.
    pub fn held_by_people(&self) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| waiting.cause.hold.is_some())
    }

    /// Returns the first unmet link.
    pub fn first_unmet(&self) -> Option<&LinkState> {
        self.links.iter().find(|link| !link.met)
    }
}

/// A workload that is not created or not updated yet, and the link that it waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hold {
    /// Whose workload.
    pub component: Component,
    /// What it waits for.
    pub link: Link,
}

/// Plans one reconcile; `membership` is what `scale` has judged.
pub fn plan(pipeline: &Pipeline, mut desired: Desired, observed: &Observed, membership: Membership) -> Plan {
    let links = judge(pipeline, observed);
    let settings_wait = keeps_settings(pipeline, &desired, observed);
    let of_brokers = settings::settle(pipeline, &mut desired.kafka, observed);
    leave_held(pipeline, &mut desired, observed);
    let met = |link: Link| links.iter().any(|state| state.link == link && state.met);
    let Desired { shared, mut zookeeper, mut kafka, mut cassandra, mut producer, processor } = desired;
    let (outdated, claims) = (roll::outdated(observed), observed.children.claims.clone());
    let intact = intact::judge(pipeline, observed);
    let reassignment = match pipeline.manages(Component::Kafka) {
        true => reassignment::judge(pipeline, observed),
        false => Reassignment::default(),
    };
    let marks = membership::marks(pipeline, observed);
    let suspension = suspend::judge(pipeline, observed, &links);
    let mut plan = Plan {
        links: links.clone(),
        outdated,
        claims,
        marks,
        intact,
        reassignment,
        membership,
        suspension,
        ..Plan::default()
    };
    // Nothing starts on kept volumes that do not fit.
    let fits = |link: Link| {
        let differs = links.iter().any(|state| state.link == link && state.reason == Reason::VolumesDiffer);
        (!differs).then_some(()).ok_or(link)
    };

    plan.approval = Approval::of(pipeline, [&zookeeper, &kafka, &cassandra], observed);
    let stores = [
        (Component::ZooKeeper, &mut zookeeper),
        (Component::Kafka, &mut kafka),
        (Component::Cassandra, &mut cassandra),
    ];
    for (component, objects) in stores {
        // Before its storage: a template that waits must not come with a StatefulSet that is made anew.
        let kept = template::keep_back(pipeline, component, objects, observed, &plan.approval);
        let is_held = !kept.is_empty() || members_move(pipeline, component, observed, &plan.membership);
        let settled = storage::settle(pipeline, component, objects, observed, is_held);
        plan.acts.extend(settled.acts);
        plan.refused.extend(settled.refused);
        plan.growing.extend(settled.waits);
        plan.kept.extend(kept);
    }

    plan.refused.extend(cassandra::leaving::refusal(pipeline, observed));

    plan.take(shared, observed);
    plan.take_workload(zookeeper, observed, Component::ZooKeeper, fits(Link::ZooKeeper));
    let quorum = met(Link::ZooKeeper).then_some(()).ok_or(Link::ZooKeeper);
    plan.take_workload(kafka, observed, Component::Kafka, quorum.and(fits(Link::Kafka)));
    plan.take_workload(cassandra, observed, Component::Cassandra, fits(Link::Cassandra));
    let waits_for = [Link::Topics, Link::Cassandra].into_iter().find(|link| !met(*link));
    if let Some(processor) = processor {
        plan.take_workload(processor, observed, Component::Processor, waits_for.map_or(Ok(()), Err));
    } else {
        plan.holds.push(Hold { component: Component::Processor, link: waits_for.unwrap_or(Link::Topics) });
    }
    if (settings_wait || plan.changes_processors(pipeline, observed)) && is_of_same_size(&producer, observed) {
        plan.hold_settings(&mut producer, observed);
    }
    let processor_met = met(Link::Processor).then_some(()).ok_or(Link::Processor);
    plan.take_workload(producer, observed, Component::Producer, processor_met);

    let is_kept = plan.kept.iter().any(|kept| kept.component == Component::Kafka);
    let (steps, waiting) = of_brokers.steps(pipeline, observed, is_kept);
    plan.acts.extend(steps);
    plan.waiting.extend(waiting);
    plan.acts.extend(kafka::changes::topics(pipeline, observed).into_iter().map(Act::Kafka));
    plan.acts.extend(cassandra::changes::schema(pipeline, observed).into_iter().map(Act::Cassandra));
    // What is not done to the stores of others must not hold back what waits for an empty plan.
    plan.acts.retain(|act| foreign::permits(pipeline, act));
    plan.replay(pipeline, observed);
    // A pod whose StatefulSet is on its way out would not come back before the next one is there.
    let leaves = observed.children.stateful_sets.values().any(|set| set.metadata.deletion_timestamp.is_some());
    match roll::next(pipeline, observed, plan.judged()) {
        // A restart is the last thing to do: only a pipeline with nothing else to change is disturbed.
        Next::Restart(restart) if plan.is_empty() && !leaves => plan.acts.push(Act::RestartPod(restart)),
        Next::Waits(waiting) => plan.waiting.push(waiting),
        Next::Restart(_) | Next::Nothing => {}
    }
    plan.hold_disruptive_acts(pipeline, observed);
    plan.reconfigure(pipeline, observed);
    plan.reassign(pipeline, observed);
    // Last: whatever was planned above, the stores of others stay as they are.
    plan.acts.retain(|act| foreign::permits(pipeline, act));
    plan
}

impl Plan {
    fn judged(&self) -> Judged<'_> {
        let Self { links, reassignment, membership, .. } = self;
        Judged { links, reassignment, membership }
    }

    /// Has a topic read again. To begin waits for people and for the stores; what has begun goes on, since processors are
    /// stopped for it.
    fn replay(&mut self, pipeline: &Pipeline, observed: &Observed) {
        self.replay = match replay::judge(pipeline, observed, &self.links) {
            replay::Next::Keeps(status) => status,
            replay::Next::Begins { status, change, waits_for } => {
                let people = held_by_people(pipeline, observed, &self.approval);
                match people.or_else(|| waits_for.map(Cause::of_stores)) {
                    Some(cause) => {
                        self.waiting.push(Waiting { act: Act::Kafka(change), cause });
                        observed.remembered.status.replay.clone()
                    }
                    None => Some(status),
                }
            }
            replay::Next::Goes { status, change } => {
                self.acts.extend(change.map(Act::Kafka));
                Some(status)
            }
        };
    }

    /// Changes who votes. It is one of the last things to do: then all pods have their templates, so that no broker
    /// has a session with a server that goes, and all stores are at full strength.
    fn reconfigure(&mut self, pipeline: &Pipeline, observed: &Observed) {
        let Some(change) = self.membership.next.clone() else { return };
        let stores = [Component::ZooKeeper, Component::Kafka];
        if !self.is_empty() || self.outdated > 0 || stores.iter().any(|store| pipeline.held.contains_key(store)) {
            return;
        }
        let act = Act::ZooKeeper(change);
        let shortfall = match self.kept.iter().find(|kept| stores.contains(&kept.component)) {
            Some(kept) => {
                Some(format!("the new template of StatefulSet '{}', which waits for approval", kept.stateful_set))
            }
            None => disruption::shortfall(pipeline, observed, self.judged()),
        };
        match shortfall {
            Some(shortfall) => self.waiting.push(Waiting { act, cause: Cause::of_stores(shortfall) }),
            None => self.acts.push(act),
        }
    }

    /// Moves partitions. To begin is the very last thing to do; what has begun goes on whatever else there is to do, since
    /// restarts wait for its end.
    fn reassign(&mut self, pipeline: &Pipeline, observed: &Observed) {
        let Reassignment { next, has_begun, refused, .. } = &self.reassignment;
        self.refused.extend(refused.clone());
        // Restarts that people hold may be weeks away.
        let none_to_come = self.outdated == 0 || self.held_by_people().is_some();
        let shortfall = || disruption::shortfall(pipeline, observed, self.judged());
        let may_begin = self.is_empty() && none_to_come && shortfall().is_none();
        if let Some(next) = next.clone().filter(|_| *has_begun || may_begin) {
            self.acts.push(Act::Kafka(next));
        }
    }

    /// Takes over what differs from the objects that are there.
    fn take(&mut self, objects: Objects, observed: &Observed) {
        let Drift { apply, set_back, contested } = drift(objects, observed);
        self.apply.extend(apply);
        self.set_back.extend(set_back);
        self.contested.extend(contested);
    }

    /// Has what disturbs a store wait for the people who hold it, also where it waits for the stores as well.
    fn hold_disruptive_acts(&mut self, pipeline: &Pipeline, observed: &Observed) {
        let Some(cause) = held_by_people(pipeline, observed, &self.approval) else { return };
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.act.is_disruptive()) {
            waiting.cause = cause.clone();
        }
        let held = self.acts.extract_if(.., |act| act.is_disruptive());
        self.waiting.extend(held.map(|act| Waiting { act, cause: cause.clone() }));
    }

    /// Returns whether processors are about to get other settings, or some still run with older ones.
    fn changes_processors(&self, pipeline: &Pipeline, observed: &Observed) -> bool {
        let held = |hold: &Hold| hold.component == Component::Processor;
        let deployment = observed.children.deployments.get(&pipeline.names.component(Component::Processor));
        self.holds.iter().any(held) || !self.apply.deployments.is_empty() || readiness::is_rolling_out(deployment)
    }

    /// Leaves the settings and pods of producers as they are for now.
    fn hold_settings(&mut self, producer: &mut Objects, observed: &Observed) {
        let wanted = Objects {
            config_maps: std::mem::take(&mut producer.config_maps),
            stateful_sets: std::mem::take(&mut producer.stateful_sets),
            ..Objects::default()
        };
        if !drift(wanted, observed).apply.is_empty() {
            self.holds.push(Hold { component: Component::Producer, link: Link::Processor });
        }
    }

    /// Takes over a component whose workload is created only once a link is met; all else of it goes ahead.
    fn take_workload(
        &mut self,
        mut objects: Objects,
        observed: &Observed,
        component: Component,
        gate: Result<(), Link>,
    ) {
        if let Err(link) = gate {
            let children = &observed.children;
            let before = self.held.len();
            // Producers that have no pod begin anew, as after a suspension.
            let rests = |name: &str| component == Component::Producer && children.given(name) == 0;
            // One that is made anew for its running pods waits for nothing.
            self.hold_back(&mut objects.stateful_sets, |name| children.has_begun(name) && !rests(name));
            self.hold_back(&mut objects.deployments, |name| children.deployments.contains_key(name));
            if self.held.len() > before {
                self.holds.push(Hold { component, link });
            }
        }
        self.take(objects, observed);
    }

    /// Takes out the workloads of a kind that have not begun yet.
    fn hold_back<K: Resource<DynamicType = ()>>(&mut self, workloads: &mut Vec<K>, has_begun: impl Fn(&str) -> bool) {
        let held = workloads.extract_if(.., |workload| !has_begun(&workload.name_any()));
        self.held.extend(held.map(|workload| ObjectKey { kind: K::kind(&()).into_owned(), name: workload.name_any() }));
    }
}

/// Returns whether members of a store are on their way into or out of it.
fn members_move(pipeline: &Pipeline, component: Component, observed: &Observed, membership: &Membership) -> bool {
    let stores = &observed.stores;
    match component {
        Component::Kafka => !stores.kafka.as_ref().is_ok_and(|facts| !kafka::reassignment::is_busy(facts)),
        Component::Cassandra => cassandra::leaving::leaver(pipeline, observed).is_some(),
        Component::ZooKeeper => membership.is_wanted,
        Component::Producer | Component::Processor | Component::Run => false,
    }
}

/// Takes out the objects of components that are held: they stay as they are, and are not created.
fn leave_held(pipeline: &Pipeline, desired: &mut Desired, observed: &Observed) {
    let Desired { shared: _, zookeeper, kafka, cassandra, producer, processor } = desired;
    let always = [
        (Component::ZooKeeper, zookeeper),
        (Component::Kafka, kafka),
        (Component::Cassandra, cassandra),
        (Component::Producer, producer),
    ];
    // A StatefulSet that is away, because it is being made anew, comes back to its pods.
    let is_away = |name: &str| !observed.children.stateful_sets.contains_key(name) && observed.children.has_begun(name);
    for (component, objects) in always {
        if pipeline.held.contains_key(&component) {
            let sets = std::mem::take(&mut objects.stateful_sets);
            let stateful_sets = sets.into_iter().filter(|set| is_away(&set.name_any())).collect();
            *objects = Objects { stateful_sets, ..Objects::default() };
        }
    }
    if pipeline.held.contains_key(&Component::Processor) && processor.is_some() {
        *processor = Some(Objects::default());
    }
}

/// Returns whether the processors are held and would get other settings if they were not.
fn keeps_settings(pipeline: &Pipeline, desired: &Desired, observed: &Observed) -> bool {
    let settings = |processor: &Objects| Objects { config_maps: processor.config_maps.clone(), ..Objects::default() };
    pipeline.held.contains_key(&Component::Processor)
        && desired.processor.as_ref().is_some_and(|wanted| !drift(settings(wanted), observed).apply.is_empty())
}

/// Returns whether the workloads are there with as many pods as they shall have: one that is to be stopped or to run
/// more pods waits for nobody.
fn is_of_same_size(objects: &Objects, observed: &Observed) -> bool {
    objects.stateful_sets.iter().all(|wanted| {
        let found = observed.children.stateful_sets.get(&name_of(&wanted.metadata.name));
        let replicas = |stateful_set: &StatefulSet| stateful_set.spec.as_ref().and_then(|spec| spec.replicas);
        found.is_some_and(|found| replicas(found) == replicas(wanted))
    })
}

fn name_of(name: &Option<String>) -> String {
    name.clone().unwrap_or_default()
}
