//! The operator's hands on the stores: what `observe` asks them and `apply` changes in them goes through here.
//!
//! [`OverTheNetwork`] is the operator's; the tests on a real API server play the stores, and have hands of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kube::ResourceExt;
use millrace_api::Pipeline;
use millrace_api::crd::kafka::is_refused;
use millrace_api::names::Component;
use millrace_api::pipeline::Cassandra;
use millrace_api::pods::address;

use crate::inquiry::ask as ask_worker;
use crate::objects::properties::{SERVER_PROPERTIES, parse};
use crate::objects::scope::CONFIG_CHECKSUM;
use crate::observed::{Children, Stores};
use millrace_stores::cassandra::{self, AskCassandra};
use millrace_stores::kafka::{self, AskKafka, Kafka, SettingsQuestion, Span};
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::{self, AskZooKeeper, Reconfiguration};
use millrace_terms::{
    CANARY_PATH, CanaryReport, LARGEST_CANARY, LARGEST_SOURCES, LARGEST_WORK, SOURCES_PATH, SourceState, WORK_PATH,
    Work,
};
use serde::de::DeserializeOwned;

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

/// Reaches the stores by the addresses of their pods.
#[derive(Clone, Copy, Debug)]
pub struct OverTheNetwork;

impl Hands for OverTheNetwork {
    fn ask<'a>(&'a self, pipeline: &'a Pipeline, children: &'a Children) -> BoxFuture<'a, Stores> {
        ask(pipeline, children).boxed()
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

async fn ask(pipeline: &Pipeline, children: &Children) -> Stores {
    let (servers, brokers, nodes) = (children.servers(), children.brokers(), children.nodes());
    let group = pipeline.names.consumer_group();
    let topics: BTreeSet<String> = pipeline.processor.queries.iter().map(|query| query.from.clone()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let settings = settings_question(pipeline, children);
    let mut kafka = Kafka::new(&brokers);
    let (zookeeper, kafka, cassandra, sources, processors, canaries) = tokio::join!(
        zookeeper::observe(&servers),
        kafka.observe(&group, &topics, pipeline.kafka.replicas, settings.as_ref()),
        cassandra::observe(&nodes, &pipeline.cassandra.keyspace),
        sources(children),
        processors(pipeline, children),
        canaries(pipeline, children)
    );
    let kafka = kafka.map_err(|error| error.to_string());
    Stores { zookeeper, kafka, cassandra, sources, processors, canaries }
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

/// Asks the processors what they have done, where their number follows the load.
async fn processors(pipeline: &Pipeline, children: &Children) -> BTreeMap<String, Work> {
    if pipeline.processor.scaling.is_none() || pipeline.suspend {
        return BTreeMap::new();
    }
    of_processors(children, WORK_PATH, LARGEST_WORK).await
}

/// Asks the processors how far their canaries have come, where there are any.
async fn canaries(pipeline: &Pipeline, children: &Children) -> BTreeMap<String, CanaryReport> {
    if pipeline.processor.canary.is_none() || pipeline.suspend {
        return BTreeMap::new();
    }
    of_processors(children, CANARY_PATH, LARGEST_CANARY).await
}

/// Asks each processor; those that do not answer are left out.
async fn of_processors<T: DeserializeOwned>(children: &Children, path: &str, largest: usize) -> BTreeMap<String, T> {
    let addresses = children.pods_of(Component::Processor).filter_map(|pod| Some((pod.name_any(), address(pod)?)));
    let asked = addresses.map(|(pod, address)| async move {
        let answer: Option<T> = ask_worker(address, path, largest).await;
        Some((pod, answer?))
    });
    join_all(asked).await.into_iter().flatten().collect()
}
