//! How many rows may be under way at once: more while Cassandra answers soon, fewer when it is slow or refuses. Pure.
//!
//! Additive increase, multiplicative decrease, as in TCP: a full window of soon answers adds one request's rows, a late
//! answer takes a tenth, a failure half. Neither shrinks the window twice for what was sent before the last time. Lateness
//! alone leaves a few requests: on a busy machine every answer is late, and one request at a time would only add to it.

use std::time::Duration;

use tokio::time::Instant;

/// An answer later than this says that rows queue up at the server: more of them would only wait longer.
const LATE: Duration = Duration::from_millis(100);

/// Requests that a window has at first, and that lateness leaves.
const FEW: f64 = 4.0;

/// The window in rows.
#[derive(Debug)]
pub(super) struct Window {
    rows: f64,
    /// Rows of one full request: the least that a window holds.
    request: f64,
    most: f64,
    /// When it was last made smaller.
    shrunk: Option<Instant>,
}

impl Window {
    /// Makes a window of at most `most` rows, where a full request has `request` of them.
    pub(super) fn new(most: usize, request: usize) -> Self {
        let most = most.max(1) as f64;
        let request = (request as f64).min(most);
        Self { rows: (request * FEW).min(most), request, most, shrunk: None }
    }

    /// Returns how many rows may be under way.
    pub(super) fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Notes that a request which was sent at `sent` was answered now, and whether it failed.
    pub(super) fn answered(&mut self, rows: usize, sent: Instant, now: Instant, failed: bool) {
        let late = now.duration_since(sent) > LATE;
        if !failed && !late {
            self.rows = (self.rows + self.request * rows as f64 / self.rows).min(self.most);
        } else if self.shrunk.is_none_or(|shrunk| sent >= shrunk) {
            let (kept, least) = if failed { (0.5, self.request) } else { (0.9, self.request * FEW) };
            self.rows = (self.rows * kept).max(least.min(self.rows));
            self.shrunk = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    #[test]
    fn grows_by_a_request_for_each_full_window_up_to_the_most() {
        let mut window = Window::new(256, 32);
        let sent = Instant::now();
        assert_eq!(window.rows(), 128);
        for _ in 0..4 {
            window.answered(32, sent, sent + SOON, false);
        }
        assert!((155..=160).contains(&window.rows()), "{}", window.rows());
        for _ in 0..1000 {
            window.answered(32, sent, sent + SOON, false);
        }
        assert_eq!(window.rows(), 256);
    }

    #[test]
    fn halves_once_for_all_that_failed_together() {
        let mut window = Window::new(1024, 32);
        let sent = Instant::now();
        for _ in 0..4 {
            window.answered(32, sent, sent + SOON, true);
        }
        assert_eq!(window.rows(), 64);
        for step in 1..10 {
            let sent = sent + SOON * (2 * step);
            window.answered(32, sent, sent + SOON, true);
        }
        assert_eq!(window.rows(), 32, "one request always fits");
    }

    #[test]
    fn yields_a_little_to_late_answers() {
        let mut window = Window::new(1024, 32);
        let sent = Instant::now();
        for _ in 0..10_000 {
            window.answered(32, sent, sent + SOON, false);
        }
        window.answered(32, sent, sent + LATE * 2, false);
        assert_eq!(window.rows(), 921);
        for step in 1..100 {
            let sent = sent + LATE * (3 * step);
            window.answered(32, sent, sent + LATE * 2, false);
        }
        assert_eq!(window.rows(), 128, "lateness leaves a few requests");
        let sent = sent + LATE * 1000;
        window.answered(32, sent, sent + SOON, true);
        window.answered(32, sent + LATE, sent + LATE * 3, false);
        assert_eq!(window.rows(), 64, "a late answer takes nothing from what a failure left");
    }

    #[test]
    fn a_window_below_one_request_holds() {
        let mut window = Window::new(2, 32);
        let sent = Instant::now();
        window.answered(1, sent, sent + SOON, true);
        assert_eq!(window.rows(), 2);
    }
}
