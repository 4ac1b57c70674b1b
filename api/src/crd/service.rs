//! The Services that clients reach a pipeline by, as written. Those that give pods their names are the operator's alone.

use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The Service that leads clients to the brokers. Its address is the cluster's own: brokers advertise themselves by it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientService {
    /// Annotations beside the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = rules::annotations())]
    pub annotations: BTreeMap<String, String>,
}

/// The Service that records are pushed to.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushService {
    /// How it is reached. From outside of the cluster, pushFrom.addresses must let the clients in, too.
    #[serde(rename = "type", default)]
    pub service_type: ServiceType,

    /// Annotations beside the operator's, such as those that a cloud's load balancer is set by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = rules::annotations())]
    pub annotations: BTreeMap<String, String>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// From within the cluster.
    #[default]
    ClusterIP,
    /// By a port of every node, too.
    NodePort,
    /// By an address of the cloud's load balancer, too.
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
