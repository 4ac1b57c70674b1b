//! What Kubernetes itself would refuse of a pod, or never find: labels, tolerations, names. It would do so when the
//! workload is written, after the pipeline was accepted; here each gets its field and a fix.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Toleration, TopologySpreadConstraint};

use super::PodTemplate;
use crate::labels;
use crate::rejected::Rejected;

/// What a key of labels and annotations looks like.
const KEY: &str = "write up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, such as team, \
                   or example.com/team";
/// What the value of a label looks like.
const VALUE: &str = "write up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, or nothing";

/// Returns what is wrong with the form of what the user adds.
pub(super) fn refused(path: &str, template: &PodTemplate) -> Vec<Rejected> {
    let mut rejected = of_labels(&format!("{path}.labels"), &template.labels);
    rejected.extend(of_labels(&format!("{path}.nodeSelector"), &template.node_selector));
    rejected.extend(of_annotations(path, &template.annotations));
    for (index, toleration) in template.tolerations.iter().enumerate() {
        rejected.extend(of_toleration(&format!("{path}.tolerations[{index}]"), toleration));
    }
    for (index, constraint) in template.topology_spread_constraints.iter().enumerate() {
        rejected.extend(of_spread(&format!("{path}.topologySpreadConstraints[{index}]"), constraint));
    }
    rejected.extend(of_names(path, template));
    rejected
}

fn of_labels(path: &str, written: &BTreeMap<String, String>) -> Vec<Rejected> {
    let judged = written.iter().filter_map(|(key, value)| {
        let message = match (labels::is_key(key), labels::is_value(value)) {
            (true, true) => return None,
            (false, _) => format!("'{key}' is not the key of a label; {KEY}"),
            (true, false) => format!("'{value}' is not the value of a label; {VALUE}"),
        };
        Some(Rejected::new(format!("{path}[{key}]"), message))
    });
    judged.collect()
}

/// Keys of annotations may have capitals in their prefix, too; their values are free.
fn of_annotations(path: &str, written: &BTreeMap<String, String>) -> Vec<Rejected> {
    let wrong = written.keys().filter(|key| !labels::is_key(&key.to_ascii_lowercase()));
    let refuse = |key: &String| {
        let message = format!("'{key}' is not the key of an annotation; {KEY}");
        Rejected::new(format!("{path}.annotations[{key}]"), message)
    };
    wrong.map(refuse).collect()
}

fn of_toleration(path: &str, toleration: &Toleration) -> Vec<Rejected> {
    let Toleration { effect, key, operator, toleration_seconds, value } = toleration;
    let (key, value) = (key.as_deref().unwrap_or_default(), value.as_deref().unwrap_or_default());
    let refuse = |field: &str, message: String| Rejected::new(format!("{path}.{field}"), message);
    let mut rejected = Vec::new();
    if !key.is_empty() && !labels::is_key(key) {
        rejected.push(refuse("key", format!("'{key}' is not the key of a taint; {KEY}")));
    }
    match operator.as_deref().unwrap_or_default() {
        "" | "Equal" if key.is_empty() => {
            rejected
                .push(refuse("operator", "without a key the operator must be Exists; write it, or add a key".into()));
        }
        "" | "Equal" if !labels::is_value(value) => {
            rejected.push(refuse("value", format!("'{value}' is not the value of a taint; {VALUE}")));
        }
        "Exists" if !value.is_empty() => {
            rejected.push(refuse("value", "Exists takes no value; remove it, or write operator: Equal".into()));
        }
        "" | "Equal" | "Exists" => {}
        other => rejected.push(refuse("operator", format!("'{other}' is not an operator; use Equal or Exists"))),
    }
    match effect.as_deref().unwrap_or_default() {
        "" | "NoExecute" | "NoSchedule" | "PreferNoSchedule" => {}
        other => {
            let message = format!(
                "'{other}' is not an effect; use NoSchedule, PreferNoSchedule or NoExecute, or remove it for all"
            );
            rejected.push(refuse("effect", message));
        }
    }
    if toleration_seconds.is_some() && effect.as_deref() != Some("NoExecute") {
        let message = "tolerationSeconds applies only to the effect NoExecute; write effect: NoExecute, or remove it";
        rejected.push(refuse("tolerationSeconds", message.into()));
    }
    rejected
}

fn of_spread(path: &str, constraint: &TopologySpreadConstraint) -> Vec<Rejected> {
    let refuse = |field: &str, message: String| Rejected::new(format!("{path}.{field}"), message);
    let mut rejected = Vec::new();
    if constraint.max_skew < 1 {
        rejected.push(refuse("maxSkew", format!("{} is below 1; write 1 or more", constraint.max_skew)));
    }
    if !labels::is_key(&constraint.topology_key) {
        let message = format!(
            "'{}' is not the key of a node's label; write one, such as topology.kubernetes.io/zone",
            constraint.topology_key
        );
        rejected.push(refuse("topologyKey", message));
    }
    if !matches!(constraint.when_unsatisfiable.as_str(), "DoNotSchedule" | "ScheduleAnyway") {
        let message = format!("'{}' is not valid; use DoNotSchedule or ScheduleAnyway", constraint.when_unsatisfiable);
        rejected.push(refuse("whenUnsatisfiable", message));
    }
    rejected
}

/// Names of other objects.
fn of_names(path: &str, template: &PodTemplate) -> Vec<Rejected> {
    let priority = template.priority_class_name.iter().map(|name| ("priorityClassName".to_owned(), name));
    let account = template.service_account_name.iter().map(|name| ("serviceAccountName".to_owned(), name));
    let secrets = template.image_pull_secrets.iter().enumerate();
    let secrets = secrets.map(|(index, secret)| (format!("imagePullSecrets[{index}].name"), &secret.name));
    let wrong = priority.chain(account).chain(secrets).filter(|(_, name)| !labels::is_dns_name(name));
    let refuse = |(field, name): (String, &String)| {
        let message = format!(
            "'{name}' is not a valid object name; write lower-case letters, digits, '-' and '.', with a letter or \
             digit at both ends, or remove it"
        );
        Rejected::new(format!("{path}.{field}"), message)
    };
    wrong.map(refuse).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn said(written: Value) -> Vec<String> {
        let template: PodTemplate = serde_json::from_value(written).expect("a template");
        refused("t", &template).iter().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case(json!({"labels": {"a b": "c"}}), "t.labels[a b]: 'a b' is not the key of a label")]
    #[case(json!({"labels": {"Example.com/a": "c"}}), "t.labels[Example.com/a]: 'Example.com/a' is not the key of a label")]
    #[case(json!({"labels": {"a": "b c"}}), "t.labels[a]: 'b c' is not the value of a label")]
    #[case(json!({"labels": {"a": "-b"}}), "t.labels[a]: '-b' is not the value of a label")]
    #[case(json!({"nodeSelector": {"disk": "ssd!"}}), "t.nodeSelector[disk]: 'ssd!' is not the value of a label")]
    #[case(json!({"annotations": {"a/b/c": "d"}}), "t.annotations[a/b/c]: 'a/b/c' is not the key of an annotation")]
    #[case(json!({"annotations": {"": "d"}}), "t.annotations[]: '' is not the key of an annotation")]
    #[case(json!({"tolerations": [{"key": "a", "operator": "In"}]}), "t.tolerations[0].operator: 'In' is not an operator; use Equal or Exists")]
    #[case(json!({"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists", "value": "b"}]}), "t.tolerations[1].value: Exists takes no value")]
    #[case(json!({"tolerations": [{"value": "b"}]}), "t.tolerations[0].operator: without a key the operator must be Exists")]
    #[case(json!({"tolerations": [{"key": "a", "effect": "noSchedule"}]}), "t.tolerations[0].effect: 'noSchedule' is not an effect; use NoSchedule")]
    #[case(json!({"tolerations": [{"key": "a b", "operator": "Exists"}]}), "t.tolerations[0].key: 'a b' is not the key of a taint")]
    #[case(json!({"tolerations": [{"key": "a", "value": "b c"}]}), "t.tolerations[0].value: 'b c' is not the value of a taint")]
    #[case(json!({"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]}), "t.tolerations[0].tolerationSeconds: tolerationSeconds applies only to the effect NoExecute")]
    #[case(json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}), "t.topologySpreadConstraints[0].maxSkew: 0 is below 1")]
    #[case(json!({"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}), "t.topologySpreadConstraints[0].topologyKey: '' is not the key")]
    #[case(json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Never"}]}), "t.topologySpreadConstraints[0].whenUnsatisfiable: 'Never' is not valid")]
    #[case(json!({"priorityClassName": "High"}), "t.priorityClassName: 'High' is not a valid object name")]
    #[case(json!({"serviceAccountName": "my_account"}), "t.serviceAccountName: 'my_account' is not a valid object name")]
    #[case(json!({"serviceAccountName": ""}), "t.serviceAccountName: '' is not a valid object name")]
    #[case(json!({"imagePullSecrets": [{"name": "a"}, {}]}), "t.imagePullSecrets[1].name: '' is not a valid object name")]
    fn what_kubernetes_refuses_is_refused_where_it_stands(#[case] written: Value, #[case] says: &str) {
        let said = said(written);
        assert!(matches!(&said[..], [only] if only.starts_with(says)), "{said:?}");
    }

    /// The negative control: the neighbours are taken.
    #[rstest]
    #[case(json!({"labels": {"a": "", "example.com/a_b.c": "A-1", "A": "b"}}))]
    #[case(json!({"labels": {"a".repeat(63): "b".repeat(63)}}))]
    #[case(json!({"annotations": {"Example.com/a": "free text {}", "note": ""}}))]
    #[case(json!({"nodeSelector": {"kubernetes.io/os": "linux"}}))]
    #[case(json!({"tolerations": [{"operator": "Exists"}, {"key": "a"}, {"key": "a", "operator": "Equal", "value": "b"}]}))]
    #[case(json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "PreferNoSchedule"}]}))]
    #[case(json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]}))]
    #[case(json!({"topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]}))]
    #[case(json!({"priorityClassName": "system-cluster-critical", "serviceAccountName": "a.b", "imagePullSecrets": [{"name": "r-1"}]}))]
    fn what_kubernetes_takes_is_taken(#[case] written: Value) {
        assert_eq!(said(written), [""; 0]);
    }
}
