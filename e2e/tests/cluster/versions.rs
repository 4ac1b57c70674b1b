//! All stores of a pipeline get newer versions by one change, and Kafka and ZooKeeper the older ones again, under load: one
//! pod of all stores is away at a time, and nothing that Kafka acknowledged is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;
use millrace_e2e::cluster::{same, script};
use millrace_e2e::spec::Generator;
use millrace_e2e::{Live, Spec, Turn, eventually, in_namespace};
use serde_json::{Value, json};

use crate::scenario::account::Account;
use crate::three::{READY_WITHIN, RECOVERED_WITHIN};

/// Records a second from the generator, with no end.
const RATE: u32 = 100;
const SEED: u64 = 37;
/// Longest that nine restarts may take, each with its store at full strength again.
const ROLLED_WITHIN: Duration = Duration::from_secs(1_200);
/// Stores, with their images but for the version, their older versions and those that they get.
const VERSIONS: [(Component, &str, &str, &str); 3] = [
    (Component::ZooKeeper, "zookeeper", "3.9.3", "3.9.5"),
    (Component::Kafka, "apache/kafka", "3.9.1", "3.9.2"),
    (Component::Cassandra, "cassandra", "5.0.5", "5.0.9"),
];

pub async fn stores_change_their_versions_under_load(turn: Turn) -> Result<()> {
    in_namespace(&turn, "versions", async |namespace| {
        let older: Vec<String> = VERSIONS.iter().map(|(_, image, older, _)| format!("{image}:{older}")).collect();
        let arguments: Vec<&str> = ["older"].into_iter().chain(older.iter().map(String::as_str)).collect();
        script("cluster/cluster.sh", &arguments).await?;
        let load = Generator { seed: SEED, count: None, rate: Some(RATE) }.source();
        let spec = VERSIONS.iter().fold(Spec::three(), |spec, (store, _, older, _)| {
            spec.with(&format!("/spec/{store}/version"), json!(older))
        });
        let live = Live::start(namespace, &spec.readable_topics().sources([load]), READY_WITHIN).await?;
        let mut account = Account::of_topic(SEED);
        // The control: what runs is what was asked for.
        same("the versions", &versions(&live).await?, "3.9.3, 3.9.1, 5.0.5")?;

        let newer: BTreeMap<String, Value> =
            VERSIONS.iter().map(|(store, _, _, newer)| (store.to_string(), json!({"version": newer}))).collect();
        let took = rolled(&live, &json!({"spec": newer}), "3.9.5, 3.9.2, 5.0.9").await?;
        namespace.time("stores_to_newer_versions", took)?;
        namespace.say(format!("{} records acknowledged by then", account.acknowledged(&live).await?));

        let back = json!({"spec": {"zookeeper": {"version": "3.9.3"}, "kafka": {"version": "3.9.1"}}});
        let took = rolled(&live, &back, "3.9.3, 3.9.1, 5.0.9").await?;
        namespace.time("kafka_and_zookeeper_to_older_versions", took)?;

        let made = account.close(&live).await?.without_others()?;
        let found = live.table().await?.compare(made).await?;
        namespace.say(format!("past the versions: {found}"));
        found.ensure_exact()
    })
    .await
}

/// Changes versions, and waits until they run. Fails if two pods of the stores were seen away at once.
async fn rolled(live: &Live, change: &Value, wanted: &str) -> Result<Duration> {
    live.patch(change.clone()).await?;
    let mut most_away = 0;
    let (_, took) = eventually(&format!("the stores run {wanted}"), ROLLED_WITHIN, async || {
        let serves = |pod: &&Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
        let serving = live.store_pods().await?.iter().filter(serves).count();
        let away = 9_usize.saturating_sub(serving);
        most_away = most_away.max(away);
        Ok((away == 0 && versions(live).await? == wanted).then_some(()))
    })
    .await?;
    ensure!(most_away == 1, "{most_away} pods of stores were away at once");
    live.await_ready(RECOVERED_WITHIN).await?;
    Ok(took)
}

/// Returns the versions that the pods of ZooKeeper, Kafka and Cassandra run, in this order; of a store with several all.
async fn versions(live: &Live) -> Result<String> {
    let mut all = Vec::new();
    for (store, ..) in VERSIONS {
        let mut found: Vec<String> = live.pods(store).await?.iter().map(version).collect();
        found.sort();
        found.dedup();
        all.push(found.join(" and "));
    }
    Ok(all.join(", "))
}

/// Returns the version of the image that a pod's server runs.
fn version(pod: &Pod) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut images = containers.filter_map(|container| container.image.as_deref());
    let tag = images.find_map(|image| image.rsplit_once(':').map(|(_, tag)| tag.to_owned()));
    tag.unwrap_or_else(|| format!("'{}' has no image", pod.name_any()))
}
