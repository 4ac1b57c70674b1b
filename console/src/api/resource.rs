//! The custom resource: as it is written, and how that differs from what runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pipeline::{Component, Condition};

/// The custom resource.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The whole resource as YAML, without managed fields.
    pub yaml: String,
    /// Its spec.
    pub spec: serde_json::Value,
    /// Its generation.
    pub generation: i64,
    /// The generation that the operator speaks of. `null`: it has not said yet.
    pub observed_generation: Option<i64>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Where what runs is not what the spec says. Empty: nowhere that could be compared.
    pub differences: Vec<Difference>,
    /// What could not be compared, with its cause. Empty: everything was.
    pub unknown: Vec<String>,
    /// What the operator is about to do, or waits to do, in order.
    pub planned_actions: Vec<String>,
    /// What is wrong with the spec beyond what admission sees.
    pub rejected: Vec<String>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// A difference between the spec and what runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// The component.
    pub component: Component,
    /// Path of the field in the resource.
    pub field: String,
    /// What the spec says.
    pub wanted: String,
    /// What runs.
    pub running: String,
}
