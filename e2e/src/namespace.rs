//! One scenario, one namespace: made under the restricted Pod Security Standard, told of line by line, dumped to
//! `target/e2e-logs/` when the scenario fails, and deleted at the end, which is timed: a namespace must never hang. Those
//! with a shared store set are handed on instead (`sets`).

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
use crate::sets::{self, Kind, Taken};
use crate::turn::{Run, Turn};
use crate::{Cluster, eventually, figures};

/// Label with the name of the test that made the namespace.
const TEST_LABEL: &str = "millrace.dev/e2e";

/// Its value where no run removes the namespace.
const KEPT: &str = "kept";

/// Longest that the deletion of a namespace with a running pipeline may take.
pub const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Longest that a namespace may take where nobody judges it.
const GONE_AT_LAST: Duration = Duration::from_secs(240);

/// Longest that pods are waited for before their namespace is deleted.
const PODS_END_WITHIN: Duration = Duration::from_secs(40);

/// Scenarios that have the machine to themselves until their namespace is gone, and so can judge [`GONE_WITHIN`]. The
/// others end their pods first, and only write down how long the namespace takes then.
const ALONE: [&str; 1] = ["scope"];

/// The namespace of one scenario; clones are the same one.
#[derive(Clone)]
pub struct TestNamespace {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
    /// The scenario's short name.
    pub test: &'static str,
    /// The scenario's turn.
    pub turn: Turn,
    /// Whose store set it holds. `None`: the scenario's own.
    pub shared: Option<Kind>,
    /// Another scenario has left its pipeline here.
    pub is_used: bool,
    began: Arc<Instant>,
}

/// Runs a scenario in a namespace of its own. A namespace that a killed run of the same scenario left is removed first.
///
/// With `E2E_KEEP` set, the namespace of a failed scenario stays.
pub async fn in_namespace(
    turn: &Turn,
    test: &'static str,
    body: impl AsyncFnOnce(&TestNamespace) -> Result<()>,
) -> Result<()> {
    let cluster = Cluster::connect().await?;
    remove_leftovers(&cluster, test, turn).await?;
    let namespace = TestNamespace::create(cluster, test, test, turn, None).await?;
    let outcome = namespace.carry_out(body).await;
    let is_alone = ALONE.contains(&test);
    if !is_alone {
        turn.leave();
    }
    if outcome.is_err() && turn.run.settings.keep {
        return outcome;
    }
    if !is_alone {
        namespace.end_pipelines().await;
    }
    let deleted = namespace.delete().await;
    outcome?;
    let took = deleted?;
    figures::record_time(test, "namespace_gone", took)?;
    if is_alone {
        gone_in_time(took)?;
    }
    Ok(())
}

/// Runs a scenario with a store set that others have used, and will use, one after the other: it must leave the stores
/// themselves as they are. [`Live::start`] gives it fresh topics and tables. Where it fails, the set is thrown away.
///
/// [`Live::start`]: crate::Live::start
pub async fn in_shared(
    turn: &Turn,
    test: &'static str,
    body: impl AsyncFnOnce(&TestNamespace) -> Result<()>,
) -> Result<()> {
    let kind = turn.shares.context("scenarios.toml does not say what it shares")?;
    let sets = &turn.run.sets;
    let taken = sets.take(kind).await;
    let namespace = match TestNamespace::take(taken, test, kind, turn).await {
        Ok(namespace) => namespace,
        Err(error) => {
            sets.throw_away(kind, None);
            return Err(error);
        }
    };
    let outcome = namespace.carry_out(body).await;
    turn.leave();
    if sets.attached.as_ref() == Some(&namespace.name) {
        sets.hand_on(kind, &namespace.name);
        return outcome;
    }
    // Until the next one takes the set, nothing of this one's load goes on.
    let outcome = match outcome {
        Ok(()) => sets::rest(&namespace, kind).await,
        failed => failed,
    };
    if outcome.is_ok() {
        sets.hand_on(kind, &namespace.name);
        return outcome;
    }
    namespace.say("the store set is thrown away");
    sets.throw_away(kind, Some(&namespace.name));
    if turn.run.settings.keep {
        let label = format!("{TEST_LABEL}={KEPT}");
        namespace.cluster.kubectl(&["label", "namespace", &namespace.name, "--overwrite", &label]).await?;
    } else {
        namespace.end_pipelines().await;
        namespace.delete().await?;
    }
    outcome
}

/// Removes the sets of a kind that nobody will use any more, or that an earlier run left; the one that is attached stays.
pub async fn remove_shared(run: &Run, kind: Kind) -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let shared = ListParams::default().labels(&format!("{TEST_LABEL}={}", kind.label()));
    let found = namespaces.list(&shared).await.context("cannot list namespaces")?;
    for name in found.items.iter().map(ResourceExt::name_any).filter(|name| Some(name) != run.sets.attached.as_ref()) {
        // It goes in the background: whether namespaces hang is judged where a scenario has its own.
        begin_deletion(&namespaces, &name).await?;
    }
    Ok(())
}

/// Deletes a namespace that may be gone, or on its way, and does not wait for it.
async fn begin_deletion(namespaces: &Api<Namespace>, name: &str) -> Result<()> {
    match namespaces.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete namespace '{name}'")),
    }
}

fn gone_in_time(took: Duration) -> Result<()> {
    let (took, limit) = (took.as_secs_f64(), GONE_WITHIN.as_secs_f64());
    ensure!(took <= limit, "the namespace took {took:.0} s to go, more than {limit:.0} s");
    Ok(())
}

/// Returns what a panic said.
pub fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

async fn remove_leftovers(cluster: &Cluster, test: &str, turn: &Turn) -> Result<()> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let ours = ListParams::default().labels(&format!("{TEST_LABEL}={test}"));
    for leftover in api.list(&ours).await.context("cannot list namespaces")? {
        turn.log(&format!("removing {}, which an earlier run left", leftover.name_any()));
        delete(cluster, &leftover.name_any(), GONE_AT_LAST).await?;
    }
    Ok(())
}

impl TestNamespace {
    async fn create(
        cluster: Cluster,
        test: &'static str,
        label: &str,
        turn: &Turn,
        shared: Option<Kind>,
    ) -> Result<Self> {
        let name = format!("e2e-{label}-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        let attached = turn.run.sets.attached.clone().filter(|_| shared == Some(Kind::One));
        let label = if attached.is_some() { KEPT } else { label };
        let name = attached.unwrap_or(name);
        let api: Api<Namespace> = Api::all(cluster.client.clone());
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": name, "labels": {TEST_LABEL: label, "pod-security.kubernetes.io/enforce": "restricted"},
            },
        });
        api.patch(&name, &PatchParams::apply("millrace-e2e").force(), &Patch::Apply(&namespace))
            .await
            .with_context(|| format!("cannot make namespace '{name}'"))?;
        let pipelines: Api<StreamingPipeline> = Api::namespaced(cluster.client.clone(), &name);
        let is_used = !pipelines.list(&ListParams::default()).await.context("cannot list pipelines")?.items.is_empty();
        turn.open();
        let turn = turn.clone();
        let namespace = Self { cluster, name, test, turn, shared, is_used, began: Arc::new(Instant::now()) };
        namespace.let_the_host_in().await?;
        namespace.say(format!("namespace {}", namespace.name));
        Ok(namespace)
    }

    async fn take(taken: Taken, test: &'static str, kind: Kind, turn: &Turn) -> Result<Self> {
        let cluster = Cluster::connect().await?;
        match taken {
            Taken::New => Self::create(cluster, test, kind.label(), turn, Some(kind)).await,
            Taken::Used(name) => {
                turn.open();
                let (turn, shared, began) = (turn.clone(), Some(kind), Arc::new(Instant::now()));
                let namespace = Self { cluster, name, test, turn, shared, is_used: true, began };
                namespace.say(format!("namespace {}, with the stores that another scenario left", namespace.name));
                Ok(namespace)
            }
        }
    }

    /// Runs a scenario; where it fails or panics, writes down what there is to know.
    async fn carry_out(&self, body: impl AsyncFnOnce(&TestNamespace) -> Result<()>) -> Result<()> {
        let ended = AssertUnwindSafe(body(self)).catch_unwind().await;
        let outcome = ended.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", text_of(panic.as_ref()))));
        if let Err(error) = &outcome {
            self.say(format!("FAILED: {error:#}"));
            self.dump().await;
        }
        outcome
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

    /// Writes a line to the scenario's log, with the time since the namespace was its own.
    pub fn say(&self, line: impl AsRef<str>) {
        let elapsed = self.began.elapsed().as_secs();
        self.turn.log(&format!("[{:>2}:{:02}] {}", elapsed / 60, elapsed % 60, line.as_ref()));
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

    async fn end_pipelines(&self) {
        end_pipelines(&self.cluster, &self.name).await;
    }

    /// Deletes the namespace with all that runs in it; returns how long it took to be gone.
    async fn delete(&self) -> Result<Duration> {
        let took = delete(&self.cluster, &self.name, GONE_AT_LAST).await?;
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

/// Deletes the pipelines and waits for their pods: a namespace that has pods when it is deleted is looked at again only
/// after half of the longest grace period, half a minute later.
///
/// What hangs is the namespace's to tell.
async fn end_pipelines(cluster: &Cluster, namespace: &str) {
    let pipelines: Api<StreamingPipeline> = Api::namespaced(cluster.client.clone(), namespace);
    let _ = pipelines.delete_collection(&DeleteParams::background(), &ListParams::default()).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let running = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    let ended = async || Ok(pods.list_metadata(&running).await?.items.is_empty().then_some(()));
    let _ = eventually("the pods are gone", PODS_END_WITHIN, ended).await;
}

async fn delete(cluster: &Cluster, name: &str, limit: Duration) -> Result<Duration> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    begin_deletion(&api, name).await?;
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
