//! Logging in, and who the viewer is.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;

/// What somebody logs in with.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A Kubernetes bearer token of the viewer. It stays in the console's memory, for as long as the session.
    pub token: String,
}

/// Who is logged in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// User name, as Kubernetes has it.
    pub user: String,
    /// Groups, as Kubernetes has them.
    pub groups: Vec<String>,
    /// Value of the header `x-millrace-csrf` of whatever changes something.
    pub csrf: String,
    /// When the session ends if nothing is asked until then.
    #[schemars(with = "Moment")]
    pub idle_end: DateTime<Utc>,
    /// When the session ends in any case.
    #[schemars(with = "Moment")]
    pub end: DateTime<Utc>,
    /// Version of the console.
    pub version: String,
}
