//! What guards every pass, on each of the three roads: a bug ends neither the operator nor the object's next try, no write
//! is made once another may lead, and every write is counted. The API server is a function in this process.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::convert::Infallible;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use hyper::{Method, Request, Response};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use millrace_api::crd::RunPhase;
use millrace_api::crd::run::IngestionRunStatus;
use millrace_api::crd::status::StreamingPipelineStatus;
use millrace_api::names::Component;
use millrace_api::{IngestionRun, StreamingPipeline, validate};
use millrace_operator::act::{Act, Restart};
use millrace_operator::apply::{Applied, apply};
use millrace_operator::context::Context;
use millrace_operator::key::OperatorKey;
use millrace_operator::lease::Fence;
use millrace_operator::objects::scope::Administration;
use millrace_operator::observed::Observed;
use millrace_operator::plan::Plan;
use millrace_operator::publish::publish;
use millrace_operator::server::Readiness;
use millrace_operator::telemetry::Telemetry;
use millrace_operator::{controller, runs, schedules};
use millrace_stores::permitted::Permitted;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

const RUNS: &str = "/apis/millrace.dev/v1alpha1/namespaces/data/ingestionruns";
const PIPELINES: &str = "/apis/millrace.dev/v1alpha1/namespaces/data/streamingpipelines";

/// What was asked for: method and path.
type Asked = (Method, String);

/// An API server: every request is told of, and answered by a function. Lists are empty and watches see nothing unless it
/// answers them.
fn server(answer: impl Fn(&Asked) -> Option<Value> + Send + Sync + 'static) -> (Client, UnboundedReceiver<Asked>) {
    let (tell, told) = unbounded_channel();
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (tell, answer) = (tell.clone(), Arc::clone(&answer));
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let asked = (request.method().clone(), request.uri().path().to_owned());
        let answered: BoxFuture<'static, Result<Response<Body>, Infallible>> = if watches {
            pending().boxed()
        } else {
            async move {
                // Told first: an answer may be a panic.
                let _ = tell.send(asked.clone());
                let none =
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []});
                let text = serde_json::to_vec(&answer(&asked).unwrap_or(none)).expect("an answer is JSON");
                Ok(Response::new(Body::from(text)))
            }
            .boxed()
        };
        answered
    });
    (Client::new(service, "default"), told)
}

fn context(client: Client, fence: Fence) -> Context {
    let administration = Administration {
        worker_image: "worker:1".to_owned(),
        allowed_source_hosts: Vec::new(),
        operator_namespace: "millrace-system".to_owned(),
        allowed_stores: Permitted::default(),
        image_pull_secrets: Vec::new(),
        worker_env: Default::default(),
        key: OperatorKey::of([7; 32]),
    };
    Context::new(client, "operator-0".to_owned(), administration, Telemetry::default(), fence)
}

fn open() -> Fence {
    let fence = Fence::default();
    fence.renewed(Instant::now());
    fence
}

fn pipeline() -> StreamingPipeline {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/one.yaml");
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    serde_yaml::from_str(&text).expect("the fixture is a StreamingPipeline")
}

/// Returns a pipeline with a run that was due a minute ago.
fn due() -> Value {
    let mut pipeline = serde_json::to_value(pipeline()).expect("a pipeline is JSON");
    pipeline["spec"]["producer"]["sources"][0]["schedule"] = json!({"cron": "* * * * *", "catchUp": "Latest"});
    let decided = Timestamp::from_second(Timestamp::now().as_second() - 90).expect("a moment");
    pipeline["status"] = json!({"schedules": [{
        "source": "made-up", "decidedUntil": decided.to_string(), "missed": 0, "active": 0, "paused": false,
    }]});
    pipeline
}

fn run() -> Value {
    json!({
        "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun",
        "metadata": {"name": "again", "namespace": "data", "uid": "aaaa", "generation": 1, "resourceVersion": "1"},
        "spec": {"pipeline": "users", "source": "made-up"},
    })
}

fn list(item: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": [item]})
}

fn as_json(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("an object is JSON")
}

fn event() -> Value {
    json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "again", "namespace": "data"}})
}

/// Returns the sum of a metric's samples that have a label.
fn counted(ctx: &Context, metric: &str, label: &str) -> usize {
    let text = ctx.telemetry.render();
    let samples = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}

/// Returns how many writes of a kind are counted.
fn written_to(ctx: &Context, kind: &str) -> usize {
    counted(ctx, "millrace_api_writes_total", &format!("kind=\"{kind}\""))
}

fn is_event((method, path): &Asked) -> bool {
    *method != Method::GET && path.contains("/events")
}

/// Waits until something has been asked for so often.
async fn asked_for(told: &mut UnboundedReceiver<Asked>, times: usize, wanted: impl Fn(&Asked) -> bool) -> Vec<Asked> {
    let mut all = Vec::new();
    while all.iter().filter(|asked| wanted(asked)).count() < times {
        all.push(told.recv().await.expect("the server is there"));
    }
    all
}

/// Walks a road until something has been asked for so often; the road must not end before.
async fn walk(
    road: impl Future<Output = ()>,
    told: &mut UnboundedReceiver<Asked>,
    times: usize,
    wanted: impl Fn(&Asked) -> bool,
) -> Vec<Asked> {
    tokio::select! {
        () = road => panic!("the road ended"),
        asked = asked_for(told, times, wanted) => asked,
    }
}

/// Answers lists with one object and breaks down over that object itself.
fn breaks_down(asked: &Asked, path: &str, item: Value) -> Option<Value> {
    assert!(asked.1.strip_prefix(path).is_none_or(|rest| !rest.starts_with('/')), "a bug");
    (asked.1 == path).then(|| list(item))
}

fn reads(path: &str) -> impl Fn(&Asked) -> bool {
    move |(method, asked)| *method == Method::GET && asked.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

#[tokio::test]
async fn a_pipeline_that_brings_out_a_bug_is_tried_again_and_ends_nothing() {
    let (client, mut told) = server(|asked| breaks_down(asked, PIPELINES, as_json(&pipeline())));
    let ctx = context(client, open());
    let road = controller::run(ctx.clone(), Some("data".to_owned()), Readiness::default());
    walk(road, &mut told, 2, reads(PIPELINES)).await;
    assert!(counted(&ctx, "millrace_reconciles_total", "outcome=\"failed\"") >= 1);
}

#[tokio::test]
async fn a_run_that_brings_out_a_bug_is_tried_again_and_ends_nothing() {
    let (client, mut told) = server(|asked| breaks_down(asked, RUNS, run()));
    let ctx = context(client, open());
    walk(runs::run(ctx.clone(), Some("data".to_owned())), &mut told, 2, reads(RUNS)).await;
    assert!(counted(&ctx, "millrace_reconciles_total", "outcome=\"failed\"") >= 1);
}

#[tokio::test]
async fn a_schedule_that_brings_out_a_bug_is_tried_again_and_ends_nothing() {
    let (client, mut told) = server(|asked| breaks_down(asked, PIPELINES, due()));
    let ctx = context(client, open());
    walk(schedules::run(ctx.clone(), Some("data".to_owned())), &mut told, 2, reads(PIPELINES)).await;
    assert!(counted(&ctx, "millrace_reconciles_total", "outcome=\"failed\"") >= 1);
}

/// Which writes are followed by the loss of leadership.
type LosesAt = Option<Method>;

/// Returns the context of an operator that leads until it has made a write of this kind, and what it asks for.
fn leads_until(lost: LosesAt, answer: fn(&Asked) -> Option<Value>) -> (Context, UnboundedReceiver<Asked>) {
    let fence = open();
    let closing = fence.clone();
    let (client, told) = server(move |asked| {
        if lost.as_ref() == Some(&asked.0) {
            closing.close();
        }
        answer(asked)
    });
    (context(client, fence), told)
}

fn drain(told: &mut UnboundedReceiver<Asked>) -> Vec<Asked> {
    std::iter::from_fn(|| told.try_recv().ok()).collect()
}

#[rstest]
#[case::leads_on(None, 1)]
#[case::loses_the_lease(Some(Method::PATCH), 0)]
#[tokio::test]
async fn tells_of_a_pipeline_only_while_it_leads(#[case] lost: LosesAt, #[case] events: usize) {
    let (ctx, mut told) = leads_until(lost, |(method, _)| match *method {
        Method::PATCH => Some(as_json(&pipeline())),
        _ => Some(event()),
    });
    let status: StreamingPipelineStatus = serde_json::from_value(json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "AllComponentsReady", "message": "every link is met",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}))
    .expect("a status");
    let written = publish(&ctx, &pipeline(), &status, &Applied::default()).await;
    assert!(written.expect("the status is written"));
    assert_eq!(drain(&mut told).iter().filter(|asked| is_event(asked)).count(), events);
    assert_eq!((written_to(&ctx, "StreamingPipeline/status"), written_to(&ctx, "Event")), (1, events));
}

#[rstest]
#[case::leads_on(None, 1)]
#[case::loses_the_lease(Some(Method::PATCH), 0)]
#[tokio::test]
async fn tells_of_a_run_only_while_it_leads(#[case] lost: LosesAt, #[case] events: usize) {
    let (ctx, mut told) = leads_until(lost, |(method, _)| match *method {
        Method::PATCH => Some(run()),
        _ => Some(event()),
    });
    let resource: IngestionRun = serde_json::from_value(run()).expect("a run");
    let status = IngestionRunStatus { phase: Some(RunPhase::Running), ..IngestionRunStatus::default() };
    runs::apply::publish(&ctx, &resource, &status).await.expect("the status is written");
    assert_eq!(drain(&mut told).iter().filter(|asked| is_event(asked)).count(), events);
    assert_eq!((written_to(&ctx, "IngestionRun/status"), written_to(&ctx, "Event")), (1, events));
}

#[rstest]
#[case::leads_on(None, 1)]
#[case::loses_the_lease(Some(Method::POST), 0)]
#[tokio::test]
async fn tells_of_a_scheduled_run_only_while_it_leads(#[case] lost: LosesAt, #[case] events: usize) {
    let (ctx, mut told) = leads_until(lost, |(method, path)| match (method.clone(), path.as_str()) {
        (Method::GET, PIPELINES) => Some(list(due())),
        (Method::GET, path) if path.starts_with(PIPELINES) => Some(due()),
        (Method::POST, RUNS) => Some(run()),
        (Method::PATCH, _) => Some(due()),
        (Method::POST, _) => Some(event()),
        _ => None,
    });
    let road = schedules::run(ctx.clone(), Some("data".to_owned()));
    // An operator that loses the Lease has failed and reads again; one that leads on writes what was decided.
    let until: fn(&Asked) -> bool =
        if events == 0 { |asked| reads(PIPELINES)(asked) } else { |asked| asked.0 == Method::PATCH };
    let asked = walk(road, &mut told, if events == 0 { 2 } else { 1 }, until).await;
    assert_eq!(asked.iter().filter(|(method, path)| *method == Method::POST && path == RUNS).count(), 1);
    assert_eq!(asked.iter().filter(|asked| is_event(asked)).count(), events);
    // One that leads on may also have reported a missed due time.
    assert_eq!((written_to(&ctx, "IngestionRun"), written_to(&ctx, "Event") > 0), (1, events > 0));
}

#[rstest]
#[case::leads(open(), 1)]
#[case::does_not_lead(Fence::default(), 0)]
#[tokio::test]
async fn restarts_and_counts_a_pod_only_while_it_leads(#[case] fence: Fence, #[case] deleted: usize) {
    let (client, mut told) =
        server(|_| Some(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"})));
    let ctx = context(client, fence);
    let restart = Restart {
        pod: "users-kafka-0".to_owned(),
        uid: "bbbb".to_owned(),
        component: Component::Kafka,
        reason: "its template is outdated".to_owned(),
        is_repair: false,
    };
    let plan = Plan { acts: vec![Act::RestartPod(restart)], ..Plan::default() };
    let model = validate(&pipeline(), millrace_sql::judge).pipeline.expect("the fixture is valid");
    let (applied, failure) = apply(&ctx, &model, &Observed::default(), &plan).await;
    assert_eq!((applied.acts.len(), failure.is_some()), (deleted, deleted == 0));
    let deletes = drain(&mut told).into_iter().filter(|(method, _)| *method == Method::DELETE);
    assert_eq!((deletes.count(), written_to(&ctx, "Pod")), (deleted, deleted));
}
