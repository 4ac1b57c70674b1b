//! An account of a generator's records: what Kafka acknowledged must be in the topic, and what is in the topic must be
//! in the table. Nothing is sent again for the comparison, which would mend what it looks for.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_api::names::Component;
use millrace_e2e::kafka::Fetched;
use millrace_e2e::spec::TOPIC;
use millrace_e2e::{Live, eventually};
use serde_json::json;
use uuid::Uuid;

/// Longest that the producer may take to stop.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest that the processors may take to read what faults have kept them from.
const READ_WITHIN: Duration = Duration::from_secs(900);

/// A generator's account since some offsets.
pub struct Account {
    seed: u64,
    /// Where it begins in each partition. Absent: at the start.
    from: BTreeMap<i32, i64>,
    acknowledged: f64,
}

impl Account {
    /// Opens an account of the whole topic.
    pub fn of_topic(seed: u64) -> Self {
        Self { seed, from: BTreeMap::new(), acknowledged: 0.0 }
    }

    /// Opens an account of records that come from now on.
    pub async fn open(live: &Live, seed: u64) -> Result<Self> {
        Ok(Self { seed, from: live.kafka().await?.ends(TOPIC).await?, acknowledged: 0.0 })
    }

    /// Returns how many of the generator's records Kafka has acknowledged since the producer began, and remembers the
    /// most: a killed producer begins its sequence, and its count, again.
    pub async fn acknowledged(&mut self, live: &Live) -> Result<f64> {
        // Its container may be on its way back.
        let told = async || Ok(Some(live.metrics(Component::Producer).await?));
        let (all, _) = eventually("the producer tells its metrics", PATIENCE, told).await?;
        let source = format!("made-up-{}", self.seed);
        let now = all.values().map(|metrics| metrics.of("millrace_records_produced_total", "source", &source)).sum();
        self.acknowledged = self.acknowledged.max(now);
        Ok(now)
    }

    /// Stops the producers, waits until the processors have read all, and returns the ids of all records in the topic
    /// since the account was opened. Fails if the generator's own are not its first ones without a gap, or are fewer
    /// than were acknowledged.
    pub async fn close(mut self, live: &Live) -> Result<HashSet<Uuid>> {
        self.await_progress(live).await?;
        live.patch(json!({"spec": {"producer": {"replicas": 0}}})).await?;
        let stopped = async || Ok(live.pods(Component::Producer).await?.is_empty().then_some(()));
        eventually("the producer has sent what it had", PATIENCE, stopped).await?;
        live.await_caught_up(READ_WITHIN).await?;

        let (mut records, mut ids, mut other) = (0u64, HashSet::new(), 0u64);
        let enter = |record: Fetched| {
            records += 1;
            match std::str::from_utf8(&record.key).ok().and_then(|key| key.parse().ok()) {
                Some(id) => drop::<bool>(ids.insert(id)),
                None => other += 1,
            }
        };
        live.kafka().await?.for_each_from(TOPIC, &self.from, enter).await?;
        ensure!(other == 0, "{other} keys are no UUIDs");
        live.namespace.say(format!("{records} records in the topic, {} of them distinct", ids.len()));
        // The generator has come no further than the topic is long.
        let made = self.made_without_gap(&ids, records)?;
        let acknowledged = self.acknowledged;
        live.namespace.say(format!("{made} distinct generator records in the topic, {acknowledged} were acknowledged"));
        ensure!(made as f64 >= acknowledged, "the topic has less than was acknowledged");
        Ok(ids)
    }

    /// Waits until Kafka acknowledges records: what a producer cannot hand over within its drain time when it is stopped
    /// is promised to nobody.
    async fn await_progress(&mut self, live: &Live) -> Result<()> {
        let mut last = self.acknowledged(live).await?;
        let progress = async || {
            let before = std::mem::replace(&mut last, self.acknowledged(live).await?);
            Ok((last > before).then_some(()))
        };
        eventually("Kafka takes the producer's records", PATIENCE, progress).await.map(|_| ())
    }

    /// Returns how many of the generator's records are in the topic, which must be its first ones without a gap: those
    /// that a killed producer did not get through are sent again by the one after it.
    fn made_without_gap(&self, ids: &HashSet<Uuid>, most: u64) -> Result<usize> {
        let made = (0..most).map(|index| millrace_profile::profile(self.seed, index).id);
        let present: Vec<bool> = made.map(|id| id.parse().is_ok_and(|id| ids.contains(&id))).collect();
        let first_gap = present.iter().position(|present| !present).unwrap_or(present.len());
        let count = present.iter().filter(|present| **present).count();
        ensure!(count == first_gap, "the producer lost records: {first_gap} is not in the topic, later ones are");
        Ok(count)
    }
}
