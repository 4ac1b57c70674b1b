//! A pipeline that has nothing to do is written nothing for, however often the operator looks at it.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use millrace_operator::telemetry::Ended;
use serde_json::json;

use crate::gate::{Gate, Write};
use crate::snapshot;
use crate::stage::{Stage, leader};

/// How often somebody wakes the operator.
const WAKES: u64 = 10;

/// A whole operator, from nothing to Ready; then it is woken again and again by what others do to the pipeline's objects.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_whole_operator_writes_nothing_for_an_idle_pipeline() -> Result<()> {
    let fence = leader("idle").await?;
    let mut stage = Stage::new("idle", &fence).await?;
    stage.create("three", json!({})).await?;
    let operator = stage.operator(Gate::default()).await?;
    let (mut wakes, mut woken_at, mut baseline) = (0, 0, 0);
    let gate = operator.gate.clone();
    let written = stage
        .run(&operator, async |stage, moved| {
            let passes = operator.passes();
            let waits = if wakes == 0 { moved || !stage.is_ready().await? } else { passes <= woken_at };
            if waits {
                return Ok(None);
            }
            if wakes == 1 {
                // The pass that reported Ready has said all by now.
                baseline = gate.committed().len();
            }
            if wakes > WAKES {
                return Ok(Some(gate.committed().split_off(baseline)));
            }
            wakes += 1;
            woken_at = passes;
            wake(stage, wakes).await?;
            Ok(None)
        })
        .await?;
    stage.world.ensure_safe()?;
    let written: Vec<String> = written.iter().flatten().map(Write::to_string).collect();
    ensure!(written.is_empty(), "woken {WAKES} times, it wrote {written:?}");
    println!("woken {WAKES} times, it wrote nothing");
    a_change_would_have_been_noticed(&mut stage).await
}

/// Somebody else notes something on an object of the pipeline, of which the operator hears.
async fn wake(stage: &Stage, number: u64) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let note = json!({"metadata": {"annotations": {"somebody/else": number.to_string()}}});
    maps.patch("users-kafka", &PatchParams::default(), &Patch::Merge(note)).await?;
    Ok(())
}

/// Negative control: an object that is gone is made again, and that is one write, of that object.
async fn a_change_would_have_been_noticed(stage: &mut Stage) -> Result<()> {
    let budgets: Api<k8s_openapi::api::policy::v1::PodDisruptionBudget> =
        Api::namespaced(stage.admin.clone(), &stage.namespace);
    budgets.delete("users-kafka", &DeleteParams::default()).await?;
    let phase = stage.settle().await?;
    let objects: Vec<String> = phase.writes.iter().map(Write::to_string).filter(|write| !is_told(write)).collect();
    ensure!(objects == ["PATCH poddisruptionbudgets/users-kafka"], "{objects:?}");
    Ok(())
}

fn is_told(write: &str) -> bool {
    write.contains("events") || write.contains("/status")
}

/// Operator after operator, each with nothing in its memory: none finds anything to do, and nothing changes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn new_operators_write_nothing_for_an_idle_pipeline() -> Result<()> {
    let fence = leader("idle-restarts").await?;
    let mut stage = Stage::new("idle-restarts", &fence).await?;
    stage.create("sources", json!({})).await?;
    stage.settle().await?;
    let before = snapshot::take(&stage.admin, &stage.namespace).await?;
    for _ in 0..20 {
        let operator = stage.operator(Gate::default()).await?;
        ensure!(stage.pass(&operator).await? == Some(Ended::Done), "a pass failed");
        ensure!(operator.gate.committed().is_empty(), "it wrote {:?}", operator.gate.committed());
    }
    let differences = snapshot::differences(&snapshot::take(&stage.admin, &stage.namespace).await?, &before);
    ensure!(differences.is_empty(), "{differences:?}");
    Ok(())
}
