//! Pods → what the API says of them.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod as Resource};
use kube::ResourceExt;
use millrace_api::labels::{COMPONENT_LABEL, RUN_LABEL};
use millrace_api::pods::is_ready;

use super::moment;
use crate::api::pods::{Container, Pod};

/// Returns a pod.
pub fn pod(resource: &Resource) -> Pod {
    let status = resource.status.clone().unwrap_or_default();
    let spec = resource.spec.clone().unwrap_or_default();
    let statuses = |statuses: &Option<Vec<ContainerStatus>>, name: &str| {
        statuses.iter().flatten().find(|status| status.name == name).cloned()
    };
    let initial = spec.init_containers.iter().flatten().map(|container| {
        self::container(
            &container.name,
            container.image.as_ref(),
            true,
            statuses(&status.init_container_statuses, &container.name),
        )
    });
    let lasting = spec.containers.iter().map(|container| {
        self::container(
            &container.name,
            container.image.as_ref(),
            false,
            statuses(&status.container_statuses, &container.name),
        )
    });
    let containers: Vec<Container> = initial.chain(lasting).collect();
    let waits = containers.iter().filter(|container| container.state.as_deref() != Some("Running"));
    Pod {
        name: resource.name_any(),
        component: resource.labels().get(COMPONENT_LABEL).cloned().unwrap_or_default(),
        run: resource.labels().get(RUN_LABEL).cloned(),
        phase: status.phase.clone().unwrap_or_else(|| "Unknown".to_owned()),
        ready: is_ready(resource),
        terminating: resource.metadata.deletion_timestamp.is_some(),
        reason: status.reason.clone().or_else(|| waits.filter_map(|container| container.reason.clone()).next_back()),
        node: spec.node_name.clone(),
        created: resource.creation_timestamp().as_ref().map(moment).unwrap_or_default(),
        containers,
    }
}

fn container(name: &str, image: Option<&String>, initial: bool, status: Option<ContainerStatus>) -> Container {
    let state = status.as_ref().and_then(|status| status.state.as_ref());
    let (state, reason) = state.map_or((None, None), described);
    Container {
        name: name.to_owned(),
        image: image.cloned().unwrap_or_default(),
        initial,
        state,
        reason,
        restarts: status.as_ref().map_or(0, |status| status.restart_count),
        previous: status.is_some_and(|status| status.restart_count > 0),
    }
}

fn described(state: &ContainerState) -> (Option<String>, Option<String>) {
    let ContainerState { running, terminated, waiting } = state;
    match (running, terminated, waiting) {
        (Some(_), _, _) => (Some("Running".to_owned()), None),
        (_, Some(ended), _) => (Some("Terminated".to_owned()), ended.reason.clone()),
        (_, _, Some(waiting)) => (Some("Waiting".to_owned()), waiting.reason.clone()),
        (None, None, None) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_cannot_start_says_why() {
        let resource = json!({"metadata": {"name": "a-0", "labels": {"app.kubernetes.io/component": "kafka"}},
            "spec": {"containers": [{"name": "kafka", "image": "i:1"}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "kafka", "image": "i:1", "imageID": "",
                "ready": false, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        let pod = pod(&serde_json::from_value(resource).expect("a pod"));
        assert_eq!(
            (pod.component.as_str(), pod.ready, pod.reason.as_deref()),
            ("kafka", false, Some("CrashLoopBackOff"))
        );
        assert!(pod.containers[0].previous);
    }

    #[test]
    fn a_pod_of_which_nothing_is_known_is_unknown() {
        let pod = pod(&Resource::default());
        assert_eq!((pod.phase.as_str(), pod.ready, pod.reason), ("Unknown", false, None));
    }
}
