//! `Desired` + `Observed` → `Plan`: what to apply, what to hold back and why, what to do to the stores. Pure.
//!
//! Ordering and safety live only here. Objects that are already as desired are left alone, so planning the plan's own
//! result gives an empty plan. A hold delays the creation of a workload, never its update, but for one: producers get
//! new settings only when the processors have theirs, since a new field is a dead letter to a processor that does not
//! know its column.

pub mod drift;
pub mod readiness;
pub mod roll;
mod stores;

use k8s_openapi::api::apps::v1::StatefulSet;
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::{Table, Topic};
use millrace_terms::{ColumnSettings, TypeSettings};

use crate::chain::{Link, LinkState, judge};
use crate::desire::{Desired, Objects};
use crate::observe::Observed;
use millrace_stores::kafka::ConfigChange;

pub use stores::schema_rejected;

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
}

impl Plan {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.apply == Objects::default() && self.acts.is_empty()
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

/// Something that Kubernetes objects cannot express. Each can be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Create a topic.
    CreateTopic(Topic),
    /// Raise a topic's number of partitions.
    AddPartitions {
        /// Topic.
        topic: String,
        /// Number that it shall have.
        partitions: u32,
    },
    /// Change a topic's configuration.
    AlterTopic {
        /// Topic.
        topic: String,
        /// What to set and unset.
        change: ConfigChange,
    },
    /// Create the keyspace.
    CreateKeyspace,
    /// Create a user-defined type.
    CreateType(TypeSettings),
    /// Add a field to a user-defined type.
    AddField {
        /// Type.
        type_name: String,
        /// Field.
        field: ColumnSettings,
    },
    /// Create a table.
    CreateTable(Table),
    /// Add a column to a table.
    AddColumn {
        /// Table.
        table: String,
        /// Column.
        column: ColumnSettings,
    },
    /// Set the life of a table's rows.
    SetTtl {
        /// Table.
        table: String,
        /// Seconds; 0 is never.
        ttl_seconds: u32,
    },
    /// Delete a pod, so that its StatefulSet makes it anew from the current template.
    RestartPod(roll::Restart),
}

impl Act {
    /// Returns the act in words, for `.status.plannedActions` and events.
    pub fn describe(&self) -> String {
        match self {
            Self::CreateTopic(topic) => format!("create topic '{}'", topic.name),
            Self::AddPartitions { topic, partitions } => format!("raise topic '{topic}' to {partitions} partitions"),
            Self::AlterTopic { topic, .. } => format!("change the configuration of topic '{topic}'"),
            Self::CreateKeyspace => "create the keyspace".to_owned(),
            Self::CreateType(declared) => format!("create type '{}'", declared.name),
            Self::AddField { type_name, field } => format!("add field '{}' to type '{type_name}'", field.name),
            Self::CreateTable(table) => format!("create table '{}'", table.name),
            Self::AddColumn { table, column } => format!("add column '{}' to table '{table}'", column.name),
            Self::SetTtl { table, ttl_seconds } => {
                format!("set the time to live of table '{table}' to {ttl_seconds} s")
            }
            Self::RestartPod(restart) => format!("restart pod '{}': {}", restart.pod, restart.reason),
        }
    }

    /// Returns the reason of the act's event.
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::CreateTopic(_) => "TopicCreated",
            Self::AddPartitions { .. } => "PartitionsAdded",
            Self::AlterTopic { .. } => "TopicConfigured",
            Self::CreateKeyspace
            | Self::CreateType(_)
            | Self::AddField { .. }
            | Self::CreateTable(_)
            | Self::AddColumn { .. }
            | Self::SetTtl { .. } => "SchemaApplied",
            Self::RestartPod(_) => "RestartingPod",
        }
    }
}

/// Plans one reconcile.
pub fn plan(pipeline: &Pipeline, desired: Desired, observed: &Observed) -> Plan {
    let links = judge(pipeline, observed);
    let met = |link: Link| links.iter().any(|state| state.link == link && state.met);
    let Desired { shared, zookeeper, kafka, cassandra, mut producer, processor } = desired;
    let mut plan = Plan { links: links.clone(), outdated: roll::outdated(observed), ..Plan::default() };

    plan.take(shared, observed);
    plan.take(zookeeper, observed);
    plan.take_workload(kafka, observed, Component::Kafka, met(Link::ZooKeeper).then_some(()).ok_or(Link::ZooKeeper));
    plan.take(cassandra, observed);
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

    plan.acts.extend(stores::topics(pipeline, observed));
    plan.acts.extend(stores::schema(pipeline, observed));
    if plan.is_empty() {
        // A restart is the last thing to do: only a pipeline with nothing else to change is disturbed.
        plan.acts.extend(roll::next_restart(pipeline, observed, &links).map(Act::RestartPod));
    }
    plan
}

impl Plan {
    /// Takes over what differs from the objects that are there.
    fn take(&mut self, objects: Objects, observed: &Observed) {
        let Objects {
            service_accounts,
            config_maps,
            services,
            network_policies,
            disruption_budgets,
            stateful_sets,
            deployments,
        } = drift::differing(objects, &observed.children);
        self.apply.service_accounts.extend(service_accounts);
        self.apply.config_maps.extend(config_maps);
        self.apply.services.extend(services);
        self.apply.network_policies.extend(network_policies);
        self.apply.disruption_budgets.extend(disruption_budgets);
        self.apply.stateful_sets.extend(stateful_sets);
        self.apply.deployments.extend(deployments);
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
        if drift::differing(wanted, &observed.children) != Objects::default() {
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
            let before = objects.stateful_sets.len() + objects.deployments.len();
            objects.stateful_sets.retain(|wanted| children.stateful_sets.contains_key(&name_of(&wanted.metadata.name)));
            objects.deployments.retain(|wanted| children.deployments.contains_key(&name_of(&wanted.metadata.name)));
            if objects.stateful_sets.len() + objects.deployments.len() < before {
                self.holds.push(Hold { component, link });
            }
        }
        self.take(objects, observed);
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
