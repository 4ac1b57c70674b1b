//! Rate limits: token buckets of sessions, and of addresses that log in. Clocks are passed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How much may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests at once.
    pub burst: f64,
    /// Requests a second in the long run.
    pub per_second: f64,
}

/// Requests of a session: a page asks for several things at once.
const REQUESTS: Rate = Rate { burst: 100.0, per_second: 20.0 };
/// Searches of a session in topics and tables, which cost the stores something.
const SEARCHES: Rate = Rate { burst: 20.0, per_second: 3.0 };
/// Logins of an address. Behind a port-forward all have the same.
pub const LOGINS: Rate = Rate { burst: 20.0, per_second: 1.0 };

/// Buckets that are kept of keys; the fullest go first.
const MOST_KEYS: usize = 10_000;

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    left: f64,
    filled: Option<Instant>,
}

impl Bucket {
    /// Makes a full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, left: rate.burst, filled: None }
    }

    /// Makes the bucket of a session's requests.
    pub fn of_requests() -> Self {
        Self::new(REQUESTS)
    }

    /// Makes the bucket of a session's searches.
    pub fn of_searches() -> Self {
        Self::new(SEARCHES)
    }

    /// Takes one request out, or says how long to wait for it.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / self.rate.per_second))
    }

    fn fill(&mut self, now: Instant) {
        let passed = self.filled.map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        self.left = (self.left + passed.as_secs_f64() * self.rate.per_second).min(self.rate.burst);
        self.filled = Some(now);
    }

    fn is_full(&self) -> bool {
        self.left >= self.rate.burst
    }
}

/// Buckets by key, bounded.
pub struct Buckets<K> {
    rate: Rate,
    held: Mutex<HashMap<K, Bucket>>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// Makes an empty store.
    pub fn new(rate: Rate) -> Self {
        Self { rate, held: Mutex::default() }
    }

    /// Takes one request of a key, or says how long to wait for it.
    pub fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if held.len() >= MOST_KEYS && !held.contains_key(key) {
            // A full bucket says nothing that a new one does not.
            held.retain(|_, bucket| {
                bucket.fill(now);
                !bucket.is_full()
            });
            if held.len() >= MOST_KEYS {
                return Err(Duration::from_secs(1));
            }
        }
        held.entry(key.clone()).or_insert_with(|| Bucket::new(self.rate)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate { burst: 3.0, per_second: 2.0 };

    #[test]
    fn lets_a_burst_through_and_then_the_rate() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(RATE);
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(taken(&mut bucket, begin), 3);
        assert_eq!(bucket.take(begin), Err(Duration::from_millis(500)));
        assert_eq!(taken(&mut bucket, begin + SECOND), 2);
        // However long it rests, it holds no more than the burst.
        assert_eq!(taken(&mut bucket, begin + SECOND * 100), 3);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let begin = Instant::now() + SECOND * 10;
        let mut bucket = Bucket::new(RATE);
        while bucket.take(begin).is_ok() {}
        assert!(bucket.take(begin - SECOND * 5).is_err());
    }

    #[test]
    fn one_key_does_not_use_up_another_s() {
        let begin = Instant::now();
        let buckets = Buckets::new(RATE);
        while buckets.take(&"a", begin).is_ok() {}
        assert!(buckets.take(&"b", begin).is_ok());
        assert!(buckets.take(&"a", begin).is_err());
    }

    #[test]
    fn keys_are_bounded_and_rested_ones_make_room() {
        let begin = Instant::now();
        let buckets = Buckets::new(RATE);
        for key in 0..MOST_KEYS {
            assert!(buckets.take(&key, begin).is_ok());
        }
        assert!(buckets.take(&MOST_KEYS, begin).is_err());
        assert!(buckets.take(&MOST_KEYS, begin + SECOND * 10).is_ok());
    }
}
