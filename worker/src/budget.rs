//! The memory bound: bytes of records between two stations, counted from hand-over to acknowledgement.
//!
//! [`Budget`] counts and never blocks by itself; who brings records in asks [`Budget::is_full`] first and may wait
//! for room. One record may pass the limit, so that a record larger than the limit can pass at all.

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// A shared count of bytes with a limit.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    used: Mutex<u64>,
    limit: u64,
    /// Wakes the thread that waits, on the consuming side.
    room: Condvar,
    /// Wakes the tasks that wait, on the producing side.
    notify: Notify,
}

impl Budget {
    /// Makes a budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        let shared = Shared { used: Mutex::new(0), limit, room: Condvar::new(), notify: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the limit in bytes.
    pub fn limit(&self) -> u64 {
        self.shared.limit
    }

    /// Returns the bytes in use.
    pub fn used(&self) -> u64 {
        *self.lock()
    }

    /// Returns whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.used() >= self.shared.limit
    }

    /// Returns whether at most half of the limit is in use: where a paused consumer resumes.
    pub fn is_low(&self) -> bool {
        self.used() <= self.shared.limit / 2
    }

    /// Takes `bytes`, over the limit if need be.
    pub fn take(&self, bytes: u64) -> Reservation {
        *self.lock() += bytes;
        Reservation { budget: self.clone(), bytes }
    }

    /// Takes `bytes` if they fit, or if nothing else is in use.
    pub fn try_take(&self, bytes: u64) -> Option<Reservation> {
        let mut used = self.lock();
        if *used > 0 && *used + bytes > self.shared.limit {
            return None;
        }
        *used += bytes;
        drop(used);
        Some(Reservation { budget: self.clone(), bytes })
    }

    /// Blocks the thread until there is room, at most for `timeout`; returns whether there is.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let used = self.lock();
        let limit = self.shared.limit;
        let waited = self.shared.room.wait_timeout_while(used, timeout, |used| *used >= limit);
        let (used, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *used < limit
    }

    /// Waits until `bytes` fit, or nothing else is in use, and takes them. Cancel-safe.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        loop {
            // Registered before looking, so that bytes given back in between are noticed.
            let mut released = pin!(self.shared.notify.notified());
            released.as_mut().enable();
            if let Some(reservation) = self.try_take(bytes) {
                return reservation;
            }
            released.await;
        }
    }

    fn give_back(&self, bytes: u64) {
        *self.lock() -= bytes;
        self.shared.room.notify_one();
        self.shared.notify.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.shared.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes taken from a budget; dropping gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Reservation {
    /// Returns how many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` more if they fit; returns whether they did.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        let mut used = self.budget.lock();
        let fits = *used + bytes <= self.budget.shared.limit;
        if fits {
            *used += bytes;
            self.bytes += bytes;
        }
        fits
    }

    /// Gives `bytes` of it back.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.give_back(bytes);
    }

    /// Takes `bytes` more, over the limit if need be.
    pub fn grow(&mut self, bytes: u64) {
        *self.budget.lock() += bytes;
        self.bytes += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_bytes_back_when_reservations_are_dropped() {
        let budget = Budget::new(100);
        let first = budget.take(60);
        assert!(!budget.is_full() && !budget.is_low());
        let second = budget.take(60);
        assert!(budget.is_full());
        drop(first);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn lets_one_record_larger_than_the_limit_pass_alone() {
        let budget = Budget::new(10);
        let large = budget.try_take(50).expect("nothing else is in use");
        assert!(budget.try_take(1).is_none());
        drop(large);
        assert!(budget.try_take(1).is_some());
    }

    #[test]
    fn a_reservation_grows_only_within_the_limit_and_gives_back_what_it_has() {
        let budget = Budget::new(100);
        let other = budget.take(30);
        let mut growing = budget.try_take(40).expect("there is room");
        assert!(growing.try_grow(30) && !growing.try_grow(1));
        assert_eq!((growing.bytes(), budget.used()), (70, 100));
        growing.shrink(50);
        assert_eq!((growing.bytes(), budget.used()), (20, 50));
        growing.shrink(1_000);
        drop((growing, other));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn reserves_as_soon_as_there_is_room() {
        let budget = Budget::new(10);
        let held = budget.take(10);
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(5).await.bytes }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(held);
        assert_eq!(waiter.await.expect("the waiter does not panic"), 5);
    }

    #[test]
    fn waits_for_room_until_the_timeout() {
        let budget = Budget::new(10);
        let held = budget.take(10);
        assert!(!budget.wait_for_room(Duration::from_millis(5)));
        let waiter = std::thread::spawn({
            let budget = budget.clone();
            move || budget.wait_for_room(Duration::from_secs(30))
        });
        drop(held);
        assert!(waiter.join().expect("the waiter does not panic"));
    }
}
