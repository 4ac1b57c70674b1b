//! Nodes come and go under a pipeline of three of each: one is drained as an administrator drains it, and another stands
//! still without a word, long enough for Kubernetes to give its pods up. The stores keep their quorum, records go on
//! arriving, and nothing that Kafka acknowledged is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use millrace_api::names::Component;
use millrace_e2e::cluster::WORKERS;
use millrace_e2e::live::STORES;
use millrace_e2e::spec::Generator;
use millrace_e2e::{Live, Spec, Turn, eventually, in_shared};
use millrace_operator::labels::pod_selector;

use crate::scenario::account::Account;
use crate::three::{READY_WITHIN, RECOVERED_WITHIN, stores_are_spread};

/// Records a second from the generator, with no end.
const RATE: u32 = 100;
const SEED: u64 = 23;
/// Most records that the processors may be behind while a node is away: ten seconds of them.
const BEHIND: i64 = 10 * RATE as i64;
/// Longest that evictions may take: the processors' 30 seconds, the brokers' controlled shutdown, and a busy machine.
const DRAIN: &str = "--timeout=240s";
/// How long a drain that must not succeed is tried.
const REFUSED_DRAIN: &str = "--timeout=15s";
/// Longest that `Ready` may take to name the node's state.
const NAMED_WITHIN: Duration = Duration::from_secs(60);

pub async fn a_drained_node_and_one_that_stands_still_lose_nothing(turn: Turn) -> Result<()> {
    in_shared(&turn, "nodes", async |namespace| {
        let load = Generator { seed: SEED, count: None, rate: Some(RATE) }.source();
        let spec = Spec::three().readable_topics().sources([load]);
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        stores_are_spread(&live).await?;
        let claims = claims(&live).await?;
        let mut account = Account::of_topic(SEED);

        let drained = drained(&live, &mut account).await;
        for node in WORKERS {
            namespace.cluster.kubectl(&["uncordon", node]).await?;
        }
        drained?;
        let took = live.await_ready(RECOVERED_WITHIN).await?;
        namespace.time("uncordon_to_ready", took)?;

        let node = node_without_producer(&live).await?;
        namespace.cluster.pause(node).await?;
        let away = away(&live, &mut account).await;
        namespace.cluster.resume(node).await?;
        away.with_context(|| format!("while '{node}' stands still"))?;
        let took = live.await_ready(RECOVERED_WITHIN).await?;
        namespace.time("node_back_to_ready", took)?;
        stores_are_spread(&live).await?;
        ensure!(self::claims(&live).await? == claims, "other claims are there than before");

        let made = account.close(&live).await?.without_others()?;
        let found = live.table().await?.compare(made).await?;
        namespace.say(format!("after both: {found}"));
        found.ensure_exact()
    })
    .await
}

/// Drains a node, and sees that the stores go on with two of three. A second drain would break their quorum, and is
/// refused by their disruption budgets.
async fn drained(live: &Live, account: &mut Account) -> Result<()> {
    let cluster = &live.namespace.cluster;
    let [first, second] = WORKERS;
    let drain = ["--ignore-daemonsets", "--delete-emptydir-data"];
    cluster.kubectl(&[&["drain", first, DRAIN][..], &drain].concat()).await?;
    live.namespace.say(format!("'{first}' is drained"));
    go_on(live, account).await?;
    let named = async || Ok(live.message("Ready").await?.contains("unschedulable").then_some(()));
    eventually("Ready says that a node takes no pods", NAMED_WITHIN, named).await?;

    for component in STORES {
        let pods = format!("--pod-selector={}", pod_selector(&live.names, component));
        match cluster.kubectl(&[&["drain", second, REFUSED_DRAIN, &pods][..], &drain].concat()).await {
            Ok(_) => bail!("two of three pods of {component} were evicted"),
            Err(error) => ensure!(format!("{error:#}").contains("disruption budget"), "{component}: {error:#}"),
        }
    }
    live.namespace.say(format!("'{second}' cannot be drained meanwhile"));
    go_on(live, account).await
}

/// Waits while a node stands still; the stores go on without it.
async fn away(live: &Live, account: &mut Account) -> Result<()> {
    go_on(live, account).await?;
    tokio::time::sleep(live.namespace.turn.run.settings.node_away).await;
    go_on(live, account).await
}

/// Waits until Kafka acknowledges further records and the processors have written nearly all of them.
async fn go_on(live: &Live, account: &mut Account) -> Result<()> {
    let before = account.acknowledged(live).await?;
    let more = async || Ok((account.acknowledged(live).await? > before).then_some(()));
    eventually("records go on arriving", RECOVERED_WITHIN, more).await?;
    let written = async || Ok((live.kafka().await?.lag().await? < BEHIND).then_some(()));
    eventually("the processors go on", RECOVERED_WITHIN, written).await.map(drop)
}

/// Returns a node that may stand still: a producer's StatefulSet has no other pod to send records with.
async fn node_without_producer(live: &Live) -> Result<&'static str> {
    let pods = live.pods(Component::Producer).await?;
    let runs_on = |node: &str| {
        pods.iter().any(|pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(node)))
    };
    WORKERS.into_iter().find(|node| !runs_on(node)).context("every node has a producer")
}

/// Returns the UIDs of the namespace's claims, by name.
async fn claims(live: &Live) -> Result<BTreeMap<String, Option<String>>> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(live.namespace.cluster.client.clone(), &live.namespace.name);
    let found = api.list(&ListParams::default()).await.context("cannot list claims")?;
    Ok(found.into_iter().map(|claim| (claim.name_any(), claim.uid())).collect())
}
