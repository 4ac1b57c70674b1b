//! The world of a run → what to do next and the status. Pure.
//!
//! At most one attempt is under way. Its end is read from what its pod said last; what the pod cannot say, the Job does.
//! A run waits until its pipeline can take records, until no other run holds its source's position, and until its
//! backfill has a slot; by rank, so that two runs that look at the same moment never both take the last one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use millrace_api::crd::RunPhase;
use millrace_api::crd::run::{Attempt, BACKFILL_LABEL, IngestionRunStatus, MAX_ACTIVE};
use millrace_api::crd::time::moment_of;
use millrace_api::{IngestionRun, Pipeline, Rejected, Run, StreamingPipeline, validate_run, validate_sources};
use millrace_terms::{RunCounts, RunOutcome, RunResult};

use super::endings::PodSeen;
use super::observe::RunWorld;
use super::report::{Judgement, status};
use crate::desire::Administration;
use crate::desire::attempt::{AttemptObjects, attempt};

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

/// Something to be written to the API server. Each can be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum RunAct {
    /// Make the pipeline the run's owner, so that it goes with it.
    Adopt(OwnerReference),
    /// Begin an attempt.
    Begin(Box<AttemptObjects>),
    /// End an attempt: its pod is told to drain.
    Stop {
        /// Name of the Job.
        job: String,
        /// Its UID.
        uid: String,
    },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When.
    pub at: DateTime<Utc>,
    /// Why it failed. Absent: it has not.
    pub error: Option<String>,
    /// Whether another attempt may go better.
    pub may_repeat: bool,
    /// What it counted. Absent: unknown.
    pub result: Option<RunResult>,
}

/// What is known of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// As the status has it, but for an end that is news.
    pub record: Attempt,
    /// The end, if the status does not know of it yet.
    pub ending: Option<Ending>,
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

/// Returns every attempt, oldest first.
fn progress(world: &RunWorld) -> Vec<Progress> {
    let recorded = world.resource.status.as_ref().map_or(&[][..], |status| &status.attempts);
    let known = recorded.iter().map(|attempt| attempt.number.unsigned_abs());
    let last = known.chain(world.jobs.keys().copied()).max().unwrap_or_default();
    (1..=last).filter_map(|number| one_progress(world, recorded, number)).collect()
}

fn one_progress(world: &RunWorld, recorded: &[Attempt], number: u32) -> Option<Progress> {
    let old = recorded.iter().find(|attempt| attempt.number.unsigned_abs() == number);
    if let Some(closed) = old.filter(|old| old.end_time.is_some()) {
        return Some(Progress { record: closed.clone(), ending: None });
    }
    let (job, pod) = (world.jobs.get(&number), world.pods.get(&number));
    let created = job.and_then(|job| job.creation_timestamp());
    let counted = pod.and_then(|pod| pod.counts);
    // One that did not answer just now has as much as when it last did.
    let count = |now: fn(&RunCounts) -> u64, before: fn(&Attempt) -> Option<i64>| {
        counted.and_then(|counts| i64::try_from(now(&counts)).ok()).or_else(|| before(old?))
    };
    let record = Attempt {
        number: i32::try_from(number).ok()?,
        start_time: old.map(|old| old.start_time.clone()).or(created)?,
        end_time: None,
        pod: pod.map(|pod| pod.name.clone()).or_else(|| old?.pod.clone()),
        error: None,
        records_read: count(|counts| counts.read, |old| old.records_read),
        records_produced: count(|counts| counts.produced, |old| old.records_produced),
        records_rejected: count(|counts| counts.rejected, |old| old.records_rejected),
        bytes: count(|counts| counts.bytes, |old| old.bytes),
    };
    Some(Progress { record, ending: ending(job, pod, world.now) })
}

/// Returns how an attempt ended, if it has.
fn ending(job: Option<&Job>, pod: Option<&PodSeen>, now: DateTime<Utc>) -> Option<Ending> {
    if let Some(ended) = pod.and_then(|pod| pod.ended.as_ref()) {
        let at = ended.finished_at.unwrap_or(now);
        return Some(match serde_json::from_str::<RunResult>(&ended.message) {
            Ok(result) => Ending {
                at,
                error: error_of(&result),
                may_repeat: result.outcome != RunOutcome::Rejected,
                result: Some(result),
            },
            Err(_) => {
                let said = ended.message.lines().last().unwrap_or_default();
                let code = ended.exit_code;
                let error = format!("the worker ended with exit code {code} ({}): {said}", ended.reason);
                Ending { at, error: Some(error), may_repeat: true, result: None }
            }
        });
    }
    let Some(job) = job else {
        let error = "its Job was deleted, and its result is unknown".to_owned();
        return Some(Ending { at: now, error: Some(error), may_repeat: true, result: None });
    };
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is =
        |wanted: &str| conditions.into_iter().flatten().find(|found| found.type_ == wanted && found.status == "True");
    if is("Complete").is_some() {
        return Some(Ending { at: now, error: None, may_repeat: false, result: None });
    }
    let failed = is("Failed")?;
    let words = [&failed.reason, &failed.message].map(|word| word.clone().unwrap_or_default()).join(": ");
    let waited = pod.and_then(|pod| pod.waits_for.clone()).map(|why| format!("; its pod waited for {why}"));
    let error = format!("{words}{}", waited.unwrap_or_default());
    Some(Ending { at: now, error: Some(error), may_repeat: true, result: None })
}

fn error_of(result: &RunResult) -> Option<String> {
    match result.outcome {
        RunOutcome::Succeeded => None,
        RunOutcome::Stopped => Some("it was told to stop before its end".to_owned()),
        RunOutcome::Failed | RunOutcome::Rejected => {
            Some(result.error.clone().unwrap_or_else(|| "the worker does not say why".to_owned()))
        }
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
            Some(_) => Judgement::of(RunPhase::Succeeded, "Succeeded", "all records are in Kafka"),
            None if cancelled => Judgement::of(RunPhase::Cancelled, "Cancelled", "cancelled before its first attempt"),
            None => next(world, 1, administration),
        };
    };
    if cancelled {
        return Judgement::of(RunPhase::Cancelled, "Cancelled", format!("cancelled in attempt {}", last.record.number));
    }
    if last.ending.as_ref().is_some_and(|ending| !ending.may_repeat) {
        return Judgement::of(RunPhase::Failed, "Rejected", error);
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
        None => format!("attempt {number} is under way"),
    };
    let mut judgement = Judgement::of(RunPhase::Running, "AttemptUnderWay", message);
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
        return Judgement::of(RunPhase::Failed, "AttemptsFailed", message);
    };
    let due = ended + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    if world.now < due {
        let mut judgement =
            Judgement::of(RunPhase::Pending, "WaitingToRetry", format!("attempt {failed} has failed: {error}"));
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
    let mut judgement = Judgement::of(RunPhase::Pending, "AttemptBegins", message);
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
        return Err(waiting("PipelineNotFound", format!("there is no StreamingPipeline '{name}' in this namespace")));
    };
    if pipeline.metadata.deletion_timestamp.is_some() {
        return Err(waiting("PipelineDeleted", format!("StreamingPipeline '{name}' is being deleted")));
    }
    let validated = validate_sources(pipeline);
    let run = validate_run(&world.resource, pipeline, &validated).map_err(|rejected| {
        let words: Vec<String> = rejected.iter().map(Rejected::to_string).collect();
        Judgement::of(RunPhase::Failed, "Rejected", words.join("; "))
    })?;
    let conditions = pipeline.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let is_true = |wanted: &str| conditions.iter().any(|found| found.type_ == wanted && found.status == "True");
    if !is_true("TopicsReady") {
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let why = ready.map_or("its operator has not looked at it yet", |ready| ready.message.as_str());
        return Err(waiting("PipelineNotReady", format!("the topics of '{name}' are not ready: {why}")));
    }
    let model = validated.pipeline.expect("a run of a pipeline that cannot be parsed is rejected");
    Ok((pipeline, model, run))
}

fn waiting(reason: &'static str, message: impl Into<String>) -> Judgement {
    let mut judgement = Judgement::of(RunPhase::Pending, reason, message);
    judgement.wait = Some(WAITING);
    judgement
}

/// Returns which other runs this one waits for, if any.
fn waits_for_others(world: &RunWorld, run: &Run) -> Option<(&'static str, String)> {
    let resource = &world.resource;
    let source = &resource.spec.source;
    if run.exclusive {
        let rank = rank(world, |other| other.spec.source == *source);
        if rank > 0 {
            let message = format!("source '{source}' has one position, which another run has in hand");
            return Some(("SourceInUse", message));
        }
    }
    let backfill = resource.labels().get(BACKFILL_LABEL)?;
    let most: usize = resource.annotations().get(MAX_ACTIVE).and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
    let rank = rank(world, |other| other.labels().get(BACKFILL_LABEL) == Some(backfill));
    (rank >= most).then(|| {
        let message = format!("{rank} runs of backfill '{backfill}' come first, of which {most} may run at once");
        ("WaitingForSlot", message)
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
