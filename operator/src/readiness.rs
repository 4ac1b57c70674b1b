//! What workloads and pods say of their own readiness. Pure.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::names::Component;

use crate::observed::Children;

/// Label that the StatefulSet controller puts on its pods.
const REVISION_LABEL: &str = "controller-revision-hash";

/// Pods of a workload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ready {
    /// Pods of the current template that are ready.
    pub ready: u32,
    /// Whether the controller has seen the current spec.
    pub current: bool,
}

impl Ready {
    /// Returns whether all wanted pods are ready.
    pub fn all(self, wanted: u32) -> bool {
        self.current && self.ready >= wanted
    }
}

/// Reads a StatefulSet's status; `None` is a workload without pods.
pub fn stateful_set(stateful_set: Option<&StatefulSet>) -> Ready {
    let Some(status) = stateful_set.and_then(|workload| workload.status.as_ref()) else {
        return Ready::default();
    };
    // Of a set that the operator restarts itself, `plan/roll.rs` knows which pods are older.
    let strategy = stateful_set.and_then(|workload| workload.spec.as_ref()?.update_strategy.as_ref()?.type_.as_deref());
    let older = match strategy {
        Some("OnDelete") => 0,
        _ => (status.replicas - status.updated_replicas.unwrap_or(0)).max(0),
    };
    Ready {
        ready: u32::try_from(status.ready_replicas.unwrap_or(0) - older).unwrap_or(0),
        current: status.observed_generation >= stateful_set.and_then(|workload| workload.metadata.generation),
    }
}

/// Reads a Deployment's status; `None` is a workload without pods.
pub fn deployment(deployment: Option<&Deployment>) -> Ready {
    let Some(status) = deployment.and_then(|workload| workload.status.as_ref()) else {
        return Ready::default();
    };
    // The status does not tell how many of the ready pods are of the current template: every older one may be.
    let older = status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    Ready {
        ready: u32::try_from(status.ready_replicas.unwrap_or(0) - older).unwrap_or(0),
        current: status.observed_generation >= deployment.and_then(|workload| workload.metadata.generation),
    }
}

/// Returns whether some pods of a Deployment are not of its current template yet, as far as is known.
pub fn is_rolling_out(workload: Option<&Deployment>) -> bool {
    let Some(status) = workload.and_then(|workload| workload.status.as_ref()) else {
        return workload.is_some();
    };
    !deployment(workload).current || status.updated_replicas.unwrap_or(0) < status.replicas.unwrap_or(0)
}

/// Returns whether some pods of a StatefulSet that Kubernetes rolls out are not of its current template yet, as far as
/// is known.
pub fn is_set_rolling_out(workload: Option<&StatefulSet>) -> bool {
    let Some(status) = workload.and_then(|workload| workload.status.as_ref()) else {
        return workload.is_some();
    };
    !stateful_set(workload).current || status.updated_replicas.unwrap_or(0) < status.replicas
}

/// Returns whether no process of a pod runs any more.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Returns a pod's name and what keeps it from running; `None` while it starts or runs as usual.
pub fn trouble(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
        let reason = waiting.reason.as_deref()?;
        let usual = matches!(reason, "ContainerCreating" | "PodInitializing");
        (!usual).then(|| match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    });
    let unschedulable = || {
        let conditions = status.conditions.iter().flatten();
        let condition = conditions.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
        Some(format!("{}: {}", condition.reason.as_deref().unwrap_or("Unschedulable"), condition.message.as_deref()?))
    };
    let trouble = waiting.or_else(unschedulable)?;
    Some((pod.name_any(), trouble))
}

/// Returns a store's pods that do not have their StatefulSet's current template.
pub fn outdated_pods(children: &Children, component: Component) -> Vec<&Pod> {
    let is_outdated = |pod: &&Pod| {
        let owner = pod.name_any().rsplit_once('-').map(|(owner, _)| owner.to_owned());
        let revision = owner.and_then(|owner| children.stateful_sets.get(&owner)).and_then(update_revision);
        revision.is_some_and(|revision| pod.labels().get(REVISION_LABEL).is_some_and(|label| *label != revision))
    };
    children.pods_of(component).filter(is_outdated).collect()
}

/// Returns the revision of the current template, once the StatefulSet controller has computed it.
fn update_revision(stateful_set: &StatefulSet) -> Option<String> {
    let status = stateful_set.status.as_ref()?;
    (status.observed_generation >= stateful_set.metadata.generation).then(|| status.update_revision.clone())?
}

/// Returns whether every workload has all the pods that it shall have, ready.
pub fn is_complete(children: &Children) -> bool {
    let wanted = |replicas: Option<i32>| replicas.unwrap_or(0).unsigned_abs();
    let mut sets = children.stateful_sets.values();
    let mut deployments = children.deployments.values();
    sets.all(|set| stateful_set(Some(set)).all(wanted(set.spec.as_ref().and_then(|spec| spec.replicas))))
        && deployments
            .all(|found| deployment(Some(found)).all(wanted(found.spec.as_ref().and_then(|spec| spec.replicas))))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentStatus;

    use super::*;

    fn ready(replicas: i32, updated: i32, ready: i32) -> u32 {
        let status = DeploymentStatus {
            replicas: Some(replicas),
            updated_replicas: Some(updated),
            ready_replicas: Some(ready),
            ..DeploymentStatus::default()
        };
        deployment(Some(&Deployment { status: Some(status), ..Deployment::default() })).ready
    }

    #[test]
    fn a_producer_of_an_older_template_does_not_count() {
        let ready = |strategy: &str, updated: i32| {
            let set: StatefulSet = serde_json::from_value(serde_json::json!({
                "spec": {"selector": {}, "template": {}, "updateStrategy": {"type": strategy}},
                "status": {"replicas": 2, "readyReplicas": 2, "updatedReplicas": updated},
            }))
            .expect("it is a StatefulSet");
            stateful_set(Some(&set)).ready
        };
        assert_eq!([ready("RollingUpdate", 0), ready("RollingUpdate", 1), ready("RollingUpdate", 2)], [0, 1, 2]);
        assert_eq!(ready("OnDelete", 0), 2, "the operator restarts these, and knows which");
    }

    #[test]
    fn a_ready_pod_of_an_older_template_does_not_count() {
        assert_eq!(ready(2, 2, 2), 2);
        assert_eq!(ready(2, 2, 1), 1);
        assert_eq!(ready(2, 1, 1), 0, "the new pod has come, and the ready one is the old one");
        assert_eq!(ready(3, 2, 3), 2);
        assert_eq!(ready(2, 0, 1), 0);
        assert_eq!(deployment(None), Ready::default());
    }
}
