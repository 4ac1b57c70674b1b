//! Changes to topics: creates and extends them, sets their configuration, moves their partitions; to what brokers are set
//! to; and to how far a group has read. Each can be repeated.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use millrace_api::crd::kafka::TOPIC_OWNED_KEYS;
use millrace_api::pipeline::Topic;
use millrace_api::replay::ReplayFrom;
use snafu::OptionExt;

use super::reassign::{self, Reassigned};
use super::{
    AskKafka, FindControllerSnafu, Kafka, MIN_IN_SYNC, TOPIC_RESOURCE, refused_by, settings, topic_name, version,
};

/// How long a broker may work on a change before it answers that it took too long, in milliseconds.
pub(super) const CHANGE_TIMEOUT_MS: i32 = 10_000;

/// `config_operation` that sets a value.
pub(super) const SET: i8 = 0;
/// `config_operation` that returns a value to its default.
pub(super) const DELETE: i8 = 1;

/// What has to change in the configuration of a topic, or of all brokers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigChange {
    /// Values to set.
    pub set: BTreeMap<String, String>,
    /// Keys to return to their defaults.
    pub unset: BTreeSet<String>,
}

impl ConfigChange {
    /// Returns whether nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty()
    }
}

/// A change to a topic, to all brokers or to a group. Each can be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Create a topic.
    CreateTopic(Topic),
    /// Create a topic in a Kafka that someone else runs, whose brokers have settings of their own.
    AddTopic(Topic),
    /// Raise a topic's number of partitions.
    AddPartitions {
        /// Topic.
        topic: String,
        /// Number that it shall have.
        partitions: u32,
    },
    /// Change a topic's configuration.
    AlterTopic {
        /// Topic.
        topic: String,
        /// What to set and unset.
        config: ConfigChange,
    },
    /// Begin to move partitions, or change the order of their replicas. They are on their way when it is done.
    Reassign {
        /// Partitions, each with the brokers that it shall have.
        moves: Vec<Reassigned>,
        /// Bytes that each broker may send and receive in a second for replicas that are not in sync.
        rate: u64,
    },
    /// Change the pace of moves that go on.
    Throttle {
        /// Bytes that each broker may send and receive in a second for replicas that are not in sync.
        rate: u64,
    },
    /// Take moves back: replicas stay where they were, and what was copied is deleted.
    CancelMoves {
        /// Topics with partitions.
        partitions: Vec<(String, i32)>,
    },
    /// Have the preferred replicas lead.
    ElectLeaders {
        /// Topics with partitions.
        partitions: Vec<(String, i32)>,
    },
    /// End the moves: take off what held down their pace, and the mark that they go on.
    EndReassignment {
        /// Topics with the mark.
        topics: BTreeSet<String>,
    },
    /// Set and unset values of all brokers while they run.
    AlterBrokers {
        /// What to set and unset.
        config: ConfigChange,
        /// What to do instead, if Kafka refuses that at once: a step on the way. Empty: nothing.
        otherwise: ConfigChange,
    },
    /// Set the offsets of a group without members, so that it reads again from there. Kafka refuses it while there are any.
    Rewind {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
        /// Where it was asked to begin.
        from: ReplayFrom,
        /// Offset to read next, by partition. The others stay where they are.
        offsets: BTreeMap<i32, i64>,
    },
}

impl Change {
    /// Returns the change in words, such as `create topic 'users_created'`.
    pub fn describe(&self) -> String {
        match self {
            Self::CreateTopic(topic) | Self::AddTopic(topic) => format!("create topic '{}'", topic.name),
            Self::AddPartitions { topic, partitions } => format!("raise topic '{topic}' to {partitions} partitions"),
            Self::AlterTopic { topic, .. } => format!("change the configuration of topic '{topic}'"),
            Self::Reassign { moves, .. } => reassign::describe(moves),
            Self::Throttle { rate } => format!("limit partition moves to {rate} bytes per second"),
            Self::CancelMoves { partitions } => {
                format!("cancel the moves of {}", reassign::partitions(partitions.len()))
            }
            Self::ElectLeaders { partitions } => {
                format!("elect the preferred leaders of {}", reassign::partitions(partitions.len()))
            }
            Self::EndReassignment { .. } => "finish the partition moves and remove their throttle".to_owned(),
            Self::AlterBrokers { config, .. } => settings::describe(config),
            Self::Rewind { topic, from, .. } => format!("read topic '{topic}' again from {from}"),
        }
    }

    /// Returns what an event says in one word, once the change is made.
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::CreateTopic(_) | Self::AddTopic(_) => "TopicCreated",
            Self::AddPartitions { .. } => "PartitionsAdded",
            Self::AlterTopic { .. } => "TopicConfigured",
            Self::Reassign { .. } => "PartitionsMoving",
            Self::Throttle { .. } => "PartitionsThrottled",
            Self::CancelMoves { .. } => "MovesCancelled",
            Self::ElectLeaders { .. } => "LeadersElected",
            Self::EndReassignment { .. } => "PartitionsMoved",
            Self::AlterBrokers { .. } => "BrokersConfigured",
            Self::Rewind { .. } => "OffsetsSetBack",
        }
    }
}

/// Returns the configuration that a topic with this many copies shall have, as Kafka names it. What only the operator sets is
/// left out, which a resource may have from a time when it was allowed: moves would set and end it for ever.
pub fn wanted_config(topic: &Topic, copies: u32) -> BTreeMap<String, String> {
    let mut config = topic.config.clone();
    config.retain(|key, _| !TOPIC_OWNED_KEYS.contains(&key.as_str()));
    config.insert(MIN_IN_SYNC.to_owned(), topic.min_in_sync(copies).to_string());
    config
}

impl Kafka {
    /// Makes a change.
    pub async fn change(&mut self, change: &Change) -> Result<(), AskKafka> {
        match change {
            Change::CreateTopic(topic) => self.create_topic(topic).await,
            Change::AddTopic(topic) => self.add_topic(topic).await,
            Change::AddPartitions { topic, partitions } => self.add_partitions(topic, *partitions).await,
            Change::AlterTopic { topic, config } => self.alter_topic(topic, config).await,
            Change::Reassign { moves, rate } => self.reassign(moves, *rate).await,
            Change::Throttle { rate } => self.throttle_all(*rate).await,
            Change::CancelMoves { partitions } => self.cancel_moves(partitions).await,
            Change::ElectLeaders { partitions } => self.elect_leaders(partitions).await,
            Change::EndReassignment { topics } => self.end_reassignment(topics).await,
            Change::AlterBrokers { config, otherwise } => self.alter_brokers(config, otherwise).await,
            Change::Rewind { group, topic, from: _, offsets } => self.rewind(group, topic, offsets).await,
        }
    }

    /// Creates a topic; one that exists already counts as created.
    async fn create_topic(&mut self, topic: &Topic) -> Result<(), AskKafka> {
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
    async fn alter_topic(&mut self, topic: &str, config: &ConfigChange) -> Result<(), AskKafka> {
        let set = config.set.iter().map(|(name, value)| alterable(name, SET, Some(value)));
        let unset = config.unset.iter().map(|name| alterable(name, DELETE, None));
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

    pub(super) async fn ask_controller<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, AskKafka> {
        let controller = self.agreed().await?.controller.context(FindControllerSnafu)?;
        self.ask_broker(controller, request, version).await
    }
}

pub(super) fn alterable(name: &str, operation: i8, value: Option<&str>) -> AlterableConfig {
    AlterableConfig::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_config_operation(operation)
        .with_value(value.map(|value| StrBytes::from_string(value.to_owned())))
}
