//! An administrator upgrades from an earlier version, backs out, and upgrades again, with the commands of docs/install.md:
//! records go on arriving, and no pod of a store is restarted until the plan is approved. Run alone, since it replaces the
//! release.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use millrace_api::labels::APPROVE_PLAN;
use millrace_e2e::cluster::{repository, script};
use millrace_e2e::operator::{self, NAMESPACE, RELEASE, Release};
use millrace_e2e::process::{Lives, lives};
use millrace_e2e::spec::Generator;
use millrace_e2e::{Cluster, Live, Spec, TestNamespace, Turn, eventually, in_namespace};
use serde_json::json;

use crate::grown::{SEED, all_arrived};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Four passes of an operator over an idle pipeline.
const PASSES: Duration = Duration::from_secs(60);
/// Records in all, at a pace that outlasts the upgrades.
const COUNT: u64 = 30_000;
const RATE: u32 = 100;

pub async fn an_upgrade_restarts_no_store_and_can_be_backed_out(turn: Turn) -> Result<()> {
    in_namespace(&turn, "upgraded", async |namespace| {
        turn.work().await;
        let cluster = &namespace.cluster;
        let release = Release::note(cluster).await?;
        let previous = script("e2e/previous.sh", &[]).await?;
        let previous = Path::new(previous.trim());
        namespace.say(format!("from {}", previous.display()));
        let images = images(previous)?;
        install(cluster, &previous.join("source/charts/millrace"), &release, &["--set-string", &images]).await?;
        let went = upgrade_and_back_out(namespace, &release).await;
        // Whatever happened, the others find today's release.
        upgrade(cluster, &release).await?;
        went
    })
    .await
}

async fn upgrade_and_back_out(namespace: &TestNamespace, release: &Release) -> Result<()> {
    let cluster = &namespace.cluster;
    let source = Generator { seed: SEED, count: Some(COUNT), rate: Some(RATE) }.source();
    let live = Live::start(namespace, &Spec::one().sources([source]), READY_WITHIN).await?;
    let before = lives(&live.store_pods().await?);

    upgrade(cluster, release).await?;
    nothing_restarts(&live, &before, "the upgrade").await?;

    cluster.helm(&["rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]).await?;
    nothing_restarts(&live, &before, "the way back").await?;

    upgrade(cluster, release).await?;
    nothing_restarts(&live, &before, "the second upgrade").await?;

    // The control: what a restart would have shown.
    match live.resource().await?.status.and_then(|status| status.plan) {
        Some(plan) => {
            namespace.say(format!("waits for approval: {:?}", plan.actions));
            live.patch(json!({"metadata": {"annotations": {APPROVE_PLAN: plan.hash}}})).await?;
        }
        None => live.patch(json!({"spec": {"kafka": {"config": {"queued.max.requests": "501"}}}})).await?,
    }
    let restarted = async || Ok((lives(&live.store_pods().await?) != before).then_some(()));
    eventually("a store is restarted by consent", READY_WITHIN, restarted).await?;
    let settled = async || Ok(live.resource().await?.status.and_then(|status| status.plan).is_none().then_some(()));
    eventually("the plan is carried out", READY_WITHIN, settled).await?;
    live.await_ready(READY_WITHIN).await?;
    all_arrived(&live, COUNT, "past the upgrades").await
}

/// Fails if a pod of a store was restarted or replaced by the operator that leads now, or if it does not get to Ready.
async fn nothing_restarts(live: &Live, before: &Lives, by: &str) -> Result<()> {
    let leader = operator::leading_pod(&live.namespace.cluster).await?.name_any();
    tokio::time::sleep(PASSES).await;
    live.await_ready(READY_WITHIN).await?;
    let now = lives(&live.store_pods().await?);
    ensure!(now == *before, "{by} restarted pods of stores: {before:?} became {now:?}");
    live.namespace.say(format!("{by}: {leader} leads, and no pod of a store was restarted"));
    Ok(())
}

/// Returns the tags of an earlier version's images, as chart values.
fn images(previous: &Path) -> Result<String> {
    let names = std::fs::read_to_string(previous.join("images.env")).context("it has no images")?;
    let tag = |program: &str| {
        let line = names.lines().find_map(|line| line.strip_prefix(program)?.strip_prefix("_IMAGE="));
        let (_, tag) =
            line.and_then(|image| image.rsplit_once(':')).with_context(|| format!("no image of {program}"))?;
        anyhow::Ok(tag.to_owned())
    };
    let (operator, worker, console) = (tag("OPERATOR")?, tag("WORKER")?, tag("CONSOLE")?);
    Ok(format!("image.tag={operator},worker.image.tag={worker},console.image.tag={console}"))
}

/// Upgrades to today's version, as docs/install.md does with a values file.
async fn upgrade(cluster: &Cluster, release: &Release) -> Result<()> {
    install(cluster, &repository().join("charts/millrace"), release, &[]).await
}

/// Puts a version in the place of the one that is installed.
async fn install(cluster: &Cluster, chart: &Path, release: &Release, more: &[&str]) -> Result<()> {
    let [chart, values] = [chart, release.values().as_path()].map(|path| path.to_string_lossy().into_owned());
    let arguments = ["upgrade", RELEASE, &chart, "--namespace", NAMESPACE, "--values", &values];
    let ended = cluster.helm(&[&arguments[..], more, &["--wait", "--timeout", "3m"]].concat()).await;
    ended.map(|_| ())
}
