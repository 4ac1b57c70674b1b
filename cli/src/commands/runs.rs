//! `runs`: lists, shows and cancels runs.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use millrace_api::IngestionRun;
use millrace_api::crd::RunPhase;
use millrace_api::crd::run::{Attempt, REQUESTED_BY};
use millrace_api::crd::time::moment_of;
use millrace_api::params::rfc3339;
use serde_json::json;

use super::Context;
use crate::arguments::{ListRuns, Runs, RunsAction};
use crate::screen::{Colour, Format, Screen, document, known, printable, span, write};
use crate::{Failure, Outcome};

/// Does what was asked for.
pub async fn run(context: &Context<'_>, flags: &Runs) -> Result<Outcome, Failure> {
    match &flags.action {
        None => list(context, &flags.list).await,
        Some(RunsAction::List(wanted)) => list(context, wanted).await,
        Some(RunsAction::Show { name }) => show(context, name).await,
        Some(RunsAction::Cancel { names }) => cancel(context, names).await,
    }
}

#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it draws is given the time")]
async fn list(context: &Context<'_>, wanted: &ListRuns) -> Result<Outcome, Failure> {
    let api: Api<IngestionRun> = context.cluster.api_of(wanted.all_namespaces);
    let mut runs = api.list(&ListParams::default()).await.map_err(Failure::asking("list runs"))?.items;
    let fits = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
    runs.retain(|run| fits(&wanted.pipeline, &run.spec.pipeline) && fits(&wanted.source, &run.spec.source));
    runs.sort_by_key(|run| std::cmp::Reverse(run.creation_timestamp()));
    let text = match context.format {
        Format::Table if runs.is_empty() => {
            eprintln!("note: no matching runs");
            String::new()
        }
        Format::Table => table(&runs, wanted.all_namespaces, Utc::now(), context.screen),
        format => document(format, &runs),
    };
    write(&text)?;
    Ok(Outcome::Fine)
}

async fn show(context: &Context<'_>, name: &str) -> Result<Outcome, Failure> {
    let api: Api<IngestionRun> = context.cluster.api();
    let run = api.get(name).await.map_err(Failure::asking(format!("read run '{name}'")))?;
    let text = match context.format {
        Format::Table => details(&run, context.screen),
        format => document(format, &run),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(phase(&run) == Some(RunPhase::Failed)))
}

async fn cancel(context: &Context<'_>, names: &[String]) -> Result<Outcome, Failure> {
    let api: Api<IngestionRun> = context.cluster.api();
    for name in names {
        let run = api.get(name).await.map_err(Failure::asking(format!("read run '{name}'")))?;
        if let Some(ended) = phase(&run).filter(|phase| phase.is_final()) {
            write(&format!("run '{name}' has ended already: {}\n", ended.as_str()))?;
            continue;
        }
        let change = Patch::Merge(json!({"spec": {"cancel": true}}));
        let patched = api.patch(name, &PatchParams::default(), &change).await;
        patched.map_err(Failure::asking(format!("cancel run '{name}'")))?;
        write(&format!("run '{name}' is being cancelled; records in flight are drained\n"))?;
    }
    Ok(Outcome::Fine)
}

fn phase(run: &IngestionRun) -> Option<RunPhase> {
    run.status.as_ref().and_then(|status| status.phase)
}

fn table(runs: &[IngestionRun], namespaces: bool, now: DateTime<Utc>, screen: &Screen) -> String {
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let status = run.status.clone().unwrap_or_default();
            let age = run.creation_timestamp().map(|created| now - moment_of(&created));
            let mut row = vec![
                run.name_any(),
                run.spec.pipeline.clone(),
                run.spec.source.clone(),
                status.phase.map_or("Pending", RunPhase::as_str).to_owned(),
                known(status.attempt_count),
                known(status.records_produced),
                known(status.records_rejected),
                known(status.duration),
                known(age.and_then(|age| age.to_std().ok()).map(span)),
                known(run.annotations().get(REQUESTED_BY)),
            ];
            if namespaces {
                row.insert(0, run.namespace().unwrap_or_default());
            }
            row
        })
        .collect();
    let mut header =
        vec!["NAME", "PIPELINE", "SOURCE", "PHASE", "ATTEMPTS", "PRODUCED", "REJECTED", "DURATION", "AGE", "BY"];
    if namespaces {
        header.insert(0, "NAMESPACE");
    }
    screen.table(&header, &rows)
}

/// Draws a run with its attempts and where its records are.
pub fn details(run: &IngestionRun, screen: &Screen) -> String {
    let status = run.status.clone().unwrap_or_default();
    let phase = status.phase.map_or("Pending", RunPhase::as_str);
    let colour = match status.phase {
        Some(RunPhase::Succeeded) => Colour::Green,
        Some(RunPhase::Failed) => Colour::Red,
        Some(RunPhase::Pending | RunPhase::Running | RunPhase::Cancelled) | None => Colour::Yellow,
    };
    let name = screen.paint(Colour::Bold, &run.name_any());
    let mut text = format!("{name}: {}", screen.paint(colour, phase));
    if let Some(message) = &status.message {
        let _ = write!(text, ": {}", printable(message));
    }
    text.push('\n');
    let params: Vec<String> = run.spec.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let by = run.annotations().get(REQUESTED_BY).cloned().unwrap_or_else(|| "unknown".to_owned());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {}", printable(value));
    };
    line("source", &format!("{} of pipeline {}", run.spec.source, run.spec.pipeline));
    if !params.is_empty() {
        line("params", &params.join(", "));
    }
    line("asked by", &by);
    if let Some(due) = &run.spec.scheduled_time {
        line("due", &rfc3339(moment_of(due)));
    }
    line(
        "records",
        &format!(
            "{} read, {} produced, {} rejected, {} bytes",
            known(status.records_read),
            known(status.records_produced),
            known(status.records_rejected),
            known(status.bytes)
        ),
    );
    if let Some(trace) = &status.trace_id {
        line("trace", trace);
    }
    if let Some(topic) = &status.topic {
        let ranges = status.topic_ranges.iter();
        let ranges: Vec<String> =
            ranges.map(|range| format!("{}:{}..{}", range.partition, range.first_offset, range.last_offset)).collect();
        let more = if status.topic_ranges_incomplete { " and more" } else { "" };
        line("topic", &format!("{topic} {}{more}", ranges.join(" ")));
    }
    if !status.attempts.is_empty() {
        let rows: Vec<Vec<String>> = status.attempts.iter().map(attempt).collect();
        text.push('\n');
        text.push_str(&screen.table(&["ATTEMPT", "STARTED", "ENDED", "PRODUCED", "REJECTED", "POD", "ERROR"], &rows));
    }
    text
}

fn attempt(attempt: &Attempt) -> Vec<String> {
    vec![
        attempt.number.to_string(),
        rfc3339(moment_of(&attempt.start_time)),
        known(attempt.end_time.as_ref().map(|end| rfc3339(moment_of(end)))),
        known(attempt.records_produced),
        known(attempt.records_rejected),
        known(attempt.pod.clone()),
        attempt.error.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;

    fn run_of(name: &str, status: Value) -> IngestionRun {
        serde_json::from_value(json!({
            "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun",
            "metadata": {
                "name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"millrace.dev/requested-by": "jane"},
            },
            "spec": {"pipeline": "shop", "source": "orders", "params": {"day": "2026-01-31"}},
            "status": status,
        }))
        .expect("a run")
    }

    fn failed() -> IngestionRun {
        let attempt = |number: i32, error: &str| {
            json!({
                "number": number, "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:09Z",
                "pod": format!("orders-x-{number}-abcde"), "error": error, "recordsProduced": 0, "recordsRejected": 0,
            })
        };
        run_of(
            "orders-x",
            json!({
                "conditions": [], "phase": "Failed", "attemptCount": 2, "duration": "1m40s",
                "message": "the last of 2 attempts failed: the source answers 500",
                "attempts": [attempt(1, "the source answers 429"), attempt(2, "the source answers 500\u{1b}[2J")],
                "recordsRead": 0, "recordsProduced": 0, "recordsRejected": 0, "topic": "orders",
                "topicRanges": [{"partition": 0, "firstOffset": 3, "lastOffset": 9}], "traceId": "0af7651916cd43dd8448eb211c80319c",
            }),
        )
    }

    #[test]
    fn lists_what_is_known() {
        let now = "2026-01-01T00:05:00Z".parse().expect("a moment");
        let runs = [failed(), run_of("orders-y", Value::Null)];
        assert_snapshot!(table(&runs, true, now, &Screen::default()));
    }

    #[test]
    fn shows_attempts_and_errors() {
        assert_snapshot!(details(&failed(), &Screen::default()));
    }
}
