//! Reads everything that a decision needs, once per reconcile, live: the resource itself, its children, and what the
//! stores say of themselves. Nothing is cached, so that no decision rests on a stale view. Never writes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::try_join;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim};
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::Names;
use millrace_api::{Pipeline, StreamingPipeline};
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};

use crate::answer::AskApi;
use crate::context::Context;
use crate::labels::{COMPONENT_LABEL, INSTANCE_LABEL, PIPELINE_LABEL, RACK_LABEL, STORE_CLAIMS, instance_selector};
use crate::observed::{Children, Claim, Observed, Remembered, Warning};
use crate::readiness;

/// Most warnings of a namespace that are looked through.
const MAX_WARNINGS: u32 = 500;

/// Annotation that Kubernetes puts on a claim when it has bound it, and never takes off.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// Why the world could not be read.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Observe {
    #[snafu(display("cannot read StreamingPipeline '{name}'"))]
    ReadPipeline { name: String, source: AskApi },
    #[snafu(display("cannot list {kind} objects of '{name}'"))]
    ListChildren { kind: String, name: String, source: AskApi },
}

/// Reads the resource as it is now; `None`: it is gone.
pub async fn read_pipeline(ctx: &Context, names: &Names) -> Result<Option<StreamingPipeline>, Observe> {
    let api: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), names.namespace());
    api.get_opt(names.pipeline())
        .await
        .map_err(AskApi::from)
        .with_context(|_| ReadPipelineSnafu { name: names.pipeline() })
}

/// Reads children and stores of a resource.
#[expect(clippy::disallowed_methods, reason = "observe reads the clock for the whole road")]
pub async fn observe(ctx: &Context, resource: &StreamingPipeline, pipeline: &Pipeline) -> Result<Observed, Observe> {
    let names = &pipeline.names;
    let (service_accounts, config_maps, services, network_policies) =
        try_join!(list(ctx, names), list(ctx, names), list(ctx, names), list(ctx, names))?;
    let (disruption_budgets, stateful_sets, deployments, pods) =
        try_join!(list(ctx, names), list(ctx, names), list(ctx, names), list(ctx, names))?;
    let claims = claims(ctx, names).await;
    let labelled = claims.iter().flatten().filter(|claim| has_label_of_set(claim, names));
    let labelled = labelled.map(ResourceExt::name_any).collect();
    let mut children = Children {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
        pods,
        warnings: Vec::new(),
        claims: labelled,
        volumes: claims.map(|claims| claims.into_iter().map(|claim| (claim.name_any(), facts(claim))).collect()),
    };
    if !readiness::is_complete(&children) {
        children.warnings = warnings(ctx, names).await;
    }
    let stores = ctx.hands.ask(pipeline, &children).await;
    let remembered = Remembered::of(resource);
    Ok(Observed { now: Utc::now(), remembered, children, stores, writes: ctx.ledger.of(names) })
}

/// Lists the claims of the pipeline's stores; `None`: they cannot be listed.
async fn claims(ctx: &Context, names: &Names) -> Option<Vec<PersistentVolumeClaim>> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), names.namespace());
    let is_ours = |claim: &PersistentVolumeClaim| {
        let ours = claim.labels().get(PIPELINE_LABEL).is_some_and(|pipeline| pipeline == names.pipeline());
        ours || has_label_of_set(claim, names)
    };
    match api.list(&ListParams::default().labels(STORE_CLAIMS)).await {
        Ok(listed) => Some(listed.items.into_iter().filter(is_ours).collect()),
        Err(error) => {
            tracing::debug!(error = %AskApi::from(error), "cannot list claims");
            None
        }
    }
}

/// Returns whether a claim still has the label that its StatefulSet gave it.
fn has_label_of_set(claim: &PersistentVolumeClaim, names: &Names) -> bool {
    claim.labels().get(INSTANCE_LABEL).is_some_and(|pipeline| pipeline == names.pipeline())
}

/// Returns what is decided upon of a claim. Only one that waits and has no volume's name is unbound: one whose volume is
/// lost has had one.
fn facts(claim: PersistentVolumeClaim) -> Claim {
    let spec = claim.spec.clone().unwrap_or_default();
    let is_pending = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
    let is_bound = spec.volume_name.is_some() || claim.annotations().contains_key(BIND_COMPLETED);
    Claim {
        uid: claim.uid().unwrap_or_default(),
        resource_version: claim.resource_version().unwrap_or_default(),
        size: spec.resources.and_then(|resources| Some(resources.requests?.get("storage")?.0.clone())),
        component: claim.labels().get(COMPONENT_LABEL).cloned(),
        rack: claim.labels().get(RACK_LABEL).cloned(),
        class: spec.storage_class_name,
        is_unbound: is_pending && !is_bound,
        is_leaving: claim.metadata.deletion_timestamp.is_some(),
    }
}

/// Reads the warnings about objects that are called after the pipeline. They only explain, so that a pass goes on without
/// them where they cannot be read.
async fn warnings(ctx: &Context, names: &Names) -> Vec<Warning> {
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), names.namespace());
    let of = |selector| ListParams::default().fields(selector).limit(MAX_WARNINGS);
    // That no class is the default is told as if it were nothing to worry about.
    let (warning, unbound) = (of("type=Warning"), of("reason=FailedBinding"));
    let listed = match try_join!(api.list(&warning), api.list(&unbound)) {
        Ok((warnings, unbound)) => warnings.items.into_iter().chain(unbound.items),
        Err(error) => {
            tracing::debug!(error = %AskApi::from(error), "cannot list events");
            return Vec::new();
        }
    };
    let prefix = format!("{}-", names.pipeline());
    // Claims are called after their template first.
    let is_ours = |warning: &Warning| {
        warning.name.starts_with(&prefix)
            || warning.name.strip_prefix("data-").is_some_and(|name| name.starts_with(&prefix))
    };
    listed.filter_map(warning_of).filter(is_ours).collect()
}

fn warning_of(event: Event) -> Option<Warning> {
    let series = event.series.and_then(|series| series.last_observed_time);
    let last = series
        .or(event.event_time)
        .map(|time| time.0)
        .into_iter()
        .chain(event.last_timestamp.map(|time| time.0))
        .max()?;
    Some(Warning {
        kind: event.involved_object.kind?,
        name: event.involved_object.name?,
        reason: event.reason?,
        message: event.message?,
        last: DateTime::from_timestamp(last.as_second(), 0)?,
    })
}

async fn list<K>(ctx: &Context, names: &Names) -> Result<BTreeMap<String, K>, Observe>
where
    K: Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), names.namespace());
    let wanted = ListParams::default().labels(&instance_selector(names));
    let listed = api
        .list(&wanted)
        .await
        .map_err(AskApi::from)
        .with_context(|_| ListChildrenSnafu { kind: K::kind(&()), name: names.pipeline() })?;
    Ok(listed.items.into_iter().map(|object| (object.name_any(), object)).collect())
}
