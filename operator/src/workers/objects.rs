//! The producers, a StatefulSet whose ordinals share the sources, and the processors, a Deployment.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, KeyToPath, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeProjection,
};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use millrace_api::Pipeline;
use millrace_api::names::{Component, Names};
use millrace_api::pipeline::{Claim, Placement, Query, Resources, SecretKey};
use millrace_api::pod_template::grace;
use millrace_api::ports::{CASSANDRA_CQL, KAFKA, Port, WORKER_HTTP, WORKER_PUSH};
use millrace_terms::{
    CanarySettings, CassandraSettings, Consistency, Duration, KafkaSettings, PipelineName, ProcessSettings,
    ProduceSettings, QuerySettings,
};
use serde::Serialize;

use crate::objects::pod::{
    Probes, Rhythm, User, config_map_volume, container, container_port, http_probe, pod_spec, pod_template, probed,
    read_only_mount, variable,
};
use crate::objects::scope::{Files, Inputs, Scope, count, files, label_selector, resource_requirements};
use crate::objects::{Objects, network};

const SETTINGS: &str = "/settings";

/// Leaves a third of the grace period for what comes after the drain.
const DRAIN: Duration = Duration::from_secs(20);
/// What a killed processor's successor writes again; each row of it is written over with the same.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Most producers that a pipeline may have, as the CRD says.
const MOST_PRODUCERS: u32 = 32;

/// Returns the producers' objects.
pub fn producer(scope: &Scope<'_>, inputs: &Inputs) -> Objects {
    let producer = &scope.pipeline.producer;
    let files = files([("produce.yaml", yaml(&produce_settings(scope)))]);
    let claims: Vec<Claim> = producer.claims().into_iter().collect();
    let ports: &[Port] = if producer.is_pushed_to() { &[WORKER_HTTP, WORKER_PUSH] } else { &[WORKER_HTTP] };
    let worker = Worker {
        settings: scope.name(),
        command: ["worker", "produce", "--settings", "/settings/produce.yaml"],
        resources: &producer.resources,
        secrets: &producer.secrets,
        claims: &claims,
        ports,
        files: &files,
    };
    let mut services = vec![scope.nodes_service(&[WORKER_HTTP])];
    let mut ingress = vec![network::from_anywhere(&[WORKER_HTTP])];
    if producer.is_pushed_to() {
        services.push(scope.push_service(WORKER_PUSH));
        ingress.push(network::from(network::pushers(scope.pipeline), &[WORKER_PUSH]));
    }
    Objects {
        config_maps: vec![scope.config_map(&files)],
        services,
        network_policies: vec![network::allow(scope, ingress, egress(scope, &[(Component::Kafka, KAFKA)], true))],
        disruption_budgets: vec![scope.disruption_budget()],
        stateful_sets: vec![StatefulSet {
            metadata: scope.metadata(scope.name()),
            spec: Some(StatefulSetSpec {
                replicas: Some(count(inputs.replicas.producer)),
                service_name: Some(scope.pipeline.names.nodes_service(Component::Producer)),
                pod_management_policy: Some("Parallel".to_owned()),
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: None,
                }),
                revision_history_limit: Some(REVISIONS),
                selector: label_selector(scope.selector()),
                template: worker_template(scope, &worker),
                ..StatefulSetSpec::default()
            }),
            ..StatefulSet::default()
        }],
        ..Objects::default()
    }
}

/// Returns the processors' objects, or nothing while a query's topic has no write-timestamp base yet.
pub fn processor(scope: &Scope<'_>, inputs: &Inputs) -> Option<Objects> {
    let processor = &scope.pipeline.processor;
    let files = files([("process.yaml", yaml(&process_settings(scope, inputs)?))]);
    let worker = Worker {
        settings: scope.name(),
        command: ["worker", "process", "--settings", "/settings/process.yaml"],
        resources: &processor.resources,
        secrets: &[],
        claims: &[],
        ports: &[WORKER_HTTP],
        files: &files,
    };
    let stores = [(Component::Kafka, KAFKA), (Component::Cassandra, CASSANDRA_CQL)];
    Some(Objects {
        config_maps: vec![scope.config_map(&files)],
        network_policies: vec![network::allow(
            scope,
            vec![network::from_anywhere(&[WORKER_HTTP])],
            egress(scope, &stores, false),
        )],
        disruption_budgets: vec![scope.disruption_budget()],
        deployments: vec![Deployment {
            metadata: scope.metadata(scope.name()),
            spec: Some(DeploymentSpec {
                replicas: Some(count(inputs.replicas.processor)),
                // The new one has joined the group before the old one leaves, so the stream goes on.
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(IntOrString::Int(1)),
                        max_unavailable: Some(IntOrString::Int(0)),
                    }),
                }),
                revision_history_limit: Some(REVISIONS),
                selector: label_selector(scope.selector()),
                template: worker_template(scope, &worker),
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }],
        ..Objects::default()
    })
}

/// Returns the policy of the pods of runs, which go where producers go.
pub fn runs_policy(scope: &Scope<'_>) -> NetworkPolicy {
    let ingress = vec![network::from_anywhere(&[WORKER_HTTP])];
    network::allow(scope, ingress, egress(scope, &[(Component::Kafka, KAFKA)], true))
}

/// Returns where workers go: to pods of stores, and into the world if they fetch from there, or if a store is there. What
/// such a store advertises is unknown.
fn egress(scope: &Scope<'_>, stores: &[(Component, Port)], fetches: bool) -> Vec<NetworkPolicyEgressRule> {
    let is_ours = |component| scope.pipeline.manages(component);
    let ours = stores.iter().filter(|(component, _)| is_ours(*component));
    let mut rules: Vec<NetworkPolicyEgressRule> = ours
        .map(|(component, port)| network::to(vec![network::component(scope.pipeline, *component)], &[*port]))
        .collect();
    if fetches || !stores.iter().all(|(component, _)| is_ours(*component)) {
        rules.push(network::to_the_world(scope));
    }
    rules
}

/// Old revisions that are kept for `kubectl rollout undo`.
const REVISIONS: i32 = 3;

pub(crate) fn produce_settings(scope: &Scope<'_>) -> ProduceSettings {
    let producer = &scope.pipeline.producer;
    ProduceSettings {
        pipeline: pipeline_name(scope),
        kafka: kafka_settings(scope),
        sources: producer.sources.clone(),
        run: None,
        replicas: match producer.scaling {
            // All sources are pushed to and run in every pod. Another number would restart all of them.
            Some(_) => MOST_PRODUCERS,
            // With no pods nobody reads this; the worker refuses 0.
            None => producer.replicas.max(1),
        },
        cursors_topic: producer.has_cursors().then(|| scope.pipeline.kafka.prefix.cursors_topic()),
        dead_letter_topic: Some(scope.pipeline.processor.dead_letter_topic.clone()),
        push_port: producer.is_pushed_to().then_some(WORKER_PUSH.number),
        allowed_source_hosts: scope.administration.allowed_source_hosts.clone(),
        buffer_memory: producer.buffer_memory,
        drain_timeout: DRAIN,
        http_port: WORKER_HTTP.number,
    }
}

fn process_settings(scope: &Scope<'_>, inputs: &Inputs) -> Option<ProcessSettings> {
    let names = &scope.pipeline.names;
    let processor = &scope.pipeline.processor;
    let cassandra = &scope.pipeline.cassandra;
    let mut queries = Vec::new();
    for query in &processor.queries {
        let Query { name, from, into, sql, records } = query;
        let table = cassandra.table(into).expect("admission knows every table");
        queries.push(QuerySettings {
            name: name.clone(),
            from: from.clone(),
            into: cassandra.table_settings(table),
            sql: sql.clone(),
            records: records.clone(),
            write_timestamp_base: *inputs.write_timestamp_bases.get(from)?,
        });
    }
    Some(ProcessSettings {
        pipeline: pipeline_name(scope),
        kafka: kafka_settings(scope),
        consumer_group: scope.pipeline.kafka.prefix.consumer_group(),
        dead_letter_topic: processor.dead_letter_topic.clone(),
        cassandra: CassandraSettings {
            contact_points: addresses(&cassandra.placement, names, Component::Cassandra, CASSANDRA_CQL),
            datacenter: cassandra.datacenter.clone(),
            keyspace: cassandra.keyspace.clone(),
            consistency: if inputs.replication_factor == 1 { Consistency::One } else { Consistency::LocalQuorum },
        },
        queries,
        canary: processor.canary.map(|interval| CanarySettings { topic: names.canary_topic(), interval }),
        buffer_memory: processor.buffer_memory,
        max_in_flight: processor.max_in_flight,
        commit_interval: COMMIT_INTERVAL,
        drain_timeout: DRAIN,
        http_port: WORKER_HTTP.number,
    })
}

fn pipeline_name(scope: &Scope<'_>) -> PipelineName {
    let names = &scope.pipeline.names;
    PipelineName { namespace: names.namespace().to_owned(), name: names.pipeline().to_owned() }
}

fn kafka_settings(scope: &Scope<'_>) -> KafkaSettings {
    let Pipeline { names, kafka, .. } = scope.pipeline;
    KafkaSettings { bootstrap_servers: addresses(&kafka.placement, names, Component::Kafka, KAFKA) }
}

/// Returns where a store is asked first: by its client Service, since a list of pods would restart the workers whenever one is
/// added; or as written, if someone else runs it.
fn addresses(placement: &Placement, names: &Names, store: Component, port: Port) -> Vec<String> {
    match placement {
        Placement::Managed => vec![format!("{}:{}", names.service_host(store), port.number)],
        Placement::External(external) => external.addresses.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn yaml(settings: &impl Serialize) -> String {
    serde_yaml::to_string(settings).expect("settings are plain structs with text keys")
}

/// What is particular about a worker's pods.
pub(crate) struct Worker<'a> {
    /// ConfigMap with its settings.
    pub(crate) settings: String,
    pub(crate) command: [&'static str; 4],
    pub(crate) resources: &'a Resources,
    pub(crate) secrets: &'a [SecretKey],
    pub(crate) claims: &'a [Claim],
    pub(crate) ports: &'a [Port],
    pub(crate) files: &'a Files,
}

pub(crate) fn worker_template(scope: &Scope<'_>, worker: &Worker<'_>) -> PodTemplateSpec {
    let Worker { settings, command, resources, secrets, claims, ports, files } = worker;
    let administration = scope.administration;
    let mut env = BTreeMap::from([
        // One arena per core and thread would hold memory that no one uses.
        ("MALLOC_ARENA_MAX".to_owned(), "2".to_owned()),
        // Buffers of many records go back to the kernel when they are free. By default the bound grows with the first
        // of them that is freed, and a worker that has had much to do stays large for ever.
        ("MALLOC_MMAP_THRESHOLD_".to_owned(), "131072".to_owned()),
    ]);
    env.extend(administration.worker_env.clone());

    let mut volumes = vec![config_map_volume("settings", settings.clone())];
    let mut mounts = vec![read_only_mount("settings", SETTINGS)];
    if !secrets.is_empty() {
        volumes.push(secret_volume("secrets", secrets));
        mounts.push(read_only_mount("secrets", SecretKey::MOUNT));
    }
    for (index, claim) in claims.iter().enumerate() {
        // A claim's name may have dots and be longer than a volume's.
        let volume = format!("files-{index}");
        mounts.push(read_only_mount(&volume, &claim.directory().to_string_lossy()));
        volumes.push(claim_volume(volume, claim));
    }

    let container = Container {
        name: scope.component.to_string(),
        image: Some(administration.worker_image.clone()),
        command: Some(command.map(str::to_owned).to_vec()),
        env: Some(env.iter().map(|(name, value)| variable(name, value)).collect()),
        ports: Some(ports.iter().map(container_port).collect()),
        resources: Some(resource_requirements(resources)),
        volume_mounts: Some(mounts),
        ..probed(container(), &probes())
    };
    pod_template(
        scope,
        files,
        PodSpec {
            containers: vec![container],
            volumes: Some(volumes),
            termination_grace_period_seconds: Some(grace(scope.component)),
            ..pod_spec(scope, User(65532))
        },
    )
}

fn probes() -> Probes {
    Probes {
        startup: http_probe(WORKER_HTTP, "/healthz", Rhythm { period: 1, timeout: 2, failures: 60 }),
        liveness: http_probe(WORKER_HTTP, "/healthz", Rhythm { period: 10, timeout: 5, failures: 3 }),
        readiness: http_probe(WORKER_HTTP, "/readyz", Rhythm { period: 2, timeout: 5, failures: 2 }),
    }
}

/// Returns the volume of a user's claim, of which nothing is ever written. A claim that is not there yet holds the pod
/// back.
fn claim_volume(name: String, claim: &Claim) -> Volume {
    Volume {
        name,
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.0.clone(),
            read_only: Some(true),
        }),
        ..Volume::default()
    }
}

/// Returns the volume in which each key has the path that [`SecretKey::path`] tells. A Secret that is not there yet
/// holds the pod back; a changed one changes the file.
fn secret_volume(name: &str, secrets: &[SecretKey]) -> Volume {
    let sources = secrets
        .iter()
        .map(|SecretKey { secret, key }| VolumeProjection {
            secret: Some(SecretProjection {
                name: secret.clone(),
                items: Some(vec![KeyToPath { key: key.clone(), path: format!("{secret}/{key}"), mode: None }]),
                optional: Some(false),
            }),
            ..VolumeProjection::default()
        })
        .collect();
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(sources) }),
        ..Volume::default()
    }
}
