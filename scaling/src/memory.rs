//! What a decision needs of earlier ones. It stands in the status, so that another operator decides alike: it is small,
//! and it changes only when something has changed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observation::Moment;

/// What is remembered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Memory {
    /// The number of processors that was decided last. Another one now was set by someone else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Records a second that a processor takes when it is busy all the time. Absent: none was busy enough yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
    /// What the input would have needed, as far back as it matters: each is lower than the one before, and all but the
    /// last have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peaks: Vec<Peak>,
    /// The last change of the number of processors. Absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Change>,
}

/// A number of processors that the input needed for a while.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Peak {
    /// How many.
    pub replicas: u32,
    /// When they were no longer needed. Absent: they still are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// One change of the number of processors.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Change {
    /// When.
    pub at: Moment,
    /// Processors before.
    pub from: u32,
    /// Processors after.
    pub to: u32,
    /// Records a second that all processors settled before.
    pub rate: f64,
}

/// By how much a capacity must differ from the remembered one to be remembered in its place: measurements tremble, and
/// each new value is a write of the status.
const CAPACITY_CHANGE: f64 = 0.05;

impl Memory {
    /// Notes what the input needs now. The last needs count for `window` after they have ended.
    pub(crate) fn note_need(&mut self, replicas: u32, now: Moment, window: Duration) {
        match self.peaks.last_mut() {
            Some(last) if last.until.is_none() && last.replicas == replicas => {}
            Some(last) => {
                last.until.get_or_insert(now);
                // What was lower counts for nothing any more: this is at least as much, and lasts longer.
                self.peaks.retain(|peak| peak.replicas > replicas);
                self.peaks.push(Peak { replicas, until: None });
            }
            None => self.peaks.push(Peak { replicas, until: None }),
        }
        self.peaks.retain(|peak| peak.until.is_none_or(|until| now.since(until) < window));
    }

    /// Returns the most processors that the input needed within the window.
    pub(crate) fn most_needed(&self) -> Option<u32> {
        self.peaks.first().map(|peak| peak.replicas)
    }

    /// Returns whether the most that was needed will be less within this time.
    pub(crate) fn falls_within(&self, soon: Duration, now: Moment, window: Duration) -> bool {
        let until = self.peaks.first().and_then(|peak| peak.until);
        until.is_some_and(|until| now.since(until) + soon >= window)
    }

    /// Starts anew where someone else has set the number of processors, or at the beginning: what was needed before is
    /// unknown, so all that run count as needed until now.
    pub(crate) fn notice(&mut self, running: u32, now: Moment) {
        if self.replicas != Some(running) || self.peaks.is_empty() {
            self.peaks = vec![Peak { replicas: running, until: Some(now) }];
            self.replicas = Some(running);
        }
    }

    /// Counts all that run as needed until the end of a gap in the observations: what was needed in it is unknown.
    pub(crate) fn note_gap(&mut self, running: u32, ended: Moment) {
        let counts = |peak: &Peak| peak.replicas >= running && peak.until.is_none_or(|until| until >= ended);
        if self.peaks.iter().any(counts) {
            return;
        }
        // What was lower and ended before counts for nothing any more, as in `note_need`.
        self.peaks.retain(|peak| peak.replicas > running || peak.until.is_none_or(|until| until > ended));
        let place = self.peaks.iter().take_while(|peak| peak.replicas > running).count();
        self.peaks.insert(place, Peak { replicas: running, until: Some(ended) });
    }

    /// Remembers what a processor can do, if that is news.
    pub(crate) fn note_capacity(&mut self, measured: f64) {
        let is_news = self.capacity.is_none_or(|known| (measured / known - 1.0).abs() > CAPACITY_CHANGE);
        if is_news {
            self.capacity = Some(measured);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    /// Against a list of every need there was.
    #[test]
    fn the_most_needed_is_the_largest_need_of_the_window() {
        let needs = [3, 1, 1, 4, 1, 5, 5, 2, 6, 5, 3, 5, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        let mut memory = Memory::default();
        for (pass, need) in needs.into_iter().enumerate() {
            let now = pass as u64 * 60;
            memory.note_need(need, Moment(now), WINDOW);
            // A need lasts until the pass that finds another one.
            let oldest = pass.saturating_sub(5);
            let largest = needs[oldest..=pass].iter().copied().max();
            assert_eq!(memory.most_needed(), largest, "pass {pass}: {memory:?}");
        }
    }

    #[test]
    fn a_constant_need_changes_nothing() {
        let mut memory = Memory::default();
        memory.notice(4, Moment(0));
        memory.note_need(4, Moment(0), WINDOW);
        let before = memory.clone();
        for now in 1..1000 {
            memory.notice(4, Moment(now));
            memory.note_need(4, Moment(now), WINDOW);
            memory.note_capacity(1000.0);
            memory.note_capacity(1040.0);
        }
        assert_eq!(memory, Memory { capacity: Some(1000.0), ..before });
    }

    #[test]
    fn all_that_run_count_as_needed_until_the_end_of_a_gap() {
        let peak = |replicas, until: Option<u64>| Peak { replicas, until: until.map(Moment) };
        let after = |peaks: &[Peak]| {
            let mut memory = Memory { replicas: Some(4), peaks: peaks.to_vec(), ..Memory::default() };
            memory.note_gap(4, Moment(1000));
            let once = memory.clone();
            memory.note_gap(4, Moment(1000));
            assert_eq!(memory, once, "noted again it changes nothing");
            memory.peaks
        };
        let gap = peak(4, Some(1000));
        assert_eq!(after(&[]), [gap]);
        assert_eq!(after(&[peak(4, Some(200)), peak(2, None)]), [gap, peak(2, None)]);
        assert_eq!(
            after(&[peak(6, Some(900)), peak(3, Some(950)), peak(2, None)]),
            [peak(6, Some(900)), gap, peak(2, None)]
        );
        assert_eq!(after(&[gap, peak(3, Some(1010)), peak(2, None)]), [gap, peak(3, Some(1010)), peak(2, None)]);
        // The control: these are needed anyway.
        assert_eq!(after(&[peak(4, None)]), [peak(4, None)]);
        assert_eq!(after(&[peak(5, Some(1005)), peak(1, None)]), [peak(5, Some(1005)), peak(1, None)]);
    }

    #[test]
    fn what_ran_before_counts_as_needed_until_now() {
        let mut memory = Memory::default();
        memory.notice(8, Moment(1000));
        memory.note_need(2, Moment(1000), WINDOW);
        assert_eq!(memory.most_needed(), Some(8));
        memory.note_need(2, Moment(1299), WINDOW);
        assert_eq!(memory.most_needed(), Some(8));
        memory.note_need(2, Moment(1300), WINDOW);
        assert_eq!(memory.most_needed(), Some(2));
    }
}
