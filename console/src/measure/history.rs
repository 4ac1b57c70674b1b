//! The last hour of every series, in bounded memory.
//!
//! A series is a ring of [`SAMPLES`] numbers of 4 bytes: 2,880 bytes. There are at most [`MOST_SERIES`] of all pipelines
//! together: 11.8 MB. A pipeline has its times besides, 5,760 bytes. A series beyond that is left out, and the pipeline
//! says so.

use std::collections::{BTreeMap, HashMap, VecDeque};

use millrace_api::names::Names;

use crate::api::history::SeriesKey;

/// Seconds from one sample to the next.
pub const STEP_SECONDS: u32 = 5;
/// Samples that are kept: one hour.
pub const SAMPLES: usize = 3_600 / STEP_SECONDS as usize;
/// Series that are kept, of all pipelines together.
pub const MOST_SERIES: usize = 4_096;
/// Samples of which a rate "right now" is the mean: one minute.
pub const RECENT: usize = 60 / STEP_SECONDS as usize;

/// One measure over time; unknown is not a number.
#[derive(Clone, Debug, Default)]
struct Ring {
    values: VecDeque<f32>,
}

impl Ring {
    /// Makes a ring that knows nothing of `samples` samples.
    fn unknown(samples: usize) -> Self {
        let mut values = VecDeque::with_capacity(SAMPLES);
        values.resize(samples.min(SAMPLES), f32::NAN);
        Self { values }
    }

    fn push(&mut self, value: Option<f32>) {
        if self.values.len() == SAMPLES {
            self.values.pop_front();
        }
        self.values.push_back(value.filter(|value| value.is_finite()).unwrap_or(f32::NAN));
    }

    fn is_unknown(&self) -> bool {
        self.values.iter().all(|value| value.is_nan())
    }

    fn latest(&self) -> Option<f32> {
        self.values.back().copied().filter(|value| !value.is_nan())
    }

    /// Returns the mean of the last samples that are known; `None` if the latest is not: what was is not what is.
    fn recent(&self, samples: usize) -> Option<f64> {
        self.latest()?;
        let known = self.values.iter().rev().take(samples).filter(|value| !value.is_nan());
        let (sum, count) = known.fold((0.0, 0_u32), |(sum, count), value| (sum + f64::from(*value), count + 1));
        Some(sum / f64::from(count))
    }
}

/// The last hour of one pipeline.
#[derive(Clone, Debug, Default)]
struct Track {
    times: VecDeque<i64>,
    series: BTreeMap<SeriesKey, Ring>,
    unknown: Vec<String>,
    left_out: bool,
}

/// The last hour of all pipelines.
#[derive(Debug, Default)]
pub struct History {
    tracks: HashMap<Names, Track>,
    series: usize,
}

/// Part of a pipeline's history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Excerpt {
    /// When each sample was taken, in seconds since the Unix epoch, oldest first.
    pub times: Vec<i64>,
    /// A value for each time.
    pub series: Vec<(SeriesKey, Vec<Option<f32>>)>,
    /// Why the latest values are unknown.
    pub unknown: Vec<String>,
}

impl History {
    /// Adds a sample. A series that it does not mention is unknown at that time.
    pub fn push(&mut self, names: &Names, time: i64, values: BTreeMap<SeriesKey, Option<f32>>, unknown: Vec<String>) {
        let track = self.tracks.entry(names.clone()).or_default();
        if track.times.len() == SAMPLES {
            track.times.pop_front();
        }
        track.times.push_back(time);
        let before = track.times.len() - 1;
        track.left_out = false;
        for key in values.keys() {
            if !track.series.contains_key(key) {
                if self.series >= MOST_SERIES {
                    track.left_out = true;
                    continue;
                }
                track.series.insert(key.clone(), Ring::unknown(before));
                self.series += 1;
            }
        }
        for (key, ring) in &mut track.series {
            ring.push(values.get(key).copied().flatten());
        }
        // What was unknown for an hour has gone, a partition or a source that was removed.
        let held = track.series.len();
        if track.times.len() == SAMPLES {
            track.series.retain(|_, ring| !ring.is_unknown());
        }
        self.series -= held - track.series.len();
        track.unknown = unknown;
        if track.left_out {
            let full =
                format!("the console keeps no more than {MOST_SERIES} series; some of this pipeline are left out");
            track.unknown.push(full);
        }
    }

    /// Forgets pipelines that are gone.
    pub fn keep(&mut self, is_there: impl Fn(&Names) -> bool) {
        self.tracks.retain(|names, _| is_there(names));
        self.series = self.tracks.values().map(|track| track.series.len()).sum();
    }

    /// Returns a pipeline's last samples.
    pub fn excerpt(&self, names: &Names, samples: usize) -> Excerpt {
        let Some(track) = self.tracks.get(names) else {
            return Excerpt { unknown: vec![NOT_MEASURED.to_owned()], ..Excerpt::default() };
        };
        let skipped = track.times.len().saturating_sub(samples);
        let known = |value: &f32| Some(*value).filter(|value| !value.is_nan());
        Excerpt {
            times: track.times.iter().skip(skipped).copied().collect(),
            series: track
                .series
                .iter()
                .map(|(key, ring)| (key.clone(), ring.values.iter().skip(skipped).map(known).collect()))
                .collect(),
            unknown: track.unknown.clone(),
        }
    }

    /// Returns the mean of a series over the last minute; `None`: unknown right now.
    pub fn recent(&self, names: &Names, key: &SeriesKey) -> Option<f64> {
        self.tracks.get(names)?.series.get(key)?.recent(RECENT)
    }

    /// Returns the latest value of a series; `None`: unknown right now.
    pub fn latest(&self, names: &Names, key: &SeriesKey) -> Option<f64> {
        self.tracks.get(names)?.series.get(key)?.latest().map(f64::from)
    }

    /// Returns why a pipeline's latest values are unknown. Empty: none is.
    pub fn unknown(&self, names: &Names) -> Vec<String> {
        self.tracks.get(names).map_or_else(|| vec![NOT_MEASURED.to_owned()], |track| track.unknown.clone())
    }

    /// Returns every `every`-th value of the last `samples` of a series, oldest first.
    pub fn thinned(&self, names: &Names, key: &SeriesKey, samples: usize, every: usize) -> Vec<Option<f32>> {
        let Some(ring) = self.tracks.get(names).and_then(|track| track.series.get(key)) else {
            return Vec::new();
        };
        let mut values: Vec<Option<f32>> = ring
            .values
            .iter()
            .rev()
            .take(samples)
            .step_by(every)
            .map(|value| Some(*value).filter(|value| !value.is_nan()))
            .collect();
        values.reverse();
        values
    }
}

/// What is said of a pipeline that has no sample yet.
const NOT_MEASURED: &str = "nothing was measured yet";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::Measure;

    fn names() -> Names {
        Names::new("shop", "users")
    }

    fn key(partition: i32) -> SeriesKey {
        SeriesKey { measure: Measure::LagRecords, stage: None, name: Some("t".to_owned()), partition: Some(partition) }
    }

    fn push(history: &mut History, time: i64, values: &[(i32, Option<f32>)]) {
        let values = values.iter().map(|(partition, value)| (key(*partition), *value)).collect();
        history.push(&names(), time, values, Vec::new());
    }

    #[test]
    fn keeps_an_hour_and_no_more() {
        let mut history = History::default();
        for sample in 0..SAMPLES as i64 + 10 {
            push(&mut history, sample, &[(0, Some(sample as f32))]);
        }
        let Excerpt { times, series, .. } = history.excerpt(&names(), SAMPLES * 2);
        assert_eq!((times.len(), times[0]), (SAMPLES, 10));
        assert_eq!(series[0].1.len(), SAMPLES);
        assert_eq!(series[0].1[0], Some(10.0));
        assert_eq!(history.excerpt(&names(), 3).times, [727, 728, 729]);
    }

    #[test]
    fn a_series_that_came_later_or_went_is_unknown_and_not_zero() {
        let mut history = History::default();
        push(&mut history, 0, &[(0, Some(1.0))]);
        push(&mut history, 5, &[(0, Some(2.0)), (1, Some(7.0))]);
        push(&mut history, 10, &[(1, None)]);
        let series = history.excerpt(&names(), SAMPLES).series;
        assert_eq!(series[0].1, [Some(1.0), Some(2.0), None]);
        assert_eq!(series[1].1, [None, Some(7.0), None]);
        assert_eq!(history.latest(&names(), &key(0)), None);
        assert_eq!(history.recent(&names(), &key(0)), None);
    }

    #[test]
    fn what_is_recent_is_the_mean_of_what_is_known() {
        let mut history = History::default();
        for value in [Some(1.0), None, Some(3.0)] {
            push(&mut history, 0, &[(0, value)]);
        }
        assert_eq!(history.recent(&names(), &key(0)), Some(2.0));
        push(&mut history, 0, &[(0, Some(f32::INFINITY))]);
        assert_eq!(history.recent(&names(), &key(0)), None);
    }

    #[test]
    fn series_are_bounded_and_what_is_left_out_is_told() {
        let mut history = History::default();
        let many: Vec<(i32, Option<f32>)> = (0..MOST_SERIES as i32 + 5).map(|number| (number, Some(1.0))).collect();
        push(&mut history, 0, &many);
        assert_eq!(history.excerpt(&names(), 1).series.len(), MOST_SERIES);
        assert!(history.unknown(&names())[0].contains("left out"), "{:?}", history.unknown(&names()));
        history.keep(|_| false);
        push(&mut history, 5, &[(0, Some(1.0))]);
        assert_eq!(history.unknown(&names()), Vec::<String>::new());
        assert_eq!(history.series, 1);
    }

    #[test]
    fn what_was_unknown_for_an_hour_makes_room() {
        let mut history = History::default();
        push(&mut history, 0, &[(0, Some(1.0)), (1, Some(1.0))]);
        for sample in 1..=SAMPLES as i64 {
            push(&mut history, sample, &[(1, Some(1.0))]);
        }
        assert_eq!(history.excerpt(&names(), SAMPLES).series.len(), 1);
        assert_eq!(history.series, 1);
    }

    #[test]
    fn a_pipeline_without_samples_says_so() {
        let history = History::default();
        assert_eq!(history.excerpt(&names(), 1).unknown, [NOT_MEASURED]);
        assert_eq!(history.recent(&names(), &key(0)), None);
    }
}
