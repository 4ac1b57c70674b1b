//! When the operator may restart running pods of the stores, and for which changes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::schedule::utc;

/// Which changes of a store's pods the operator carries out without approval.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum UpdatePolicy {
    /// All changes, including those of a new version of the operator.
    Automatic,
    /// Changes of the store's spec. Those of a new version of the operator wait for the next one, or for approval.
    #[default]
    OnChange,
    /// None: each plan waits for approval.
    Manual,
}

/// A time when pods of the stores may be restarted.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// When it opens, as a cron expression of five fields: minute, hour, day of month, month, day of week.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::cron())]
    pub schedule: String,

    /// How long it stays open. A restart in progress is completed.
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("10m", "168h"))]
    pub duration: String,

    /// IANA time zone of the schedule.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::time_zone())]
    pub time_zone: String,
}
