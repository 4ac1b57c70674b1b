//! `worker process`: consumer, sink and dead-letter producer on road two.

use std::sync::Arc;

use axum::extract::Query as Asked;
use axum::routing::get;
use axum::{Json, Router};
use millrace_terms::{CANARY_PATH, ProcessSettings, SETTLED_PATH, SettledAt, SettledQuery, WORK_PATH};
use snafu::{ResultExt, Snafu};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::canary::{Canary, Flight};
use crate::decode::CompileSql;
use crate::health::process::ProcessHealth;
use crate::health::server::{self, ServeHealth};
use crate::kafka::consumer::{KafkaConsumer, StartConsumer};
use crate::kafka::fetch::{KafkaFetch, MakeFetch};
use crate::kafka::producer::{KafkaPublisher, MakeProducer};
use crate::message::PartitionId;
use crate::process::{Desk, Limits, Process, Queries, Query, RunProcess};
use crate::progress::Progress;
use crate::sabotage::{Sabotage, Sabotages};
use crate::sink::cassandra::CassandraSink;
use crate::telemetry::Telemetry;

/// Why the processor ends with a failure.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "each variant is the step of that name")]
pub enum RunProcessor {
    #[snafu(display("cannot compile the SQL of a query"))]
    Compile { source: CompileSql },
    #[snafu(display("cannot answer probes"))]
    Serve { source: ServeHealth },
    #[snafu(display("cannot make the dead-letter producer"))]
    Publish { source: MakeProducer },
    #[snafu(display("cannot start consuming"))]
    Consume { source: StartConsumer },
    #[snafu(display("cannot send canary records"))]
    Fly { source: MakeFetch },
    #[snafu(display("the road to cassandra has ended"))]
    Drive { source: RunProcess },
}

/// Runs the processor until `stop`.
pub async fn processor(
    settings: &ProcessSettings,
    sabotages: Sabotages,
    stop: CancellationToken,
) -> Result<(), RunProcessor> {
    // A quarter of the bound is librdkafka's, see the consumer's properties.
    let limit = match sabotages.has(Sabotage::UnboundedBuffer) {
        true => u64::MAX,
        false => settings.buffer_memory.0 / 4 * 3,
    };
    let budget = Budget::new(limit);
    let telemetry = Telemetry::new(budget.clone());
    let queries: Vec<Query> =
        settings.queries.iter().map(Query::new).collect::<Result<_, _>>().context(CompileSnafu)?;
    let queries = match &settings.canary {
        Some(canary) => Queries::new(queries).with_canary(Query::new(&canary.query()).context(CompileSnafu)?),
        None => Queries::new(queries),
    };
    let canary = Canary::default();
    let health = Arc::new(ProcessHealth::new(queries.topics().map(str::to_owned).collect()));
    let progress = Progress::default();
    let routes = routes(&queries, progress.clone(), telemetry.clone(), canary.clone());
    server::serve(settings.http_port, Arc::clone(&health), telemetry.clone(), routes).await.context(ServeSnafu)?;
    let publisher = KafkaPublisher::new(&settings.kafka, &settings.pipeline, settings.buffer_memory, &sabotages)
        .context(PublishSnafu)?;
    let sink =
        CassandraSink::start(&settings.cassandra, queries.all(), Arc::clone(&health), telemetry.clone(), &sabotages);
    let consumer = KafkaConsumer::start(settings, budget.clone(), health.consumer.clone()).context(ConsumeSnafu)?;
    let mut entries = None;
    if let (Some(settings_of_canary), Some((topic, query))) = (&settings.canary, queries.canary()) {
        let (into_road, from_canary) = unbounded_channel();
        entries = Some(from_canary);
        let fetch = KafkaFetch::new(&settings.kafka, &settings.pipeline, &settings_of_canary.topic);
        let flight = Flight {
            settings: settings_of_canary.clone(),
            topic,
            query,
            publisher: publisher.clone(),
            fetch: fetch.context(FlySnafu)?,
            entries: into_road,
            sink: sink.clone(),
            budget,
            telemetry: telemetry.clone(),
            canary,
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(flight.fly()));
    }
    let desk = Desk {
        queries,
        sink,
        publisher,
        dead_letter_topic: settings.dead_letter_topic.clone(),
        telemetry,
        health,
        progress,
        sabotages,
    };
    let limits = Limits {
        max_in_flight: settings.max_in_flight as usize,
        commit_interval: settings.commit_interval.get(),
        drain_timeout: settings.drain_timeout.get(),
    };
    let road = Process::new(consumer, desk, limits);
    let road = match entries {
        Some(entries) => road.with_canary(entries),
        None => road,
    };
    road.run(stop).await.context(DriveSnafu)
}

/// Returns the routes that answer when a record was settled, what this processor has done, and how far its canary is.
fn routes(queries: &Queries, progress: Progress, telemetry: Telemetry, canary: Canary) -> Router {
    let topics: Vec<String> = queries.topics().map(str::to_owned).collect();
    let answer = move |Asked(asked): Asked<SettledQuery>| async move {
        let SettledQuery { topic, partition, offset } = asked;
        let topic = topics.iter().position(|name| *name == topic);
        let settled_at = topic.and_then(|topic| progress.settled_at(PartitionId { topic, partition }, offset));
        Json(SettledAt { settled_at })
    };
    let work = move || async move { Json(telemetry.work()) };
    let flight = move || async move { Json(canary.report()) };
    Router::new().route(SETTLED_PATH, get(answer)).route(WORK_PATH, get(work)).route(CANARY_PATH, get(flight))
}
