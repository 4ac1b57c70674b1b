//! IngestionRuns: a small road of their own, walked for each run, and the watches that call it.
//!
//! ```text
//! observe (ctx, &run)       -> RunWorld    reads: the run, its pipeline, Jobs, pods and their counts, the other runs
//! plan    (&world, …)       -> RunPlan     pure: what to do, and the status
//! apply   (ctx, &plan)      -> ()          makes and ends attempts
//! publish (ctx, &plan)      -> ()          the status if it differs; events on transitions
//! ```
//!
//! Level-triggered like the pipelines' road: what happened is read off Jobs and pods each time, so that an operator that
//! was killed anywhere goes on where it was.

pub mod apply;
pub mod counts;
pub mod endings;
pub mod observe;
pub mod plan;
pub mod report;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, ResourceExt};
use millrace_api::IngestionRun;
use millrace_terms::causes::chain_of;
use snafu::Snafu;
use tracing::Instrument;

use crate::context::Context;
use crate::controller::scoped;
use crate::labels::{MANAGED_SELECTOR, RUN_LABEL};
use endings::Endings;

/// How soon a run is looked at again after a failed pass.
const FAILED: Duration = Duration::from_secs(5);
/// Runs reconciled at once.
const CONCURRENCY: u16 = 8;
/// Bursts of events about one run become one reconcile; short, since a pod's end is followed by its removal.
const DEBOUNCE: Duration = Duration::from_millis(100);

type Watched = DeserializeGuard<IngestionRun>;

/// Why a pass failed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReconcileRun {
    #[snafu(transparent)]
    Observe { source: observe::ObserveRun },
    #[snafu(transparent)]
    Apply { source: apply::ApplyRun },
}

struct Shared {
    ctx: Context,
    endings: Endings,
}

/// Watches and reconciles the runs of one namespace, or of all, until the process ends.
pub async fn run(ctx: Context, namespace: Option<String>) {
    let client = &ctx.client;
    let ours = watcher::Config::default().labels(MANAGED_SELECTOR);
    let endings = Endings::default();
    let shared = Arc::new(Shared { ctx: ctx.clone(), endings: endings.clone() });
    let (cache, writer) = reflector::store();
    let api: Api<Watched> = match namespace.as_deref() {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    // Our own status writes wake nobody.
    let runs = reflector(writer, watcher(api, watcher::Config::default()))
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let pods = scoped::<Pod>(client, namespace.as_deref());
    Controller::for_stream(runs, cache)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .owns(scoped::<Job>(client, namespace.as_deref()), ours.clone())
        .watches(pods, ours.labels(&format!("{MANAGED_SELECTOR},{RUN_LABEL}")), move |pod: Pod| {
            endings.note(&pod);
            run_of(&pod)
        })
        .run(reconcile, |_, _, _| Action::requeue(FAILED), shared)
        .for_each(|outcome| {
            // A failed reconcile was told where it failed; what is left are watches that begin anew.
            if let Err(error) = outcome {
                tracing::debug!(%error, "controller of runs");
            }
            std::future::ready(())
        })
        .await;
}

fn run_of(pod: &Pod) -> Option<ObjectRef<Watched>> {
    let name = pod.labels().get(RUN_LABEL)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

async fn reconcile(watched: Arc<Watched>, shared: Arc<Shared>) -> Result<Action, ReconcileRun> {
    let (namespace, name) = (watched.namespace().unwrap_or_default(), watched.name_any());
    let span = tracing::info_span!("reconcile", namespace, run = name);
    let passed = pass(&shared, &namespace, &name).instrument(span.clone()).await;
    if let Err(error) = &passed {
        tracing::warn!(parent: &span, error = %chain_of(error), "reconcile of a run failed");
    }
    Ok(passed?.map_or_else(Action::await_change, Action::requeue))
}

/// Walks the road once; returns how long to wait when nothing else wakes us.
async fn pass(shared: &Shared, namespace: &str, name: &str) -> Result<Option<Duration>, ReconcileRun> {
    let ctx = &shared.ctx;
    let Some(world) = observe::observe(ctx, &shared.endings, namespace, name).await? else {
        return Ok(None);
    };
    if world.resource.metadata.deletion_timestamp.is_some() || report::is_final(&world.resource) {
        shared.endings.forget(&world.resource);
        // What belongs to a run goes with it.
        return Ok(None);
    }
    let plan = plan::plan(&world, &ctx.administration);
    apply::apply(ctx, &world, &plan).await?;
    apply::publish(ctx, &world.resource, &plan.status).await?;
    Ok(plan.wait)
}
