//! Volumes that grow. Whether a claim may is the API server's own answer, by its StorageClass; what gives it more is played.
//! (`kills` has the operator killed at every write of it.)

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};
use rstest::rstest;
use serde_json::{Value, json};

use crate::eventually;
use crate::gate::{Gate, Write};
use crate::server::{Who, make_class};
use crate::stage::{Stage, leader};
use crate::world::PIPELINE;

/// More passes than a change of one broker takes.
const ENOUGH: usize = 60;

fn kafka_of(size: &str) -> Value {
    json!({"kafka": {"storage": {"size": size}}})
}

/// Returns the UID of each pod.
async fn pods(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let pods: Api<Pod> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let listed = pods.list(&ListParams::default()).await?.items;
    Ok(listed.into_iter().map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
}

/// Returns the sizes of the claims of a StatefulSet, and that of its template.
async fn sizes(stage: &Stage, set: &str) -> Result<(Vec<String>, String)> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let size = |spec: &Value| spec["resources"]["requests"]["storage"].as_str().unwrap_or_default().to_owned();
    let listed = claims.list(&ListParams::default()).await?.items;
    let of_set = listed.into_iter().filter(|claim| claim.name_any().starts_with(&format!("data-{set}-")));
    let of_set = of_set.map(|claim| anyhow::Ok(size(&serde_json::to_value(claim.spec)?)));
    let set = serde_json::to_value(sets.get(set).await?)?;
    Ok((of_set.collect::<Result<_>>()?, size(&set["spec"]["volumeClaimTemplates"][0]["spec"])))
}

async fn spec_valid(stage: &Stage) -> Result<(String, String)> {
    let status = stage.pipelines().get(PIPELINE).await?.status.context("there is a status")?;
    let found = status.conditions.into_iter().find(|condition| condition.type_ == "SpecValid");
    found.map(|condition| (condition.status, condition.message)).context("SpecValid is told")
}

/// Lets operator and world take turns until neither has anything to do, Ready or not.
async fn exhaust(stage: &mut Stage) -> Result<()> {
    let operator = stage.operator(Gate::default()).await?;
    for _ in 0..ENOUGH {
        let before = operator.gate.committed().len();
        stage.pass(&operator).await?;
        let new: Vec<Write> = operator.gate.committed().split_off(before);
        stage.world.judge(&new);
        if !stage.world.tick().await? && new.is_empty() {
            return stage.world.ensure_safe();
        }
    }
    anyhow::bail!("there is still something to do after {ENOUGH} passes")
}

#[rstest]
#[case("Retain")]
#[case("Delete")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn volumes_grow_and_no_pod_is_restarted(#[case] policy: &str) -> Result<()> {
    let namespace = format!("growth-{}", policy.to_lowercase());
    let fence = leader(&namespace).await?;
    let mut stage = Stage::new(&namespace, &fence).await?;
    make_class(&stage.admin, "fast", true).await?;
    stage.create("three", json!({"spec": {"deletionPolicy": policy}})).await?;
    stage.settle().await?;
    let before = pods(&stage).await?;
    stage.change(kafka_of("12Gi")).await?;
    let phase = stage.settle().await?;
    stage.world.ensure_safe()?;
    stage.world.ensure_claims_are_kept().await?;
    ensure!(sizes(&stage, "users-kafka").await? == (vec!["12Gi".to_owned(); 3], "12Gi".to_owned()), "it did not grow");
    ensure!(pods(&stage).await? == before, "pods were restarted");
    let removals = phase.writes.iter().filter(|write| write.verb == "DELETE").count();
    ensure!(removals == 1, "{removals} objects were deleted");
    let sets: Api<StatefulSet> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let set = serde_json::to_value(sets.get("users-kafka").await?)?;
    let kept = &set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"];
    ensure!(*kept == json!(policy), "the set has {kept}");
    ensure!(stage.settle().await?.writes.is_empty(), "there is more to do");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_class_that_cannot_grow_is_named_and_all_else_goes_ahead() -> Result<()> {
    const CLASS: &str = "growth-refused";
    let fence = leader(CLASS).await?;
    let mut stage = Stage::new(CLASS, &fence).await?;
    make_class(&stage.admin, CLASS, false).await?;
    stage.create("one", json!({"spec": {"kafka": {"storage": {"className": CLASS}}}})).await?;
    stage.settle().await?;
    let before = pods(&stage).await?;
    stage.change(json!({"kafka": {"storage": {"size": "2Gi"}, "config": {"num.partitions": "4"}}})).await?;
    exhaust(&mut stage).await?;
    let (status, message) = spec_valid(&stage).await?;
    let says =
        ["spec.kafka.storage.size", "StorageClass 'growth-refused'", "must support resize", "set it back to 1Gi"];
    ensure!(status == "False" && says.iter().all(|part| message.contains(part)), "SpecValid says {message}");
    ensure!(sizes(&stage, "users-kafka").await? == (vec!["1Gi".to_owned()], "1Gi".to_owned()), "something grew");
    ensure!(pods(&stage).await?["users-kafka-0"] != before["users-kafka-0"], "the setting does not go ahead");

    // Admission lets it be taken back to what the volume has, and no further.
    ensure!(stage.change(kafka_of("512Mi")).await.is_err(), "a volume may shrink");
    stage.change(kafka_of("1Gi")).await?;
    stage.settle().await?;
    ensure!(stage.change(kafka_of("512Mi")).await.is_err(), "a volume may shrink");

    // The negative control: the same class, once it allows it.
    let classes: Api<StorageClass> = Api::all(stage.admin.clone());
    let allowed = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch(CLASS, &PatchParams::default(), &allowed).await?;
    stage.change(kafka_of("2Gi")).await?;
    // The API server's own view of classes is a moment behind.
    eventually("the class counts", async || {
        exhaust(&mut stage).await?;
        Ok((spec_valid(&stage).await?.0 == "True").then_some(()))
    })
    .await?;
    stage.settle().await?;
    ensure!(sizes(&stage, "users-kafka").await? == (vec!["2Gi".to_owned()], "2Gi".to_owned()), "it did not grow");
    stage.world.ensure_claims_are_kept().await
}

/// Negative control: a StatefulSet that is removed before its claims have grown, or with its pods, is seen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_set_that_is_removed_too_early_is_caught() -> Result<()> {
    let fence = leader("growth-early").await?;
    for (namespace, policy, says) in [
        ("growth-early", PropagationPolicy::Orphan, "before all its claims have grown"),
        ("growth-whole", PropagationPolicy::Background, "takes its pods with it"),
    ] {
        let mut stage = Stage::new(namespace, &fence).await?;
        stage.create("one", json!({})).await?;
        stage.settle().await?;
        let gate = Gate::default();
        let client = stage.server.gated(Who::Everybody, &gate).await?;
        let sets: Api<StatefulSet> = Api::namespaced(client, &stage.namespace);
        let uid = sets.get("users-kafka").await?.uid();
        let removal = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        sets.delete("users-kafka", &removal).await?;
        stage.world.judge(&gate.committed());
        let caught = stage.world.ensure_safe();
        ensure!(caught.is_err_and(|error| error.to_string().contains(says)), "nobody noticed: {says}");
    }
    Ok(())
}
