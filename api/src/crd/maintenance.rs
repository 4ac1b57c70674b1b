//! When the operator may restart pods of the stores that run, and which changes it may restart them for.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::schedule::utc;

/// Which changes of a store's pods the operator carries out by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum UpdatePolicy {
    /// All of them, also those that a new version of the operator brings.
    Automatic,
    /// Those of the store's spec. What a new version of the operator brings waits for the next of them, or for approval.
    #[default]
    OnChange,
    /// None: each plan waits for approval.
    Manual,
}

/// A time in which pods of the stores may be restarted.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// When it opens, as a cron expression of five fields: minute, hour, day of month, month, day of week.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::cron())]
    pub schedule: String,

    /// How long it stays open. A restart that has begun is finished.
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::duration(), validation = rules::duration_between("10m", "168h"))]
    pub duration: String,

    /// IANA time zone of the schedule.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::time_zone())]
    pub time_zone: String,
}
