//! The world of a run → what to do next and the status. Pure.
//!
//! At most one attempt is under way; `progress` has its end, from what its pod said last or from the Job.
//! A run waits until its pipeline can take records and is not suspended, until no other run holds its source's position,
//! and until its backfill has a slot; by rank, so that two runs that look at the same moment never both take the last one.

use std::time::Duration;

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use millrace_api::crd::RunPhase;
use millrace_api::crd::condition::{ConditionType, Link, Reason};
use millrace_api::crd::run::{BACKFILL_LABEL, IngestionRunStatus, MAX_ACTIVE};
use millrace_api::crd::time::moment_of;
use millrace_api::{IngestionRun, Pipeline, Rejected, Run, StreamingPipeline, validate_run, validate_sources};

use super::attempt::attempt;
use super::observe::RunWorld;
use super::progress::{Progress, RunAct, progress};
use super::report::{Judgement, status};
use crate::labels::{PAUSED, is_paused};
use crate::objects::scope::Administration;

/// How often a run that waits for something else is looked at.
const WAITING: Duration = Duration::from_secs(3);
/// How often an attempt under way is looked at and counted, beside what watches tell.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// What to do about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPlan {
    /// What to write to the API server, in order.
    pub acts: Vec<RunAct>,
    /// What the run's status shall be.
    pub status: IngestionRunStatus,
    /// How long to wait when nothing else wakes us. Absent: until something changes.
    pub wait: Option<Duration>,
}

/// Plans one pass.
pub fn plan(world: &RunWorld, administration: &Administration) -> RunPlan {
    let progress = progress(world);
    let judgement = judge(world, &progress, administration);
    RunPlan {
        status: status(world, &progress, &judgement),
        acts: judgement.acts,
        wait: if judgement.phase.is_final() { None } else { judgement.wait },
    }
}

fn judge(world: &RunWorld, progress: &[Progress], administration: &Administration) -> Judgement {
    let cancelled = world.resource.spec.cancel;
    let last = progress.last();
    if let Some(open) = last.filter(|last| last.record.end_time.is_none() && last.ending.is_none()) {
        return under_way(world, open);
    }
    let error = match last {
        None => None,
        Some(Progress { record, ending: None }) => record.error.clone(),
        Some(Progress { ending: Some(ending), .. }) => ending.error.clone(),
    };
    let (Some(last), Some(error)) = (last, error) else {
        return match last {
            Some(_) => Judgement::of(RunPhase::Succeeded, Reason::Succeeded, "all records are in Kafka"),
            None if cancelled => {
                Judgement::of(RunPhase::Cancelled, Reason::Cancelled, "cancelled before its first attempt")
            }
            None => next(world, 1, administration),
        };
    };
    if cancelled {
        return Judgement::of(
            RunPhase::Cancelled,
            Reason::Cancelled,
            format!("cancelled in attempt {}", last.record.number),
        );
    }
    if last.ending.as_ref().is_some_and(|ending| !ending.may_repeat) {
        return Judgement::of(RunPhase::Failed, Reason::Rejected, error);
    }
    repeat(world, progress, &error, administration)
}

fn under_way(world: &RunWorld, open: &Progress) -> Judgement {
    let number = open.record.number.unsigned_abs();
    let pod = world.pods.get(&number);
    let job = world.jobs.get(&number);
    let is_ending = job.is_some_and(|job| job.metadata.deletion_timestamp.is_some());
    let message = match pod.and_then(|pod| pod.waits_for.as_ref()) {
        _ if world.resource.spec.cancel => format!("attempt {number} is being drained, since the run is cancelled"),
        Some(why) => format!("attempt {number} waits: {why}"),
        None => format!("attempt {number} is running"),
    };
    let mut judgement = Judgement::of(RunPhase::Running, Reason::AttemptUnderWay, message);
    judgement.wait = Some(UNDER_WAY);
    if world.resource.spec.cancel
        && !is_ending
        && let Some(job) = job
    {
        judgement.acts.push(RunAct::Stop { job: job.name_any(), uid: job.uid().unwrap_or_default() });
    }
    judgement
}

/// Plans what follows a failed attempt.
fn repeat(world: &RunWorld, progress: &[Progress], error: &str, administration: &Administration) -> Judgement {
    let failed = u32::try_from(progress.len()).unwrap_or(u32::MAX);
    let run = match prepare(world) {
        Ok((_, _, run)) => run,
        Err(judgement) => return judgement,
    };
    let ended = progress.last().map_or(world.now, |last| match (&last.ending, &last.record.end_time) {
        (Some(ending), _) => ending.at,
        (None, Some(end)) => moment_of(end),
        (None, None) => world.now,
    });
    let Some(wait) = run.retry.wait_after(failed) else {
        let message = match failed {
            1 => error.to_owned(),
            _ => format!("{failed} attempts have failed; the last one: {error}"),
        };
        return Judgement::of(RunPhase::Failed, Reason::AttemptsFailed, message);
    };
    let due = ended + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    if world.now < due {
        let mut judgement =
            Judgement::of(RunPhase::Pending, Reason::WaitingToRetry, format!("attempt {failed} has failed: {error}"));
        judgement.next_attempt = Some(due);
        judgement.wait = (due - world.now).to_std().ok();
        return judgement;
    }
    next(world, failed + 1, administration)
}

/// Begins the next attempt, or says what it waits for.
fn next(world: &RunWorld, number: u32, administration: &Administration) -> Judgement {
    let (pipeline, model, run) = match prepare(world) {
        Ok(prepared) => prepared,
        Err(judgement) => return judgement,
    };
    let resource = &world.resource;
    if let Some((reason, message)) = waits_for_others(world, &run) {
        return waiting(reason, message);
    }
    let message = format!("attempt {number} begins");
    let mut judgement = Judgement::of(RunPhase::Pending, Reason::AttemptBegins, message);
    judgement.wait = Some(WAITING);
    let owner = owner(pipeline);
    if !resource.owner_references().iter().any(|known| known.uid == owner.uid) {
        judgement.acts.push(RunAct::Adopt(owner));
    }
    let objects = attempt(&model, administration, resource, &run, number);
    judgement.acts.push(RunAct::Begin(Box::new(objects)));
    judgement
}

/// Returns the run and its pipeline, as written and validated, if it can be carried out now.
fn prepare(world: &RunWorld) -> Result<(&StreamingPipeline, Pipeline, Run), Judgement> {
    let name = &world.resource.spec.pipeline;
    let Some(pipeline) = &world.pipeline else {
        return Err(waiting(
            Reason::PipelineNotFound,
            format!("there is no StreamingPipeline '{name}' in this namespace"),
        ));
    };
    if pipeline.metadata.deletion_timestamp.is_some() {
        return Err(waiting(Reason::PipelineDeleted, format!("StreamingPipeline '{name}' is being deleted")));
    }
    let validated = validate_sources(pipeline);
    let run = validate_run(&world.resource, pipeline, &validated).map_err(|rejected| {
        let words: Vec<String> = rejected.iter().map(Rejected::to_string).collect();
        Judgement::of(RunPhase::Failed, Reason::Rejected, words.join("; "))
    })?;
    if is_paused(pipeline) {
        return Err(waiting(Reason::Paused, format!("'{name}' is paused by the annotation {PAUSED}")));
    }
    if pipeline.spec.suspend {
        return Err(waiting(Reason::Suspended, format!("'{name}' is suspended by spec.suspend")));
    }
    let conditions = pipeline.status.as_ref().map_or(&[][..], |status| &status.conditions);
    if !Link::Topics.condition().is_true(conditions) {
        let ready = ConditionType::Ready.of(conditions);
        let why = ready.map_or("the operator has not processed it yet", |ready| ready.message.as_str());
        return Err(waiting(Reason::PipelineNotReady, format!("the topics of '{name}' are not ready: {why}")));
    }
    let model = validated.pipeline.expect("a run of a pipeline that cannot be parsed is rejected");
    Ok((pipeline, model, run))
}

fn waiting(reason: Reason, message: impl Into<String>) -> Judgement {
    let mut judgement = Judgement::of(RunPhase::Pending, reason, message);
    judgement.wait = Some(WAITING);
    judgement
}

/// Returns which other runs this one waits for, if any.
fn waits_for_others(world: &RunWorld, run: &Run) -> Option<(Reason, String)> {
    let resource = &world.resource;
    let source = &resource.spec.source;
    if run.exclusive {
        let rank = rank(world, |other| other.spec.source == *source);
        if rank > 0 {
            let message = format!("source '{source}' has one position, which another run is using");
            return Some((Reason::SourceInUse, message));
        }
    }
    let backfill = resource.labels().get(BACKFILL_LABEL)?;
    let most: usize = resource.annotations().get(MAX_ACTIVE).and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
    let rank = rank(world, |other| other.labels().get(BACKFILL_LABEL) == Some(backfill));
    (rank >= most).then(|| {
        let message = format!("{rank} runs of backfill '{backfill}' come first; at most {most} run at once");
        (Reason::WaitingForSlot, message)
    })
}

/// Returns how many runs that have not ended come before this one: those under way, then by time and name.
fn rank(world: &RunWorld, counts: impl Fn(&IngestionRun) -> bool) -> usize {
    let order = |run: &IngestionRun| {
        let phase = run.status.as_ref().and_then(|status| status.phase);
        let has_begun = run.status.as_ref().is_some_and(|status| !status.attempts.is_empty());
        let time = run.spec.scheduled_time.clone().or_else(|| run.creation_timestamp());
        (phase != Some(RunPhase::Running), !has_begun, time, run.name_any())
    };
    let open = |run: &&IngestionRun| {
        run.metadata.deletion_timestamp.is_none()
            && !run.status.as_ref().and_then(|status| status.phase).is_some_and(RunPhase::is_final)
    };
    let own = order(&world.resource);
    let others = world.siblings.iter().filter(|other| other.uid() != world.resource.uid());
    others.filter(open).filter(|other| counts(other)).filter(|other| order(other) < own).count()
}

/// Returns the reference by which a run is its pipeline's.
pub fn owner(pipeline: &StreamingPipeline) -> OwnerReference {
    OwnerReference {
        api_version: StreamingPipeline::api_version(&()).into_owned(),
        kind: StreamingPipeline::kind(&()).into_owned(),
        name: pipeline.name_any(),
        uid: pipeline.uid().unwrap_or_default(),
        controller: None,
        block_owner_deletion: Some(false),
    }
}
