//! Schedules: makes the IngestionRuns that are due, and says which due times were missed.
//!
//! ```text
//! pass    (ctx, &pipeline)  reads the pipeline and its runs
//! plan    (&world)          -> SchedulePlan   pure: which runs to make, cancel and delete, and the status
//! pass                      carries the plan's writes out, in order
//! ```
//!
//! The order of the writes is the promise: a run is made before its due time is noted as decided, and deleted only after
//! that is noted. A run's name follows from its due time, so whoever is killed in between makes it again in vain.

pub mod clock;
pub mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use millrace_api::crd::ScheduleStatus;
use millrace_api::names::Names;
use millrace_api::{IngestionRun, StreamingPipeline, Validated, validate_sources};
use millrace_terms::causes::chain_of;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use crate::context::Context;
use crate::controller::scoped;
use clock::Clock;
use plan::{Missed, ScheduleWorld, SourcePlan, Write, plan, writes};

/// Field manager of `.status.schedules`, which is no part of the status that the pipelines' own road writes.
const FIELD_MANAGER: &str = "millrace-schedules";
/// Longest that the clock goes unread: timers do not notice when it is set.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How soon a pass that failed is repeated.
const FAILED: Duration = Duration::from_secs(5);

type Watched = DeserializeGuard<StreamingPipeline>;

/// Why a pass failed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReconcileSchedules {
    #[snafu(display("cannot read StreamingPipeline '{name}' and its runs"))]
    Read { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot create IngestionRun '{name}'"))]
    CreateRun { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot cancel IngestionRun '{name}'"))]
    CancelRun { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot delete IngestionRun '{name}'"))]
    DeleteRun { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot write the schedules of StreamingPipeline '{name}'"))]
    WriteStatus { name: String, source: Box<kube::Error> },
    #[snafu(display("another operator may lead by now; the rest is left to it"))]
    KeepLeadership,
}

/// Keeps the schedules of one namespace, or of all, until the process ends.
pub async fn run(ctx: Context, namespace: Option<String>) {
    let client = &ctx.client;
    let pipelines: Api<Watched> = match namespace.as_deref() {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let runs = scoped::<DeserializeGuard<IngestionRun>>(client, namespace.as_deref());
    let (cache, writer) = reflector::store();
    // Status writes wake nobody; the clock does.
    let pipelines = reflector(writer, watcher(pipelines, watcher::Config::default()))
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    Controller::for_stream(pipelines, cache)
        .with_config(Config::default().debounce(Duration::from_millis(200)))
        .watches(runs, watcher::Config::default(), |run: DeserializeGuard<IngestionRun>| {
            let run = run.0.ok()?;
            Some(ObjectRef::<Watched>::new(&run.spec.pipeline).within(&run.namespace()?))
        })
        .run(reconcile, |_, _, _| Action::requeue(FAILED), Arc::new(ctx))
        .for_each(|outcome| {
            // A failed reconcile was told where it failed; what is left are watches that begin anew.
            if let Err(error) = outcome {
                tracing::debug!(%error, "controller of schedules");
            }
            std::future::ready(())
        })
        .await;
}

async fn reconcile(watched: Arc<Watched>, ctx: Arc<Context>) -> Result<Action, ReconcileSchedules> {
    let (namespace, name) = (watched.namespace().unwrap_or_default(), watched.name_any());
    let passed = pass(&ctx, &namespace, &name).await;
    if let Err(error) = &passed {
        tracing::warn!(namespace, pipeline = name, error = %chain_of(error), "schedules were not kept");
    }
    Ok(passed?.map_or_else(Action::await_change, Action::requeue))
}

/// Looks once at the schedules of a pipeline; returns how long to wait when nothing else wakes us.
async fn pass(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Duration>, ReconcileSchedules> {
    let pipelines: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), namespace);
    let found = pipelines.get_opt(name).await.map_err(Box::new).context(ReadSnafu { name })?;
    let Some(pipeline) = found.filter(|pipeline| pipeline.metadata.deletion_timestamp.is_none()) else {
        return Ok(None);
    };
    let kept = pipeline.status.as_ref().and_then(|status| status.schedules.as_ref());
    let has_schedule = pipeline.spec.producer.sources.iter().any(|source| source.schedule.is_some());
    if !has_schedule && kept.is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    let runs: Api<IngestionRun> = Api::namespaced(ctx.client.clone(), namespace);
    let readable: Api<DeserializeGuard<IngestionRun>> = Api::namespaced(ctx.client.clone(), namespace);
    let listed = readable.list(&ListParams::default()).await.map_err(Box::new).context(ReadSnafu { name })?;
    let listed: Vec<IngestionRun> = listed.items.into_iter().filter_map(|run| run.0.ok()).collect();
    let clock = Clock::of(&pipeline);
    let planned = match &clock {
        Ok(clock) => plans(&pipeline, &listed, clock.at(Utc::now())),
        Err(why) => Some(kept.into_iter().flatten().map(|old| SourcePlan::held(old, why)).collect()),
    };
    let Some(plans) = planned else {
        // The spec cannot be parsed: nothing is decided until it can, and then by the rules for what is late.
        return Ok(Some(LONGEST_WAIT));
    };
    for write in writes(&pipeline, &plans) {
        ensure!(ctx.fence.is_open(), KeepLeadershipSnafu);
        carry_out(ctx, &pipeline, &runs, &write).await?;
    }
    let next = plans.iter().filter_map(|plan| plan.next).min();
    let until = clock.ok().zip(next).map(|(clock, next)| {
        let left = next - clock.at(Utc::now());
        clock.wait(left) + Duration::from_millis(50)
    });
    Ok(Some(until.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)))
}

/// Plans every schedule of a pipeline. `None`: its spec cannot be parsed.
pub fn plans(pipeline: &StreamingPipeline, runs: &[IngestionRun], now: DateTime<Utc>) -> Option<Vec<SourcePlan>> {
    let Validated { pipeline: model, rejected } = validate_sources(pipeline);
    let model = model?;
    let statuses = pipeline.status.as_ref().and_then(|status| status.schedules.as_deref()).unwrap_or_default();
    let mut plans = Vec::new();
    for source in pipeline.spec.producer.sources.iter().filter(|source| source.schedule.is_some()) {
        let old = statuses.iter().find(|status| status.source == source.name);
        let valid = model.producer.runnable.iter().find(|found| found.settings.name == source.name);
        match valid.and_then(|found| found.schedule.as_ref()) {
            Some(schedule) => {
                let world = ScheduleWorld { now, pipeline, source: &source.name, schedule, old, runs };
                plans.extend(plan(&world));
            }
            None => {
                let why = rejected.first().map(ToString::to_string).unwrap_or_default();
                plans.extend(old.map(|old| SourcePlan::held(old, &why)));
            }
        }
    }
    Some(plans)
}

async fn carry_out(
    ctx: &Context,
    pipeline: &StreamingPipeline,
    runs: &Api<IngestionRun>,
    write: &Write,
) -> Result<(), ReconcileSchedules> {
    match write {
        Write::Cancel(name) => {
            ctx.telemetry.object_written("IngestionRun", name);
            let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
            match runs.patch(name, &PatchParams::default(), &cancel).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                Err(error) => Err(Box::new(error)).context(CancelRunSnafu { name }),
            }
        }
        Write::Create(run) => {
            let name = run.name_any();
            ctx.telemetry.object_written("IngestionRun", &name);
            match runs.create(&PostParams::default(), run).await {
                Ok(_) => {
                    let due = run.spec.scheduled_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
                    let note = format!("made run '{name}' of source '{}', due at {due}", run.spec.source);
                    announce(ctx, pipeline, EventType::Normal, "RunCreated", note).await;
                    Ok(())
                }
                // Made by whoever was killed before this was noted.
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                Err(error) => Err(Box::new(error)).context(CreateRunSnafu { name }),
            }
        }
        Write::Status { schedules, missed } => {
            let name = pipeline.name_any();
            write_status(ctx, pipeline, schedules).await.map_err(Box::new).context(WriteStatusSnafu { name })?;
            let names = Names::new(pipeline.namespace().unwrap_or_default(), pipeline.name_any());
            for Missed { source, reason, count, latest: _ } in missed {
                ctx.telemetry.due_times_missed(&names, source, *reason, *count);
            }
            tell_missed(ctx, pipeline, missed).await;
            Ok(())
        }
        Write::Delete { name, uid } => {
            let only_this = DeleteParams {
                preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
                ..DeleteParams::background()
            };
            ctx.telemetry.object_written("IngestionRun", name);
            match runs.delete(name, &only_this).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                Err(error) => Err(Box::new(error)).context(DeleteRunSnafu { name }),
            }
        }
    }
}

async fn write_status(
    ctx: &Context,
    pipeline: &StreamingPipeline,
    schedules: &[ScheduleStatus],
) -> Result<(), kube::Error> {
    let name = pipeline.name_any();
    let api: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), &pipeline.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": StreamingPipeline::api_version(&()),
        "kind": StreamingPipeline::kind(&()),
        "metadata": {"name": name, "uid": pipeline.uid()},
        "status": {"schedules": schedules},
    });
    ctx.telemetry.object_written("StreamingPipeline/status", &name);
    api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await.map(drop)
}

/// Tells of missed due times: one event for each source and reason.
async fn tell_missed(ctx: &Context, pipeline: &StreamingPipeline, missed: &[Missed]) {
    let groups: BTreeSet<(&str, &str)> =
        missed.iter().map(|missed| (missed.source.as_str(), missed.reason.as_str())).collect();
    for (source, reason) in groups {
        let times = missed.iter().filter(|missed| missed.source == source && missed.reason.as_str() == reason);
        let (count, latest) = times
            .fold((0_u64, None), |(count, latest), missed| (count + missed.count, latest.max(Some(missed.latest))));
        let latest = latest.map(millrace_api::params::rfc3339).unwrap_or_default();
        let note =
            format!("source '{source}': {count} due times passed without a run, the latest at {latest}: {reason}");
        announce(ctx, pipeline, EventType::Warning, "RunMissed", note).await;
    }
}

async fn announce(ctx: &Context, pipeline: &StreamingPipeline, kind: EventType, reason: &str, note: String) {
    let event = Event {
        type_: kind,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Schedule".to_owned(),
        secondary: None,
    };
    // An event decides nothing; the status counts what was missed.
    if let Err(error) = ctx.events.publish(&event, &pipeline.object_ref(&())).await {
        tracing::warn!(reason, %error, "cannot publish an event");
    }
}
