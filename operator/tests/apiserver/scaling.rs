//! Processors that follow the load, and producers that follow pushes, on a real API server: a recommendation changes no object,
//! what is idle is not written to, and a decision is in the status before Deployment or StatefulSet have it.
//!
//! Looks are five seconds apart, and so are the passes here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::crd::status::ScalingStatus;
use millrace_operator::labels::{COMPONENT_LABEL, INSTANCE_LABEL, MANAGED_SELECTOR};
use millrace_operator::telemetry::Ended;
use serde_json::{Value, json};

use crate::gate::{Gate, Write};
use crate::stage::{Operator, Stage, leader};
use crate::world::{PIPELINE, PROCESSOR};

/// Between two passes: a little more than between two looks.
const EVERY: Duration = Duration::from_millis(4_500);
/// More looks than any decision takes.
const ENOUGH: usize = 10;
/// Records a second: more than two processors take, and less than three.
const MUCH: f64 = 2_500.0;

/// Makes a complete pipeline that is scaled so, with a processor that answers, and an operator that has looked at it until
/// there was nothing more to say.
async fn rested(stage: &mut Stage, mode: &str) -> Result<Operator> {
    stage.create("one", json!({"spec": {"processor": {"scaling": {"mode": mode, "max": 3}}}})).await?;
    stage.settle().await?;
    let (managed, by) = MANAGED_SELECTOR.split_once('=').context("it is a label and its value")?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": PROCESSOR, "labels": {
            (INSTANCE_LABEL): PIPELINE, (COMPONENT_LABEL): "processor", (managed): by,
        }},
        "spec": {"nodeName": "played", "containers": [{"name": "processor", "image": "worker:1"}]},
    }))?;
    let pods: Api<Pod> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    pods.create(&PostParams::default(), &pod).await?;
    stage.world.tick().await?;
    let operator = stage.operator(Gate::default()).await?;
    looks(stage, &operator, ENOUGH / 2).await?;
    Ok(operator)
}

/// Lets an operator look so often. Returns what it wrote.
async fn looks(stage: &mut Stage, operator: &Operator, count: usize) -> Result<Vec<Write>> {
    let before = operator.gate.committed().len();
    for _ in 0..count {
        tokio::time::sleep(EVERY).await;
        ensure!(stage.pass(operator).await? == Some(Ended::Done), "a pass failed");
        stage.world.tick().await?;
    }
    Ok(operator.gate.committed().split_off(before))
}

async fn scaling(stage: &Stage) -> Result<ScalingStatus> {
    let status = stage.pipelines().get(PIPELINE).await?.status;
    status.as_ref().and_then(StreamingPipelineStatus::scaling).cloned().context("it is scaled")
}

/// Returns how many processors each write asked for.
fn asked(writes: &[Write]) -> Vec<i64> {
    let of_processors = writes.iter().filter(|write| write.to_string() == "PATCH deployments/users-processor");
    of_processors.filter_map(|write| write.body.pointer("/spec/replicas").and_then(Value::as_i64)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn an_idle_pipeline_that_is_scaled_is_not_written_to() -> Result<()> {
    let fence = leader("scaling-auto").await?;
    let mut stage = Stage::new("scaling-auto", &fence).await?;
    let operator = rested(&mut stage, "Auto").await?;
    let said = scaling(&stage).await?;
    ensure!((said.current, said.reason.as_str()) == (1, "WithinTarget"), "{said:?}");
    let written = looks(&mut stage, &operator, ENOUGH / 2).await?;
    ensure!(written.is_empty(), "it wrote {written:?}");
    // Nor does an operator that has nothing in its memory.
    let successor = stage.operator(Gate::default()).await?;
    let written = looks(&mut stage, &successor, ENOUGH / 2).await?;
    ensure!(written.is_empty(), "a new operator wrote {written:?}");

    // The control: records come.
    stage.world.load(MUCH);
    let written = looks(&mut stage, &successor, ENOUGH).await?;
    ensure!(asked(&written) == [3_i64], "{written:?}");
    let place = |what: &dyn Fn(&Write) -> bool| written.iter().position(what).context("it was written");
    let is_recorded = |write: &Write| write.body.pointer("/status/processor/scaling/current") == Some(&json!(3));
    let is_carried_out = |write: &Write| write.to_string() == "PATCH deployments/users-processor";
    ensure!(place(&is_recorded)? < place(&is_carried_out)?, "the status comes first: {written:?}");
    let last = scaling(&stage).await?.last_scaled.context("it was scaled")?;
    ensure!(last.message.starts_with("Scales 1 → 3: "), "{last:?}");
    let is_told = |write: &Write| write.body["note"] == json!(last.message) && write.body["reason"] == "ScaledUp";
    ensure!(written.iter().any(is_told), "no event says it: {written:?}");
    stage.world.ensure_safe()
}

/// The controls: the recommendation is there, and the scale subresource changes what it did not.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_recommendation_changes_no_deployment() -> Result<()> {
    let fence = leader("scaling-recommend").await?;
    let mut stage = Stage::new("scaling-recommend", &fence).await?;
    let operator = rested(&mut stage, "Recommend").await?;
    stage.world.load(MUCH);
    let written = looks(&mut stage, &operator, ENOUGH).await?;
    let said = scaling(&stage).await?;
    ensure!((said.current, said.recommended) == (1, 3), "{said:?}");
    ensure!(said.message.starts_with("Would scale 1 → 3: "), "{said:?}");
    ensure!(!written.iter().any(|write| write.resource == "deployments"), "{written:?}");

    // As `kubectl scale` and a HorizontalPodAutoscaler do.
    let scale = Patch::Merge(json!({"spec": {"replicas": 2}}));
    stage.pipelines().patch_scale(PIPELINE, &PatchParams::default(), &scale).await?;
    let written = looks(&mut stage, &operator, 2).await?;
    ensure!(asked(&written) == [2_i64], "{written:?}");
    stage.world.ensure_safe()
}

/// The status of producers has no schema of its own; it comes back as it was written, or an idle pipeline would be written to
/// at each pass.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn producers_that_refuse_requests_become_more_and_idle_ones_are_not_written_to() -> Result<()> {
    let fence = leader("scaling-pushes").await?;
    let mut stage = Stage::new("scaling-pushes", &fence).await?;
    let sources = json!([{"name": "shop", "topic": "users_created", "key": "id", "push": {}}]);
    let producer = json!({"sources": sources, "scaling": {"mode": "Auto", "max": 2}});
    stage.create("one", json!({"spec": {"producer": producer}})).await?;
    stage.settle().await?;
    let operator = stage.operator(Gate::default()).await?;
    looks(&mut stage, &operator, ENOUGH / 2).await?;
    let written = looks(&mut stage, &operator, ENOUGH / 2).await?;
    ensure!(written.is_empty(), "it wrote {written:?}");

    // The control: more is pushed than one producer takes.
    stage.world.push(MUCH);
    let written = looks(&mut stage, &operator, ENOUGH).await?;
    let place = |what: &dyn Fn(&Write) -> bool| written.iter().position(what).context("it was written");
    let is_recorded = |write: &Write| write.body.pointer("/status/producer/scaling/current") == Some(&json!(2));
    let is_carried_out = |write: &Write| {
        write.to_string() == "PATCH statefulsets/users-producer" && write.body["spec"]["replicas"] == json!(2)
    };
    ensure!(place(&is_recorded)? < place(&is_carried_out)?, "the status comes first: {written:?}");
    let is_told = |write: &Write| {
        let note = write.body["note"].as_str().unwrap_or_default();
        write.body["reason"] == "ScaledUp" && note.starts_with("producers: Scales 1 → 2: ")
    };
    ensure!(written.iter().any(is_told), "no event says it: {written:?}");
    let settings = written.iter().filter(|write| write.to_string() == "PATCH configmaps/users-producer");
    ensure!(settings.count() == 0, "another number would restart the producers: {written:?}");
    stage.world.ensure_safe()
}
