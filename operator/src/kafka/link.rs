//! The links of the brokers and of the topics. Pure.

use millrace_api::Pipeline;
use millrace_api::crd::Changes;
use millrace_api::names::Component;
use millrace_api::pipeline::Topic;

use crate::causes::cause_of;
use crate::intact::{empty_zookeeper, has_stale_base, processors_run};
use crate::kafka::reassignment::in_words;
use crate::link::{Link, LinkState, Reason};
use crate::observed::Observed;
use millrace_stores::kafka::{KafkaFacts, PartitionFacts, TopicFacts, is_marked};

/// Judges whether every broker is registered.
pub fn kafka(pipeline: &Pipeline, observed: &Observed, zookeeper_met: bool) -> LinkState {
    let wanted = pipeline.kafka.replicas;
    match &observed.stores.kafka {
        Ok(facts) if facts.has_brokers(wanted) => LinkState::met(
            Link::Kafka,
            Reason::BrokersRegistered,
            format!("{wanted} of {wanted} brokers are registered{}", in_words(facts)),
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
                "{} of {wanted} brokers are registered and answer{}{}",
                registered_brokers(wanted, facts),
                in_words(facts),
                cause_of(observed, Component::Kafka)
            ),
        ),
        Err(error) => {
            let message = match empty_zookeeper(pipeline, observed) {
                Some((_, message)) => message,
                None => format!("no broker can be queried: {error}{}", cause_of(observed, Component::Kafka)),
            };
            LinkState::unmet(Link::Kafka, Reason::WaitingForBrokers, message)
        }
    }
}

/// Judges whether a Kafka that someone else runs can be used: a broker answers, and so does the leader of every partition of
/// the declared topics.
pub fn external(pipeline: &Pipeline, observed: &Observed) -> LinkState {
    let outside = &observed.stores.outside;
    let left_out = outside.left_out.get(&Component::Kafka);
    let reason = match left_out {
        Some(left_out) if left_out.is_forbidden() => Reason::AddressNotAllowed,
        Some(_) | None => Reason::StoreUnreachable,
    };
    let facts = match &observed.stores.kafka {
        Ok(facts) => facts,
        Err(error) => {
            return LinkState::unmet(Link::Kafka, reason, format!("the external Kafka cannot be asked: {error}"));
        }
    };
    let is_reached = |leader: i32| outside.brokers.of(&leader.cast_unsigned()).is_some();
    for name in pipeline.kafka.topics.iter().map(|topic| &topic.name) {
        let partitions = facts.topics.get(name).map_or(&[][..], |topic| &topic.partitions);
        for PartitionFacts { index, leader, .. } in partitions {
            let message = match leader {
                Some(leader) if is_reached(*leader) => continue,
                Some(leader) => {
                    let why = left_out.map(|left_out| format!(": {left_out}")).unwrap_or_default();
                    format!("broker {leader}, which leads partition {index} of topic '{name}', cannot be asked{why}")
                }
                None => format!("no broker leads partition {index} of topic '{name}'"),
            };
            return LinkState::unmet(Link::Kafka, reason, message);
        }
    }
    LinkState::met(Link::Kafka, Reason::StoreReachable, "the external Kafka answers".to_owned())
}

/// Returns why a topic that is not there stays away in a Kafka that someone else runs. `None`: the operator creates it.
fn stays_away(pipeline: &Pipeline, topic: &Topic, facts: &KafkaFacts) -> Option<LinkState> {
    let external = pipeline.kafka.placement.external()?;
    let unmet = |message| Some(LinkState::unmet(Link::Topics, Reason::TopicsMissing, message));
    if let Some(refused) = facts.refused.get(&topic.name) {
        return unmet(format!("the external Kafka does not describe topic '{}': {refused}", topic.name));
    }
    if external.changes == Changes::Additions {
        return None;
    }
    let config: String = topic.config.iter().map(|(key, value)| format!(" --config {key}={value}")).collect();
    let server = external.addresses.first().map(ToString::to_string).unwrap_or_default();
    unmet(format!(
        "topic '{}' does not exist in the external Kafka, and spec.kafka.external.changes is None; create it: \
         kafka-topics.sh --bootstrap-server {server} --create --topic {} --partitions {}{config}",
        topic.name, topic.name, topic.partitions
    ))
}

/// Judges whether every topic is there, with every replica in sync.
pub fn topics(pipeline: &Pipeline, observed: &Observed, kafka_met: bool) -> LinkState {
    let facts = match &observed.stores.kafka {
        Ok(facts) => facts,
        Err(_) => return LinkState::unmet(Link::Topics, Reason::WaitingForKafka, "topics wait for the brokers"),
    };
    for topic in &pipeline.kafka.topics {
        let Some(found) = facts.topics.get(&topic.name) else {
            if let Some(unmet) = stays_away(pipeline, topic, facts) {
                return unmet;
            }
            let reason = if kafka_met { Reason::CreatingTopics } else { Reason::WaitingForKafka };
            let message = match observed.remembered.topic(&topic.name) {
                Some(_) if has_stale_base(pipeline, observed) && processors_run(observed) => format!(
                    "topic '{}' no longer exists; it is recreated once no processor runs, so that new records override \
                     the rows of older ones",
                    topic.name
                ),
                _ => format!("topic '{}' does not exist yet", topic.name),
            };
            return LinkState::unmet(Link::Topics, reason, message);
        };
        if let Some(refused) = topic_refused(topic, found) {
            return refused;
        }
        if found.partitions.len() < topic.partitions as usize {
            let message =
                format!("topic '{}' has {} of {} partitions", topic.name, found.partitions.len(), topic.partitions);
            return match pipeline.manages(Component::Kafka) {
                true => LinkState::unmet(Link::Topics, Reason::CreatingTopics, message),
                false => LinkState::unmet(
                    Link::Topics,
                    Reason::TopicsMissing,
                    format!(
                        "{message}, and the operator adds none in an external Kafka; set partitions to what is there"
                    ),
                ),
            };
        }
        let behind = found.partitions.iter().filter(|partition| partition.is_behind()).count();
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
fn topic_refused(topic: &Topic, found: &TopicFacts) -> Option<LinkState> {
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
    let replicas = found.partitions.first().map_or(0, PartitionFacts::copies);
    // What moves keeps its number of copies, and may for a moment look as if it had another.
    (there > 0 && !is_marked(found) && !topic.replication_factor.accepts(replicas as u32)).then(|| {
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

/// Returns how many of the wanted brokers are registered.
pub fn registered_brokers(wanted: u32, facts: &KafkaFacts) -> usize {
    facts.brokers.iter().filter(|id| (0..wanted as i32).contains(*id)).count()
}
