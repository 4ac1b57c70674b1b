//! The road: one reconcile from end to end, and the watches that call it.
//!
//! Level-triggered: why it was woken does not matter. A pipeline that is not ready is looked at again soon, a ready one
//! slowly; a failed pass backs off. Pipelines are reconciled side by side, and one that fails delays no other.

use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::Config;
use kube::runtime::reflector::ObjectRef;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::status::ScalingStatus;
use millrace_api::names::Names;
use millrace_api::{Pipeline, Rejected, StreamingPipeline, Validated};
use millrace_terms::causes::chain_of;
use snafu::Snafu;

use crate::allowed::allowed;
use crate::apply::{Applied, Apply, apply};
use crate::context::Context;
use crate::desire::{desire, inputs};
use crate::labels::{INSTANCE_LABEL, is_paused};
use crate::observe::{observe, read_pipeline};
use crate::observed::Observed;
use crate::plan::{Plan, plan};
use crate::publish::{Publish, publish};
use crate::report::{Failure, Outcome, report};
use crate::road::{Passed, Road, Watched, Watches, keep, ours};
use crate::scale::scale;
use crate::server::Readiness;
use crate::telemetry::Ended;
use crate::workers::scaling::EVERY;

/// How soon a pipeline that is on its way is looked at again, beside what watches tell.
const ON_ITS_WAY: Duration = Duration::from_secs(2);
/// How often a ready pipeline is looked at: lag, quorum and ring tell nobody when they change.
const READY: Duration = Duration::from_secs(15);
/// How soon a number of processors that was recorded is carried out.
const DECIDED: Duration = Duration::from_millis(200);
/// How often a pipeline is looked at that only people can help: a quota or a right may have been given meanwhile.
const REJECTED: Duration = Duration::from_secs(60);
/// Pipelines reconciled at once.
const CONCURRENCY: u16 = 16;
/// Bursts of events about one pipeline become one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Why a pass ended without a status.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Reconcile {
    #[snafu(display("cannot observe"), context(false))]
    Observe { source: crate::observe::Observe },
    #[snafu(display("cannot judge a query"), context(false))]
    Compile { source: crate::compiler::Compile },
    #[snafu(display("cannot publish"), context(false))]
    Publish { source: Publish },
}

/// Watches and reconciles the pipelines of one namespace, or of all, until the process ends.
pub async fn run(ctx: Context, namespace: Option<String>, readiness: Readiness) {
    let watches = Watches { client: &ctx.client, namespace: namespace.as_deref() };
    let mut controller =
        watches.controller::<StreamingPipeline>(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE));
    for owned in [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<StatefulSet>(&()),
    ] {
        controller = watches.owned(controller, owned);
    }
    let pods = ApiResource::erase::<Pod>(&());
    let changed = watches.watch(&pods, ours()).touched_objects();
    let controller = controller.watches_stream_with(changed, |pod| pipeline_of(&pod), pods);
    readiness.set();
    let telemetry = ctx.telemetry.clone();
    let forgetting = ctx.clone();
    let road = Road {
        name: "pipelines",
        span: |key| {
            let trace_id = uuid::Uuid::new_v4().simple().to_string();
            tracing::info_span!("reconcile", namespace = key.namespace, pipeline = key.name, trace_id)
        },
        pass: Box::new(move |key| {
            let ctx = ctx.clone();
            async move { Ok(pass(&ctx, &Names::new(key.namespace, key.name)).await?) }.boxed()
        }),
        forget: Box::new(move |key| forgetting.forget(&Names::new(&key.namespace, &key.name))),
        telemetry,
    };
    keep(road, controller).await;
}

fn pipeline_of(pod: &Watched) -> Option<ObjectRef<Watched>> {
    let name = pod.labels().get(INSTANCE_LABEL)?;
    Some(ObjectRef::new_with(name, ApiResource::erase::<StreamingPipeline>(&())).within(&pod.namespace()?))
}

/// Walks the road once.
#[expect(clippy::disallowed_methods, reason = "what was not observed has no time of its own")]
pub async fn pass(ctx: &Context, names: &Names) -> Result<Passed, Reconcile> {
    let Some(resource) = read_pipeline(ctx, names).await? else {
        ctx.forget(names);
        return Ok(Passed { ended: Ended::Gone, wait: None });
    };
    if resource.metadata.deletion_timestamp.is_some() {
        // Owner references and the StatefulSets' volume retention do the rest; there is no finalizer to hang.
        return Ok(Passed { ended: Ended::Gone, wait: None });
    }
    let Validated { pipeline, rejected } =
        allowed(ctx.compiler.validate(&resource).await?, &ctx.administration.allowed_stores);
    let Some(pipeline) = pipeline else {
        let status = report(&resource, &Outcome::Unparsable { rejected: &rejected }, chrono::Utc::now());
        publish(ctx, &resource, &status, &Applied::default()).await?;
        ctx.telemetry.pipeline_judged(names, false);
        return Ok(Passed { ended: Ended::Rejected, wait: Some(REJECTED) });
    };
    let observed = match observe(ctx, &resource, &pipeline).await {
        Ok(observed) => observed,
        Err(error) => return unobserved(ctx, &resource, &rejected, &error).await,
    };
    walk(ctx, &resource, &pipeline, &rejected, &observed).await
}

async fn walk(
    ctx: &Context,
    resource: &StreamingPipeline,
    pipeline: &Pipeline,
    rejected: &[Rejected],
    observed: &Observed,
) -> Result<Passed, Reconcile> {
    // Thousands of partitions take a while to place; other passes, and the Lease, go on.
    let plan = tokio::task::block_in_place(|| plan_pass(ctx, resource, pipeline, observed));
    let (applied, error) = match is_paused(resource) {
        true => (Applied::default(), None),
        false => apply(ctx, pipeline, observed, &plan).await,
    };
    if error.as_ref().is_some_and(Apply::is_namespace_terminating) {
        return Ok(Passed { ended: Ended::Gone, wait: None });
    }
    let failure = error.map(|error| Failure { message: chain_of(&error), rejected: error.is_rejected() });
    if let Some(failure) = &failure {
        tracing::warn!(error = %failure.message, "the plan was not carried out");
    }
    let ended = match &failure {
        Some(failure) if failure.rejected => Ended::Rejected,
        Some(_) => Ended::Failed,
        None => Ended::Done,
    };
    let outcome = Outcome::Planned { pipeline, rejected, observed, plan: &plan, failure };
    let status = report(resource, &outcome, observed.now);
    publish(ctx, resource, &status, &applied).await?;
    let chain_met = plan.first_unmet().is_none();
    let is_valid = rejected.is_empty() && plan.refused.is_empty();
    let flows = chain_met && plan.intact.first.is_none() && plan.suspension.is_none();
    let is_ready = flows && is_valid && ended == Ended::Done;
    ctx.telemetry.pipeline_judged(&pipeline.names, is_ready);
    let wait = match ended {
        Ended::Rejected => REJECTED,
        Ended::Done if chain_met && plan.is_empty() && !plan.is_under_way() => READY,
        Ended::Done | Ended::Failed | Ended::Gone => ON_ITS_WAY,
    };
    let wait = wait.min(until_it_opens(&plan, observed).unwrap_or(wait));
    let wait = wait.min(scaled(ctx, resource, pipeline, &status).unwrap_or(wait));
    Ok(Passed { ended, wait: Some(wait) })
}

/// Counts what was decided about the number of processors. Returns how long it is until the load is looked at again, or
/// what was decided is carried out. `None`: neither processors nor producers follow the load, or not now.
fn scaled(
    ctx: &Context,
    resource: &StreamingPipeline,
    pipeline: &Pipeline,
    status: &StreamingPipelineStatus,
) -> Option<Duration> {
    let (processors, producers) = (status.scaling(), status.producer_scaling());
    ctx.telemetry.processors_judged(&pipeline.names, processors.map(|now| now.recommended));
    if is_paused(resource) || pipeline.suspend || processors.or(producers).is_none() {
        return None;
    }
    let before = resource.status.as_ref();
    let processors = processors.filter(|now| is_news(before.and_then(StreamingPipelineStatus::scaling), now));
    let producers = producers.filter(|now| is_news(before.and_then(StreamingPipelineStatus::producer_scaling), now));
    if let Some(now) = processors {
        ctx.telemetry.processors_scaled(&pipeline.names, &now.reason);
    }
    Some(if processors.or(producers).is_some() { DECIDED } else { EVERY })
}

/// Returns whether a number has just been decided on.
fn is_news(before: Option<&ScalingStatus>, now: &ScalingStatus) -> bool {
    before.and_then(|before| before.last_scaled.as_ref()) != now.last_scaled.as_ref()
}

/// Returns how long it is until what waits for a time may be done. `None`: nothing does.
fn until_it_opens(plan: &Plan, observed: &Observed) -> Option<Duration> {
    let until = plan.waiting.iter().filter_map(|waiting| waiting.cause.until).min()?;
    (until - observed.now).to_std().ok()
}

/// The pure middle of the road.
fn plan_pass(ctx: &Context, resource: &StreamingPipeline, pipeline: &Pipeline, observed: &Observed) -> Plan {
    let scale = scale(pipeline, observed);
    let administration = ctx.administration.clone().with_faults_of(resource);
    let inputs = inputs(pipeline, observed, resource.status.as_ref(), &scale, administration);
    plan(pipeline, desire(pipeline, &inputs), observed, scale.membership)
}

#[expect(clippy::disallowed_methods, reason = "a reconcile is timed; what was not observed has no time of its own")]
async fn unobserved(
    ctx: &Context,
    resource: &StreamingPipeline,
    rejected: &[Rejected],
    error: &crate::observe::Observe,
) -> Result<Passed, Reconcile> {
    let failure = Failure { message: chain_of(error), rejected: false };
    tracing::warn!(error = %failure.message, "cannot observe");
    let status = report(resource, &Outcome::Unobserved { failure, rejected }, chrono::Utc::now());
    publish(ctx, resource, &status, &Applied::default()).await?;
    Ok(Passed { ended: Ended::Failed, wait: None })
}
