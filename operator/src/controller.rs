//! The road: one reconcile from end to end, and the watches that call it.
//!
//! Level-triggered: why it was woken does not matter. A pipeline that is not ready is looked at again soon, a ready one
//! slowly; a failed pass backs off. Pipelines are reconciled side by side, and one that fails delays no other.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::Names;
use millrace_api::{Pipeline, Rejected, StreamingPipeline, Validated};
use millrace_terms::causes::chain_of;
use snafu::Snafu;
use tracing::Instrument;

use crate::apply::{Applied, Apply, apply};
use crate::context::Context;
use crate::desire::{Inputs, desire};
use crate::labels::{INSTANCE_LABEL, MANAGED_SELECTOR};
use crate::observe::{Observed, observe, read_pipeline};
use crate::plan::{Plan, plan};
use crate::publish::{Publish, publish};
use crate::report::{Failure, Outcome, report};
use crate::telemetry::Ended;

/// How soon a pipeline that is on its way is looked at again, beside what watches tell.
const ON_ITS_WAY: Duration = Duration::from_secs(2);
/// How often a ready pipeline is looked at: lag, quorum and ring tell nobody when they change.
const READY: Duration = Duration::from_secs(15);
/// How often a pipeline is looked at that only people can help: a quota or a right may have been given meanwhile.
const REJECTED: Duration = Duration::from_secs(60);
/// First and longest wait after a failed pass.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Pipelines reconciled at once.
const CONCURRENCY: u16 = 16;
/// Bursts of events about one pipeline become one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(200);

type Watched = DeserializeGuard<StreamingPipeline>;

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
    #[snafu(display("the reconcile panicked, which is a bug: {message}"))]
    Panic { message: String },
}

/// Consecutive failures per pipeline, for the backoff.
#[derive(Default)]
struct Failures(std::sync::Mutex<BTreeMap<Names, u32>>);

impl Failures {
    fn next_wait(&self, names: &Names) -> Duration {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        let count = counts.entry(names.clone()).or_default();
        *count += 1;
        let (first, longest) = BACKOFF;
        let ceiling = first.saturating_mul(1 << (*count).min(10)).min(longest);
        ceiling.mul_f64(rand::random_range(0.5..1.0))
    }

    fn forget(&self, names: &Names) {
        self.0.lock().expect("no holder of this lock panics").remove(names);
    }
}

struct Shared {
    ctx: Context,
    failures: Failures,
}

/// Watches and reconciles the pipelines of one namespace, or of all, until the process ends.
pub async fn run(ctx: Context, namespace: Option<String>, readiness: crate::server::Readiness) {
    let all = watcher::Config::default();
    let ours = watcher::Config::default().labels(MANAGED_SELECTOR);
    let client = &ctx.client;
    let shared = Arc::new(Shared { ctx: ctx.clone(), failures: Failures::default() });
    let pods = scoped::<Pod>(client, namespace.as_deref());
    let (cache, writer) = reflector::store();
    // Our own status writes wake nobody: under load the lag would change again with every one of them.
    let pipelines = reflector(writer, watcher(scoped_pipelines(client, namespace.as_deref()), all))
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let controller = Controller::for_stream(pipelines, cache)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .owns(scoped::<ConfigMap>(client, namespace.as_deref()), ours.clone())
        .owns(scoped::<Deployment>(client, namespace.as_deref()), ours.clone())
        .owns(scoped::<NetworkPolicy>(client, namespace.as_deref()), ours.clone())
        .owns(scoped::<PodDisruptionBudget>(client, namespace.as_deref()), ours.clone())
        .owns(scoped::<Service>(client, namespace.as_deref()), ours.clone())
        .owns(scoped::<ServiceAccount>(client, namespace.as_deref()), ours.clone())
        .owns(scoped::<StatefulSet>(client, namespace.as_deref()), ours.clone())
        .watches(pods, ours, |pod: Pod| pipeline_of(&pod));
    readiness.set();
    controller
        .run(reconcile, error_policy, Arc::clone(&shared))
        .for_each(|outcome| {
            match outcome {
                Ok(_) => {}
                Err(controller::Error::ObjectNotFound(gone)) => shared.forget(&gone),
                // A failed reconcile was told where it failed; what is left are watches that begin anew.
                Err(error) => tracing::debug!(%error, "controller"),
            }
            std::future::ready(())
        })
        .await;
}

impl Shared {
    /// Forgets a pipeline that is not there any more; the controller asks for no reconcile of it.
    fn forget(&self, gone: &ObjectRef<DynamicObject>) {
        let names = Names::new(gone.namespace.clone().unwrap_or_default(), gone.name.clone());
        self.failures.forget(&names);
        self.ctx.forget(&names);
    }
}

fn scoped_pipelines(client: &kube::Client, namespace: Option<&str>) -> Api<Watched> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

pub(crate) fn scoped<K>(client: &kube::Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn pipeline_of(pod: &Pod) -> Option<ObjectRef<Watched>> {
    let name = pod.labels().get(INSTANCE_LABEL)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

async fn reconcile(watched: Arc<Watched>, shared: Arc<Shared>) -> Result<Action, Reconcile> {
    let names = Names::new(watched.namespace().unwrap_or_default(), watched.name_any());
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let span = tracing::info_span!("reconcile", namespace = names.namespace(), pipeline = names.pipeline(), trace_id);
    let begun = Instant::now();
    // A bug that one pipeline brings out must not end the operator for all others.
    let passed = AssertUnwindSafe(pass(&shared.ctx, &names)).catch_unwind().instrument(span.clone()).await;
    let passed = passed.unwrap_or_else(|panic| PanicSnafu { message: text_of(panic.as_ref()) }.fail());
    let (ended, action) = match passed {
        Ok((ended, wait)) => {
            if ended != Ended::Failed {
                shared.failures.forget(&names);
            }
            let wait = if ended == Ended::Failed { Some(shared.failures.next_wait(&names)) } else { wait };
            (ended, Ok(wait.map_or_else(Action::await_change, Action::requeue)))
        }
        Err(error) => {
            tracing::error!(parent: &span, error = %chain_of(&error), "reconcile failed");
            (Ended::Failed, Err(error))
        }
    };
    shared.ctx.telemetry.reconciled(ended, begun.elapsed());
    action
}

fn error_policy(watched: Arc<Watched>, _: &Reconcile, shared: Arc<Shared>) -> Action {
    let names = Names::new(watched.namespace().unwrap_or_default(), watched.name_any());
    Action::requeue(shared.failures.next_wait(&names))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Walks the road once. Returns how it ended, and how long to wait when nothing else wakes us.
async fn pass(ctx: &Context, names: &Names) -> Result<(Ended, Option<Duration>), Reconcile> {
    let Some(resource) = read_pipeline(ctx, names).await? else {
        ctx.forget(names);
        return Ok((Ended::Gone, None));
    };
    if resource.metadata.deletion_timestamp.is_some() {
        // Owner references and the StatefulSets' volume retention do the rest; there is no finalizer to hang.
        return Ok((Ended::Gone, None));
    }
    let Validated { pipeline, rejected } = ctx.compiler.validate(&resource).await?;
    let Some(pipeline) = pipeline else {
        let status = report(&resource, &Outcome::Unparsable { rejected: &rejected }, chrono::Utc::now());
        publish(ctx, &resource, &status, &Applied::default()).await?;
        ctx.telemetry.pipeline_judged(names, false);
        return Ok((Ended::Rejected, Some(REJECTED)));
    };
    let observed = match observe(ctx, &pipeline).await {
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
) -> Result<(Ended, Option<Duration>), Reconcile> {
    let plan = plan_pass(ctx, resource, pipeline, observed);
    let (applied, error) = apply(ctx, pipeline, observed, &plan).await;
    if error.as_ref().is_some_and(Apply::is_namespace_terminating) {
        return Ok((Ended::Gone, None));
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
    ctx.telemetry.pipeline_judged(&pipeline.names, chain_met && rejected.is_empty() && ended == Ended::Done);
    let wait = match ended {
        Ended::Rejected => REJECTED,
        Ended::Done if chain_met && plan.is_empty() => READY,
        Ended::Done | Ended::Failed | Ended::Gone => ON_ITS_WAY,
    };
    Ok((ended, Some(wait)))
}

/// The pure middle of the road.
fn plan_pass(ctx: &Context, resource: &StreamingPipeline, pipeline: &Pipeline, observed: &Observed) -> Plan {
    let inputs = Inputs::of(pipeline, observed, resource.status.as_ref(), ctx.administration.clone());
    plan(pipeline, desire(pipeline, &inputs), observed)
}

async fn unobserved(
    ctx: &Context,
    resource: &StreamingPipeline,
    rejected: &[Rejected],
    error: &crate::observe::Observe,
) -> Result<(Ended, Option<Duration>), Reconcile> {
    let failure = Failure { message: chain_of(error), rejected: false };
    tracing::warn!(error = %failure.message, "cannot observe");
    let status = report(resource, &Outcome::Unobserved { failure, rejected }, chrono::Utc::now());
    publish(ctx, resource, &status, &Applied::default()).await?;
    Ok((Ended::Failed, None))
}
