//! Which partitions are being moved, and what the brokers' disks hold. Asked only while partitions are to be moved or may be
//! on their way, so that an idle pass asks nothing more.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_partition_reassignments_response::OngoingTopicReassignment;
use kafka_protocol::messages::{
    BrokerId, DescribeConfigsRequest, DescribeLogDirsRequest, ListPartitionReassignmentsRequest,
};
use kafka_protocol::protocol::StrBytes;
use snafu::{OptionExt, ensure};

use super::change::CHANGE_TIMEOUT_MS;
use super::reassign::{ANY_REPLICA, BROKER_RESOURCE, THROTTLED_RATE, THROTTLED_REPLICAS};
use super::{AskKafka, FindControllerSnafu, Kafka, KafkaFacts, TopicFacts, refused_by, version};

/// What a broker's disk holds, and how fast replicas are copied onto it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogDirs {
    /// Bytes of the volume. `None`: unknown.
    pub total: Option<u64>,
    /// Bytes that are free. `None`: unknown.
    pub usable: Option<u64>,
    /// Bytes of each replica on it, by topic and partition.
    pub sizes: BTreeMap<(String, i32), u64>,
    /// Bytes that throttled replicas may copy in a second. `None`: unknown.
    pub rate: Option<u64>,
}

/// Returns whether a topic has the mark that the operator's own moves leave until the last of them is done: the replicas of
/// every broker are throttled. Tools that move partitions name brokers instead.
pub fn is_marked(topic: &TopicFacts) -> bool {
    THROTTLED_REPLICAS.iter().any(|key| topic.config.get(*key).is_some_and(|value| value == ANY_REPLICA))
}

/// Returns whether a broker is one of those from 0 on, so many, that stay.
pub fn stays(broker: i32, brokers: u32) -> bool {
    (0..brokers.cast_signed()).contains(&broker)
}

/// Returns whether partitions are to be moved: one is marked, is on a broker that shall go, or a broker that shall stay has
/// none.
fn are_wanted(facts: &KafkaFacts, brokers: u32) -> bool {
    let hosts: BTreeSet<i32> = facts.hosts().collect();
    facts.all_topics().any(|(_, topic)| is_marked(topic))
        || hosts.iter().any(|host| !stays(*host, brokers))
        || facts.brokers.iter().any(|broker| stays(*broker, brokers) && !hosts.contains(broker))
}

impl Kafka {
    /// Reads which partitions are being moved, and the disks, where that may matter. So many `brokers` shall stay.
    pub(super) async fn read_moves(&mut self, facts: &mut KafkaFacts, brokers: u32) -> Result<(), AskKafka> {
        let are_wanted = are_wanted(facts, brokers);
        if !are_wanted && facts.under_replicated == 0 {
            return Ok(());
        }
        let controller = facts.controller.context(FindControllerSnafu)?;
        let request = ListPartitionReassignmentsRequest::default().with_timeout_ms(CHANGE_TIMEOUT_MS).with_topics(None);
        let answer = self.ask_broker(controller, &request, version::LIST_REASSIGNMENTS).await?;
        refused_by(answer.error_code, answer.error_message, || "to list reassignments".to_owned())?;
        // A move that ended between the two questions would look like a partition with a copy too many.
        let now = self.agreed().await?;
        // A controller that has only just begun tells of brokers before it tells of topics.
        ensure!(has_same_topics(facts, &now), FindControllerSnafu);
        take_partitions(facts, &now);
        note(facts, &answer.topics);
        if are_wanted || facts.is_moving() {
            // While a broker cannot say what its disk holds, nothing is begun.
            facts.log_dirs = self.log_dirs(&facts.brokers.clone()).await.ok();
        }
        Ok(())
    }

    async fn log_dirs(&mut self, brokers: &BTreeSet<i32>) -> Result<BTreeMap<i32, LogDirs>, AskKafka> {
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let mut all = BTreeMap::new();
        for broker in brokers {
            let answer = self.ask_broker(*broker, &request, version::DESCRIBE_LOG_DIRS).await?;
            refused_by(answer.error_code, None, || format!("to report the disk of broker {broker}"))?;
            let mut dirs = LogDirs { rate: self.rate(*broker).await?, ..LogDirs::default() };
            for result in answer.results {
                refused_by(result.error_code, None, || format!("to report the disk of broker {broker}"))?;
                // Below zero: the version or the file system does not say it.
                dirs.total = u64::try_from(result.total_bytes).ok().or(dirs.total);
                dirs.usable = u64::try_from(result.usable_bytes).ok().or(dirs.usable);
                for topic in result.topics {
                    for partition in topic.partitions {
                        let key = (topic.name.to_string(), partition.partition_index);
                        *dirs.sizes.entry(key).or_default() += u64::try_from(partition.partition_size).unwrap_or(0);
                    }
                }
            }
            all.insert(*broker, dirs);
        }
        Ok(all)
    }
}

impl Kafka {
    /// Returns the pace of a broker, the lower one of both directions.
    async fn rate(&mut self, broker: i32) -> Result<Option<u64>, AskKafka> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(BROKER_RESOURCE)
            .with_resource_name(StrBytes::from_string(broker.to_string()))
            .with_configuration_keys(Some(THROTTLED_RATE.map(StrBytes::from_static_str).into()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.ask_broker(broker, &request, version::DESCRIBE_CONFIGS).await?;
        let configs = answer.results.into_iter().flat_map(|result| result.configs);
        Ok(configs.filter_map(|config| config.value?.to_string().parse::<u64>().ok()).min())
    }
}

/// Returns whether two looks found the same topics, so that what they say can be put together.
fn has_same_topics(before: &KafkaFacts, now: &KafkaFacts) -> bool {
    let names = |facts: &KafkaFacts| facts.all_topics().map(|(name, _)| name.to_owned()).collect::<BTreeSet<String>>();
    names(before) == names(now)
}

/// Takes over where the partitions are now; the topics stay those whose configuration is known.
fn take_partitions(facts: &mut KafkaFacts, now: &KafkaFacts) {
    for (name, topic) in now.all_topics() {
        if let Some(found) = facts.topic_mut(name) {
            found.partitions.clone_from(&topic.partitions);
        }
    }
    facts.brokers.clone_from(&now.brokers);
    facts.under_replicated = now.under_replicated;
    facts.controller = now.controller;
}

/// Notes on which brokers replicas come and go.
fn note(facts: &mut KafkaFacts, moving: &[OngoingTopicReassignment]) {
    for topic in moving {
        let Some(found) = facts.topic_mut(&topic.name.to_string()) else {
            continue;
        };
        for moving in &topic.partitions {
            let partition = found.partitions.iter_mut().find(|partition| partition.index == moving.partition_index);
            let Some(partition) = partition else {
                continue;
            };
            let replicas = &partition.replicas;
            let present = |brokers: &[BrokerId]| {
                brokers.iter().map(|broker| broker.0).filter(|broker| replicas.contains(broker)).collect::<Vec<i32>>()
            };
            let (adding, removing) = (present(&moving.adding_replicas), present(&moving.removing_replicas));
            (partition.adding, partition.removing) = (adding, removing);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
    use uuid::Uuid;

    use super::super::{PartitionFacts, topic_name};
    use super::*;

    fn facts(replicas: &[i32], brokers: &[i32]) -> KafkaFacts {
        let partition = PartitionFacts {
            index: 0,
            leader: Some(0),
            replicas: replicas.to_vec(),
            in_sync: replicas.len(),
            adding: Vec::new(),
            removing: Vec::new(),
        };
        let topic = TopicFacts { id: Uuid::nil(), partitions: vec![partition], config: BTreeMap::new() };
        KafkaFacts {
            brokers: brokers.iter().copied().collect(),
            topics: BTreeMap::from([("users".to_owned(), topic)]),
            ..KafkaFacts::default()
        }
    }

    #[test]
    fn asks_no_more_of_a_cluster_at_rest() {
        assert!(!are_wanted(&facts(&[0, 1], &[0, 1]), 2));
        assert!(are_wanted(&facts(&[0, 1], &[0, 1]), 1), "a broker shall go");
        assert!(are_wanted(&facts(&[0, 1], &[0, 1, 2]), 3), "a broker is empty");
        let mut marked = facts(&[0, 1], &[0, 1]);
        let config = &mut marked.topics.get_mut("users").expect("it is there").config;
        config.insert(THROTTLED_REPLICAS[0].to_owned(), "0:1".to_owned());
        assert!(!are_wanted(&marked, 2), "a tool moves it");
        let config = &mut marked.topics.get_mut("users").expect("it is there").config;
        config.insert(THROTTLED_REPLICAS[0].to_owned(), ANY_REPLICA.to_owned());
        assert!(are_wanted(&marked, 2));
    }

    /// What the second look alone lists would be left out, and with it replicas on brokers that go.
    #[test]
    fn two_looks_of_which_one_lists_a_topic_that_the_other_does_not_are_no_answer() {
        let (whole, cold) = (facts(&[0, 1], &[0, 1]), KafkaFacts { topics: BTreeMap::new(), ..facts(&[0], &[0, 1]) });
        assert!(!has_same_topics(&cold, &whole) && !has_same_topics(&whole, &cold));
        assert!(has_same_topics(&whole, &facts(&[1, 2], &[0, 1, 2])), "replicas may have moved");
    }

    #[test]
    fn a_partition_that_is_moved_keeps_its_number_of_copies() {
        let mut facts = facts(&[0, 3, 1, 2], &[0, 1, 2, 3]);
        let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let moving = OngoingPartitionReassignment::default()
            .with_partition_index(0)
            .with_replicas(brokers(&[0, 3, 1, 2]))
            .with_adding_replicas(brokers(&[3]))
            .with_removing_replicas(brokers(&[2]));
        let topic = OngoingTopicReassignment::default().with_name(topic_name("users")).with_partitions(vec![moving]);
        note(&mut facts, &[topic]);
        let partition = &mut facts.topics.get_mut("users").expect("it is there").partitions[0];
        assert_eq!((partition.target(), partition.copies(), partition.is_moving()), (vec![0, 3, 1], 3, true));
        assert_eq!(partition.origin(), [0, 1, 2]);
        partition.in_sync = 3;
        assert!(!partition.is_behind());
        partition.in_sync = 2;
        assert!(partition.is_behind());
    }
}
