//! An account of a generator's records: what Kafka acknowledged must be in the topic, and what is in the topic must be
//! in the table. Nothing is sent again for the comparison, which would mend what it looks for.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_api::names::Component;
use millrace_e2e::kafka::Fetched;
use millrace_e2e::ledger::{Ledger, Person, id_of};
use millrace_e2e::spec::TOPIC;
use millrace_e2e::{Live, eventually};
use millrace_profile::profile;
use serde_json::json;
use uuid::Uuid;

/// Longest that the producer may take to stop.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest that the processors may take to read what faults have kept them from.
const READ_WITHIN: Duration = Duration::from_secs(900);
/// How far records of one partition may be ahead of another's: far more than ever wait for their acknowledgement.
const AHEAD: u64 = 100_000;

/// A generator's account since some offsets.
pub struct Account {
    /// Where it begins in each partition. Absent: at the start.
    from: BTreeMap<i32, i64>,
    /// The seeds that the generator had, one after the other, each with the most of its records that Kafka was seen to
    /// have acknowledged.
    acknowledged: BTreeMap<u64, f64>,
}

/// What is in the topic since an account was opened.
pub struct Made {
    /// The generator's records.
    pub ledger: Ledger,
    /// The ids of all others. Records that come after a gap that must not be are among them.
    pub others: HashSet<Uuid>,
}

impl Made {
    /// Returns the generator's records; fails if there are others, which it has made itself then, after a gap.
    pub fn without_others(self) -> Result<Ledger> {
        let Self { ledger, others } = self;
        ensure!(others.is_empty(), "the producer lost records: {} in the topic come after a gap", others.len());
        Ok(ledger)
    }
}

impl Account {
    /// Opens an account of the whole topic.
    pub fn of_topic(seed: u64) -> Self {
        Self { from: BTreeMap::new(), acknowledged: [(seed, 0.0)].into() }
    }

    /// Opens an account of records that come from now on.
    pub async fn open(live: &Live, seed: u64) -> Result<Self> {
        Ok(Self { from: live.kafka().await?.ends(TOPIC).await?, ..Self::of_topic(seed) })
    }

    /// The producer was killed, and its successor goes on with another seed.
    pub fn and(&mut self, seed: u64) {
        self.acknowledged.insert(seed, 0.0);
    }

    /// Returns how many of the generator's records Kafka has acknowledged since the producer began, and remembers the
    /// most: a killed producer begins its sequence, and its count, again.
    pub async fn acknowledged(&mut self, live: &Live) -> Result<f64> {
        // Its container may be on its way back.
        let told = async || Ok(Some(live.metrics(Component::Producer).await?));
        let (all, _) = eventually("the producer tells its metrics", PATIENCE, told).await?;
        let mut total = 0.0;
        for (seed, most) in &mut self.acknowledged {
            let source = format!("made-up-{seed}");
            let now =
                all.values().map(|metrics| metrics.of("millrace_records_produced_total", "source", &source)).sum();
            *most = most.max(now);
            total += now;
        }
        Ok(total)
    }

    /// Stops the producers, waits until the processors have read all, and returns what is in the topic since the
    /// account was opened. Fails if that is less of a seed than was acknowledged.
    pub async fn close(mut self, live: &Live) -> Result<Made> {
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
        let last = self.acknowledged.keys().next_back().copied();
        let mut ledger = Ledger::default();
        for (seed, acknowledged) in self.acknowledged {
            let first = take_first(seed, &mut ids);
            let after = if Some(seed) == last { Vec::new() } else { take_under_way(seed, first, &mut ids) };
            let made = first + after.len() as u64;
            live.namespace.say(format!("{made} of them are of seed {seed}, of which {acknowledged} were acknowledged"));
            ensure!(made as f64 >= acknowledged, "the topic has less than was acknowledged");
            ledger = ledger.and(seed, first).plus(Ledger::of(after));
        }
        Ok(Made { ledger, others: ids })
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
}

/// Takes the ids of a seed's first records out, up to the first that is not there, and returns how many they were. Those
/// that a killed producer did not get through are sent again by one after it that has the same seed.
fn take_first(seed: u64, ids: &mut HashSet<Uuid>) -> u64 {
    let mut made = (0..).map(|index| id_of(&profile(seed, index)));
    let gap = made.position(|id| !ids.remove(&id));
    gap.map_or(u64::MAX, |gap| gap as u64)
}

/// Takes out what a killed producer had under way after the first record that is not there: some of it came to the
/// topic, and nobody has sent the rest.
fn take_under_way(seed: u64, gap: u64, ids: &mut HashSet<Uuid>) -> Vec<Person> {
    let under_way = (gap..gap + AHEAD).map(|index| Person { seed, index });
    under_way.filter(|person| ids.remove(&id_of(&profile(person.seed, person.index)))).collect()
}
