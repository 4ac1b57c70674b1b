//! What is pushed: `POST /sources/<name>` on a port of its own, answered when Kafka has acknowledged every record.
//!
//! ```text
//! head -> token -> share of memory -> body -> records -> map, encode -> kafka.send (all or none) -> ack -> 200
//! ```
//!
//! A request is refused before it takes memory that is not there; how each refusal is told is in `refusal`. What was
//! sent is sent until it is acknowledged, also when its client has gone or was told that it takes too long. Connections
//! are counted, and cut off when their heads or bodies do not arrive in time.

mod body;
mod refusal;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt;
use futures::future::join_all;
use millrace_serve::{Limits, serve};
use millrace_terms::{PushSettings, SourcePhase};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::budget::Reservation;
use crate::kafka::Publisher;
use crate::mapping::{Encoded, Mapping};
use crate::message::{Header, Outgoing, PRODUCED_AT_HEADER, SOURCE_HEADER};
use crate::produce::Shared;
use crate::produce::delivery::{Sent, deliver};
use crate::source::Records;
use crate::telemetry::{Held, SourceLabel};
use body::Format;
use refusal::Refusal;

/// Records that are mapped before other work has its turn.
const TURN: usize = 256;

/// Most bytes of a refused body that are read and forgotten, and the longest that this may take.
const MOST_DRAINED: usize = 16 << 20;
const DRAINED_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Longest that Kafka takes to acknowledge the records of a request while it is not the limit. What takes longer counts
/// as a wait for Kafka, with which more producers would not help.
const SOON: Duration = Duration::from_millis(500);

/// A source that is pushed to.
pub struct PushSource {
    /// Index of the source in the health report.
    pub index: usize,
    /// Its name, as the path has it.
    pub name: String,
    /// Topic that receives the records.
    pub topic: String,
    /// How records become Kafka records.
    pub mapping: Mapping,
    /// Limits and token.
    pub settings: PushSettings,
}

/// All sources that are pushed to, and the way to Kafka.
pub struct PushServer<P> {
    sources: BTreeMap<String, Target>,
    shared: Shared<P>,
    /// Records that were sent and are not settled.
    under_way: AtomicUsize,
    /// Told when all of them are.
    settled: Notify,
    /// Ends retries when the drain is over.
    give_up: CancellationToken,
}

struct Target {
    source: PushSource,
    label: SourceLabel,
    acknowledged: AtomicU64,
}

impl<P: Publisher> PushServer<P> {
    /// Makes the server of these sources.
    pub fn new(sources: Vec<PushSource>, shared: Shared<P>) -> Self {
        let target = |source: PushSource| {
            shared.telemetry.source_started(&source.name, &source.topic);
            shared.health.source(source.index, |report| report.state = SourcePhase::Running);
            let label = SourceLabel::new(&source.name);
            (source.name.clone(), Target { source, label, acknowledged: AtomicU64::new(0) })
        };
        let sources = sources.into_iter().map(target).collect();
        Self {
            sources,
            shared,
            under_way: AtomicUsize::new(0),
            settled: Notify::new(),
            give_up: CancellationToken::new(),
        }
    }

    /// Serves until `stop`, then finishes what is under way, at most for `drain`; returns how many records that were
    /// sent are not acknowledged.
    pub async fn run(self, listener: TcpListener, limits: Limits, stop: CancellationToken, drain: Duration) -> usize {
        let server = Arc::new(self);
        let router = Router::new()
            .route("/sources/{name}", post(push::<P>))
            .fallback(async || Refusal::FindPath)
            .method_not_allowed_fallback(async || Refusal::UseMethod)
            .with_state(Arc::clone(&server));
        let beats = Arc::clone(&server);
        let deadline = serve(listener, router, limits, move || beats.beat(), (stop, drain)).await;
        // Of clients that have gone there may be records left.
        let _ = timeout_at(deadline, server.await_settled()).await;
        server.give_up.cancel();
        server.under_way.load(Ordering::Relaxed)
    }

    async fn await_settled(&self) {
        while self.under_way.load(Ordering::Relaxed) > 0 {
            self.settled.notified().await;
        }
    }

    fn beat(&self) {
        for target in self.sources.values() {
            self.shared.health.lanes[target.source.index].beat();
            let acknowledged = target.acknowledged.load(Ordering::Relaxed);
            self.shared.health.source(target.source.index, |report| report.acknowledged = acknowledged);
        }
    }
}

async fn push<P: Publisher>(
    State(server): State<Arc<PushServer<P>>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(target) = server.sources.get(&name) else {
        return Refusal::FindSource { name: crate::rejection::excerpt(&name) }.into_response();
    };
    let taken = take(&server, target, &headers, body).await;
    let outcome = taken.as_ref().map_or_else(Refusal::outcome, |_| "Ok");
    server.shared.telemetry.push_answered(&name, outcome);
    match &taken {
        Ok(_) => server.shared.telemetry.push_taken(),
        Err(Refusal::AwaitMemory) => server.shared.telemetry.push_put_off(),
        Err(_) => {}
    }
    match taken {
        Ok(acknowledged) => Json(json!({"acknowledged": acknowledged})).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Takes one request in; returns how many records of it, all, are acknowledged.
async fn take<P: Publisher>(
    server: &Arc<PushServer<P>>,
    target: &Target,
    headers: &HeaderMap,
    body: Body,
) -> Result<usize, Refusal> {
    let settings = &target.source.settings;
    authorize(settings.token.as_ref(), headers)?;
    let format = Format::of(headers)?;
    if let Some(problem) = server.shared.health.kafka_problem() {
        return Err(Refusal::AwaitKafka { problem });
    }
    let mut reservation = match reserve(server, settings, headers, format.packed) {
        Err(refusal @ Refusal::FitBody { .. }) => {
            drain(body.into_data_stream()).await;
            return Err(refusal);
        }
        reserved => reserved?,
    };
    let of_body = reservation.bytes();
    let mut held = server.shared.telemetry.push_begun(of_body);
    let bytes = timeout(settings.timeout.get(), read(body, settings.max_body.0)).await;
    let bytes = bytes.map_err(|_| Refusal::AwaitBody { limit: settings.timeout })??;
    let records = map(server, target, format.records(bytes, settings.max_body)?, &mut reservation).await?;
    // The body is gone by now; what is left is for the records.
    reservation.shrink(of_body);
    held.resize(reservation.bytes());
    let acknowledged = send(server, &target.source.name, records, (reservation, held));
    match timeout(settings.timeout.get(), acknowledged).await {
        Ok(Ok(outcome)) => outcome,
        // The deliverer ends only when the worker does.
        Ok(Err(_)) | Err(_) => Err(Refusal::AwaitAcknowledgement { limit: settings.timeout }),
    }
}

/// Compares the bearer token with that of the Secret, which is read each time so that a new one counts at once.
#[expect(clippy::disallowed_methods, reason = "a Secret's volume is memory: reading it does not block")]
fn authorize(token: Option<&PathBuf>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(file) = token else { return Ok(()) };
    let wanted = std::fs::read_to_string(file).map_err(|error| Refusal::ReadToken { problem: error.to_string() })?;
    let wanted = wanted.trim();
    if wanted.is_empty() {
        return Err(Refusal::ReadToken { problem: "it is empty".to_owned() });
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, given) = given.split_once(' ').unwrap_or_default();
    let right: bool = given.trim().as_bytes().ct_eq(wanted.as_bytes()).into();
    if scheme.eq_ignore_ascii_case("bearer") && right { Ok(()) } else { Err(Refusal::Authorize) }
}

/// Takes the memory for a body before the first byte of it is read.
fn reserve<P: Publisher>(
    server: &PushServer<P>,
    settings: &PushSettings,
    headers: &HeaderMap,
    packed: bool,
) -> Result<Reservation, Refusal> {
    let limit = settings.max_body.0;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: u64 = declared.unwrap_or(limit);
    if length > limit {
        return Err(Refusal::FitBody { limit: settings.max_body });
    }
    // A body that does not tell its length, or will be unpacked, may be as large as any.
    let held = if packed { limit } else { length };
    server.shared.budget.try_take(held).ok_or(Refusal::AwaitMemory)
}

async fn read(body: Body, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Refusal::ReadBody { problem: error.to_string() })?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            drain(chunks).await;
            return Err(Refusal::FitBody { limit: millrace_terms::Bytes(limit) });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads what is left of a body that is refused, within bounds, and forgets it: many clients look at the answer only when they
/// have sent all, and would take a closed connection for a reason to send it again.
async fn drain(mut chunks: BodyDataStream) {
    let mut left = MOST_DRAINED;
    let drained = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(DRAINED_WITHIN, drained).await;
}

/// Maps all records, taking memory for each; the first that cannot be mapped refuses the request.
#[expect(clippy::disallowed_methods, reason = "when a record was taken is part of it")]
async fn map<P: Publisher>(
    server: &PushServer<P>,
    target: &Target,
    records: Records,
    reservation: &mut Reservation,
) -> Result<Vec<Outgoing>, Refusal> {
    let PushSource { name, topic, mapping, .. } = &target.source;
    let mut outgoing = Vec::new();
    for (number, record) in (1..).zip(records) {
        let refuse = |problem| Refusal::AcceptRecord { record: number, problem };
        let record = record.map_err(|record| refuse(record.problem))?.record;
        let Encoded { key, payload } = mapping.encode(&record).map_err(|rejection| refuse(rejection.to_string()))?;
        let headers = vec![
            Header::text(SOURCE_HEADER, name.as_str()),
            Header::text(PRODUCED_AT_HEADER, chrono::Utc::now().timestamp_millis().to_string()),
        ];
        let record = Outgoing { topic: topic.clone(), key: Some(key.into_bytes()), payload: Some(payload), headers };
        if !reservation.try_grow(record.size()) {
            let limit = server.shared.budget.limit();
            let alone = reservation.bytes() + record.size() > limit;
            return Err(if alone { Refusal::FitRecords { records: number } } else { Refusal::AwaitMemory });
        }
        outgoing.push(record);
        if number % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(outgoing)
}

/// Sends all records, in order, and follows them on a task of its own: whatever becomes of the client, they hold their
/// memory, `reserved` and as it is counted, until they are settled. The receiver is told how that ended.
fn send<P: Publisher>(
    server: &Arc<PushServer<P>>,
    name: &str,
    records: Vec<Outgoing>,
    reserved: (Reservation, Held),
) -> oneshot::Receiver<Result<usize, Refusal>> {
    let (tell, told) = oneshot::channel();
    let count = records.len();
    server.under_way.fetch_add(count, Ordering::Relaxed);
    // All at once, so that nothing comes between records of one request.
    let receipts: Vec<_> = records.iter().map(|record| server.shared.publisher.publish(record)).collect();
    let (server, name) = (Arc::clone(server), name.to_owned());
    tokio::spawn(async move {
        let target = &server.sources[&name];
        let deliveries = records.into_iter().zip(receipts).map(|(record, receipt)| async {
            let sent = deliver(&server.shared, record, receipt, server.give_up.clone()).await;
            if let Sent::Acknowledged(_) = sent {
                target.acknowledged.fetch_add(1, Ordering::Relaxed);
                server.shared.telemetry.record_produced(&target.label);
            }
            if !matches!(sent, Sent::GivenUp) && server.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
                server.settled.notify_one();
            }
            sent
        });
        let mut settled = pin!(join_all(deliveries));
        let soon = timeout(SOON, settled.as_mut()).await;
        let ended = match soon {
            Ok(ended) => ended,
            Err(_) => {
                let _waits = server.shared.telemetry.push_waits(reserved.1.bytes());
                settled.await
            }
        };
        drop(reserved);
        // A client that has gone does not listen.
        let _ = tell.send(judge(&server, &name, count, &ended));
    });
    told
}

/// Sums up how the records of a request ended.
fn judge<P: Publisher>(server: &PushServer<P>, name: &str, count: usize, ended: &[Sent]) -> Result<usize, Refusal> {
    let (mut refused, mut given_up) = (Vec::new(), false);
    for (number, sent) in (1..).zip(ended) {
        match sent {
            Sent::Acknowledged(_) => {}
            Sent::Refused(problem) => {
                server.shared.telemetry.record_refused(name, problem);
                refused.push((number, problem.clone()));
            }
            Sent::GivenUp => given_up = true,
        }
    }
    match refused.into_iter().next() {
        _ if given_up => Err(Refusal::Stop),
        None => Ok(count),
        Some((record, problem)) => {
            let acknowledged = ended.iter().filter(|sent| matches!(sent, Sent::Acknowledged(_))).count();
            Err(Refusal::SendRecord { record, problem, acknowledged })
        }
    }
}
