//! Facts → what the chart has installed: definitions, operators and admission policies, and whether versions fit. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::facts::{Known, Objects};
use super::line::{Line, read, some_of};

/// Version of this command, and of the chart and the operator that it belongs to.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Label with the version of what the chart has installed.
const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// Endings of the names of the chart's admission policies, with the value that makes each.
pub(super) const POLICIES: [(&str, &str); 5] = [
    ("requested-by", "admissionPolicy.create"),
    ("references", "admissionPolicy.references"),
    ("own-account", "admissionPolicy.ownAccount"),
    ("own-deletions", "admissionPolicy.ownAccount"),
    ("own-claims", "admissionPolicy.ownAccount"),
];

pub(super) fn definition(
    check: &str,
    found: Option<&CustomResourceDefinition>,
    ours: &CustomResourceDefinition,
    is_installed: Option<bool>,
) -> Line {
    let install = "helm install millrace charts/millrace --namespace millrace-system --create-namespace --wait";
    let upgrade = "upgrade the definitions: kubectl apply --server-side -f crds/, or helm upgrade";
    let Some(found) = found else {
        return match is_installed {
            Some(true) => Line::failed(check, "is missing, and the operator waits for it", upgrade),
            Some(false) | None => Line::warning(check, "is not installed yet", install),
        };
    };
    let mut conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.any(|condition| condition.type_ == "Established" && condition.status == "True") {
        let fix = format!("see why: kubectl describe crd {}", found.name_any());
        return Line::failed(check, "exists but is not established, so the API server does not serve it", fix);
    }
    let (theirs, known) = (fields(found), fields(ours));
    let lacking: Vec<&String> = known.difference(&theirs).collect();
    if !lacking.is_empty() {
        let found = format!("is not of version {VERSION}: it does not have {}", some_of(&lacking));
        return Line::failed(check, found, upgrade);
    }
    let beyond: Vec<&String> = theirs.difference(&known).collect();
    if !beyond.is_empty() {
        let found = format!("is newer than this command, {VERSION}: it has {}", some_of(&beyond));
        return Line::warning(check, found, "install the command of the operator's version");
    }
    Line::ok(check, format!("has all fields of version {VERSION}"))
}

/// Returns the paths of all fields of a definition's versions.
fn fields(definition: &CustomResourceDefinition) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for version in &definition.spec.versions {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        walk(&json!(schema), &version.name, &mut found);
    }
    found
}

fn walk(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        walk(field, &path, found);
        found.insert(path);
    }
    walk_items(&schema["items"], path, found);
    walk_items(&schema["additionalProperties"], path, found);
}

fn walk_items(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema.is_object() {
        walk(schema, &format!("{path}[]"), found);
    }
}

/// Judges each operator that there is.
pub(super) fn running(operators: &[Deployment], objects: &Objects, release: &str) -> Vec<Line> {
    let check = "operator";
    if operators.is_empty() {
        let are_defined = objects.definitions.iter().any(|known| matches!(known, Known::Read(Some(_))));
        let fix = format!("helm install millrace charts/millrace --namespace {release} --create-namespace --wait");
        let found = "is not installed";
        return vec![if are_defined { Line::failed(check, found, fix) } else { Line::warning(check, found, fix) }];
    }
    operators.iter().map(|operator| one_operator(check, operator)).collect()
}

fn one_operator(check: &str, operator: &Deployment) -> Line {
    let (namespace, name) = (operator.namespace().unwrap_or_default(), operator.name_any());
    let wanted = operator.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = operator.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default();
    let pods = operator.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let container = pods.and_then(|pods| pods.containers.iter().find(|container| container.name == "operator"));
    let image = container.and_then(|container| container.image.clone()).unwrap_or_default();
    let found = format!("'{namespace}/{name}' has {available} of {wanted} pods available, of image '{image}'");
    let describe = format!("see why: kubectl describe deployment -n {namespace} {name}");
    if available == 0 {
        return Line::failed(check, found, describe);
    }
    let release = operator.labels().get(VERSION_LABEL);
    let version = tag(&image).filter(|tag| is_version(tag)).or(release.map(String::as_str));
    if let Some(version) = version.filter(|version| version.trim_start_matches('v') != VERSION) {
        let found = format!("{found}: version {version}, and this command is of version {VERSION}");
        return Line::warning(check, found, "install the command of the operator's version, or upgrade the chart");
    }
    if available < wanted { Line::warning(check, found, describe) } else { Line::ok(check, found) }
}

/// Returns the tag of an image. `None`: it has none.
fn tag(image: &str) -> Option<&str> {
    let named = image.split('@').next()?;
    let (_, tag) = named.rsplit('/').next()?.split_once(':')?;
    Some(tag)
}

fn is_version(tag: &str) -> bool {
    let parts: Vec<&str> = tag.trim_start_matches('v').split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.starts_with(|sign: char| sign.is_ascii_digit()))
}

/// Judges whether the chart's admission policies are there and in force.
pub(super) fn policies(objects: &Objects) -> Result<Line, Line> {
    let check = "admission policies";
    let found = read(check, &objects.policies)?;
    let bindings = read(check, &objects.bindings)?;
    let bound: BTreeSet<&str> =
        bindings.iter().filter_map(|binding| binding.spec.as_ref()?.policy_name.as_deref()).collect();
    let in_force: Vec<String> =
        found.iter().map(ResourceExt::name_any).filter(|name| bound.contains(name.as_str())).collect();
    let is_missing = |(ending, _): &(&str, &str)| !in_force.iter().any(|name| name.rsplit('.').next() == Some(*ending));
    let missing: Vec<(&str, &str)> = POLICIES.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(Line::ok(check, format!("all {} are in force", POLICIES.len())));
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let values: BTreeSet<&str> = missing.iter().map(|(_, value)| *value).collect();
    let values = values.into_iter().map(|value| format!("{value}=true")).collect::<Vec<_>>().join(",");
    let fix = format!("helm upgrade with --set {values}, unless they are left out on purpose (docs/security.md)");
    Ok(Line::warning(check, format!("not in force: {}", names.join(", ")), fix))
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use millrace_api::StreamingPipeline;

    use super::super::fixtures::{established, of};
    use super::super::line::State;
    use super::*;

    #[test]
    fn a_field_more_or_less_is_another_version() {
        let ours = established(StreamingPipeline::crd());
        let mut other = json!(ours);
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let fields = other.pointer_mut(spec).and_then(Value::as_object_mut).expect("fields of the spec");
        let kafka = fields.remove("kafka").expect("it is there");
        let older = definition("definition", Some(&of(other.clone())), &ours, Some(true));
        assert_eq!(older.state, State::Failed);
        assert!(older.found.contains("v1alpha1.spec.kafka"), "{older:?}");
        let fields = other.pointer_mut(spec).and_then(Value::as_object_mut).expect("fields of the spec");
        fields.insert("kafka".to_owned(), kafka);
        fields.insert("later".to_owned(), json!({"type": "string"}));
        let newer = definition("definition", Some(&of(other)), &ours, Some(true));
        assert_eq!(newer.state, State::Warning);
        assert!(newer.found.ends_with("it has v1alpha1.spec.later"), "{newer:?}");
    }

    #[test]
    fn the_version_is_in_the_tag() {
        assert_eq!(tag("registry.example.com:5000/millrace/operator:0.1.0@sha256:00"), Some("0.1.0"));
        assert_eq!(tag("registry.example.com:5000/millrace/operator"), None);
        assert!(is_version("v1.2.3") && is_version("0.1.0-rc1") && !is_version("main") && !is_version("e2e-12"));
    }
}
