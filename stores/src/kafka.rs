//! Asks Kafka for brokers, topics, replicas, consumer group and lag; creates and extends topics.
//!
//! A few requests of the Kafka protocol over short-lived connections, addressed by broker id = pod ordinal. Versions
//! are those that every 3.9 broker speaks. Nothing here retries: the next reconcile asks again.
//!
//! All brokers are asked for their view at once; `view.rs` says what they agree on.

mod connection;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest,
    MetadataResponse, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use millrace_api::pipeline::Topic;
use snafu::{OptionExt, Snafu};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::ANSWER_TIMEOUT;
pub use connection::{AskBroker, Connection};
use view::{View, agreed_by};

/// Port of the brokers' listener.
pub const BROKER_PORT: u16 = 9092;

/// Topic in which Kafka keeps the offsets that groups commit.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Topic setting: copies that must have a record before it is acknowledged to a writer who asks for all.
pub const MIN_IN_SYNC: &str = "min.insync.replicas";
/// The brokers' own value of [`MIN_IN_SYNC`], for topics that do not say it.
pub const BROKER_MIN_IN_SYNC: u32 = 1;

/// Longest that a whole observation may take, whichever broker stands still.
const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a broker may work on a change before it answers that it took too long, in milliseconds.
const CHANGE_TIMEOUT_MS: i32 = 10_000;

mod version {
    //! Versions of the requests; 3.9 brokers speak all of them.
    pub(super) const METADATA: i16 = 12;
    pub(super) const CREATE_TOPICS: i16 = 7;
    pub(super) const CREATE_PARTITIONS: i16 = 3;
    pub(super) const DESCRIBE_CONFIGS: i16 = 4;
    pub(super) const ALTER_CONFIGS: i16 = 1;
    pub(super) const FIND_COORDINATOR: i16 = 3;
    pub(super) const DESCRIBE_GROUPS: i16 = 5;
    pub(super) const OFFSET_FETCH: i16 = 5;
    pub(super) const LIST_OFFSETS: i16 = 5;
}

/// `resource_type` of a topic in configuration requests.
const TOPIC_RESOURCE: i8 = 2;
/// `config_source` of a value that was set on the topic itself.
const TOPIC_CONFIG: i8 = 1;
/// `config_operation` that sets a value.
const SET: i8 = 0;
/// `config_operation` that returns a value to its default.
const DELETE: i8 = 1;
/// `timestamp` that asks for the end of a log.
const LATEST: i64 = -1;
/// `timestamp` that asks for the start of a log.
const EARLIEST: i64 = -2;

/// Why Kafka could not be asked or changed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AskKafka {
    #[snafu(display("no broker answers"))]
    FindBroker { source: Box<AskBroker> },
    #[snafu(display("no broker has an address yet"))]
    FindAddress,
    #[snafu(display("the brokers have no controller right now"))]
    FindController,
    #[snafu(display("the brokers did not tell the topics' configuration in time"))]
    AwaitConfigs,
    #[snafu(display("a broker cannot be asked"), context(false))]
    Ask { source: AskBroker },
    #[snafu(display("broker {broker} is not among the pods"))]
    FindPod { broker: i32 },
    #[snafu(display("Kafka refused {what}: {reason}"))]
    Change { what: String, reason: String },
}

/// What Kafka says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KafkaFacts {
    /// Ids of the brokers that answer and that every other that answers has as registered.
    pub brokers: BTreeSet<i32>,
    /// Every topic that is not Kafka's own, by name.
    pub topics: BTreeMap<String, TopicFacts>,
    /// The topic [`OFFSETS_TOPIC`]; `None`: no group has been there yet.
    pub offsets_topic: Option<TopicFacts>,
    /// The processors' group; `None`: unknown.
    pub group: Option<GroupFacts>,
    /// Records that the group has not committed, over all topics that it reads; `None`: unknown.
    pub lag: Option<i64>,
    /// Partitions of which not every broker that answers sees all replicas in sync, Kafka's own topics included.
    pub under_replicated: usize,
    /// The broker that is the controller; `None`: there is none right now.
    pub controller: Option<i32>,
}

/// A topic as Kafka has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicFacts {
    /// Kafka's own id of this incarnation.
    pub id: Uuid,
    /// Replicas of each partition.
    pub partitions: Vec<PartitionFacts>,
    /// Values that were set on the topic itself.
    pub config: BTreeMap<String, String>,
}

/// A partition's replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionFacts {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; `None`: none does.
    pub leader: Option<i32>,
    /// Number of replicas.
    pub replicas: usize,
    /// Number of replicas in sync, as seen by the broker that sees fewest.
    pub in_sync: usize,
}

/// A consumer group as its coordinator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupFacts {
    /// Whether no rebalance is under way.
    pub stable: bool,
    /// Number of members.
    pub members: usize,
}

/// A client for one Kafka cluster; holds its connections for as long as it lives.
#[derive(Debug)]
pub struct Kafka {
    brokers: BTreeMap<i32, SocketAddr>,
    connections: BTreeMap<i32, Connection>,
}

impl Kafka {
    /// Makes a client of the brokers at these pod addresses, by ordinal. Connects to none yet.
    pub fn new(brokers: &BTreeMap<u32, IpAddr>) -> Self {
        let brokers = brokers
            .iter()
            .map(|(ordinal, address)| (*ordinal as i32, SocketAddr::new(*address, BROKER_PORT)))
            .collect();
        Self { brokers, connections: BTreeMap::new() }
    }

    /// Reads everything that the readiness chain needs. `group` reads `group_topics`.
    pub async fn observe(&mut self, group: &str, group_topics: &[String]) -> Result<KafkaFacts, AskKafka> {
        let deadline = Instant::now() + OBSERVATION_TIMEOUT;
        let mut facts = self.agreed().await?;
        timeout_at(deadline, self.read_configs(&mut facts)).await.ok().context(AwaitConfigsSnafu)??;
        if facts.topics.keys().filter(|name| group_topics.contains(name)).count() == group_topics.len() {
            // Group and lag are unknown while the coordinator is being elected; that fails nothing else.
            facts.group = timeout_at(deadline, self.group(group)).await.ok().and_then(Result::ok);
            facts.lag = timeout_at(deadline, self.lag(group, group_topics, &facts)).await.ok().and_then(Result::ok);
        }
        Ok(facts)
    }

    /// Creates a topic; one that exists already counts as created.
    pub async fn create_topic(&mut self, topic: &Topic) -> Result<(), AskKafka> {
        let copies = topic.replication_factor.of_new();
        let configs = wanted_config(topic, copies)
            .into_iter()
            .map(|(name, value)| {
                CreatableTopicConfig::default().with_name(name.into()).with_value(Some(StrBytes::from_string(value)))
            })
            .collect();
        let creatable = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions as i32)
            .with_replication_factor(copies as i16)
            .with_configs(configs);
        let request = CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        let answer = self.ask_controller(&request, version::CREATE_TOPICS).await?;
        for result in answer.topics {
            if result.error_code == ResponseError::TopicAlreadyExists.code() {
                continue;
            }
            refused_by(result.error_code, result.error_message, || format!("to create topic '{}'", topic.name))?;
        }
        Ok(())
    }

    /// Raises the number of a topic's partitions.
    pub async fn add_partitions(&mut self, topic: &str, partitions: u32) -> Result<(), AskKafka> {
        let wanted = CreatePartitionsTopic::default()
            .with_name(topic_name(topic))
            .with_count(partitions as i32)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        let answer = self.ask_controller(&request, version::CREATE_PARTITIONS).await?;
        for result in answer.results {
            refused_by(result.error_code, result.error_message, || format!("to add partitions to topic '{topic}'"))?;
        }
        Ok(())
    }

    /// Sets and unsets values of a topic's configuration.
    pub async fn alter_topic(&mut self, topic: &str, change: &ConfigChange) -> Result<(), AskKafka> {
        let set = change.set.iter().map(|(name, value)| alterable(name, SET, Some(value)));
        let unset = change.unset.iter().map(|name| alterable(name, DELETE, None));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(StrBytes::from_string(topic.to_owned()))
            .with_configs(set.chain(unset).collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.ask_any(&request, version::ALTER_CONFIGS).await?;
        for result in answer.responses {
            refused_by(result.error_code, result.error_message, || format!("the configuration of topic '{topic}'"))?;
        }
        Ok(())
    }

    /// Returns the start and the end of each partition's log of a topic.
    pub async fn log_bounds(&mut self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, AskKafka> {
        let facts = self.agreed().await?;
        let starts = self.offsets(&facts, topic, EARLIEST).await?;
        let ends = self.offsets(&facts, topic, LATEST).await?;
        Ok(starts.into_iter().filter_map(|(index, start)| Some((index, (start, *ends.get(&index)?)))).collect())
    }

    /// Asks every broker at once for its view, and returns what those that answer agree on.
    async fn agreed(&mut self) -> Result<KafkaFacts, AskKafka> {
        let asked = self.brokers.iter().map(|(id, address)| {
            let open = self.connections.remove(id);
            async move {
                let asking = timeout(ANSWER_TIMEOUT, ask_metadata(*address, open)).await;
                (*id, asking.unwrap_or(Err(AskBroker::AwaitAnswer { address: *address })))
            }
        });
        let answers = join_all(asked).await;
        let mut views = BTreeMap::new();
        let mut last = None;
        for (id, answer) in answers {
            match answer {
                Ok((connection, metadata)) => {
                    self.connections.insert(id, connection);
                    views.insert(id, View::of(&metadata));
                }
                Err(error) => last = Some(error),
            }
        }
        match (agreed_by(&views), last) {
            (Some(facts), _) => Ok(facts),
            (None, Some(error)) => Err(AskKafka::FindBroker { source: Box::new(error) }),
            (None, None) => FindAddressSnafu.fail(),
        }
    }

    async fn read_configs(&mut self, facts: &mut KafkaFacts) -> Result<(), AskKafka> {
        let offsets_topic = facts.offsets_topic.as_ref().map(|_| OFFSETS_TOPIC.to_owned());
        let resources: Vec<_> = facts
            .topics
            .keys()
            .cloned()
            .chain(offsets_topic)
            .map(|name| {
                DescribeConfigsResource::default()
                    .with_resource_type(TOPIC_RESOURCE)
                    .with_resource_name(StrBytes::from_string(name))
                    .with_configuration_keys(None)
            })
            .collect();
        if resources.is_empty() {
            return Ok(());
        }
        let request = DescribeConfigsRequest::default().with_resources(resources);
        let answer = self.ask_any(&request, version::DESCRIBE_CONFIGS).await?;
        for result in answer.results {
            let topic = match result.resource_name.as_str() {
                OFFSETS_TOPIC => facts.offsets_topic.as_mut(),
                name => facts.topics.get_mut(name),
            };
            let Some(topic) = topic else {
                continue;
            };
            topic.config = result
                .configs
                .into_iter()
                .filter(|entry| entry.config_source == TOPIC_CONFIG)
                .filter_map(|entry| Some((entry.name.to_string(), entry.value?.to_string())))
                .collect();
        }
        Ok(())
    }

    async fn group(&mut self, group: &str) -> Result<GroupFacts, AskKafka> {
        let coordinator = self.coordinator(group).await?;
        let request =
            DescribeGroupsRequest::default().with_groups(vec![GroupId(StrBytes::from_string(group.to_owned()))]);
        let answer = self.ask_broker(coordinator, &request, version::DESCRIBE_GROUPS).await?;
        let group = answer.groups.into_iter().next().context(FindAddressSnafu)?;
        refused_by(group.error_code, None, || "to describe the group".to_owned())?;
        Ok(GroupFacts { stable: group.group_state.as_str() == "Stable", members: group.members.len() })
    }

    async fn lag(&mut self, group: &str, topics: &[String], facts: &KafkaFacts) -> Result<i64, AskKafka> {
        let committed = self.committed(group, topics, facts).await?;
        let mut lag = 0;
        for topic in topics {
            let starts = self.offsets(facts, topic, EARLIEST).await?;
            let ends = self.offsets(facts, topic, LATEST).await?;
            for (index, end) in ends {
                let start = starts.get(&index).copied().unwrap_or(0);
                let position = committed.get(&(topic.clone(), index)).copied().unwrap_or(start).max(start);
                lag += (end - position).max(0);
            }
        }
        Ok(lag)
    }

    async fn committed(
        &mut self,
        group: &str,
        topics: &[String],
        facts: &KafkaFacts,
    ) -> Result<BTreeMap<(String, i32), i64>, AskKafka> {
        let coordinator = self.coordinator(group).await?;
        let wanted = topics
            .iter()
            .filter_map(|name| Some((name, facts.topics.get(name)?)))
            .map(|(name, topic)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(name))
                    .with_partition_indexes(topic.partitions.iter().map(|partition| partition.index).collect())
            })
            .collect();
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(Some(wanted));
        let answer = self.ask_broker(coordinator, &request, version::OFFSET_FETCH).await?;
        refused_by(answer.error_code, None, || "to tell the committed offsets".to_owned())?;
        let mut committed = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic.partitions.into_iter().filter(|partition| partition.committed_offset >= 0) {
                committed.insert((topic.name.to_string(), partition.partition_index), partition.committed_offset);
            }
        }
        Ok(committed)
    }

    async fn coordinator(&mut self, group: &str) -> Result<i32, AskKafka> {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()));
        let answer = self.ask_any(&request, version::FIND_COORDINATOR).await?;
        refused_by(answer.error_code, answer.error_message, || "to name the group's coordinator".to_owned())?;
        Ok(answer.node_id.0)
    }

    /// Asks each partition's leader for an offset; a partition without a leader fails the question.
    async fn offsets(&mut self, facts: &KafkaFacts, topic: &str, at: i64) -> Result<BTreeMap<i32, i64>, AskKafka> {
        let mut by_leader: BTreeMap<i32, Vec<ListOffsetsPartition>> = BTreeMap::new();
        let partitions = facts.topics.get(topic).map_or(&[][..], |topic| &topic.partitions);
        for partition in partitions {
            let leader = partition.leader.context(FindAddressSnafu)?;
            let question = ListOffsetsPartition::default().with_partition_index(partition.index).with_timestamp(at);
            by_leader.entry(leader).or_default().push(question);
        }
        let mut offsets = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let wanted = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
            let answer = self.ask_broker(leader, &request, version::LIST_OFFSETS).await?;
            for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
                refused_by(partition.error_code, None, || format!("to tell an offset of topic '{topic}'"))?;
                offsets.insert(partition.partition_index, partition.offset);
            }
        }
        Ok(offsets)
    }

    async fn ask_controller<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, AskKafka> {
        let controller = self.agreed().await?.controller.context(FindControllerSnafu)?;
        self.ask_broker(controller, request, version).await
    }

    /// Asks the first broker that answers; those that answered before come first.
    async fn ask_any<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, AskKafka> {
        let mut ids: Vec<i32> = self.brokers.keys().copied().collect();
        ids.sort_by_key(|id| !self.connections.contains_key(id));
        let mut last = None;
        for id in ids {
            match self.ask_broker(id, request, version).await {
                Ok(answer) => return Ok(answer),
                Err(AskKafka::Ask { source }) => last = Some(source),
                Err(other) => return Err(other),
            }
        }
        match last {
            Some(error) => Err(AskKafka::FindBroker { source: Box::new(error) }),
            None => FindAddressSnafu.fail(),
        }
    }

    /// Asks one broker. A connection that failed is dropped, so that the next question opens a new one.
    async fn ask_broker<R: Request>(
        &mut self,
        broker: i32,
        request: &R,
        version: i16,
    ) -> Result<R::Response, AskKafka> {
        let address = *self.brokers.get(&broker).context(FindPodSnafu { broker })?;
        let mut connection = match self.connections.remove(&broker) {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let answer = connection.ask(request, version).await?;
        self.connections.insert(broker, connection);
        Ok(answer)
    }
}

/// What has to change in a topic's configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigChange {
    /// Values to set.
    pub set: BTreeMap<String, String>,
    /// Keys to return to their defaults.
    pub unset: BTreeSet<String>,
}

/// Returns the configuration that a topic with this many copies shall have, as Kafka names it.
pub fn wanted_config(topic: &Topic, copies: u32) -> BTreeMap<String, String> {
    let mut config = topic.config.clone();
    config.insert(MIN_IN_SYNC.to_owned(), topic.min_in_sync(copies).to_string());
    config
}

/// Asks one broker how it sees the cluster; a connection that is open already is used and handed back.
async fn ask_metadata(
    address: SocketAddr,
    open: Option<Connection>,
) -> Result<(Connection, MetadataResponse), AskBroker> {
    let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
    let mut connection = match open {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let metadata = connection.ask(&request, version::METADATA).await?;
    Ok((connection, metadata))
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn alterable(name: &str, operation: i8, value: Option<&str>) -> AlterableConfig {
    AlterableConfig::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_config_operation(operation)
        .with_value(value.map(|value| StrBytes::from_string(value.to_owned())))
}

fn refused_by(code: i16, message: Option<StrBytes>, what: impl FnOnce() -> String) -> Result<(), AskKafka> {
    if code == 0 {
        return Ok(());
    }
    let reason = match (message, ResponseError::try_from_code(code)) {
        (Some(message), _) => message.to_string(),
        (None, Some(error)) => error.to_string(),
        (None, None) => format!("error code {code}"),
    };
    ChangeSnafu { what: what(), reason }.fail()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_that_stands_still_delays_nothing_for_long() {
        // Listens, so that connections are made, and never answers.
        let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = frozen.local_addr().expect("it is bound");
        let mut kafka = Kafka { brokers: BTreeMap::from([(0, address)]), connections: BTreeMap::new() };
        let asked = timeout(OBSERVATION_TIMEOUT, kafka.observe("group", &[])).await.expect("it gives up in time");
        assert_eq!(asked.expect_err("nobody answers").to_string(), "no broker answers");
    }
}
