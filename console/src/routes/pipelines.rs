//! Pipelines: the list, one of them, its history, its lag and its resource.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, Query};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::labels::instance_selector;
use millrace_api::names::Names;

use crate::api::history::{History, Lag, PartitionLag, Series, Span};
use crate::api::pipeline::{PipelineView, Pipelines, Wanted};
use crate::api::resource::Resource;
use crate::measure::history::{SAMPLES, STEP_SECONDS};
use crate::measure::values::{partition_rates, total};
use crate::refusal::Refusal;
use crate::view;
use crate::viewer::Viewer;

/// Namespaces that are asked one by one where all together may not be listed.
const MOST_NAMESPACES: usize = 50;
/// Namespaces that are asked at once.
const AT_ONCE: usize = 8;
/// Most pipelines of one list.
const MOST: u32 = 500;

/// Lists what the viewer may list.
pub async fn all(viewer: Viewer, Query(wanted): Query<Wanted>) -> Result<Json<Pipelines>, Refusal> {
    let scope = viewer.app.cluster.scope().to_vec();
    let mut answer = Pipelines { pipelines: Vec::new(), scope: scope.clone(), forbidden: Vec::new(), problem: None };
    let mut found = Vec::new();
    match wanted.namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) if viewer.app.cluster.covers(&namespace) => match list(&viewer, Some(&namespace)).await {
            Ok(pipelines) => found = pipelines,
            Err(Refusal::Forbidden { .. }) => answer.forbidden.push(namespace),
            Err(refusal) => return Err(refusal),
        },
        Some(_) => (),
        None if scope.is_empty() => match list(&viewer, None).await {
            Ok(pipelines) => found = pipelines,
            Err(Refusal::Forbidden { .. }) => {
                answer.forbidden.push("*".to_owned());
                // Of these, only those that the viewer may list come to light.
                let pipelines = viewer.app.cluster.pipelines();
                let namespaces: BTreeSet<String> =
                    pipelines.iter().filter_map(|pipeline| pipeline.namespace()).collect();
                found = one_by_one(&viewer, namespaces.into_iter(), &mut answer, false).await?;
            }
            Err(refusal) => return Err(refusal),
        },
        None => found = one_by_one(&viewer, scope.into_iter(), &mut answer, true).await?,
    }
    answer.pipelines = viewer
        .app
        .measured
        .history(|history| found.iter().map(|pipeline| view::pipeline::summary(pipeline, history)).collect());
    answer.pipelines.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Ok(Json(answer))
}

async fn one_by_one(
    viewer: &Viewer,
    namespaces: impl Iterator<Item = String>,
    answer: &mut Pipelines,
    tells: bool,
) -> Result<Vec<StreamingPipeline>, Refusal> {
    let asked: Vec<_> = namespaces.take(MOST_NAMESPACES).map(|namespace| named(viewer.clone(), namespace)).collect();
    let mut found = Vec::new();
    let listed: Vec<_> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (namespace, listed) in listed {
        match listed {
            Ok(pipelines) => found.extend(pipelines),
            Err(Refusal::Forbidden { .. }) if tells => answer.forbidden.push(namespace),
            Err(Refusal::Forbidden { .. }) => (),
            Err(Refusal::Unavailable { message, causes }) => {
                answer.problem = Some(std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": "));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(found)
}

async fn named(viewer: Viewer, namespace: String) -> (String, Result<Vec<StreamingPipeline>, Refusal>) {
    let listed = list(&viewer, Some(&namespace)).await;
    (namespace, listed)
}

async fn list(viewer: &Viewer, namespace: Option<&str>) -> Result<Vec<StreamingPipeline>, Refusal> {
    let client = viewer.client().clone();
    let api: Api<StreamingPipeline> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let listed = api.list(&ListParams::default().limit(MOST)).await;
    Ok(listed.map_err(|error| viewer.kube(&error, "pipelines"))?.items)
}

/// Shows one pipeline.
pub async fn one(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<PipelineView>, Refusal> {
    read(&viewer, &namespace, &name).await.map(Json)
}

/// Reads one pipeline as it is shown.
pub async fn read(viewer: &Viewer, namespace: &str, name: &str) -> Result<PipelineView, Refusal> {
    let (names, resource) = viewer.pipeline(namespace, name).await?;
    let mask = viewer.mask(&names, &resource).await;
    let rights = viewer.session.client.access.rights(viewer.client(), &names).await;
    let sources: Vec<String> = resource.spec.producer.sources.iter().map(|source| source.name.clone()).collect();
    let status = resource.status.clone().unwrap_or_default();
    Ok(viewer.app.measured.history(|history| PipelineView {
        summary: view::pipeline::summary(&resource, history),
        conditions: view::pipeline::conditions(&status.conditions),
        graph: view::graph::graph(&resource, &names, history),
        why: view::why::why(&view::why::facts(&resource, &names, history)),
        signals: view::signals::signals(&names, &sources, history),
        sources: view::sources::sources(&resource),
        scaling: view::scaling::scaling(&resource),
        dead_letter_topic: view::graph::dead_letter_topic(&resource, &names),
        planned_actions: status.planned_actions.clone(),
        plan: status.plan.as_ref().map(view::pipeline::plan),
        rights,
        masked_fields: mask.fields(),
        generation: resource.metadata.generation.unwrap_or_default(),
        observed_generation: status.observed_generation,
        kubectl: format!("kubectl describe spl {name} -n {namespace}"),
    }))
}

/// Shows what was measured.
pub async fn history(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
    Query(span): Query<Span>,
) -> Result<Json<History>, Refusal> {
    let (names, _) = viewer.pipeline(&namespace, &name).await?;
    let samples = span.seconds.map_or(SAMPLES, |seconds| (seconds.div_ceil(STEP_SECONDS) as usize).clamp(1, SAMPLES));
    let excerpt = viewer.app.measured.history(|history| history.excerpt(&names, samples));
    Ok(Json(History {
        step_seconds: STEP_SECONDS,
        times: excerpt.times,
        series: excerpt.series.into_iter().map(|(key, values)| Series { key, values }).collect(),
        unknown: excerpt.unknown,
    }))
}

/// Shows how far the processors are behind.
pub async fn lag(viewer: Viewer, Path((namespace, name)): Path<(String, String)>) -> Result<Json<Lag>, Refusal> {
    let (names, _) = viewer.pipeline(&namespace, &name).await?;
    Ok(Json(lag_of(&viewer, &names)))
}

fn lag_of(viewer: &Viewer, names: &Names) -> Lag {
    let group = names.consumer_group();
    let kubectl = format!("kubectl millrace lag {} -n {}", names.pipeline(), names.namespace());
    let mut lag = Lag {
        group,
        measured: None,
        total_records: None,
        total_seconds: None,
        partitions: Vec::new(),
        unknown: None,
        kubectl,
    };
    let Some(facts) = viewer.app.measured.lag(names) else {
        lag.unknown = Some("nothing was measured yet".to_owned());
        return lag;
    };
    lag.measured = Some(facts.measured);
    let offsets = match facts.offsets {
        Ok(offsets) => offsets,
        Err(cause) => {
            lag.unknown = Some(cause);
            return lag;
        }
    };
    let now = facts.measured.timestamp_millis();
    (lag.total_records, lag.total_seconds) = total(&offsets, now);
    if lag.total_records.is_none() {
        lag.unknown = Some("a partition has no leader".to_owned());
    }
    let before = facts.before.as_ref().map(|(before, seconds)| (before.as_slice(), *seconds));
    lag.partitions = offsets
        .iter()
        .map(|offsets| {
            let (in_rate, out_rate) = partition_rates(offsets, before);
            PartitionLag {
                topic: offsets.topic.clone(),
                partition: offsets.lag.partition,
                start_offset: offsets.lag.start,
                end_offset: offsets.lag.end,
                committed_offset: offsets.lag.committed,
                lag_records: offsets.records(),
                lag_seconds: offsets.seconds(now),
                in_rate,
                out_rate,
            }
        })
        .collect();
    lag
}

/// Shows the resource.
pub async fn resource(
    viewer: Viewer,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Resource>, Refusal> {
    let (names, written) = viewer.pipeline(&namespace, &name).await?;
    let api: Api<Pod> = Api::namespaced(viewer.client().clone(), &namespace);
    let pods = api.list(&ListParams::default().labels(&instance_selector(&names))).await;
    let pods = pods.map(|pods| pods.items).map_err(|error| viewer.kube(&error, "pods").to_string());
    Ok(Json(view::resource::resource(&written, &names, pods.as_deref().map_err(Clone::clone))))
}
