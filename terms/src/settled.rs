//! When a processor was done with a record, as it answers a client that follows one.

use serde::{Deserialize, Serialize};

/// Where a processor answers a [`SettledQuery`] with a [`SettledAt`], on the port of its metrics.
pub const SETTLED_PATH: &str = "/settled";

/// Which record is asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SettledQuery {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// What a processor remembers of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledAt {
    /// When all its rows, or its dead letter, were acknowledged at the latest, in milliseconds since 1970. Absent: another
    /// processor had it, it is not done, or it was too long ago.
    pub settled_at: Option<i64>,
}
