//! Objects of a cluster that the tests of several checks begin with.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster::DEFAULT_CLASS;

pub(super) fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the value has the form")
}

pub(super) fn version(major: &str, minor: &str) -> Info {
    Info {
        major: major.to_owned(),
        minor: minor.to_owned(),
        git_version: format!("v{major}.{minor}.0"),
        ..Info::default()
    }
}

pub(super) fn node(cpu: &str, memory: &str, spec: Value) -> Node {
    of(json!({
        "metadata": {"name": "n"}, "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
}

pub(super) fn class(name: &str, is_default: bool, grows: Option<bool>) -> StorageClass {
    of(json!({
        "metadata": {"name": name, "annotations": {DEFAULT_CLASS: is_default.to_string()}},
        "provisioner": "example.com/disk", "allowVolumeExpansion": grows,
    }))
}

pub(super) fn operator(image: &str, available: i32) -> Deployment {
    of(json!({
        "metadata": {"name": "millrace", "namespace": "millrace-system"},
        "spec": {
            "replicas": 2, "selector": {},
            "template": {"spec": {"containers": [{"name": "operator", "image": image}]}},
        },
        "status": {"availableReplicas": available},
    }))
}

pub(super) fn established(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    definition.status = Some(of(json!({"conditions": [{"type": "Established", "status": "True"}]})));
    definition
}
