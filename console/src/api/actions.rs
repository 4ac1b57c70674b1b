//! What every action answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which plan is approved.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its hash: the plan that the viewer has read, and no other.
    pub hash: String,
}

/// What was done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Done {
    /// One sentence.
    pub message: String,
    /// Name of the object that was created or changed. `null`: none, it was a dry run.
    pub name: Option<String>,
    /// The command that does the same.
    pub kubectl: String,
    /// What `kubectl create -f -` of that command reads, as YAML. `null`: it reads nothing.
    pub manifest: Option<String>,
}
