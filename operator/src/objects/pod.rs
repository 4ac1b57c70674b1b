//! Pods under the restricted Pod Security Standard, and the StatefulSet of a store's members.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, LocalObjectReference, ObjectFieldSelector,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, SeccompProfile, SecurityContext, TCPSocketAction, Volume, VolumeMount,
    VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use millrace_api::crd::DeletionPolicy;
use millrace_api::pipeline::{Member, Storage};
use millrace_api::pod_template::grace;
use millrace_api::ports::Port;
use serde_json::json;

use super::scope::{
    CONFIG_CHECKSUM, Files, INPUTS_CHECKSUM, Labels, Scope, TEMPLATE_CHECKSUM, checksum, count, label_selector,
    resource_requirements, short_digest,
};
use super::user_defined::user_defined;

/// Where a store's ConfigMap is mounted: its scripts and configuration.
pub const FILES: &str = "/millrace";

/// Most that a pod may leave in one directory that is not its volume.
const SCRATCH_LIMIT: &str = "256Mi";

/// Old revisions that are kept for `kubectl rollout history`; each is a copy of the pod template.
const REVISIONS: i32 = 3;

const DATA: &str = "data";

/// Form of the digest of inputs. Raised when a new version of the operator computes it of more or other fields, so that
/// it does not take the difference for a change by the user: the goldens show when it does.
const INPUTS_FORM: &str = "1";

/// A user of a container image; the group has the same number.
#[derive(Clone, Copy, Debug)]
pub struct User(pub i64);

/// What is particular about a store's pods.
#[derive(Debug)]
pub struct Store<'a> {
    /// Image, volume and resources.
    pub member: &'a Member,
    /// The image's user.
    pub user: User,
    /// What the ConfigMap holds.
    pub files: &'a Files,
    /// Copies of each row or record that are made where nothing else is said, where the files follow them. `None`: they do
    /// not.
    pub copies: Option<u32>,
    /// Environment of the server and of every tool that is run beside it.
    pub env: Vec<EnvVar>,
    /// Ports that the server listens on.
    pub ports: &'static [Port],
    /// Where the volume goes.
    pub data: &'static str,
    /// Directories with ConfigMaps beside its own, and their volumes. What they say is for pods that start, and no
    /// setting.
    pub told: Vec<Told>,
    /// Directories that the server writes, beside the volume; their contents go with the pod.
    pub scratch: &'static [(&'static str, &'static str)],
    /// When the pod has started, lives and is ready.
    pub probes: Probes,
    /// Run before the server is told to stop.
    pub before_stop: Option<Vec<String>>,
}

/// A ConfigMap beside that of a store's files.
#[derive(Clone, Debug)]
pub struct Told {
    /// Name of the volume.
    pub volume: &'static str,
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Where it is mounted.
    pub path: &'static str,
}

/// The three questions of the kubelet.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Has it started? Until then the other two are not asked.
    pub startup: Probe,
    /// Is it alive? A no restarts the container, so the answer never depends on another pod.
    pub liveness: Probe,
    /// Is it of use? A no takes the pod out of the client Service.
    pub readiness: Probe,
}

/// Which of the component's pods a StatefulSet holds.
#[derive(Debug)]
pub struct Members {
    /// Name of the StatefulSet.
    pub name: String,
    /// How many.
    pub replicas: u32,
    /// Labels beside the component's.
    pub labels: Labels,
    /// Environment beside the component's.
    pub env: Vec<EnvVar>,
}

/// Returns the StatefulSet of a store's members.
///
/// All pods are created at once, since members wait for each other. An outdated one is restarted only when it is
/// deleted, which `plan` does one at a time and after asking the other members.
pub fn stateful_set(scope: &Scope<'_>, store: &Store<'_>, members: Members) -> StatefulSet {
    let Members { name, replicas, labels, env } = members;
    let mut selector = scope.selector();
    selector.extend(labels.clone());

    let mut metadata = scope.metadata(name);
    metadata.labels.get_or_insert_default().extend(labels.clone());

    let mut template = store_template(scope, store, env);
    template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels);
    let rendered = serde_json::to_value(&template).expect("Kubernetes objects serialise");
    metadata.annotations.get_or_insert_default().extend([
        (INPUTS_CHECKSUM.to_owned(), inputs_checksum(scope, store)),
        (TEMPLATE_CHECKSUM.to_owned(), short_digest(rendered)),
    ]);

    let when_deleted = match scope.pipeline.deletion_policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(count(replicas)),
            service_name: Some(scope.pipeline.names.nodes_service(scope.component)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(when_deleted.to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            revision_history_limit: Some(REVISIONS),
            volume_claim_templates: Some(vec![claim(&store.member.storage, &selector)]),
            selector: label_selector(selector),
            template,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// Returns the digest of what people control of a store's pods, in the spec, in the database, and by the operator's flags.
fn inputs_checksum(scope: &Scope<'_>, store: &Store<'_>) -> String {
    let inputs = json!({
        "spec": store.member.inputs,
        "copies": store.copies,
        "imagePullSecrets": scope.administration.image_pull_secrets,
    });
    format!("{INPUTS_FORM}-{}", short_digest(inputs))
}

fn store_template(scope: &Scope<'_>, store: &Store<'_>, env: Vec<EnvVar>) -> PodTemplateSpec {
    let Store { member, user, files, copies: _, env: shared_env, ports, data, told, scratch, probes, before_stop } =
        store;
    let mut mounts = vec![mount(DATA, data), read_only_mount("files", FILES)];
    mounts.extend(told.iter().map(|told| read_only_mount(told.volume, told.path)));
    mounts.extend(scratch.iter().map(|(name, path)| mount(name, path)));
    let mut volumes = vec![config_map_volume("files", scope.name())];
    volumes.extend(told.iter().map(|told| config_map_volume(told.volume, told.config_map.clone())));
    volumes.extend(scratch.iter().map(|(name, _)| scratch_volume(name)));

    let container = Container {
        name: scope.component.to_string(),
        image: Some(member.image.clone()),
        command: Some(script("start.sh", &[])),
        env: Some(shared_env.iter().cloned().chain(env).collect()),
        ports: Some(ports.iter().map(container_port).collect()),
        resources: Some(resource_requirements(&member.resources)),
        volume_mounts: Some(mounts),
        lifecycle: before_stop.clone().map(before_stop_hook),
        ..probed(container(), probes)
    };
    pod_template(
        scope,
        files,
        PodSpec {
            containers: vec![container],
            volumes: Some(volumes),
            termination_grace_period_seconds: Some(grace(scope.component)),
            ..pod_spec(scope, *user)
        },
    )
}

/// Returns a pod template with the component's labels and the digest of its files.
pub fn pod_template(scope: &Scope<'_>, files: &Files, spec: PodSpec) -> PodTemplateSpec {
    let user = scope.pods();
    let mut labels = user.labels.clone();
    labels.extend(scope.labels());
    let mut annotations = user.annotations.clone();
    annotations.insert(CONFIG_CHECKSUM.to_owned(), checksum(files));
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(user_defined(scope, spec)),
    }
}

/// Returns what the spec of every pod has: an unprivileged user, no Kubernetes identity, pods of one component apart.
pub fn pod_spec(scope: &Scope<'_>, user: User) -> PodSpec {
    let pull_secrets: Vec<LocalObjectReference> = scope
        .administration
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    PodSpec {
        service_account_name: Some(scope.pipeline.names.shared()),
        automount_service_account_token: Some(false),
        // A Service named `kafka` would otherwise put KAFKA_… variables into the servers' environment.
        enable_service_links: Some(false),
        image_pull_secrets: Some(pull_secrets).filter(|secrets| !secrets.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(user.0),
            run_as_group: Some(user.0),
            fs_group: Some(user.0),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        affinity: Some(apart(scope.selector())),
        ..PodSpec::default()
    }
}

/// Returns what every container has: no privileges, a read-only root.
pub fn container() -> Container {
    Container {
        image_pull_policy: Some("IfNotPresent".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        // What a server says last is the best account of why it ended.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Returns the container with its probes.
pub fn probed(container: Container, probes: &Probes) -> Container {
    let Probes { startup, liveness, readiness } = probes.clone();
    Container {
        startup_probe: Some(startup),
        liveness_probe: Some(liveness),
        readiness_probe: Some(readiness),
        ..container
    }
}

/// Prefers nodes that have no pod of the same component. Not required, so that one node can hold them all.
fn apart(selector: Labels) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    label_selector: Some(label_selector(selector)),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn claim(storage: &Storage, labels: &Labels) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA.to_owned()), labels: Some(labels.clone()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(storage.size.clone()))])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// Returns the command line of a script from the ConfigMap.
pub fn script(name: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = vec!["/bin/bash".to_owned(), format!("{FILES}/{name}")];
    command.extend(arguments.iter().map(|&argument| argument.to_owned()));
    command
}

/// Returns an environment variable.
pub fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

/// Returns an environment variable with the pod's address.
pub fn address_variable(name: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: "status.podIP".to_owned(), api_version: None };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    }
}

/// Returns a container's port.
pub fn container_port(port: &Port) -> ContainerPort {
    ContainerPort { name: Some(port.name.to_owned()), container_port: port.number.into(), ..ContainerPort::default() }
}

/// Returns the mount of a volume.
pub fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// Returns the mount of a volume that is only read.
pub fn read_only_mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(volume, path) }
}

/// Returns the volume with a ConfigMap's files.
pub fn config_map_volume(name: &str, config_map: String) -> Volume {
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: config_map, ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    }
}

fn scratch_volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(SCRATCH_LIMIT.to_owned())), medium: None }),
        ..Volume::default()
    }
}

fn before_stop_hook(command: Vec<String>) -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction { command: Some(command) }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// How often a probe asks, how long it waits for the answer, and how many failures in a row count.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Seconds from question to question.
    pub period: i32,
    /// Seconds to the answer.
    pub timeout: i32,
    /// Failures in a row.
    pub failures: i32,
}

impl Rhythm {
    /// Asks every second, for so many minutes: a start is seen at once, and a slow one is not cut short.
    pub const fn start_within_minutes(minutes: i32) -> Self {
        Self { period: 1, timeout: 5, failures: minutes * 60 }
    }
}

/// Returns a probe that runs a command in the container.
pub fn command_probe(command: Vec<String>, rhythm: Rhythm) -> Probe {
    Probe { exec: Some(ExecAction { command: Some(command) }), ..probe(rhythm) }
}

/// Returns a probe that opens a connection.
pub fn connection_probe(port: Port, rhythm: Rhythm) -> Probe {
    let port = IntOrString::String(port.name.to_owned());
    Probe { tcp_socket: Some(TCPSocketAction { port, host: None }), ..probe(rhythm) }
}

/// Returns a probe that GETs a path.
pub fn http_probe(port: Port, path: &str, rhythm: Rhythm) -> Probe {
    let http_get = HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::String(port.name.to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(http_get), ..probe(rhythm) }
}

fn probe(rhythm: Rhythm) -> Probe {
    let Rhythm { period, timeout, failures } = rhythm;
    Probe {
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
