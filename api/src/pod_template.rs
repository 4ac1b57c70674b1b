//! What the user adds to the pods of a component: as written, a free object; here, parsed and judged.
//!
//! The CRD does not list its fields, since Kubernetes' own schema of them, once for each component, would be larger than
//! the rest (docs/decisions/0015-size-of-the-crd.md). What could take the pods' protection away, or what the operator sets
//! itself, is refused.

mod form;
mod variables;
mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, PodSecurityContext, Toleration, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::labels::{COMPONENT_LABEL, INSTANCE_LABEL, MANAGED_BY_LABEL, NAME_LABEL};
use crate::names::Component;
use crate::open_object;
use crate::rejected::Rejected;

pub use variables::OWNED_VARIABLES;
pub use volumes::{owned_mounts, owned_volumes};

/// What the user adds to the pods of a component. Absent fields leave the operator's own.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodTemplate {
    /// Labels beside the operator's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations beside the operator's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of nodes that pods may run on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Which nodes and neighbours pods like. A podAntiAffinity takes the place of the operator's, which prefers different
    /// nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods spread. Without a labelSelector: the component's pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// ServiceAccount in place of the pipeline's. Its token is not mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Pull secrets beside the administrator's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Environment of the component's container beside the operator's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Volumes beside the operator's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Where they are mounted in the component's container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Seconds from the order to stop to the kill, at least [`grace`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// In place of the operator's user, group and fsGroup; without any, the namespace gives them, as OpenShift wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
}

/// Longest grace period: a pod that hangs delays the restarts of all others by it.
const MOST_GRACE: i64 = 3600;

/// Returns the seconds that the pods of a component have from the order to stop to the kill, unless the user gives them
/// more.
///
/// While a namespace is deleted, Kubernetes looks again for what is left of it after half of the longest grace period in
/// it: with 120 s no namespace would be gone within a minute.
pub const fn grace(component: Component) -> i64 {
    match component {
        // The 15 s of stop.sh, and as long again for the server.
        Component::ZooKeeper => 30,
        // Controlled shutdown moves one leader after the other; what it does not reach, the controller moves afterwards.
        Component::Kafka => 45,
        // A drain writes every memtable; what it does not reach is read from the commit log at the next start.
        Component::Cassandra => 45,
        // A drain of 20 s, and half as long for what comes after it.
        Component::Producer | Component::Processor | Component::Run => 30,
    }
}

/// Labels by which workloads and Services find the pods.
const OWNED_LABELS: [&str; 6] =
    [COMPONENT_LABEL, INSTANCE_LABEL, MANAGED_BY_LABEL, NAME_LABEL, "controller-revision-hash", "pod-template-hash"];
/// What the keys of labels and annotations of the operator and of workloads begin with.
const OWNED_PREFIXES: [&str; 3] = ["millrace.dev/", "statefulset.kubernetes.io/", "apps.kubernetes.io/"];

/// Returns the schema of the object as written.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Parses what was written at a path for the pods of a component.
pub fn parse(path: &str, component: Component, written: &Value) -> Result<PodTemplate, Vec<Rejected>> {
    let (template, mut rejected) =
        open_object::read::<PodTemplate>(path, written, "a pod").map_err(|error| vec![error])?;
    // What is misspelt is missing in the form, too.
    if rejected.is_empty() {
        rejected.extend(form::refused(path, &template));
        rejected.extend(variables::refused(path, component, &template.env));
    }
    rejected.extend(template.owned(path));
    rejected.extend(template.unprotected(path));
    rejected.extend(volumes::refused(path, component, &template.volumes, &template.volume_mounts));
    rejected.extend(template.out_of_time(path, component));
    if rejected.is_empty() { Ok(template) } else { Err(rejected) }
}

impl PodTemplate {
    /// Returns what the operator sets itself.
    fn owned(&self, path: &str) -> Vec<Rejected> {
        let is_prefixed = |key: &&String| OWNED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        let is_owned = |key: &&String| is_prefixed(key) || OWNED_LABELS.contains(&key.as_str());
        let labels = self.labels.keys().filter(is_owned).map(|key| (format!("labels[{key}]"), key.clone()));
        let annotations = self.annotations.keys().filter(is_prefixed);
        let annotations = annotations.map(|key| (format!("annotations[{key}]"), key.clone()));
        labels
            .chain(annotations)
            .map(|(at, key)| {
                Rejected::new(format!("{path}.{at}"), format!("the operator sets {key} itself; remove it here"))
            })
            .collect()
    }

    /// Returns a grace period that would cut a drain short, or never end.
    fn out_of_time(&self, path: &str, component: Component) -> Option<Rejected> {
        let (seconds, least) = (self.termination_grace_period_seconds?, grace(component));
        let message = if seconds < least {
            format!("{seconds} s would cut the pod's drain short; set at least {least}, or remove it")
        } else if seconds > MOST_GRACE {
            format!("a pod that hangs would delay all others for {seconds} s; set at most {MOST_GRACE}")
        } else {
            return None;
        };
        Some(Rejected::new(format!("{path}.terminationGracePeriodSeconds"), message))
    }

    /// Returns what the restricted Pod Security Standard forbids.
    fn unprotected(&self, path: &str) -> Vec<Rejected> {
        let Some(context) = &self.security_context else { return Vec::new() };
        let refuse = |field: &str, message: &str| Rejected::new(format!("{path}.securityContext.{field}"), message);
        let mut rejected = Vec::new();
        if context.run_as_non_root == Some(false) {
            rejected.push(refuse("runAsNonRoot", "no pod of a pipeline runs as root; remove it"));
        }
        if context.run_as_user == Some(0) {
            rejected.push(refuse("runAsUser", "no pod of a pipeline runs as root; use another user"));
        }
        if context.seccomp_profile.as_ref().is_some_and(|profile| profile.type_ == "Unconfined") {
            rejected.push(refuse("seccompProfile", "the profile must be RuntimeDefault or Localhost"));
        }
        rejected
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn refused(written: Value) -> Vec<String> {
        let parsed = parse("spec.kafka.podTemplate", Component::Kafka, &written);
        parsed.err().into_iter().flatten().map(|rejected| rejected.to_string()).collect()
    }

    #[test]
    fn all_that_a_pod_may_have_is_taken_as_written() {
        let written = json!({
            "labels": {"team": "data"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "kafka", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
            ]}}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
            ],
            "priorityClassName": "high",
            "serviceAccountName": "own",
            "imagePullSecrets": [{"name": "registry"}],
            "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xlog:gc"}],
            "terminationGracePeriodSeconds": 45,
            "securityContext": {"runAsUser": 1000710000, "fsGroup": 1000710000},
        });
        assert_eq!(refused(written.clone()), [""; 0]);
        let parsed = parse("spec.kafka.podTemplate", Component::Kafka, &written).expect("it is accepted");
        assert_eq!(serde_json::to_value(parsed).expect("it serialises"), written);
        assert_eq!(refused(json!({})), [""; 0]);
        assert_eq!(refused(json!({"securityContext": {}, "tolerations": []})), [""; 0]);
    }

    #[rstest]
    #[case(json!({"nodeSelektor": {}}), "spec.kafka.podTemplate.nodeSelektor: unknown field `nodeSelektor`")]
    #[case(json!({"tolerations": "all"}), "spec.kafka.podTemplate.tolerations: invalid type: string \"all\", expected a list")]
    #[case(json!({"tolerations": [{"key": "a"}, {"tolerationSeconds": "60"}]}), "spec.kafka.podTemplate.tolerations[1].tolerationSeconds: invalid type: string \"60\", expected an integer")]
    #[case(json!({"labels": {"team.example/size": 3}}), "spec.kafka.podTemplate.labels[team.example/size]: invalid type: integer `3`, expected a string; quote it")]
    #[case(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "values": "b"}]}]}}}}), "spec.kafka.podTemplate.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: invalid type: string \"b\", expected a list")]
    #[case(json!({"tolerations": [{"efect": "NoSchedule"}]}), "spec.kafka.podTemplate.tolerations[0].efect: there is no such field in a pod")]
    #[case(json!({"labels": {"app.kubernetes.io/instance": "x"}}), "spec.kafka.podTemplate.labels[app.kubernetes.io/instance]: the operator sets")]
    #[case(json!({"labels": {"millrace.dev/rack": "x"}}), "spec.kafka.podTemplate.labels[millrace.dev/rack]: the operator sets")]
    #[case(json!({"annotations": {"millrace.dev/config-checksum": "x"}}), "spec.kafka.podTemplate.annotations[millrace.dev/config-checksum]: the operator sets")]
    #[case(json!({"env": [{"name": "A"}, {"name": "BROKER_HEAP", "value": "1g"}]}), "spec.kafka.podTemplate.env[1].name: the operator sets BROKER_HEAP itself")]
    #[case(json!({"securityContext": {"runAsNonRoot": false}}), "spec.kafka.podTemplate.securityContext.runAsNonRoot: no pod of a pipeline runs as root")]
    #[case(json!({"securityContext": {"runAsUser": 0}}), "spec.kafka.podTemplate.securityContext.runAsUser: no pod of a pipeline runs as root")]
    #[case(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}), "spec.kafka.podTemplate.securityContext.seccompProfile: the profile must be")]
    #[case(json!({"terminationGracePeriodSeconds": 44}), "spec.kafka.podTemplate.terminationGracePeriodSeconds: 44 s would cut the pod's drain short; set at least 45")]
    #[case(json!({"terminationGracePeriodSeconds": 3601}), "spec.kafka.podTemplate.terminationGracePeriodSeconds: a pod that hangs")]
    fn what_cannot_be_is_refused_where_it_stands(#[case] written: Value, #[case] says: &str) {
        let refused = refused(written);
        assert!(matches!(&refused[..], [only] if only.starts_with(says)), "{refused:?}");
    }
}
