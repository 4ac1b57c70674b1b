//! The chart with scope `namespace`: an operator of one namespace runs a pipeline there, sees none elsewhere, and has no
//! right to. Run alone, since the release that looks after all namespaces must stand still meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use millrace_e2e::cluster::{repository, target};
use millrace_e2e::operator::{self, Release};
use millrace_e2e::spec::Generator;
use millrace_e2e::{Cluster, Live, Spec, TestNamespace, Turn, eventually, in_namespace};
use serde_json::json;

const READY_WITHIN: Duration = Duration::from_secs(300);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
/// Several times what an operator takes to see a pipeline that it may see.
const NOTHING_WITHIN: Duration = Duration::from_secs(15);
/// The release of this test.
const NARROW: &str = "narrow";

pub async fn scope_of_one_namespace_reaches_no_other(turn: Turn) -> Result<()> {
    in_namespace(&turn, "scope", async |watched| {
        let cluster = &watched.cluster;
        watched.turn.work().await;
        let release = Release::note(cluster).await?;
        operators(cluster, 0).await?;
        let judged = narrow(&turn, watched, &release).await;
        let uninstalled = cluster.helm(&["uninstall", NARROW, "--namespace", &watched.name, "--wait"]).await;
        operators(cluster, 2).await?;
        operator::leading_pod(cluster).await?;
        judged?;
        uninstalled?;
        // The pipelines stay, and the operator of all namespaces goes on with them.
        let live = Live::apply(watched, &Spec::one()).await?;
        live.await_ready(READY_WITHIN).await.map(|_| ())
    })
    .await
}

async fn narrow(turn: &Turn, watched: &TestNamespace, release: &Release) -> Result<()> {
    install(watched, release).await?;
    let spec = Spec::one().sources([Generator { seed: 12, count: Some(100), rate: None }.source()]);
    let live = Live::apply(watched, &spec).await?;
    in_namespace(turn, "scope-elsewhere", async |elsewhere| {
        let other = Live::apply(elsewhere, &Spec::one()).await?;
        tokio::time::sleep(NOTHING_WITHIN).await;
        ensure!(other.resource().await?.status.is_none(), "a pipeline of another namespace is looked after");
        Ok(())
    })
    .await?;
    // The control of that: the pipeline that was applied before is looked after.
    live.await_ready(READY_WITHIN).await?;
    live.await_produced(100, READY_WITHIN).await?;
    live.await_caught_up(READY_WITHIN).await?;
    let count = live.table().await?.count().await?;
    ensure!(count == 100, "{count} rows instead of 100");
    rights_end_at_the_namespace(watched).await
}

/// Installs the chart with the images of the release that the other tests use.
async fn install(watched: &TestNamespace, release: &Release) -> Result<()> {
    let cluster = &watched.cluster;
    let chart = repository().join("charts/millrace");
    let [chart, values] = [&chart, release.values()].map(|path| path.to_string_lossy().into_owned());
    let mut arguments = vec!["install", NARROW, &chart, "--namespace", &watched.name, "--values", &values];
    arguments.extend(["--set", "scope=namespace,crds.install=false,rbac.aggregateRoles=false,replicaCount=1"]);
    // Whose token a viewer has is no question within a namespace: the console brings a ClusterRole for it.
    arguments.extend(["--set", "console.enabled=false", "--wait", "--timeout", "3m"]);
    cluster.helm(&arguments).await?;
    let manifest = cluster.helm(&["get", "manifest", NARROW, "--namespace", &watched.name]).await?;
    let wide = manifest.lines().filter(|line| line.starts_with("kind: ClusterRole")).count();
    std::fs::write(target().join("e2e-scope.yaml"), &manifest).context("cannot note the manifest")?;
    ensure!(wide == 0, "{wide} cluster-wide roles come with scope=namespace");
    Ok(())
}

/// The operator's account may read pods here and nowhere else, and list Secrets nowhere.
async fn rights_end_at_the_namespace(watched: &TestNamespace) -> Result<()> {
    let account = format!("system:serviceaccount:{}:{NARROW}-millrace", watched.name);
    for (resource, namespace, wanted) in [
        ("pods", watched.name.as_str(), "yes"),
        ("streamingpipelines.millrace.dev", &watched.name, "yes"),
        ("secrets", &watched.name, "no"),
        ("pods", "default", "no"),
        ("configmaps", operator::NAMESPACE, "no"),
        ("streamingpipelines.millrace.dev", "default", "no"),
    ] {
        // kubectl ends with an error where the answer is no.
        let asked = ["auth", "can-i", "list", resource, "--namespace", namespace, "--as", &account];
        let answer = match watched.cluster.kubectl(&asked).await {
            Ok(said) => said.trim().to_owned(),
            Err(error) if error.to_string().ends_with(": no") => "no".to_owned(),
            Err(error) => return Err(error),
        };
        ensure!(answer == wanted, "may {account} list {resource} in {namespace}? {answer}");
    }
    watched.say("the operator's rights end at its namespace");
    Ok(())
}

/// Sets how many operators look after all namespaces, and waits until so many run.
async fn operators(cluster: &Cluster, count: i32) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), operator::NAMESPACE);
    let change = Patch::Merge(json!({"spec": {"replicas": count}}));
    api.patch(operator::RELEASE, &PatchParams::default(), &change).await.context("cannot scale the operator")?;
    let counted = async || Ok((operator::pods(cluster).await?.len() == count as usize).then_some(()));
    eventually(&format!("{count} operators run"), STOPPED_WITHIN, counted).await.map(|_| ())
}
