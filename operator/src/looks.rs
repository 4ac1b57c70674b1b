//! What was seen of each pipeline's load in the last minute: rates are differences of two looks, and trends take several.
//!
//! It is a memory of this process and of nothing else: an operator that starts without it has no look yet, and decides
//! nothing by a single one. Only pipelines whose processors are scaled have any. What it knows of others is until when the
//! operator before it may have looked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use millrace_api::names::Names;
use millrace_scaling::{History, Moment};
use millrace_terms::Work;

/// The last looks at the load of one pipeline.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// Those of the last minute.
    pub history: History,
    /// Where each topic ended when that was last known.
    pub ends: BTreeMap<String, Ends>,
    /// What each processor had done when it last answered, by the name of its pod.
    pub work: BTreeMap<String, Work>,
}

/// Where the partitions of a topic ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ends {
    /// When.
    pub at: SystemTime,
    /// Offset behind the last record, by partition.
    pub offsets: BTreeMap<i32, i64>,
}

/// The last looks at the load of all pipelines; clones share them.
#[derive(Clone, Debug, Default)]
pub struct LastLooks {
    looks: Arc<Mutex<BTreeMap<Names, Looks>>>,
    /// Until when the operator before this one led. Absent: it does not matter.
    predecessor: Option<Moment>,
}

impl LastLooks {
    /// Makes those of an operator whose predecessor led until then.
    pub fn after(predecessor: Moment) -> Self {
        Self { predecessor: Some(predecessor), ..Self::default() }
    }

    /// Returns the last looks at a pipeline, and forgets them until they are kept again: one pass at a time is about it.
    pub fn take(&self, names: &Names) -> Looks {
        let first = || Looks { history: self.predecessor.map(History::after).unwrap_or_default(), ..Looks::default() };
        self.lock().remove(names).unwrap_or_else(first)
    }

    /// Keeps the last looks at a pipeline for the next pass.
    pub fn keep(&self, names: &Names, looks: &Looks) {
        self.lock().insert(names.clone(), looks.clone());
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, names: &Names) {
        self.lock().remove(names);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Names, Looks>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
