//! The operator's hands on the stores: what `observe` asks them and `apply` changes in them goes through here.
//!
//! [`OverTheNetwork`] is the operator's; the tests on a real API server play the stores, and have hands of their own.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use millrace_api::Pipeline;
use millrace_api::names::Component;
use millrace_api::pipeline::Cassandra;
use millrace_api::pods::address;

use crate::inquiry::ask as ask_worker;
use crate::observed::{Children, Stores};
use millrace_stores::cassandra::{self, AskCassandra};
use millrace_stores::kafka::{self, AskKafka, Kafka};
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper;
use millrace_terms::{LARGEST_SOURCES, SOURCES_PATH, SourceState};

/// Asks stores and changes them.
pub trait Hands: Send + Sync {
    /// Asks all stores of a pipeline what they say of themselves.
    fn ask<'a>(&'a self, pipeline: &'a Pipeline, children: &'a Children) -> BoxFuture<'a, Stores>;

    /// Changes a topic, by the brokers that are reached so.
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
    let mut kafka = Kafka::new(&brokers);
    let (zookeeper, kafka, cassandra, sources) = tokio::join!(
        zookeeper::observe(&servers),
        kafka.observe(&group, &topics, pipeline.kafka.replicas),
        cassandra::observe(&nodes, &pipeline.cassandra.keyspace),
        sources(children)
    );
    Stores { zookeeper, kafka: kafka.map_err(|error| error.to_string()), cassandra, sources }
}

async fn sources(children: &Children) -> Vec<SourceState> {
    let producers = children.pods_of(Component::Producer).filter_map(address);
    let asked = producers.map(|producer| ask_worker::<Vec<SourceState>>(producer, SOURCES_PATH, LARGEST_SOURCES));
    join_all(asked).await.into_iter().flatten().flatten().collect()
}
