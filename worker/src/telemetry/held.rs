//! How much of the buffer requests held, over time: what a producer that is pushed to is scaled by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that are held, and what that adds up to over time.
#[derive(Debug)]
pub(super) struct Level {
    filled: Mutex<Filled>,
}

#[derive(Debug)]
struct Filled {
    bytes: u64,
    /// Since when there are so many.
    since: Instant,
    /// Bytes times seconds, until then.
    spent: f64,
}

impl Filled {
    fn spent_by(&self, now: Instant) -> f64 {
        self.spent + self.bytes as f64 * now.saturating_duration_since(self.since).as_secs_f64()
    }
}

impl Level {
    #[expect(clippy::disallowed_methods, reason = "for how long bytes are held is the clock's")]
    pub(super) fn new() -> Self {
        Self { filled: Mutex::new(Filled { bytes: 0, since: Instant::now(), spent: 0.0 }) }
    }

    /// Returns bytes times seconds until now.
    #[expect(clippy::disallowed_methods, reason = "for how long bytes are held is the clock's")]
    pub(super) fn read(&self) -> f64 {
        self.lock().spent_by(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "for how long bytes are held is the clock's")]
    fn replace(&self, before: u64, after: u64) {
        let mut filled = self.lock();
        let now = Instant::now();
        filled.spent = filled.spent_by(now);
        filled.since = now;
        filled.bytes = filled.bytes.saturating_sub(before) + after;
    }

    fn lock(&self) -> MutexGuard<'_, Filled> {
        self.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a request holds, until this is dropped.
#[derive(Debug)]
pub struct Held {
    level: Arc<Level>,
    bytes: u64,
}

impl Held {
    pub(super) fn new(level: &Arc<Level>, bytes: u64) -> Self {
        level.replace(0, bytes);
        Self { level: Arc::clone(level), bytes }
    }

    /// Returns how many it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds so many from now on.
    pub fn resize(&mut self, bytes: u64) {
        self.level.replace(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.level.replace(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bytes_count_for_as_long_as_they_are_held() {
        let level = Arc::new(Level::new());
        assert!(level.read() <= 0.0, "nothing is held");
        let mut held = Held::new(&level, 1_000_000);
        std::thread::sleep(Duration::from_millis(20));
        held.resize(0);
        let spent = level.read();
        assert!(spent >= 20_000.0, "a megabyte for 20 ms or more is {spent}");
        // The control: what holds nothing, and what is gone, adds nothing.
        std::thread::sleep(Duration::from_millis(5));
        assert!(level.read() <= spent);
        held.resize(7);
        drop(held);
        let spent = level.read();
        std::thread::sleep(Duration::from_millis(5));
        assert!(level.read() <= spent);
    }
}
