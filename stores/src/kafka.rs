//! Asks Kafka for brokers, their settings, topics, replicas, consumer groups, lag and records; creates and extends topics, moves
//! partitions, sets brokers, sets groups back.
//!
//! A few requests of the Kafka protocol over short-lived connections, addressed by broker id = pod ordinal; what brokers
//! advertise is never followed here. Versions are those that every 3.9 broker speaks. Nothing here retries.
//!
//! All brokers are asked for their view at once; `view.rs` says what they agree on. `foreign.rs` has what is asked of a Kafka
//! that someone else runs.

mod answer;
mod batch;
mod browse;
mod change;
mod compression;
mod connection;
mod fetch;
mod foreign;
#[cfg(test)]
mod hostile;
mod lag;
mod moves;
mod offsets;
mod reassign;
mod retention;
mod rewind;
mod settings;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use millrace_api::ports::KAFKA;
use snafu::{OptionExt, Snafu};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::ANSWER_TIMEOUT;
use super::reach::Reach;
pub use browse::{Begin, Browse, Filter, Page, Tail};
pub use change::{Change, ConfigChange, wanted_config};
pub use connection::{AskBroker, Connection};
pub use fetch::{Bounds, Fetched, Record};
pub(crate) use foreign::listed_brokers;
pub use lag::{PartitionLag, Position};
pub use moves::{LogDirs, is_marked, stays};
pub use reassign::{ANY_REPLICA, Reassigned, THROTTLED_REPLICAS};
pub use retention::{Retention, notice};
pub use rewind::{Span, records, refusal, set_back};
pub use settings::{BrokerSettings, Setting, SettingsFacts, SettingsQuestion};
use view::{View, agreed_by};

/// Port of the brokers' listener.
pub const BROKER_PORT: u16 = KAFKA.number;

/// Topic in which Kafka keeps the offsets that groups commit.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Topic setting: copies that must have a record before it is acknowledged to a writer who asks for all.
pub const MIN_IN_SYNC: &str = "min.insync.replicas";
/// The brokers' own value of [`MIN_IN_SYNC`], for topics that do not say it.
pub const BROKER_MIN_IN_SYNC: u32 = 1;

/// Longest that a whole observation may take, whichever broker stands still.
const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(20);

mod version {
    //! Versions of the requests; 3.9 brokers speak all of them, and all write lengths as varints (`answer.rs`).
    pub(super) const METADATA: i16 = 12;
    pub(super) const CREATE_TOPICS: i16 = 7;
    pub(super) const CREATE_PARTITIONS: i16 = 3;
    pub(super) const DESCRIBE_CONFIGS: i16 = 4;
    pub(super) const ALTER_CONFIGS: i16 = 1;
    pub(super) const FIND_COORDINATOR: i16 = 3;
    pub(super) const DESCRIBE_GROUPS: i16 = 5;
    pub(super) const OFFSET_FETCH: i16 = 6;
    pub(super) const OFFSET_COMMIT: i16 = 8;
    pub(super) const LIST_OFFSETS: i16 = 6;
    pub(super) const FETCH: i16 = 12;
    pub(super) const ALTER_REASSIGNMENTS: i16 = 0;
    pub(super) const LIST_REASSIGNMENTS: i16 = 0;
    pub(super) const ELECT_LEADERS: i16 = 2;
    pub(super) const DESCRIBE_LOG_DIRS: i16 = 4;
}

/// Topics whose configuration is asked for at once: each is some 3 kB of an answer.
const TOPICS_AT_ONCE: usize = 200;

/// `resource_type` of a topic in configuration requests.
const TOPIC_RESOURCE: i8 = 2;
/// `config_source` of a value that was set on the topic itself.
const TOPIC_CONFIG: i8 = 1;

/// Why Kafka could not be asked or changed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AskKafka {
    #[snafu(display("no broker answers"))]
    FindBroker { source: Box<AskBroker> },
    #[snafu(display("no broker has an address yet"))]
    FindAddress,
    #[snafu(display("the brokers currently have no controller"))]
    FindController,
    #[snafu(display("the brokers did not return the topic configurations in time"))]
    AwaitConfigs,
    #[snafu(display("cannot query a broker"), context(false))]
    Ask { source: AskBroker },
    #[snafu(display("broker {broker} is not among the pods"))]
    FindPod { broker: i32 },
    #[snafu(display("there is no topic '{topic}'"))]
    FindTopic { topic: String },
    #[snafu(display("topic '{topic}' has no partition {partition}; it has {partitions}"))]
    FindPartition { topic: String, partition: i32, partitions: usize },
    #[snafu(display("cannot decode the batch at {place}: {reason}"))]
    Decode { place: String, reason: String },
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
    /// Kafka's own topics beside it, by name, such as that of transactions.
    pub internal_topics: BTreeMap<String, TopicFacts>,
    /// The racks of the brokers that have one, by id.
    pub racks: BTreeMap<i32, String>,
    /// Whether it is known which partitions are being reassigned; a controller that is being elected cannot say it.
    pub knows_reassignments: bool,
    /// What the brokers' disks hold, by id. `None`: not all that answer could be asked, or nothing is to be moved.
    pub log_dirs: Option<BTreeMap<i32, LogDirs>>,
    /// The processors' group; `None`: unknown.
    pub group: Option<GroupFacts>,
    /// Where the group stands in each topic that it reads; `None`: unknown.
    pub positions: Option<BTreeMap<String, Position>>,
    /// Partitions of which not every broker that answers sees all replicas in sync, Kafka's own topics included, and
    /// those that are being reassigned: replicas that are on their way are not in sync yet.
    pub under_replicated: usize,
    /// The broker that is the controller; `None`: there is none right now.
    pub controller: Option<i32>,
    /// What the brokers are set to. `None`: it was not asked, or is unknown.
    pub settings: Option<SettingsFacts>,
    /// Topics that Kafka does not describe, though they may be there, with its reason; only where someone else runs it.
    pub refused: BTreeMap<String, String>,
}

impl KafkaFacts {
    /// Returns whether the brokers from 0 on, so many, are all registered.
    pub fn has_brokers(&self, wanted: u32) -> bool {
        (0..wanted.cast_signed()).all(|id| self.brokers.contains(&id))
    }

    /// Returns every topic by name, Kafka's own included.
    pub fn all_topics(&self) -> impl Iterator<Item = (&str, &TopicFacts)> {
        let own = self.internal_topics.iter().map(|(name, topic)| (name.as_str(), topic));
        let topics = self.topics.iter().map(|(name, topic)| (name.as_str(), topic));
        topics.chain(self.offsets_topic.iter().map(|topic| (OFFSETS_TOPIC, topic))).chain(own)
    }

    /// Returns every partition, those of Kafka's own topics included.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionFacts> {
        self.all_topics().flat_map(|(_, topic)| &topic.partitions)
    }

    /// Returns the broker of each replica.
    pub fn hosts(&self) -> impl Iterator<Item = i32> {
        self.partitions().flat_map(|partition| partition.replicas.iter().copied())
    }

    /// Returns whether replicas are on their way, by anyone's order.
    pub fn is_moving(&self) -> bool {
        self.partitions().any(PartitionFacts::is_moving)
    }

    fn topic_mut(&mut self, name: &str) -> Option<&mut TopicFacts> {
        match name {
            OFFSETS_TOPIC => self.offsets_topic.as_mut(),
            _ => self.topics.get_mut(name).or_else(|| self.internal_topics.get_mut(name)),
        }
    }

    /// Returns the records that the group has not committed, over all topics that it reads; `None`: unknown.
    pub fn lag(&self) -> Option<i64> {
        self.positions.as_ref().map(|positions| positions.values().map(|position| position.lag).sum())
    }

    /// Returns where the group stands in a topic; `None`: unknown.
    pub fn position(&self, topic: &str) -> Option<&Position> {
        self.positions.as_ref()?.get(topic)
    }
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
    /// Brokers that have a replica or are getting one, in order: the first is the preferred leader.
    pub replicas: Vec<i32>,
    /// Number of replicas in sync, as seen by the broker that sees fewest.
    pub in_sync: usize,
    /// Brokers among the replicas that are getting theirs. Empty: the partition is not being moved.
    pub adding: Vec<i32>,
    /// Brokers among the replicas that lose theirs once the others are in sync. Empty: none does.
    pub removing: Vec<i32>,
}

impl PartitionFacts {
    /// Returns the brokers that have a replica once nothing is being moved, in order.
    pub fn target(&self) -> Vec<i32> {
        self.replicas.iter().filter(|broker| !self.removing.contains(broker)).copied().collect()
    }

    /// Returns the brokers that have a replica if the move is taken back, in order.
    pub fn origin(&self) -> Vec<i32> {
        self.replicas.iter().filter(|broker| !self.adding.contains(broker)).copied().collect()
    }

    /// Returns the number of copies that the partition has once nothing is being moved.
    pub fn copies(&self) -> usize {
        self.target().len()
    }

    /// Returns whether a replica is out of sync that was not only just ordered.
    pub fn is_behind(&self) -> bool {
        self.in_sync < self.replicas.len() - self.adding.len()
    }

    /// Returns whether replicas are on their way.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

/// A consumer group as its coordinator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupFacts {
    /// Whether no rebalance is under way.
    pub stable: bool,
    /// Number of members.
    pub members: usize,
    /// What the members say of themselves, each once.
    pub clients: BTreeSet<GroupClient>,
}

/// A client that is a member of a consumer group. Its words are its own, and as long as it likes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct GroupClient {
    /// Its `client.id`. Empty: it has none.
    pub id: String,
    /// The address that the broker sees it at, such as `/10.0.0.7`.
    pub host: String,
}

/// A client for one Kafka cluster; holds its connections for as long as it lives.
#[derive(Debug)]
pub struct Kafka {
    brokers: BTreeMap<i32, SocketAddr>,
    connections: BTreeMap<i32, Connection>,
}

impl Kafka {
    /// Makes a client of brokers, by pod ordinal, which is their id. Connects to none yet.
    pub fn new(reach: &Reach<u32>) -> Self {
        let brokers = reach.members().map(|(ordinal, address)| (ordinal.cast_signed(), address)).collect();
        Self { brokers, connections: BTreeMap::new() }
    }

    /// Reads everything that the readiness chain needs. `group` reads `group_topics`; so many `brokers`, those from 0 on,
    /// shall carry the partitions. `settings`: what is asked of the brokers' own; `None`: nothing.
    #[expect(clippy::disallowed_methods, reason = "observing has a deadline")]
    pub async fn observe(
        &mut self,
        group: &str,
        group_topics: &[String],
        brokers: u32,
        settings: Option<&SettingsQuestion>,
    ) -> Result<KafkaFacts, AskKafka> {
        let deadline = Instant::now() + OBSERVATION_TIMEOUT;
        let mut facts = self.agreed().await?;
        let read = timeout_at(deadline, self.read_configs(&mut facts)).await;
        let retention = read.ok().context(AwaitConfigsSnafu)??;
        if facts.topics.keys().filter(|name| group_topics.contains(name)).count() == group_topics.len() {
            // Group and lag are unknown while the coordinator is being elected; that fails nothing else.
            facts.group = timeout_at(deadline, self.group(group)).await.ok().and_then(Result::ok);
            let asked = timeout_at(deadline, self.positions(group, group_topics, &facts, &retention)).await;
            facts.positions = asked.ok().and_then(Result::ok);
        }
        if let Some(question) = settings {
            let registered = facts.brokers.clone();
            let asked = timeout_at(deadline, self.settings(question, &registered)).await;
            facts.settings = asked.ok().and_then(Result::ok);
        }
        // Last, since disks answer slowly, and nobody else waits for it.
        let read = timeout_at(deadline, self.read_moves(&mut facts, brokers)).await;
        facts.knows_reassignments = read.is_ok_and(|read| read.is_ok());
        Ok(facts)
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

    /// Reads what was set on each topic, and returns how long each keeps records, whoever has set that.
    async fn read_configs(&mut self, facts: &mut KafkaFacts) -> Result<BTreeMap<String, Retention>, AskKafka> {
        let resources: Vec<_> = facts
            .all_topics()
            .map(|(name, _)| {
                DescribeConfigsResource::default()
                    .with_resource_type(TOPIC_RESOURCE)
                    .with_resource_name(StrBytes::from_string(name.to_owned()))
                    .with_configuration_keys(None)
            })
            .collect();
        let mut results = Vec::new();
        for some in resources.chunks(TOPICS_AT_ONCE) {
            let request = DescribeConfigsRequest::default().with_resources(some.to_vec());
            results.extend(self.ask_any(&request, version::DESCRIBE_CONFIGS).await?.results);
        }
        let mut retention = BTreeMap::new();
        for result in results {
            let Some(topic) = facts.topic_mut(result.resource_name.as_str()) else {
                continue;
            };
            let values = result.configs.iter().filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
            retention.insert(result.resource_name.to_string(), Retention::of(values));
            topic.config = result
                .configs
                .into_iter()
                .filter(|entry| entry.config_source == TOPIC_CONFIG)
                .filter_map(|entry| Some((entry.name.to_string(), entry.value?.to_string())))
                .collect();
        }
        Ok(retention)
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

fn refused_by(code: i16, message: Option<StrBytes>, what: impl FnOnce() -> String) -> Result<(), AskKafka> {
    if code == 0 {
        return Ok(());
    }
    ChangeSnafu { what: what(), reason: reason_of(code, message) }.fail()
}

/// Returns why Kafka refused, in its words.
fn reason_of(code: i16, message: Option<StrBytes>) -> String {
    match (message, ResponseError::try_from_code(code)) {
        (Some(message), _) => message.to_string(),
        (None, Some(error)) => error.to_string(),
        (None, None) => format!("error code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_that_stands_still_delays_nothing_for_long() {
        // Listens, so that connections are made, and never answers.
        let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = frozen.local_addr().expect("it is bound");
        let mut kafka = Kafka::new(&Reach::at(BTreeMap::from([(0, address)])));
        let asked =
            timeout(OBSERVATION_TIMEOUT, kafka.observe("group", &[], 1, None)).await.expect("it gives up in time");
        assert_eq!(asked.expect_err("nobody answers").to_string(), "no broker answers");
    }
}
