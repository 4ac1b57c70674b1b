//! Reads what a report consists of, one thing after the other, and goes on without what cannot be read. Secrets are not
//! among it: this file asks for none.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use millrace_api::labels::{APPLICATION, COMPONENT_LABEL, INSTANCE_LABEL, NAME_LABEL, PIPELINE_LABEL};
use millrace_api::names::{Component, Names};
use millrace_api::pods::is_running;
use millrace_api::ports::WORKER_HTTP;
use millrace_api::{IngestionRun, StreamingPipeline};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::{Context, explain, lag, status};
use super::archive::Archive;
use super::logs::{containers_of, log};
use super::metrics::metrics;
use crate::Failure;
use crate::arguments::Report;
use crate::cluster::names_of;
use crate::screen::Screen;

/// Longest that one answer is waited for.
pub(super) const WITHIN: Duration = Duration::from_secs(30);
/// Most objects of a kind.
const MOST: u32 = 500;
/// Most events of the namespace that are looked through.
const MOST_EVENTS: u32 = 5_000;
/// Selects the operator's Deployment and pods.
const OPERATOR: &str = "app.kubernetes.io/part-of=millrace,app.kubernetes.io/component=operator";
/// Port of the operator's metrics.
const OPERATOR_HTTP: u16 = 8080;
const DEFINITIONS: [&str; 2] = ["streamingpipelines.millrace.dev", "ingestionruns.millrace.dev"];

/// Reads everything about a pipeline.
pub(super) async fn all(
    context: &Context<'_>,
    pipeline: &StreamingPipeline,
    flags: &Report,
    now: DateTime<Utc>,
) -> Archive {
    let mut reader = Reader { context, names: names_of(pipeline), archive: Archive::new() };
    reader.texts(pipeline, now).await;
    let pods = reader.objects().await;
    reader.versions().await;
    reader.cluster().await;
    let operators = reader.operator(&flags.release_namespace).await;
    let namespace = reader.names.namespace().to_owned();
    let is_worker = |pod: &Pod| {
        let component = pod.labels().get(COMPONENT_LABEL).map(String::as_str);
        [Component::Processor, Component::Producer, Component::Run]
            .iter()
            .any(|known| component == Some(known.as_str()))
    };
    let workers: Vec<&Pod> = pods.iter().filter(|pod| is_worker(pod)).collect();
    reader.metrics(&namespace, &workers, WORKER_HTTP.number).await;
    let operator_pods: Vec<&Pod> = operators.iter().collect();
    reader.metrics(&flags.release_namespace, &operator_pods, OPERATOR_HTTP).await;
    // The largest come last: where the report reaches its bound, it is a log that is missing.
    reader.logs(&flags.release_namespace, &operators, flags.lines).await;
    reader.logs(&namespace, &pods, flags.lines).await;
    reader.archive
}

/// Waits for an answer of the API server, but not without end.
pub(super) async fn within<T>(what: &str, answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match timeout(WITHIN, answer).await {
        Ok(answer) => answer.map_err(Failure::asking(what)),
        Err(_) => Err(too_late(what)),
    }
}

/// Makes the failure of what was not answered in time.
pub(super) fn too_late(what: &str) -> Failure {
    Failure::away(format!("cannot {what}: no answer within {} s", WITHIN.as_secs()))
}

/// Reads one thing after the other into an archive.
struct Reader<'a> {
    context: &'a Context<'a>,
    names: Names,
    archive: Archive,
}

impl Reader<'_> {
    /// Adds what `status`, `explain` and `lag` show.
    async fn texts(&mut self, pipeline: &StreamingPipeline, now: DateTime<Utc>) {
        let shown = status::tree(&status::report(pipeline), &Screen::default());
        self.archive.add_text("status.txt", "what `millrace status` shows", &shown);
        match timeout(WITHIN, explain::drawn(self.context, pipeline)).await {
            Ok(shown) => self.archive.add_text("explain.txt", "what `millrace explain` shows", &shown),
            Err(_) => self.archive.leave_out("explain.txt", &too_late("read events and ask the brokers").chain()),
        }
        let asked = timeout(WITHIN, lag::drawn(self.context, pipeline, now.timestamp_millis())).await;
        match asked.unwrap_or_else(|_| Err(too_late("ask the brokers"))) {
            Ok(shown) => self.archive.add_text("lag.txt", "what `millrace lag` shows", &shown),
            Err(failure) => self.archive.leave_out("lag.txt", &failure.chain()),
        }
    }

    /// Adds the pipeline, its runs, the objects of both and the events about them; returns the pods.
    async fn objects(&mut self) -> Vec<Pod> {
        let (namespace, pipeline) = (self.names.namespace().to_owned(), self.names.pipeline().to_owned());
        let resource = ApiResource::erase::<StreamingPipeline>(&());
        let found = self.get(&resource, Some(&namespace), &pipeline).await;
        self.add("objects/pipeline.yaml", "the pipeline", found.map(|found| vec![found]));

        let resource = ApiResource::erase::<IngestionRun>(&());
        let mut runs = self.list(&resource, Some(&namespace), &ListParams::default()).await;
        if let Ok(runs) = &mut runs {
            runs.retain(|run| run["spec"]["pipeline"] == pipeline.as_str());
        }
        let mut named = vec![pipeline.clone()];
        named.extend(runs.iter().flatten().map(name_of));
        self.add("objects/ingestionruns.yaml", "its runs", runs);

        let ours = ListParams::default().labels(&format!("{NAME_LABEL}={APPLICATION},{INSTANCE_LABEL}={pipeline}"));
        for resource in [
            ApiResource::erase::<StatefulSet>(&()),
            ApiResource::erase::<Deployment>(&()),
            ApiResource::erase::<Job>(&()),
            ApiResource::erase::<Service>(&()),
            ApiResource::erase::<ConfigMap>(&()),
            ApiResource::erase::<NetworkPolicy>(&()),
            ApiResource::erase::<PodDisruptionBudget>(&()),
        ] {
            let found = self.list(&resource, Some(&namespace), &ours).await;
            named.extend(found.iter().flatten().map(name_of));
            self.add(&path_of(&resource), &resource.plural, found);
        }

        let resource = ApiResource::erase::<PersistentVolumeClaim>(&());
        let all_claims = ListParams::default().labels(&format!("{NAME_LABEL}={APPLICATION}"));
        let mut claims = self.list(&resource, Some(&namespace), &all_claims).await;
        if let Ok(claims) = &mut claims {
            claims.retain(|claim| {
                let labels = &claim["metadata"]["labels"];
                [INSTANCE_LABEL, PIPELINE_LABEL].iter().any(|label| labels[*label] == pipeline.as_str())
            });
        }
        named.extend(claims.iter().flatten().map(name_of));
        self.add(&path_of(&resource), &resource.plural, claims);

        let resource = ApiResource::erase::<Pod>(&());
        let found = self.list(&resource, Some(&namespace), &ours).await;
        named.extend(found.iter().flatten().map(name_of));
        let pods = pods_of(found.iter().flatten());
        self.add(&path_of(&resource), &resource.plural, found);

        let resource = ApiResource::erase::<Event>(&());
        let mut events = self.list(&resource, Some(&namespace), &ListParams::default().limit(MOST_EVENTS)).await;
        if let Ok(events) = &mut events {
            events.retain(|event| concerns(event, &pipeline, &named));
        }
        self.add(&path_of(&resource), "events about these objects", events);
        pods
    }

    /// Adds the versions of command, server and resource definitions.
    async fn versions(&mut self) {
        let mut versions = vec![json!({"command": env!("CARGO_PKG_VERSION")})];
        match within("read the version of the API server", self.context.cluster.client.apiserver_version()).await {
            Ok(server) => versions.push(json!({"server": server})),
            Err(failure) => self.archive.leave_out("version of the API server", &failure.chain()),
        }
        let resource = ApiResource::erase::<CustomResourceDefinition>(&());
        for name in DEFINITIONS {
            match self.get(&resource, None, name).await {
                Ok(found) => versions.push(definition(&found)),
                Err(failure) => self.archive.leave_out(&format!("definition {name}"), &failure.chain()),
            }
        }
        self.archive.add_objects("versions.yaml", "versions of command, server and resource definitions", versions);
    }

    /// Adds nodes and StorageClasses.
    async fn cluster(&mut self) {
        let nodes = self.list(&ApiResource::erase::<Node>(&()), None, &ListParams::default()).await;
        let nodes = nodes.map(|nodes| nodes.iter().map(node).collect());
        self.add("cluster/nodes.yaml", "conditions and capacity of nodes", nodes);
        let classes = self.list(&ApiResource::erase::<StorageClass>(&()), None, &ListParams::default()).await;
        self.add("cluster/storageclasses.yaml", "StorageClasses", classes);
    }

    /// Adds the operator's Deployment, its Lease and its pods; returns the pods.
    async fn operator(&mut self, namespace: &str) -> Vec<Pod> {
        let operator = ListParams::default().labels(OPERATOR);
        let found = self.list(&ApiResource::erase::<Deployment>(&()), Some(namespace), &operator).await;
        let names: Vec<String> = found.iter().flatten().map(name_of).collect();
        self.add("operator/deployments.yaml", "the operator's Deployment", found);
        for name in names {
            let lease = self.get(&ApiResource::erase::<Lease>(&()), Some(namespace), &format!("{name}-operator")).await;
            self.add(&format!("operator/lease-{name}.yaml"), "which operator leads", lease.map(|lease| vec![lease]));
        }
        let found = self.list(&ApiResource::erase::<Pod>(&()), Some(namespace), &operator).await;
        let pods = pods_of(found.iter().flatten());
        self.add("operator/pods.yaml", "the operator's pods", found);
        pods
    }

    /// Adds the metrics of pods that run.
    async fn metrics(&mut self, namespace: &str, pods: &[&Pod], port: u16) {
        let api: Api<Pod> = Api::namespaced(self.context.cluster.client.clone(), namespace);
        for pod in pods.iter().filter(|pod| is_running(pod)) {
            let name = pod.name_any();
            let path = format!("metrics/{name}.txt");
            match timeout(WITHIN, metrics(&api, &name, port)).await {
                Ok(Ok(text)) => self.archive.add_text(&path, "metrics of a pod", &text),
                Ok(Err(failure)) => self.archive.leave_out(&path, &failure.chain()),
                Err(_) => self.archive.leave_out(&path, &too_late("read the metrics").chain()),
            }
        }
    }

    /// Adds the logs of pods, also those of containers before they were started again.
    async fn logs(&mut self, namespace: &str, pods: &[Pod], lines: u32) {
        let api: Api<Pod> = Api::namespaced(self.context.cluster.client.clone(), namespace);
        for container in pods.iter().flat_map(containers_of) {
            let path = format!("logs/{}/{}", container.pod, container.name);
            match log(&api, &container, false, lines).await {
                Ok(text) => self.archive.add_log(&format!("{path}.log"), "log of a container", &text),
                Err(failure) => self.archive.leave_out(&format!("{path}.log"), &failure.chain()),
            }
            if !container.is_restarted {
                continue;
            }
            let path = format!("{path}.previous.log");
            match log(&api, &container, true, lines).await {
                Ok(text) => self.archive.add_log(&path, "log of a container before it was started again", &text),
                Err(failure) => self.archive.leave_out(&path, &failure.chain()),
            }
        }
    }

    fn add(&mut self, path: &str, about: &str, read: Result<Vec<Value>, Failure>) {
        match read {
            Ok(objects) => self.archive.add_objects(path, about, objects),
            Err(failure) => self.archive.leave_out(path, &failure.chain()),
        }
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        let client = self.context.cluster.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    async fn get(&self, resource: &ApiResource, namespace: Option<&str>, name: &str) -> Result<Value, Failure> {
        let api = self.api(resource, namespace);
        let found = within(&format!("get {} '{name}'", resource.kind), api.get(name)).await?;
        Ok(document(resource, &found))
    }

    async fn list(
        &mut self,
        resource: &ApiResource,
        namespace: Option<&str>,
        selected: &ListParams,
    ) -> Result<Vec<Value>, Failure> {
        let api = self.api(resource, namespace);
        let most = selected.limit.unwrap_or(MOST);
        let found = within(&format!("list {}", resource.plural), api.list(&selected.clone().limit(most))).await?;
        if found.metadata.continue_.as_ref().is_some_and(|more| !more.is_empty()) {
            self.archive.leave_out(&resource.plural, &format!("there are more than {most}; the others were not read"));
        }
        Ok(found.items.iter().map(|object| document(resource, object)).collect())
    }
}

/// Returns an object as a document; those of a list do not say what they are.
fn document(resource: &ApiResource, object: &DynamicObject) -> Value {
    let mut document = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(resource.api_version));
        fields.insert("kind".to_owned(), json!(resource.kind));
    }
    document
}

fn path_of(resource: &ApiResource) -> String {
    format!("objects/{}.yaml", resource.plural)
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn pods_of<'a>(documents: impl Iterator<Item = &'a Value>) -> Vec<Pod> {
    documents.filter_map(|document| serde_json::from_value(document.clone()).ok()).collect()
}

/// Returns whether an event is about one of these objects, or about one of the pipeline's that is gone.
fn concerns(event: &Value, pipeline: &str, named: &[String]) -> bool {
    let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
    named.iter().any(|known| known == name) || explain::component_of(pipeline, name).is_some()
}

/// Returns what a resource definition is, without its schema.
fn definition(found: &Value) -> Value {
    let versions: Vec<Value> = found["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| json!({"name": version["name"], "served": version["served"], "storage": version["storage"]}))
        .collect();
    json!({
        "kind": found["kind"],
        "metadata": {
            "name": found["metadata"]["name"],
            "labels": found["metadata"]["labels"],
            "creationTimestamp": found["metadata"]["creationTimestamp"],
        },
        "spec": {"versions": versions},
        "status": {"conditions": found["status"]["conditions"], "storedVersions": found["status"]["storedVersions"]},
    })
}

/// Returns what a node can run, without its addresses and images.
fn node(found: &Value) -> Value {
    let status = &found["status"];
    json!({
        "kind": found["kind"],
        "metadata": {"name": found["metadata"]["name"], "labels": found["metadata"]["labels"]},
        "spec": {"taints": found["spec"]["taints"], "unschedulable": found["spec"]["unschedulable"]},
        "status": {
            "conditions": status["conditions"],
            "capacity": status["capacity"],
            "allocatable": status["allocatable"],
            "nodeInfo": status["nodeInfo"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_of_the_pipeline_and_its_runs() {
        let event = |name: &str| json!({"involvedObject": {"name": name}});
        let named = ["users".to_owned(), "orders-x".to_owned(), "orders-x-1-abcde".to_owned()];
        for name in ["users", "orders-x", "orders-x-1-abcde", "users-kafka-7", "data-users-cassandra-r1-0"] {
            assert!(concerns(&event(name), "users", &named), "{name}");
        }
        // Control: those of other pipelines are not.
        for name in ["other", "users-eu-kafka-0", "orders-y", ""] {
            assert!(!concerns(&event(name), "users", &named), "{name}");
        }
    }

    #[test]
    fn nodes_and_definitions_are_short() {
        let short = node(&json!({
            "kind": "Node",
            "metadata": {"name": "a", "annotations": {"a": "b"}},
            "status": {"capacity": {"cpu": "2"}, "addresses": [{"address": "10.0.0.1"}], "images": [{"names": ["x"]}]},
        }));
        assert_eq!(short["status"]["capacity"]["cpu"], "2");
        assert!(!short.to_string().contains("10.0.0.1") && !short.to_string().contains("images"), "{short}");
        let versions = json!([{"name": "v1alpha1", "served": true, "storage": true, "schema": {"long": true}}]);
        let short = definition(&json!({"metadata": {"name": "a"}, "spec": {"versions": versions}}));
        assert_eq!(short["spec"]["versions"], json!([{"name": "v1alpha1", "served": true, "storage": true}]));
    }
}
