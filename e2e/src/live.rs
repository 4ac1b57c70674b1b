//! A pipeline in the cluster: applied as a user would, waited for by its conditions, looked at through its pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::names::{Component, Names};
use millrace_api::pods::{self, is_ready};
use millrace_operator::labels::pod_selector;
use millrace_operator::objects::scope::{SABOTAGE_ANNOTATION, SABOTAGE_VARIABLE};
use serde_json::{Value, json};

use crate::kafka::KafkaClient;
use crate::metrics::{self, Metrics};
use crate::process::restarts;
use crate::table::Table;
use crate::{Spec, TestNamespace, eventually, sets};

/// The components that are stores.
pub const STORES: [Component; 3] = [Component::ZooKeeper, Component::Kafka, Component::Cassandra];

/// A pipeline that was applied in a test's namespace.
pub struct Live {
    /// The test.
    pub namespace: TestNamespace,
    /// What is called what.
    pub names: Names,
    api: Api<StreamingPipeline>,
}

impl Live {
    /// Prepares a pipeline while others are at work, with topics and tables of its own, waits until it is Ready, and then
    /// for the scenario's turn.
    pub async fn start(namespace: &TestNamespace, spec: &Spec, limit: Duration) -> Result<Self> {
        let turn = &namespace.turn;
        let starting = turn.starting().await;
        let began = Instant::now();
        let live = Self::apply(namespace, spec).await?;
        live.await_ready(limit).await?;
        drop(starting);
        let took = began.elapsed();
        turn.is_ready(took);
        let figure = if namespace.is_used { "handed_on_to_ready" } else { "apply_to_ready" };
        namespace.time(figure, took)?;
        turn.work().await;
        Ok(live)
    }

    /// Takes the pipeline of this spec's name, whether it is there or not.
    pub fn found(namespace: &TestNamespace, spec: &Spec) -> Self {
        Self {
            namespace: namespace.clone(),
            names: Names::new(&namespace.name, spec.name()),
            api: Api::namespaced(namespace.cluster.client.clone(), &namespace.name),
        }
    }

    /// Applies a pipeline for the first time; one that another scenario has left is emptied first.
    pub async fn apply(namespace: &TestNamespace, spec: &Spec) -> Result<Self> {
        let live = Self::found(namespace, spec);
        match namespace.shared.filter(|_| namespace.is_used) {
            Some(kind) => sets::empty(&live, kind).await.context("the stores cannot be emptied")?,
            None => namespace.turn.starts_set(),
        }
        live.change(spec).await?;
        Ok(live)
    }

    /// Applies a changed spec.
    pub async fn change(&self, spec: &Spec) -> Result<()> {
        if self.namespace.shared.is_some() && self.api.get_opt(self.names.pipeline()).await?.is_some() {
            return self.replace(spec).await;
        }
        let patch = PatchParams::apply("millrace-e2e").force();
        let applied = self.api.patch(self.names.pipeline(), &patch, &Patch::Apply(spec.value())).await;
        applied.map(|_| ()).context("cannot apply the pipeline")
    }

    /// Makes a spec out of another scenario's: applied, it would keep what that one has set by patches.
    async fn replace(&self, spec: &Spec) -> Result<()> {
        let wanted: StreamingPipeline = serde_json::from_value(spec.value().clone()).context("it is no pipeline")?;
        loop {
            let mut now = self.resource().await?;
            now.spec = wanted.spec.clone();
            // Faults stay until they are switched off.
            let faults =
                now.annotations().get_key_value(SABOTAGE_ANNOTATION).map(|(key, value)| (key.clone(), value.clone()));
            now.metadata.annotations.clone_from(&wanted.metadata.annotations);
            now.annotations_mut().extend(faults);
            match self.api.replace(self.names.pipeline(), &PostParams::default(), &now).await {
                Ok(_) => return Ok(()),
                // The operator has written the status meanwhile.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error).context("cannot replace the pipeline"),
            }
        }
    }

    /// Changes a few fields by a merge patch.
    pub async fn patch(&self, change: Value) -> Result<()> {
        let patched = self.api.patch(self.names.pipeline(), &PatchParams::default(), &Patch::Merge(change)).await;
        patched.map(|_| ()).context("cannot change the pipeline")
    }

    /// Returns the resource as it is now.
    pub async fn resource(&self) -> Result<StreamingPipeline> {
        self.api.get(self.names.pipeline()).await.context("cannot read the pipeline")
    }

    /// Deletes the resource and waits until it and all its pods are gone.
    pub async fn delete(&self) -> Result<Duration> {
        self.api
            .delete(self.names.pipeline(), &DeleteParams::background())
            .await
            .context("cannot delete the pipeline")?;
        let gone = async || {
            let resource = self.api.get_opt(self.names.pipeline()).await?;
            let pods = self.all_pods().await?;
            Ok((resource.is_none() && pods.is_empty()).then_some(()))
        };
        Ok(eventually("the pipeline and its pods are gone", Duration::from_secs(180), gone).await?.1)
    }

    /// Waits until the condition Ready is True for the current spec; prints its reason whenever that changes.
    pub async fn await_ready(&self, limit: Duration) -> Result<Duration> {
        self.await_condition("Ready", "True", "", limit).await
    }

    /// Waits until a condition has a status, and a reason that begins with `reason`, for the current spec.
    pub async fn await_condition(
        &self,
        condition: &str,
        status: &str,
        reason: &str,
        limit: Duration,
    ) -> Result<Duration> {
        let mut said = String::new();
        let what = format!("{condition}={status} {reason}");
        let waited = eventually(&what, limit, async || {
            let resource = self.resource().await?;
            let generation = resource.metadata.generation;
            let conditions = resource.status.map(|status| status.conditions).unwrap_or_default();
            let Some(found) = conditions.into_iter().find(|found| found.type_ == condition) else {
                return Ok(None);
            };
            let now = format!("{condition}={} {}: {}", found.status, found.reason, found.message);
            if now != said {
                self.namespace.say(&now);
                said = now;
            }
            let current = found.observed_generation == generation;
            Ok((current && found.status == status && found.reason.starts_with(reason)).then_some(()))
        });
        Ok(waited.await?.1)
    }

    /// Returns the message of a condition; empty where there is none.
    pub async fn message(&self, condition: &str) -> Result<String> {
        let conditions = self.resource().await?.status.map(|status| status.conditions).unwrap_or_default();
        let found = conditions.into_iter().find(|found| found.type_ == condition);
        Ok(found.map(|found| found.message).unwrap_or_default())
    }

    /// Returns the pods of a component, by name.
    pub async fn pods(&self, component: Component) -> Result<Vec<Pod>> {
        self.pods_by(&pod_selector(&self.names, component)).await
    }

    /// Returns the pods of all stores.
    pub async fn store_pods(&self) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for store in STORES {
            pods.extend(self.pods(store).await?);
        }
        Ok(pods)
    }

    /// Returns all pods of the pipeline.
    pub async fn all_pods(&self) -> Result<Vec<Pod>> {
        self.pods_by(&millrace_operator::labels::instance_selector(&self.names)).await
    }

    /// Returns the pods' API of the namespace.
    pub fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.namespace.cluster.client.clone(), &self.namespace.name)
    }

    async fn pods_by(&self, selector: &str) -> Result<Vec<Pod>> {
        let mut pods =
            self.pod_api().list(&ListParams::default().labels(selector)).await.context("cannot list pods")?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Returns a pod by name.
    pub async fn pod(&self, name: &str) -> Result<Pod> {
        self.pod_api().get(name).await.with_context(|| format!("cannot read pod '{name}'"))
    }

    /// Waits until a pod's container has restarted and is ready, and the whole pipeline, too.
    pub async fn await_recovery(&self, killed: &Pod, limit: Duration) -> Result<Duration> {
        let name = killed.name_any();
        let recovered = async || {
            let pod = self.pod(&name).await?;
            let resource = self.resource().await?;
            let conditions = resource.status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
            Ok((restarts(&pod) > restarts(killed) && is_ready(&pod) && ready).then_some(()))
        };
        Ok(eventually(&format!("'{name}' is back and the pipeline is Ready"), limit, recovered).await?.1)
    }

    /// Returns the addresses of a component's pods, by ordinal; meant for one rack of Cassandra.
    pub async fn addresses(&self, component: Component) -> Result<BTreeMap<u32, IpAddr>> {
        let pods = self.pods(component).await?;
        let ordinal = |pod: &Pod| pod.name_any().rsplit_once('-')?.1.parse().ok();
        Ok(pods.iter().filter_map(|pod| Some((ordinal(pod)?, address(pod)?))).collect())
    }

    /// Returns a client of the brokers.
    pub async fn kafka(&self) -> Result<KafkaClient> {
        Ok(KafkaClient::new(&self.addresses(Component::Kafka).await?, self.names.consumer_group()))
    }

    /// Returns the table, as the first node that answers coordinates its reads.
    pub async fn table(&self) -> Result<Table> {
        let mut last = None;
        for address in self.addresses(Component::Cassandra).await?.into_values() {
            match Table::open(address).await {
                Ok(table) => return Ok(table),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => bail!("no Cassandra node has an address"),
        }
    }

    /// Returns the metrics of a component's running pods, by pod name.
    pub async fn metrics(&self, component: Component) -> Result<BTreeMap<String, Metrics>> {
        let mut all = BTreeMap::new();
        for pod in self.pods(component).await? {
            if let Some(address) = address(&pod) {
                all.insert(pod.name_any(), metrics::scrape(address).await?);
            }
        }
        Ok(all)
    }

    /// Returns a metric summed over labels and pods of a component.
    pub async fn sum(&self, component: Component, metric: &str) -> Result<f64> {
        Ok(self.metrics(component).await?.values().map(|metrics| metrics.sum(metric)).sum())
    }

    /// Switches faults on in the pipeline's workers, or off; waits until they run with them.
    pub async fn sabotage(&self, faults: Option<&str>) -> Result<()> {
        self.namespace.say(format!("sabotage: {}", faults.unwrap_or("none")));
        self.patch(json!({"metadata": {"annotations": {SABOTAGE_ANNOTATION: faults}}})).await?;
        let has_it = |pod: &Pod| variable(pod, SABOTAGE_VARIABLE).as_deref() == faults;
        let rolled = eventually("all workers run with the changed variable", Duration::from_secs(180), async || {
            let mut pods = self.pods(Component::Processor).await?;
            pods.extend(self.pods(Component::Producer).await?);
            Ok((!pods.is_empty() && pods.iter().all(has_it)).then_some(()))
        });
        rolled.await?;
        self.await_ready(Duration::from_secs(180)).await.map(|_| ())
    }

    /// Waits until the processors have committed everything that the topic holds.
    pub async fn await_caught_up(&self, limit: Duration) -> Result<Duration> {
        let caught_up = async || Ok((self.kafka().await?.lag().await? == 0).then_some(()));
        Ok(eventually("every record of the topic is committed", limit, caught_up).await?.1)
    }

    /// Waits until the generator has sent its last record and Kafka has acknowledged `count`.
    pub async fn await_produced(&self, count: u64, limit: Duration) -> Result<Duration> {
        let produced = async || {
            let all = self.sum(Component::Producer, "millrace_records_produced_total").await?;
            Ok((all >= count as f64).then_some(()))
        };
        Ok(eventually(&format!("{count} records are acknowledged"), limit, produced).await?.1)
    }
}

fn variable(pod: &Pod, name: &str) -> Option<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut variables = containers.filter_map(|container| container.env.as_ref()).flatten();
    variables.find(|variable| variable.name == name).and_then(|variable| variable.value.clone())
}

/// Returns a pod's address while it runs.
pub fn address(pod: &Pod) -> Option<IpAddr> {
    pods::address(pod).filter(|_| pods::is_running(pod))
}
