//! Reads everything that a decision needs, once per reconcile, live: the resource itself, its children, and what the
//! stores say of themselves. Nothing is cached, so that no decision rests on a stale view. Never writes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::try_join;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Event, PersistentVolumeClaim, PersistentVolumeClaimCondition, PersistentVolumeClaimStatus,
};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::{Component, Names};
use millrace_api::quantity::Quantity;
use millrace_api::replay::Replay;
use millrace_api::{Pipeline, StreamingPipeline};
use millrace_terms::causes::chain_of;
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};

use crate::act::asking_for;
use crate::answer::AskApi;
use crate::context::Context;
use crate::labels::{
    COMPONENT_LABEL, HAS_LEFT, INSTANCE_LABEL, PIPELINE_LABEL, RACK_LABEL, RUN_LABEL, STORE_CLAIMS, instance_selector,
};
use crate::observed::{Children, Claim, Growth, Observed, Remembered, Stores, Warning};
use crate::readiness;
use crate::workers::load::look;
use crate::workers::replay;
use crate::write::FIELD_MANAGER;
use millrace_stores::kafka::Span;

/// Most warnings of a namespace that are looked through.
const MAX_WARNINGS: u32 = 500;

/// Annotation that Kubernetes puts on a claim when it has bound it, and never takes off.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// Condition of a claim whose volume has grown, and whose file system has not.
const FILE_SYSTEM_PENDING: &str = "FileSystemResizePending";

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
        runs: BTreeSet::new(),
    };
    // Before the stores are asked: what these have is then all that was written.
    if pipeline.suspend {
        children.runs = runs_under_way(list(ctx, names).await?);
    }
    if !readiness::is_complete(&children) {
        children.warnings = warnings(ctx, names).await;
    }
    ask_for_growth(ctx, pipeline, &mut children).await;
    let stores = ctx.hands.ask(pipeline, &children).await;
    let remembered = Remembered::of(resource);
    // After the group: what it had committed then, it has committed now.
    let spans = match replay::question(pipeline, &remembered) {
        Some(replay) => Some(spans(ctx, pipeline, &children, &stores, &replay).await),
        None => None,
    };
    let now = Utc::now();
    let looks = look(pipeline, &children, &stores, ctx.looks.take(names), now);
    ctx.looks.keep(names, &looks);
    Ok(Observed { now, remembered, children, stores, writes: ctx.ledger.of(names), looks, spans })
}

/// Asks where the processors stand in each partition of a topic that is to be read again.
async fn spans(
    ctx: &Context,
    pipeline: &Pipeline,
    children: &Children,
    stores: &Stores,
    replay: &Replay,
) -> Result<BTreeMap<i32, Span>, String> {
    let (brokers, group) = (stores.brokers(pipeline, children), pipeline.kafka.prefix.consumer_group());
    let asked = ctx.hands.ask_spans(&brokers, &group, &replay.topic, replay.from.moment()).await;
    asked.map_err(|error| chain_of(&error))
}

/// Returns the runs whose attempt has not ended.
fn runs_under_way(attempts: BTreeMap<String, Job>) -> BTreeSet<String> {
    let has_ended = |job: &Job| {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        let is_end = |kind: &str| ["Complete", "Failed"].contains(&kind);
        conditions.into_iter().flatten().any(|condition| is_end(&condition.type_) && condition.status == "True")
    };
    let under_way = attempts.into_iter().filter(|(_, job)| !has_ended(job));
    under_way.map(|(name, job)| job.labels().get(RUN_LABEL).cloned().unwrap_or(name)).collect()
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
        is_owned: claim.owner_references().iter().any(|owner| owner.kind == "StatefulSet"),
        has_left: claim.annotations().get(HAS_LEFT).is_some_and(|value| value == "true"),
        growth: growth(claim.status.unwrap_or_default()),
    }
}

/// Returns what a claim says of its own growth. Whether it may grow is asked for where it is to.
fn growth(status: PersistentVolumeClaimStatus) -> Growth {
    let conditions = status.conditions.unwrap_or_default();
    let mut under_way = conditions.iter().filter(|condition| condition.status == "True");
    let pending = under_way.clone().find(|condition| condition.type_ == FILE_SYSTEM_PENDING);
    let since = pending.and_then(|pending| pending.last_transition_time.as_ref());
    let said = |condition: &PersistentVolumeClaimCondition| match condition.message.as_deref() {
        None | Some("") => condition.type_.clone(),
        Some(message) => format!("{}, {message}", condition.type_),
    };
    Growth {
        capacity: status.capacity.and_then(|capacity| Some(capacity.get("storage")?.0.clone())),
        waits: under_way.next().map(said),
        file_system_since: since.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0)),
        answer: None,
    }
}

/// Asks the API server, by dry run, whether the claims that are to grow next may. Their StorageClass decides, and quotas and
/// policies: the answer has them all, and no right to read any is needed.
async fn ask_for_growth(ctx: &Context, pipeline: &Pipeline, children: &mut Children) {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), pipeline.names.namespace());
    let dry_run =
        PatchParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for (name, size) in next_to_grow(pipeline, children) {
        let answer = match api.patch(&name, &dry_run, &Patch::Merge(asking_for(&size))).await {
            Ok(_) => Some(Ok(())),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                Some(Err(AskApi::from(kube::Error::Api(status)).to_string()))
            }
            Err(error) => {
                tracing::debug!(claim = name, error = %AskApi::from(error), "cannot check whether a claim can grow");
                None
            }
        };
        if let Some(claim) = children.volumes.as_mut().and_then(|volumes| volumes.get_mut(&name)) {
            claim.growth.answer = answer;
        }
    }
}

/// Returns the claims that are to grow next, one of each StatefulSet, and how large they are to be. Only one with a volume
/// can grow, and none does while another still has less than it asked for.
fn next_to_grow(pipeline: &Pipeline, children: &Children) -> Vec<(String, String)> {
    let stores = [
        (Component::ZooKeeper, &pipeline.zookeeper.member.storage.size),
        (Component::Kafka, &pipeline.kafka.member.storage.size),
        (Component::Cassandra, &pipeline.cassandra.member.storage.size),
    ];
    let mut next = Vec::new();
    for (component, size) in stores {
        let Ok(wanted) = size.parse::<Quantity>() else { continue };
        for stateful_set in children.of_component(&children.stateful_sets, component) {
            if children.claims_of(stateful_set).iter().any(|(_, claim)| claim.shortfall().is_some()) {
                continue;
            }
            let claim = children.next_to_grow(stateful_set, wanted).filter(|(_, claim)| !claim.is_unbound);
            next.extend(claim.map(|(name, _)| (name.to_owned(), size.clone())));
        }
    }
    next
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
        uid: event.involved_object.uid,
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
