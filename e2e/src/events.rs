//! The events of a pipeline, as `kubectl describe` shows them.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::ListParams;
use millrace_api::crd::time::moment_of;

use crate::Live;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Normal or Warning.
    pub kind: String,
    /// What happened, in one word.
    pub reason: String,
    /// What happened, in a sentence.
    pub note: String,
    /// When it was seen last.
    pub at: Option<DateTime<Utc>>,
}

/// Returns the events concerning a pipeline.
pub async fn of(live: &Live) -> Result<Vec<Told>> {
    let api: Api<Event> = Api::namespaced(live.namespace.cluster.client.clone(), &live.namespace.name);
    let events = api.list(&ListParams::default()).await.context("cannot list events")?;
    let concerns = |event: &Event| {
        event.regarding.as_ref().is_some_and(|object| {
            object.kind.as_deref() == Some("StreamingPipeline") && object.name.as_deref() == Some(live.names.pipeline())
        })
    };
    let told = |event: Event| Told {
        kind: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        note: event.note.unwrap_or_default(),
        at: event
            .series
            .map(|series| series.last_observed_time)
            .or(event.event_time)
            .map(|time| moment_of(&Time(time.0))),
    };
    Ok(events.items.into_iter().filter(concerns).map(told).collect())
}
