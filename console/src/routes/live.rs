//! One pipeline, live: its view whenever it has changed, and each sample.

use std::time::Duration;

use axum::extract::Path;
use axum::response::IntoResponse;
use millrace_api::names::Names;
use tokio::time::MissedTickBehavior;

use super::pipelines;
use super::stream::{Sender, answer};
use crate::refusal::Refusal;
use crate::view::signals::sample;
use crate::viewer::Viewer;

/// Changes that come within so long are shown together.
const TOGETHER: Duration = Duration::from_millis(500);
/// From one look at the resource to the next where nothing seems to have changed.
const AT_LEAST: Duration = Duration::from_secs(5);

/// Shows a pipeline live.
pub async fn live(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<impl IntoResponse, Refusal> {
    // What can be refused is refused before the stream begins.
    let first = pipelines::read(&viewer, &namespace, &name).await?;
    let permits = viewer.stream()?;
    Ok(answer(move |sender| async move {
        let _permits = permits;
        if sender.send("view", &first).await {
            follow(&viewer, &sender, &namespace, &name, first).await;
        }
    }))
}

async fn follow(
    viewer: &Viewer,
    sender: &Sender,
    namespace: &str,
    name: &str,
    mut shown: crate::api::pipeline::PipelineView,
) {
    let names = Names::new(namespace, name);
    let mut changes = viewer.app.cluster.changes();
    let mut ticks = viewer.app.ticks.clone();
    let mut rhythm = tokio::time::interval(AT_LEAST);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rhythm.reset();
    let mut version = version(viewer, &names);
    loop {
        let sampled = tokio::select! {
            () = sender.closed() => return,
            ticked = ticks.changed() => ticked.is_ok(),
            changed = changes.changed() => {
                // The watch tells of all pipelines; only this one's changes are worth a look.
                let now = self::version(viewer, &names);
                if changed.is_ok() && now == version {
                    continue;
                }
                version = now;
                tokio::time::sleep(TOGETHER).await;
                false
            }
            _ = rhythm.tick() => false,
        };
        if !viewer.is_there() {
            return sender.expired().await;
        }
        if sampled {
            if !send_sample(viewer, sender, &names).await {
                return;
            }
            continue;
        }
        // Samples go on while an API server that stands still is waited for.
        let mut reading = std::pin::pin!(pipelines::read(viewer, namespace, name));
        let read = loop {
            tokio::select! {
                read = &mut reading => break read,
                Ok(()) = ticks.changed() => {
                    if !send_sample(viewer, sender, &names).await {
                        return;
                    }
                }
            }
        };
        let goes_on = match read {
            Ok(view) if view == shown => true,
            Ok(view) => {
                shown = view;
                sender.send("view", &shown).await
            }
            Err(Refusal::Unauthenticated { .. }) => return sender.expired().await,
            Err(refusal) => sender.problem(&refusal).await,
        };
        if !goes_on {
            return;
        }
    }
}

/// Sends the last sample, if there is one; returns false if nobody listens any more.
async fn send_sample(viewer: &Viewer, sender: &Sender, names: &Names) -> bool {
    match viewer.app.measured.history(|history| sample(names, history)) {
        Some(sample) => sender.send("sample", &sample).await,
        None => true,
    }
}

/// Returns the version of a pipeline as the console's own watch has it.
fn version(viewer: &Viewer, names: &Names) -> Option<String> {
    viewer.app.cluster.pipeline(names).and_then(|pipeline| pipeline.metadata.resource_version.clone())
}
