//! `Desired` + `Observed` → `Plan`: what to apply, what to hold back and why, what to do to the stores. Pure.
//!
//! Ordering and safety live only here. Objects that are already as desired are left alone, so planning the plan's own
//! result gives an empty plan. A hold delays the creation of a workload, never its update, but for one: producers get
//! new settings only when the processors have theirs, since a new field is a dead letter to a processor that does not
//! know its column.

pub mod disruption;
pub mod drift;
pub mod roll;
pub mod storage;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Resource, ResourceExt};
use millrace_api::names::Component;
use millrace_api::{Pipeline, Rejected};

use crate::act::Act;
use crate::chain::judge;
use crate::desire::Desired;
use crate::intact::Intact;
use crate::ledger::ObjectKey;
use crate::link::{Link, LinkState, Reason};
use crate::objects::Objects;
use crate::observed::Observed;
use crate::{cassandra, intact, kafka, readiness};
use drift::{Changed, Drift, drift};

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
    /// Every link of the readiness chain, in order.
    pub links: Vec<LinkState>,
    /// Whether all data is there that was there.
    pub intact: Intact,
    /// Claims to take the label off by which others would delete them.
    pub claims: Vec<String>,
    /// Workloads that wait and are not there yet.
    pub held: Vec<ObjectKey>,
    /// What others changed of our objects, and what `apply` sets back.
    pub set_back: Vec<Changed>,
    /// What others keep changing of our objects, or the API server keeps otherwise: it is left alone and reported.
    pub contested: Vec<Changed>,
    /// What the resource asks for and cannot be, as things stand; the rest goes ahead.
    pub refused: Vec<Rejected>,
}

impl Plan {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.acts.is_empty()
    }

    /// Returns how many objects and acts there are to change.
    pub fn changes(&self) -> usize {
        self.apply.len() + self.acts.len()
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

/// Plans one reconcile.
pub fn plan(pipeline: &Pipeline, desired: Desired, observed: &Observed) -> Plan {
    let links = judge(pipeline, observed);
    let met = |link: Link| links.iter().any(|state| state.link == link && state.met);
    let Desired { shared, mut zookeeper, mut kafka, mut cassandra, mut producer, processor } = desired;
    let (outdated, claims) = (roll::outdated(observed), observed.children.claims.clone());
    let intact = intact::judge(pipeline, observed);
    let mut plan = Plan { links: links.clone(), outdated, claims, intact, ..Plan::default() };
    // Nothing starts on kept volumes that do not fit.
    let fits = |link: Link| {
        let differs = links.iter().any(|state| state.link == link && state.reason == Reason::VolumesDiffer);
        (!differs).then_some(()).ok_or(link)
    };

    let stores = [
        (Component::ZooKeeper, &mut zookeeper),
        (Component::Kafka, &mut kafka),
        (Component::Cassandra, &mut cassandra),
    ];
    for (component, objects) in stores {
        let settled = storage::settle(pipeline, component, objects, observed);
        plan.acts.extend(settled.acts);
        plan.refused.extend(settled.refused);
    }

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
    if plan.changes_processors(pipeline, observed) && is_of_same_size(&producer, observed) {
        plan.hold_settings(&mut producer, observed);
    }
    let processor_met = met(Link::Processor).then_some(()).ok_or(Link::Processor);
    plan.take_workload(producer, observed, Component::Producer, processor_met);

    plan.acts.extend(kafka::changes::topics(pipeline, observed).into_iter().map(Act::Kafka));
    plan.acts.extend(cassandra::changes::schema(pipeline, observed).into_iter().map(Act::Cassandra));
    if plan.is_empty() {
        // A restart is the last thing to do: only a pipeline with nothing else to change is disturbed.
        plan.acts.extend(roll::next_restart(pipeline, observed, &links).map(Act::RestartPod));
    }
    plan
}

impl Plan {
    /// Takes over what differs from the objects that are there.
    fn take(&mut self, objects: Objects, observed: &Observed) {
        let Drift { apply, set_back, contested } = drift(objects, observed);
        self.apply.extend(apply);
        self.set_back.extend(set_back);
        self.contested.extend(contested);
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
            self.hold_back(&mut objects.stateful_sets, &children.stateful_sets);
            self.hold_back(&mut objects.deployments, &children.deployments);
            if self.held.len() > before {
                self.holds.push(Hold { component, link });
            }
        }
        self.take(objects, observed);
    }

    /// Takes out the workloads of a kind that are not there yet.
    fn hold_back<K: Resource<DynamicType = ()>>(&mut self, workloads: &mut Vec<K>, children: &BTreeMap<String, K>) {
        let is_there = |workload: &K| children.contains_key(&workload.name_any());
        let held = workloads.extract_if(.., |workload| !is_there(workload));
        self.held.extend(held.map(|workload| ObjectKey { kind: K::kind(&()).into_owned(), name: workload.name_any() }));
    }
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
