//! Reads what the decision about a run needs, live. Never writes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::try_join;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use millrace_api::{IngestionRun, StreamingPipeline};
use millrace_terms::RUN_COUNTS_PATH;
use snafu::{ResultExt, Snafu};

use super::endings::{Endings, Pods, attempt_of, seen};
use crate::answer::AskApi;
use crate::context::Context;
use crate::inquiry;
use crate::labels::{ATTEMPT_LABEL, run_selector};

/// Largest answer of an attempt that is read, in bytes: four numbers.
const LARGEST_COUNTS: usize = 1024;

/// Why the world of a run could not be read.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ObserveRun {
    #[snafu(display("cannot read IngestionRun '{name}'"))]
    ReadRun { name: String, source: AskApi },
    #[snafu(display("cannot read what IngestionRun '{name}' needs"))]
    ReadRest { name: String, source: AskApi },
}

/// What there is.
#[derive(Clone, Debug)]
pub struct RunWorld {
    /// When it was read.
    pub now: DateTime<Utc>,
    /// The run.
    pub resource: IngestionRun,
    /// Its pipeline. Absent: there is none of that name.
    pub pipeline: Option<StreamingPipeline>,
    /// The run's Jobs by number of the attempt.
    pub jobs: BTreeMap<u32, Job>,
    /// The run's pods, those that are gone and were heard of included.
    pub pods: Pods,
    /// All runs of the pipeline, this one included.
    pub siblings: Vec<IngestionRun>,
}

/// Reads the world of a run. `None`: the run is gone.
#[expect(clippy::disallowed_methods, reason = "observe reads the clock for the whole road")]
pub async fn observe(
    ctx: &Context,
    endings: &Endings,
    namespace: &str,
    name: &str,
) -> Result<Option<RunWorld>, ObserveRun> {
    let runs: Api<IngestionRun> = Api::namespaced(ctx.client.clone(), namespace);
    let found = runs.get_opt(name).await.map_err(AskApi::from).context(ReadRunSnafu { name })?;
    let Some(resource) = found else { return Ok(None) };
    let pipelines: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), namespace);
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    // One that an older operator cannot read must not hold up the others.
    let readable: Api<DeserializeGuard<IngestionRun>> = Api::namespaced(ctx.client.clone(), namespace);
    let of_run = ListParams::default().labels(&run_selector(name));
    let all = ListParams::default();
    let read = async {
        try_join!(
            pipelines.get_opt(&resource.spec.pipeline),
            jobs.list(&of_run),
            pods.list(&of_run),
            readable.list(&all)
        )
    };
    let (pipeline, jobs, pods, runs) = read.await.map_err(AskApi::from).context(ReadRestSnafu { name })?;
    let uid = resource.uid().unwrap_or_default();
    let number = |job: &Job| job.labels().get(ATTEMPT_LABEL)?.parse().ok();
    let mut known = endings.of(&resource);
    for pod in &pods.items {
        // Those of an earlier run of this name are about to go.
        if let Some((_, number)) = attempt_of(pod).filter(|(owner, _)| *owner == uid) {
            let seen = seen(pod);
            let is_news = seen.ended.is_some() || known.get(&number).is_none_or(|known| known.ended.is_none());
            if is_news {
                known.insert(number, seen);
            }
        }
    }
    for seen in known.values_mut().filter(|seen| seen.ended.is_none()) {
        if let Some(address) = seen.address {
            seen.counts = inquiry::ask(address, RUN_COUNTS_PATH, LARGEST_COUNTS).await;
        }
    }
    Ok(Some(RunWorld {
        now: Utc::now(),
        jobs: jobs
            .items
            .into_iter()
            .filter(|job| job.owner_references().iter().any(|owner| owner.uid == uid))
            .filter_map(|job| Some((number(&job)?, job)))
            .collect(),
        pods: known,
        siblings: runs
            .items
            .into_iter()
            .filter_map(|run| run.0.ok())
            .filter(|run| run.spec.pipeline == resource.spec.pipeline)
            .collect(),
        pipeline,
        resource,
    }))
}
