//! Labels of every object that the operator owns, the selectors that find them again, and what may be a label at all.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::names::{Component, Names};

/// Label with the application's name: [`APPLICATION`].
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Label with the pipeline's name.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// Label with the component.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Label with who manages the object: [`MANAGER`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label of a Cassandra node: its rack.
pub const RACK_LABEL: &str = "millrace.dev/rack";

/// Label of a store's claim: the pipeline's name, in place of [`INSTANCE_LABEL`]. Nobody owns a claim that outlives its
/// pipeline, and tools that find what is theirs by that label, such as Argo CD, would delete it with its data.
pub const PIPELINE_LABEL: &str = "millrace.dev/pipeline";

/// Annotation of a ZooKeeper server's claim: with the value `true`, the server has left the ensemble, and the volume
/// founds none.
pub const HAS_LEFT: &str = "millrace.dev/left";

/// Label of what belongs to a run: its name.
pub const RUN_LABEL: &str = "millrace.dev/run";
/// Label of an attempt's objects: its number.
pub const ATTEMPT_LABEL: &str = "millrace.dev/attempt";
/// Annotation of an attempt's objects: the UID of its run, which tells it from an earlier run of the same name.
pub const RUN_UID: &str = "millrace.dev/run-uid";
/// Label of a run that a schedule made: the source.
pub const SCHEDULE_LABEL: &str = "millrace.dev/schedule";

/// Annotation of a pipeline: with the value `true`, the operator changes none of its objects and nothing in its stores.
pub const PAUSED: &str = "millrace.dev/paused";

/// Annotation of a pipeline: with the value `true`, the operator restarts no pod of a store that runs; all else goes on.
pub const HOLD_DISRUPTIONS: &str = "millrace.dev/hold-disruptions";

/// Annotation of a pipeline: hash of the plan in its status that its users approve.
pub const APPROVE_PLAN: &str = "millrace.dev/approve-plan";

/// Annotation of a pipeline: ids of losses in its status, with commas between them, that its users accept.
pub const ACCEPT_LOSS: &str = "millrace.dev/accept-loss";

/// Annotation of a pipeline: `NONCE TOPIC FROM`, which asks once for each nonce to read a topic's records again. FROM is
/// `earliest`, an offset or a time in RFC 3339.
pub const REPLAY: &str = "millrace.dev/replay";

/// Returns the ids of the losses that a pipeline's users accept.
pub fn accepted_losses(pipeline: &impl ResourceExt) -> BTreeSet<String> {
    let listed = pipeline.annotations().get(ACCEPT_LOSS).map_or("", String::as_str);
    listed.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect()
}

/// Returns whether a pipeline is paused.
pub fn is_paused(pipeline: &impl ResourceExt) -> bool {
    pipeline.annotations().get(PAUSED).is_some_and(|value| value == "true")
}

/// Returns whether a pipeline's users hold what disturbs a store.
pub fn holds_disruptions(pipeline: &impl ResourceExt) -> bool {
    pipeline.annotations().get(HOLD_DISRUPTIONS).is_some_and(|value| value == "true")
}

/// Returns the hash of the plan that a pipeline's users approve. `None`: they approve none.
pub fn approved_plan(pipeline: &impl ResourceExt) -> Option<String> {
    pipeline.annotations().get(APPROVE_PLAN).map(|hash| hash.trim().to_owned())
}

/// Returns the replay that a pipeline's users ask for, as they wrote it. `None`: they ask for none.
pub fn requested_replay(pipeline: &impl ResourceExt) -> Option<String> {
    pipeline.annotations().get(REPLAY).cloned()
}

/// Name of the application in labels.
pub const APPLICATION: &str = "millrace";
/// Name of the operator in labels.
pub const MANAGER: &str = "millrace-operator";
/// Selects every object that any operator of ours manages.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=millrace-operator";

/// Selects every object of a pipeline.
pub fn instance_selector(names: &Names) -> String {
    format!("{MANAGED_SELECTOR},{INSTANCE_LABEL}={}", names.pipeline())
}

/// Selects the claims of the stores of all pipelines: [`INSTANCE_LABEL`] or [`PIPELINE_LABEL`] says of which.
pub const STORE_CLAIMS: &str =
    "app.kubernetes.io/name=millrace,app.kubernetes.io/component in (zookeeper,kafka,cassandra)";

/// Selects the objects of a run.
pub fn run_selector(run: &str) -> String {
    format!("{MANAGED_SELECTOR},{RUN_LABEL}={run}")
}

/// Selects the pods of a component of a pipeline.
pub fn pod_selector(names: &Names, component: Component) -> String {
    format!("{NAME_LABEL}={APPLICATION},{INSTANCE_LABEL}={},{COMPONENT_LABEL}={component}", names.pipeline())
}

/// Returns whether Kubernetes takes a text as the key of a label: `name` or `prefix/name`.
pub(crate) fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && !name.is_empty() && is_value(name),
        None => !key.is_empty() && is_value(key),
    }
}

/// Returns whether Kubernetes takes a text as the value of a label.
pub(crate) fn is_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let has_ends = match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric(),
        (_, _) => true,
    };
    has_ends && bytes.len() <= 63 && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Returns whether Kubernetes takes a text as the name of most objects: a DNS name, parts with dots between them.
pub(crate) fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_part)
}

/// Returns whether a text is a part of a DNS name; longer ones than 63 characters are for the caller to judge.
pub(crate) fn is_dns_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(is_letter)
        && bytes.last().is_some_and(is_letter)
        && bytes.iter().all(|byte| is_letter(byte) || *byte == b'-')
}
