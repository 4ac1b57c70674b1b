//! A link of the readiness chain, and why it is met or not: the words that every room judges its own links in.

/// A link of the chain, in order. Its name is the condition's type.
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
    /// Returns the condition's type.
    pub const fn condition(self) -> &'static str {
        match self {
            Self::ZooKeeper => "ZooKeeperReady",
            Self::Kafka => "KafkaReady",
            Self::Topics => "TopicsReady",
            Self::Cassandra => "CassandraReady",
            Self::Processor => "ProcessorReady",
            Self::Producer => "ProducerReady",
        }
    }
}

/// Why a link is met or not; the condition's reason. Stable: people's scripts wait for them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs, reason = "each variant's message says it")]
pub enum Reason {
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
    NoQuery,
    ScaledToZero,
}

impl Reason {
    /// Returns the reason as conditions and events write it.
    pub fn as_str(self) -> String {
        format!("{self:?}")
    }
}

/// A link and whether it is met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkState {
    /// Which one.
    pub link: Link,
    /// Whether it is met.
    pub met: bool,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence that a person can act on.
    pub message: String,
}

impl LinkState {
    /// Makes a link that is met.
    pub fn met(link: Link, reason: Reason, message: impl Into<String>) -> Self {
        Self { link, met: true, reason, message: message.into() }
    }

    /// Makes a link that is not met.
    pub fn unmet(link: Link, reason: Reason, message: impl Into<String>) -> Self {
        Self { link, met: false, reason, message: message.into() }
    }
}
