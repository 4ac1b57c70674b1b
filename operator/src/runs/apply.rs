//! Carries the plan for a run out, and writes its status. Decides nothing.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use millrace_api::IngestionRun;
use millrace_api::crd::RunPhase;
use millrace_api::crd::run::IngestionRunStatus;
use millrace_api::names::Names;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use super::observe::RunWorld;
use super::plan::RunPlan;
use super::progress::RunAct;
use crate::apply::FIELD_MANAGER;
use crate::context::Context;

/// Longest note that an event may have by the API's own rule.
const MAX_NOTE: usize = 1024;

/// Why a plan could not be carried out.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ApplyRun {
    #[snafu(display("cannot make the pipeline the owner of IngestionRun '{name}'"))]
    Adopt { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot create {kind} '{name}'"))]
    Create { kind: String, name: String, source: Box<kube::Error> },
    #[snafu(display("{kind} '{name}' exists and is not this run's; remove it, or create the run under another name"))]
    RefuseForeign { kind: String, name: String },
    #[snafu(display("cannot end Job '{name}'"))]
    Stop { name: String, source: Box<kube::Error> },
    #[snafu(display("cannot write the status of IngestionRun '{name}'"))]
    WriteStatus { name: String, source: Box<kube::Error> },
    #[snafu(display("another operator may lead by now; the rest is left to it"))]
    KeepLeadership,
}

/// Carries the acts out, in order.
pub async fn apply(ctx: &Context, world: &RunWorld, plan: &RunPlan) -> Result<(), ApplyRun> {
    let namespace = world.resource.namespace().unwrap_or_default();
    for act in &plan.acts {
        ensure!(ctx.fence.is_open(), KeepLeadershipSnafu);
        match act {
            RunAct::Adopt(owner) => {
                let name = world.resource.name_any();
                let api: Api<IngestionRun> = Api::namespaced(ctx.client.clone(), &namespace);
                let patch = json!({
                    "apiVersion": IngestionRun::api_version(&()),
                    "kind": IngestionRun::kind(&()),
                    "metadata": {"name": name, "uid": world.resource.uid(), "ownerReferences": [owner]},
                });
                ctx.telemetry.object_written("IngestionRun", &name);
                api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&patch))
                    .await
                    .map_err(Box::new)
                    .context(AdoptSnafu { name })?;
            }
            RunAct::Begin(objects) => {
                let config_maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &namespace);
                let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), &namespace);
                // The Job last: it is what tells the next pass that the attempt has begun.
                create(ctx, &config_maps, &objects.config_map).await?;
                create(ctx, &jobs, &objects.job).await?;
            }
            RunAct::Stop { job, uid } => stop(ctx, &namespace, job, uid).await?,
        }
    }
    Ok(())
}

/// Creates an object; one that is there already and this run's is left as it is.
async fn create<K>(ctx: &Context, api: &Api<K>, object: &K) -> Result<(), ApplyRun>
where
    K: Clone + Resource<DynamicType = ()> + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
    ctx.telemetry.object_written(&kind, &name);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let refused = match api.create(&parameters, object).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let exists = matches!(&refused, kube::Error::Api(status) if status.code == 409);
    if !exists {
        return Err(Box::new(refused)).context(CreateSnafu { kind, name });
    }
    let found = api.get_opt(&name).await.map_err(Box::new).context(CreateSnafu { kind: &kind, name: &name })?;
    let owners = |object: &K| object.owner_references().iter().map(|owner| owner.uid.clone()).collect::<Vec<_>>();
    // One that has gone meanwhile, or is about to, is looked for again by the next pass.
    let is_ours = found.is_none_or(|found| owners(&found) == owners(object));
    ensure!(is_ours, RefuseForeignSnafu { kind, name });
    Ok(())
}

/// Deletes a Job once its pod has drained.
async fn stop(ctx: &Context, namespace: &str, job: &str, uid: &str) -> Result<(), ApplyRun> {
    let api: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    let only_this = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    ctx.telemetry.object_written("Job", job);
    match api.delete(job, &only_this).await {
        Ok(_) => Ok(()),
        // Gone already, or another one by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Box::new(error)).context(StopSnafu { name: job }),
    }
}

/// Writes the status if it differs, and an event for what is news.
pub async fn publish(ctx: &Context, resource: &IngestionRun, status: &IngestionRunStatus) -> Result<(), ApplyRun> {
    let old = resource.status.clone().unwrap_or_default();
    if old == *status {
        return Ok(());
    }
    ensure!(ctx.fence.is_open(), KeepLeadershipSnafu);
    let name = resource.name_any();
    let api: Api<IngestionRun> = Api::namespaced(ctx.client.clone(), &resource.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": IngestionRun::api_version(&()),
        "kind": IngestionRun::kind(&()),
        "metadata": {"name": name, "uid": resource.uid()},
        "status": status,
    });
    ctx.telemetry.object_written("IngestionRun/status", &name);
    match api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
        Ok(_) => {}
        // The run went away while we looked at it; there is nobody to tell.
        Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
        Err(error) => return Err(Box::new(error)).context(WriteStatusSnafu { name }),
    }
    if let Some(phase) = status.phase.filter(|phase| phase.is_final() && old.phase != Some(*phase)) {
        let names = Names::new(resource.namespace().unwrap_or_default(), &resource.spec.pipeline);
        ctx.telemetry.run_ended(&names, &resource.spec.source, phase);
    }
    announce(ctx, resource, &old, status).await;
    Ok(())
}

async fn announce(ctx: &Context, resource: &IngestionRun, old: &IngestionRunStatus, new: &IngestionRunStatus) {
    let reason_of = |status: &IngestionRunStatus| {
        let complete = status.conditions.iter().find(|condition| condition.type_ == "Complete");
        complete.map(|complete| complete.reason.clone()).unwrap_or_default()
    };
    let reason = reason_of(new);
    if (old.phase, reason_of(old)) == (new.phase, reason.clone()) {
        return;
    }
    let failed = new.phase == Some(RunPhase::Failed) || reason == "WaitingToRetry";
    let message = new.message.clone().unwrap_or_default();
    let phase = new.phase.map_or("", RunPhase::as_str);
    let event = Event {
        type_: if failed { EventType::Warning } else { EventType::Normal },
        reason,
        note: Some(format!("{phase}: {message}").chars().take(MAX_NOTE).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    // An event decides nothing, and is otherwise forgone.
    if let Err(error) = ctx.events.publish(&event, &resource.object_ref(&())).await {
        tracing::warn!(%error, "cannot publish an event");
    }
}
