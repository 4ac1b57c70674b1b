//! When to ask again: a token bucket for smooth rates. Pure but for the clock that the caller reads.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: at most `rate` a second, in steps as even as the caller's own.
#[derive(Debug)]
pub(super) struct Pace {
    /// Seconds that one unit takes.
    unit: f64,
    /// When the units given out so far are used up.
    free_at: Instant,
    /// How far the bucket may fall behind the clock and catch up afterwards.
    slack: Duration,
}

impl Pace {
    /// Starts a bucket of `rate` units a second that may catch up for `slack`.
    pub(super) fn new(rate: f64, slack: Duration, now: Instant) -> Self {
        Self { unit: 1.0 / rate, free_at: now, slack }
    }

    /// Takes `units` and returns when they may be used.
    pub(super) fn take(&mut self, units: u64, now: Instant) -> Instant {
        let start = self.free_at.max(now.checked_sub(self.slack).unwrap_or(now));
        self.free_at = start + Duration::from_secs_f64(self.unit * units as f64);
        start.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_units_evenly_and_does_not_catch_up_more_than_the_slack() {
        let start = Instant::now();
        let mut pace = Pace::new(10.0, Duration::from_millis(200), start);
        assert_eq!(pace.take(1, start), start);
        assert_eq!(pace.take(1, start), start + Duration::from_millis(100));
        assert_eq!(pace.take(1, start), start + Duration::from_millis(200));
        let late = start + Duration::from_secs(60);
        let times: Vec<_> = (0..4).map(|_| pace.take(1, late)).collect();
        assert_eq!(times, [late, late, late, late + Duration::from_millis(100)]);
    }
}
