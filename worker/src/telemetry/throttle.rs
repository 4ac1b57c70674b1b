//! A limit on log lines of one kind: a few at once, then one in a while with the number of those passed over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may come at once.
const BURST: u32 = 5;

/// How often the burst is granted again.
const WINDOW: Duration = Duration::from_secs(10);

/// The limit of one kind of line.
#[derive(Default)]
pub(super) struct Throttle {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    window: Option<Instant>,
    granted: u32,
    passed_over: u64,
}

impl Throttle {
    /// Returns how many lines were passed over and not yet told of, once their window has ended.
    #[expect(clippy::disallowed_methods, reason = "lines of the log are throttled by the time they are written")]
    pub(super) fn overdue(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = state.window.is_some_and(|window| window.elapsed() >= WINDOW);
        (is_over && state.passed_over > 0).then(|| std::mem::take(&mut state.passed_over))
    }

    /// Returns how many lines were passed over since the last one, if one may be written now.
    #[expect(clippy::disallowed_methods, reason = "lines of the log are throttled by the time they are written")]
    pub(super) fn permit(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.window.is_none_or(|window| now.duration_since(window) >= WINDOW) {
            state.window = Some(now);
            state.granted = 0;
        }
        if state.granted >= BURST {
            state.passed_over += 1;
            return None;
        }
        state.granted += 1;
        Some(std::mem::take(&mut state.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_pass_and_counts_the_rest() {
        let throttle = Throttle::default();
        let granted = (0..100).filter(|_| throttle.permit().is_some()).count();
        assert_eq!((granted, throttle.overdue()), (BURST as usize, None));
        throttle.state.lock().expect("not poisoned").window = Instant::now().checked_sub(WINDOW);
        assert_eq!(throttle.permit(), Some(95));
        assert_eq!(throttle.overdue(), None, "each is told of once");
        assert_eq!((0..100).filter(|_| throttle.permit().is_some()).count(), 4);
        throttle.state.lock().expect("not poisoned").window = Instant::now().checked_sub(WINDOW);
        assert_eq!((throttle.overdue(), throttle.overdue()), (Some(96), None));
    }
}
