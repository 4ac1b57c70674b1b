//! Facts → the webhooks that pods of pipelines wait for: where one does not answer, and its failurePolicy is Fail, no pod is
//! made. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhook,
    ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use millrace_api::labels::{APPLICATION, COMPONENT_LABEL, MANAGED_BY_LABEL, MANAGER, NAME_LABEL};
use millrace_api::names::Component;

use super::facts::{Known, Objects};
use super::line::{Line, read, some_of};

/// Judges whether pods of pipelines wait for webhooks of others.
pub(super) fn webhooks(objects: &Objects, namespace: &str) -> Result<Line, Line> {
    let check = "webhooks";
    let (mutating, validating) = (read(check, &objects.mutating)?, read(check, &objects.validating)?);
    let mut labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
    if let Known::Read(Some(place)) = &objects.place {
        labels.extend(place.labels().clone());
    }
    let awaited = awaited(mutating, validating, &labels);
    if awaited.is_empty() {
        return Ok(Line::ok(check, "no pod of a pipeline waits for a webhook"));
    }
    let found = format!("pods of pipelines wait for {}", some_of(&awaited.iter().collect::<Vec<_>>()));
    let fix = "while one does not answer, no pod is created: keep its service up, exempt the namespace, or set its \
               failurePolicy to Ignore";
    Ok(Line::warning(check, found, fix))
}

/// Returns the webhooks that pods of pipelines in a namespace with these labels wait for, in words.
fn awaited(
    mutating: &[MutatingWebhookConfiguration],
    validating: &[ValidatingWebhookConfiguration],
    namespace: &BTreeMap<String, String>,
) -> Vec<String> {
    let mutating = mutating.iter().flat_map(|configuration| {
        configuration.webhooks.iter().flatten().map(move |webhook| (configuration.name_any(), as_validating(webhook)))
    });
    let validating = validating.iter().flat_map(|configuration| {
        configuration.webhooks.iter().flatten().map(move |webhook| (configuration.name_any(), webhook.clone()))
    });
    mutating
        .chain(validating)
        .filter(|(_, webhook)| is_awaited(webhook, namespace))
        .map(|(configuration, webhook)| described(&configuration, &webhook))
        .collect()
}

/// Returns a mutating webhook as the validating one that pods wait for alike: with the fields that are judged here.
fn as_validating(webhook: &MutatingWebhook) -> ValidatingWebhook {
    let webhook = webhook.clone();
    ValidatingWebhook {
        failure_policy: webhook.failure_policy,
        match_conditions: webhook.match_conditions,
        name: webhook.name,
        namespace_selector: webhook.namespace_selector,
        object_selector: webhook.object_selector,
        rules: webhook.rules,
        ..ValidatingWebhook::default()
    }
}

fn is_awaited(webhook: &ValidatingWebhook, namespace: &BTreeMap<String, String>) -> bool {
    let of_component = |component: &Component| selects(webhook.object_selector.as_ref(), &labels(*component));
    webhook.failure_policy.as_deref() != Some("Ignore")
        && webhook.rules.iter().flatten().any(is_about_pods)
        && selects(webhook.namespace_selector.as_ref(), namespace)
        && Component::ALL.iter().any(of_component)
}

fn described(configuration: &str, webhook: &ValidatingWebhook) -> String {
    let has_conditions = webhook.match_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty());
    let conditions = if has_conditions { ", if its matchConditions hold" } else { "" };
    format!("'{}' of '{configuration}'{conditions}", webhook.name)
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
