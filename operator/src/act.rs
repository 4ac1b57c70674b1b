//! What the operator does that Kubernetes objects cannot express: changes to the stores, and restarts of their pods.

use millrace_api::names::Component;
use millrace_stores::{cassandra, kafka, zookeeper};
use serde_json::{Value, json};

/// Something to do. Each can be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Change which servers of the ensemble vote.
    ZooKeeper(zookeeper::Reconfiguration),
    /// Change a topic, what the brokers are set to, or how far a group has read.
    Kafka(kafka::Change),
    /// Change keyspace, types or tables.
    Cassandra(cassandra::Change),
    /// Delete a pod, so that its StatefulSet makes it anew from the current template.
    RestartPod(Restart),
    /// Delete a StatefulSet and leave its pods and claims, so that it can be made anew with another storage class.
    RemoveSet(SetRemoval),
    /// Delete a claim that has never had a volume, so that it can be made anew with another storage class.
    RemoveClaim(ClaimRemoval),
    /// Let a claim ask for more storage.
    GrowClaim(ClaimGrowth),
    /// Delete a StatefulSet and leave its pods and claims, so that it is made anew with the size that its claims have.
    RemakeSet(SetRemoval),
}

/// A StatefulSet to remove.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetRemoval {
    /// Name.
    pub name: String,
    /// UID as observed: the delete's precondition.
    pub uid: String,
}

/// A claim to remove.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimRemoval {
    /// Name.
    pub name: String,
    /// UID as observed: a precondition of the delete.
    pub uid: String,
    /// Version as observed: the other precondition, so that a claim that is bound meanwhile is kept.
    pub resource_version: String,
}

/// A claim to grow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimGrowth {
    /// Name.
    pub name: String,
    /// Version as observed: a precondition of the change.
    pub resource_version: String,
    /// Amount of storage that it asks for now.
    pub from: String,
    /// Amount of storage that it is to ask for.
    pub to: String,
}

/// Returns the change of a claim that makes it ask for an amount of storage.
pub fn asking_for(size: &str) -> Value {
    json!({"spec": {"resources": {"requests": {"storage": size}}}})
}

/// A pod to restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restart {
    /// Name.
    pub pod: String,
    /// UID as observed: the delete's precondition.
    pub uid: String,
    /// Whose pod.
    pub component: Component,
    /// Why.
    pub reason: String,
    /// Whether the pod cannot run as it is, so that its restart takes nothing away.
    pub is_repair: bool,
}

impl Act {
    /// Returns the act in words, for `.status.plannedActions` and events.
    pub fn describe(&self) -> String {
        match self {
            Self::ZooKeeper(change) => change.describe(),
            Self::Kafka(change) => change.describe(),
            Self::Cassandra(change) => change.describe(),
            Self::RestartPod(restart) => format!("restart pod '{}': {}", restart.pod, restart.reason),
            Self::RemoveSet(set) => {
                format!("delete StatefulSet '{}', whose claims have no volume yet: its storage changed", set.name)
            }
            Self::RemoveClaim(claim) => {
                format!("delete claim '{}', which never had a volume: its storage changed", claim.name)
            }
            Self::GrowClaim(ClaimGrowth { name, from, to, .. }) => format!("grow claim '{name}' from {from} to {to}"),
            Self::RemakeSet(set) => {
                format!("recreate StatefulSet '{}' for the new size of its claims; its pods keep running", set.name)
            }
        }
    }

    /// Returns whether it takes away a member that serves. It then waits for maintenance windows and for people.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::RestartPod(restart) => !restart.is_repair,
            // What is removed has never held data, or lets its pods and claims be. Who votes changes at the word of
            // the spec.
            Self::ZooKeeper(_)
            | Self::Kafka(_)
            | Self::Cassandra(_)
            | Self::RemoveSet(_)
            | Self::RemoveClaim(_)
            | Self::GrowClaim(_)
            | Self::RemakeSet(_) => false,
        }
    }

    /// Returns the reason of the act's event.
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::ZooKeeper(change) => change.event_reason(),
            Self::Kafka(change) => change.event_reason(),
            Self::Cassandra(_) => "SchemaApplied",
            Self::RestartPod(_) => "RestartingPod",
            Self::RemoveSet(_) | Self::RemoveClaim(_) => "StorageClassChanged",
            Self::GrowClaim(_) | Self::RemakeSet(_) => "GrowingVolumes",
        }
    }
}
