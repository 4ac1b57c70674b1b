//! Moves partitions between brokers, at no more than a given pace, and has the preferred replicas lead. Each can be repeated.
//!
//! Kafka throttles replicas that are not in sync: by a rate of each broker, for the replicas that each topic lists. Here
//! every replica of a topic is listed, by `*`. That is the mark of a move that goes on, too, so it comes first and goes last.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::change::{CHANGE_TIMEOUT_MS, DELETE, SET, alterable};
use super::{AskKafka, ChangeSnafu, Kafka, KafkaFacts, TOPIC_RESOURCE, refused_by, topic_name, version};

/// Topic settings that list the replicas whose catching up is throttled.
pub const THROTTLED_REPLICAS: [&str; 2] =
    ["follower.replication.throttled.replicas", "leader.replication.throttled.replicas"];
/// Value of [`THROTTLED_REPLICAS`] that stands for every replica.
pub const ANY_REPLICA: &str = "*";

/// Broker settings with the bytes that throttled replicas may copy in a second.
pub(super) const THROTTLED_RATE: [&str; 2] =
    ["follower.replication.throttled.rate", "leader.replication.throttled.rate"];
/// `resource_type` of a broker in configuration requests.
pub(super) const BROKER_RESOURCE: i8 = 4;
/// `election_type` of the preferred replica, the first one.
const PREFERRED: i8 = 0;

/// A partition and the brokers that shall have its replicas.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reassigned {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Brokers as they were when it was decided. If they are others by now, nothing is moved.
    pub from: Vec<i32>,
    /// As many brokers, in order: the first is the preferred leader.
    pub to: Vec<i32>,
}

impl Reassigned {
    /// Returns the brokers that get a replica.
    pub fn added(&self) -> Vec<i32> {
        self.to.iter().filter(|broker| !self.from.contains(broker)).copied().collect()
    }
}

/// Returns moves in words, such as `move 2 partitions of topics a, b onto broker 3`.
pub(super) fn describe(moves: &[Reassigned]) -> String {
    let topics: BTreeSet<String> = moves.iter().map(|moved| moved.topic.clone()).collect();
    let brokers: BTreeSet<String> = moves.iter().flat_map(Reassigned::added).map(|broker| broker.to_string()).collect();
    let (count, topics) = (partitions(moves.len()), listed("topic", &topics));
    match brokers.is_empty() {
        true => format!("change the preferred leaders of {count} of {topics}"),
        false => format!("move {count} of {topics} onto {}", listed("broker", &brokers)),
    }
}

fn listed(noun: &str, names: &BTreeSet<String>) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
}

/// Returns a number of partitions in words.
pub(super) fn partitions(count: usize) -> String {
    if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") }
}

impl Kafka {
    /// Orders moves: first the pace, then the mark, then the moves.
    pub(super) async fn reassign(&mut self, moves: &[Reassigned], rate: u64) -> Result<(), AskKafka> {
        let facts = self.agreed().await?;
        for moved in moves {
            let is_same = is_where_it_was(&facts, moved) && moved.from.len() == moved.to.len();
            if !is_same {
                let what = format!("to move partition {} of topic '{}'", moved.partition, moved.topic);
                return ChangeSnafu { what, reason: "it is on other brokers by now" }.fail();
            }
        }
        let are_copied = moves.iter().any(|moved| !moved.added().is_empty());
        if are_copied {
            self.throttle(&facts.brokers, rate).await?;
        }
        let topics: BTreeSet<String> = moves.iter().map(|moved| moved.topic.clone()).collect();
        self.set_mark(&topics, true).await?;
        let wanted = moves.iter().map(|moved| (moved.topic.as_str(), moved.partition, Some(moved.to.as_slice())));
        self.order(by_topic(wanted), "move").await
    }

    /// Takes moves back. One that has ended by now counts as taken back; the next look tells where it ended.
    pub(super) async fn cancel_moves(&mut self, partitions: &[(String, i32)]) -> Result<(), AskKafka> {
        let wanted = partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, None));
        self.order(by_topic(wanted), "cancel the move of").await
    }

    async fn order(&mut self, topics: Vec<ReassignableTopic>, verb: &str) -> Result<(), AskKafka> {
        let request =
            AlterPartitionReassignmentsRequest::default().with_timeout_ms(CHANGE_TIMEOUT_MS).with_topics(topics);
        let answer = self.ask_controller(&request, version::ALTER_REASSIGNMENTS).await?;
        refused_by(answer.error_code, answer.error_message, || format!("to {verb} partitions"))?;
        for topic in answer.responses {
            let name = topic.name.to_string();
            for partition in topic.partitions {
                if partition.error_code == ResponseError::NoReassignmentInProgress.code() {
                    continue;
                }
                let what = || format!("to {verb} partition {} of topic '{name}'", partition.partition_index);
                refused_by(partition.error_code, partition.error_message, what)?;
            }
        }
        Ok(())
    }

    /// Has the preferred replicas lead; one that leads already counts as elected.
    pub(super) async fn elect_leaders(&mut self, partitions: &[(String, i32)]) -> Result<(), AskKafka> {
        let by_topic = grouped(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)));
        let topics = by_topic.into_iter().map(|(topic, partitions)| {
            TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(partitions)
        });
        let request = ElectLeadersRequest::default()
            .with_election_type(PREFERRED)
            .with_topic_partitions(Some(topics.collect()))
            .with_timeout_ms(CHANGE_TIMEOUT_MS);
        let answer = self.ask_controller(&request, version::ELECT_LEADERS).await?;
        refused_by(answer.error_code, None, || "to elect leaders".to_owned())?;
        for topic in answer.replica_election_results {
            let name = topic.topic.to_string();
            for partition in topic.partition_result {
                if partition.error_code == ResponseError::ElectionNotNeeded.code() {
                    continue;
                }
                let what = || format!("to elect the leader of partition {} of topic '{name}'", partition.partition_id);
                refused_by(partition.error_code, partition.error_message, what)?;
            }
        }
        Ok(())
    }

    /// Takes the pace off every broker, then the mark off the topics.
    pub(super) async fn end_reassignment(&mut self, topics: &BTreeSet<String>) -> Result<(), AskKafka> {
        for broker in self.agreed().await?.brokers {
            self.set_rate(broker, None).await?;
        }
        self.set_mark(topics, false).await
    }

    /// Changes the pace of moves that go on.
    pub(super) async fn throttle_all(&mut self, rate: u64) -> Result<(), AskKafka> {
        let brokers = self.agreed().await?.brokers;
        self.throttle(&brokers, rate).await
    }

    async fn throttle(&mut self, brokers: &BTreeSet<i32>, rate: u64) -> Result<(), AskKafka> {
        for broker in brokers {
            self.set_rate(*broker, Some(rate)).await?;
        }
        Ok(())
    }

    /// Sets the pace of one broker, which only it can be asked for. `None`: its default, which is none.
    async fn set_rate(&mut self, broker: i32, rate: Option<u64>) -> Result<(), AskKafka> {
        let rate = rate.map(|rate| rate.to_string());
        let configs = THROTTLED_RATE.map(|key| match &rate {
            Some(rate) => alterable(key, SET, Some(rate)),
            None => alterable(key, DELETE, None),
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(BROKER_RESOURCE)
            .with_resource_name(StrBytes::from_string(broker.to_string()))
            .with_configs(configs.into());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.ask_broker(broker, &request, version::ALTER_CONFIGS).await?;
        for result in answer.responses {
            refused_by(result.error_code, result.error_message, || format!("the throttle of broker {broker}"))?;
        }
        Ok(())
    }

    async fn set_mark(&mut self, topics: &BTreeSet<String>, is_set: bool) -> Result<(), AskKafka> {
        let configs = THROTTLED_REPLICAS.map(|key| match is_set {
            true => alterable(key, SET, Some(ANY_REPLICA)),
            false => alterable(key, DELETE, None),
        });
        let resource = |topic: &String| {
            AlterConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(StrBytes::from_string(topic.clone()))
                .with_configs(configs.to_vec())
        };
        let request = IncrementalAlterConfigsRequest::default().with_resources(topics.iter().map(resource).collect());
        let answer = self.ask_any(&request, version::ALTER_CONFIGS).await?;
        for result in answer.responses {
            refused_by(result.error_code, result.error_message, || "to throttle a topic's replicas".to_owned())?;
        }
        Ok(())
    }
}

/// Returns partitions by topic, each with the brokers that it shall have. `None`: those that it had before it was moved.
fn by_topic<'a>(wanted: impl Iterator<Item = (&'a str, i32, Option<&'a [i32]>)>) -> Vec<ReassignableTopic> {
    let partition = |(topic, partition, brokers): (&'a str, i32, Option<&[i32]>)| {
        let replicas = brokers.map(|brokers| brokers.iter().map(|broker| BrokerId(*broker)).collect());
        (topic, ReassignablePartition::default().with_partition_index(partition).with_replicas(replicas))
    };
    let topic = |(name, partitions): (&str, Vec<ReassignablePartition>)| {
        ReassignableTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    };
    grouped(wanted.map(partition)).into_iter().map(topic).collect()
}

/// Returns what belongs to each topic.
fn grouped<'a, T>(items: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut by_topic: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (topic, item) in items {
        by_topic.entry(topic).or_default().push(item);
    }
    by_topic
}

/// Returns whether a partition is where it was when its move was decided: not a replica more or fewer.
fn is_where_it_was(facts: &KafkaFacts, moved: &Reassigned) -> bool {
    let mut topics = facts.all_topics().filter(|(name, _)| *name == moved.topic);
    let topic = topics.next().map(|(_, topic)| topic);
    let mut partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
    partitions.any(|partition| partition.index == moved.partition && partition.replicas == moved.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_goes_where() {
        let moved = |topic: &str, partition, to: &[i32]| Reassigned {
            topic: topic.to_owned(),
            partition,
            from: vec![0, 1, 2],
            to: to.to_vec(),
        };
        let moves = [moved("b", 0, &[0, 3, 2]), moved("a", 1, &[3, 1, 2])];
        assert_eq!(describe(&moves), "move 2 partitions of topics a, b onto broker 3");
        assert_eq!(describe(&[moved("a", 1, &[1, 0, 2])]), "change the preferred leaders of 1 partition of topic a");
    }

    #[test]
    fn a_move_that_is_taken_back_names_no_brokers() {
        let ordered = by_topic([("a", 0, Some(&[0, 3][..])), ("b", 1, None), ("a", 2, None)].into_iter());
        let names: Vec<String> = ordered.iter().map(|topic| topic.name.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
        let replicas = |topic: usize, place: usize| {
            let partition = &ordered[topic].partitions[place];
            let brokers = partition.replicas.as_ref();
            (partition.partition_index, brokers.map(|brokers| brokers.iter().map(|id| id.0).collect::<Vec<i32>>()))
        };
        assert_eq!(replicas(0, 0), (0, Some(vec![0, 3])));
        assert_eq!((replicas(0, 1), replicas(1, 0)), ((2, None), (1, None)));
    }
}
