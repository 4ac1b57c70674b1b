//! What the tests of several commands begin with.

use serde_json::{Value, json};

/// Returns a condition as a status has it.
pub(super) fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 4,
    })
}
