//! What this process wrote of each object and how the API server answered, so that a value which others keep changing is
//! set back once and not for ever.
//!
//! It is a memory of our own writes and of nothing else: an operator that starts without it writes each object that
//! differs once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use millrace_api::names::Names;

use crate::difference::Difference;

/// How long after it was set back a value that differs again is left alone; twice as long each time.
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(10);
/// The longest of these waits.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// An object among a pipeline's.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The last writes of a pipeline's objects.
pub type Writes = BTreeMap<ObjectKey, Written>;

/// The last write of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Checksum of the object as it was desired.
    pub checksum: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// What the server's own answer had otherwise: its normalisation, or an admission webhook's will.
    pub kept: Vec<Difference>,
    /// Paths of the values that were set back since the object is desired so.
    pub set_back: BTreeSet<String>,
    /// How often any was.
    pub times: u32,
}

impl Written {
    /// Returns the account of a write after that of the one before it.
    pub fn after(
        before: Option<&Self>,
        checksum: String,
        at: DateTime<Utc>,
        kept: Vec<Difference>,
        set_back: &[Difference],
    ) -> Self {
        let before = before.filter(|before| before.checksum == checksum);
        let mut paths = before.map(|before| before.set_back.clone()).unwrap_or_default();
        paths.extend(set_back.iter().map(|difference| difference.path.clone()));
        let times = before.map_or(0, |before| before.times) + u32::from(!set_back.is_empty());
        Self { checksum, at, kept, set_back: paths, times }
    }

    /// Returns whether the server itself answered with this value.
    pub fn keeps(&self, difference: &Difference) -> bool {
        self.kept.iter().any(|kept| kept.path == difference.path && kept.found == difference.found)
    }

    /// Returns whether a value was set back so recently that another write would only be the next of many.
    pub fn is_contested(&self, difference: &Difference, now: DateTime<Utc>) -> bool {
        let doublings = self.times.saturating_sub(1).min(10);
        let wait = (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT);
        self.set_back.contains(&difference.path) && now < self.at + wait
    }
}

/// The last writes of all pipelines' objects; clones write into the same.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<Names, Writes>>>);

impl Ledger {
    /// Returns the last writes of a pipeline's objects.
    pub fn of(&self, names: &Names) -> Writes {
        self.lock().get(names).cloned().unwrap_or_default()
    }

    /// Notes a write.
    pub fn note(&self, names: &Names, object: ObjectKey, written: Written) {
        self.lock().entry(names.clone()).or_default().insert(object, written);
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, names: &Names) {
        self.lock().remove(names);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Names, Writes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(path: &str) -> Difference {
        Difference { path: path.to_owned(), found: json!(1), wanted: json!(2) }
    }

    #[test]
    fn a_value_is_left_alone_for_longer_each_time_and_anew_after_a_changed_spec() {
        let (begin, of_others) = (DateTime::UNIX_EPOCH, [difference("spec.replicas")]);
        let mut written = Written::after(None, "one".to_owned(), begin, Vec::new(), &[]);
        assert!(!written.is_contested(&of_others[0], begin), "nothing was set back yet");
        for minutes in [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440] {
            written = Written::after(Some(&written), "one".to_owned(), begin, Vec::new(), &of_others);
            let at = |minutes| begin + TimeDelta::minutes(minutes);
            assert!(written.is_contested(&of_others[0], at(minutes - 1)), "{minutes}");
            assert!(!written.is_contested(&of_others[0], at(minutes)), "{minutes}");
        }
        assert!(!written.is_contested(&difference("spec.other"), begin), "another value was not set back");
        let changed = Written::after(Some(&written), "two".to_owned(), begin, Vec::new(), &[]);
        assert!(!changed.is_contested(&of_others[0], begin));
    }
}
