//! What the operator does that Kubernetes objects cannot express: changes to the stores, and restarts of their pods.

use millrace_api::names::Component;
use millrace_stores::{cassandra, kafka};

/// Something to do. Each can be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Change a topic.
    Kafka(kafka::Change),
    /// Change keyspace, types or tables.
    Cassandra(cassandra::Change),
    /// Delete a pod, so that its StatefulSet makes it anew from the current template.
    RestartPod(Restart),
    /// Delete a StatefulSet and leave its pods and claims, so that it can be made anew with another storage class.
    RemoveSet(SetRemoval),
    /// Delete a claim that has never had a volume, so that it can be made anew with another storage class.
    RemoveClaim(ClaimRemoval),
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
}

impl Act {
    /// Returns the act in words, for `.status.plannedActions` and events.
    pub fn describe(&self) -> String {
        match self {
            Self::Kafka(change) => change.describe(),
            Self::Cassandra(change) => change.describe(),
            Self::RestartPod(restart) => format!("restart pod '{}': {}", restart.pod, restart.reason),
            Self::RemoveSet(set) => {
                format!("remove StatefulSet '{}', whose claims have no volume yet: the storage class changed", set.name)
            }
            Self::RemoveClaim(claim) => {
                format!("remove claim '{}', which never had a volume: the storage class changed", claim.name)
            }
        }
    }

    /// Returns the reason of the act's event.
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::Kafka(change) => change.event_reason(),
            Self::Cassandra(_) => "SchemaApplied",
            Self::RestartPod(_) => "RestartingPod",
            Self::RemoveSet(_) | Self::RemoveClaim(_) => "StorageClassChanged",
        }
    }
}
