//! `worker produce`: this pod's share of the sources on road one.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use millrace_serve::Limits;
use millrace_terms::causes::chain_of;
use millrace_terms::{Origin, ProduceSettings, SOURCES_PATH, SourceSettings, WORK_PATH};
use snafu::{ResultExt, Snafu};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{self, RunAttempt};
use crate::budget::Budget;
use crate::cursor::{CursorsTopic, KeepMarks, Nowhere, ReadMarks, TopicKeeper};
use crate::health::produce::ProduceHealth;
use crate::health::server::{self, ServeHealth};
use crate::kafka::producer::{KafkaPublisher, MakeProducer};
use crate::mapping::{CompileMapping, Mapping};
use crate::produce::{Lane, Once, Produce, RunProduce, Shared};
use crate::push::{PushServer, PushSource};
use crate::sabotage::{Sabotage, Sabotages};
use crate::source::Source;
use crate::source::files::FilesSource;
use crate::source::generator::GeneratorSource;
use crate::source::guard::Guard;
use crate::source::http::{HttpSource, PrepareRequests, Variables};
use crate::source::kafka::KafkaSource;
use crate::source::limited::Limited;
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
    #[snafu(display("cannot listen for pushed records on port {port}"))]
    Listen { port: u16, source: std::io::Error },
    #[snafu(display("the road to kafka has ended"))]
    Drive { source: RunProduce },
    #[snafu(transparent)]
    Attempt { source: RunAttempt },
}

impl RunProducer {
    /// Returns whether the settings are to blame, so that starting again with the same ones is useless.
    pub fn is_settings(&self) -> bool {
        matches!(self, Self::Compile { .. } | Self::Prepare { .. })
    }
}

/// Runs the producer until `stop`, or to the end of the run that it is an attempt of.
pub async fn producer(
    settings: &ProduceSettings,
    ordinal: u32,
    guard: Guard,
    sabotages: Sabotages,
    stop: CancellationToken,
) -> Result<(), RunProducer> {
    let Some(run) = &settings.run else {
        return drive(settings, ordinal, guard, sabotages, stop).await;
    };
    let span = tracing::info_span!("run", run = run.name, attempt = run.attempt, trace_parent = run.trace_parent);
    // A Job's pod has no ordinal, and the run has one source.
    let ended = drive(settings, 0, guard, sabotages, stop).instrument(span).await;
    match ended {
        // It has written its result.
        Ok(()) | Err(RunProducer::Attempt { .. }) => ended,
        Err(error) => {
            attempt::conclude_unbegun(run, &chain_of(&error), error.is_settings())?;
            Err(error)
        }
    }
}

async fn drive(
    settings: &ProduceSettings,
    ordinal: u32,
    guard: Guard,
    sabotages: Sabotages,
    stop: CancellationToken,
) -> Result<(), RunProducer> {
    let limit = if sabotages.has(Sabotage::UnboundedBuffer) { u64::MAX } else { settings.buffer_memory.0 };
    let budget = Budget::new(limit);
    let telemetry = Telemetry::new(budget.clone());
    if ordinal >= settings.replicas {
        telemetry.share_is_empty(ordinal, settings.replicas);
    }
    let share: Vec<&SourceSettings> = settings.share(ordinal);
    let names = share.iter().map(|source| (source.name.clone(), source.topic.clone()));
    let health = Arc::new(ProduceHealth::new(names));
    let publisher = KafkaPublisher::new(&settings.kafka, &settings.pipeline, settings.buffer_memory, &sabotages)
        .context(PublishSnafu)?;
    let shared = Shared {
        publisher: publisher.clone(),
        dead_letter_topic: settings.dead_letter_topic.clone(),
        budget,
        telemetry: telemetry.clone(),
        health: Arc::clone(&health),
        sabotages,
    };
    let mut starter = Starter {
        settings,
        guard,
        shared,
        road: Produce::new(settings.drain_timeout.get()),
        pushed: Vec::new(),
        once: settings.run.as_ref().map(attempt::once),
        stop: stop.clone(),
    };
    for (index, source) in share.iter().enumerate() {
        starter.start(index, source)?;
    }
    let once = starter.once.clone();
    let road = starter.finish().await?;
    let (told, counts) = (Arc::clone(&health), telemetry.clone());
    let sources = Router::new()
        .route(SOURCES_PATH, get(|| async move { Json(told.sources()) }))
        .route(WORK_PATH, get(|| async move { Json(counts.pushed()) }));
    let routes = attempt::routes(once.as_ref()).merge(sources);
    server::serve(settings.http_port, Arc::clone(&health), telemetry.clone(), routes).await.context(ServeSnafu)?;
    let mut topics: Vec<String> = share.iter().map(|source| source.topic.clone()).collect();
    topics.extend(settings.cursors_topic.clone().filter(|_| share.iter().any(|source| source.origin.has_cursor())));
    tokio::spawn(watch_kafka(publisher, topics, Arc::clone(&health), telemetry));
    let (draining, told) = (stop.clone(), Arc::clone(&health));
    tokio::spawn(async move {
        draining.cancelled().await;
        told.drain();
    });
    match (&settings.run, &once) {
        (Some(run), Some(once)) => Ok(attempt::drive(road, run, once, &health, stop).await?),
        _ => road.run(stop).await.context(DriveSnafu),
    }
}

/// Makes the lanes of a producer.
struct Starter<'a> {
    settings: &'a ProduceSettings,
    guard: Guard,
    shared: Shared<KafkaPublisher>,
    road: Produce,
    /// The sources that are pushed to, which share one server.
    pushed: Vec<PushSource>,
    /// Absent: the sources are fetched continuously.
    once: Option<Once>,
    stop: CancellationToken,
}

impl Starter<'_> {
    /// Starts the lane of a source.
    fn start(&mut self, index: usize, settings: &SourceSettings) -> Result<(), RunProducer> {
        let mapping = Mapping::compile(settings).context(CompileSnafu)?;
        let (name, topic) = (settings.name.clone(), settings.topic.clone());
        match &settings.origin {
            Origin::Http(http) => {
                let variables = Variables::new(&settings.params, self.settings.run.as_ref());
                let (cursors, keeper): (_, Box<dyn KeepMarks>) = match http.since {
                    Some(_) => {
                        let (cursors, keeper) = self.cursors(&name);
                        (Some(cursors), Box::new(keeper))
                    }
                    None => (None, Box::new(Nowhere)),
                };
                let source = HttpSource::new(&name, http, &self.guard, &variables, cursors);
                self.poll(index, settings, mapping, source.context(PrepareSnafu { name: &name })?, keeper);
            }
            Origin::Generator(generator) => {
                self.poll(index, settings, mapping, GeneratorSource::new(generator), Box::new(Nowhere));
            }
            Origin::Push(push) => {
                self.pushed.push(PushSource { index, name, topic, mapping, settings: push.clone() });
            }
            Origin::Files(files) => {
                let (cursors, keeper) = self.cursors(&name);
                self.poll(index, settings, mapping, FilesSource::new(&name, files, cursors), Box::new(keeper));
            }
            Origin::Kafka(kafka) => {
                let source = KafkaSource::new(kafka, &self.settings.pipeline, self.settings.buffer_memory.0);
                let keeper = Box::new(source.keeper());
                self.poll(index, settings, mapping, source, keeper);
            }
        }
        Ok(())
    }

    /// Returns what reads and what keeps the positions of a source.
    fn cursors(&self, source: &str) -> (Arc<dyn ReadMarks>, TopicKeeper<KafkaPublisher>) {
        let topic = self.settings.cursors_topic.as_deref().expect("the settings are checked");
        let ProduceSettings { kafka, pipeline, .. } = self.settings;
        let keeper = TopicKeeper::new(self.shared.publisher.clone(), topic, source);
        (Arc::new(CursorsTopic::new(kafka, pipeline, topic)), keeper)
    }

    fn poll<S: Source>(
        &mut self,
        index: usize,
        settings: &SourceSettings,
        mapping: Mapping,
        source: S,
        keeper: Box<dyn KeepMarks>,
    ) {
        let (name, topic, shared) = (settings.name.clone(), settings.topic.clone(), self.shared.clone());
        let (once, stop) = (self.once.clone(), self.stop.clone());
        match &self.settings.run {
            None => self.road.start(Lane { index, name, topic, mapping, source, keeper, once, shared }, stop),
            Some(run) => {
                let source = Limited::new(source, attempt::limits(run, settings));
                self.road.start(Lane { index, name, topic, mapping, source, keeper, once, shared }, stop);
            }
        }
    }

    /// Opens the port for what is pushed, if anything is; returns the road with all lanes.
    async fn finish(mut self) -> Result<Produce, RunProducer> {
        if !self.pushed.is_empty() {
            let port = self.settings.push_port.expect("the settings are checked");
            let listener = millrace_serve::listen(port).await.context(ListenSnafu { port })?;
            let push = PushServer::new(self.pushed, self.shared);
            let drain = self.settings.drain_timeout.get();
            self.road.add(push.run(listener, Limits::PUSH, self.stop, drain));
        }
        Ok(self.road)
    }
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
