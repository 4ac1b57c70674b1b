//! The operator of the chart's release: its pods, who leads and what it writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};

use crate::audit::{self, Write};
use crate::cluster::target;
use crate::live::address;
use crate::metrics::{Metrics, scrape};
use crate::process::{Usage, usage};
use crate::{Cluster, TestNamespace, eventually};

/// Where the release is installed.
pub const NAMESPACE: &str = "millrace-system";
/// The release.
pub const RELEASE: &str = "millrace";
/// The Lease by which operators choose their leader.
const LEASE: &str = "millrace-operator";
/// What an operator may have resident, in MiB, with the pages of its program.
const MOST_RESIDENT: f64 = 64.0;
/// What it may have without them: how many of them are resident depends on the node's cache, too.
const MOST_ANONYMOUS: f64 = 24.0;

/// Returns the operator's pods.
pub async fn pods(cluster: &Cluster) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/component=operator");
    Ok(api.list(&ours).await.context("cannot list the operator's pods")?.items)
}

/// Returns the metrics of the operator's running pods, by pod name.
pub async fn metrics(cluster: &Cluster) -> Result<BTreeMap<String, Metrics>> {
    let mut all = BTreeMap::new();
    for pod in pods(cluster).await? {
        if let Some(address) = address(&pod) {
            all.insert(pod.name_any(), scrape(address).await?);
        }
    }
    Ok(all)
}

/// Ensures that the largest of the operator's pods, the leader's, has no more memory than promised, and writes the figures
/// down. One that another test has just ended is asked again once it is back.
pub async fn ensure_small(namespace: &TestNamespace, figure: &str) -> Result<()> {
    let cluster = &namespace.cluster;
    let all = async || {
        let mut all = Vec::new();
        for pod in pods(cluster).await? {
            let Ok(used) = usage(cluster, &pod).await else { return Ok(None) };
            all.push(used);
        }
        Ok(Some(all))
    };
    let (all, _) = eventually("the operators run", Duration::from_secs(60), all).await?;
    let most = |of: fn(&Usage) -> f64| all.iter().map(of).fold(0.0, f64::max);
    let (resident, anonymous) = (most(|used| used.resident), most(|used| used.anonymous));
    namespace.figure(figure, resident, "MiB")?;
    namespace.figure(&format!("{figure}_anonymous"), anonymous, "MiB")?;
    ensure!(anonymous > 1.0 && anonymous <= MOST_ANONYMOUS, "an operator has {anonymous:.1} MiB of its own");
    ensure!(resident <= MOST_RESIDENT, "an operator has {resident:.1} MiB resident");
    Ok(())
}

/// Returns the name of the pod that leads; `None`: nobody does right now.
pub async fn leader(cluster: &Cluster) -> Result<Option<String>> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let lease = api.get_opt(LEASE).await.context("cannot read the lease")?;
    let holder = lease.and_then(|lease| lease.spec?.holder_identity);
    Ok(holder.filter(|holder| !holder.is_empty()))
}

/// Waits until somebody leads whose pod is there, and returns the pod.
pub async fn leading_pod(cluster: &Cluster) -> Result<Pod> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let led = eventually("an operator leads", Duration::from_secs(60), async || {
        let Some(leader) = leader(cluster).await? else {
            return Ok(None);
        };
        Ok(api.get_opt(&leader).await?)
    });
    Ok(led.await?.0)
}

/// Kills the pod that leads, without a grace period, and returns its name.
pub async fn kill_leader(cluster: &Cluster) -> Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    let leader = leading_pod(cluster).await?.name_any();
    api.delete(&leader, &at_once).await.context("cannot kill the leader")?;
    Ok(leader)
}

/// Returns what the operator wrote concerning a namespace since a moment.
pub async fn writes(cluster: &Cluster, namespace: &str, since: DateTime<Utc>) -> Result<Vec<Write>> {
    let ours = format!("system:serviceaccount:{NAMESPACE}:");
    let writes = audit::writes(cluster, namespace, since).await?;
    Ok(writes.into_iter().filter(|write| write.user.starts_with(&ours)).collect())
}

/// The values that the release was installed with: what a changed release goes back to.
pub struct Release {
    values: PathBuf,
}

impl Release {
    /// Notes the release's values as they are now.
    pub async fn note(cluster: &Cluster) -> Result<Self> {
        let noted = cluster.helm(&["get", "values", RELEASE, "--namespace", NAMESPACE, "--output", "yaml"]).await?;
        let values = target().join("e2e-values.yaml");
        std::fs::write(&values, noted).context("cannot note the release's values")?;
        Ok(Self { values })
    }

    /// Returns the file of the values.
    pub fn values(&self) -> &PathBuf {
        &self.values
    }
}

/// Waits until another pod than `deposed` leads; returns its name, when it took over, and how long that took.
pub async fn successor(cluster: &Cluster, deposed: &Pod, limit: Duration) -> Result<(String, DateTime<Utc>, Duration)> {
    let deposed = deposed.name_any();
    let other = async || Ok(leader(cluster).await?.filter(|leader| *leader != deposed));
    let (leader, took) = eventually("another operator leads", limit, other).await?;
    Ok((leader, Utc::now(), took))
}

/// Fails unless there are two operators or more: one to lose, one to take over.
pub async fn ensure_replicated(cluster: &Cluster) -> Result<()> {
    let count = pods(cluster).await?.len();
    if count < 2 {
        bail!("there are {count} operators; install the chart with replicaCount=2, as e2e/run.sh does");
    }
    Ok(())
}
