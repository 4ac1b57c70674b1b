//! An operator that acts on what it read before all was changed: the pipeline was deleted and made again under its name, or
//! its spec is another by now. It takes nothing of what is there now (bug patterns P1 and P2, docs/tests.md).

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use millrace_api::names::Names;
use millrace_operator::controller;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::gate::{Gate, Hold, Write};
use crate::stage::{Operator, Stage, leader};
use crate::world::PIPELINE;

/// More passes than it takes to come to where an operator hangs.
const ENOUGH: usize = 50;

/// An operator that hangs, and the pass on which it does.
struct Hung {
    operator: Operator,
    pass: JoinHandle<()>,
}

impl Hung {
    /// Lets an operator pass and the world tick until it hangs.
    async fn at(hold: Hold, stage: &mut Stage) -> Result<Self> {
        let operator = stage.operator(Gate::holding(hold)).await?;
        for _ in 0..ENOUGH {
            let (ctx, names) = (operator.ctx.clone(), Names::new(&stage.namespace, PIPELINE));
            let mut pass = tokio::spawn(async move {
                // It may end in any way.
                let _ = controller::pass(&ctx, &names).await;
            });
            tokio::select! {
                biased;
                ended = &mut pass => ended?,
                () = operator.gate.held() => return Ok(Self { operator, pass }),
            }
            stage.world.tick().await?;
        }
        bail!("it never came to {hold:?}");
    }

    /// Lets it go on with what it had read. Returns what it wrote on that pass and before.
    async fn go_on(self) -> Result<Vec<Write>> {
        self.operator.gate.release();
        self.pass.await?;
        Ok(self.operator.gate.committed())
    }
}

/// Makes a pipeline that keeps its claims, complete.
async fn make(stage: &mut Stage) -> Result<()> {
    stage.create("three", json!({"spec": {"deletionPolicy": "Retain"}})).await?;
    stage.settle().await?;
    Ok(())
}

/// Returns the UID of each pod that is not told to go.
async fn pods(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let pods: Api<Pod> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let stay = pods.list(&ListParams::default()).await?.items.into_iter();
    let stay = stay.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(stay.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
}

/// Returns a complete pipeline whose brokers have another setting, and an operator that hangs on its way to give it to them.
async fn configuring(namespace: &str, hold: Hold) -> Result<(Stage, Hung)> {
    let mut stage = Stage::new(namespace, &leader(namespace).await?).await?;
    make(&mut stage).await?;
    stage.change(json!({"kafka": {"config": {"num.io.threads": "4"}}})).await?;
    let hung = Hung::at(hold, &mut stage).await?;
    Ok((stage, hung))
}

/// Returns the files of the brokers.
async fn files(stage: &Stage) -> Result<ConfigMap> {
    let maps: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    Ok(maps.get("users-kafka").await?)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_deletion_of_the_earlier_pipeline_leaves_the_next_ones_pods() -> Result<()> {
    let (mut stage, hung) = configuring("stale-deletion", Hold::Deletion).await?;
    stage.delete().await?;
    stage.settle().await?;
    make(&mut stage).await?;
    let before = pods(&stage).await?;
    let written = hung.go_on().await?;
    ensure!(written.iter().any(|write| write.verb == "DELETE"), "it deleted nothing, so that this test sees nothing");
    let after = pods(&stage).await?;
    ensure!(after == before, "the pods are {after:?}, and were {before:?}");
    stage.world.ensure_claims_are_kept().await?;

    // Negative control: the same deletion of the pipeline that was read takes a pod.
    let (control, hung) = configuring("stale-control", Hold::Deletion).await?;
    let before = pods(&control).await?;
    hung.go_on().await?;
    let after = pods(&control).await?;
    ensure!(after.len() == before.len() - 1, "no pod was restarted: {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_write_of_the_earlier_pipeline_leaves_the_next_ones_objects() -> Result<()> {
    let writes_files =
        |written: &[Write]| written.iter().any(|write| write.to_string() == "PATCH configmaps/users-kafka");
    let (mut stage, hung) = configuring("stale-write", Hold::Write(0)).await?;
    stage.delete().await?;
    stage.settle().await?;
    make(&mut stage).await?;
    let before = files(&stage).await?;
    let written = hung.go_on().await?;
    ensure!(writes_files(&written), "it wrote no files, so that this test sees nothing: {written:?}");
    let after = files(&stage).await?;
    ensure!(after == before, "the files are {after:?}, and were {before:?}");

    // Negative control: the same write for the pipeline that was read changes them.
    let (control, hung) = configuring("stale-write-control", Hold::Write(0)).await?;
    let before = files(&control).await?;
    let written = hung.go_on().await?;
    let after = files(&control).await?;
    ensure!(writes_files(&written) && after.data != before.data, "the files are unchanged: {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn an_old_spec_takes_no_member_away() -> Result<()> {
    let mut stage = Stage::new("stale-spec", &leader("stale-spec").await?).await?;
    make(&mut stage).await?;
    // It has read a spec of three brokers, and nothing else yet.
    let hung = Hung::at(Hold::Get("/configmaps"), &mut stage).await?;
    stage.change(json!({"kafka": {"replicas": 4}})).await?;
    stage.settle().await?;
    let before: Vec<String> = pods(&stage).await?.into_keys().collect();
    ensure!(before.iter().any(|pod| pod == "users-kafka-3"), "there is no fourth broker: {before:?}");
    let written = hung.go_on().await?;
    stage.world.judge(&written);
    stage.world.ensure_safe()?;
    stage.settle().await?;
    stage.world.ensure_safe()?;
    stage.world.ensure_claims_are_kept().await?;
    let after: Vec<String> = pods(&stage).await?.into_keys().collect();
    ensure!(after == before, "the pods are {after:?}, and were {before:?}");
    Ok(())
}
