//! One attempt of a run: from the road's begin to its end within limits, and the result that the operator reads.
//!
//! The result goes to a file, the container's termination message, whatever the end: an attempt without one was killed.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use millrace_terms::{
    LARGEST_RESULT, Origin, RUN_COUNTS_PATH, RunCounts, RunOutcome, RunResult, RunSettings, SourceSettings,
};
use snafu::{ResultExt, Snafu};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::health::produce::ProduceHealth;
use crate::message::{Header, RUN_HEADER, TRACE_PARENT_HEADER};
use crate::produce::{Account, Once, Produce};
use crate::source::limited::{End, Limits};

/// Longest error that a result holds, in characters.
const LONGEST_ERROR: usize = 1024;

/// Why an attempt has failed.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunAttempt {
    #[snafu(display("the run has failed: {problem}"))]
    Fail { problem: String },
    #[snafu(display("the run was stopped before its end"))]
    Stop,
    #[snafu(display("cannot write the result to '{path}'"))]
    WriteResult { path: String, source: std::io::Error },
}

/// Returns what the run adds to its lane.
pub fn once(run: &RunSettings) -> Once {
    Once::new(vec![
        Header::text(RUN_HEADER, run.name.as_str()),
        Header::text(TRACE_PARENT_HEADER, run.trace_parent.as_str()),
    ])
}

/// Returns the route where the operator reads what was counted so far.
pub fn routes(once: Option<&Once>) -> Router {
    let Some(once) = once.cloned() else { return Router::new() };
    Router::new().route(RUN_COUNTS_PATH, get(move || async move { Json(once.counts()) }))
}

/// Returns the limits of the run's source, from now on.
#[expect(clippy::disallowed_methods, reason = "the limits of an attempt count from its start")]
pub fn limits(run: &RunSettings, source: &SourceSettings) -> Limits {
    let end = match source.origin {
        Origin::Http(_) => End::FirstBatch,
        Origin::Files(_) => End::EmptyBatch,
        Origin::Generator(_) | Origin::Kafka(_) | Origin::Push(_) => End::Exhausted,
    };
    let until = run.duration.map(|duration| Instant::now() + duration.get());
    Limits { records: run.max_records, until, end }
}

/// Drives the road to the run's end, its timeout or `stop`, and writes the result.
pub async fn drive(
    road: Produce,
    run: &RunSettings,
    once: &Once,
    health: &Arc<ProduceHealth>,
    stop: CancellationToken,
) -> Result<(), RunAttempt> {
    let timeout: Duration = run.timeout.get();
    let mut driven = std::pin::pin!(road.run_to_end());
    let ended = tokio::select! {
        ended = &mut driven => ended,
        () = sleep(timeout) => {
            let kafka = health.kafka_problem().map(|problem| format!("; kafka cannot be used: {problem}"));
            once.fail(&format!("not at its end within the timeout, {}{}", run.timeout, kafka.unwrap_or_default()));
            stop.cancel();
            driven.await
        }
    };
    if let Err(error) = ended {
        once.fail(&error.to_string());
    }
    let account = once.account();
    let outcome = match &account {
        Account { error: Some(_), .. } => RunOutcome::Failed,
        Account { finished: true, .. } => RunOutcome::Succeeded,
        Account { .. } => RunOutcome::Stopped,
    };
    conclude(run, result(outcome, &account))
}

/// Writes the result of an attempt whose road could not even begin.
pub fn conclude_unbegun(run: &RunSettings, problem: &str, is_settings: bool) -> Result<(), RunAttempt> {
    let outcome = if is_settings { RunOutcome::Rejected } else { RunOutcome::Failed };
    let account = Account { error: Some(problem.to_owned()), ..Account::default() };
    conclude(run, result(outcome, &account))
}

#[expect(clippy::disallowed_methods, reason = "the result is written when nothing else runs any more")]
fn conclude(run: &RunSettings, result: RunResult) -> Result<(), RunAttempt> {
    let RunResult { outcome, counts: RunCounts { read, produced, rejected, bytes }, .. } = result;
    tracing::info!(?outcome, read, produced, rejected, bytes, "the attempt has ended");
    let path = run.result.to_string_lossy().into_owned();
    std::fs::write(&run.result, encoded(&result)).context(WriteResultSnafu { path })?;
    match outcome {
        RunOutcome::Succeeded => Ok(()),
        RunOutcome::Stopped => StopSnafu.fail(),
        RunOutcome::Failed | RunOutcome::Rejected => FailSnafu { problem: result.error.unwrap_or_default() }.fail(),
    }
}

fn result(outcome: RunOutcome, account: &Account) -> RunResult {
    let Account { counts, ranges, error, finished: _ } = account;
    RunResult {
        outcome,
        error: error.as_ref().map(|error| error.chars().take(LONGEST_ERROR).collect()),
        counts: *counts,
        ranges: ranges.iter().map(|(partition, (first, last))| (*partition, *first, *last)).collect(),
        ranges_incomplete: false,
    }
}

/// Encodes a result, without the ranges that its room does not suffice for.
fn encoded(result: &RunResult) -> String {
    let mut result = result.clone();
    loop {
        let text = serde_json::to_string(&result).expect("numbers and texts are JSON");
        if text.len() <= LARGEST_RESULT || result.ranges.is_empty() {
            return text;
        }
        result.ranges.truncate(result.ranges.len() * 3 / 4);
        result.ranges_incomplete = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_fits_a_termination_message_and_says_what_is_left_out() {
        let ranges = (0..2_000).map(|partition| (partition, (1_000_000_000_000, 2_000_000_000_000))).collect();
        let counts = RunCounts { produced: 7, ..RunCounts::default() };
        let account = Account { counts, ranges, error: Some("é".repeat(5_000)), finished: false };
        let text = encoded(&result(RunOutcome::Failed, &account));
        assert!(text.len() <= LARGEST_RESULT, "{} bytes", text.len());
        let read: RunResult = serde_json::from_str(&text).expect("a result");
        assert!(read.ranges_incomplete && read.ranges.len() > 10, "{} ranges", read.ranges.len());
        assert_eq!((read.counts.produced, read.ranges[0]), (7, (0, 1_000_000_000_000, 2_000_000_000_000)));

        let few = Account { ranges: [(3, (1, 2))].into(), ..Account::default() };
        let read: RunResult = serde_json::from_str(&encoded(&result(RunOutcome::Succeeded, &few))).expect("a result");
        assert_eq!((read.ranges, read.ranges_incomplete, read.error), (vec![(3, 1, 2)], false, None));
    }
}
