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
pub mod attempt;
pub mod endings;
pub mod observe;
pub mod plan;
pub mod progress;
pub mod report;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::Config;
use kube::runtime::reflector::ObjectRef;
use millrace_api::IngestionRun;
use serde_json::Value;

use crate::context::Context;
use crate::labels::{MANAGED_SELECTOR, RUN_LABEL};
use crate::road::{Failed, Key, Passed, Road, Watched, Watches, keep, ours};
use crate::telemetry::Ended;
use endings::Endings;

/// Runs reconciled at once.
const CONCURRENCY: u16 = 8;
/// Bursts of events about one run become one reconcile; short, since a pod's end is followed by its removal.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Watches and reconciles the runs of one namespace, or of all, until the process ends.
pub async fn run(ctx: Context, namespace: Option<String>) {
    let watches = Watches { client: &ctx.client, namespace: namespace.as_deref() };
    let endings = Endings::default();
    let controller = watches.controller::<IngestionRun>(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE));
    let controller = watches.owned(controller, ApiResource::erase::<Job>(&()));
    let pods = ApiResource::erase::<Pod>(&());
    let of_runs = ours().labels(&format!("{MANAGED_SELECTOR},{RUN_LABEL}"));
    let noted = endings.clone();
    let controller = controller.watches_stream_with(
        watches.watch_whole(&pods, of_runs).touched_objects(),
        move |pod| {
            let pod = pod_of(pod);
            noted.note(&pod);
            run_of(&pod)
        },
        pods,
    );
    let telemetry = ctx.telemetry.clone();
    let shared = Arc::new((ctx, endings));
    let road = Road {
        name: "runs",
        span: |key| tracing::info_span!("reconcile", namespace = key.namespace, run = key.name),
        pass: Box::new(move |key| {
            let shared = Arc::clone(&shared);
            async move { pass(&shared.0, &shared.1, &key).await }.boxed()
        }),
        forget: Box::new(|_| {}),
        telemetry,
    };
    keep(road, controller).await;
}

/// Returns a pod without its spec, in which nothing happens. What cannot be read of it is left to the next pass.
fn pod_of(mut object: DynamicObject) -> Pod {
    let status = object.data.get_mut("status").map(Value::take);
    let status = status.and_then(|status| serde_json::from_value(status).ok());
    Pod { metadata: object.metadata, spec: None, status }
}

fn run_of(pod: &Pod) -> Option<ObjectRef<Watched>> {
    let name = pod.labels().get(RUN_LABEL)?;
    Some(ObjectRef::new_with(name, ApiResource::erase::<IngestionRun>(&())).within(&pod.namespace()?))
}

/// Walks the road once.
async fn pass(ctx: &Context, endings: &Endings, Key { namespace, name }: &Key) -> Result<Passed, Failed> {
    let Some(world) = observe::observe(ctx, endings, namespace, name).await? else {
        return Ok(Passed { ended: Ended::Gone, wait: None });
    };
    if world.resource.metadata.deletion_timestamp.is_some() || report::is_final(&world.resource) {
        endings.forget(&world.resource);
        // What belongs to a run goes with it.
        return Ok(Passed { ended: Ended::Done, wait: None });
    }
    let plan = plan::plan(&world, &ctx.administration);
    apply::apply(ctx, &world, &plan).await?;
    apply::publish(ctx, &world.resource, &plan.status).await?;
    Ok(Passed { ended: Ended::Done, wait: plan.wait })
}
