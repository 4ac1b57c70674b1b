//! Carries the plan for a run out, and writes its status. Decides nothing.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams, PropagationPolicy};
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use millrace_api::IngestionRun;
use millrace_api::crd::RunPhase;
use millrace_api::crd::condition::{ConditionType, Reason};
use millrace_api::crd::run::IngestionRunStatus;
use millrace_api::names::Names;
use serde::Serialize;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use super::observe::RunWorld;
use super::plan::RunPlan;
use super::progress::RunAct;
use crate::context::Context;
use crate::write::{self, FIELD_MANAGER, Write, Writer};

/// Why a plan could not be carried out.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ApplyRun {
    #[snafu(display("cannot set the pipeline as the owner of IngestionRun '{name}'"))]
    Adopt { name: String, source: Write },
    #[snafu(display("cannot create {kind} '{name}'"))]
    Create { kind: String, name: String, source: Write },
    #[snafu(display(
        "{kind} '{name}' exists and does not belong to this run; delete it, or create the run under another name"
    ))]
    RefuseForeign { kind: String, name: String },
    #[snafu(display("cannot end Job '{name}'"))]
    Stop { name: String, source: Write },
    #[snafu(display("cannot write the status of IngestionRun '{name}'"))]
    WriteStatus { name: String, source: Write },
}

/// Carries the acts out, in order.
pub async fn apply(ctx: &Context, world: &RunWorld, plan: &RunPlan) -> Result<(), ApplyRun> {
    let namespace = world.resource.namespace().unwrap_or_default();
    for act in &plan.acts {
        match act {
            RunAct::Adopt(owner) => {
                let name = world.resource.name_any();
                let patch = Patch::Apply(json!({
                    "apiVersion": IngestionRun::api_version(&()),
                    "kind": IngestionRun::kind(&()),
                    "metadata": {"name": name, "uid": world.resource.uid(), "ownerReferences": [owner]},
                }));
                let runs = Writer::of::<IngestionRun>(ctx, &namespace);
                let adopted = runs.patch(&name, &PatchParams::apply(FIELD_MANAGER), &patch).await;
                adopted.context(AdoptSnafu { name })?;
            }
            RunAct::Begin(objects) => {
                // The Job last: it is what tells the next pass that the attempt has begun.
                create(ctx, &namespace, &objects.config_map).await?;
                create(ctx, &namespace, &objects.job).await?;
            }
            RunAct::Stop { job, uid } => {
                // It goes once its pod has drained.
                let jobs = Writer::of::<Job>(ctx, &namespace);
                let stopped = jobs.delete(job, uid, Some(PropagationPolicy::Foreground)).await;
                stopped.context(StopSnafu { name: job })?;
            }
        }
    }
    Ok(())
}

/// Creates an object; one that is there already and this run's is left as it is.
async fn create<K>(ctx: &Context, namespace: &str, object: &K) -> Result<(), ApplyRun>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
    let writer = Writer::of::<K>(ctx, namespace);
    let refused = match writer.create(&name, object).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if refused.code() != Some(409) {
        return Err(refused).context(CreateSnafu { kind, name });
    }
    let found = writer.find(&name).await.context(CreateSnafu { kind: &kind, name: &name })?;
    let owners = |references: &[OwnerReference]| references.iter().map(|owner| owner.uid.clone()).collect::<Vec<_>>();
    // One that has gone meanwhile, or is about to, is looked for again by the next pass.
    let is_ours = found.is_none_or(|found| owners(found.owner_references()) == owners(object.owner_references()));
    ensure!(is_ours, RefuseForeignSnafu { kind, name });
    Ok(())
}

/// Writes the status if it differs, and an event for what is news.
pub async fn publish(ctx: &Context, resource: &IngestionRun, status: &IngestionRunStatus) -> Result<(), ApplyRun> {
    let old = resource.status.clone().unwrap_or_default();
    if old == *status {
        return Ok(());
    }
    let name = resource.name_any();
    let writer = Writer::of::<IngestionRun>(ctx, &resource.namespace().unwrap_or_default());
    let written = writer.apply_status(&name, resource.uid().as_deref(), FIELD_MANAGER, status).await;
    if !written.context(WriteStatusSnafu { name })? {
        return Ok(());
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
        let complete = ConditionType::Complete.of(&status.conditions);
        complete.map(|complete| complete.reason.clone()).unwrap_or_default()
    };
    let reason = reason_of(new);
    if (old.phase, reason_of(old)) == (new.phase, reason.clone()) {
        return;
    }
    let failed = new.phase == Some(RunPhase::Failed) || reason == Reason::WaitingToRetry.to_string();
    let message = new.message.clone().unwrap_or_default();
    let phase = new.phase.map_or("", RunPhase::as_str);
    let event = Event {
        type_: if failed { EventType::Warning } else { EventType::Normal },
        reason,
        note: Some(format!("{phase}: {message}")),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    write::announce(ctx, &resource.object_ref(&()), event).await;
}
