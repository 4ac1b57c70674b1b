//! A version of the operator on the objects of another: what it renders otherwise waits, and nothing is restarted for it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use millrace_operator::labels::APPROVE_PLAN;
use millrace_operator::objects::scope::TEMPLATE_CHECKSUM;
use millrace_operator::plan::drift::DESIRED_CHECKSUM;
use millrace_operator::write::FIELD_MANAGER;
use serde_json::json;

use crate::others::{by, condition, of_objects};
use crate::stage::{Stage, leader};
use crate::world::PIPELINE;

/// Grace period of pods that another version made, in seconds.
const OTHER_GRACE: i64 = 77;
/// The StatefulSet and the ConfigMap of the brokers.
const BROKERS: &str = "users-kafka";

/// Makes the brokers what another version of the operator made of the same spec.
async fn make_of_another_version(stage: &Stage) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let set = json!({
        "metadata": {"annotations": {TEMPLATE_CHECKSUM: "another", DESIRED_CHECKSUM: "another"}},
        "spec": {"template": {"spec": {"terminationGracePeriodSeconds": OTHER_GRACE}}},
    });
    sets.patch(BROKERS, &by(FIELD_MANAGER), &Patch::Strategic(set)).await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let map = json!({"metadata": {"annotations": {DESIRED_CHECKSUM: "another"}}, "data": {"start.sh": "another"}});
    maps.patch(BROKERS, &by(FIELD_MANAGER), &Patch::Merge(map)).await?;
    // It comes back with that template.
    let pods: Api<Pod> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    pods.delete("users-kafka-0", &DeleteParams::default()).await?;
    Ok(())
}

/// Returns grace period and start script of the brokers.
async fn brokers(stage: &Stage) -> Result<(Option<i64>, String)> {
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let spec = sets.get(BROKERS).await?.spec.context("it has a spec")?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let files = maps.get(BROKERS).await?.data.context("it has files")?;
    let grace = spec.template.spec.and_then(|pod| pod.termination_grace_period_seconds);
    Ok((grace, files["start.sh"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn another_version_restarts_nothing_until_its_plan_is_approved() -> Result<()> {
    let fence = leader("upgrade").await?;
    let mut stage = Stage::new("upgrade", &fence).await?;
    stage.create("one", json!({})).await?;
    stage.settle().await?;
    let own = brokers(&stage).await?;
    make_of_another_version(&stage).await?;
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let before = sets.get(BROKERS).await?.metadata.generation;

    let phase = stage.settle().await?;
    let written = of_objects(&phase.writes);
    ensure!(written == ["PATCH statefulsets/users-kafka"], "more than the notes: {written:?}");
    ensure!(!phase.writes.iter().any(|write| write.to_string().contains("pods/")), "{:?}", phase.writes);
    ensure!(sets.get(BROKERS).await?.metadata.generation == before, "its spec has changed");
    ensure!(brokers(&stage).await? == (Some(OTHER_GRACE), "another".to_owned()), "{:?}", brokers(&stage).await?);
    let required = condition(&stage, "RequiresUpdate").await?.context("it is not reported")?;
    ensure!(required.status == "True" && required.message.contains("the pods of Kafka,"), "{required:?}");
    let written = of_objects(&stage.settle().await?.writes);
    ensure!(written.is_empty(), "it does not come to rest: {written:?}");

    let status = stage.pipelines().get(PIPELINE).await?.status.context("there is a status")?;
    let hash = status.plan.context("there is a plan")?.hash;
    let approval = Patch::Merge(json!({"metadata": {"annotations": {APPROVE_PLAN: hash}}}));
    stage.pipelines().patch(PIPELINE, &PatchParams::default(), &approval).await?;
    let phase = stage.settle().await?;
    ensure!(phase.writes.iter().any(|write| write.to_string().contains("pods/users-kafka-0")), "{:?}", phase.writes);
    ensure!(brokers(&stage).await? == own, "{:?}", brokers(&stage).await?);
    ensure!(condition(&stage, "RequiresUpdate").await?.is_none(), "it is still reported");
    let revised = sets.get(BROKERS).await?;
    ensure!(revised.annotations()[TEMPLATE_CHECKSUM] != "another", "{:?}", revised.annotations());
    stage.world.ensure_safe()
}
