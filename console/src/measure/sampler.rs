//! The loop: every pipeline of the scope is measured each [`STEP_SECONDS`], whether anybody looks or not.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use millrace_api::StreamingPipeline;
use millrace_api::names::{Component, Names};
use millrace_stores::kafka::Kafka;
use millrace_stores::reach::Reach;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::history::{History, STEP_SECONDS};
use super::rates::{Before, rates};
use super::scrape;
use super::values::{Found, Offsets, Window, values};
use crate::cluster::{Cluster, names_of};

/// Pipelines that are asked at once.
const AT_ONCE: usize = 8;

/// The offsets of a pipeline's topics as they were last asked for.
#[derive(Clone, Debug)]
pub struct LagFacts {
    /// When.
    pub measured: DateTime<Utc>,
    /// The offsets, or why they are unknown.
    pub offsets: Result<Vec<Offsets>, String>,
    /// Those before, and seconds since then. `None`: unknown.
    pub before: Option<(Vec<Offsets>, f64)>,
}

/// What was measured; shared by all who show it.
#[derive(Clone, Default)]
pub struct Measured {
    history: Arc<RwLock<History>>,
    lags: Arc<RwLock<HashMap<Names, LagFacts>>>,
}

impl Measured {
    /// Reads the history.
    pub fn history<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&self.history.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns a pipeline's offsets; `None`: they were not asked for yet.
    pub fn lag(&self, names: &Names) -> Option<LagFacts> {
        self.lags.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(names).cloned()
    }

    fn write_history(&self) -> std::sync::RwLockWriteGuard<'_, History> {
        self.history.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write_lags(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Names, LagFacts>> {
        self.lags.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is remembered of a pipeline from one sample to the next.
#[derive(Default)]
struct Memory {
    before: Before,
    last_sample: Option<f64>,
    window: Window,
    brokers: Reach<u32>,
    kafka: Option<Kafka>,
    offsets: Option<(Vec<Offsets>, f64)>,
}

/// Measures for ever; `ticks` counts the samples.
pub async fn run(cluster: Cluster, measured: Measured, client: reqwest::Client, ticks: watch::Sender<u64>) {
    let mut rhythm = tokio::time::interval(Duration::from_secs(STEP_SECONDS.into()));
    // After a pause the samples go on in step, without a burst.
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut memories: HashMap<Names, Memory> = HashMap::new();
    loop {
        rhythm.tick().await;
        let pipelines = cluster.pipelines();
        let there: BTreeSet<Names> = pipelines.iter().map(|pipeline| names_of(pipeline)).collect();
        memories.retain(|names, _| there.contains(names));
        measured.write_history().keep(|names| there.contains(names));
        measured.write_lags().retain(|names, _| there.contains(names));
        let asked: Vec<_> = pipelines
            .into_iter()
            .map(|pipeline| {
                let names = names_of(&pipeline);
                let memory = memories.remove(&names).unwrap_or_default();
                remembered(cluster.clone(), measured.clone(), client.clone(), names, pipeline, memory)
            })
            .collect();
        memories = futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        ticks.send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn remembered(
    cluster: Cluster,
    measured: Measured,
    client: reqwest::Client,
    names: Names,
    pipeline: Arc<StreamingPipeline>,
    mut memory: Memory,
) -> (Names, Memory) {
    sample(&cluster, &measured, &client, &names, &pipeline, &mut memory).await;
    (names, memory)
}

#[expect(clippy::disallowed_methods, reason = "a sample is of the moment that it is taken at")]
async fn sample(
    cluster: &Cluster,
    measured: &Measured,
    client: &reqwest::Client,
    names: &Names,
    pipeline: &StreamingPipeline,
    memory: &mut Memory,
) {
    let spec = &pipeline.spec;
    let workers = cluster.workers(names);
    let brokers = cluster.brokers(names);
    if memory.brokers != brokers || memory.kafka.is_none() {
        memory.kafka = Some(Kafka::new(&brokers));
        memory.brokers = brokers;
    }
    let kafka = memory.kafka.get_or_insert_with(|| Kafka::new(&memory.brokers));
    let topics: BTreeSet<String> = spec.processor.queries.iter().map(|query| query.from.clone()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let group = names.consumer_group();
    let (answers, offsets) = tokio::join!(scrape::workers(client, &workers), scrape::offsets(kafka, &group, &topics));
    let now = Utc::now();
    let moment = now.timestamp_millis() as f64 / 1e3;
    let rates_of = |components: &[Component], wanted: i32| {
        rates(&answers, components, wanted.unsigned_abs(), &memory.before, moment, memory.last_sample)
    };
    let sources: Vec<String> = spec.producer.sources.iter().map(|source| source.name.clone()).collect();
    let before = memory.offsets.as_ref().map(|(offsets, when)| (offsets.clone(), moment - when));
    let found = Found {
        sources: &sources,
        producers: rates_of(&[Component::Producer, Component::Run], pipeline.wanted_producers()),
        processors: rates_of(&[Component::Processor], pipeline.wanted_processors()),
        offsets: offsets.as_deref().map_err(Clone::clone),
        offsets_before: before.as_ref().map(|(offsets, seconds)| (offsets.as_slice(), *seconds)),
        now: now.timestamp_millis(),
    };
    let sample = values(&found, &mut memory.window);
    measured.write_history().push(names, now.timestamp(), sample.values, sample.unknown);
    for answer in answers {
        if let Ok(reading) = answer.reading {
            memory.before.insert(answer.uid, (moment, reading));
        }
    }
    memory.before.retain(|uid, _| workers.iter().any(|worker| worker.uid == *uid));
    memory.last_sample = Some(moment);
    if let Ok(offsets) = &offsets {
        memory.offsets = Some((offsets.clone(), moment));
    }
    measured.write_lags().insert(names.clone(), LagFacts { measured: now, offsets, before });
}
