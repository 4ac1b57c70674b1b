//! `Pipeline` + `Inputs` → `Desired`: every object the pipeline shall have. Pure, and cannot fail: what could fail has
//! failed in `validate`.
//!
//! One file per component; `common`, `pod` and `network` have what all share. Scripts and configuration are real files
//! under `files/`.

pub mod attempt;
pub mod cassandra;
mod common;
pub mod kafka;
mod network;
mod pod;
mod properties;
pub mod workers;
pub mod zookeeper;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use millrace_api::Pipeline;
use millrace_api::crd::status::StreamingPipelineStatus;
use millrace_api::names::Component;

pub use common::{CONFIG_CHECKSUM, Port, component_selector};
use common::{Scope, owned_metadata};

use crate::observe::Observed;
use crate::scale::{Replicas, scale};

/// What the objects depend on beside the pipeline itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// Members of each component right now.
    pub replicas: Replicas,
    /// Base of the write timestamps by topic, in microseconds since the Unix epoch. The processor's settings need one
    /// for each topic that a query reads; until all are known there is no processor to desire.
    pub write_timestamp_bases: BTreeMap<String, i64>,
    /// Copies of each row that the keyspace has; until it exists, that it will have.
    pub replication_factor: u32,
    /// What the administrator set for all pipelines.
    pub administration: Administration,
}

impl Inputs {
    /// Gathers the inputs of a pass; `status` is what the pass before it reported.
    pub fn of(
        pipeline: &Pipeline,
        observed: &Observed,
        status: Option<&StreamingPipelineStatus>,
        administration: Administration,
    ) -> Self {
        let topics = status.and_then(|status| status.kafka.as_ref()).map_or(&[][..], |kafka| &kafka.topics);
        let bases = topics.iter().map(|topic| (topic.name.clone(), topic.write_timestamp_base));
        Self {
            replicas: scale(pipeline, observed),
            write_timestamp_bases: bases.collect(),
            replication_factor: replication_factor(pipeline, observed, status)
                .unwrap_or_else(|| pipeline.cassandra.replication_factor.of_new()),
            administration,
        }
    }
}

/// Returns how many copies of each row the keyspace has, or had when it was last seen. `None`: there was none yet.
///
/// While no node answers, what was seen holds: nodes must not come back with the settings of another factor.
pub fn replication_factor(
    pipeline: &Pipeline,
    observed: &Observed,
    status: Option<&StreamingPipelineStatus>,
) -> Option<u32> {
    let seen = || status?.cassandra.as_ref()?.replication_factor.map(i32::unsigned_abs);
    let schema = observed.stores.cassandra.schema.as_ref();
    schema.and_then(|schema| schema.replicas(&pipeline.cassandra.datacenter)).or_else(seen)
}

/// What the operator's administrator sets for all pipelines, by flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Administration {
    /// Image of `worker produce` and `worker process`.
    pub worker_image: String,
    /// Hosts that sources may reach although their addresses are private.
    pub allowed_source_hosts: Vec<String>,
    /// Namespace of the operator, which NetworkPolicies let in.
    pub operator_namespace: String,
    /// Names of image pull secrets in each pipeline's namespace.
    pub image_pull_secrets: Vec<String>,
    /// Further environment of the workers, such as the faults that negative controls switch on.
    pub worker_env: BTreeMap<String, String>,
}

/// Every object of a pipeline, by component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// What no component owns: the service account of all pods, the default-deny NetworkPolicy and that of runs.
    pub shared: Objects,
    /// The ensemble's objects.
    pub zookeeper: Objects,
    /// The brokers' objects.
    pub kafka: Objects,
    /// The nodes' objects; one StatefulSet per rack.
    pub cassandra: Objects,
    /// The producers' objects.
    pub producer: Objects,
    /// The processors' objects; `None` until every write-timestamp base is known.
    pub processor: Option<Objects>,
}

/// Objects of one component, by kind. `apply` destructures this without `..`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Identities of pods; none may use the Kubernetes API.
    pub service_accounts: Vec<ServiceAccount>,
    /// Configuration.
    pub config_maps: Vec<ConfigMap>,
    /// Headless and client Services.
    pub services: Vec<Service>,
    /// Who may talk to whom.
    pub network_policies: Vec<NetworkPolicy>,
    /// At most one member down by choice.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// Stores and producers.
    pub stateful_sets: Vec<StatefulSet>,
    /// Processors.
    pub deployments: Vec<Deployment>,
}

/// Returns every object that the pipeline shall have.
pub fn desire(pipeline: &Pipeline, inputs: &Inputs) -> Desired {
    let administration = &inputs.administration;
    let scope = |component| Scope { pipeline, component, administration };
    Desired {
        shared: shared(&scope(Component::Run)),
        zookeeper: zookeeper::objects(&scope(Component::ZooKeeper), inputs),
        kafka: kafka::objects(&scope(Component::Kafka), inputs),
        cassandra: cassandra::objects(&scope(Component::Cassandra), inputs),
        producer: workers::producer(&scope(Component::Producer), inputs),
        processor: workers::processor(&scope(Component::Processor), inputs),
    }
}

fn shared(scope: &Scope<'_>) -> Objects {
    let pipeline = scope.pipeline;
    let account = ServiceAccount {
        metadata: owned_metadata(pipeline, pipeline.names.shared()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Objects {
        service_accounts: vec![account],
        network_policies: vec![network::deny_all(pipeline), network::runs(scope)],
        ..Objects::default()
    }
}
