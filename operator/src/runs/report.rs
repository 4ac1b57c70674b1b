//! What is known of a run → its status: pure. Unknown is absent, never zero.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use millrace_api::IngestionRun;
use millrace_api::crd::RunPhase;
use millrace_api::crd::condition::{ConditionType, Reason};
use millrace_api::crd::run::{Attempt, IngestionRunStatus, TopicRange};
use millrace_api::crd::time::{moment_of, time_of};
use millrace_terms::RunCounts;

use super::attempt::trace_id;
use super::observe::RunWorld;
use super::progress::{Ending, Progress, RunAct};
use crate::report::Conditions;

/// Longest message in the status.
const MAX_MESSAGE: usize = 4096;

/// What a pass says of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Where it stands.
    pub phase: RunPhase,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
    /// When the next attempt begins. Absent: none is planned.
    pub next_attempt: Option<DateTime<Utc>>,
    /// What to do.
    pub acts: Vec<RunAct>,
    /// How long to wait when nothing else wakes us.
    pub wait: Option<Duration>,
}

impl Judgement {
    /// Makes a judgement that asks for nothing.
    pub fn of(phase: RunPhase, reason: Reason, message: impl Into<String>) -> Self {
        Self { phase, reason, message: message.into(), next_attempt: None, acts: Vec::new(), wait: None }
    }
}

/// Returns whether nothing will happen to a run any more.
pub fn is_final(run: &IngestionRun) -> bool {
    run.status.as_ref().and_then(|status| status.phase).is_some_and(RunPhase::is_final)
}

/// Computes the status of a run.
pub(super) fn status(world: &RunWorld, progress: &[Progress], judgement: &Judgement) -> IngestionRunStatus {
    let old = world.resource.status.clone().unwrap_or_default();
    let attempts: Vec<Attempt> = progress.iter().map(closed).collect();
    // One unknown addend makes the sum unknown; an attempt under way that nobody has counted yet is none.
    let sum = |part: fn(&Attempt) -> Option<i64>| {
        let counts = |attempt: &&Attempt| attempt.end_time.is_some() || part(attempt).is_some();
        let mut counted = attempts.iter().filter(counts).map(part).peekable();
        counted.peek().is_some().then(|| counted.sum::<Option<i64>>()).flatten()
    };
    let results = progress.iter().filter_map(|progress| progress.ending.as_ref()?.result.as_ref());
    let mut ranges: BTreeMap<i32, TopicRange> =
        old.topic_ranges.iter().map(|range| (range.partition, *range)).collect();
    let mut incomplete = old.topic_ranges_incomplete;
    for result in results {
        incomplete |= result.ranges_incomplete;
        for (partition, first_offset, last_offset) in &result.ranges {
            let (partition, first_offset, last_offset) = (*partition, *first_offset, *last_offset);
            let range = ranges.entry(partition).or_insert(TopicRange { partition, first_offset, last_offset });
            range.first_offset = range.first_offset.min(first_offset);
            range.last_offset = range.last_offset.max(last_offset);
        }
    }
    let start_time = attempts.first().map(|attempt| attempt.start_time.clone());
    let last_end = attempts.iter().filter_map(|attempt| attempt.end_time.clone()).next_back();
    let completion_time = judgement.phase.is_final().then(|| last_end.unwrap_or_else(|| time_of(world.now)));
    let duration = start_time.as_ref().zip(completion_time.as_ref()).and_then(|(start, end)| {
        let took = (moment_of(end) - moment_of(start)).to_std().ok()?;
        Some(millrace_terms::Duration::from_secs(took.as_secs()).to_string())
    });
    let source = world.pipeline.as_ref().and_then(|pipeline| {
        pipeline.spec.producer.sources.iter().find(|source| source.name == world.resource.spec.source)
    });
    let has_begun = !attempts.is_empty();
    IngestionRunStatus {
        observed_generation: world.resource.metadata.generation,
        phase: Some(judgement.phase),
        conditions: conditions(world, judgement, &old),
        message: Some(judgement.message.chars().take(MAX_MESSAGE).collect()),
        start_time,
        completion_time,
        duration,
        attempt_count: i32::try_from(attempts.len()).ok(),
        next_attempt_time: judgement.next_attempt.map(time_of),
        records_read: sum(|attempt| attempt.records_read),
        records_produced: sum(|attempt| attempt.records_produced),
        records_rejected: sum(|attempt| attempt.records_rejected),
        bytes: sum(|attempt| attempt.bytes),
        topic: old.topic.or_else(|| source.map(|source| source.topic.clone()).filter(|_| has_begun)),
        topic_ranges: ranges.into_values().collect(),
        topic_ranges_incomplete: incomplete,
        trace_id: has_begun.then(|| trace_id(&world.resource)),
        attempts,
    }
}

/// Returns an attempt's record, with its end if that is news.
fn closed(progress: &Progress) -> Attempt {
    let Some(Ending { at, error, may_repeat: _, result }) = &progress.ending else {
        return progress.record.clone();
    };
    let count = |part: fn(&RunCounts) -> u64| i64::try_from(part(&result.as_ref()?.counts)).ok();
    Attempt {
        end_time: Some(time_of(*at)),
        error: error.as_ref().map(|error| error.chars().take(MAX_MESSAGE).collect()),
        records_read: count(|counts| counts.read),
        records_produced: count(|counts| counts.produced),
        records_rejected: count(|counts| counts.rejected),
        bytes: count(|counts| counts.bytes),
        ..progress.record.clone()
    }
}

fn conditions(
    world: &RunWorld,
    judgement: &Judgement,
    old: &IngestionRunStatus,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let Judgement { phase, message, .. } = judgement;
    let reason = judgement.reason;
    let mut conditions =
        Conditions::new(world.resource.metadata.generation.unwrap_or_default(), world.now, &old.conditions);
    let has_failed = matches!(phase, RunPhase::Failed);
    conditions.add(ConditionType::Complete, *phase == RunPhase::Succeeded, reason, message);
    conditions.add(ConditionType::Failed, has_failed, reason, message);
    conditions.add(ConditionType::Ready, *phase == RunPhase::Succeeded, reason, message);
    conditions.add(ConditionType::Reconciling, !phase.is_final(), reason, message);
    // A cancelled run is as it was asked to be; kstatus has no word for that but an end.
    conditions.add(ConditionType::Stalled, has_failed || *phase == RunPhase::Cancelled, reason, message);
    conditions.finish()
}
