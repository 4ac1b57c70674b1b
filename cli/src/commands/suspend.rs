//! `suspend` and `unsuspend`: set the one field `spec.suspend`, and wait until the pipeline is drained, or ready again. The
//! operator does the rest (docs/decisions/0030-suspend.md), so that a user who stops waiting stops nothing else.

use std::fmt::Write;
use std::time::Duration;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::{ConditionStatus, ConditionType, Link};
use millrace_api::crd::status::DrainedStatus;
use millrace_api::crd::time::moment_of;
use millrace_api::labels::{PAUSED, is_paused};
use millrace_api::params::rfc3339;
use serde::Serialize;
use serde_json::json;
use tokio::time::{interval, sleep};

use super::Context;
use super::change::{Change, ours, patch, remove_annotation};
use crate::arguments::Suspend;
use crate::screen::{Format, Screen, document, printable, write};
use crate::{Failure, Outcome};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);
/// Ticks between two lines where there is no terminal: 10 s.
const TICKS_PER_LINE: u32 = 50;
/// How often the API server may fail to answer before it is not asked any more.
const PATIENCE: u32 = 10;

/// How far a pipeline has come.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    is_done: bool,
    message: String,
    /// What has to change first. `None`: nothing that is known, so that waiting helps.
    obstacle: Option<String>,
}

/// How it ended, for scripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    namespace: String,
    pipeline: String,
    suspended: bool,
    /// Whether the field was written; otherwise it was so already.
    changed: bool,
    /// Why, in a sentence.
    message: String,
    /// When the drain was complete and where each topic ended. Absent: the pipeline is not suspended.
    drained: Option<DrainedStatus>,
    undo: String,
}

/// Suspends a pipeline, or has it run again.
pub async fn run(context: &Context<'_>, flags: &Suspend, suspended: bool) -> Result<Outcome, Failure> {
    let mut pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let changed = pipeline.spec.suspend != suspended;
    if changed {
        let name = pipeline.name_any();
        let patched = patch(context, &name, &json!({"spec": {"suspend": suspended}})).await;
        patched.map_err(Failure::asking(format!("change pipeline '{name}'")))?;
        pipeline.spec.suspend = suspended;
    }
    if flags.no_wait {
        write(&asked(&pipeline, changed).text(context.format))?;
        return Ok(Outcome::Fine);
    }
    let Some(pipeline) = until_done(context, &pipeline, flags).await? else {
        return Ok(Outcome::Wrong);
    };
    let ended = ended(&pipeline, changed);
    let text = match context.format {
        Format::Table => drawn(&ended, context.screen),
        format => document(format, &ended),
    };
    write(&text)?;
    Ok(Outcome::Fine)
}

/// Watches a pipeline until it is where its field says that it shall be. `None`: it was not waited for that long.
async fn until_done(
    context: &Context<'_>,
    wanted: &StreamingPipeline,
    flags: &Suspend,
) -> Result<Option<StreamingPipeline>, Failure> {
    let (name, suspended) = (wanted.name_any(), wanted.spec.suspend);
    let api: Api<StreamingPipeline> = context.cluster.api();
    let bar = bar(context.screen);
    let mut watched = Box::pin(watch_object(api, &name));
    let mut ticks = interval(TICK);
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    let mut late = std::pin::pin!(after(flags.timeout.map(millrace_terms::Duration::get)));
    let (mut last, mut told): (Option<Step>, Option<Step>) = (None, None);
    let (mut was_set, mut failures, mut count) = (false, 0, 0_u32);
    loop {
        tokio::select! {
            seen = watched.next() => match seen {
                Some(Ok(Some(pipeline))) => {
                    failures = 0;
                    // What is seen first may be older than what was written.
                    if pipeline.spec.suspend != suspended {
                        if was_set {
                            bar.finish_and_clear();
                            return Err(Failure::away(format!("spec.suspend of pipeline '{name}' was changed by another")));
                        }
                        continue;
                    }
                    was_set = true;
                    let step = step(&pipeline);
                    if step.is_done {
                        bar.finish_and_clear();
                        return Ok(Some(pipeline));
                    }
                    let before = last.as_ref().and_then(|last| last.obstacle.as_ref());
                    if let Some(obstacle) = step.obstacle.as_ref().filter(|obstacle| before != Some(*obstacle)) {
                        bar.suspend(|| eprintln!("note: it cannot finish yet: {}", printable(obstacle)));
                    }
                    last = Some(step);
                }
                Some(Ok(None)) if was_set => {
                    bar.finish_and_clear();
                    return Err(Failure::mistake(format!("pipeline '{name}' was deleted")));
                }
                Some(Ok(None)) => {}
                Some(Err(_)) if failures < PATIENCE => failures += 1,
                Some(Err(error)) => {
                    bar.finish_and_clear();
                    return Err(Failure::away(format!("cannot follow pipeline '{name}': {error}")));
                }
                None => return Err(Failure::away(format!("cannot follow pipeline '{name}' any more"))),
            },
            _ = ticks.tick() => {
                if let Some(step) = &last {
                    bar.set_message(printable(&step.message));
                }
                bar.tick();
                // On no terminal there is no bar.
                if context.screen.width.is_none() && count.is_multiple_of(TICKS_PER_LINE) && last != told {
                    if let Some(step) = &last {
                        eprintln!("{}", printable(&step.message));
                    }
                    told = last.clone();
                }
                count = count.wrapping_add(u32::from(last.is_some()));
            }
            _ = &mut stop => {
                bar.finish_and_clear();
                eprintln!("{}", left(wanted, None));
                return Ok(None);
            }
            () = &mut late => {
                bar.finish_and_clear();
                let step = last.as_ref().map_or("the operator has not answered yet", |step| step.message.as_str());
                eprintln!("{}", left(wanted, Some(step)));
                return Ok(None);
            }
        }
    }
}

/// Ends after a time. `None`: never.
async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn bar(screen: &Screen) -> ProgressBar {
    let target = match screen.width {
        Some(_) => ProgressDrawTarget::stderr(),
        None => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").expect("the template is ours");
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(style);
    bar
}

/// Returns how far a pipeline has come, by what the operator reports of the current spec.
fn step(pipeline: &StreamingPipeline) -> Step {
    let current = pipeline.status.as_ref().filter(|status| status.observed_generation == pipeline.metadata.generation);
    let Some(status) = current else {
        let message = "waits for the operator; `millrace check` shows whether one runs".to_owned();
        return Step { is_done: false, message, obstacle: paused(pipeline) };
    };
    let suspended = ConditionType::Suspended.of(&status.conditions);
    let ready = ConditionType::Ready.of(&status.conditions);
    let is_true = |condition: Option<&Condition>| condition.map(ConditionStatus::of) == Some(ConditionStatus::True);
    let (is_done, condition) = match pipeline.spec.suspend {
        true => (is_true(suspended), suspended),
        false => (suspended.is_none() && is_true(ready), ready),
    };
    let said = condition.map(|condition| format!("{}: {}", condition.reason, condition.message));
    let mut parts = vec![said.unwrap_or_else(|| "waits for the operator".to_owned())];
    parts.extend(figures(status));
    let obstacle = if is_done { None } else { obstacle(pipeline, status) };
    Step { is_done, message: parts.join("; "), obstacle }
}

/// Returns how many workers run, and how many records each topic has left, as the status has them.
fn figures(status: &StreamingPipelineStatus) -> Vec<String> {
    let producers = status.producer.as_ref().map(|producer| format!("producers {}", producer.ready));
    let processors = status.processor.as_ref().map(|processor| format!("processors {}", processor.ready));
    let topics = status.kafka.iter().flat_map(|kafka| &kafka.topics);
    let lags = topics.filter_map(|topic| match topic.lag {
        Some(lag @ 1..) => Some(format!("{lag} left in '{}'", topic.name)),
        Some(_) | None => None,
    });
    producers.into_iter().chain(processors).chain(lags).collect()
}

fn paused(pipeline: &StreamingPipeline) -> Option<String> {
    is_paused(pipeline).then(|| {
        format!("the operator is paused and changes nothing; to end this: {}", remove_annotation(pipeline, PAUSED))
    })
}

/// Returns what has to change before it can finish.
fn obstacle(pipeline: &StreamingPipeline, status: &StreamingPipelineStatus) -> Option<String> {
    if let Some(paused) = paused(pipeline) {
        return Some(paused);
    }
    let unmet = |condition: ConditionType| {
        let found = condition.of(&status.conditions)?;
        (ConditionStatus::of(found) == ConditionStatus::False).then(|| format!("{condition}: {}", found.message))
    };
    let seen = || format!("; `{}` shows what to do", ours("explain", pipeline));
    if let Some(errors) = unmet(ConditionType::SpecValid) {
        return Some(format!("{errors}{}", seen()));
    }
    let is_unwritten = pipeline.spec.suspend && status.lag != Some(0) && !pipeline.spec.processor.queries.is_empty();
    if is_unwritten && pipeline.spec.processor.replicas == 0 {
        return Some("no processor is wanted, so that no record is written; raise spec.processor.replicas".to_owned());
    }
    let mut links = Link::ALL.into_iter().map(Link::condition);
    links.find_map(unmet).map(|link| format!("{link}{}", seen()))
}

fn undo(pipeline: &StreamingPipeline) -> String {
    ours(if pipeline.spec.suspend { "unsuspend" } else { "suspend" }, pipeline)
}

/// Says what continues although it is not waited for, and how far it is if the time is up.
fn left(pipeline: &StreamingPipeline, late: Option<&str>) -> String {
    let name = pipeline.name_any();
    let (verb, what, is_not) = match pipeline.spec.suspend {
        true => ("suspend", "continues to drain", "is not suspended"),
        false => ("unsuspend", "continues to start", "is not ready"),
    };
    let late = late.map(|step| format!("pipeline '{name}' {is_not} within the time: {}\n", printable(step)));
    format!(
        "{}pipeline '{name}' {what}; `{}` shows how far it is, `{}` takes it back",
        late.unwrap_or_default(),
        ours(verb, pipeline),
        undo(pipeline)
    )
}

/// Says what follows for a pipeline that is not waited for.
fn asked(pipeline: &StreamingPipeline, changed: bool) -> Change {
    let already = if changed { "" } else { " already" };
    let name = pipeline.name_any();
    let (done, next) = match pipeline.spec.suspend {
        true => (
            format!("'{name}' is asked to suspend{already}"),
            "producers stop, processors write what is left, status.drained records the proof, processors stop; the stores \
             stay up; `kubectl wait --for=condition=Suspended` waits for it",
        ),
        false => (
            format!("'{name}' is asked to run{already}"),
            "processors start, then producers; `kubectl wait --for=condition=Ready` waits for it",
        ),
    };
    Change::of(pipeline, changed, done, next.to_owned(), Some(undo(pipeline)))
}

fn ended(pipeline: &StreamingPipeline, changed: bool) -> Ended {
    let status = pipeline.status.as_ref();
    let condition = if pipeline.spec.suspend { ConditionType::Suspended } else { ConditionType::Ready };
    let message = status.and_then(|status| condition.of(&status.conditions)).map(|found| found.message.clone());
    Ended {
        namespace: pipeline.namespace().unwrap_or_default(),
        pipeline: pipeline.name_any(),
        suspended: pipeline.spec.suspend,
        changed,
        message: message.unwrap_or_default(),
        drained: status.and_then(|status| status.drained.clone()).filter(|_| pipeline.spec.suspend),
        undo: undo(pipeline),
    }
}

/// Draws how it ended, with the proof of a drain.
fn drawn(ended: &Ended, screen: &Screen) -> String {
    let Ended { namespace, pipeline, suspended, changed: _, message, drained, undo } = ended;
    let what = if *suspended { "is suspended" } else { "is ready" };
    let mut text = format!("{namespace}/{pipeline} {what}: {}\n", printable(message));
    if let Some(DrainedStatus { at, offsets }) = drained {
        let at = rfc3339(moment_of(at));
        let _ = writeln!(text, "drained at {at}; every record before these offsets is written:");
        let rows: Vec<Vec<String>> = offsets.iter().map(|(topic, end)| vec![topic.clone(), end.to_string()]).collect();
        text.push_str(&screen.table(&["TOPIC", "END OFFSETS"], &rows));
    }
    let _ = writeln!(text, "to undo it: {undo}");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::change::tests::pipeline;
    use super::super::fixtures::condition;
    use super::*;

    fn status(generation: i64, conditions: Vec<Value>) -> Value {
        json!({"observedGeneration": generation, "conditions": conditions})
    }

    fn suspended(status: Value) -> StreamingPipeline {
        pipeline(json!({}), json!({"suspend": true}), status)
    }

    #[test]
    fn a_drain_is_done_when_the_operator_says_so_of_this_spec() {
        let of = |generation, is_done: &str| {
            step(&suspended(status(generation, vec![condition("Suspended", is_done, "Drained", "drained")])))
        };
        assert_eq!(of(4, "True"), Step { is_done: true, message: "Drained: drained".to_owned(), obstacle: None });
        // Controls: of an older spec, and not yet.
        assert!(!of(3, "True").is_done && !of(4, "False").is_done);
        assert!(!step(&suspended(Value::Null)).is_done);
        assert!(!step(&suspended(status(4, vec![condition("Ready", "True", "AllComponentsReady", "ready")]))).is_done);
    }

    #[test]
    fn a_pipeline_runs_again_when_it_is_ready_and_no_longer_suspended() {
        let ready = condition("Ready", "True", "AllComponentsReady", "all is ready");
        let still = condition("Suspended", "True", "Drained", "drained");
        let of = |conditions| step(&pipeline(json!({}), json!({}), status(4, conditions)));
        assert!(of(vec![ready.clone()]).is_done);
        assert!(!of(vec![ready, still]).is_done);
        assert!(!of(vec![condition("Ready", "False", "WaitingForBrokers", "1 of 3")]).is_done);
    }

    #[test]
    fn what_is_left_is_shown_by_topic() {
        let topic = |name: &str, lag: Value| json!({"name": name, "id": "a", "partitions": 3, "writeTimestampBase": 0, "lag": lag});
        let draining = condition("Suspended", "False", "Draining", "1200 records are left");
        let mut status = status(4, vec![draining]);
        status["producer"] = json!({"ready": "0/0"});
        status["processor"] = json!({"ready": "2/2", "replicas": 2, "selector": "a=b"});
        let topics = [topic("users", json!(1_200)), topic("orders", json!(0)), topic("other", Value::Null)];
        status["kafka"] = json!({"ready": "3/3", "topics": topics});
        let step = step(&suspended(status));
        assert_eq!(
            step.message,
            "Draining: 1200 records are left; producers 0/0; processors 2/2; 1200 left in 'users'"
        );
        assert_eq!(step.obstacle, None);
    }

    #[test]
    fn what_keeps_a_drain_from_its_end_is_said_with_the_way_out() {
        let draining = condition("Suspended", "False", "Draining", "2 records are left");
        let unmet = condition("CassandraReady", "False", "WaitingForNodes", "2 of 3 nodes are up");
        let invalid = condition("SpecValid", "False", "SpecInvalid", "query 'a' cannot run");
        let obstacle = |annotations: Value, spec: Value, conditions: Vec<Value>| {
            let mut of = json!({"suspend": true});
            of.as_object_mut().expect("an object").extend(spec.as_object().cloned().unwrap_or_default());
            step(&pipeline(annotations, of, status(4, conditions))).obstacle.unwrap_or_default()
        };
        let none = || json!({});
        assert_eq!(
            obstacle(none(), none(), vec![draining.clone(), unmet.clone()]),
            "CassandraReady: 2 of 3 nodes are up; `millrace explain users -n shop` shows what to do"
        );
        assert!(obstacle(none(), none(), vec![draining.clone(), unmet.clone(), invalid]).starts_with("SpecValid: "));
        let paused = obstacle(json!({"millrace.dev/paused": "true"}), none(), vec![draining.clone(), unmet]);
        assert!(paused.contains("kubectl annotate spl -n shop users millrace.dev/paused-"), "{paused}");
        // Controls: nothing stands in the way, or it is over.
        assert_eq!(obstacle(none(), none(), vec![draining]), "");
        let unmet = condition("CassandraReady", "False", "WaitingForNodes", "2 of 3 nodes are up");
        let done = condition("Suspended", "True", "Drained", "drained");
        assert_eq!(obstacle(none(), none(), vec![done, unmet]), "");
    }

    #[test]
    fn without_processors_records_stay() {
        let mut of = suspended(status(4, vec![condition("Suspended", "False", "Draining", "2 records are left")]));
        of.spec.processor.replicas = 0;
        let has_query = !of.spec.processor.queries.is_empty();
        assert_eq!(step(&of).obstacle.is_some_and(|found| found.contains("raise spec.processor.replicas")), has_query);
        assert!(has_query, "the sample has a query");
        // Control: nothing is left.
        if let Some(status) = &mut of.status {
            status.lag = Some(0);
        }
        assert_eq!(step(&of).obstacle, None);
    }

    #[test]
    fn the_proof_is_shown() {
        let mut of = status(4, vec![condition("Suspended", "True", "Drained", "drained")]);
        of["drained"] = json!({"at": "2026-01-01T00:00:00Z", "offsets": {"orders": 7, "users": 1_200}});
        let of = suspended(of);
        assert_eq!(
            drawn(&ended(&of, true), &Screen::default()),
            "shop/users is suspended: drained\ndrained at 2026-01-01T00:00:00Z; every record before these offsets is \
             written:\nTOPIC   END OFFSETS\norders  7\nusers   1200\nto undo it: millrace unsuspend users -n shop\n"
        );
        let document = serde_json::to_value(ended(&of, false)).expect("JSON");
        assert_eq!((&document["changed"], &document["drained"]["offsets"]["users"]), (&json!(false), &json!(1_200)));
    }

    #[test]
    fn a_user_who_does_not_wait_learns_how_to_go_on() {
        let of = suspended(Value::Null);
        assert_eq!(
            left(&of, None),
            "pipeline 'users' continues to drain; `millrace suspend users -n shop` shows how far it is, `millrace unsuspend \
             users -n shop` takes it back"
        );
        let late = left(&of, Some(step(&of).message.as_str()));
        assert!(
            late.starts_with("pipeline 'users' is not suspended within the time: waits for the operator"),
            "{late}"
        );
        assert_eq!(asked(&of, true).undo.as_deref(), Some("millrace unsuspend users -n shop"));
        assert!(asked(&of, false).done.ends_with("already"));
    }
}
