//! Conditions: their types, statuses and reasons, and the readiness chain that most of them represent.
//!
//! Everything that writes, reads or draws a condition takes its words from here. They are stable: scripts wait for them.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::Schema;
use serde::{Serialize, Serializer};

/// A link of the readiness chain. The variants stand in its order, in which nothing comes before what it waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Link {
    /// A quorum answers.
    ZooKeeper,
    /// All brokers are registered.
    Kafka,
    /// All topics exist, with every replica in sync.
    Topics,
    /// The ring is whole, the schema agreed, keyspace and tables there.
    Cassandra,
    /// All processors have joined their group.
    Processor,
    /// All producers run.
    Producer,
}

impl Link {
    /// The chain, in order.
    pub const ALL: [Self; 6] =
        [Self::ZooKeeper, Self::Kafka, Self::Topics, Self::Cassandra, Self::Processor, Self::Producer];

    /// Returns the type of the condition that says whether the link is met.
    pub const fn condition(self) -> ConditionType {
        ConditionType::Link(self)
    }

    /// Returns the link that waits for this one. `None`: the pipeline itself does.
    pub const fn awaited_by(self) -> Option<Self> {
        match self {
            Self::ZooKeeper => Some(Self::Kafka),
            Self::Kafka => Some(Self::Topics),
            Self::Topics | Self::Cassandra => Some(Self::Processor),
            Self::Processor => Some(Self::Producer),
            Self::Producer => None,
        }
    }
}

/// Type of a condition of a StreamingPipeline or an IngestionRun.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ConditionType {
    /// Data can flow: every link is met. Of a run: it has succeeded.
    Ready,
    /// The operator is at work; kstatus reads it.
    Reconciling,
    /// Only a changed spec can help; kstatus reads it.
    Stalled,
    /// Every part of the spec can run.
    SpecValid,
    /// A link of the readiness chain is met.
    Link(Link),
    /// Every source answers.
    SourcesHealthy,
    /// No data that was there is gone.
    DataIntact,
    /// No Cassandra node's last full repair is too long ago. Absent: Cassandra does not repair by itself.
    RepairOnSchedule,
    /// Retention is about to delete records that processors have not read. Absent otherwise.
    RetentionAtRisk,
    /// Another client keeps changing what the operator sets, or the API server stores another value. Absent otherwise.
    Contested,
    /// Restarts of store pods wait for their time or for people. Absent otherwise.
    UpdatesHeld,
    /// A new version of the operator renders another template of a store's pods, which waits. Absent otherwise.
    RequiresUpdate,
    /// Everything is drained and no worker runs. Absent unless `spec.suspend` is set.
    Suspended,
    /// Canary records become readable rows. Absent without `spec.processor.canary`.
    DataFlowing,
    /// A run has succeeded.
    Complete,
    /// A run has failed.
    Failed,
}

impl ConditionType {
    /// Returns the type as conditions have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::SpecValid => "SpecValid",
            Self::Link(Link::ZooKeeper) => "ZooKeeperReady",
            Self::Link(Link::Kafka) => "KafkaReady",
            Self::Link(Link::Topics) => "TopicsReady",
            Self::Link(Link::Cassandra) => "CassandraReady",
            Self::Link(Link::Processor) => "ProcessorReady",
            Self::Link(Link::Producer) => "ProducerReady",
            Self::SourcesHealthy => "SourcesHealthy",
            Self::DataIntact => "DataIntact",
            Self::RepairOnSchedule => "RepairOnSchedule",
            Self::RetentionAtRisk => "RetentionAtRisk",
            Self::Contested => "Contested",
            Self::UpdatesHeld => "UpdatesHeld",
            Self::RequiresUpdate => "RequiresUpdate",
            Self::Suspended => "Suspended",
            Self::DataFlowing => "DataFlowing",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
        }
    }

    /// Returns the condition of this type.
    pub fn of(self, conditions: &[Condition]) -> Option<&Condition> {
        conditions.iter().find(|condition| condition.type_ == self.as_str())
    }

    /// Returns whether there is a condition of this type and it is true.
    pub fn is_true(self, conditions: &[Condition]) -> bool {
        self.of(conditions).is_some_and(is_true)
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ConditionType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Returns whether a condition is true.
pub fn is_true(condition: &Condition) -> bool {
    ConditionStatus::of(condition) == ConditionStatus::True
}

/// What a condition says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It is unknown right now.
    Unknown,
}

impl ConditionStatus {
    /// Returns what a condition says. What is neither true nor false is unknown.
    pub fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    /// Returns the status as conditions have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why a condition says what it says, in one word.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs, reason = "each condition's message says it")]
pub enum Reason {
    // Links of the chain.
    QuorumEstablished,
    WaitingForQuorum,
    BrokersRegistered,
    WaitingForZooKeeper,
    WaitingForBrokers,
    TopicsInSync,
    WaitingForKafka,
    CreatingTopics,
    UnderReplicated,
    PartitionDecreaseRejected,
    ReplicationFactorDiffers,
    NodesUpNormal,
    WaitingForNodes,
    NodeJoining,
    NodeLeaving,
    ReplacingNode,
    VolumeLost,
    UnknownNodes,
    SchemaDisagreement,
    CreatingSchema,
    SchemaChangeRejected,
    ProcessorsAssigned,
    WaitingForTopics,
    WaitingForSchema,
    WaitingForProcessors,
    ProducersRunning,
    WaitingForProducers,
    NoSource,
    SourcesRunning,
    SourceFailing,
    NoQuery,
    ScaledToZero,
    Replaying,
    VolumesDiffer,
    // Of stores that someone else runs.
    StoreReachable,
    StoreUnreachable,
    AddressNotAllowed,
    TopicsMissing,
    SchemaMissing,
    // What stands on the volumes.
    NothingMissing,
    TableRecreated,
    TablesMissing,
    TopicRecreated,
    RecordsMissing,
    RecordsExpired,
    ClusterIdDiffers,
    RepairInTime,
    RepairOverdue,
    RetentionAtRisk,
    // The pipeline as a whole.
    AllComponentsReady,
    ApplyingChanges,
    ApplyFailed,
    ApplyRejected,
    ObservationFailed,
    SpecInvalid,
    Valid,
    ChangedByOthers,
    Paused,
    Suspending,
    Suspended,
    ClosingSources,
    Draining,
    StoppingProcessors,
    Drained,
    RecordsWaiting,
    WaitingForWindow,
    DisruptionsHeld,
    ApprovalRequired,
    OperatorUpgraded,
    // The canary; what is not so is the station that its record has not passed.
    RecordsReadable,
    NotProduced,
    NotConsumed,
    NotWritten,
    NotRead,
    // Runs; `Rejected` is also the spec's, `Paused` and `Suspended` are also the pipeline's.
    Rejected,
    PipelineNotFound,
    PipelineDeleted,
    PipelineNotReady,
    SourceInUse,
    WaitingForSlot,
    AttemptBegins,
    AttemptUnderWay,
    WaitingToRetry,
    AttemptsFailed,
    Succeeded,
    Cancelled,
}

impl fmt::Display for Reason {
    /// Writes the reason as conditions and events have it: its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Describes the fields of conditions in a schema, in short: Kubernetes' own words for them are a kilobyte in each CRD.
pub(crate) fn describe(conditions: &mut Schema) {
    let Some(fields) = conditions.pointer_mut("/items/properties") else {
        return;
    };
    for (field, description) in [
        ("lastTransitionTime", "When the status last changed."),
        ("message", "Why, in a sentence."),
        ("observedGeneration", "Generation of the spec that this condition describes."),
        ("reason", "Why, in one word."),
        ("status", "True, False or Unknown."),
        ("type", "Name of the condition."),
    ] {
        fields[field]["description"] = description.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Component;

    #[test]
    fn nothing_in_the_chain_comes_before_what_it_waits_for() {
        assert!(Link::ALL.is_sorted(), "the variants stand in another order");
        for link in Link::ALL {
            assert!(link.awaited_by().is_none_or(|later| later > link), "{link:?}");
        }
    }

    /// Topics are no component of their own; all others have the name of theirs.
    #[test]
    fn components_stand_in_the_order_of_their_links() {
        let links = Link::ALL.into_iter().filter(|link| *link != Link::Topics).map(|link| format!("{link:?}"));
        assert_eq!(links.collect::<Vec<_>>(), Component::ALL.map(|component| format!("{component:?}")));
    }

    #[test]
    fn conditions_are_found_by_their_type() {
        let time = crate::crd::time::time_of(chrono::DateTime::UNIX_EPOCH);
        let condition = |kind: ConditionType, status: ConditionStatus| Condition {
            type_: kind.to_string(),
            status: status.as_str().to_owned(),
            reason: Reason::WaitingForKafka.to_string(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: time.clone(),
        };
        let topics = Link::Topics.condition();
        let conditions =
            [condition(ConditionType::Ready, ConditionStatus::Unknown), condition(topics, ConditionStatus::True)];
        assert!(topics.is_true(&conditions) && !ConditionType::Ready.is_true(&conditions));
        assert_eq!(topics.of(&conditions).map(|found| found.reason.as_str()), Some("WaitingForKafka"));
        assert_eq!(ConditionType::Stalled.of(&conditions), None);
    }
}
