//! Writes the status if it differs from what is there, and an event for every condition that changed.

use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::crd::StreamingPipelineStatus;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use crate::apply::{Applied, FIELD_MANAGER};
use crate::context::Context;

/// Longest note that an event may have by the API's own rule.
const MAX_NOTE: usize = 1024;

/// Why the status could not be written.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Publish {
    #[snafu(display("cannot write the status of StreamingPipeline '{name}'"))]
    WriteStatus { name: String, source: Box<kube::Error> },
    #[snafu(display("another operator may lead by now; the status is left to it"))]
    KeepLeadership,
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
    ensure!(ctx.fence.is_open(), KeepLeadershipSnafu);
    let name = resource.name_any();
    let api: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), &resource.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": StreamingPipeline::api_version(&()),
        "kind": StreamingPipeline::kind(&()),
        "metadata": {"name": name, "uid": resource.uid()},
        "status": status,
    });
    ctx.telemetry.object_written("StreamingPipeline/status", &name);
    let written = api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await;
    match written {
        Ok(_) => {}
        // The resource went away while we looked at it; there is nobody to tell.
        Err(kube::Error::Api(error)) if error.code == 404 => return Ok(false),
        Err(error) => return Err(Box::new(error)).context(WriteStatusSnafu { name }),
    }
    announce_transitions(ctx, resource, &old, status).await;
    Ok(true)
}

async fn announce_acts(ctx: &Context, resource: &StreamingPipeline, applied: &Applied) {
    for act in &applied.acts {
        announce(ctx, resource, EventType::Normal, act.event_reason(), &act.describe()).await;
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
        if matches!(condition.type_.as_str(), "Reconciling" | "Stalled") {
            continue;
        }
        let before = old.conditions.iter().find(|before| before.type_ == condition.type_);
        let changed =
            before.is_none_or(|before| (&before.status, &before.reason) != (&condition.status, &condition.reason));
        if !changed {
            continue;
        }
        let lost = condition.status != "True" && before.is_some_and(|before| before.status == "True");
        let invalid = condition.type_ == "SpecValid" && condition.status != "True";
        let kind = if lost || invalid { EventType::Warning } else { EventType::Normal };
        let note = format!("{}: {}", condition.type_, condition.message);
        announce(ctx, resource, kind, &condition.reason, &note).await;
    }
}

/// Publishes an event. An event that cannot be published is logged and otherwise forgone: it decides nothing.
async fn announce(ctx: &Context, resource: &StreamingPipeline, kind: EventType, reason: &str, note: &str) {
    if !ctx.fence.is_open() {
        return;
    }
    let event = Event {
        type_: kind,
        reason: reason.to_owned(),
        note: Some(note.chars().take(MAX_NOTE).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    ctx.telemetry.object_written("Event", reason);
    if let Err(error) = ctx.events.publish(&event, &resource.object_ref(&())).await {
        tracing::warn!(reason, %error, "cannot publish an event");
    }
}
