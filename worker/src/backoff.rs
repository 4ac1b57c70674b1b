//! Waiting between attempts: exponential, capped, with full jitter, so that many waiters do not return at once.

use std::time::Duration;

use rand::Rng;

/// How long to wait after each failure in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Makes a backoff that grows from `base` to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts one more failure and returns how long to wait: anything up to the doubled bound, at least a tenth of it.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.base.saturating_mul(1 << self.failures.min(20)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns how many failures there were in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for failure in 0..64 {
            let bound = Duration::from_millis(100 << failure.min(20)).min(Duration::from_secs(30));
            let delay = backoff.next_delay();
            assert!(delay <= bound && delay >= bound / 11, "{delay:?} of {bound:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
