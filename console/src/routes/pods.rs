//! Pods of a pipeline, and events about it.

use axum::Json;
use axum::extract::Path;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use millrace_api::IngestionRun;
use millrace_api::labels::instance_selector;

use crate::api::pods::{Events, Pods};
use crate::refusal::Refusal;
use crate::view;
use crate::view::events::Subjects;
use crate::viewer::Viewer;

/// Most events of a namespace that are looked through.
const MOST_EVENTS: u32 = 2_000;

/// Lists pods.
pub async fn pods(viewer: Viewer, Path((namespace, name)): Path<(String, String)>) -> Result<Json<Pods>, Refusal> {
    let (names, _) = viewer.pipeline(&namespace, &name).await?;
    let api: Api<Pod> = Api::namespaced(viewer.client().clone(), &namespace);
    let selector = instance_selector(&names);
    let listed = api.list(&ListParams::default().labels(&selector)).await;
    let listed = listed.map_err(|error| viewer.kube(&error, "pods"))?;
    let mut pods: Vec<_> = listed.items.iter().map(view::pods::pod).collect();
    pods.sort_by(|one, other| (&one.component, &one.name).cmp(&(&other.component, &other.name)));
    Ok(Json(Pods { pods, kubectl: format!("kubectl get pods -n {namespace} -l {selector}") }))
}

/// Lists events.
pub async fn events(viewer: Viewer, Path((namespace, name)): Path<(String, String)>) -> Result<Json<Events>, Refusal> {
    viewer.pipeline(&namespace, &name).await?;
    let api: Api<Event> = Api::namespaced(viewer.client().clone(), &namespace);
    let listed = api.list(&ListParams::default().limit(MOST_EVENTS)).await;
    let listed = listed.map_err(|error| viewer.kube(&error, "events"))?;
    // Who may not list runs sees no events of them.
    let runs: Api<IngestionRun> = Api::namespaced(viewer.client().clone(), &namespace);
    let runs = runs.list(&ListParams::default().limit(MOST_EVENTS)).await.map(|runs| runs.items).unwrap_or_default();
    let runs = runs.iter().filter(|run| run.spec.pipeline == name).map(|run| run.name_any());
    let subjects = Subjects { pipeline: name.clone(), runs: runs.collect() };
    let events = view::events::events(&listed.items, &subjects);
    Ok(Json(Events { events, kubectl: format!("kubectl get events -n {namespace} --sort-by=.lastTimestamp") }))
}
