//! Deletion: the operator writes nothing for it, at whatever write of the creation it comes in between, and claims stay or
//! go as the pipeline says.

use std::pin::pin;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use millrace_operator::lease::Fence;
use rstest::rstest;
use serde_json::json;

use crate::gate::{Gate, Hold};
use crate::snapshot::differences;
use crate::stage::{Stage, leader};

const CONCURRENCY: usize = 8;
/// More passes than a creation needs.
const ENOUGH: usize = 100;

fn policy(policy: &str) -> serde_json::Value {
    json!({"spec": {"deletionPolicy": policy}})
}

/// Returns what is left in a namespace.
async fn left(stage: &Stage) -> Result<Vec<String>> {
    Ok(stage.snapshot().await?.into_keys().collect())
}

#[rstest]
#[case("Delete")]
#[case("Retain")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_deleted_pipeline_leaves_its_claims_or_nothing(#[case] kept: &str) -> Result<()> {
    let fence = leader(&format!("deletion-{}", kept.to_lowercase())).await?;
    let mut stage = Stage::new(&format!("deletion-{}", kept.to_lowercase()), &fence).await?;
    stage.create("three", policy(kept)).await?;
    stage.settle().await?;
    let (before, claims) = (stage.snapshot().await?, stage.world.claims().clone());
    stage.delete().await?;
    let phase = stage.settle().await?;
    ensure!(phase.writes.is_empty(), "the operator writes for a deletion: {:?}", phase.writes);
    stage.world.ensure_safe()?;
    if kept == "Delete" {
        ensure!(left(&stage).await?.is_empty(), "left: {:?}", left(&stage).await?);
        return Ok(());
    }
    let only_claims = left(&stage).await?.iter().all(|name| name.starts_with("persistentvolumeclaims/"));
    ensure!(only_claims, "left: {:?}", left(&stage).await?);
    stage.world.ensure_claims_are_kept().await?;

    // A pipeline of the same name takes them over: its nodes are who they were.
    stage.create("three", policy(kept)).await?;
    stage.settle().await?;
    stage.world.ensure_safe()?;
    stage.world.ensure_claims_are_kept().await?;
    ensure!(*stage.world.claims() == claims, "the claims are others than before");
    let differences = differences(&stage.snapshot().await?, &before);
    let differences: Vec<_> = differences.iter().filter(|line| !line.contains("status.kafka")).collect();
    ensure!(differences.is_empty(), "{differences:?}");
    Ok(())
}

/// Deletes the pipeline while the operator is about to make a write of the creation; then it goes on. Returns whether the
/// creation has so many writes.
async fn deleted_at(number: usize, fence: &Fence) -> Result<bool> {
    let mut stage = Stage::new(&format!("deleted-at-{number}"), fence).await?;
    stage.create("one", policy("Delete")).await?;
    let operator = stage.operator(Gate::holding(Hold::Write(number))).await?;
    for _ in 0..ENOUGH {
        let is_deleted = {
            let mut pass = pin!(stage.pass(&operator));
            tokio::select! {
                biased;
                ended = &mut pass => {
                    ended?;
                    false
                }
                () = operator.gate.held() => {
                    stage.delete().await?;
                    operator.gate.release();
                    // What it says of itself does not matter, only what is left of it.
                    let _ = pass.await;
                    true
                }
            }
        };
        let moved = stage.world.tick().await?;
        if is_deleted {
            let phase = stage.settle_with(operator, None).await?;
            ensure!(phase.writes.is_empty(), "it writes on: {:?}", phase.writes);
            ensure!(left(&stage).await?.is_empty(), "left: {:?}", left(&stage).await?);
            return Ok(true);
        }
        if !moved && stage.is_ready().await? {
            return Ok(false);
        }
    }
    bail!("neither deleted nor ready after {ENOUGH} passes");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_pipeline_deleted_at_any_write_of_its_creation_leaves_nothing() -> Result<()> {
    let fence = leader("deleted-at").await?;
    let runs = stream::iter(0..).map(|number| {
        let fence = &fence;
        async move { deleted_at(number, fence).await.with_context(|| format!("deleted at write {number}")) }
    });
    // The first number that the creation does not have ends it; more are under way by then.
    let deleted = runs.buffered(CONCURRENCY).try_take_while(|deleted| std::future::ready(Ok(*deleted)));
    let count = deleted.try_fold(0, async |count, _| Ok(count + 1)).await?;
    println!("the pipeline was deleted at each of {count} writes");
    ensure!(count > 30, "only {count} writes");
    Ok(())
}
