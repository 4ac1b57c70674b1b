//! Who else may reach a store, as written.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Further clients of a store's client port, in addition to the pipeline's own pods, the operator and the console.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Peers as in a NetworkPolicy: `podSelector`, `namespaceSelector`, `ipBlock` (docs/access.md). Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::access::schema")]
    pub from: Vec<serde_json::Value>,
}
