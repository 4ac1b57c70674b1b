//! Carries a plan out: the only writer of children and of the stores. Decides nothing.
//!
//! Objects go by server-side apply under our field manager; acts go to the stores over their own protocols. What failed
//! is planned anew by the next reconcile, from what is there.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams, PropagationPolicy};
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use millrace_api::{Pipeline, StreamingPipeline};
use millrace_terms::causes::chain_of;
use serde::Serialize;
use serde_json::{Value, json};
use snafu::{ResultExt, Snafu, ensure};

use crate::act::{Act, ClaimGrowth, ClaimRemoval, Restart, SetRemoval, asking_for};
use crate::context::Context;
use crate::difference::differences;
use crate::labels::{HAS_LEFT, INSTANCE_LABEL, PIPELINE_LABEL};
use crate::ledger::{ObjectKey, Written};
use crate::objects::Objects;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::plan::drift::{Changed, DESIRED_CHECKSUM};
use crate::write::{FIELD_MANAGER, Write, Writer};
use crate::zookeeper::membership::asked;
use millrace_stores::cassandra::AskCassandra;
use millrace_stores::kafka::AskKafka;
use millrace_stores::zookeeper::AskZooKeeper;

/// Why a plan could not be carried out.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Apply {
    #[snafu(display("cannot apply {kind} '{name}'"))]
    ApplyObject { kind: String, name: String, source: Write },
    #[snafu(display("{}", in_the_way(objects)))]
    RefuseForeign { objects: Vec<ObjectKey> },
    #[snafu(display("{kind} '{name}' of an earlier pipeline of this name is still being deleted"))]
    AwaitRemoval { kind: String, name: String },
    #[snafu(display("cannot {act}"))]
    ActOnZooKeeper { act: String, source: AskZooKeeper },
    #[snafu(display("cannot {act}"))]
    ActOnKafka { act: String, source: AskKafka },
    #[snafu(display("cannot {act}"))]
    ActOnCassandra { act: String, source: AskCassandra },
    #[snafu(display("cannot restart pod '{pod}'"))]
    DeletePod { pod: String, source: Write },
    #[snafu(display("cannot {act}; to do it manually: {command}"))]
    Remove { act: String, command: String, source: Write },
    #[snafu(display("cannot {act}"))]
    Grow { act: String, source: Write },
    #[snafu(display("leadership may have moved to another operator, which carries out the rest of the plan"))]
    KeepLeadership,
}

impl Apply {
    /// Returns whether the API server refused the object as such, so that only a changed spec can help.
    pub fn is_rejected(&self) -> bool {
        match self {
            Self::ApplyObject { source, .. } | Self::Grow { source, .. } => {
                matches!(source.code(), Some(400 | 403 | 422)) && !source.is_for_another_uid()
            }
            // The right comes with a policy of the chart, and may be missing.
            Self::Remove { source, .. } => source.code() == Some(403),
            Self::RefuseForeign { .. } => true,
            Self::ActOnZooKeeper { .. }
            | Self::ActOnKafka { .. }
            | Self::ActOnCassandra { .. }
            | Self::AwaitRemoval { .. }
            | Self::DeletePod { .. }
            | Self::KeepLeadership => false,
        }
    }

    /// Returns whether the namespace is being deleted, so that there is nobody left to build for.
    pub fn is_namespace_terminating(&self) -> bool {
        let Self::ApplyObject { source: Write::Ask { source }, .. } = self else { return false };
        let causes = source.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
        causes.into_iter().flatten().any(|cause| cause.reason == "NamespaceTerminating")
    }
}

/// What was carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Number of objects written.
    pub objects: usize,
    /// Acts that were done, in order.
    pub acts: Vec<Act>,
    /// What others had changed of our objects, and is as desired again.
    pub set_back: Vec<Changed>,
}

/// Says what others' objects stand where the pipeline wants its own.
fn in_the_way(objects: &[ObjectKey]) -> String {
    let listed: Vec<String> = objects.iter().map(|ObjectKey { kind, name }| format!("{kind} '{name}'")).collect();
    let (exist, them) = if objects.len() == 1 { ("exists and does", "it") } else { ("exist and do", "them") };
    format!(
        "{} {exist} not belong to this pipeline; delete {them}, or create the pipeline under another name",
        listed.join(", ")
    )
}

/// Carries a plan out, as far as it goes. Returns what was done, and the first failure.
///
/// An object that fails ends the pass, since those after it depend on it; an act that fails holds up no other.
pub async fn apply(ctx: &Context, pipeline: &Pipeline, observed: &Observed, plan: &Plan) -> (Applied, Option<Apply>) {
    let mut applied = Applied::default();
    match apply_objects(ctx, pipeline, observed, plan).await {
        Ok(written) => (applied.objects, applied.set_back) = (written, plan.set_back.clone()),
        Err(error) => return (applied, Some(error)),
    }
    relabel_claims(ctx, pipeline, &plan.claims).await;
    mark_claims(ctx, pipeline, &plan.marks).await;
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
async fn apply_objects(ctx: &Context, pipeline: &Pipeline, observed: &Observed, plan: &Plan) -> Result<usize, Apply> {
    let Objects {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
    } = plan.apply.clone();
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
    for (index, object) in ordered.iter().enumerate() {
        if !apply_object(ctx, pipeline, observed, plan, object).await? {
            return refuse_foreign(ctx, pipeline, &ordered[index..], plan).await;
        }
    }
    Ok(ordered.len())
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

/// Applies an object, unless somebody else's stands in its place. Returns whether it did.
async fn apply_object(
    ctx: &Context,
    pipeline: &Pipeline,
    observed: &Observed,
    plan: &Plan,
    object: &AnyObject,
) -> Result<bool, Apply> {
    let AnyObject { resource, name, value } = object;
    let Owner::Us { uid } = find_owner(ctx, pipeline, resource, name).await? else { return Ok(false) };
    let kind = resource.kind.clone();
    let writer = Writer::new(ctx, resource.clone(), pipeline.names.namespace());
    let ours = PatchParams::apply(FIELD_MANAGER).force();
    let mut patch = value.clone();
    // A write that comes late must not change what the next pipeline of this name has made.
    if let Some(uid) = uid {
        patch["metadata"]["uid"] = json!(uid);
    }
    let written = writer.patch(name, &ours, &Patch::Apply(patch)).await;
    let answer = written.with_context(|_| ApplyObjectSnafu { kind: &kind, name })?;
    let answer = serde_json::to_value(answer).expect("Kubernetes objects serialise");
    let key = ObjectKey { kind, name: name.clone() };
    let set_back = plan.set_back.iter().find(|changed| changed.object == key);
    let written = Written::after(
        observed.writes.get(&key),
        noted_checksum(value),
        observed.now,
        differences(&answer, value),
        set_back.map_or(&[], |changed| &changed.differences),
    );
    ctx.ledger.note(&pipeline.names, key, written);
    Ok(true)
}

/// Takes the label off claims that tools take for a sign that the claim is theirs. What fails is tried again by the next
/// pass, and holds up nothing.
async fn relabel_claims(ctx: &Context, pipeline: &Pipeline, claims: &[String]) {
    let writer = Writer::of::<PersistentVolumeClaim>(ctx, pipeline.names.namespace());
    let labels = json!({INSTANCE_LABEL: null, PIPELINE_LABEL: pipeline.names.pipeline()});
    let ours = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let change = Patch::Merge(json!({"metadata": {"labels": labels}}));
    for claim in claims {
        if let Err(error) = writer.patch(claim, &ours, &change).await {
            tracing::warn!(claim, error = %chain_of(&error), "cannot change the labels of a claim");
        }
    }
}

/// Marks the claims of ZooKeeper servers that have left, and takes the mark off those that vote again. What fails is
/// tried again by the next pass, and holds up nothing: the volumes themselves have it, too.
async fn mark_claims(ctx: &Context, pipeline: &Pipeline, marks: &BTreeMap<String, bool>) {
    let writer = Writer::of::<PersistentVolumeClaim>(ctx, pipeline.names.namespace());
    let ours = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for (claim, has_left) in marks {
        let value = has_left.then_some("true");
        let change = Patch::Merge(json!({"metadata": {"annotations": {HAS_LEFT: value}}}));
        if let Err(error) = writer.patch(claim, &ours, &change).await {
            tracing::warn!(claim, error = %chain_of(&error), "cannot mark a claim");
        }
    }
}

fn noted_checksum(object: &Value) -> String {
    object["metadata"]["annotations"][DESIRED_CHECKSUM].as_str().unwrap_or_default().to_owned()
}

/// Whose an object is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Owner {
    /// It is this pipeline's, and has this UID; absent: there is none of that name.
    Us { uid: Option<String> },
    /// Somebody else's: our labels do not show it, and to apply would be to seize it, and to delete it with the pipeline.
    Another,
}

async fn find_owner(ctx: &Context, pipeline: &Pipeline, resource: &ApiResource, name: &str) -> Result<Owner, Apply> {
    let kind = &resource.kind;
    let writer = Writer::new(ctx, resource.clone(), pipeline.names.namespace());
    let Some(found) = writer.find(name).await.with_context(|_| ApplyObjectSnafu { kind, name })? else {
        return Ok(Owner::Us { uid: None });
    };
    let owners = found.owner_references();
    if owners.iter().any(|owner| owner.uid == pipeline.uid) {
        return Ok(Owner::Us { uid: found.uid() });
    }
    let is_predecessor =
        |owner: &OwnerReference| owner.kind == StreamingPipeline::kind(&()) && owner.name == pipeline.names.pipeline();
    ensure!(!owners.iter().any(is_predecessor), AwaitRemovalSnafu { kind, name });
    Ok(Owner::Another)
}

/// Fails with all that is in the way, the first of `objects` being so, and those included that are to come later.
async fn refuse_foreign<T>(ctx: &Context, pipeline: &Pipeline, objects: &[AnyObject], plan: &Plan) -> Result<T, Apply> {
    let stateful_sets = ApiResource::erase::<StatefulSet>(&());
    let deployments = ApiResource::erase::<Deployment>(&());
    let held = plan.held.iter().map(|key| match key.kind == stateful_sets.kind {
        true => (&stateful_sets, &key.name),
        false => (&deployments, &key.name),
    });
    let mut foreign = Vec::new();
    for (resource, name) in objects.iter().map(|object| (&object.resource, &object.name)).chain(held) {
        if find_owner(ctx, pipeline, resource, name).await? == Owner::Another {
            foreign.push(ObjectKey { kind: resource.kind.clone(), name: name.clone() });
        }
    }
    RefuseForeignSnafu { objects: foreign }.fail()
}

async fn carry_out(ctx: &Context, pipeline: &Pipeline, observed: &Observed, act: &Act) -> Result<(), Apply> {
    match act {
        Act::ZooKeeper(change) => {
            let reach = observed.children.servers();
            let server = asked(&observed.stores.zookeeper, change).and_then(|ordinal| reach.of(&ordinal));
            let password = ctx.administration.key.zookeeper_password(&pipeline.uid);
            let changed = ctx.hands.change_zookeeper(server, &password, change).await;
            changed.with_context(|_| ActOnZooKeeperSnafu { act: act.describe() })
        }
        Act::Kafka(change) => {
            let brokers = observed.stores.brokers(pipeline, &observed.children);
            let changed = ctx.hands.change_kafka(&brokers, change).await;
            changed.with_context(|_| ActOnKafkaSnafu { act: act.describe() })
        }
        Act::Cassandra(change) => {
            let reach = observed.stores.nodes(pipeline, &observed.children);
            let node = observed.stores.cassandra.nodes.keys().find_map(|key| reach.of(key));
            let changed = ctx.hands.change_cassandra(node, &pipeline.cassandra, change).await;
            changed.with_context(|_| ActOnCassandraSnafu { act: act.describe() })
        }
        Act::RestartPod(Restart { pod, uid, .. }) => {
            let pods = Writer::of::<Pod>(ctx, pipeline.names.namespace());
            pods.delete(pod, uid, None).await.with_context(|_| DeletePodSnafu { pod })
        }
        Act::RemoveSet(SetRemoval { name, uid }) | Act::RemakeSet(SetRemoval { name, uid }) => {
            let sets = Writer::of::<StatefulSet>(ctx, pipeline.names.namespace());
            // Nothing that it holds goes with it, whatever its own policy says of its claims.
            let removed = sets.delete(name, uid, Some(PropagationPolicy::Orphan)).await;
            let namespace = pipeline.names.namespace();
            let command = format!("kubectl delete statefulset -n {namespace} {name} --cascade=orphan");
            removed.with_context(|_| RemoveSnafu { act: act.describe(), command })
        }
        Act::RemoveClaim(ClaimRemoval { name, uid, resource_version }) => {
            let claims = Writer::of::<PersistentVolumeClaim>(ctx, pipeline.names.namespace());
            let removed = claims.delete_unchanged(name, uid, resource_version).await;
            let command = format!("kubectl delete pvc -n {} {name}", pipeline.names.namespace());
            removed.with_context(|_| RemoveSnafu { act: act.describe(), command })
        }
        Act::GrowClaim(growth) => grow(ctx, pipeline, growth).await.with_context(|_| GrowSnafu { act: act.describe() }),
    }
}

/// Lets a claim ask for more, if it is as it was read: one that has changed since is decided upon anew.
async fn grow(ctx: &Context, pipeline: &Pipeline, growth: &ClaimGrowth) -> Result<(), Write> {
    let ClaimGrowth { name, resource_version, to, .. } = growth;
    let claims = Writer::of::<PersistentVolumeClaim>(ctx, pipeline.names.namespace());
    let ours = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut change = asking_for(to);
    change["metadata"] = json!({"resourceVersion": resource_version});
    match claims.patch(name, &ours, &Patch::Merge(change)).await {
        Err(error) if !matches!(error.code(), Some(404 | 409)) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
