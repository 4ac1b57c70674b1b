//! Stores that someone else runs, as written: where they are, and what the operator may create there.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// A Kafka that someone else runs.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::prefix_fixed())]
pub struct ExternalKafka {
    /// Brokers as `host:port`.
    #[schemars(length(max = 16))]
    pub bootstrap_servers: Vec<String>,

    /// What the operator may create there.
    #[serde(default)]
    pub changes: Changes,

    /// Prefix of the group and the pipeline's own topics. Default: `NAMESPACE.NAME.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub prefix: Option<String>,
}

/// A Cassandra that someone else runs.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalCassandra {
    /// Nodes as `host:port`.
    #[schemars(length(max = 16))]
    pub contact_points: Vec<String>,

    /// What the operator may create there.
    #[serde(default)]
    pub changes: Changes,
}

/// What the operator may create in a store that someone else runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Changes {
    /// Nothing.
    #[default]
    None,
    /// What the spec declares and is missing: topics, keyspace, types, tables, fields and columns.
    Additions,
}
