//! What keeps a component's pods from running, in a sentence that a person can act on. Pure.
//!
//! What a workload says comes first, since without pods there is nothing else to look at; then what each pod and its
//! containers say; then the warnings that Kubernetes gives about them, but only those that explain the state in which the
//! object is now.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
};
use kube::{Resource, ResourceExt};
use millrace_api::names::Component;
use millrace_api::pods::is_ready;

use crate::observed::{Observed, Warning};

/// How old the last occurrence of a warning may be. What a controller tries in vain it tries more and more rarely, up to
/// every 17 minutes.
const RECENT: TimeDelta = TimeDelta::minutes(20);
/// How long a pod may be on its way before its probes' failures count as news.
const START: TimeDelta = TimeDelta::minutes(5);
/// What programs print below their last words: how to learn more, or, as the JVM does, that this was the end.
const ASIDES: [&str; 7] = [
    "For more information, try ",
    "note: run with `RUST_BACKTRACE=",
    "Did you mean '",
    "Error: Could not create the Java Virtual Machine",
    "Error: A fatal exception has occurred",
    "Error occurred during initialization of VM",
    "agent library failed Agent_OnLoad",
];
/// Most of a process's last words that a message repeats.
const MAX_WORDS: usize = 300;

/// Returns what keeps a component's pods from running, behind a semicolon; empty: nothing does, as far as is known.
pub fn cause_of(observed: &Observed, component: Component) -> String {
    find(observed, component).map(|cause| format!("; {cause}")).unwrap_or_default()
}

fn find(observed: &Observed, component: Component) -> Option<String> {
    let look = Look { observed, component };
    look.workloads().or_else(|| observed.children.pods_of(component).find_map(|pod| look.pod(pod)))
}

/// A look at one component.
struct Look<'a> {
    observed: &'a Observed,
    component: Component,
}

impl Look<'_> {
    /// Returns why pods are not even made.
    fn workloads(&self) -> Option<String> {
        let children = &self.observed.children;
        let of_sets = || children.of_component(&children.stateful_sets, self.component).find_map(|set| self.set(set));
        let mut deployments = children.of_component(&children.deployments, self.component);
        of_sets().or_else(|| deployments.find_map(no_replicas))
    }

    /// StatefulSets have no condition for it: only their events tell.
    fn set(&self, set: &StatefulSet) -> Option<String> {
        let wanted = set.spec.as_ref()?.replicas.unwrap_or(0);
        let there = set.status.as_ref().map_or(0, |status| status.replicas);
        if there >= wanted {
            return None;
        }
        let failed = self.warning(About::of("StatefulSet", set), &["FailedCreate", "FailedUpdate"])?;
        // Such as `create Pod users-kafka-0 in StatefulSet users-kafka failed error: pods "users-kafka-0" is forbidden`.
        let said = failed.message.split_once("failed error: ").map_or(failed.message.as_str(), |(_, said)| said);
        Some(format!("StatefulSet '{}' cannot create its pods: {}", set.name_any(), line(said)))
    }

    fn pod(&self, pod: &Pod) -> Option<String> {
        let status = pod.status.as_ref()?;
        let name = pod.name_any();
        let told = self
            .containers(pod, status)
            .or_else(|| evicted(status))
            .or_else(|| self.unschedulable(pod, status))
            .or_else(|| self.volumes(pod, status))
            .or_else(|| self.not_ready(pod, status))?;
        Some(format!("pod '{name}' {told}"))
    }

    fn containers(&self, pod: &Pod, status: &PodStatus) -> Option<String> {
        let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        all.filter(|container| !container.ready).find_map(|container| {
            let state = container.state.as_ref();
            let waiting = state.and_then(|state| state.waiting.as_ref());
            let is_unusual = |waiting: &&ContainerStateWaiting| {
                !matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"))
            };
            let crashed = self.crashed(pod, container).map(|ended| match container.name == self.component.as_str() {
                true => ended,
                // One that somebody injected.
                false => format!("has container '{}', which {ended}", container.name),
            });
            match waiting.filter(is_unusual) {
                Some(waiting) if waiting.reason.as_deref() == Some("CrashLoopBackOff") => {
                    Some(crashed.unwrap_or_else(|| format!("keeps crashing: {}", said(waiting))))
                }
                Some(waiting) => Some(self.waits(pod, container, waiting)),
                None => crashed,
            }
        })
    }

    /// Returns why a container cannot be started.
    fn waits(&self, pod: &Pod, container: &ContainerStatus, waiting: &ContainerStateWaiting) -> String {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        match reason {
            "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
                // The back-off only says that there is one.
                let failed = self.warning(About::of("Pod", pod), &["Failed"]).map(|failed| failed.message.as_str());
                let failed = failed.filter(|message| message.contains("pull"));
                let words = failed.or(waiting.message.as_deref()).map(line).unwrap_or_default();
                format!("cannot pull image '{}' ({reason}): {words}", container.image)
            }
            "CreateContainerConfigError" => format!("cannot be configured ({reason}): {}", said(waiting)),
            reason => format!("cannot start container '{}' ({reason}): {}", container.name, said(waiting)),
        }
    }

    /// Returns how a container ended that does not run again yet, or has just begun to.
    fn crashed(&self, pod: &Pod, container: &ContainerStatus) -> Option<String> {
        let (state, last) = (container.state.as_ref(), container.last_state.as_ref());
        let ended = state.and_then(|state| state.terminated.as_ref()).filter(|ended| ended.exit_code != 0);
        let ended = ended.or_else(|| last?.terminated.as_ref())?;
        let reason = ended.reason.as_deref().unwrap_or_default();
        let times = match container.restart_count {
            0 => String::new(),
            1 => ", restarted once".to_owned(),
            restarts => format!(", restarted {restarts} times"),
        };
        if reason == "OOMKilled" {
            let limit = memory_limit(pod, &container.name).map(|limit| format!(" of {limit}")).unwrap_or_default();
            let field = self.memory_field();
            return Some(format!("used more memory than its limit{limit} (OOMKilled{times}); raise {field}"));
        }
        let how = match ended.signal.filter(|signal| *signal > 0) {
            Some(signal) => format!("was terminated by signal {signal}"),
            None => format!("exited with code {}", ended.exit_code),
        };
        let reason = if matches!(reason, "" | "Error") { String::new() } else { format!(" ({reason})") };
        Some(format!("{how}{reason}{times}{}", last_words(ended)))
    }

    fn memory_field(&self) -> &'static str {
        match self.component {
            Component::ZooKeeper => "spec.zookeeper.resources.limits.memory",
            Component::Kafka => "spec.kafka.resources.limits.memory",
            Component::Cassandra => "spec.cassandra.resources.limits.memory",
            Component::Processor => "spec.processor.resources.limits.memory",
            Component::Producer | Component::Run => "spec.producer.resources.limits.memory",
        }
    }

    fn unschedulable(&self, pod: &Pod, status: &PodStatus) -> Option<String> {
        let scheduled = condition(status, "PodScheduled").filter(|condition| condition.status == "False")?;
        let message = line(scheduled.message.as_deref()?);
        let claims = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let claims = claims.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()));
        let unbound = claims.into_iter().find_map(|claim| {
            let reasons = ["ProvisioningFailed", "FailedBinding", "ClaimLost", "VolumeMismatch"];
            let known = self.observed.children.volumes.as_ref().and_then(|claims| claims.get(claim));
            let uid = known.map(|known| known.uid.as_str());
            let about = About { kind: "PersistentVolumeClaim", name: claim, uid };
            Some((claim, self.warning(about, &reasons)?))
        });
        let reason = scheduled.reason.as_deref().unwrap_or("Unschedulable");
        Some(match unbound {
            Some((claim, warning)) => {
                format!("waits for its volume: claim '{claim}' ({}): {}", warning.reason, line(&warning.message))
            }
            None => format!("cannot be scheduled ({reason}): {message}"),
        })
    }

    /// Returns why a pod that has its node is not started.
    fn volumes(&self, pod: &Pod, status: &PodStatus) -> Option<String> {
        let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        let mut states = containers.filter_map(|container| container.state.as_ref());
        let is_starting = |waiting: Option<&ContainerStateWaiting>| {
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("ContainerCreating"))
        };
        if !states.any(|state| is_starting(state.waiting.as_ref())) {
            return None;
        }
        let reasons = ["FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"];
        let warning = self.warning(About::of("Pod", pod), &reasons)?;
        Some(format!("cannot be started ({}): {}", warning.reason, line(&warning.message)))
    }

    /// Returns why a pod that runs is of no use: its node is away, or it fails its probes for long.
    fn not_ready(&self, pod: &Pod, status: &PodStatus) -> Option<String> {
        if is_ready(pod) || status.phase.as_deref() != Some("Running") {
            return None;
        }
        if let Some(warning) = self.warning(About::of("Pod", pod), &["NodeNotReady"]) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            return Some(format!("is on node '{node}', which does not answer ({})", warning.reason));
        }
        let started = status.start_time.as_ref().and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0))?;
        let probe = self.warning(About::of("Pod", pod), &["Unhealthy", "ProbeWarning"])?;
        (started + START < self.observed.now).then(|| format!("is not ready: {}", line(&probe.message)))
    }

    /// Returns the newest recent warning about an object, of one of these reasons. Those about an earlier object of its
    /// name, such as a pod before its restart, are none.
    fn warning(&self, about: About<'_>, reasons: &[&str]) -> Option<&Warning> {
        let now: DateTime<Utc> = self.observed.now;
        let mut warnings: Vec<&Warning> = self.observed.children.warnings.iter().collect();
        warnings.retain(|warning| {
            about.is_in(warning) && reasons.contains(&warning.reason.as_str()) && now - warning.last < RECENT
        });
        warnings.into_iter().max_by_key(|warning| warning.last)
    }
}

/// An object that warnings may be about.
#[derive(Clone, Copy)]
struct About<'a> {
    kind: &'static str,
    name: &'a str,
    /// Absent: it is not known.
    uid: Option<&'a str>,
}

impl<'a> About<'a> {
    fn of(kind: &'static str, object: &'a impl Resource) -> Self {
        let metadata = object.meta();
        Self { kind, name: metadata.name.as_deref().unwrap_or_default(), uid: metadata.uid.as_deref() }
    }

    /// Returns whether a warning is about it. An object of the same name that is another has another UID.
    fn is_in(self, warning: &Warning) -> bool {
        let is_another = self.uid.zip(warning.uid.as_deref()).is_some_and(|(known, told)| known != told);
        (warning.kind.as_str(), warning.name.as_str()) == (self.kind, self.name) && !is_another
    }
}

/// A Deployment repeats what its ReplicaSet met.
fn no_replicas(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failed =
        conditions.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = line(failed.message.as_deref()?);
    Some(format!("Deployment '{}' cannot create its pods: {message}", deployment.name_any()))
}

fn evicted(status: &PodStatus) -> Option<String> {
    let reason = status.reason.as_deref().filter(|_| status.phase.as_deref() == Some("Failed"))?;
    let message = status.message.as_deref().map(line).unwrap_or_default();
    Some(format!("was terminated by Kubernetes ({reason}): {message}"))
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn memory_limit(pod: &Pod, container: &str) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let limits = containers.iter().find(|found| found.name == container)?.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|limit| limit.0.clone())
}

fn said(waiting: &ContainerStateWaiting) -> String {
    waiting.message.as_deref().map_or_else(|| "no message".to_owned(), line)
}

/// Returns what a process said last, behind a colon: empty where it said nothing.
fn last_words(ended: &ContainerStateTerminated) -> String {
    last_line(ended).map(|last| format!(": {}", cut(last))).unwrap_or_default()
}

/// Returns the last line of a termination message, which is the end of the process's log where it wrote none.
pub fn last_line(ended: &ContainerStateTerminated) -> Option<&str> {
    let text = ended.message.as_deref()?;
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_aside = |line: &&str| ASIDES.iter().any(|aside| line.starts_with(aside));
    lines().rfind(|line| !is_aside(line)).or_else(|| lines().next_back())
}

/// Returns a message as one line.
fn line(message: &str) -> String {
    cut(&message.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
