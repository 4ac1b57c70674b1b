//! `worker produce`: this pod's share of the sources on road one.

use std::sync::Arc;
use std::time::Duration;

use snafu::{ResultExt, Snafu};
use tokio_util::sync::CancellationToken;
use worker_settings::{Origin, ProduceSettings, SourceSettings};

use crate::budget::Budget;
use crate::health::produce::ProduceHealth;
use crate::health::server::{self, ServeHealth};
use crate::kafka::producer::{KafkaPublisher, MakeProducer};
use crate::mapping::{CompileMapping, Mapping};
use crate::produce::{Lane, Produce, RunProduce, Shared};
use crate::sabotage::{Sabotage, Sabotages};
use crate::source::generator::GeneratorSource;
use crate::source::guard::Guard;
use crate::source::http::{HttpSource, PrepareRequests};
use crate::telemetry::Telemetry;

/// How often Kafka is asked whether it is there, while it is and while it is not.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));

/// Longest that Kafka may take to answer that.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the producer ends with a failure.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "each variant is the step of that name")]
pub enum RunProducer {
    #[snafu(display("cannot use the fields"))]
    Compile { source: CompileMapping },
    #[snafu(display("source '{name}': cannot use the endpoint"))]
    Prepare { name: String, source: PrepareRequests },
    #[snafu(display("cannot answer probes"))]
    Serve { source: ServeHealth },
    #[snafu(display("cannot make the producer"))]
    Publish { source: MakeProducer },
    #[snafu(display("the road to kafka has ended"))]
    Drive { source: RunProduce },
}

impl RunProducer {
    /// Returns whether the settings are to blame, so that starting again with the same ones is useless.
    pub fn is_settings(&self) -> bool {
        matches!(self, Self::Compile { .. } | Self::Prepare { .. })
    }
}

/// Runs the producer until `stop`.
pub async fn producer(
    settings: &ProduceSettings,
    ordinal: u32,
    sabotages: Sabotages,
    stop: CancellationToken,
) -> Result<(), RunProducer> {
    let limit = if sabotages.has(Sabotage::UnboundedBuffer) { u64::MAX } else { settings.buffer_memory.0 };
    let budget = Budget::new(limit);
    let telemetry = Telemetry::new(budget.clone());
    if ordinal >= settings.replicas {
        telemetry.share_is_empty(ordinal, settings.replicas);
    }
    let share: Vec<&SourceSettings> = share(settings, ordinal);
    let names = share.iter().map(|source| (source.name.clone(), source.topic.clone()));
    let health = Arc::new(ProduceHealth::new(names));
    let publisher = KafkaPublisher::new(&settings.kafka, &settings.pipeline, settings.buffer_memory, &sabotages)
        .context(PublishSnafu)?;
    let shared =
        Shared { publisher: publisher.clone(), budget, telemetry: telemetry.clone(), health: Arc::clone(&health) };
    let guard = Guard::new(&settings.allowed_source_hosts);
    let mut road = Produce::new(settings.drain_timeout.get());
    for (index, source) in share.iter().enumerate() {
        start(&mut road, index, source, &guard, &shared, &stop)?;
    }
    server::serve(settings.http_port, Arc::clone(&health), telemetry.clone()).await.context(ServeSnafu)?;
    let topics = share.iter().map(|source| source.topic.clone()).collect();
    tokio::spawn(watch_kafka(publisher, topics, Arc::clone(&health), telemetry));
    let draining = stop.clone();
    tokio::spawn(async move {
        draining.cancelled().await;
        health.drain();
    });
    road.run(stop).await.context(DriveSnafu)
}

/// Returns the sources whose index modulo `replicas` is this pod's ordinal.
fn share(settings: &ProduceSettings, ordinal: u32) -> Vec<&SourceSettings> {
    let replicas = settings.replicas as usize;
    let mine = settings.sources.iter().enumerate().filter(|(index, _)| index % replicas == ordinal as usize);
    mine.map(|(_, source)| source).collect()
}

fn start(
    road: &mut Produce,
    index: usize,
    settings: &SourceSettings,
    guard: &Guard,
    shared: &Shared<KafkaPublisher>,
    stop: &CancellationToken,
) -> Result<(), RunProducer> {
    let mapping = Mapping::compile(settings).context(CompileSnafu)?;
    let (name, topic) = (settings.name.clone(), settings.topic.clone());
    let shared = shared.clone();
    match &settings.origin {
        Origin::Http(http) => {
            let source = HttpSource::new(http, guard).context(PrepareSnafu { name: &name })?;
            road.start(Lane { index, name, topic, mapping, source, shared }, stop.clone());
        }
        Origin::Generator(generator) => {
            let source = GeneratorSource::new(generator);
            road.start(Lane { index, name, topic, mapping, source, shared }, stop.clone());
        }
    }
    Ok(())
}

/// Asks Kafka now and then whether it is there, on a thread that may block.
async fn watch_kafka(publisher: KafkaPublisher, topics: Vec<String>, health: Arc<ProduceHealth>, telemetry: Telemetry) {
    loop {
        let (publisher, topics) = (publisher.clone(), topics.clone());
        let probed = tokio::task::spawn_blocking(move || publisher.probe(&topics, PROBE_TIMEOUT)).await;
        let problem = probed.unwrap_or_else(|error| Err(error.to_string())).err();
        health.watch.beat();
        let wait = if problem.is_none() { PROBE.0 } else { PROBE.1 };
        if health.kafka(problem.clone()) {
            telemetry.kafka_changed(problem.as_deref());
        }
        tokio::time::sleep(wait).await;
    }
}
