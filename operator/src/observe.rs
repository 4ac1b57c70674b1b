//! Reads everything that a decision needs, once per reconcile, live: the resource itself, its children, and what the
//! stores say of themselves. Nothing is cached, so that no decision rests on a stale view. Never writes.

use std::collections::BTreeMap;

use chrono::Utc;
use futures::try_join;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::Names;
use millrace_api::{Pipeline, StreamingPipeline};
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};

use crate::context::Context;
use crate::labels::instance_selector;
use crate::observed::{Children, Observed};

/// Why the world could not be read.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Observe {
    #[snafu(display("cannot read StreamingPipeline '{name}'"))]
    ReadPipeline { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot list {kind} objects of '{name}'"))]
    ListChildren { kind: String, name: String, source: Box<kube::Error> },
}

/// Reads the resource as it is now; `None`: it is gone.
pub async fn read_pipeline(ctx: &Context, names: &Names) -> Result<Option<StreamingPipeline>, Observe> {
    let api: Api<StreamingPipeline> = Api::namespaced(ctx.client.clone(), names.namespace());
    api.get_opt(names.pipeline()).await.map_err(Box::new).with_context(|_| ReadPipelineSnafu { name: names.pipeline() })
}

/// Reads children and stores.
#[expect(clippy::disallowed_methods, reason = "observe reads the clock for the whole road")]
pub async fn observe(ctx: &Context, pipeline: &Pipeline) -> Result<Observed, Observe> {
    let names = &pipeline.names;
    let (service_accounts, config_maps, services, network_policies) =
        try_join!(list(ctx, names), list(ctx, names), list(ctx, names), list(ctx, names))?;
    let (disruption_budgets, stateful_sets, deployments, pods) =
        try_join!(list(ctx, names), list(ctx, names), list(ctx, names), list(ctx, names))?;
    let children = Children {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
        pods,
    };
    let stores = ctx.hands.ask(pipeline, &children).await;
    Ok(Observed { now: Utc::now(), children, stores })
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
        .map_err(Box::new)
        .with_context(|_| ListChildrenSnafu { kind: K::kind(&()), name: names.pipeline() })?;
    Ok(listed.items.into_iter().map(|object| (object.name_any(), object)).collect())
}
