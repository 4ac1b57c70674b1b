//! The operator dies in the middle of a creation; a deleted pipeline comes back with its data; volumes go when the
//! resource says so.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use millrace_e2e::cluster::same;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::process::{Signal, signal};
use millrace_e2e::spec::{Generator, Spec};
use millrace_e2e::{Live, TestNamespace, Turn, eventually, in_namespace, operator};
use serde::de::DeserializeOwned;
use serde_json::json;

const READY_WITHIN: Duration = Duration::from_secs(300);
const WRITTEN_WITHIN: Duration = Duration::from_secs(180);
/// Rows that are kept, of seed 6, and rows that come after, of seed 7.
const KEPT: u64 = 5_000;
const NEW: u64 = 3_000;

pub async fn a_pipeline_survives_its_operator_and_comes_back_with_its_data(turn: Turn) -> Result<()> {
    in_namespace(&turn, "recreated", async |namespace| {
        namespace.turn.work().await;
        let spec = Spec::one().sources([generator(6, KEPT)]);
        let live = created_without_its_operator(namespace, &spec).await?;
        live.await_produced(KEPT, WRITTEN_WITHIN).await?;
        live.await_caught_up(WRITTEN_WITHIN).await?;
        let kept = Ledger::default().and(6, KEPT);
        live.table().await?.compare(kept.clone()).await?.ensure_exact()?;

        let live = recreated_with_its_data(namespace, live, &kept).await?;
        live.change(&spec.clone().sources([generator(7, NEW)])).await?;
        live.await_ready(READY_WITHIN).await?;
        live.await_produced(NEW, WRITTEN_WITHIN).await?;
        live.await_caught_up(WRITTEN_WITHIN).await?;
        let found = live.table().await?.compare(kept.and(7, NEW)).await?;
        namespace.say(format!("kept and new rows: {found}"));
        found.ensure_exact()?;
        volumes_go_when_told(namespace, &live).await
    })
    .await
}

fn generator(seed: u64, count: u64) -> serde_json::Value {
    Generator { seed, count: Some(count), rate: None }.source()
}

/// Kills the leading operator as soon as the first StatefulSet is there.
async fn created_without_its_operator(namespace: &TestNamespace, spec: &Spec) -> Result<Live> {
    let cluster = &namespace.cluster;
    let starting = namespace.turn.starting().await;
    let leader = operator::leading_pod(cluster).await?;
    let live = Live::apply(namespace, spec).await?;
    let begun = async || Ok((!names::<StatefulSet>(namespace).await?.is_empty()).then_some(()));
    eventually("the first StatefulSet is there", Duration::from_secs(60), begun).await?;
    signal(cluster, &leader, Signal::Kill).await?;
    let there = names::<StatefulSet>(namespace).await?;
    namespace.say(format!("killed '{}' with {there:?} there", leader.name_any()));
    namespace.time("apply_to_ready", live.await_ready(READY_WITHIN).await?)?;
    drop(starting);

    let wanted = ["users-cassandra-r1", "users-kafka", "users-producer", "users-zookeeper"];
    let (sets, deployments) = (names::<StatefulSet>(namespace).await?, names::<Deployment>(namespace).await?);
    same("the StatefulSets", &sets.join(" "), &wanted.join(" "))?;
    same("the Deployments", &deployments.join(" "), "users-processor")?;
    let claims = names::<PersistentVolumeClaim>(namespace).await?;
    ensure!(claims.len() == 3, "one volume for each store, not {claims:?}");
    Ok(live)
}

/// Deletes the pipeline and makes it again without a producer: the old rows are there before any new ones.
async fn recreated_with_its_data(namespace: &TestNamespace, live: Live, kept: &Ledger) -> Result<Live> {
    let before = claims(namespace).await?;
    namespace.time("deletion", live.delete().await?)?;
    same("volumes after the deletion", &format!("{:?}", claims(namespace).await?), &format!("{before:?}"))?;
    let starting = namespace.turn.starting().await;
    let live = Live::apply(namespace, &Spec::one()).await?;
    namespace.time("reapply_to_ready", live.await_ready(READY_WITHIN).await?)?;
    drop(starting);
    same("volumes after the return", &format!("{:?}", claims(namespace).await?), &format!("{before:?}"))?;
    let found = live.table().await?.compare(kept.clone()).await?;
    namespace.say(format!("after the return: {found}"));
    found.ensure_exact()?;
    ensure!(live.kafka().await?.lag().await? == 0, "the group has lost its position");
    Ok(live)
}

async fn volumes_go_when_told(namespace: &TestNamespace, live: &Live) -> Result<()> {
    live.patch(json!({"spec": {"deletionPolicy": "Delete"}})).await?;
    live.await_ready(READY_WITHIN).await?;
    let told = eventually("every store's StatefulSet deletes its volumes", WRITTEN_WITHIN, async || {
        let sets = list::<StatefulSet>(namespace).await?;
        let stores = sets.iter().filter_map(|set| set.spec.as_ref()?.persistent_volume_claim_retention_policy.as_ref());
        let policies: Vec<_> = stores.map(|policy| policy.when_deleted.clone().unwrap_or_default()).collect();
        Ok((policies.iter().filter(|policy| *policy == "Delete").count() == 3).then_some(()))
    });
    told.await?;
    live.delete().await?;
    let gone = async || Ok(claims(namespace).await?.is_empty().then_some(()));
    let (_, took) = eventually("the volumes are gone", WRITTEN_WITHIN, gone).await?;
    namespace.say(format!("with deletionPolicy Delete the volumes are gone {} s after the pods", took.as_secs()));
    Ok(())
}

/// Returns the volumes by name, with their UIDs.
async fn claims(namespace: &TestNamespace) -> Result<BTreeMap<String, String>> {
    let claims = list::<PersistentVolumeClaim>(namespace).await?;
    Ok(claims.iter().map(|claim| (claim.name_any(), claim.uid().unwrap_or_default())).collect())
}

async fn names<K>(namespace: &TestNamespace) -> Result<Vec<String>>
where
    K: Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let mut names: Vec<String> = list::<K>(namespace).await?.iter().map(ResourceExt::name_any).collect();
    names.sort();
    Ok(names)
}

async fn list<K>(namespace: &TestNamespace) -> Result<Vec<K>>
where
    K: Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(namespace.cluster.client.clone(), &namespace.name);
    Ok(api.list(&ListParams::default()).await.with_context(|| format!("cannot list {}", K::kind(&())))?.items)
}
