//! What a run adds to a lane: the headers of its records, and an account of what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_terms::RunCounts;

use crate::kafka::Placed;
use crate::message::Header;

/// The part of a run in its lane; clones share the account.
#[derive(Clone, Debug, Default)]
pub struct Once {
    /// Headers of each record, beside those that every record has.
    pub headers: Vec<Header>,
    account: Arc<Mutex<Account>>,
}

/// What became of a run's records so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// What was counted.
    pub counts: RunCounts,
    /// First and last offset in each partition.
    pub ranges: BTreeMap<i32, (i64, i64)>,
    /// Why the source gives no more although it is not at its end. Absent: nothing is wrong.
    pub error: Option<String>,
    /// Whether the source is at its end and everything is settled.
    pub finished: bool,
}

impl Once {
    /// Makes the part of a run whose records have these headers.
    pub fn new(headers: Vec<Header>) -> Self {
        Self { headers, account: Arc::default() }
    }

    /// Returns the account as it is now.
    pub fn account(&self) -> Account {
        self.lock().clone()
    }

    /// Returns what was counted so far.
    pub fn counts(&self) -> RunCounts {
        self.lock().counts
    }

    /// Notes why the run fails; the first reason counts.
    pub fn fail(&self, problem: &str) {
        self.lock().error.get_or_insert_with(|| problem.to_owned());
    }

    pub(super) fn note_read(&self) {
        self.lock().counts.read += 1;
    }

    pub(super) fn note_rejected(&self) {
        self.lock().counts.rejected += 1;
    }

    pub(super) fn note_produced(&self, placed: Placed, bytes: usize) {
        let Placed { partition, offset } = placed;
        let mut account = self.lock();
        account.counts.produced += 1;
        account.counts.bytes += bytes as u64;
        let range = account.ranges.entry(partition).or_insert((offset, offset));
        *range = (range.0.min(offset), range.1.max(offset));
    }

    pub(super) fn note_finished(&self) {
        self.lock().finished = true;
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
