//! All objects of a namespace as they are, without what differs from run to run.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use axum::http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::world::REVISION;

/// A kind of object: where its API is, and its plural.
pub type Kind = (&'static str, &'static str);

/// What a pipeline has.
pub const KINDS: [Kind; 10] = [
    ("apis/millrace.dev/v1alpha1", "streamingpipelines"),
    ("api/v1", "serviceaccounts"),
    ("api/v1", "configmaps"),
    ("api/v1", "services"),
    ("apis/networking.k8s.io/v1", "networkpolicies"),
    ("apis/policy/v1", "poddisruptionbudgets"),
    ("apis/apps/v1", "statefulsets"),
    ("apis/apps/v1", "deployments"),
    ("api/v1", "pods"),
    ("api/v1", "persistentvolumeclaims"),
];

/// Objects by kind and name.
pub type Snapshot = BTreeMap<String, Value>;

/// Returns the objects of a kind.
pub async fn list(client: &Client, namespace: &str, (api, plural): Kind) -> Result<Vec<Value>> {
    let request = Request::get(format!("/{api}/namespaces/{namespace}/{plural}")).body(Vec::new())?;
    let listed: Value = client.request(request).await.with_context(|| format!("cannot list {plural}"))?;
    Ok(listed["items"].as_array().cloned().unwrap_or_default())
}

/// Deletes an object; one that is gone is deleted.
pub async fn delete(client: &Client, namespace: &str, (api, plural): Kind, name: &str) -> Result<()> {
    let request = Request::delete(format!("/{api}/namespaces/{namespace}/{plural}/{name}")).body(Vec::new())?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete {plural}/{name}")),
    }
}

/// Returns all objects of a namespace. What differs from run to run is taken out or given a name.
pub async fn take(client: &Client, namespace: &str) -> Result<Snapshot> {
    let mut snapshot = Snapshot::new();
    let mut revisions = BTreeMap::new();
    for kind in KINDS {
        for object in list(client, namespace, kind).await? {
            let name = text(&object, "/metadata/name");
            if kind.1 == "statefulsets" {
                revisions.insert(name.clone(), text(&object, "/status/updateRevision"));
            }
            let object = serde_json::from_str(&object.to_string().replace(namespace, "NAMESPACE"))?;
            snapshot.insert(
                format!("{}/{name}", kind.1),
                without_chance(object, kind.1 == "streamingpipelines", &revisions),
            );
        }
    }
    Ok(snapshot)
}

fn without_chance(mut object: Value, is_pipeline: bool, revisions: &BTreeMap<String, String>) -> Value {
    let owner = text(&object, "/metadata/ownerReferences/0/name");
    if let Some(revision) = object.pointer_mut(&format!("/metadata/labels/{REVISION}")) {
        // What matters is whether a pod has the current template.
        let is_current = revisions.get(&owner).is_some_and(|current| *revision == json!(current));
        *revision = json!(if is_current { "current" } else { "outdated" });
    }
    if !is_pipeline {
        // How often it was changed on its way: a rack is made with its first node, or before it.
        for (part, field) in [("/metadata", "generation"), ("/status", "observedGeneration")] {
            object.pointer_mut(part).and_then(Value::as_object_mut).and_then(|fields| fields.remove(field));
        }
    }
    strip(&mut object);
    object
}

/// Keys whose values differ from run to run.
const CHANCE: [&str; 18] = [
    "at",
    "claim",
    "clusterIP",
    "clusterIPs",
    "creationTimestamp",
    "hostId",
    "lastTransitionTime",
    "managedFields",
    "millrace.dev/config-checksum",
    "millrace.dev/desired-checksum",
    // Names of hosts have the namespace in them.
    "millrace.dev/template-checksum",
    "podIP",
    "podIPs",
    "resourceVersion",
    "startTime",
    "uid",
    "updateRevision",
    "writeTimestampBase",
];

/// Flag of ZooKeeper's JVM.
const DIGEST: &str = "superDigest=super:";

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // A headless Service's "None" is no chance.
            fields.retain(|key, value| *value == json!("None") || !CHANCE.contains(&key.as_str()));
            if let Some(Value::String(nodes)) = fields.get_mut("nodes") {
                *nodes = nodes.lines().map(without_identity).collect::<Vec<_>>().join("\n");
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        // The processors' settings have the bases of write timestamps, which begin with the topic.
        Value::String(settings) if settings.contains("writeTimestampBase:") => {
            let is_base = |line: &&str| line.trim_start().starts_with("writeTimestampBase:");
            *settings = settings.lines().filter(|line| !is_base(line)).collect::<Vec<_>>().join("\n");
        }
        // The digest of ZooKeeper's password follows the pipeline's UID.
        Value::String(flags) if flags.contains(DIGEST) => {
            let is_other = |flag: &&str| !flag.contains(DIGEST);
            *flags = flags.split(' ').filter(is_other).collect::<Vec<_>>().join(" ");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes the identity out of a line that tells pods of a node (a pod, its node, a word) or of the ring.
fn without_identity(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [pod, _, word] => format!("{pod} {word}"),
        [first, _] => first.to_owned(),
        _ => line.to_owned(),
    }
}

/// Returns in what two snapshots differ, a line each.
pub fn differences(found: &Snapshot, wanted: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for key in found.keys().chain(wanted.keys().filter(|key| !found.contains_key(*key))) {
        match (found.get(key), wanted.get(key)) {
            (Some(found), Some(wanted)) => differ(key, found, wanted, &mut lines),
            (Some(_), None) => lines.push(format!("{key} should not be there")),
            (None, _) => lines.push(format!("{key} is missing")),
        }
    }
    lines
}

fn differ(path: &str, found: &Value, wanted: &Value, lines: &mut Vec<String>) {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            for key in found.keys().chain(wanted.keys().filter(|key| !found.contains_key(*key))) {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                differ(&format!("{path}.{key}"), &of(found), &of(wanted), lines);
            }
        }
        (found, wanted) if found != wanted => lines.push(format!("{path} is {found}, not {wanted}")),
        _ => {}
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
