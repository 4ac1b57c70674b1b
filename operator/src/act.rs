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
        }
    }

    /// Returns the reason of the act's event.
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::Kafka(change) => change.event_reason(),
            Self::Cassandra(_) => "SchemaApplied",
            Self::RestartPod(_) => "RestartingPod",
        }
    }
}
