//! The operator's hands on the stores: what `observe` asks them and `apply` changes in them goes through here.
//!
//! [`OverTheNetwork`] is the operator's; the tests on a real API server play the stores, and have hands of their own.
//!
//! Stores that the operator runs are reached by the addresses of their pods, all others as they say themselves, within what
//! the administrator allows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::crd::kafka::is_refused;
use millrace_api::names::Component;
use millrace_api::pipeline::{Cassandra, External};
use millrace_api::pods::address;

use crate::inquiry::ask as ask_worker;
use crate::objects::properties::{SERVER_PROPERTIES, parse};
use crate::objects::scope::CONFIG_CHECKSUM;
use crate::observed::{Children, Outside, Stores};
use millrace_stores::cassandra::{self, AskCassandra, CassandraFacts, NodeKey};
use millrace_stores::discover::{self, Found, Unreached};
use millrace_stores::kafka::{self, AskKafka, Kafka, KafkaFacts, SettingsQuestion, Span};
use millrace_stores::permitted::Permitted;
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::{self, AskZooKeeper, Reconfiguration};
use millrace_terms::{
    CANARY_PATH, CanaryReport, LARGEST_CANARY, LARGEST_SOURCES, LARGEST_WORK, SOURCES_PATH, SourceState, WORK_PATH,
    Work,
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// How long an external store that did not answer is left alone, by whichever pipeline: passes share few slots, and those of
/// stores that swallow packets must not take them all.
const SILENCE: Duration = Duration::from_secs(30);

/// Asks stores and changes them.
pub trait Hands: Send + Sync {
    /// Asks all stores of a pipeline what they say of themselves.
    fn ask<'a>(&'a self, pipeline: &'a Pipeline, children: &'a Children) -> BoxFuture<'a, Stores>;

    /// Asks where a group stands in each partition of a topic, and where a moment is, in milliseconds since 1970, by the brokers
    /// that are reached so.
    fn ask_spans<'a>(
        &'a self,
        brokers: &'a Reach<u32>,
        group: &'a str,
        topic: &'a str,
        moment: Option<i64>,
    ) -> BoxFuture<'a, Result<BTreeMap<i32, Span>, AskKafka>>;

    /// Changes which servers of the ensemble vote, by the server that is reached there, with the operator's password.
    /// `None`: none can be asked.
    fn change_zookeeper<'a>(
        &'a self,
        server: Option<SocketAddr>,
        password: &'a str,
        change: &'a Reconfiguration,
    ) -> BoxFuture<'a, Result<(), AskZooKeeper>>;

    /// Changes a topic, what the brokers are set to, or how far a group has read, by the brokers that are reached so.
    fn change_kafka<'a>(
        &'a self,
        brokers: &'a Reach<u32>,
        change: &'a kafka::Change,
    ) -> BoxFuture<'a, Result<(), AskKafka>>;

    /// Changes keyspace, types or tables, by the node that is reached there. `None`: none answers.
    fn change_cassandra<'a>(
        &'a self,
        node: Option<SocketAddr>,
        model: &'a Cassandra,
        change: &'a cassandra::Change,
    ) -> BoxFuture<'a, Result<(), AskCassandra>>;
}

/// Reaches the stores over the network.
#[derive(Debug, Default)]
pub struct OverTheNetwork {
    /// Hosts of external stores that may be asked.
    permitted: Permitted,
    /// External stores that did not answer, by their addresses as written: when, and why.
    silent: Mutex<BTreeMap<String, (Instant, Unreached)>>,
}

impl OverTheNetwork {
    /// Makes hands that ask such external stores only.
    pub fn new(permitted: Permitted) -> Self {
        Self { permitted, silent: Mutex::default() }
    }
}

impl Hands for OverTheNetwork {
    fn ask<'a>(&'a self, pipeline: &'a Pipeline, children: &'a Children) -> BoxFuture<'a, Stores> {
        self.ask_all(pipeline, children).boxed()
    }

    fn ask_spans<'a>(
        &'a self,
        brokers: &'a Reach<u32>,
        group: &'a str,
        topic: &'a str,
        moment: Option<i64>,
    ) -> BoxFuture<'a, Result<BTreeMap<i32, Span>, AskKafka>> {
        async move { Kafka::new(brokers).spans(group, topic, moment).await }.boxed()
    }

    fn change_zookeeper<'a>(
        &'a self,
        server: Option<SocketAddr>,
        password: &'a str,
        change: &'a Reconfiguration,
    ) -> BoxFuture<'a, Result<(), AskZooKeeper>> {
        zookeeper::reconfigure(server, password, change).boxed()
    }

    fn change_kafka<'a>(
        &'a self,
        brokers: &'a Reach<u32>,
        change: &'a kafka::Change,
    ) -> BoxFuture<'a, Result<(), AskKafka>> {
        async move { Kafka::new(brokers).change(change).await }.boxed()
    }

    fn change_cassandra<'a>(
        &'a self,
        node: Option<SocketAddr>,
        model: &'a Cassandra,
        change: &'a cassandra::Change,
    ) -> BoxFuture<'a, Result<(), AskCassandra>> {
        cassandra::change(node, model, change).boxed()
    }
}

impl OverTheNetwork {
    async fn ask_all(&self, pipeline: &Pipeline, children: &Children) -> Stores {
        let servers = children.servers();
        let (zookeeper, (kafka, brokers), (cassandra, nodes), sources, processors, producers, canaries) = tokio::join!(
            zookeeper::observe(&servers),
            self.ask_kafka(pipeline, children),
            self.ask_cassandra(pipeline, children),
            sources(children),
            work(pipeline, children, Component::Processor),
            work(pipeline, children, Component::Producer),
            canaries(pipeline, children)
        );
        let mut outside = Outside::default();
        for (component, left_out) in [(Component::Kafka, brokers.left_out), (Component::Cassandra, nodes.left_out)] {
            outside.left_out.extend(left_out.map(|left_out| (component, left_out)));
        }
        (outside.brokers, outside.nodes) = (brokers.reach, nodes.reach);
        Stores { zookeeper, kafka, cassandra, sources, processors, producers, canaries, outside }
    }

    /// Asks Kafka; where someone else runs it, its brokers come with the facts.
    async fn ask_kafka(&self, pipeline: &Pipeline, children: &Children) -> (Result<KafkaFacts, String>, Found<u32>) {
        let group = pipeline.kafka.prefix.consumer_group();
        let topics: BTreeSet<String> = pipeline.processor.queries.iter().map(|query| query.from.clone()).collect();
        let topics: Vec<String> = topics.into_iter().collect();
        let Some(external) = pipeline.kafka.placement.external() else {
            let settings = settings_question(pipeline, children);
            let mut kafka = Kafka::new(&children.brokers());
            let facts = kafka.observe(&group, &topics, pipeline.kafka.replicas, settings.as_ref()).await;
            return (facts.map_err(|error| error.to_string()), nobody(None));
        };
        let asked = match self.is_silent(external) {
            Some(silent) => Err(silent),
            None => discover::brokers(&external.addresses, &self.permitted).await,
        };
        let found = match asked {
            Ok(found) => found,
            Err(left_out) => {
                self.note_silence(external, &left_out);
                return (Err(left_out.to_string()), nobody(Some(left_out)));
            }
        };
        let declared: Vec<&str> = pipeline.kafka.topics.iter().map(|topic| topic.name.as_str()).collect();
        let facts = Kafka::new(&found.reach).observe_declared(&group, &topics, &declared).await;
        if let Err(error) = &facts {
            let at = listed(external);
            self.note_silence(external, &Unreached::Ask { at, problem: error.to_string() });
        }
        (facts.map_err(|error| error.to_string()), found)
    }

    /// Asks Cassandra; where someone else runs it, its nodes come with the facts.
    async fn ask_cassandra(&self, pipeline: &Pipeline, children: &Children) -> (CassandraFacts, Found<NodeKey>) {
        let Cassandra { placement, datacenter, keyspace, .. } = &pipeline.cassandra;
        let Some(external) = placement.external() else {
            return (cassandra::observe(&children.nodes(), keyspace).await, nobody(None));
        };
        let asked = match self.is_silent(external) {
            Some(silent) => Err(silent),
            None => discover::nodes(&external.addresses, datacenter, &self.permitted).await,
        };
        match asked {
            Ok(found) => {
                let facts = cassandra::observe_declared(&found.reach, keyspace).await;
                if facts.nodes.is_empty() {
                    let problem = "no node answers".to_owned();
                    self.note_silence(external, &Unreached::Ask { at: listed(external), problem });
                }
                (facts, found)
            }
            Err(left_out) => {
                self.note_silence(external, &left_out);
                (CassandraFacts::default(), nobody(Some(left_out)))
            }
        }
    }

    /// Returns why an external store is not asked just now: it did not answer a moment ago.
    #[expect(clippy::disallowed_methods, reason = "silence lasts for a time")]
    fn is_silent(&self, external: &External) -> Option<Unreached> {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, (since, _)| since.elapsed() < SILENCE);
        silent.get(&listed(external)).map(|(_, left_out)| left_out.clone())
    }

    /// Notes that an external store did not answer; the time of the first note counts. What one pipeline may not ask, or does
    /// not find there, says nothing of others.
    #[expect(clippy::disallowed_methods, reason = "silence lasts for a time")]
    fn note_silence(&self, external: &External, left_out: &Unreached) {
        if !left_out.is_silence() {
            return;
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.entry(listed(external)).or_insert_with(|| (Instant::now(), left_out.clone()));
    }
}

/// Returns the addresses of an external store, as one text.
fn listed(external: &External) -> String {
    external.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn nobody<M>(left_out: Option<Unreached>) -> Found<M> {
    Found { reach: Reach::default(), left_out }
}

/// Returns what matters of the brokers' settings: those of their file, and what the user wants otherwise. `None`: there is no
/// file yet, and nothing matters.
pub fn settings_question(pipeline: &Pipeline, children: &Children) -> Option<SettingsQuestion> {
    let files = children.config_maps.get(&pipeline.names.component(Component::Kafka))?;
    let there = parse(files.data.as_ref()?.get(SERVER_PROPERTIES)?);
    let wanted = pipeline.kafka.member.config.iter();
    let differs = |(key, value): &(&String, &String)| !is_refused(key) && there.get(*key) != Some(*value);
    let change = wanted.filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect();
    let may_differ = files.annotations().contains_key(CONFIG_CHECKSUM);
    Some(SettingsQuestion { keys: there.into_keys().collect(), change, may_differ })
}

async fn sources(children: &Children) -> Vec<SourceState> {
    let producers = children.pods_of(Component::Producer).filter_map(address);
    let asked = producers.map(|producer| ask_worker::<Vec<SourceState>>(producer, SOURCES_PATH, LARGEST_SOURCES));
    join_all(asked).await.into_iter().flatten().flatten().collect()
}

/// Asks processors or producers what they have done, where their number follows the load.
async fn work(pipeline: &Pipeline, children: &Children, component: Component) -> BTreeMap<String, Work> {
    let scaling = match component {
        Component::Producer => &pipeline.producer.scaling,
        _ => &pipeline.processor.scaling,
    };
    if scaling.is_none() || pipeline.suspend {
        return BTreeMap::new();
    }
    ask_pods(children, component, WORK_PATH, LARGEST_WORK).await
}

/// Asks the processors how far their canaries have come, where there are any.
async fn canaries(pipeline: &Pipeline, children: &Children) -> BTreeMap<String, CanaryReport> {
    if pipeline.processor.canary.is_none() || pipeline.suspend {
        return BTreeMap::new();
    }
    ask_pods(children, Component::Processor, CANARY_PATH, LARGEST_CANARY).await
}

/// Asks each pod of a component for a path; those that do not answer are left out.
async fn ask_pods<T: DeserializeOwned>(
    children: &Children,
    component: Component,
    path: &str,
    largest: usize,
) -> BTreeMap<String, T> {
    let addresses = children.pods_of(component).filter_map(|pod| Some((pod.name_any(), address(pod)?)));
    let asked = addresses.map(|(pod, address)| async move {
        let answer: Option<T> = ask_worker(address, path, largest).await;
        Some((pod, answer?))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use millrace_api::crd::Changes;

    use super::*;

    fn store(address: &str) -> External {
        External { addresses: vec![address.parse().expect("an address")], changes: Changes::None }
    }

    /// Passes share few slots: twenty pipelines on one store that swallows packets must not wait for it one after the other.
    #[test]
    fn an_external_store_that_did_not_answer_is_left_alone_whichever_pipeline_asks() {
        let hands = OverTheNetwork::default();
        let silent = Unreached::Ask { at: "kafka.invalid:9092".to_owned(), problem: "no answer in time".to_owned() };
        hands.note_silence(&store("kafka.invalid:9092"), &silent);
        assert_eq!(hands.is_silent(&store("kafka.invalid:9092")), Some(silent));
        // The control: another store.
        assert_eq!(hands.is_silent(&store("other.invalid:9092")), None);
    }

    /// A datacenter that one pipeline misspells keeps no other from the store.
    #[test]
    fn what_one_pipeline_does_not_find_silences_nothing() {
        let hands = OverTheNetwork::default();
        let missing = Unreached::FindDatacenter { datacenter: "dc2".to_owned() };
        hands.note_silence(&store("cassandra.invalid:9042"), &missing);
        assert_eq!(hands.is_silent(&store("cassandra.invalid:9042")), None);
    }

    /// Nothing of it is connected to.
    #[tokio::test]
    async fn an_external_store_that_is_not_allowed_is_not_asked() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/samples/accepted/external-stores.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let text = text.replace("kafka.example.com", "192.0.2.1").replace("cassandra.example.com", "192.0.2.2");
        let resource = serde_yaml::from_str(&text).expect("the sample is a pipeline");
        let pipeline = millrace_api::validate_sources(&resource).pipeline.expect("the sample is valid");
        let hands = OverTheNetwork::default();
        let stores = hands.ask(&pipeline, &Children::default()).await;
        let left_out = &stores.outside.left_out;
        assert!([Component::Kafka, Component::Cassandra].iter().all(|store| left_out[store].is_forbidden()));
        assert_eq!(stores.outside.brokers.members().count() + stores.outside.nodes.members().count(), 0);
        let said = stores.kafka.expect_err("it is not asked");
        assert_eq!(said, "'192.0.2.1:9092' leads to 192.0.2.1, which the administrator does not allow");
    }
}
