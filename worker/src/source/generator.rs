//! The generator: made-up profiles from a seed, at a rate, for load and for tests that know what to expect.

use std::time::Duration;

use millrace_profile::profile;
use millrace_terms::GeneratorSettings;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::pace::Pace;
use super::{Batch, FetchRecords, Records, Source};

/// Most records of one batch: enough to keep Kafka busy, too few to matter for the memory bound.
const LARGEST_BATCH: u64 = 200;

/// How often a slow generator wakes: its records come in batches of this length.
const TICK: Duration = Duration::from_millis(20);

/// How long a generator that was held back may run faster to catch up.
const SLACK: Duration = Duration::from_secs(1);

/// Profiles of one seed, from index 0 on.
#[derive(Debug)]
pub struct GeneratorSource {
    seed: u64,
    next: u64,
    /// Absent: no end.
    count: Option<u64>,
    /// Absent: as fast as they are taken.
    pace: Option<Pace>,
    batch: u64,
}

impl GeneratorSource {
    /// Starts the sequence of a seed.
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    pub fn new(settings: &GeneratorSettings) -> Self {
        let GeneratorSettings { seed, count, records_per_second } = *settings;
        let pace = records_per_second.map(|rate| Pace::new(f64::from(rate), SLACK, Instant::now()));
        let a_tick = |rate: u32| (f64::from(rate) * TICK.as_secs_f64()) as u64;
        let batch = records_per_second.map_or(LARGEST_BATCH, |rate| a_tick(rate).clamp(1, LARGEST_BATCH));
        Self { seed, next: 0, count, pace, batch }
    }
}

impl Source for GeneratorSource {
    #[expect(clippy::disallowed_methods, reason = "a source is fetched when it is due")]
    async fn next(&mut self) -> Result<Batch, FetchRecords> {
        let left = self.count.map_or(u64::MAX, |count| count - self.next);
        let length = self.batch.min(left);
        if let Some(pace) = &mut self.pace {
            tokio::time::sleep_until(pace.take(length, Instant::now())).await;
        }
        let end = self.next + length;
        let records: Records = (self.next..end).map(|index| flat(self.seed, index)).collect();
        self.next = end;
        Ok(Batch { records, exhausted: length == left, ..Batch::default() })
    }
}

/// The flat profile as JSON.
fn flat(seed: u64, index: u64) -> Map<String, Value> {
    let profile = profile(seed, index);
    let fields = [
        ("id", profile.id),
        ("first_name", profile.first_name.into_owned()),
        ("last_name", profile.last_name.into_owned()),
        ("gender", profile.gender.into_owned()),
        ("address", profile.address),
        ("post_code", profile.post_code),
        ("email", profile.email),
        ("username", profile.username),
        ("dob", profile.dob),
        ("registered_date", profile.registered_date),
        ("phone", profile.phone),
        ("picture", profile.picture),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(count: Option<u64>, records_per_second: Option<u32>) -> GeneratorSource {
        GeneratorSource::new(&GeneratorSettings { seed: 11, count, records_per_second })
    }

    #[tokio::test]
    async fn stops_after_its_count_with_the_profiles_of_its_seed() {
        let mut generator = generator(Some(450), None);
        let mut records = Vec::new();
        loop {
            let batch = generator.next().await.expect("a generator never fails");
            records.extend(batch.records);
            if batch.exhausted {
                break;
            }
        }
        assert_eq!(records.len(), 450);
        for (index, record) in records.iter().enumerate() {
            let expected = serde_json::to_value(profile(11, index as u64)).expect("a profile is JSON");
            let record = record.as_ref().expect("a generator makes good records");
            assert_eq!(serde_json::from_str::<Value>(record.record.get()).expect("JSON"), expected);
        }
    }

    #[test]
    fn records_have_the_fields_that_the_operator_counts_on() {
        let fields = flat(1, 0);
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let mut promised = millrace_terms::PROFILE_FIELDS;
        names.sort_unstable();
        promised.sort_unstable();
        assert_eq!(names, promised);
    }

    #[tokio::test]
    async fn keeps_to_its_rate() {
        let mut generator = generator(None, Some(1_000));
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < Duration::from_millis(200) {
            count += generator.next().await.expect("a generator never fails").records.count();
        }
        let most = (start.elapsed().as_secs_f64() * 1_000.0) as usize + 20;
        // How many fewer it may be is the machine's to say.
        assert!(count <= most && count > 0, "{count} of {most}");
    }

    #[tokio::test]
    async fn a_count_of_zero_is_exhausted_at_once() {
        let batch = generator(Some(0), Some(1)).next().await.expect("a generator never fails");
        assert!(batch.exhausted);
        assert_eq!(batch.records.count(), 0);
    }
}
