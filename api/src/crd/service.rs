//! The Services by which clients reach a pipeline, as written. Those that give pods their names are the operator's alone.

use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The Service that leads clients to the brokers, within the cluster only.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientService {
    /// Annotations to add to the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = rules::annotations())]
    pub annotations: BTreeMap<String, String>,
}

/// The Service that records are pushed to.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushService {
    /// Type of the Service. pushFrom.addresses must also allow clients from outside the cluster.
    #[serde(rename = "type", default)]
    pub service_type: ServiceType,

    /// Annotations to add to the operator's, such as those that configure a cloud's load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = rules::annotations())]
    pub annotations: BTreeMap<String, String>,
}

/// Type of a Service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// Reached from within the cluster.
    #[default]
    ClusterIP,
    /// Also reached by a port of every node.
    NodePort,
    /// Also reached by an address of the cloud's load balancer.
    LoadBalancer,
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        })
    }
}
