//! Writes the status if it differs from what is there, and an event for every condition that changed.

use chrono::TimeDelta;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::{ConditionType, is_true};
use millrace_api::crd::status::{ReplayPhase, ReplayStatus, ScalingStatus};
use millrace_api::crd::time::moment_of;
use snafu::{ResultExt, Snafu};

use crate::apply::Applied;
use crate::context::Context;
use crate::write::{FIELD_MANAGER, Write, Writer, announce};

/// Reason of the event about a change by others that was undone.
const SET_BACK: &str = "SetBack";

/// Reason of the event about a number of processors that is recommended and not set.
const SCALING_RECOMMENDED: &str = "ScalingRecommended";

/// Reasons for which more processors or producers are wanted and do not come, or would not help.
const LIMITS: [&str; 5] = ["AtMaxReplicas", "AtPartitionCount", "HotPartition", "Ineffective", "SinkBackpressure"];

/// Shortest time that another reason must have held before a limit is an event: at its border, the reasons take turns.
const STEADY: TimeDelta = TimeDelta::minutes(1);

/// Why the status could not be written.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Publish {
    #[snafu(display("cannot write the status of StreamingPipeline '{name}'"))]
    WriteStatus { name: String, source: Write },
}

/// Writes the status if it differs. Returns whether it was written.
pub async fn publish(
    ctx: &Context,
    resource: &StreamingPipeline,
    status: &StreamingPipelineStatus,
    applied: &Applied,
) -> Result<bool, Publish> {
    announce_acts(ctx, resource, applied).await;
    // The schedules are written by a field manager of their own.
    let old = StreamingPipelineStatus { schedules: None, ..resource.status.clone().unwrap_or_default() };
    if old == *status {
        return Ok(false);
    }
    let name = resource.name_any();
    let writer = Writer::of::<StreamingPipeline>(ctx, &resource.namespace().unwrap_or_default());
    let written = writer.apply_status(&name, resource.uid().as_deref(), FIELD_MANAGER, status).await;
    if !written.context(WriteStatusSnafu { name })? {
        return Ok(false);
    }
    announce_transitions(ctx, resource, &old, status).await;
    if let Some((kind, reason, note)) = scaling_event(old.scaling(), status.scaling()) {
        tell(ctx, resource, kind, reason, note).await;
    }
    if let Some((kind, reason, note)) = scaling_event(old.producer_scaling(), status.producer_scaling()) {
        tell(ctx, resource, kind, reason, format!("producers: {note}")).await;
    }
    if let Some((kind, reason, note)) = replay_event(old.replay.as_ref(), status.replay.as_ref()) {
        tell(ctx, resource, kind, reason, note).await;
    }
    Ok(true)
}

/// Returns the event about the number of processors or producers. `None`: nothing has changed.
fn scaling_event<'a>(
    old: Option<&ScalingStatus>,
    new: Option<&'a ScalingStatus>,
) -> Option<(EventType, &'a str, String)> {
    let new = new?;
    let last = new.last_scaled.as_ref();
    if let Some(last) = last.filter(|last| old.and_then(|old| old.last_scaled.as_ref()) != Some(*last)) {
        return Some((EventType::Normal, new.reason.as_str(), last.message.clone()));
    }
    let is_news = old.is_none_or(|old| old.recommended != new.recommended);
    if is_news && new.recommended != new.current {
        return Some((EventType::Normal, SCALING_RECOMMENDED, new.message.clone()));
    }
    let was_steady = |old: &ScalingStatus| moment_of(&new.since) - moment_of(&old.since) >= STEADY;
    let begins = old.is_none_or(|old| old.reason != new.reason && was_steady(old));
    let is_limit = LIMITS.contains(&new.reason.as_str());
    (is_limit && begins).then(|| (EventType::Warning, new.reason.as_str(), new.message.clone()))
}

/// Returns the event about a replay. `None`: its phase is the same.
fn replay_event(old: Option<&ReplayStatus>, new: Option<&ReplayStatus>) -> Option<(EventType, &'static str, String)> {
    let new = new?;
    if old.is_some_and(|old| (&old.request, old.phase) == (&new.request, new.phase)) {
        return None;
    }
    let (kind, reason) = match new.phase {
        ReplayPhase::Stopping => (EventType::Normal, "ReplayBegun"),
        // The change of offsets is an event of its own.
        ReplayPhase::Rewinding => return None,
        ReplayPhase::Rewound => (EventType::Normal, "ReplayRewound"),
        ReplayPhase::Refused => (EventType::Warning, "ReplayRefused"),
        ReplayPhase::Cancelled => (EventType::Warning, "ReplayCancelled"),
    };
    Some((kind, reason, format!("replay '{}': {}", new.request, new.message)))
}

async fn announce_acts(ctx: &Context, resource: &StreamingPipeline, applied: &Applied) {
    for act in &applied.acts {
        tell(ctx, resource, EventType::Normal, act.event_reason(), act.describe()).await;
    }
    for changed in &applied.set_back {
        let note = format!("reverted a change by others: {}", changed.describe());
        tell(ctx, resource, EventType::Warning, SET_BACK, note).await;
    }
}

async fn announce_transitions(
    ctx: &Context,
    resource: &StreamingPipeline,
    old: &StreamingPipelineStatus,
    new: &StreamingPipelineStatus,
) {
    for condition in &new.conditions {
        // Ready, Reconciling and Stalled repeat what their component's own event says, but for Ready itself.
        if [ConditionType::Reconciling, ConditionType::Stalled].iter().any(|kind| condition.type_ == kind.as_str()) {
            continue;
        }
        let before = old.conditions.iter().find(|before| before.type_ == condition.type_);
        let changed =
            before.is_none_or(|before| (&before.status, &before.reason) != (&condition.status, &condition.reason));
        if !changed {
            continue;
        }
        let lost = !is_true(condition) && before.is_some_and(is_true);
        let invalid = condition.type_ == ConditionType::SpecValid.as_str() && !is_true(condition);
        let contested = condition.type_ == ConditionType::Contested.as_str();
        let at_risk = condition.type_ == ConditionType::RetentionAtRisk.as_str();
        let kind = if lost || invalid || contested || at_risk { EventType::Warning } else { EventType::Normal };
        let note = format!("{}: {}", condition.type_, condition.message);
        tell(ctx, resource, kind, &condition.reason, note).await;
    }
}

async fn tell(ctx: &Context, resource: &StreamingPipeline, kind: EventType, reason: &str, note: String) {
    let event = Event {
        type_: kind,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    announce(ctx, &resource.object_ref(&()), event).await;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scaling(fields: Value) -> ScalingStatus {
        let mut status = json!({
            "current": 2, "recommended": 2, "reason": "WithinTarget", "message": "Keeps 2: all is well",
            "since": "2026-01-01T00:00:00Z",
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            status[field] = value.clone();
        }
        serde_json::from_value(status).expect("it is a status")
    }

    fn told(old: &ScalingStatus, new: &ScalingStatus) -> Option<(String, String)> {
        scaling_event(Some(old), Some(new)).map(|(_, reason, note)| (reason.to_owned(), note))
    }

    fn pair(reason: &str, note: &str) -> Option<(String, String)> {
        Some((reason.to_owned(), note.to_owned()))
    }

    #[test]
    fn each_change_is_told_once_with_its_sentence() {
        let before = scaling(json!({}));
        let last = json!({
            "at": "2026-01-01T01:00:00Z", "from": 2, "to": 4, "rate": 900.0, "message": "Scales 2 → 4: much comes in",
        });
        let up = json!({"current": 4, "recommended": 4, "reason": "ScaledUp", "lastScaled": last});
        let up = scaling(up);
        assert_eq!(told(&before, &up), pair("ScaledUp", "Scales 2 → 4: much comes in"));
        let later = ScalingStatus { reason: "WithinTarget".to_owned(), ..up.clone() };
        assert_eq!(told(&up, &later), None);
        assert_eq!(told(&before, &before), None);
        assert!(scaling_event(Some(&before), None).is_none(), "it was switched off");
    }

    #[test]
    fn a_recommendation_is_told_when_it_changes() {
        let before = scaling(json!({}));
        let more =
            scaling(json!({"recommended": 4, "reason": "ScaledUp", "message": "Would scale 2 → 4: much comes in"}));
        assert_eq!(told(&before, &more), pair("ScalingRecommended", "Would scale 2 → 4: much comes in"));
        assert_eq!(told(&more, &more), None);
        assert_eq!(told(&more, &before), None, "what runs is what is recommended");
    }

    #[test]
    fn a_limit_is_told_when_it_begins_and_not_each_time_at_its_border() {
        let limit = |since: &str| {
            scaling(json!({"reason": "SinkBackpressure", "message": "Keeps 2: Cassandra is the limit", "since": since}))
        };
        let steady = scaling(json!({}));
        let begins = limit("2026-01-01T01:00:00Z");
        assert_eq!(told(&steady, &begins), pair("SinkBackpressure", "Keeps 2: Cassandra is the limit"));
        assert_eq!(told(&begins, &begins), None);
        // Ten seconds after it seemed to be over.
        let brief = scaling(json!({"since": "2026-01-01T01:05:00Z"}));
        assert_eq!(told(&brief, &limit("2026-01-01T01:05:10Z")), None);
    }

    #[test]
    fn each_phase_of_a_replay_is_told_once() {
        let replay = |phase: &str| -> ReplayStatus {
            let status = json!({
                "request": "a1 users earliest", "phase": phase, "message": "why", "since": "2026-01-01T01:00:00Z",
            });
            serde_json::from_value(status).expect("a status")
        };
        let told =
            |old: Option<&ReplayStatus>, phase| replay_event(old, Some(&replay(phase))).map(|(_, reason, _)| reason);
        assert_eq!(told(None, "Refused"), Some("ReplayRefused"));
        assert_eq!(told(Some(&replay("Refused")), "Refused"), None);
        assert_eq!(told(Some(&replay("Stopping")), "Rewound"), Some("ReplayRewound"));
        // The control: the same phase of another request.
        let other = ReplayStatus { request: "a2 users earliest".to_owned(), ..replay("Refused") };
        assert_eq!(told(Some(&other), "Refused"), Some("ReplayRefused"));
        assert!(replay_event(Some(&other), None).is_none());
    }
}
