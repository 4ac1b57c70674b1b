//! What the API server noted of every write, in the audit log on the control-plane node (docs/cluster.md).

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::Cluster;
use crate::cluster::CONTROL_PLANE;

/// One write that the API server was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// `create`, `patch` and so on.
    pub verb: String,
    /// Who asked.
    pub user: String,
    /// The pod that asked; empty for users that are no service account.
    pub pod: String,
    /// What was written: resource, subresource and name.
    pub what: String,
}

/// Returns the writes concerning a namespace since a moment, in order.
pub async fn writes(cluster: &Cluster, namespace: &str, since: DateTime<Utc>) -> Result<Vec<Write>> {
    // The log is rotated: the parts' names begin alike.
    let script = r#"grep -hF "\"namespace\":\"$1\"" /var/log/kubernetes/audit*.log; true"#;
    let lines = cluster.on_node(CONTROL_PLANE, script, &[namespace]).await.context("cannot read the audit log")?;
    let mut writes: Vec<Write> = lines.lines().filter_map(parse).filter(|write| write.at >= since).collect();
    writes.sort_by_key(|write| write.at);
    Ok(writes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: ObjectRef,
    request_received_timestamp: DateTime<Utc>,
}

#[derive(Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    name: String,
}

fn parse(line: &str) -> Option<Write> {
    let Event { verb, user, object_ref, request_received_timestamp } = serde_json::from_str(line).ok()?;
    let pod = user.extra.get("authentication.kubernetes.io/pod-name").and_then(|pods| pods.first());
    let ObjectRef { resource, subresource, name } = object_ref;
    let parts = [resource, subresource, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    Some(Write {
        at: request_received_timestamp,
        verb,
        user: user.username,
        pod: pod.cloned().unwrap_or_default(),
        what: parts.join("/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_wrote_what() {
        let line = r#"{"kind":"Event","verb":"patch","user":{"username":"system:serviceaccount:millrace-system:millrace",
            "extra":{"authentication.kubernetes.io/pod-name":["millrace-1"]}},"objectRef":{"resource":"streamingpipelines",
            "subresource":"status","namespace":"n","name":"users"},"requestReceivedTimestamp":"2026-01-02T03:04:05.678901Z"}"#;
        let write = parse(&line.replace('\n', "")).expect("it is an event");
        assert_eq!((write.pod.as_str(), write.what.as_str()), ("millrace-1", "streamingpipelines/status/users"));
        assert_eq!(write.at.timestamp(), 1_767_323_045);
        assert_eq!(parse("half a li"), None);
    }
}
