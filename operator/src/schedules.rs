//! Schedules: makes the IngestionRuns that are due, and says which due times were missed.
//!
//! ```text
//! pass    (ctx, &pipeline)  reads the pipeline and its runs
//! plan    (&world)          -> SchedulePlan   pure: which runs to make, cancel and delete, and the status
//! pass                      carries the plan's writes out, in order
//! ```
//!
//! The order of the writes is the promise: a run is made before its due time is noted as decided, and deleted only after
//! that is noted. A run's name follows from its due time, so an operator that is killed in between makes it again in
//! vain.

pub mod clock;
pub mod plan;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use kube::api::{ListParams, Patch, PatchParams, PropagationPolicy};
use kube::core::{ApiResource, DeserializeGuard, DynamicObject};
use kube::runtime::controller::Config;
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::{Component, Names};
use millrace_api::{IngestionRun, StreamingPipeline, Validated, validate_sources};
use serde_json::json;
use snafu::{ResultExt, Snafu};

use crate::answer::AskApi;
use crate::context::Context;
use crate::labels::is_paused;
use crate::road::{Failed, Key, Passed, Road, Watched, Watches, keep};
use crate::telemetry::Ended;
use crate::write::{self, Writer};
use clock::Clock;
use plan::{Missed, ScheduleWorld, SourcePlan, Write, plan, writes};

/// Field manager of `.status.schedules`, which is no part of the status that the pipelines' own road writes.
const FIELD_MANAGER: &str = "millrace-schedules";
/// Longest that the clock goes unread: timers do not notice when it is set.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bursts of events about one pipeline become one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Why a pass failed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReconcileSchedules {
    #[snafu(display("cannot read StreamingPipeline '{name}' and its runs"))]
    Read { name: String, source: AskApi },
    #[snafu(display("cannot create IngestionRun '{name}'"))]
    CreateRun { name: String, source: write::Write },
    #[snafu(display("cannot cancel IngestionRun '{name}'"))]
    CancelRun { name: String, source: write::Write },
    #[snafu(display("cannot delete IngestionRun '{name}'"))]
    DeleteRun { name: String, source: write::Write },
    #[snafu(display("cannot write the schedules of StreamingPipeline '{name}'"))]
    WriteStatus { name: String, source: write::Write },
}

/// Keeps the schedules of one namespace, or of all, until the process ends.
pub async fn run(ctx: Context, namespace: Option<String>) {
    let watches = Watches { client: &ctx.client, namespace: namespace.as_deref() };
    let runs = ApiResource::erase::<IngestionRun>(&());
    // Runs tell their pipeline in their spec.
    let changed = watches.watch_whole(&runs, watcher::Config::default()).touched_objects();
    let controller = watches.controller::<StreamingPipeline>(Config::default().debounce(DEBOUNCE));
    let controller = controller.watches_stream_with(changed, pipeline_of, runs);
    let telemetry = ctx.telemetry.clone();
    let road = Road {
        name: "schedules",
        span: |key| tracing::info_span!("reconcile", namespace = key.namespace, pipeline = key.name),
        pass: Box::new(move |key| {
            let ctx = ctx.clone();
            async move { pass(&ctx, &key).await }.boxed()
        }),
        forget: Box::new(|_| {}),
        telemetry,
    };
    keep(road, controller).await;
}

fn pipeline_of(run: DynamicObject) -> Option<ObjectRef<Watched>> {
    let pipeline = run.data.get("spec")?.get("pipeline")?.as_str()?;
    Some(ObjectRef::new_with(pipeline, ApiResource::erase::<StreamingPipeline>(&())).within(&run.namespace()?))
}

/// Looks once at the schedules of a pipeline.
#[expect(clippy::disallowed_methods, reason = "the road of schedules reads the clock here; its plan is pure")]
async fn pass(ctx: &Context, Key { namespace, name }: &Key) -> Result<Passed, Failed> {
    let done = |wait| Ok(Passed { ended: Ended::Done, wait });
    let pipelines: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), namespace);
    let found = pipelines.get_opt(name).await.map_err(AskApi::from).context(ReadSnafu { name })?;
    let Some(pipeline) = found.filter(|pipeline| pipeline.metadata.deletion_timestamp.is_none()) else {
        return Ok(Passed { ended: Ended::Gone, wait: None });
    };
    if is_paused(&pipeline) {
        // What comes due meanwhile is decided afterwards, by the rules for what is late.
        return done(None);
    }
    let kept = pipeline.status.as_ref().and_then(|status| status.schedules.as_ref());
    let has_schedule = pipeline.spec.producer.sources.iter().any(|source| source.schedule.is_some());
    if !has_schedule && kept.is_none_or(Vec::is_empty) {
        return done(None);
    }
    let readable: Api<DeserializeGuard<IngestionRun>> = Api::namespaced(ctx.client.clone(), namespace);
    let listed = readable.list(&ListParams::default()).await.map_err(AskApi::from).context(ReadSnafu { name })?;
    let listed: Vec<IngestionRun> = listed.items.into_iter().filter_map(|run| run.0.ok()).collect();
    let clock = Clock::of(&pipeline);
    let planned = match &clock {
        Ok(clock) => plans(&pipeline, &listed, clock.at(Utc::now())),
        Err(why) => Some(kept.into_iter().flatten().map(|old| SourcePlan::held(old, why)).collect()),
    };
    let Some(plans) = planned else {
        // No run can be made of the spec: nothing is decided until one can, and then by the rules for what is late.
        return done(Some(LONGEST_WAIT));
    };
    for write in writes(&pipeline, &plans) {
        carry_out(ctx, &pipeline, &write).await?;
    }
    let next = plans.iter().filter_map(|plan| plan.next).min();
    let until = clock.ok().zip(next).map(|(clock, next)| {
        let left = next - clock.at(Utc::now());
        clock.wait(left) + Duration::from_millis(50)
    });
    done(Some(until.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)))
}

/// Plans every schedule of a pipeline. `None`: its spec cannot be parsed, or no run can be made of its producers' pods.
pub fn plans(pipeline: &StreamingPipeline, runs: &[IngestionRun], now: DateTime<Utc>) -> Option<Vec<SourcePlan>> {
    let Validated { pipeline: model, rejected } = validate_sources(pipeline);
    let model = model.filter(|model| !model.held.contains_key(&Component::Producer))?;
    let statuses = pipeline.status.as_ref().and_then(|status| status.schedules.as_deref()).unwrap_or_default();
    let mut plans = Vec::new();
    for source in pipeline.spec.producer.sources.iter().filter(|source| source.schedule.is_some()) {
        let old = statuses.iter().find(|status| status.source == source.name);
        if pipeline.spec.suspend {
            plans.extend(old.map(SourcePlan::suspended));
            continue;
        }
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

async fn carry_out(ctx: &Context, pipeline: &StreamingPipeline, write: &Write) -> Result<(), ReconcileSchedules> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let runs = Writer::of::<IngestionRun>(ctx, &namespace);
    match write {
        Write::Cancel(name) => {
            let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
            match runs.patch(name, &PatchParams::default(), &cancel).await {
                Err(error) if error.code() == Some(404) => Ok(()),
                cancelled => cancelled.map(drop).context(CancelRunSnafu { name }),
            }
        }
        Write::Create(run) => {
            let name = run.name_any();
            match runs.create(&name, run).await {
                Ok(()) => {
                    let due = run.spec.scheduled_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
                    let note = format!("created run '{name}' of source '{}', due at {due}", run.spec.source);
                    announce(ctx, pipeline, EventType::Normal, "RunCreated", note).await;
                    Ok(())
                }
                // Made by an operator that was killed before this was noted.
                Err(error) if error.code() == Some(409) => Ok(()),
                Err(error) => Err(error).context(CreateRunSnafu { name }),
            }
        }
        Write::Status { schedules, missed } => {
            let name = pipeline.name_any();
            let status = json!({"schedules": schedules});
            let pipelines = Writer::of::<StreamingPipeline>(ctx, &namespace);
            let written = pipelines.apply_status(&name, pipeline.uid().as_deref(), FIELD_MANAGER, &status).await;
            if !written.context(WriteStatusSnafu { name: &name })? {
                return Ok(());
            }
            let names = Names::new(namespace, name);
            for Missed { source, reason, count, latest: _ } in missed {
                ctx.telemetry.due_times_missed(&names, source, reason.as_str(), *count);
            }
            tell_missed(ctx, pipeline, missed).await;
            Ok(())
        }
        Write::Delete { name, uid } => {
            let deleted = runs.delete(name, uid, Some(PropagationPolicy::Background)).await;
            deleted.context(DeleteRunSnafu { name })
        }
    }
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
    // The status counts what was missed, too.
    write::announce(ctx, &pipeline.object_ref(&()), event).await;
}
