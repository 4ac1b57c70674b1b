//! Waiting in tests: for what comes by itself, and not for ever.

use std::time::{Duration, Instant};

/// Longest that anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
