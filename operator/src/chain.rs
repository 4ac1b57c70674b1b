//! The readiness chain: what each link is, judged by data-plane facts. Pure.
//!
//! ZooKeeper quorum answers → all brokers registered → topics exist with full ISR → every Cassandra node Up/Normal as
//! seen by every other, schema agreed, tables there → processors joined and assigned → producers run. `plan` holds
//! later links back until earlier ones are met, and `report` turns links into conditions.

use std::collections::{BTreeMap, BTreeSet};

use millrace_api::Pipeline;
use millrace_api::names::Component;
use uuid::Uuid;

use crate::observe::Observed;
use crate::plan::readiness;
use crate::scale::current_racks;
use millrace_stores::cassandra::CassandraFacts;
use millrace_stores::kafka::{KafkaFacts, TopicFacts};

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
    fn met(link: Link, reason: Reason, message: impl Into<String>) -> Self {
        Self { link, met: true, reason, message: message.into() }
    }

    fn unmet(link: Link, reason: Reason, message: impl Into<String>) -> Self {
        Self { link, met: false, reason, message: message.into() }
    }
}

/// Judges every link, in order.
pub fn judge(pipeline: &Pipeline, observed: &Observed) -> Vec<LinkState> {
    let zookeeper = zookeeper(pipeline, observed);
    let kafka = kafka(pipeline, observed, zookeeper.met);
    let topics = topics(pipeline, observed, kafka.met);
    let cassandra = cassandra(pipeline, observed);
    let processor = processor(pipeline, observed, &topics, &cassandra);
    let producer = producer(pipeline, observed, processor.met);
    vec![zookeeper, kafka, topics, cassandra, processor, producer]
}

fn zookeeper(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let size = pipeline.zookeeper.replicas;
    let facts = &observed.stores.zookeeper;
    let answering = facts.servers.len();
    if facts.has_quorum(size) {
        return LinkState::met(
            Link::ZooKeeper,
            Reason::QuorumEstablished,
            format!("{answering} of {size} ZooKeeper servers answer as one quorum"),
        );
    }
    LinkState::unmet(
        Link::ZooKeeper,
        Reason::WaitingForQuorum,
        format!(
            "{answering} of {size} ZooKeeper servers answer, a quorum needs {}{}",
            size / 2 + 1,
            trouble(observed, Component::ZooKeeper)
        ),
    )
}

fn kafka(pipeline: &Pipeline, observed: &Observed, zookeeper_met: bool) -> LinkState {
    let wanted = pipeline.kafka.replicas;
    match &observed.stores.kafka {
        Ok(facts) if (0..wanted as i32).all(|id| facts.brokers.contains(&id)) => LinkState::met(
            Link::Kafka,
            Reason::BrokersRegistered,
            format!("{wanted} of {wanted} brokers are registered"),
        ),
        _ if !zookeeper_met => LinkState::unmet(
            Link::Kafka,
            Reason::WaitingForZooKeeper,
            "brokers wait for the ZooKeeper quorum".to_owned(),
        ),
        Ok(facts) => LinkState::unmet(
            Link::Kafka,
            Reason::WaitingForBrokers,
            format!(
                "{} of {wanted} brokers are registered and answer{}",
                facts.brokers.len(),
                trouble(observed, Component::Kafka)
            ),
        ),
        Err(error) => LinkState::unmet(
            Link::Kafka,
            Reason::WaitingForBrokers,
            format!("no broker can be asked: {error}{}", trouble(observed, Component::Kafka)),
        ),
    }
}

fn topics(pipeline: &Pipeline, observed: &Observed, kafka_met: bool) -> LinkState {
    let facts = match &observed.stores.kafka {
        Ok(facts) => facts,
        Err(_) => return LinkState::unmet(Link::Topics, Reason::WaitingForKafka, "topics wait for the brokers"),
    };
    for topic in &pipeline.kafka.topics {
        let Some(found) = facts.topics.get(&topic.name) else {
            let reason = if kafka_met { Reason::CreatingTopics } else { Reason::WaitingForKafka };
            return LinkState::unmet(Link::Topics, reason, format!("topic '{}' does not exist yet", topic.name));
        };
        if let Some(refused) = topic_refused(topic, found) {
            return refused;
        }
        if found.partitions.len() < topic.partitions as usize {
            return LinkState::unmet(
                Link::Topics,
                Reason::CreatingTopics,
                format!("topic '{}' has {} of {} partitions", topic.name, found.partitions.len(), topic.partitions),
            );
        }
        let behind = found.partitions.iter().filter(|partition| partition.in_sync < partition.replicas).count();
        if behind > 0 {
            return LinkState::unmet(
                Link::Topics,
                Reason::UnderReplicated,
                format!("topic '{}' has {behind} partitions with replicas out of sync", topic.name),
            );
        }
    }
    let count = pipeline.kafka.topics.len();
    LinkState::met(Link::Topics, Reason::TopicsInSync, format!("{count} of {count} topics have all replicas in sync"))
}

/// Returns what the resource asks of an existing topic and Kafka cannot do; the topic is left as it is.
fn topic_refused(topic: &millrace_api::pipeline::Topic, found: &TopicFacts) -> Option<LinkState> {
    let (wanted, there) = (topic.partitions as usize, found.partitions.len());
    if there > wanted {
        return Some(LinkState::unmet(
            Link::Topics,
            Reason::PartitionDecreaseRejected,
            format!(
                "topic '{}' has {there} partitions and Kafka cannot remove any; set partitions to {there} or more",
                topic.name
            ),
        ));
    }
    let replicas = found.partitions.first().map_or(0, |partition| partition.replicas);
    (there > 0 && !topic.replication_factor.accepts(replicas as u32)).then(|| {
        LinkState::unmet(
            Link::Topics,
            Reason::ReplicationFactorDiffers,
            format!(
                "topic '{}' has replication factor {replicas}, and this version cannot change it to {}; set it to {replicas}",
                topic.name,
                topic.replication_factor.of_new()
            ),
        )
    })
}

fn cassandra(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let facts = &observed.stores.cassandra;
    let given = current_racks(pipeline, observed);
    let (wanted, running): (u32, u32) = (pipeline.cassandra.nodes(), given.values().sum());
    let unmet = |reason, message: String| {
        LinkState::unmet(Link::Cassandra, reason, format!("{message}{}", trouble(observed, Component::Cassandra)))
    };
    if !ring_is_whole(&given, facts) {
        let versions: BTreeSet<_> = facts.nodes.values().map(|node| node.schema_version).collect();
        if facts.nodes.len() as u32 == running && versions.len() > 1 {
            return unmet(Reason::SchemaDisagreement, format!("the nodes hold {} schema versions", versions.len()));
        }
        return unmet(
            if running > 1 { Reason::NodeJoining } else { Reason::WaitingForNodes },
            format!("{} of {wanted} Cassandra nodes are up and normal as seen by every other", normal_nodes(facts)),
        );
    }
    if running < wanted {
        return unmet(Reason::NodeJoining, format!("{running} of {wanted} Cassandra nodes have joined, one at a time"));
    }
    if let Some(message) = strangers(facts) {
        return unmet(Reason::UnknownNodes, message);
    }
    schema(pipeline, facts).unwrap_or_else(|| {
        LinkState::met(
            Link::Cassandra,
            Reason::NodesUpNormal,
            format!("{wanted} of {wanted} Cassandra nodes are up and normal, and agree on the schema"),
        )
    })
}

/// Returns what to do about nodes that own a part of the ring and run in no pod; `None`: there are none.
///
/// Volumes of a larger ring that were adopted by fewer nodes: the ring still counts on the others, for quorums, too.
/// Asked only when all pods have joined, since until then the missing ones may be those that are still to come.
fn strangers(facts: &CassandraFacts) -> Option<String> {
    let known: BTreeSet<Uuid> = facts.nodes.values().map(|node| node.host_id).collect();
    let ring: BTreeSet<Uuid> = facts.nodes.values().flat_map(|node| &node.ring).copied().collect();
    let strangers: Vec<String> = ring.difference(&known).map(Uuid::to_string).collect();
    (!strangers.is_empty()).then(|| {
        format!(
            "the ring has {} nodes that run in no pod ({}); raise the racks' replicas to what the volumes were written \
             with, or give up what only these nodes have with 'nodetool removenode' for each",
            strangers.len(),
            strangers.join(", ")
        )
    })
}

/// Returns what is missing of keyspace, types and tables; `None`: nothing.
fn schema(pipeline: &Pipeline, facts: &CassandraFacts) -> Option<LinkState> {
    let unmet = |reason, message| Some(LinkState::unmet(Link::Cassandra, reason, message));
    let keyspace = &pipeline.cassandra.keyspace;
    let Some(schema) = facts.schema.as_ref().filter(|schema| schema.replication.is_some()) else {
        return unmet(Reason::CreatingSchema, format!("keyspace '{keyspace}' does not exist yet"));
    };
    if let Some(rejected) = crate::plan::schema_rejected(pipeline, schema) {
        return unmet(Reason::SchemaChangeRejected, rejected);
    }
    for declared in &pipeline.cassandra.types {
        let Some(found) = schema.types.get(&declared.name) else {
            return unmet(Reason::CreatingSchema, format!("type '{keyspace}.{}' does not exist yet", declared.name));
        };
        if let Some(field) = declared.fields.get(found.len()) {
            return unmet(
                Reason::CreatingSchema,
                format!("type '{keyspace}.{}' has no field '{}' yet", declared.name, field.name),
            );
        }
    }
    for table in &pipeline.cassandra.tables {
        let Some(found) = schema.tables.get(&table.name) else {
            return unmet(Reason::CreatingSchema, format!("table '{keyspace}.{}' does not exist yet", table.name));
        };
        if let Some(column) = table.columns.iter().find(|column| !found.columns.contains_key(&column.name)) {
            return unmet(
                Reason::CreatingSchema,
                format!("table '{keyspace}.{}' has no column '{}' yet", table.name, column.name),
            );
        }
    }
    None
}

fn processor(pipeline: &Pipeline, observed: &Observed, topics: &LinkState, cassandra: &LinkState) -> LinkState {
    let wanted = pipeline.processor.replicas;
    let name = pipeline.names.component(Component::Processor);
    let deployment = observed.children.deployments.get(&name);
    if wanted == 0 {
        return LinkState::met(Link::Processor, Reason::ScaledToZero, "no processors are wanted; nothing is written");
    }
    if pipeline.processor.queries.is_empty() {
        return LinkState::unmet(Link::Processor, Reason::NoQuery, "no query can run; see the condition SpecValid");
    }
    if deployment.is_none() {
        if !topics.met {
            return LinkState::unmet(
                Link::Processor,
                Reason::WaitingForTopics,
                format!("processors wait: {}", topics.message),
            );
        }
        if !cassandra.met {
            return LinkState::unmet(
                Link::Processor,
                Reason::WaitingForSchema,
                format!("processors wait: {}", cassandra.message),
            );
        }
    }
    let ready = readiness::deployment(deployment);
    let group = observed.stores.kafka.as_ref().ok().and_then(|facts| facts.group.as_ref());
    let joined = group.is_some_and(|group| group.stable && group.members >= wanted as usize);
    if ready.all(wanted) && joined {
        return LinkState::met(
            Link::Processor,
            Reason::ProcessorsAssigned,
            format!("{wanted} of {wanted} processors have joined their group and write"),
        );
    }
    let group = match group {
        Some(group) if group.stable => format!("{} have joined the group", group.members),
        Some(_) => "the group is rebalancing".to_owned(),
        None => "the group is unknown".to_owned(),
    };
    LinkState::unmet(
        Link::Processor,
        Reason::WaitingForProcessors,
        format!("{} of {wanted} processors are ready, {group}{}", ready.ready, trouble(observed, Component::Processor)),
    )
}

fn producer(pipeline: &Pipeline, observed: &Observed, processor_met: bool) -> LinkState {
    let wanted = pipeline.producer.replicas;
    if wanted == 0 {
        return LinkState::met(Link::Producer, Reason::ScaledToZero, "no producers are wanted; nothing is fetched");
    }
    if pipeline.producer.sources.is_empty() {
        return LinkState::unmet(Link::Producer, Reason::NoSource, "no source can run; see the condition SpecValid");
    }
    let stateful_set = observed.children.stateful_sets.get(&pipeline.names.component(Component::Producer));
    if stateful_set.is_none() && !processor_met {
        return LinkState::unmet(
            Link::Producer,
            Reason::WaitingForProcessors,
            "producers wait until the processors have joined".to_owned(),
        );
    }
    let ready = readiness::stateful_set(stateful_set);
    if ready.all(wanted) {
        return LinkState::met(Link::Producer, Reason::ProducersRunning, format!("{wanted} of {wanted} producers run"));
    }
    LinkState::unmet(
        Link::Producer,
        Reason::WaitingForProducers,
        format!("{} of {wanted} producers are ready{}", ready.ready, trouble(observed, Component::Producer)),
    )
}

/// Returns whether every node that was given has joined, is seen as normal by every other, and agrees on the schema.
/// A ring without any node given is whole: the first may start.
pub fn ring_is_whole(given: &BTreeMap<String, u32>, facts: &CassandraFacts) -> bool {
    let expected = given.iter().flat_map(|(rack, count)| (0..*count).map(move |ordinal| (rack.clone(), ordinal)));
    let Some(nodes) = expected.map(|key| facts.nodes.get(&key)).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let agreed = nodes.windows(2).all(|pair| pair[0].schema_version == pair[1].schema_version);
    agreed
        && nodes.iter().all(|node| node.joined && nodes.iter().all(|other| other.sees_normal.contains(&node.address)))
}

/// Returns how many answering nodes have joined and are seen as normal by every other answering node.
pub fn normal_nodes(facts: &CassandraFacts) -> usize {
    let seen = |address| facts.nodes.values().all(|other| other.sees_normal.contains(address));
    facts.nodes.values().filter(|node| node.joined && seen(&node.address)).count()
}

/// Returns how many of the wanted brokers are registered.
pub fn registered_brokers(wanted: u32, facts: &KafkaFacts) -> usize {
    facts.brokers.iter().filter(|id| (0..wanted as i32).contains(*id)).count()
}

/// Returns what keeps a component's pods from running, as Kubernetes tells it; empty when nothing does.
fn trouble(observed: &Observed, component: Component) -> String {
    observed
        .children
        .pods_of(component)
        .find_map(readiness::trouble)
        .map(|(pod, trouble)| format!("; pod '{pod}': {trouble}"))
        .unwrap_or_default()
}
