//! What all components share: labels, metadata, Services, budgets, resources, and files for pods.
//!
//! A [`Scope`] is one component of one pipeline; every object is made through one, so that no label can be forgotten.
//! [`Inputs`] are what the objects depend on beside the pipeline itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, ResourceRequirements, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use millrace_api::crd::{PushService, ServiceType};
use millrace_api::names::Component;
use millrace_api::pipeline::Resources;
use millrace_api::pod_template::PodTemplate;
use millrace_api::ports::Port;
use millrace_api::{Pipeline, StreamingPipeline};
use millrace_stores::permitted::Permitted;
use millrace_terms::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::key::OperatorKey;
use crate::labels::{APPLICATION, COMPONENT_LABEL, INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGER, NAME_LABEL};

/// Annotation of a pod: digest of the configuration that it started with, so that a change makes a new revision. Annotation of
/// the brokers' files, too: the digest that they stand for, where it is not their own.
pub const CONFIG_CHECKSUM: &str = "millrace.dev/config-checksum";

/// Annotation of a store's StatefulSet: digest of the pod template as it was rendered.
pub const TEMPLATE_CHECKSUM: &str = "millrace.dev/template-checksum";

/// Annotation of a store's StatefulSet: digest of all that people control and its pod template follows, behind the form of
/// that digest. A template that changes while this stays was changed by the operator.
pub const INPUTS_CHECKSUM: &str = "millrace.dev/inputs-checksum";

const MEBIBYTE: u64 = 1 << 20;

/// Files by name, for a ConfigMap.
pub type Files = BTreeMap<String, String>;

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// Members that each workload shall have right now.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicas {
    /// ZooKeeper servers.
    pub zookeeper: u32,
    /// Kafka brokers.
    pub kafka: u32,
    /// Cassandra nodes by rack name; every rack of the pipeline is there, at 0 while it waits its turn.
    pub cassandra: BTreeMap<String, u32>,
    /// Producer pods.
    pub producer: u32,
    /// Processor pods.
    pub processor: u32,
}

/// What the files of ZooKeeper servers and brokers contain about the ensemble.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ensemble {
    /// Ordinals of the servers that vote; of a new ensemble those that found it.
    pub voters: BTreeSet<u32>,
    /// Whether the servers have agreed upon that once.
    pub is_founded: bool,
    /// Ordinals of the servers that brokers connect to.
    pub connected: BTreeSet<u32>,
}

impl Ensemble {
    /// Makes a new ensemble of so many servers.
    pub fn of(servers: u32) -> Self {
        Self { voters: (0..servers).collect(), is_founded: false, connected: (0..servers).collect() }
    }
}

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
    /// Whether the Cassandra nodes have Cassandra's own scheduler of repairs.
    pub has_repair_scheduler: bool,
    /// What the Cassandra pods read about the nodes (`cassandra/nodes.rs`). Not a setting: a change restarts nothing.
    pub nodes: String,
    /// What the files of ZooKeeper servers and brokers contain about the ensemble.
    pub ensemble: Ensemble,
    /// What the administrator set for all pipelines.
    pub administration: Administration,
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
    /// What the passwords of ensembles are derived from.
    pub key: OperatorKey,
    /// Hosts of stores that someone else runs which may be asked.
    pub allowed_stores: Permitted,
}

/// Annotation of a pipeline: faults for its workers, by name, with commas between them. It is for the negative controls of
/// our own tests: only builds with debug assertions look at it, here and in the worker.
pub const SABOTAGE_ANNOTATION: &str = "millrace.dev/sabotage";

/// The worker's variable that switches faults on.
pub const SABOTAGE_VARIABLE: &str = "MILLRACE_SABOTAGE";

impl Administration {
    /// Adds the faults that a pipeline asks for.
    pub fn with_faults_of(mut self, resource: &StreamingPipeline) -> Self {
        if cfg!(debug_assertions)
            && let Some(faults) = resource.annotations().get(SABOTAGE_ANNOTATION)
        {
            self.worker_env.insert(SABOTAGE_VARIABLE.to_owned(), faults.clone());
        }
        self
    }
}

/// One component of one pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The component.
    pub component: Component,
    /// What holds for all pipelines.
    pub administration: &'a Administration,
}

impl Scope<'_> {
    /// Returns the name of most of the component's objects.
    pub fn name(&self) -> String {
        self.pipeline.names.component(self.component)
    }

    /// Returns what the user adds to the component's pods. Those of runs are as the producers'.
    pub fn pods(&self) -> &PodTemplate {
        match self.component {
            Component::ZooKeeper => &self.pipeline.zookeeper.member.pods,
            Component::Kafka => &self.pipeline.kafka.member.pods,
            Component::Cassandra => &self.pipeline.cassandra.member.pods,
            Component::Processor => &self.pipeline.processor.pods,
            Component::Producer | Component::Run => &self.pipeline.producer.pods,
        }
    }

    /// Returns the labels that select the component's pods; they never change.
    pub fn selector(&self) -> Labels {
        component_selector(self.pipeline, self.component)
    }

    /// Returns the labels of every object of the component.
    pub fn labels(&self) -> Labels {
        let mut labels = self.selector();
        labels.extend(pipeline_labels(self.pipeline));
        labels
    }

    /// Returns the metadata of an object of the component.
    pub fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta { labels: Some(self.labels()), ..owned_metadata(self.pipeline, name) }
    }

    /// Returns the ConfigMap with the component's files.
    pub fn config_map(&self, files: &Files) -> ConfigMap {
        ConfigMap { metadata: self.metadata(self.name()), data: Some(files.clone()), ..ConfigMap::default() }
    }

    /// Returns the headless Service that gives every pod a name, ready or not: members find each other before they
    /// are ready, and become ready by finding each other.
    pub fn nodes_service(&self, ports: &[Port]) -> Service {
        let spec = ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ..self.service_spec(ports)
        };
        let name = self.pipeline.names.nodes_service(self.component);
        Service { metadata: self.metadata(name), spec: Some(spec), ..Service::default() }
    }

    /// Returns the Service for clients: one address, which leads to ready pods.
    pub fn client_service(&self, ports: &[Port]) -> Service {
        Service { metadata: self.metadata(self.name()), spec: Some(self.service_spec(ports)), ..Service::default() }
    }

    /// Returns the Service that records are pushed to: one address, which leads to ready producers.
    pub fn push_service(&self, port: Port) -> Service {
        let PushService { service_type, annotations } = &self.pipeline.producer.push_service;
        let metadata = self.metadata(self.pipeline.names.push_service());
        // The default goes without saying, so that nothing is written where nobody asks for another.
        let type_ = (*service_type != ServiceType::default()).then(|| service_type.to_string());
        let spec = ServiceSpec { type_, ..self.service_spec(&[port]) };
        annotated(Service { metadata, spec: Some(spec), ..Service::default() }, annotations)
    }

    /// Returns the Service for clients whose name resolves to each ready pod.
    pub fn client_service_of_addresses(&self, ports: &[Port]) -> Service {
        let spec = ServiceSpec { cluster_ip: Some("None".to_owned()), ..self.service_spec(ports) };
        Service { metadata: self.metadata(self.name()), spec: Some(spec), ..Service::default() }
    }

    /// Returns the budget that lets at most one pod of the component be away by choice. Never none: that would block
    /// every drain of a node.
    pub fn disruption_budget(&self) -> PodDisruptionBudget {
        PodDisruptionBudget {
            metadata: self.metadata(self.name()),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(label_selector(self.selector())),
                // A pod that crashes protects nothing, and must not hold up the drain of its node.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        }
    }

    fn service_spec(&self, ports: &[Port]) -> ServiceSpec {
        let ports = ports
            .iter()
            .map(|port| ServicePort {
                name: Some(port.name.to_owned()),
                port: port.number.into(),
                target_port: Some(IntOrString::String(port.name.to_owned())),
                ..ServicePort::default()
            })
            .collect();
        ServiceSpec { ports: Some(ports), selector: Some(self.selector()), ..ServiceSpec::default() }
    }
}

/// Returns a Service with the user's annotations.
pub fn annotated(mut service: Service, annotations: &BTreeMap<String, String>) -> Service {
    if !annotations.is_empty() {
        service.metadata.annotations = Some(annotations.clone());
    }
    service
}

/// Returns the labels that every object of the pipeline has.
pub fn pipeline_labels(pipeline: &Pipeline) -> Labels {
    [(NAME_LABEL, APPLICATION), (INSTANCE_LABEL, pipeline.names.pipeline()), (MANAGED_BY_LABEL, MANAGER)]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into()
}

/// Returns the labels that select a component's pods.
pub fn component_selector(pipeline: &Pipeline, component: Component) -> Labels {
    [(NAME_LABEL, APPLICATION), (INSTANCE_LABEL, pipeline.names.pipeline()), (COMPONENT_LABEL, component.as_str())]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into()
}

/// Returns a selector of exactly these labels.
pub fn label_selector(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// Returns the metadata of an object that the pipeline owns and that belongs to no component.
pub fn owned_metadata(pipeline: &Pipeline, name: String) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: StreamingPipeline::api_version(&()).into_owned(),
        kind: StreamingPipeline::kind(&()).into_owned(),
        name: pipeline.names.pipeline().to_owned(),
        uid: pipeline.uid.clone(),
        controller: Some(true),
        // A deletion that waits for its children would otherwise need the right to set finalizers.
        block_owner_deletion: Some(false),
    };
    ObjectMeta {
        name: Some(name),
        namespace: Some(pipeline.names.namespace().to_owned()),
        labels: Some(pipeline_labels(pipeline)),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

/// Returns the digest of a component's files.
pub fn checksum(files: &Files) -> String {
    let mut digest = Sha256::new();
    for (name, content) in files {
        // Lengths keep apart what would otherwise run into each other.
        for part in [name, content] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a short digest of a value, whatever the order of its fields.
pub fn short_digest(mut value: Value) -> String {
    value.sort_all_objects();
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns what a container asks for and may use.
pub fn resource_requirements(resources: &Resources) -> ResourceRequirements {
    let Resources { cpu_request, cpu_limit, memory_request, memory_limit } = resources;
    let quantity = |resource: &str, amount: String| (resource.to_owned(), Quantity(amount));
    let mut limits = BTreeMap::from([quantity("memory", memory_limit.to_string())]);
    limits.extend(cpu_limit.as_ref().map(|limit| quantity("cpu", limit.clone())));
    ResourceRequirements {
        requests: Some([quantity("cpu", cpu_request.clone()), quantity("memory", memory_request.to_string())].into()),
        limits: Some(limits),
        ..ResourceRequirements::default()
    }
}

/// Returns a store's Java heap in mebibytes: half of the memory limit. The other half is for what the server holds
/// outside the heap, thread stacks and the page cache.
pub fn heap_mebibytes(memory_limit: Bytes) -> u64 {
    memory_limit.0 / 2 / MEBIBYTE
}

/// Lays settings over each other: the operator's defaults, the user's, and those that only the operator sets.
pub fn layered<V: Clone>(
    defaults: impl IntoIterator<Item = (&'static str, V)>,
    user: impl IntoIterator<Item = (String, V)>,
    owned: impl IntoIterator<Item = (&'static str, V)>,
) -> BTreeMap<String, V> {
    let named = |(key, value): (&'static str, V)| (key.to_owned(), value);
    let mut settings: BTreeMap<String, V> = defaults.into_iter().map(named).collect();
    settings.extend(user);
    settings.extend(owned.into_iter().map(named));
    settings
}

/// Returns a number of pods as Kubernetes counts them.
pub fn count(pods: u32) -> i32 {
    i32::try_from(pods).expect("the schema bounds every number of pods below 2^31")
}

/// Returns a ConfigMap's files from names and texts.
pub fn files<const N: usize>(files: [(&str, String); N]) -> Files {
    files.map(|(name, content)| (name.to_owned(), content)).into()
}
