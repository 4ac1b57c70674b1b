//! The operator's hands on a Kafka that someone else runs, which is played here over TCP: what it is asked, what of its answers
//! is followed, and how often one is asked that does not answer.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer};
use millrace_api::names::Component;
use millrace_api::{Pipeline, StreamingPipeline, validate_sources};
use millrace_operator::hands::{Hands, OverTheNetwork};
use millrace_operator::observed::Children;
use millrace_stores::permitted::{Entry, Permitted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// A topic of others, which no pipeline here declares.
const FOREIGN: &str = "payments";
/// The broker that answers. Its id is no ordinal.
const BROKER: i32 = 1001;

/// How a Kafka is played.
#[derive(Clone, Copy, PartialEq)]
enum Play {
    /// It answers.
    Answers,
    /// It takes what is sent, and says nothing.
    Swallows,
    /// It answers, and advertises where clouds keep their credentials as a second broker.
    Lies,
}

/// Topics that were asked for, by connection; `None`: all.
type Asked = Vec<Vec<Option<Vec<String>>>>;

/// A played Kafka.
#[derive(Clone)]
struct Played {
    port: u16,
    asked: Arc<Mutex<Asked>>,
}

impl Played {
    async fn start(play: Play) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let played = Self { port: listener.local_addr()?.port(), asked: Arc::default() };
        let answering = played.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = {
                    let mut asked = answering.asked.lock().unwrap_or_else(PoisonError::into_inner);
                    asked.push(Vec::new());
                    asked.len() - 1
                };
                let answering = answering.clone();
                // What is not played ends the connection.
                tokio::spawn(async move { answering.answer(stream, connection, play).await });
            }
        });
        Ok(played)
    }

    async fn answer(&self, mut stream: TcpStream, connection: usize, play: Play) -> Result<()> {
        loop {
            let length = stream.read_u32().await?;
            let mut request = vec![0; usize::try_from(length)?];
            stream.read_exact(&mut request).await?;
            if play == Play::Swallows {
                continue;
            }
            let mut request = Bytes::from(request);
            let header = decode_request_header_from_buffer(&mut request)?;
            if header.request_api_key != ApiKey::Metadata as i16 {
                bail!("only metadata is played");
            }
            let asked = MetadataRequest::decode(&mut request, header.request_api_version)?;
            let named = |topic: &TopicName| topic.0.to_string();
            let topics = asked.topics.map(|topics| {
                topics.iter().filter_map(|topic| topic.name.as_ref().map(named)).collect::<Vec<String>>()
            });
            let answer = self.metadata(topics.as_deref(), play);
            self.asked.lock().unwrap_or_else(PoisonError::into_inner)[connection].push(topics);
            stream.write_all(&encoded(&header, &answer)?).await?;
        }
    }

    fn metadata(&self, topics: Option<&[String]>, play: Play) -> MetadataResponse {
        let broker = |id: i32, host: &'static str, port: i32| {
            MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host.into()).with_port(port)
        };
        let mut brokers = vec![broker(BROKER, "127.0.0.1", self.port.into())];
        if play == Play::Lies {
            brokers.push(broker(7, "169.254.169.254", 80));
        }
        let all = [FOREIGN.to_owned()];
        let described = topics.unwrap_or(&all).iter().map(|name| topic(name));
        MetadataResponse::default()
            .with_brokers(brokers)
            .with_controller_id(BrokerId(BROKER))
            .with_topics(described.collect())
    }

    fn asked(&self) -> Asked {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a pipeline on this Kafka, with a Cassandra of its own that is not there yet.
    fn pipeline(&self, name: &str) -> Result<Pipeline> {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/samples/accepted/external-kafka-alone.yaml");
        let text =
            std::fs::read_to_string(sample)?.replace("kafka.example.com:9092", &format!("127.0.0.1:{}", self.port));
        let mut resource: StreamingPipeline = serde_yaml::from_str(&text)?;
        resource.metadata.namespace = Some("data".to_owned());
        resource.metadata.name = Some(name.to_owned());
        validate_sources(&resource).pipeline.context("the sample is valid")
    }
}

fn topic(name: &str) -> MetadataResponseTopic {
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(BROKER))
        .with_replica_nodes(vec![BrokerId(BROKER)])
        .with_isr_nodes(vec![BrokerId(BROKER)]);
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(Uuid::from_u128(1))
        .with_partitions(vec![partition])
}

fn encoded(header: &RequestHeader, response: &MetadataResponse) -> Result<BytesMut> {
    let version = header.request_api_version;
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let own = ResponseHeader::default().with_correlation_id(header.correlation_id);
    own.encode(&mut frame, MetadataResponse::header_version(version))?;
    response.encode(&mut frame, version)?;
    let length = u32::try_from(frame.len() - 4)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Returns the operator's hands, which may ask what is played here.
fn hands() -> Result<OverTheNetwork> {
    let block: Entry = "127.0.0.0/8".parse().map_err(anyhow::Error::msg)?;
    let permitted: Permitted = [block].into_iter().collect();
    Ok(OverTheNetwork::new(permitted.with_loopback()))
}

/// A cluster that others fill may have more topics than an answer may have bytes.
#[tokio::test]
async fn only_declared_topics_are_asked_for() -> Result<()> {
    let kafka = Played::start(Play::Answers).await?;
    let stores = hands()?.ask(&kafka.pipeline("users")?, &Children::default()).await;
    let facts = stores.kafka.map_err(anyhow::Error::msg)?;
    assert_eq!(facts.topics.keys().collect::<Vec<_>>(), ["data.users.dead-letters", "users_created"]);
    assert_eq!(stores.outside.brokers.members().map(|(broker, _)| *broker).collect::<Vec<_>>(), [1001]);
    let asked = kafka.asked().concat();
    assert!(!asked.is_empty() && asked.iter().all(Option::is_some), "all topics are asked for: {asked:?}");
    // The control: the played Kafka has others.
    let all = kafka.metadata(None, Play::Answers).topics;
    assert!(all.iter().any(|topic| topic.name.as_ref().is_some_and(|name| name.0.as_str() == FOREIGN)));
    Ok(())
}

#[tokio::test]
async fn what_a_store_advertises_is_followed_only_where_it_is_allowed() -> Result<()> {
    let kafka = Played::start(Play::Lies).await?;
    let stores = hands()?.ask(&kafka.pipeline("users")?, &Children::default()).await;
    assert!(stores.kafka.is_ok(), "the other broker is asked: {:?}", stores.kafka);
    assert_eq!(stores.outside.brokers.members().map(|(broker, _)| *broker).collect::<Vec<_>>(), [1001]);
    let left_out = stores.outside.left_out.get(&Component::Kafka).context("one is left out")?;
    assert!(left_out.is_forbidden() && left_out.to_string().contains("169.254.169.254"), "{left_out}");
    Ok(())
}

/// Passes share few slots, and each would wait for seconds.
#[tokio::test]
async fn twenty_pipelines_ask_a_kafka_that_swallows_everything_once() -> Result<()> {
    let (silent, other) = (Played::start(Play::Swallows).await?, Played::start(Play::Answers).await?);
    let hands = hands()?;
    for number in 0..20 {
        let stores = hands.ask(&silent.pipeline(&format!("users-{number}"))?, &Children::default()).await;
        assert!(stores.kafka.is_err(), "it does not answer");
    }
    assert_eq!(silent.asked().len(), 1, "connections");
    // Another store is asked all the same.
    assert!(hands.ask(&other.pipeline("users")?, &Children::default()).await.kafka.is_ok());
    // The control: hands that know of nothing ask again.
    self::hands()?.ask(&silent.pipeline("users")?, &Children::default()).await;
    assert_eq!(silent.asked().len(), 2, "connections");
    Ok(())
}
