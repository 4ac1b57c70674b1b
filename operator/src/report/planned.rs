//! What the status lists of a plan: what is about to be done, what waits and since when, and what is to be approved. Pure.

use chrono::{DateTime, Utc};
use millrace_api::Pipeline;
use millrace_api::crd::UpdatePolicy;
use millrace_api::crd::status::{PlanStatus, ReassignmentStatus, WaitingStatus};
use millrace_api::crd::time::{moment_of, time_of};
use millrace_api::params::rfc3339;

use crate::act::Act;
use crate::kafka::reassignment::Progress;
use crate::link::Reason;
use crate::plan::Plan;
use crate::plan::template::Kept;
use crate::plan::waiting::Waiting;
use crate::rounding::two_digits;
use millrace_stores::kafka::Change;

/// Most actions that the status lists.
const MAX_PLANNED: usize = 10;

/// Returns what waits, each since when it waits for the same.
pub(super) fn waiting(plan: &Plan, old: &[WaitingStatus], now: DateTime<Utc>) -> Vec<WaitingStatus> {
    let status = |waiting: &Waiting| {
        let (action, cause) = (waiting.act.describe(), waiting.cause.message.clone());
        let before = old.iter().find(|before| before.action == action && before.cause == cause);
        WaitingStatus { since: before.map_or_else(|| time_of(now), |before| before.since.clone()), action, cause }
    };
    plan.waiting.iter().take(MAX_PLANNED).map(status).collect()
}

/// Returns what is about to be done or waits, in words.
pub(super) fn planned(
    plan: &Plan,
    waiting: &[WaitingStatus],
    of_nodes: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let under_way = plan.growing.iter().chain(&plan.membership.waits).cloned();
    let replay = plan.replay.iter().filter(|replay| replay.phase.stops_processors());
    let replay = replay.map(|replay| format!("replay '{}': {}", replay.request, replay.message));
    let acts = plan.acts.iter().map(Act::describe).chain(replay).chain(under_way);
    let waits = waiting.iter().map(|WaitingStatus { action, cause, since }| {
        format!("held since {}: {action}; waits for {cause}", rfc3339(moment_of(since)))
    });
    let kept = plan.kept.iter().map(|kept| format!("held: {}; waits for approval of the plan", kept.describe()));
    acts.chain(of_nodes).chain(waits).chain(kept).take(MAX_PLANNED).collect()
}

/// Returns the plan that waits for approval, or that is approved and under way.
pub(super) fn proposal(
    pipeline: &Pipeline,
    plan: &Plan,
    old: Option<&PlanStatus>,
    now: DateTime<Utc>,
) -> Option<PlanStatus> {
    let approval = &plan.approval;
    let is_under_way = plan.outdated > 0 && (approval.is_given || pipeline.update_policy == UpdatePolicy::Manual);
    let is_to_be_approved = |waiting: &&Waiting| waiting.cause.hold == Some(Reason::ApprovalRequired);
    let is_replay = |waiting: &&Waiting| matches!(waiting.act, Act::Kafka(Change::Rewind { .. }));
    let replay = plan.waiting.iter().find(|waiting| is_replay(waiting) && is_to_be_approved(waiting));
    if plan.kept.is_empty() && !is_under_way && replay.is_none() {
        return None;
    }
    let mut actions: Vec<String> = plan.kept.iter().map(Kept::describe).collect();
    actions.extend(replay.map(|waiting| waiting.act.describe()));
    match plan.outdated {
        0 => {}
        1 => actions.push("restart 1 pod with an outdated template".to_owned()),
        pods => actions.push(format!("restart {pods} pods with an outdated template one by one")),
    }
    let before = old.filter(|old| old.hash == approval.hash);
    Some(PlanStatus {
        hash: approval.hash.clone(),
        approved: approval.is_given,
        since: before.map_or_else(|| time_of(now), |before| before.since.clone()),
        actions,
    })
}

pub(super) fn progress(progress: Progress) -> ReassignmentStatus {
    let Progress { moving, left, bytes_left } = progress;
    ReassignmentStatus {
        partitions_moving: moving as i32,
        partitions_left: left as i32,
        bytes_left: bytes_left.map(|bytes| two_digits(bytes.try_into().unwrap_or(i64::MAX))),
    }
}
