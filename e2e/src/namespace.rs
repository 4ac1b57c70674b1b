//! One test, one namespace: made under the restricted Pod Security Standard, told of line by line, dumped to
//! `target/e2e-logs/` when the test fails, and deleted at the end, which is timed: a namespace must never hang.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use millrace_api::StreamingPipeline;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::target;
use crate::{Cluster, eventually, figures};

/// Label with the name of the test that made the namespace.
const TEST_LABEL: &str = "millrace.dev/e2e";

/// Longest that the deletion of a namespace with a running pipeline may take.
pub const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Longest that pods are waited for before their namespace is deleted.
const PODS_END_WITHIN: Duration = Duration::from_secs(40);

/// Tests that have the machine to themselves, and so can judge [`GONE_WITHIN`]. The others end their pods first, and only
/// write down how long the namespace takes then.
const ALONE: [&str; 2] = ["generated", "controls"];

/// The namespace of one test; clones are the same one.
#[derive(Clone)]
pub struct TestNamespace {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
    /// The test's name.
    pub test: &'static str,
    began: Arc<Instant>,
}

/// Runs a test in a namespace of its own. A namespace that a killed run of the same test left is removed first.
///
/// With `E2E_KEEP` set, the namespace of a failed test stays.
pub async fn in_namespace(test: &'static str, body: impl AsyncFnOnce(&TestNamespace) -> Result<()>) -> Result<()> {
    let cluster = Cluster::connect().await?;
    remove_leftovers(&cluster, test).await?;
    let namespace = TestNamespace::create(cluster, test).await?;
    let ended = AssertUnwindSafe(body(&namespace)).catch_unwind().await;
    let outcome = ended.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", text_of(panic.as_ref()))));
    if let Err(error) = &outcome {
        namespace.say(format!("FAILED: {error:#}"));
        namespace.dump().await;
        if std::env::var_os("E2E_KEEP").is_some() {
            return outcome;
        }
    }
    if !ALONE.contains(&test) {
        namespace.end_pipelines().await;
    }
    let deleted = namespace.delete().await;
    outcome?;
    let took = deleted?;
    figures::record_time(test, "namespace_gone", took)?;
    if ALONE.contains(&test) {
        gone_in_time(took)?;
    }
    namespace.say("passed");
    Ok(())
}

fn gone_in_time(took: Duration) -> Result<()> {
    let (took, limit) = (took.as_secs_f64(), GONE_WITHIN.as_secs_f64());
    ensure!(took <= limit, "the namespace took {took:.0} s to go, more than {limit:.0} s");
    Ok(())
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

async fn remove_leftovers(cluster: &Cluster, test: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let ours = ListParams::default().labels(&format!("{TEST_LABEL}={test}"));
    for leftover in api.list(&ours).await.context("cannot list namespaces")? {
        println!("{test}: removing {}, which an earlier run left", leftover.name_any());
        delete(cluster, &leftover.name_any(), Duration::from_secs(180)).await?;
    }
    Ok(())
}

impl TestNamespace {
    async fn create(cluster: Cluster, test: &'static str) -> Result<Self> {
        let name = format!("e2e-{test}-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        let api: Api<Namespace> = Api::all(cluster.client.clone());
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {TEST_LABEL: test, "pod-security.kubernetes.io/enforce": "restricted"}},
        });
        api.patch(&name, &PatchParams::apply("millrace-e2e"), &Patch::Apply(&namespace))
            .await
            .with_context(|| format!("cannot make namespace '{name}'"))?;
        let namespace = Self { cluster, name, test, began: Arc::new(Instant::now()) };
        namespace.let_the_host_in().await?;
        namespace.say(format!("namespace {}", namespace.name));
        Ok(namespace)
    }

    /// Lets this machine reach the pods where NetworkPolicies are enforced; other pods stay out as the operator says.
    async fn let_the_host_in(&self) -> Result<()> {
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "e2e-host", "namespace": self.name},
            "spec": {
                "podSelector": {}, "policyTypes": ["Ingress"],
                // kind's pods have addresses of this block, its nodes and their host do not.
                "ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}}]}],
            },
        });
        self.apply::<NetworkPolicy>("e2e-host", &policy).await
    }

    /// Applies an object of the namespace.
    pub async fn apply<K>(&self, name: &str, object: &Value) -> Result<()>
    where
        K: Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let api: Api<K> = Api::namespaced(self.cluster.client.clone(), &self.name);
        let applied = api.patch(name, &PatchParams::apply("millrace-e2e").force(), &Patch::Apply(object)).await;
        applied.map(|_| ()).with_context(|| format!("cannot apply {} '{name}'", K::kind(&())))
    }

    /// Prints a line with the test's name and the time since it began.
    pub fn say(&self, line: impl AsRef<str>) {
        let elapsed = self.began.elapsed().as_secs();
        println!("[{:>2}:{:02}] {}: {}", elapsed / 60, elapsed % 60, self.test, line.as_ref());
    }

    /// Writes a figure down and prints it.
    pub fn figure(&self, figure: &str, value: f64, unit: &str) -> Result<()> {
        self.say(format!("{} = {value:.1} {unit}", figure.replace('_', " ")));
        figures::record(self.test, &format!("{figure}_{unit}"), value)
    }

    /// Writes a time down and prints it.
    pub fn time(&self, figure: &str, took: Duration) -> Result<()> {
        self.figure(figure, took.as_secs_f64(), "seconds")
    }

    /// Deletes the pipelines and waits for their pods: a namespace that has pods when it is deleted is looked at again
    /// only after half of the longest grace period, half a minute later.
    ///
    /// What hangs is the namespace's to tell.
    async fn end_pipelines(&self) {
        let client = || self.cluster.client.clone();
        let pipelines: Api<StreamingPipeline> = Api::namespaced(client(), &self.name);
        let _ = pipelines.delete_collection(&DeleteParams::background(), &ListParams::default()).await;
        let pods: Api<Pod> = Api::namespaced(client(), &self.name);
        let running = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let ended = async || Ok(pods.list_metadata(&running).await?.items.is_empty().then_some(()));
        let _ = eventually("the pods are gone", PODS_END_WITHIN, ended).await;
    }

    /// Deletes the namespace with all that runs in it; returns how long it took to be gone.
    async fn delete(&self) -> Result<Duration> {
        let took = delete(&self.cluster, &self.name, Duration::from_secs(240)).await?;
        self.say(format!("the namespace is gone after {} s", took.as_secs()));
        Ok(took)
    }

    /// Writes what there is to know about a failure to `target/e2e-logs/<namespace>/`.
    async fn dump(&self) {
        let directory = target().join("e2e-logs").join(&self.name);
        if let Err(error) = fs::create_dir_all(&directory) {
            return self.say(format!("cannot make {}: {error}", directory.display()));
        }
        let namespace = self.name.as_str();
        let questions: [(&str, &[&str]); 7] = [
            ("pipelines.txt", &["get", "spl", "-A", "-o", "wide"]),
            ("pipelines.yaml", &["get", "spl", "-n", namespace, "-o", "yaml"]),
            ("runs.yaml", &["get", "irun", "-n", namespace, "-o", "yaml"]),
            ("objects.txt", &["get", "all,pvc,cm,pdb", "-n", namespace, "-o", "wide"]),
            ("pods.txt", &["describe", "pods", "-n", namespace]),
            ("events.txt", &["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]),
            ("operator.txt", &["get", "pods,leases", "-n", crate::operator::NAMESPACE, "-o", "wide"]),
        ];
        for (file, arguments) in questions {
            let answer = self.cluster.kubectl(arguments).await.unwrap_or_else(|error| format!("{error:#}"));
            let _ = fs::write(directory.join(file), answer);
        }
        self.dump_logs(&directory, namespace).await;
        self.dump_logs(&directory, crate::operator::NAMESPACE).await;
        self.say(format!("see {}", directory.display()));
    }

    async fn dump_logs(&self, directory: &std::path::Path, namespace: &str) {
        let pods = self.cluster.kubectl(&["get", "pods", "-n", namespace, "-o", "name"]).await.unwrap_or_default();
        for pod in pods.lines() {
            let name = pod.trim_start_matches("pod/");
            for (previous, suffix) in [("--previous=false", "log"), ("--previous=true", "previous.log")] {
                let logs = ["logs", "-n", namespace, pod, "--all-containers", "--tail=3000", previous];
                if let Ok(text) = self.cluster.kubectl(&logs).await {
                    let _ = fs::write(directory.join(format!("{name}.{suffix}")), text);
                }
            }
        }
    }
}

async fn delete(cluster: &Cluster, name: &str, limit: Duration) -> Result<Duration> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot delete namespace '{name}'")),
    }
    let gone = async || Ok(api.get_opt(name).await?.is_none().then_some(()));
    Ok(eventually(&format!("namespace '{name}' is gone"), limit, gone).await?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_hangs_fails_its_test() {
        gone_in_time(Duration::from_secs(60)).expect("that is in time");
        let error = gone_in_time(Duration::from_secs(75)).expect_err("that is late");
        assert_eq!(error.to_string(), "the namespace took 75 s to go, more than 60 s");
    }
}
