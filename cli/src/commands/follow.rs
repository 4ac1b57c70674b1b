//! Follows a run to its end, with a bar on a terminal.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::Api;
use kube::runtime::watcher::watch_object;
use millrace_api::IngestionRun;
use millrace_api::crd::RunPhase;
use millrace_api::crd::time::moment_of;
use tokio::time::interval;

use super::{Context, runs};
use crate::screen::{Format, document, known, printable, write};
use crate::{Failure, Outcome};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);
/// Steps of the whole bar.
const STEPS: u64 = 1_000;
/// How often the API server may fail to answer before nobody is asked any more.
const PATIENCE: u32 = 10;

/// Waits for the end of a run and shows it. Wrong, unless it has succeeded.
#[expect(clippy::disallowed_methods, reason = "where the command reads the clock; what it draws is given the time")]
pub async fn until_end(context: &Context<'_>, name: &str) -> Result<Outcome, Failure> {
    let api: Api<IngestionRun> = context.cluster.api();
    let bar = bar(context);
    let mut watched = Box::pin(watch_object(api, name));
    let mut ticks = interval(TICK);
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    let mut last: Option<IngestionRun> = None;
    let mut failures = 0;
    let ended = loop {
        tokio::select! {
            seen = watched.next() => match seen {
                Some(Ok(Some(run))) => {
                    failures = 0;
                    if phase(&run).is_some_and(RunPhase::is_final) {
                        break run;
                    }
                    last = Some(run);
                }
                Some(Ok(None)) if last.is_some() => {
                    bar.finish_and_clear();
                    return Err(Failure::mistake(format!("run '{name}' was deleted")));
                }
                Some(Ok(None)) => {}
                Some(Err(_)) if failures < PATIENCE => failures += 1,
                Some(Err(error)) => {
                    bar.finish_and_clear();
                    return Err(Failure::away(format!("cannot follow run '{name}': {error}")));
                }
                None => return Err(Failure::away(format!("cannot follow run '{name}' any more"))),
            },
            _ = ticks.tick() => {
                if let Some(run) = &last {
                    let (steps, message) = progress(run, Utc::now());
                    bar.set_position(steps.unwrap_or(0));
                    bar.set_message(message);
                }
                bar.tick();
            }
            _ = &mut stop => {
                bar.finish_and_clear();
                eprintln!("run '{name}' continues; `millrace runs cancel {name}` cancels it");
                return Ok(Outcome::Wrong);
            }
        }
    };
    bar.finish_and_clear();
    let text = match context.format {
        Format::Table => runs::details(&ended, context.screen),
        format => document(format, &ended),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(phase(&ended) != Some(RunPhase::Succeeded)))
}

fn bar(context: &Context<'_>) -> ProgressBar {
    let target = match context.screen.width {
        Some(_) => ProgressDrawTarget::stderr(),
        None => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {elapsed} {wide_msg}");
    let bar = ProgressBar::with_draw_target(Some(STEPS), target);
    bar.set_style(style.expect("the template is ours").progress_chars("█▉▊▋▌▍▎▏ "));
    bar
}

fn phase(run: &IngestionRun) -> Option<RunPhase> {
    run.status.as_ref().and_then(|status| status.phase)
}

/// Returns how far a run is, out of [`STEPS`], and what to say. `None`: there is no telling, since it has no limit that
/// is known to move.
fn progress(run: &IngestionRun, now: DateTime<Utc>) -> (Option<u64>, String) {
    let Some(status) = &run.status else {
        return (None, "waits for the operator".to_owned());
    };
    let attempt = status.attempts.last();
    let share = |part: u128, whole: u128| {
        let steps = part.saturating_mul(u128::from(STEPS)) / whole.max(1);
        u64::try_from(steps).unwrap_or(STEPS).min(STEPS)
    };
    let running = attempt.filter(|attempt| attempt.end_time.is_none());
    let by_time = || {
        let whole = run.spec.duration.as_ref()?.parse::<millrace_terms::Duration>().ok()?.get();
        let passed = (now - moment_of(&running?.start_time)).to_std().unwrap_or_default();
        Some(share(passed.as_millis(), whole.as_millis()))
    };
    let by_count = || {
        let whole = u128::try_from(run.spec.max_records?).ok()?;
        // A repeated attempt reads anew.
        Some(share(u128::try_from(attempt?.records_read?).ok()?, whole))
    };
    let mut said = vec![status.phase.map_or("Pending", RunPhase::as_str).to_owned()];
    if let Some(attempt) = attempt {
        said.push(format!("attempt {}", attempt.number));
    }
    if status.records_produced.is_some() {
        said.push(format!("{} records in Kafka", known(status.records_produced)));
    }
    said.extend(status.message.iter().map(|message| printable(message)));
    (by_count().or_else(by_time), said.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(spec: Value, status: Value) -> (Option<u64>, String) {
        let mut of_run = json!({"pipeline": "shop", "source": "orders"});
        of_run.as_object_mut().expect("an object").extend(spec.as_object().cloned().unwrap_or_default());
        let run = json!({
            "apiVersion": "millrace.dev/v1alpha1", "kind": "IngestionRun", "metadata": {"name": "x"},
            "spec": of_run, "status": status,
        });
        let run: IngestionRun = serde_json::from_value(run).expect("a run");
        progress(&run, "2026-01-01T00:00:30Z".parse().expect("a moment"))
    }

    #[test]
    fn the_bar_shows_what_is_known_and_no_more() {
        let attempts = json!([{"number": 1, "startTime": "2026-01-01T00:00:00Z"}]);
        let running = json!({"conditions": [], "phase": "Running", "attempts": attempts});
        assert_eq!(said(json!({"duration": "1m"}), running.clone()), (Some(500), "Running, attempt 1".to_owned()));
        assert_eq!(said(json!({}), running), (None, "Running, attempt 1".to_owned()));
        let failed = json!({"number": 1, "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:09Z", "recordsRead": 90});
        let counted =
            json!({"number": 2, "startTime": "2026-01-01T00:00:10Z", "recordsRead": 50, "recordsProduced": 40});
        let counted = json!({
            "conditions": [], "phase": "Running", "recordsProduced": 130, "message": "under way", "attempts": [failed, counted],
        });
        assert_eq!(
            said(json!({"maxRecords": 200}), counted),
            (Some(250), "Running, attempt 2, 130 records in Kafka, under way".to_owned())
        );
        assert_eq!(said(json!({}), Value::Null), (None, "waits for the operator".to_owned()));
    }
}
