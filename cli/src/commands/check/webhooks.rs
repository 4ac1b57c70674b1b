//! Webhooks that pods of pipelines wait for: where one does not answer, and its failurePolicy is Fail, no pod is made. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use millrace_api::labels::{APPLICATION, COMPONENT_LABEL, MANAGED_BY_LABEL, MANAGER, NAME_LABEL};
use millrace_api::names::Component;

/// A webhook of either kind.
struct Webhook<'a> {
    configuration: String,
    name: &'a str,
    failure_policy: Option<&'a str>,
    rules: &'a [RuleWithOperations],
    namespaces: Option<&'a LabelSelector>,
    objects: Option<&'a LabelSelector>,
    has_conditions: bool,
}

/// Returns the webhooks that pods of pipelines in a namespace with these labels wait for, in words.
pub(super) fn awaited(
    mutating: &[MutatingWebhookConfiguration],
    validating: &[ValidatingWebhookConfiguration],
    namespace: &BTreeMap<String, String>,
) -> Vec<String> {
    let mutating = mutating.iter().flat_map(|configuration| {
        configuration.webhooks.iter().flatten().map(move |webhook| Webhook {
            configuration: configuration.name_any(),
            name: &webhook.name,
            failure_policy: webhook.failure_policy.as_deref(),
            rules: webhook.rules.as_deref().unwrap_or_default(),
            namespaces: webhook.namespace_selector.as_ref(),
            objects: webhook.object_selector.as_ref(),
            has_conditions: webhook.match_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty()),
        })
    });
    let validating = validating.iter().flat_map(|configuration| {
        configuration.webhooks.iter().flatten().map(move |webhook| Webhook {
            configuration: configuration.name_any(),
            name: &webhook.name,
            failure_policy: webhook.failure_policy.as_deref(),
            rules: webhook.rules.as_deref().unwrap_or_default(),
            namespaces: webhook.namespace_selector.as_ref(),
            objects: webhook.object_selector.as_ref(),
            has_conditions: webhook.match_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty()),
        })
    });
    mutating
        .chain(validating)
        .filter(|webhook| webhook.is_awaited(namespace))
        .map(|webhook| webhook.described())
        .collect()
}

impl Webhook<'_> {
    fn is_awaited(&self, namespace: &BTreeMap<String, String>) -> bool {
        let of_component = |component: &Component| selects(self.objects, &labels(*component));
        self.failure_policy != Some("Ignore")
            && self.rules.iter().any(is_about_pods)
            && selects(self.namespaces, namespace)
            && Component::ALL.iter().any(of_component)
    }

    fn described(&self) -> String {
        let conditions = if self.has_conditions { ", if its matchConditions hold" } else { "" };
        format!("'{}' of '{}'{conditions}", self.name, self.configuration)
    }
}

/// Returns whether a rule is about pods that are made. What is absent matches nothing.
fn is_about_pods(rule: &RuleWithOperations) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &[&str]| {
        list.iter().flatten().any(|listed| wanted.contains(&listed.as_str()))
    };
    has(&rule.operations, &["*", "CREATE"])
        && has(&rule.api_groups, &["*", ""])
        && has(&rule.api_versions, &["*", "v1"])
        && has(&rule.resources, &["*", "*/*", "pods"])
        && rule.scope.as_deref() != Some("Cluster")
}

/// Returns whether a selector takes these labels; one that is absent takes all, and one that cannot be read may.
fn selects(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> bool {
    let selector = selector.cloned().unwrap_or_default();
    Selector::try_from(selector).map_or(true, |selector| selector.matches(labels))
}

/// Returns the labels of a component's pods that are the same in all pipelines.
fn labels(component: Component) -> BTreeMap<String, String> {
    let labels = [(NAME_LABEL, APPLICATION), (MANAGED_BY_LABEL, MANAGER), (COMPONENT_LABEL, component.as_str())];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(webhook: Value) -> Vec<String> {
        let mut whole = json!({
            "name": "inject.mesh.io", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {},
            "failurePolicy": "Fail",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        });
        for (field, value) in webhook.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        let configuration = json!({"metadata": {"name": "mesh"}, "webhooks": [whole]});
        let mutating: MutatingWebhookConfiguration = serde_json::from_value(configuration.clone()).expect("a webhook");
        let validating: ValidatingWebhookConfiguration = serde_json::from_value(configuration).expect("a webhook");
        let namespace = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), "shop".to_owned())]);
        let found = awaited(&[mutating], &[], &namespace);
        assert_eq!(awaited(&[], &[validating], &namespace), found, "both kinds are judged alike");
        found
    }

    #[test]
    fn what_pods_wait_for_is_named() {
        assert_eq!(named(json!({})), ["'inject.mesh.io' of 'mesh'"]);
        let all = json!({"rules": [
            {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "Namespaced"},
        ]});
        assert_eq!(named(all).len(), 1);
        let kafka = json!({"objectSelector": {"matchLabels": {"app.kubernetes.io/component": "kafka"}}});
        assert_eq!(named(kafka).len(), 1);
        let conditions = json!({"matchConditions": [{"name": "x", "expression": "true"}]});
        assert_eq!(named(conditions), ["'inject.mesh.io' of 'mesh', if its matchConditions hold"]);
    }

    #[test]
    fn control_what_pods_do_not_wait_for_is_not() {
        let others = [
            json!({"failurePolicy": "Ignore"}),
            json!({"rules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]},
            ]}),
            json!({"rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["pods"]},
            ]}),
            json!({"namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}}),
            json!({"namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]},
            ]}}),
            json!({"objectSelector": {"matchLabels": {"app.kubernetes.io/name": "other"}}}),
        ];
        for other in others {
            assert_eq!(named(other.clone()), Vec::<String>::new(), "{other}");
        }
    }
}
