//! What is known of a run's attempts, and what may be done about them: read off the status, Jobs and pods. Pure.

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use millrace_api::crd::run::Attempt;
use millrace_terms::{RunCounts, RunOutcome, RunResult};

use super::attempt::AttemptObjects;
use super::endings::PodSeen;
use super::observe::RunWorld;

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

/// Returns every attempt, oldest first.
pub fn progress(world: &RunWorld) -> Vec<Progress> {
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
                let error = format!("the worker exited with code {code} ({}): {said}", ended.reason);
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
        RunOutcome::Stopped => Some("it was stopped before its end".to_owned()),
        RunOutcome::Failed | RunOutcome::Rejected => {
            Some(result.error.clone().unwrap_or_else(|| "the worker gave no reason".to_owned()))
        }
    }
}
