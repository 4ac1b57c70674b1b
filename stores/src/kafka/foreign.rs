//! What is asked of a Kafka that someone else runs, and made in it. It may have thousands of topics that are not the
//! pipeline's, so that only declared ones are named, and three brokers at most are asked for their view.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_api::crd::kafka::TOPIC_OWNED_KEYS;
use millrace_api::pipeline::{Factor, Topic};
use tokio::time::{Instant, timeout, timeout_at};

use super::change::CHANGE_TIMEOUT_MS;
use super::view::{View, agreed_by};
use super::{
    AskBroker, AskKafka, Connection, FindAddressSnafu, FindControllerSnafu, Kafka, KafkaFacts, MIN_IN_SYNC,
    OFFSETS_TOPIC, reason_of, refused_by, topic_name, version,
};
use crate::discover::ANSWER;

/// Longest that a whole observation may take.
const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(8);
/// Most brokers that are asked for their view.
const VIEWS: usize = 3;
/// `replication_factor` of a topic that has the brokers' own default (KIP-464).
const BROKERS_OWN: i16 = -1;

/// Asks a broker for all brokers: id, and the host and port that each advertises.
pub(crate) async fn listed_brokers(address: SocketAddr) -> Result<Vec<(i32, String, i32)>, AskBroker> {
    let mut connection = Connection::open(address).await?;
    let metadata = connection.ask(&metadata_of(Vec::new()), version::METADATA).await?;
    let brokers = metadata.brokers.into_iter();
    Ok(brokers.map(|broker| (broker.node_id.0, broker.host.to_string(), broker.port)).collect())
}

/// Asks for topics by name; an empty list asks for none, where no list asks for all.
fn metadata_of(topics: Vec<MetadataRequestTopic>) -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false)
}

impl Kafka {
    /// Reads what the readiness chain needs to know of declared topics. `group` reads `group_topics`.
    #[expect(clippy::disallowed_methods, reason = "observing has a deadline")]
    pub async fn observe_declared(
        &mut self,
        group: &str,
        group_topics: &[String],
        declared: &[&str],
    ) -> Result<KafkaFacts, AskKafka> {
        let deadline = Instant::now() + OBSERVATION_TIMEOUT;
        let mut facts = self.agreed_on(declared).await?;
        // Settings need a right of their own, and only warn of retention.
        let read = timeout_at(deadline, self.read_configs(&mut facts)).await;
        let retention = read.ok().and_then(Result::ok).unwrap_or_default();
        if group_topics.iter().all(|topic| facts.topics.contains_key(topic)) {
            facts.group = timeout_at(deadline, self.group(group)).await.ok().and_then(Result::ok);
            let asked = timeout_at(deadline, self.positions(group, group_topics, &facts, &retention)).await;
            facts.positions = asked.ok().and_then(Result::ok);
        }
        Ok(facts)
    }

    /// Asks some brokers at once for their view of topics, and returns what they agree on.
    async fn agreed_on(&mut self, declared: &[&str]) -> Result<KafkaFacts, AskKafka> {
        let named = declared.iter().copied().chain([OFFSETS_TOPIC]);
        let named = named.map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        let request = metadata_of(named.collect());
        let asked = self.brokers.iter().take(VIEWS).map(|(id, address)| {
            let (id, address, request) = (*id, *address, &request);
            async move { (id, timeout(ANSWER, view_of(address, request)).await, address) }
        });
        let answers = join_all(asked).await;
        let (mut views, mut refused, mut last) = (BTreeMap::new(), Vec::new(), None);
        for (id, answer, address) in answers {
            match answer {
                Ok(Ok((connection, metadata))) => {
                    self.connections.insert(id, connection);
                    refused.push(refusals(&metadata));
                    views.insert(id, View::of(&metadata));
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(AskBroker::AwaitAnswer { address }),
            }
        }
        let Some(mut facts) = agreed_by(&views) else {
            return match last {
                Some(error) => Err(AskKafka::FindBroker { source: Box::new(error) }),
                None => FindAddressSnafu.fail(),
            };
        };
        // What one broker describes is there, whatever another has not heard yet.
        let refused = refused.into_iter().flatten().filter(|(topic, _)| !facts.topics.contains_key(topic));
        facts.refused = refused.collect();
        Ok(facts)
    }

    /// Creates a topic with what is written of it, and what the brokers have for the rest. One that exists counts as
    /// created.
    pub(super) async fn add_topic(&mut self, topic: &Topic) -> Result<(), AskKafka> {
        let factor = match topic.replication_factor {
            Factor::Written(copies) => i16::try_from(copies).unwrap_or(i16::MAX),
            Factor::Default(_) => BROKERS_OWN,
        };
        let mut config = topic.config.clone();
        config.retain(|key, _| !TOPIC_OWNED_KEYS.contains(&key.as_str()));
        config.extend(topic.min_in_sync_replicas.map(|copies| (MIN_IN_SYNC.to_owned(), copies.to_string())));
        let configs = config.into_iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(name.into()).with_value(Some(StrBytes::from_string(value)))
        });
        let creatable = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions as i32)
            .with_replication_factor(factor)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        let controller = self.ask_any(&metadata_of(Vec::new()), version::METADATA).await?.controller_id.0;
        if controller < 0 {
            return FindControllerSnafu.fail();
        }
        let answer = self.ask_broker(controller, &request, version::CREATE_TOPICS).await?;
        for result in answer.topics {
            if result.error_code != ResponseError::TopicAlreadyExists.code() {
                let what = || format!("to create topic '{}'", topic.name);
                refused_by(result.error_code, result.error_message, what)?;
            }
        }
        Ok(())
    }
}

async fn view_of(address: SocketAddr, request: &MetadataRequest) -> Result<(Connection, MetadataResponse), AskBroker> {
    let mut connection = Connection::open(address).await?;
    let metadata = connection.ask(request, version::METADATA).await?;
    Ok((connection, metadata))
}

/// Returns the topics that a broker does not describe although they may be there, with the reason: Kafka tells a topic that
/// may not be described from one that is not there.
fn refusals(metadata: &MetadataResponse) -> Vec<(String, String)> {
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let refused = metadata.topics.iter().filter(|topic| topic.error_code != 0 && topic.error_code != unknown);
    let named = refused.filter_map(|topic| Some((topic.name.as_ref()?.to_string(), reason_of(topic.error_code, None))));
    named.collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::MetadataResponseTopic;

    use super::*;

    #[test]
    fn a_topic_that_may_not_be_described_is_no_missing_one() {
        let topic = |name: &str, code: i16| {
            MetadataResponseTopic::default().with_name(Some(topic_name(name))).with_error_code(code)
        };
        let unauthorized = ResponseError::TopicAuthorizationFailed.code();
        let unknown = ResponseError::UnknownTopicOrPartition.code();
        let topics = vec![topic("secret", unauthorized), topic("missing", unknown), topic("there", 0)];
        let refused = refusals(&MetadataResponse::default().with_topics(topics));
        assert_eq!(refused.iter().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["secret"]);
    }
}
