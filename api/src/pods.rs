//! What a pod says of itself: which member it is, where it is, and whether it is ready.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Returns the ordinal of a StatefulSet's pod: a broker's id, a server's number.
pub fn ordinal(pod: &Pod) -> Option<u32> {
    pod.name_any().rsplit_once('-')?.1.parse().ok()
}

/// Returns a pod's address. `None`: it has none yet.
pub fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// Returns whether a pod has the condition Ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}

/// Returns whether a pod runs and is not about to end.
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).expect("a pod")
    }

    #[test]
    fn a_pod_says_which_and_where_it_is_and_whether_it_is_ready() {
        let kafka = pod(json!({
            "metadata": {"name": "users-kafka-12"},
            "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
        }));
        assert_eq!((ordinal(&kafka), address(&kafka)), (Some(12), Some(IpAddr::from([10, 0, 0, 7]))));
        assert!(is_ready(&kafka) && is_running(&kafka));
    }

    #[test]
    fn what_a_pod_does_not_say_is_unknown() {
        let new = pod(json!({"metadata": {"name": "users-processor-6f9c-x7k2p"}}));
        assert_eq!((ordinal(&new), address(&new)), (None, None));
        assert!(!is_ready(&new) && !is_running(&new));
        let leaving = pod(json!({
            "metadata": {"name": "users-kafka-0", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        }));
        assert!(!is_ready(&leaving) && !is_running(&leaving));
    }
}
