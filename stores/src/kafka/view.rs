//! What single brokers say of the cluster, and what they agree on. Pure.
//!
//! One broker's view may be old: it may have lost the controller, or not have heard from it yet. So only what all that
//! answer agree on counts.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;

use super::{KafkaFacts, OFFSETS_TOPIC, PartitionFacts, TopicFacts};

/// One broker's own view.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    brokers: BTreeSet<i32>,
    racks: BTreeMap<i32, String>,
    controller: Option<i32>,
    /// Every topic, Kafka's own included.
    topics: BTreeMap<String, TopicFacts>,
    /// Which of them are Kafka's own.
    internal: BTreeSet<String>,
}

impl View {
    pub(super) fn of(metadata: &MetadataResponse) -> Self {
        let mut view = Self {
            brokers: metadata.brokers.iter().map(|broker| broker.node_id.0).collect(),
            racks: metadata
                .brokers
                .iter()
                .filter_map(|broker| Some((broker.node_id.0, broker.rack.as_ref()?.to_string())))
                .collect(),
            controller: Some(metadata.controller_id.0).filter(|id| *id >= 0),
            ..Self::default()
        };
        for topic in metadata.topics.iter().filter(|topic| topic.error_code == 0) {
            let Some(name) = topic.name.as_ref().map(|name| name.to_string()) else {
                continue;
            };
            let partitions = topic.partitions.iter().map(partition_facts).collect();
            if topic.is_internal {
                view.internal.insert(name.clone());
            }
            view.topics.insert(name, TopicFacts { id: topic.topic_id, partitions, config: BTreeMap::new() });
        }
        view
    }

    /// Returns how many replicas of a partition it sees in sync; none of a partition that it does not know.
    fn in_sync(&self, topic: &str, index: i32) -> usize {
        self.partition(topic, index).map_or(0, |partition| partition.in_sync)
    }

    /// Returns whether it sees a partition on other brokers; not so of a partition that it does not know.
    fn differs(&self, topic: &str, index: i32, replicas: &[i32]) -> bool {
        self.partition(topic, index).is_some_and(|partition| partition.replicas != replicas)
    }

    fn partition(&self, topic: &str, index: i32) -> Option<&PartitionFacts> {
        self.topics.get(topic)?.partitions.iter().find(|partition| partition.index == index)
    }
}

fn partition_facts(partition: &MetadataResponsePartition) -> PartitionFacts {
    PartitionFacts {
        index: partition.partition_index,
        leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
        replicas: partition.replica_nodes.iter().map(|broker| broker.0).collect(),
        in_sync: partition.isr_nodes.len(),
        adding: Vec::new(),
        removing: Vec::new(),
    }
}

/// Returns what brokers agree on, given their views by id; `None`: there is no view.
///
/// The fullest view says which topics there are, since a broker that has just started knows none for a moment. Brokers
/// and replicas in sync are only those that every view has.
pub(super) fn agreed_by(views: &BTreeMap<i32, View>) -> Option<KafkaFacts> {
    let fullest = views.values().max_by_key(|view| (view.brokers.len(), view.topics.len()))?;
    let View { mut brokers, racks, controller, mut topics, internal } = fullest.clone();
    brokers.retain(|id| views.contains_key(id) && views.values().all(|view| view.brokers.contains(id)));
    for (name, topic) in &mut topics {
        for partition in &mut topic.partitions {
            let seen = views.values().map(|view| view.in_sync(name, partition.index));
            partition.in_sync = seen.min().unwrap_or(0);
        }
    }
    let partitions = topics.iter().flat_map(|(name, topic)| topic.partitions.iter().map(move |found| (name, found)));
    let is_settled = |(name, found): &(&String, &PartitionFacts)| {
        let moved = views.values().any(|view| view.differs(name, found.index, &found.replicas));
        found.in_sync >= found.replicas.len() && !moved
    };
    let under_replicated = partitions.filter(|partition| !is_settled(partition)).count();
    let offsets_topic = topics.remove(OFFSETS_TOPIC);
    let (internal_topics, topics) = topics.into_iter().partition(|(name, _)| internal.contains(name));
    Some(KafkaFacts {
        brokers,
        racks,
        topics,
        offsets_topic,
        internal_topics,
        under_replicated,
        controller,
        ..KafkaFacts::default()
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Returns a view of these brokers, and of one topic of three copies with so many in sync.
    fn view(brokers: &[i32], in_sync: usize) -> View {
        let partition = PartitionFacts {
            index: 0,
            leader: Some(0),
            replicas: vec![0, 1, 2],
            in_sync,
            adding: Vec::new(),
            removing: Vec::new(),
        };
        let topic = TopicFacts { id: Uuid::nil(), partitions: vec![partition], config: BTreeMap::new() };
        View {
            brokers: brokers.iter().copied().collect(),
            racks: BTreeMap::new(),
            controller: Some(0),
            topics: BTreeMap::from([("users".to_owned(), topic)]),
            internal: BTreeSet::new(),
        }
    }

    fn judged(views: [View; 3]) -> (Vec<i32>, usize, usize) {
        let facts = agreed_by(&(0..).zip(views).collect()).expect("there are views");
        (facts.brokers.into_iter().collect(), facts.topics["users"].partitions[0].in_sync, facts.under_replicated)
    }

    #[test]
    fn counts_replicas_as_in_sync_when_every_broker_does() {
        let whole = || view(&[0, 1, 2], 3);
        assert_eq!(judged([whole(), whole(), whole()]), (vec![0, 1, 2], 3, 0));
        assert_eq!(judged([whole(), view(&[0, 1, 2], 2), whole()]), (vec![0, 1, 2], 2, 1));
    }

    #[test]
    fn counts_a_broker_that_another_does_not_know_as_missing() {
        assert_eq!(judged([view(&[0, 1, 2], 3), view(&[0, 1], 2), view(&[0, 1, 2], 3)]), (vec![0, 1], 2, 1));
    }

    #[test]
    fn takes_a_partition_that_brokers_see_elsewhere_for_one_that_is_not_settled() {
        let whole = || view(&[0, 1, 2], 3);
        let mut older = whole();
        older.topics.get_mut("users").expect("it is there").partitions[0].replicas = vec![0, 1, 3];
        assert_eq!(judged([whole(), older, whole()]), (vec![0, 1, 2], 3, 1));
    }

    #[test]
    fn keeps_the_topics_while_one_broker_knows_nothing_yet() {
        let whole = || view(&[0, 1, 2], 3);
        assert_eq!(judged([View::default(), whole(), whole()]), (vec![], 0, 1));
    }

    #[test]
    fn leaves_out_a_registered_broker_that_does_not_answer() {
        let views = BTreeMap::from([(0, view(&[0, 1, 2], 3)), (1, view(&[0, 1, 2], 3))]);
        assert_eq!(agreed_by(&views).expect("there are views").brokers, BTreeSet::from([0, 1]));
        assert_eq!(agreed_by(&BTreeMap::new()), None);
    }
}
