//! Writes the status if it differs from what is there, and an event for every condition that changed.

use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::condition::{ConditionType, is_true};
use snafu::{ResultExt, Snafu};

use crate::apply::Applied;
use crate::context::Context;
use crate::write::{FIELD_MANAGER, Write, Writer, announce};

/// Reason of the event about a change by others that was undone.
const SET_BACK: &str = "SetBack";

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
    Ok(true)
}

async fn announce_acts(ctx: &Context, resource: &StreamingPipeline, applied: &Applied) {
    for act in &applied.acts {
        tell(ctx, resource, EventType::Normal, act.event_reason(), act.describe()).await;
    }
    for changed in &applied.set_back {
        let note = format!("set back what was changed: {}", changed.describe());
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
        let kind = if lost || invalid || contested { EventType::Warning } else { EventType::Normal };
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
