//! Carries a plan out: the only writer of children and of the stores. Decides nothing.
//!
//! Objects go by server-side apply under our field manager; acts go to the stores over their own protocols. What failed
//! is planned anew by the next reconcile, from what is there.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use millrace_api::{Pipeline, StreamingPipeline};
use millrace_terms::causes::chain_of;
use serde::Serialize;
use serde_json::Value;
use snafu::{ResultExt, Snafu};

use crate::act::{Act, Restart};
use crate::context::Context;
use crate::objects::Objects;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::write::{FIELD_MANAGER, Write, Writer};
use millrace_stores::cassandra::AskCassandra;
use millrace_stores::kafka::AskKafka;

/// Why a plan could not be carried out.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Apply {
    #[snafu(display("cannot apply {kind} '{name}'"))]
    ApplyObject { kind: String, name: String, source: Write },
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
    DeletePod { pod: String, source: Write },
    #[snafu(display("another operator may lead by now; the rest of the plan is left to it"))]
    KeepLeadership,
}

impl Apply {
    /// Returns whether the API server refused the object as such, so that only a changed spec can help.
    pub fn is_rejected(&self) -> bool {
        match self {
            Self::ApplyObject { source, .. } => matches!(source.code(), Some(400 | 403 | 422)),
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
        let Self::ApplyObject { source: Write::Ask { source }, .. } = self else { return false };
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
    let ordered = [
        as_json(service_accounts),
        as_json(config_maps),
        as_json(services),
        as_json(network_policies),
        as_json(disruption_budgets),
        as_json(stateful_sets),
        as_json(deployments),
    ];
    let ordered: Vec<AnyObject> = ordered.into_iter().flatten().collect();
    let count = ordered.len();
    for object in ordered {
        apply_object(ctx, pipeline, object).await?;
    }
    Ok(count)
}

/// An object to apply, of whichever kind.
struct AnyObject {
    resource: ApiResource,
    name: String,
    value: Value,
}

fn as_json<K: Resource<DynamicType = ()> + Serialize>(objects: Vec<K>) -> Vec<AnyObject> {
    let as_json = |object: &K| AnyObject {
        resource: ApiResource::erase::<K>(&()),
        name: object.name_any(),
        value: serde_json::to_value(object).expect("Kubernetes objects serialise"),
    };
    objects.iter().map(as_json).collect()
}

async fn apply_object(ctx: &Context, pipeline: &Pipeline, object: AnyObject) -> Result<(), Apply> {
    let AnyObject { resource, name, value } = object;
    let kind = resource.kind.clone();
    let writer = Writer::new(ctx, resource, pipeline.names.namespace());
    let found = writer.find(&name).await.with_context(|_| ApplyObjectSnafu { kind: &kind, name: &name })?;
    if let Some(found) = found {
        ensure_ours(found.owner_references(), &kind, &name, pipeline)?;
    }
    let ours = PatchParams::apply(FIELD_MANAGER).force();
    writer.patch(&name, &ours, &Patch::Apply(value)).await.with_context(|_| ApplyObjectSnafu { kind, name })
}

/// Fails if the name is taken by an object that is not this pipeline's: our labels do not show it, and to apply would
/// be to seize it, and to delete it with the pipeline.
fn ensure_ours(owners: &[OwnerReference], kind: &str, name: &str, pipeline: &Pipeline) -> Result<(), Apply> {
    if owners.iter().any(|owner| owner.uid == pipeline.uid) {
        return Ok(());
    }
    let predecessor =
        |owner: &OwnerReference| owner.kind == StreamingPipeline::kind(&()) && owner.name == pipeline.names.pipeline();
    match owners.iter().any(predecessor) {
        true => AwaitRemovalSnafu { kind, name }.fail(),
        false => RefuseForeignSnafu { kind, name }.fail(),
    }
}

async fn carry_out(ctx: &Context, pipeline: &Pipeline, observed: &Observed, act: &Act) -> Result<(), Apply> {
    match act {
        Act::Kafka(change) => {
            let changed = ctx.hands.change_kafka(&observed.children.brokers(), change).await;
            changed.with_context(|_| ActOnKafkaSnafu { act: act.describe() })
        }
        Act::Cassandra(change) => {
            let reach = observed.children.nodes();
            let node = observed.stores.cassandra.nodes.keys().find_map(|key| reach.of(key));
            let changed = ctx.hands.change_cassandra(node, &pipeline.cassandra, change).await;
            changed.with_context(|_| ActOnCassandraSnafu { act: act.describe() })
        }
        Act::RestartPod(Restart { pod, uid, .. }) => {
            let pods = Writer::of::<Pod>(ctx, pipeline.names.namespace());
            pods.delete(pod, uid, None).await.with_context(|_| DeletePodSnafu { pod })
        }
    }
}
