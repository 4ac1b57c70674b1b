//! Compute resources and storage, as every component writes them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// What a container asks for and may use.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::limit_covers_request("cpu"), validation = rules::limit_covers_request("memory"))]
pub struct Resources {
    /// What the scheduler sets aside. Absent: the component's default. A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
    /// The most that a container may use. Absent: no CPU limit, and memory as requested. A store's Java heap is half of
    /// its memory limit. A change restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
}

/// Amounts of CPU and memory.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    /// CPUs, such as 500m or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub cpu: Option<String>,
    /// Bytes of memory, such as 2Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::bytes())]
    pub memory: Option<String>,
}

/// One volume per pod.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::presence_fixed("className", "the storage class of existing volumes", "create a new pipeline"))]
pub struct Storage {
    /// Size of each pod's volume, such as 5Gi. It can neither shrink nor, in this version, grow.
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = rules::bytes(),
        validation = rules::bytes_between("16Mi", "64Ti"),
        validation = rules::storage_does_not_shrink(),
        validation = rules::storage_does_not_grow()
    )]
    pub size: String,
    /// StorageClass of the volumes. Absent: the cluster's default class. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::immutable("the storage class of existing volumes", "create a new pipeline"))]
    pub class_name: Option<String>,
}
