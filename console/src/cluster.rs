//! What the console watches with its own account: pipelines and their pods, for the history and for pods' addresses.
//!
//! Nothing of this is shown to a viewer who may not read it: every request goes through `access`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use millrace_api::StreamingPipeline;
use millrace_api::labels::{COMPONENT_LABEL, INSTANCE_LABEL, MANAGED_SELECTOR, RACK_LABEL};
use millrace_api::names::{Component, Names};
use millrace_api::pods::{address, is_ready, ordinal};
use millrace_api::ports::KAFKA;
use millrace_stores::reach::Reach;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Longest that a watch stays without its list of pipelines at the start before the console says that it is not ready.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// A worker's pod that can be asked for its metrics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Worker {
    /// Name of the pod.
    pub name: String,
    /// Its UID, which another pod of the same name does not have.
    pub uid: String,
    /// Which worker.
    pub component: Component,
    /// Its address.
    pub address: IpAddr,
    /// When it began, in seconds since the Unix epoch. `None`: unknown.
    pub started: Option<i64>,
}

/// The caches of one namespace, or of all.
struct Caches {
    pipelines: Store<StreamingPipeline>,
    pods: Store<Pod>,
}

/// What is watched.
#[derive(Clone)]
pub struct Cluster {
    scope: Arc<Vec<String>>,
    caches: Arc<Vec<Caches>>,
    changes: watch::Receiver<u64>,
}

impl Cluster {
    /// Begins to watch the namespaces of the scope; an empty scope is all namespaces.
    pub fn watch(client: &Client, scope: Vec<String>) -> Self {
        let (changed, changes) = watch::channel(0);
        let changed = Arc::new(changed);
        let namespaces: Vec<Option<&String>> =
            if scope.is_empty() { vec![None] } else { scope.iter().map(Some).collect() };
        let caches = namespaces
            .into_iter()
            .map(|namespace| Caches {
                pipelines: follow(api(client, namespace), watcher::Config::default(), &changed),
                pods: follow(api(client, namespace), watcher::Config::default().labels(MANAGED_SELECTOR), &changed),
            })
            .collect();
        Self { scope: Arc::new(scope), caches: Arc::new(caches), changes }
    }

    /// Returns the namespaces of the scope; empty: all.
    pub fn scope(&self) -> &[String] {
        &self.scope
    }

    /// Returns whether a namespace is in the scope.
    pub fn covers(&self, namespace: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|covered| covered == namespace)
    }

    /// Returns once everything was listed, or says that it was not in time.
    pub async fn is_listed(&self) -> bool {
        let listed = async {
            for cache in self.caches.iter() {
                let (pipelines, pods) = (cache.pipelines.wait_until_ready(), cache.pods.wait_until_ready());
                let (pipelines, pods) = tokio::join!(pipelines, pods);
                if pipelines.is_err() || pods.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(FIRST_LIST, listed).await.unwrap_or(false)
    }

    /// Returns a receiver that learns of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Returns all pipelines, in order.
    pub fn pipelines(&self) -> Vec<Arc<StreamingPipeline>> {
        let mut pipelines: Vec<_> = self.caches.iter().flat_map(|cache| cache.pipelines.state()).collect();
        pipelines.sort_by_key(|pipeline| names_of(pipeline));
        pipelines
    }

    /// Returns a pipeline.
    pub fn pipeline(&self, names: &Names) -> Option<Arc<StreamingPipeline>> {
        let key = ObjectRef::new(names.pipeline()).within(names.namespace());
        self.caches.iter().find_map(|cache| cache.pipelines.get(&key))
    }

    /// Returns the pods of a pipeline, those of its runs included.
    pub fn pods(&self, names: &Names) -> Vec<Arc<Pod>> {
        let is_of = |pod: &Pod| {
            pod.namespace().as_deref() == Some(names.namespace())
                && pod.labels().get(INSTANCE_LABEL).is_some_and(|instance| instance == names.pipeline())
        };
        self.caches.iter().flat_map(|cache| cache.pods.state_filter(is_of)).collect()
    }

    /// Returns how the brokers are reached, by ordinal.
    pub fn brokers(&self, names: &Names) -> Reach<u32> {
        let pods = self.pods(names);
        let brokers = pods.iter().filter(|pod| is_of(pod, Component::Kafka));
        Reach::of_pods(&brokers.filter_map(|pod| Some((ordinal(pod)?, address(pod)?))).collect(), KAFKA)
    }

    /// Returns the addresses of the Cassandra nodes that are ready, then of the others, by rack and ordinal.
    pub fn nodes(&self, names: &Names) -> Vec<IpAddr> {
        let mut nodes: Vec<_> = self
            .pods(names)
            .iter()
            .filter(|pod| is_of(pod, Component::Cassandra))
            .filter_map(|pod| {
                Some((!is_ready(pod), pod.labels().get(RACK_LABEL)?.clone(), ordinal(pod)?, address(pod)?))
            })
            .collect();
        nodes.sort();
        nodes.into_iter().map(|(_, _, _, address)| address).collect()
    }

    /// Returns the pods whose workers run.
    pub fn workers(&self, names: &Names) -> Vec<Worker> {
        let workers = [Component::Producer, Component::Processor, Component::Run];
        let pods = self.pods(names);
        let mut found: Vec<Worker> = pods
            .iter()
            .filter(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running"))
            .filter_map(|pod| {
                Some(Worker {
                    name: pod.name_any(),
                    uid: pod.uid()?,
                    component: workers.into_iter().find(|component| is_of(pod, *component))?,
                    address: address(pod)?,
                    started: started(pod),
                })
            })
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }
}

/// Returns a pipeline's names.
pub fn names_of(pipeline: &StreamingPipeline) -> Names {
    Names::new(pipeline.namespace().unwrap_or_default(), pipeline.name_any())
}

fn api<K>(client: &Client, namespace: Option<&String>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Keeps a cache up to date, for ever.
fn follow<K>(api: Api<K>, config: watcher::Config, changed: &Arc<watch::Sender<u64>>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (cache, writer) = store();
    let changed = changed.clone();
    tokio::spawn(async move {
        let slim = watcher(api, config).default_backoff().modify(|object| {
            object.managed_fields_mut().clear();
        });
        let mut events = std::pin::pin!(reflector(writer, slim));
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => changed.send_modify(|count| *count = count.wrapping_add(1)),
                Err(error) => {
                    let causes = crate::refusal::chain(&error).join(": ");
                    tracing::warn!(kind = %K::kind(&()), causes, "a watch failed and is begun again");
                }
            }
        }
    });
    cache
}

/// Returns whether a pod is a living one of a component.
fn is_of(pod: &Pod, component: Component) -> bool {
    pod.labels().get(COMPONENT_LABEL).is_some_and(|label| label == component.as_str())
        && pod.meta().deletion_timestamp.is_none()
}

fn started(pod: &Pod) -> Option<i64> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let running = containers.iter().filter_map(|container| container.state.as_ref()?.running.as_ref());
    running.filter_map(|running| Some(running.started_at.as_ref()?.0.as_second())).max()
}
