//! Three of each store on three nodes, under load: every kind of pod is killed once, the brokers are restarted for a
//! changed configuration, and the operator that leads is replaced. All recover unaided, and nothing that Kafka
//! acknowledged is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_api::pods::is_ready;
use millrace_api::ports::ZOOKEEPER_CLIENT;
use millrace_e2e::ledger::{Ledger, Person};
use millrace_e2e::live::STORES;
use millrace_e2e::process::{Signal, last_end, signal};
use millrace_e2e::spec::{Generator, Spec, http_source};
use millrace_e2e::{Live, TestNamespace, Turn, eventually, in_shared, operator};
use millrace_profile::seed_of;
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::{self, Mode};
use serde_json::json;

use crate::one::columns_are_as_promised;
use crate::scenario::account::{Account, Made};

/// Cassandra nodes join one at a time, each with its own wait for gossip.
pub const READY_WITHIN: Duration = Duration::from_secs(900);
/// Longest that a killed pod may take to be back, with everything around it.
pub const RECOVERED_WITHIN: Duration = Duration::from_secs(240);
/// Longest that the restart of all brokers may take, each with its replicas in sync again.
const RESTARTED_WITHIN: Duration = Duration::from_secs(420);
/// Longest until another operator leads when one that led stands still; the time itself is written down.
const LEADER_WITHIN: Duration = Duration::from_secs(60);
/// Records a second from the generator, with no end.
const RATE: u32 = 100;
const SEED: u64 = 5;

pub async fn three_of_each_survive_a_kill_of_every_kind(turn: Turn) -> Result<()> {
    in_shared(&turn, "three-of-each", async |namespace| {
        operator::ensure_replicated(&namespace.cluster).await?;
        let load = Generator { seed: SEED, count: None, rate: Some(RATE) }.source();
        let people = http_source("people", "results=100&seed=three");
        let live =
            Live::start(namespace, &Spec::three().readable_topics().sources([load, people]), READY_WITHIN).await?;
        columns_are_as_promised(&live, "3/3").await?;
        stores_are_spread(&live).await?;

        let mut account = Account::of_topic(SEED);
        // The producer first: it begins its sequence again, and the load lasts.
        for component in
            [Component::Producer, Component::ZooKeeper, Component::Kafka, Component::Cassandra, Component::Processor]
        {
            killed_and_back(&live, component, &mut account).await?;
        }
        brokers_are_restarted_one_at_a_time(&live).await?;
        the_leader_is_replaced(namespace, &live).await?;
        nothing_is_lost(&live, account).await
    })
    .await
}

/// Checks that each store has one pod on each node.
pub async fn stores_are_spread(live: &Live) -> Result<()> {
    for component in STORES {
        let pods = live.pods(component).await?;
        let nodes: BTreeSet<String> = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
        ensure!(pods.len() == 3 && nodes.len() == 3, "{component} runs on {nodes:?}");
    }
    live.namespace.say("each store has one pod on each node");
    Ok(())
}

/// Kills a component's most important pod and waits until all is as before, while records go on arriving.
async fn killed_and_back(live: &Live, component: Component, account: &mut Account) -> Result<()> {
    let namespace = &live.namespace;
    let victim = victim(live, component).await?;
    let by_then = account.acknowledged(live).await?;
    namespace.say(format!("killing '{}' under load, {by_then} records acknowledged", victim.name_any()));
    signal(&namespace.cluster, &victim, Signal::Kill).await?;
    let took = live.await_recovery(&victim, RECOVERED_WITHIN).await?;
    namespace.time(&format!("{component}_kill_to_ready"), took)?;
    // A killed producer begins its sequence, and its count, again.
    let before = account.acknowledged(live).await?;
    let more = async || Ok((account.acknowledged(live).await? > before).then_some(()));
    eventually("records go on arriving", RECOVERED_WITHIN, more).await.map(|_| ())
}

/// The leader of the ensemble, the controller of the brokers, any pod of the others.
async fn victim(live: &Live, component: Component) -> Result<Pod> {
    let ordinal = match component {
        Component::ZooKeeper => {
            let facts = zookeeper::observe(&Reach::of_pods(&live.addresses(component).await?, ZOOKEEPER_CLIENT)).await;
            let leader = facts.servers.into_iter().find(|(_, mode)| *mode == Mode::Leader);
            Some(leader.context("no ZooKeeper server leads")?.0)
        }
        Component::Kafka => live.kafka().await?.facts().await?.controller.map(i32::unsigned_abs),
        Component::Cassandra | Component::Producer | Component::Processor | Component::Run => None,
    };
    let pods = live.pods(component).await?;
    let is_it = |pod: &&Pod| ordinal.is_none_or(|ordinal| pod.name_any().ends_with(&format!("-{ordinal}")));
    pods.iter().find(is_it).cloned().with_context(|| format!("{component} has no pod to kill"))
}

/// A setting that brokers read only when they start reaches every one by a restart in order, while records go on arriving.
async fn brokers_are_restarted_one_at_a_time(live: &Live) -> Result<()> {
    let uids = |pods: &[Pod]| pods.iter().filter_map(ResourceExt::uid).collect::<BTreeSet<_>>();
    let before = uids(&live.pods(Component::Kafka).await?);
    live.patch(json!({"spec": {"kafka": {"config": {"log.retention.check.interval.ms": "200000"}}}})).await?;
    let mut most_away = 0;
    let (_, took) = eventually("every broker has been restarted", RESTARTED_WITHIN, async || {
        let pods = live.pods(Component::Kafka).await?;
        let serves = |pod: &&Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
        let serving = pods.iter().filter(serves).count();
        most_away = most_away.max(before.len() - serving.min(before.len()));
        let renewed = before.is_disjoint(&uids(&pods));
        Ok((renewed && serving == before.len()).then_some(()))
    })
    .await?;
    live.namespace.time("brokers_restarted", took)?;
    ensure!(most_away == 1, "{most_away} brokers were away at once");
    live.await_ready(RECOVERED_WITHIN).await.map(|_| ())
}

/// The leader stands still for longer than its lease holds; another takes over, and the first, once it goes on,
/// writes nothing more.
async fn the_leader_is_replaced(namespace: &TestNamespace, live: &Live) -> Result<()> {
    let cluster = &namespace.cluster;
    let leader = operator::leading_pod(cluster).await?;
    signal(cluster, &leader, Signal::Stop).await?;
    let succeeded = operator::successor(cluster, &leader, LEADER_WITHIN).await;
    // A change for the new leader, and one that the old one would make, too, if it still believed in itself.
    let changed = live.patch(json!({"spec": {"processor": {"replicas": 3}}})).await;
    let since = Utc::now();
    signal(cluster, &leader, Signal::Continue).await?;
    let (successor, _, took) = succeeded?;
    changed?;
    namespace.say(format!("'{successor}' leads instead of '{}'", leader.name_any()));
    namespace.time("failover", took)?;
    let api: kube::Api<Pod> = kube::Api::namespaced(cluster.client.clone(), operator::NAMESPACE);
    let ended = async || Ok((last_end(&api.get(&leader.name_any()).await?) > last_end(&leader)).then_some(()));
    eventually("the deposed operator ends itself", Duration::from_secs(60), ended).await?;
    live.await_ready(RECOVERED_WITHIN).await?;

    let writes = operator::writes(cluster, &namespace.name, since).await?;
    let (deposed, new): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| write.pod == leader.name_any());
    namespace.say(format!("since then: {} writes of the new leader, {} of the deposed one", new.len(), deposed.len()));
    ensure!(!new.is_empty(), "the new leader writes nothing");
    ensure!(deposed.is_empty(), "the deposed operator still wrote: {deposed:?}");
    Ok(())
}

/// Stops the load and compares: what is in the topic was acknowledged or may have been, and must be in the table.
async fn nothing_is_lost(live: &Live, account: Account) -> Result<()> {
    let Made { ledger: made, others } = account.close(live).await?;
    let people = (0..100).map(|index| Person { seed: seed_of("three"), index });
    let ledger = Ledger::of(people).only(&others);
    let expected = ledger.ids().len();
    ensure!(expected == others.len(), "{} records are of nobody, or come after a gap", others.len() - expected);
    let found = live.table().await?.compare(ledger.plus(made)).await?;
    live.namespace.say(format!("after every kill: {found}"));
    found.ensure_exact()
}
