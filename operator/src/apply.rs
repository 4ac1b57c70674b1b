//! Carries a plan out: the only writer of children and of the stores. Decides nothing.
//!
//! Objects go by server-side apply under our field manager; acts go to the stores over their own protocols. What failed
//! is planned anew by the next reconcile, from what is there.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use millrace_api::names::Component;
use millrace_api::{Pipeline, StreamingPipeline};
use millrace_terms::causes::chain_of;
use serde::{Serialize, de::DeserializeOwned};
use snafu::{ResultExt, Snafu, ensure};

use crate::context::Context;
use crate::desire::Objects;
use crate::observe::Observed;
use crate::plan::{Act, Plan};
use millrace_stores::cassandra::{self, AskCassandra};
use millrace_stores::kafka::{AskKafka, Kafka};

/// Our field manager: owner of every field that we set.
pub const FIELD_MANAGER: &str = "millrace-operator";

/// Why a plan could not be carried out.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Apply {
    #[snafu(display("cannot apply {kind} '{name}'"))]
    ApplyObject { kind: String, name: String, source: Box<kube::Error> },
    #[snafu(display(
        "{kind} '{name}' exists and is not this pipeline's; remove it, or create the pipeline under another name"
    ))]
    RefuseForeign { kind: String, name: String },
    #[snafu(display("{kind} '{name}' of an earlier pipeline of this name has yet to go"))]
    AwaitRemoval { kind: String, name: String },
    #[snafu(display("cannot {act}"))]
    ActOnKafka { act: String, source: AskKafka },
    #[snafu(display("cannot {act}"))]
    ActOnCassandra { act: String, source: AskCassandra },
    #[snafu(display("cannot restart pod '{pod}'"))]
    DeletePod { pod: String, source: Box<kube::Error> },
    #[snafu(display("another operator may lead by now; the rest of the plan is left to it"))]
    KeepLeadership,
}

impl Apply {
    /// Returns whether the API server refused the object as such, so that only a changed spec can help.
    pub fn is_rejected(&self) -> bool {
        match self {
            Self::ApplyObject { source, .. } => {
                matches!(source.as_ref(), kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
            }
            Self::RefuseForeign { .. } => true,
            Self::ActOnKafka { .. }
            | Self::ActOnCassandra { .. }
            | Self::AwaitRemoval { .. }
            | Self::DeletePod { .. }
            | Self::KeepLeadership => false,
        }
    }

    /// Returns whether the namespace is being deleted, so that there is nobody left to build for.
    pub fn is_namespace_terminating(&self) -> bool {
        let Self::ApplyObject { source, .. } = self else { return false };
        let kube::Error::Api(status) = source.as_ref() else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }
}

/// What was carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Number of objects written.
    pub objects: usize,
    /// Acts that were done, in order.
    pub acts: Vec<Act>,
}

/// Carries a plan out, as far as it goes. Returns what was done, and the first failure.
///
/// An object that fails ends the pass, since those after it depend on it; an act that fails holds up no other.
pub async fn apply(ctx: &Context, pipeline: &Pipeline, observed: &Observed, plan: &Plan) -> (Applied, Option<Apply>) {
    let mut applied = Applied::default();
    match apply_objects(ctx, pipeline, plan.apply.clone()).await {
        Ok(written) => applied.objects = written,
        Err(error) => return (applied, Some(error)),
    }
    let mut failure = None;
    for act in &plan.acts {
        if !ctx.fence.is_open() {
            return (applied, Some(Apply::KeepLeadership));
        }
        match carry_out(ctx, pipeline, observed, act).await {
            Ok(()) => applied.acts.push(act.clone()),
            Err(error) => {
                tracing::warn!(error = %chain_of(&error), "an act failed");
                failure.get_or_insert(error);
            }
        }
    }
    (applied, failure)
}

/// Applies in the order of dependence: identities and configuration before the pods that use them.
async fn apply_objects(ctx: &Context, pipeline: &Pipeline, objects: Objects) -> Result<usize, Apply> {
    let Objects {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
    } = objects;
    let mut written = 0;
    written += apply_all(ctx, pipeline, service_accounts).await?;
    written += apply_all(ctx, pipeline, config_maps).await?;
    written += apply_all(ctx, pipeline, services).await?;
    written += apply_all(ctx, pipeline, network_policies).await?;
    written += apply_all(ctx, pipeline, disruption_budgets).await?;
    written += apply_all(ctx, pipeline, stateful_sets).await?;
    written += apply_all(ctx, pipeline, deployments).await?;
    Ok(written)
}

async fn apply_all<K>(ctx: &Context, pipeline: &Pipeline, objects: Vec<K>) -> Result<usize, Apply>
where
    K: Clone
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), pipeline.names.namespace());
    let ours = PatchParams::apply(FIELD_MANAGER).force();
    let count = objects.len();
    for object in objects {
        ensure!(ctx.fence.is_open(), KeepLeadershipSnafu);
        let name = object.name_any();
        ensure_ours(&api, &name, pipeline).await?;
        ctx.telemetry.object_written(&K::kind(&()), &name);
        api.patch(&name, &ours, &Patch::Apply(&object))
            .await
            .map_err(Box::new)
            .with_context(|_| ApplyObjectSnafu { kind: K::kind(&()), name })?;
    }
    Ok(count)
}

/// Fails if the name is taken by an object that is not this pipeline's: our labels do not show it, and to apply would
/// be to seize it, and to delete it with the pipeline.
async fn ensure_ours<K>(api: &Api<K>, name: &str, pipeline: &Pipeline) -> Result<(), Apply>
where
    K: Clone
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + DeserializeOwned
        + std::fmt::Debug,
{
    let kind = || K::kind(&()).into_owned();
    let found = api
        .get_opt(name)
        .await
        .map_err(Box::new)
        .with_context(|_| ApplyObjectSnafu { kind: kind(), name: name.to_owned() })?;
    let Some(found) = found else { return Ok(()) };
    let owners = found.owner_references();
    if owners.iter().any(|owner| owner.uid == pipeline.uid) {
        return Ok(());
    }
    let predecessor =
        |owner: &OwnerReference| owner.kind == StreamingPipeline::kind(&()) && owner.name == pipeline.names.pipeline();
    match owners.iter().any(predecessor) {
        true => AwaitRemovalSnafu { kind: kind(), name }.fail(),
        false => RefuseForeignSnafu { kind: kind(), name }.fail(),
    }
}

async fn carry_out(ctx: &Context, pipeline: &Pipeline, observed: &Observed, act: &Act) -> Result<(), Apply> {
    let mut kafka = Kafka::new(&observed.addresses(Component::Kafka));
    let keyspace = &pipeline.cassandra.keyspace;
    let on_kafka = || ActOnKafkaSnafu { act: act.describe() };
    let statement = match act {
        Act::CreateTopic(topic) => return kafka.create_topic(topic).await.with_context(|_| on_kafka()),
        Act::AddPartitions { topic, partitions } => {
            return kafka.add_partitions(topic, *partitions).await.with_context(|_| on_kafka());
        }
        Act::AlterTopic { topic, change } => {
            return kafka.alter_topic(topic, change).await.with_context(|_| on_kafka());
        }
        Act::RestartPod(restart) => return delete_pod(ctx, pipeline, &restart.pod, &restart.uid).await,
        Act::CreateKeyspace => cassandra::create_keyspace(&pipeline.cassandra),
        Act::CreateType(declared) => cassandra::create_type(keyspace, declared),
        Act::AddField { type_name, field } => cassandra::add_field(keyspace, type_name, field),
        Act::CreateTable(table) => cassandra::create_table(keyspace, table),
        Act::AddColumn { table, column } => cassandra::add_column(keyspace, table, column),
        Act::SetTtl { table, ttl_seconds } => cassandra::set_ttl(keyspace, table, *ttl_seconds),
    };
    let node = observed.stores.cassandra.nodes.values().next().map(|node| node.address);
    cassandra::execute(node, &[statement]).await.with_context(|_| ActOnCassandraSnafu { act: act.describe() })
}

/// Deletes a pod only if it is still the one that was observed.
async fn delete_pod(ctx: &Context, pipeline: &Pipeline, pod: &str, uid: &str) -> Result<(), Apply> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), pipeline.names.namespace());
    let only_this = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(pod, &only_this).await {
        Ok(_) => Ok(()),
        // Gone already, or another pod by now: what was asked for has happened.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Box::new(error)).context(DeletePodSnafu { pod }),
    }
}
