//! Other hands on the pipeline's objects: what they add costs no write, what they change costs one, what they change again
//! is reported; and what is in the way is named at once.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use millrace_operator::telemetry::Ended;
use serde_json::{Value, json};

use crate::gate::{Gate, Write};
use crate::stage::{Operator, Stage, leader};
use crate::world::PIPELINE;

/// More passes than it takes to come to any object.
const ENOUGH: usize = 60;

/// Returns the parameters of a change by a field manager.
pub fn by(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() }
}

async fn change_image(stage: &Stage, image: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "processor", "image": image}]}}}});
    deployments.patch("users-processor", &by("kubectl-set"), &Patch::Strategic(change)).await?;
    Ok(())
}

/// Returns the writes of objects, without what is told of them and without restarts of pods.
pub fn of_objects(writes: &[Write]) -> Vec<String> {
    let writes = writes.iter().map(Write::to_string);
    writes.filter(|write| !write.contains("events") && !write.contains("/status") && !write.contains("pods/")).collect()
}

/// Returns a condition of the pipeline.
pub async fn condition(stage: &Stage, type_: &str) -> Result<Option<Condition>> {
    let status = stage.pipelines().get(PIPELINE).await?.status.context("there is a status")?;
    Ok(status.conditions.into_iter().find(|condition| condition.type_ == type_))
}

async fn ready(stage: &Stage) -> Result<Condition> {
    condition(stage, "Ready").await?.context("Ready is told")
}

/// Returns what one pass of an operator writes.
async fn pass(stage: &Stage, operator: &Operator) -> Result<Vec<Write>> {
    let before = operator.gate.committed().len();
    stage.pass(operator).await?;
    Ok(operator.gate.committed().split_off(before))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn what_others_add_costs_no_write() -> Result<()> {
    let fence = leader("others-add").await?;
    let mut stage = Stage::new("others-add", &fence).await?;
    stage.create("one", json!({})).await?;
    stage.settle().await?;
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let container = json!({"name": "kafka", "env": [{"name": "FOO", "value": "bar"}]});
    // Without the restrictions of the operator's own containers: it is another's.
    let sidecar = json!({"name": "sidecar", "image": "sidecar:1"});
    let template = json!({
        "metadata": {"annotations": {"injector/status": "injected"}},
        "spec": {"containers": [container, sidecar], "tolerations": [{"key": "spot", "operator": "Exists"}]},
    });
    let added = json!({"spec": {"template": template}});
    sets.patch("users-kafka", &by("injector"), &Patch::Strategic(added)).await?;
    let services: Api<Service> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let port = json!({"spec": {"ports": [{"name": "extra", "port": 15020}]}});
    services.patch("users-kafka", &by("somebody"), &Patch::Strategic(port)).await?;
    let phase = stage.settle().await?;
    let written = of_objects(&phase.writes);
    ensure!(written.is_empty(), "{written:?}");
    let template = sets.get("users-kafka").await?.spec.context("it has a spec")?.template;
    ensure!(template.spec.is_some_and(|spec| spec.containers.len() == 2), "the sidecar is gone");

    // A change of ours goes through beside it, and takes nothing of it away.
    stage.change(json!({"kafka": {"config": {"num.partitions": "4"}}})).await?;
    stage.settle().await?;
    let template = sets.get("users-kafka").await?.spec.context("it has a spec")?.template;
    ensure!(template.spec.is_some_and(|spec| spec.containers.len() == 2), "the sidecar is gone");
    stage.world.ensure_safe()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn what_others_change_costs_one_write_and_then_a_condition() -> Result<()> {
    let fence = leader("others-change").await?;
    let mut stage = Stage::new("others-change", &fence).await?;
    stage.create("one", json!({})).await?;
    stage.settle().await?;
    let operator = stage.operator(Gate::default()).await?;
    ensure!(pass(&stage, &operator).await?.is_empty(), "there was something left to do");

    change_image(&stage, "other:1").await?;
    let writes = pass(&stage, &operator).await?;
    ensure!(of_objects(&writes) == ["PATCH deployments/users-processor"], "{writes:?}");
    ensure!(writes.iter().any(|write| write.to_string().contains("SetBack")), "it is not told: {writes:?}");
    change_image(&stage, "other:2").await?;
    for _ in 0..5 {
        let writes = pass(&stage, &operator).await?;
        ensure!(of_objects(&writes).is_empty(), "{writes:?}");
        stage.world.tick().await?;
    }
    let contested = condition(&stage, "Contested").await?.context("it is not reported")?;
    ensure!(
        contested.message.contains("image is 'other:2'") && contested.message.contains("'kubectl-set'"),
        "{contested:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn all_that_is_in_the_way_is_named_at_once() -> Result<()> {
    let fence = leader("others-way").await?;
    let stage = Stage::new("others-way", &fence).await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    for name in ["users-kafka", "users-zookeeper"] {
        let map = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        maps.create(&PostParams::default(), &map).await?;
    }
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    // It would be made only once ZooKeeper answers.
    let set = json!({"metadata": {"name": "users-kafka"}, "spec": {
        "replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}});
    sets.create(&PostParams::default(), &serde_json::from_value(set)?).await?;
    stage.create("one", json!({})).await?;
    let operator = stage.operator(Gate::default()).await?;
    ensure!(stage.pass(&operator).await? == Some(Ended::Rejected), "nothing is in the way");
    let said = ready(&stage).await?.message;
    let wanted = "ConfigMap 'users-zookeeper', ConfigMap 'users-kafka', StatefulSet 'users-kafka' exist and do not \
                  belong to this pipeline; delete them, or create the pipeline under another name";
    ensure!(said == wanted, "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_paused_pipeline_is_left_as_it_is() -> Result<()> {
    let fence = leader("others-pause").await?;
    let mut stage = Stage::new("others-pause", &fence).await?;
    let paused = |value: Value| json!({"metadata": {"annotations": {"millrace.dev/paused": value}}});
    stage.create("one", paused(json!("true"))).await?;
    let operator = stage.operator(Gate::default()).await?;
    for _ in 0..3 {
        let writes = pass(&stage, &operator).await?;
        ensure!(of_objects(&writes).is_empty(), "{writes:?}");
    }
    let said = ready(&stage).await?;
    ensure!((said.status.as_str(), said.reason.as_str()) == ("Unknown", "Paused"), "{said:?}");
    let going_on = Patch::Merge(paused(Value::Null));
    stage.pipelines().patch(PIPELINE, &PatchParams::default(), &going_on).await?;
    stage.settle().await?;
    ensure!(ready(&stage).await?.status == "True", "it does not go on");
    Ok(())
}

/// Argo CD would take a claim with the label of an Application's instance for its own, and delete it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn claims_lose_the_label_that_others_delete_by() -> Result<()> {
    let fence = leader("others-claims").await?;
    let mut stage = Stage::new("others-claims", &fence).await?;
    stage.create("one", json!({})).await?;
    stage.settle().await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let found = claims.list(&ListParams::default()).await?.items;
    ensure!(found.len() == 3, "there are {} claims", found.len());
    for claim in found {
        let labels = claim.labels();
        ensure!(!labels.contains_key("app.kubernetes.io/instance"), "{labels:?}");
        ensure!(labels.get("millrace.dev/pipeline").is_some_and(|name| name == PIPELINE), "{labels:?}");
    }
    stage.world.ensure_safe()
}

/// With the chart's rights to read events.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_quota_is_named_though_only_an_event_says_it() -> Result<()> {
    let fence = leader("others-quota").await?;
    let stage = Stage::new("others-quota", &fence).await?;
    stage.create("one", json!({})).await?;
    let operator = stage.operator(Gate::default()).await?;
    for _ in 0..ENOUGH {
        if pass(&stage, &operator).await?.is_empty() {
            break;
        }
    }
    ensure!(!ready(&stage).await?.message.contains("quota"), "it is named before it is there");
    let message = "create Pod users-zookeeper-0 in StatefulSet users-zookeeper failed error: pods \"users-zookeeper-0\" is \
                   forbidden: exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5";
    let events: Api<Event> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let event = json!({
        "metadata": {"name": "users-zookeeper.1", "namespace": stage.namespace},
        "involvedObject": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "users-zookeeper", "namespace": stage.namespace},
        "type": "Warning", "reason": "FailedCreate", "message": message,
        "lastTimestamp": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    });
    events.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
    pass(&stage, &operator).await?;
    let said = ready(&stage).await?.message;
    ensure!(said.ends_with("exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5"), "{said}");
    Ok(())
}
