//! A processor whose clock is wrong: one more pod of the processors' Deployment, as the operator renders it, in which a
//! library is loaded that tells another time of day. Time that passes is not touched.
//!
//! libfaketime does not know `cnd_timedwait`, by which librdkafka waits: with it, the consumer stood still for an hour.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use millrace_api::names::Component;
use serde_json::{Value, json};

use crate::cluster::{repository, target};
use crate::{Live, eventually};

/// The ConfigMap with the library, and where the pod has it.
const NAME: &str = "wrong-clock";
const DIRECTORY: &str = "/wrong-clock";
const LIBRARY: &str = "wrong_clock.so";

/// Longest that it may take until it writes rows, or is gone.
const PATIENCE: Duration = Duration::from_secs(120);

/// A processor that lives in another hour.
pub struct WrongClock<'a> {
    live: &'a Live,
    pod: String,
}

impl<'a> WrongClock<'a> {
    /// Starts a processor whose clock is so many hours ahead, or behind where negative, beside those that there are.
    pub async fn start(live: &'a Live, hours: i32) -> Result<WrongClock<'a>> {
        let library = library()?;
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            binary_data: Some(BTreeMap::from([(LIBRARY.to_owned(), ByteString(library))])),
            ..ConfigMap::default()
        };
        live.namespace.apply::<ConfigMap>(NAME, &serde_json::to_value(map)?).await?;
        let client = &live.namespace.cluster.client;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &live.namespace.name);
        let processors = live.names.component(Component::Processor);
        let deployment = deployments.get(&processors).await.context("there is no Deployment of processors")?;
        let template = serde_json::to_value(deployment.spec.context("a Deployment has a spec")?.template)?;
        let name = format!("{processors}-{NAME}-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        let pod: Pod = serde_json::from_value(wrong_clock(template, &name, hours)?)?;
        live.pod_api().create(&PostParams::default(), &pod).await.context("cannot start a processor")?;
        Ok(Self { live, pod: name })
    }

    /// Waits until it has written rows.
    pub async fn writes(&self) -> Result<()> {
        let rows = async || {
            let all = self.live.metrics(Component::Processor).await?;
            let own = all.get(&self.pod).map_or(0.0, |metrics| metrics.sum("millrace_rows_written_total"));
            Ok((own > 0.0).then_some(()))
        };
        eventually(&format!("'{}' writes rows", self.pod), PATIENCE, rows).await.map(|_| ())
    }

    /// Stops it, as a rollout would, and waits until it is gone.
    pub async fn stop(self) -> Result<()> {
        let api = self.live.pod_api();
        api.delete(&self.pod, &DeleteParams::default()).await.with_context(|| format!("cannot stop '{}'", self.pod))?;
        let gone = async || Ok(api.get_opt(&self.pod).await?.is_none().then_some(()));
        eventually(&format!("'{}' is gone", self.pod), PATIENCE, gone).await.map(|_| ())
    }
}

/// Compiles the library, and returns it.
fn library() -> Result<Vec<u8>> {
    let (source, made) = (repository().join("e2e/src/clock/wrong_clock.c"), target().join(LIBRARY));
    let ran = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&made, &source]).output();
    let ran = ran.context("cannot run cc; apt-get install gcc")?;
    ensure!(ran.status.success(), "{} does not compile: {}", source.display(), String::from_utf8_lossy(&ran.stderr));
    std::fs::read(&made).with_context(|| format!("cannot read {}", made.display()))
}

/// Makes a pod of the processors' template; its labels let it into the network and out of it, as theirs do.
fn wrong_clock(mut template: Value, name: &str, hours: i32) -> Result<Value> {
    let spec = template["spec"].as_object_mut().context("a template has a spec")?;
    let mut add = |pointer: &str, item: Value| {
        let list = match pointer {
            "volumes" => spec.entry(pointer).or_insert_with(|| json!([])),
            of_container => &mut spec["containers"][0][of_container],
        };
        match list {
            Value::Array(items) => items.push(item),
            none => *none = json!([item]),
        }
    };
    add("volumes", json!({"name": NAME, "configMap": {"name": NAME}}));
    add("volumeMounts", json!({"name": NAME, "mountPath": DIRECTORY, "readOnly": true}));
    add("env", json!({"name": "LD_PRELOAD", "value": format!("{DIRECTORY}/{LIBRARY}")}));
    add("env", json!({"name": "WRONG_CLOCK_SECONDS", "value": (hours * 3600).to_string()}));
    template["apiVersion"] = json!("v1");
    template["kind"] = json!("Pod");
    template["metadata"]["name"] = json!(name);
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_template_has_another_time() {
        let template = json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "processor", "env": [{"name": "A", "value": "1"}]}]},
        });
        let pod = wrong_clock(template, "late", -1).expect("the template has all that it needs");
        assert_eq!(pod["metadata"], json!({"labels": {"a": "b"}, "name": "late"}));
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["env"][2], json!({"name": "WRONG_CLOCK_SECONDS", "value": "-3600"}));
        assert_eq!(container["volumeMounts"][0]["mountPath"], json!(DIRECTORY));
        assert_eq!(pod["spec"]["volumes"][0]["configMap"]["name"], json!(NAME));
    }
}
