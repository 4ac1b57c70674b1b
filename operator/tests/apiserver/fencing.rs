//! Leader fencing: an operator that hangs on its way while another takes the Lease writes nothing when it comes to itself.

use anyhow::{Context, Result, ensure};
use millrace_operator::lease::Leadership;
use serde_json::json;

use crate::gate::{Gate, Hold};
use crate::server::{SYSTEM, Who, server};
use crate::stage::{Operator, Stage};

/// The chart's Lease, which the chart's Role lets the operator write.
const LEASE: &str = "millrace-operator";

/// Where operators hang: at the first request, in between, and at the last one before the first write.
const HELD_AT: [&str; 4] = ["/streamingpipelines/users", "/configmaps", "/pods", "/serviceaccounts/users-pipeline"];

/// Starts an operator that hangs on its first pass, and waits until it does.
async fn hung(stage: &Stage, at: &'static str) -> Result<(Operator, tokio::task::JoinHandle<()>)> {
    let operator = stage.operator(Gate::holding(Hold::Get(at))).await?;
    let ctx = operator.ctx.clone();
    let names = millrace_api::names::Names::new(&stage.namespace, crate::world::PIPELINE);
    let pass = tokio::spawn(async move {
        // It may end in any way but by writing.
        let _ = millrace_operator::controller::pass(&ctx, &names).await;
    });
    tokio::time::timeout(crate::Patience::LIMIT, operator.gate.held()).await.with_context(|| format!("no GET {at}"))?;
    Ok((operator, pass))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn an_operator_that_lost_its_lease_writes_nothing() -> Result<()> {
    let lease_way = Gate::default();
    let first = Leadership::new(server().await?.gated(Who::Operator, &lease_way).await?, SYSTEM, LEASE, "first");
    first.acquire().await;
    let mut stage = Stage::new("fencing", &first.fence()).await?;
    stage.create("one", json!({})).await?;
    let mut all_hung = Vec::new();
    for at in HELD_AT {
        all_hung.push((at, hung(&stage, at).await?));
    }

    // From now on nothing is heard of the first operator, and another waits until its Lease has stood still.
    lease_way.cut();
    let second = Leadership::new(server().await?.client(Who::Operator).await?, SYSTEM, LEASE, "second");
    let ((), before) = tokio::join!(first.hold(), second.acquire());
    ensure!(before.is_some(), "the second knows until when another led");
    let renewed = second.clone();
    tokio::spawn(async move { renewed.hold().await });
    ensure!(second.fence().is_open() && !first.fence().is_open(), "one leads, and it is the second");

    // Negative control: the same operator without its fence, by the second one's.
    let unfenced_stage = Stage { namespace: stage.namespace.clone(), ..Stage::new("fencing", &second.fence()).await? };
    let (unfenced, unfenced_pass) = hung(&unfenced_stage, "/pods").await?;

    stage.fence = second.fence();
    stage.settle().await?;
    for (at, (operator, pass)) in all_hung {
        operator.gate.release();
        pass.await?;
        ensure!(operator.gate.committed().is_empty(), "hung at {at}, it wrote {:?}", operator.gate.committed());
    }
    unfenced.gate.release();
    unfenced_pass.await?;
    ensure!(
        !unfenced.gate.committed().is_empty(),
        "without a fence nothing was written either: this test sees nothing"
    );
    Ok(())
}
