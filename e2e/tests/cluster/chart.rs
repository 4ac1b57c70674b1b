//! `helm test`: one record through a pipeline of the test's own, as a user of the chart tries it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use millrace_e2e::cluster::target;
use millrace_e2e::operator::{NAMESPACE, RELEASE};
use millrace_e2e::{Cluster, Turn, eventually};

/// Longest that the test's pod may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(120);

/// Label of the hook's pod.
const SMOKE: &str = "app.kubernetes.io/component=smoke-test";

pub async fn helm_test_takes_one_record_through(turn: Turn) -> Result<()> {
    let cluster = Cluster::connect().await?;
    turn.work().await;
    a_pipeline_that_is_late_fails(&cluster).await?;
    turn.starts_set();
    let said = cluster.helm(&["test", RELEASE, "--namespace", NAMESPACE, "--logs", "--timeout", "8m"]).await?;
    for line in said.lines().filter(|line| line.starts_with("read back")).take(1) {
        turn.log(line);
    }
    ensure!(said.contains("PASS: one record went from its source"), "helm test does not say what it did: {said}");
    no_pipeline_is_left(&cluster).await
}

/// Negative control: the same hook without the time to become Ready.
async fn a_pipeline_that_is_late_fails(cluster: &Cluster) -> Result<()> {
    let hooks = cluster.helm(&["get", "hooks", RELEASE, "--namespace", NAMESPACE]).await?;
    let hasty = hooks.replace("--timeout=8m", "--timeout=1s");
    ensure!(hasty != hooks, "the hook has no timeout to shorten: {hooks}");
    let file = target().join("e2e-hooks.yaml");
    std::fs::write(&file, hasty).context("cannot write the hooks")?;
    let file = file.to_string_lossy();
    // One that an earlier `helm test` left cannot be changed.
    delete_pods(cluster).await?;
    cluster.kubectl(&["apply", "--filename", &file]).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let smoke = ListParams::default().labels(SMOKE);
    let ended = eventually("the hasty test ends", ENDED_WITHIN, async || {
        let found = pods.list(&smoke).await?.items;
        let phase = found.first().and_then(|pod| pod.status.as_ref()?.phase.clone()).unwrap_or_default();
        Ok(["Failed", "Succeeded"].contains(&phase.as_str()).then_some(phase))
    });
    let phase = ended.await?.0;
    delete_pods(cluster).await?;
    ensure!(phase == "Failed", "a pipeline that is not Ready in time passes the test");
    Ok(())
}

async fn delete_pods(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "pods", "--namespace", NAMESPACE, "--selector", SMOKE]).await.map(|_| ())
}

async fn no_pipeline_is_left(cluster: &Cluster) -> Result<()> {
    let left = cluster.kubectl(&["get", "spl", "--namespace", NAMESPACE, "--output", "name"]).await?;
    ensure!(left.trim().is_empty(), "helm test leaves {left}");
    Ok(())
}
