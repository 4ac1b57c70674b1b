//! Reads everything that a decision needs, once per reconcile, live: the resource itself, its children, and what the
//! stores say of themselves. Nothing is cached, so that no decision rests on a stale view. Never writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use futures::try_join;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::{Component, Names};
use millrace_api::{Pipeline, StreamingPipeline};
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};

use crate::context::Context;
use crate::labels::{COMPONENT_LABEL, RACK_LABEL, instance_selector};
use millrace_stores::cassandra::{self, CassandraFacts, NodeKey};
use millrace_stores::kafka::{Kafka, KafkaFacts};
use millrace_stores::zookeeper::{self, ZooKeeperFacts};

/// Why the world could not be read.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Observe {
    #[snafu(display("cannot read StreamingPipeline '{name}'"))]
    ReadPipeline { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot list {kind} objects of '{name}'"))]
    ListChildren { kind: String, name: String, source: Box<kube::Error> },
}

/// What there is.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When it was read.
    pub now: DateTime<Utc>,
    /// The pipeline's objects.
    pub children: Children,
    /// What the stores say.
    pub stores: Stores,
}

/// The pipeline's objects, by name.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "each field is the kind of that name")]
pub struct Children {
    pub service_accounts: BTreeMap<String, ServiceAccount>,
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub services: BTreeMap<String, Service>,
    pub network_policies: BTreeMap<String, NetworkPolicy>,
    pub disruption_budgets: BTreeMap<String, PodDisruptionBudget>,
    pub stateful_sets: BTreeMap<String, StatefulSet>,
    pub deployments: BTreeMap<String, Deployment>,
    pub pods: BTreeMap<String, Pod>,
}

impl Children {
    /// Returns the pods of a component that are not being deleted.
    pub fn pods_of(&self, component: Component) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter(move |pod| {
            pod.labels().get(COMPONENT_LABEL).is_some_and(|label| label == component.as_str())
                && pod.meta().deletion_timestamp.is_none()
        })
    }
}

/// What the stores say of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Stores {
    /// The ensemble.
    pub zookeeper: ZooKeeperFacts,
    /// The brokers and topics, or why they could not be asked.
    pub kafka: Result<KafkaFacts, String>,
    /// The ring and the schema.
    pub cassandra: CassandraFacts,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            zookeeper: ZooKeeperFacts::default(),
            kafka: Err("not asked".to_owned()),
            cassandra: CassandraFacts::default(),
        }
    }
}

impl Default for Observed {
    fn default() -> Self {
        Self { now: DateTime::UNIX_EPOCH, children: Children::default(), stores: Stores::default() }
    }
}

impl Observed {
    /// Returns the addresses of a component's pods by ordinal; pods without an address are left out.
    pub fn addresses(&self, component: Component) -> BTreeMap<u32, IpAddr> {
        addresses(&self.children, component)
    }
}

/// Reads the resource as it is now; `None`: it is gone.
pub async fn read_pipeline(ctx: &Context, names: &Names) -> Result<Option<StreamingPipeline>, Observe> {
    let api: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), names.namespace());
    api.get_opt(names.pipeline()).await.map_err(Box::new).with_context(|_| ReadPipelineSnafu { name: names.pipeline() })
}

/// Reads children and stores.
#[expect(clippy::disallowed_methods, reason = "observe reads the clock for the whole road")]
pub async fn observe(ctx: &Context, pipeline: &Pipeline) -> Result<Observed, Observe> {
    let names = &pipeline.names;
    let (service_accounts, config_maps, services, network_policies) =
        try_join!(list(ctx, names), list(ctx, names), list(ctx, names), list(ctx, names))?;
    let (disruption_budgets, stateful_sets, deployments, pods) =
        try_join!(list(ctx, names), list(ctx, names), list(ctx, names), list(ctx, names))?;
    let children = Children {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
        pods,
    };
    let stores = ask_stores(pipeline, &children).await;
    Ok(Observed { now: Utc::now(), children, stores })
}

async fn ask_stores(pipeline: &Pipeline, children: &Children) -> Stores {
    let servers = addresses(children, Component::ZooKeeper);
    let brokers = addresses(children, Component::Kafka);
    let nodes = node_addresses(children);
    let group = pipeline.names.consumer_group();
    let topics: BTreeSet<String> = pipeline.processor.queries.iter().map(|query| query.from.clone()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let mut kafka = Kafka::new(&brokers);
    let (zookeeper, kafka, cassandra) = tokio::join!(
        zookeeper::observe(&servers),
        kafka.observe(&group, &topics),
        cassandra::observe(&nodes, &pipeline.cassandra.keyspace)
    );
    Stores { zookeeper, kafka: kafka.map_err(|error| error.to_string()), cassandra }
}

async fn list<K>(ctx: &Context, names: &Names) -> Result<BTreeMap<String, K>, Observe>
where
    K: Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), names.namespace());
    let wanted = ListParams::default().labels(&instance_selector(names));
    let listed = api
        .list(&wanted)
        .await
        .map_err(Box::new)
        .with_context(|_| ListChildrenSnafu { kind: K::kind(&()), name: names.pipeline() })?;
    Ok(listed.items.into_iter().map(|object| (object.name_any(), object)).collect())
}

fn addresses(children: &Children, component: Component) -> BTreeMap<u32, IpAddr> {
    children.pods_of(component).filter_map(|pod| Some((ordinal(pod)?, address(pod)?))).collect()
}

/// Returns the addresses of the Cassandra pods by rack and ordinal.
pub fn node_addresses(children: &Children) -> BTreeMap<NodeKey, IpAddr> {
    let key = |pod: &Pod| Some((pod.labels().get(RACK_LABEL)?.clone(), ordinal(pod)?));
    children.pods_of(Component::Cassandra).filter_map(|pod| Some((key(pod)?, address(pod)?))).collect()
}

fn ordinal(pod: &Pod) -> Option<u32> {
    pod.name_any().rsplit_once('-')?.1.parse().ok()
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}
