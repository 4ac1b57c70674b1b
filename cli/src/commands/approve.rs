//! `approve`: shows the plan that waits in the status, asks, and approves exactly that one, by the annotation
//! `millrace.dev/approve-plan`.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use kube::ResourceExt;
use millrace_api::StreamingPipeline;
use millrace_api::crd::UpdatePolicy;
use millrace_api::crd::status::PlanStatus;
use millrace_api::crd::time::moment_of;
use millrace_api::labels::APPROVE_PLAN;
use millrace_api::params::rfc3339;
use serde_json::json;
use snafu::ResultExt;

use super::Context;
use super::change::{Change, ours, patch, remove_annotation, restarts};
use crate::arguments::Approve;
use crate::failure::ReadFileSnafu;
use crate::screen::{printable, write};
use crate::{Failure, Outcome};

/// How often another's change in between is overcome, such as a status that the operator writes.
const TRIES: usize = 5;

/// Approves the plan.
pub async fn run(context: &Context<'_>, flags: &Approve) -> Result<Outcome, Failure> {
    let mut pipeline = context.cluster.pipeline(flags.pipeline.as_deref()).await?;
    let wanted = proposal(&pipeline, flags.plan.as_deref()).map_err(Failure::mistake)?.clone();
    if wanted.approved {
        write(&change(&pipeline, &wanted, false).text(context.format))?;
        return Ok(Outcome::Fine);
    }
    if !flags.yes {
        eprint!("{}", shown(&pipeline, &wanted));
        if !is_confirmed()? {
            eprintln!("nothing was approved");
            return Ok(Outcome::Wrong);
        }
    }
    let name = pipeline.name_any();
    let mut tries = TRIES;
    loop {
        // Refused where anything has changed since it was read: what was shown is what is approved.
        let approval = json!({"metadata": {
            "resourceVersion": pipeline.metadata.resource_version,
            "annotations": {APPROVE_PLAN: wanted.hash},
        }});
        match patch(context, &name, &approval).await {
            Ok(()) => break,
            Err(kube::Error::Api(status)) if status.code == 409 && tries > 1 => {
                tries -= 1;
                pipeline = context.cluster.pipeline(Some(&name)).await?;
                proposal(&pipeline, Some(&wanted.hash)).map_err(Failure::mistake)?;
            }
            Err(error) => return Err(Failure::asking(format!("approve the plan of pipeline '{name}'"))(error)),
        }
    }
    write(&change(&pipeline, &wanted, true).text(context.format))?;
    Ok(Outcome::Fine)
}

/// Returns the plan that waits or is under way, if it is the wanted one.
fn proposal<'a>(pipeline: &'a StreamingPipeline, wanted: Option<&str>) -> Result<&'a PlanStatus, String> {
    let name = pipeline.name_any();
    let status = pipeline.status.as_ref().ok_or_else(|| {
        format!("there is nothing to approve: no operator has processed pipeline '{name}' yet; see `millrace check`")
    })?;
    if status.observed_generation != pipeline.metadata.generation {
        return Err(format!(
            "the status of pipeline '{name}' is about an older spec, so its plan may be about to change; try again in a moment"
        ));
    }
    let plan = status
        .plan
        .as_ref()
        .ok_or_else(|| format!("there is nothing to approve: no plan of pipeline '{name}' waits for approval"))?;
    match wanted {
        Some(wanted) if wanted != plan.hash => Err(format!(
            "the plan of pipeline '{name}' is now {}, not {wanted}; see it with `{}`",
            plan.hash,
            ours("approve", pipeline)
        )),
        _ => Ok(plan),
    }
}

/// Draws a plan.
fn shown(pipeline: &StreamingPipeline, plan: &PlanStatus) -> String {
    let PlanStatus { hash, approved: _, since, actions } = plan;
    let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
    let mut text = format!("plan {hash} of {namespace}/{name} waits since {}:\n", rfc3339(moment_of(since)));
    for action in actions {
        let _ = writeln!(text, "  - {}", printable(action));
    }
    text
}

fn is_confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let message = "the approval cannot be confirmed, since standard input is not a terminal; approve with --yes, and \
                       with --plan HASH no other plan than this";
        return Err(Failure::mistake(message));
    }
    eprint!("approve it? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context(ReadFileSnafu { file: "standard input" })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says what follows from an approval.
fn change(pipeline: &StreamingPipeline, plan: &PlanStatus, changed: bool) -> Change {
    let already = if changed { "" } else { " already" };
    let mut done = format!("plan {} of '{}' is approved{already}:", plan.hash, pipeline.name_any());
    for action in &plan.actions {
        let _ = write!(done, "\n  - {}", printable(action));
    }
    // Its own approval is no longer waited for.
    let mut approved = pipeline.clone();
    approved.spec.update_policy = UpdatePolicy::Automatic;
    let next =
        format!("{}; pods that are restarted before it is taken back keep the new template", restarts(&approved));
    Change::of(pipeline, changed, done, next, Some(remove_annotation(pipeline, APPROVE_PLAN)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::change::tests::pipeline;
    use super::*;

    fn with_plan(generation: i64, approved: bool) -> StreamingPipeline {
        let plan = json!({
            "hash": "0a1b2c3d", "approved": approved, "since": "2026-01-01T00:00:00Z",
            "actions": ["change the template of StatefulSet 'users-kafka'"],
        });
        let status = json!({"observedGeneration": generation, "conditions": [], "plan": plan});
        pipeline(json!({}), json!({"updatePolicy": "Manual"}), status)
    }

    #[test]
    fn the_plan_that_waits_is_the_one_that_is_shown() {
        let pipeline = with_plan(4, false);
        let plan = proposal(&pipeline, None).expect("a plan waits");
        assert_eq!(
            shown(&pipeline, plan),
            "plan 0a1b2c3d of shop/users waits since 2026-01-01T00:00:00Z:\n  - change the template of StatefulSet 'users-kafka'\n"
        );
        assert!(proposal(&pipeline, Some("0a1b2c3d")).is_ok());
        let change = change(&pipeline, plan, true);
        assert!(!change.next.contains("once the plan is approved"), "{}", change.next);
        assert_eq!(change.undo.as_deref(), Some("kubectl annotate spl -n shop users millrace.dev/approve-plan-"));
    }

    #[test]
    fn what_cannot_be_approved_is_refused_with_the_reason() {
        let refused = |pipeline: &StreamingPipeline, wanted| proposal(pipeline, wanted).expect_err("a refusal");
        assert_eq!(
            refused(&with_plan(4, false), Some("ffffffff")),
            "the plan of pipeline 'users' is now 0a1b2c3d, not ffffffff; see it with `millrace approve users -n shop`"
        );
        assert!(refused(&with_plan(3, false), None).contains("is about an older spec"));
        let none = pipeline(json!({}), json!({}), json!({"observedGeneration": 4, "conditions": []}));
        assert_eq!(refused(&none, None), "there is nothing to approve: no plan of pipeline 'users' waits for approval");
        assert!(refused(&pipeline(json!({}), json!({}), Value::Null), None).contains("no operator has processed"));
    }
}
