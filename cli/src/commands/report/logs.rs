//! The logs of containers, as long as they may be.

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use kube::{Api, ResourceExt};
use snafu::ResultExt;
use tokio::time::timeout;

use super::read::{WITHIN, too_late, within};
use crate::Failure;
use crate::failure::ReadLogSnafu;

/// Most bytes that the API server is asked for. It leaves out the newest lines, so this is far above what lines usually
/// have.
const MAX_READ: i64 = 16 << 20;

/// A container.
pub(super) struct Container {
    pub(super) pod: String,
    pub(super) name: String,
    /// Whether it had an earlier process, with a log of its own.
    pub(super) is_restarted: bool,
}

/// Returns the containers of a pod, those that prepare it first.
pub(super) fn containers_of(pod: &Pod) -> Vec<Container> {
    let status = pod.status.as_ref();
    let statuses: Vec<&ContainerStatus> = status
        .into_iter()
        .flat_map(|status| [&status.init_container_statuses, &status.container_statuses])
        .flat_map(|statuses| statuses.iter().flatten())
        .collect();
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let of_one = |name: &String| Container {
        pod: pod.name_any(),
        name: name.clone(),
        is_restarted: statuses.iter().any(|status| status.name == *name && status.restart_count > 0),
    };
    containers.map(|container| of_one(&container.name)).collect()
}

/// Reads the last lines of a container's log.
pub(super) async fn log(
    api: &Api<Pod>,
    container: &Container,
    is_previous: bool,
    lines: u32,
) -> Result<String, Failure> {
    let Container { pod, name, is_restarted: _ } = container;
    let params = LogParams {
        container: Some(name.clone()),
        previous: is_previous,
        tail_lines: Some(i64::from(lines)),
        limit_bytes: Some(MAX_READ),
        ..LogParams::default()
    };
    let what = format!("read the log of container '{name}' of pod '{pod}'");
    let mut log = Box::pin(within(&what, api.log_stream(pod, &params)).await?);
    let mut bytes = Vec::new();
    match timeout(WITHIN, log.read_to_end(&mut bytes)).await {
        Ok(read) => read.context(ReadLogSnafu { pod })?,
        Err(_) => return Err(too_late(&what)),
    };
    // A log may hold anything.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_that_was_started_again_has_two_logs() {
        let pod = json!({
            "metadata": {"name": "users-kafka-0"},
            "spec": {"initContainers": [{"name": "prepare"}], "containers": [{"name": "kafka"}, {"name": "other"}]},
            "status": {"containerStatuses": [
                {"name": "kafka", "ready": true, "restartCount": 2, "image": "a", "imageID": "b"},
                {"name": "other", "ready": true, "restartCount": 0, "image": "a", "imageID": "b"},
            ]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let of_pod: Vec<(String, bool)> =
            containers_of(&pod).into_iter().map(|container| (container.name, container.is_restarted)).collect();
        assert_eq!(of_pod, [("prepare".to_owned(), false), ("kafka".to_owned(), true), ("other".to_owned(), false)]);
    }
}
