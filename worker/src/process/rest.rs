//! When the memory that a burst has left behind is given back: once after each burst, when little was under way for a
//! while. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long little must have been under way.
const CALM: Duration = Duration::from_secs(1);

/// Looks at the road now and then.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Since when little is under way. Absent: much was when it was last looked at.
    since: Option<Instant>,
    /// Whether the memory was given back since then.
    given: bool,
}

impl Rest {
    /// Looks; returns whether memory is to be given back now.
    pub(super) fn is_due(&mut self, much_under_way: bool, now: Instant) -> bool {
        if much_under_way {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_due = !self.given && now.duration_since(since) >= CALM;
        self.given |= is_due;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_once_after_each_burst_and_never_within() {
        let mut rest = Rest::default();
        let begin = Instant::now();
        let mut looked = |seconds: f64, much| rest.is_due(much, begin + Duration::from_secs_f64(seconds));
        assert!(!looked(0.0, true));
        assert!(!looked(0.1, false));
        assert!(!looked(0.9, true), "still the same burst");
        assert!(!looked(1.0, false));
        assert!(!looked(1.9, false));
        assert!(looked(2.0, false));
        assert!(!looked(9.0, false), "once");
        assert!(!looked(10.0, true));
        assert!(!looked(10.1, false));
        assert!(looked(11.1, false), "and again after the next");
    }
}
