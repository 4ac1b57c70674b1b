//! A running pipeline gets more brokers, ZooKeeper servers and Cassandra nodes, another topic configuration and other
//! settings of its brokers, and loses brokers, servers and nodes again, while records go on arriving and operators are
//! killed; nothing is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_api::names::Component;
use millrace_api::ports::ZOOKEEPER_CLIENT;
use millrace_e2e::cluster::same;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::process::{Signal, lives, signal};
use millrace_e2e::spec::{Generator, TOPIC};
use millrace_e2e::{Live, Spec, Turn, eventually, in_namespace, operator};
use millrace_stores::kafka::KafkaFacts;
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::{self, ZooKeeperFacts};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const READY_WITHIN: Duration = Duration::from_secs(300);
/// A Cassandra node takes its share of the ring before it joins.
const GROWN_WITHIN: Duration = Duration::from_secs(420);
pub const SEED: u64 = 11;
/// Records in all, at a pace that outlasts the growth.
const COUNT: u64 = 12_000;
/// Records in all, where stores are changed several times.
const LONG_COUNT: u64 = 30_000;
const RATE: u32 = 100;
/// Milliseconds from a change to the kill of the operator that leads: the shortest change takes 18 seconds.
const UNTIL_KILL: std::ops::Range<u64> = 500..15_000;

pub async fn a_pipeline_grows_while_records_arrive(turn: Turn) -> Result<()> {
    in_namespace(&turn, "grown", async |namespace| {
        let source = Generator { seed: SEED, count: Some(COUNT), rate: Some(RATE) }.source();
        let live = Live::start(namespace, &Spec::one(), READY_WITHIN).await?;
        let spec = Spec::one().sources([source]);

        let spec = spec.with("/spec/kafka/topics/0/config", json!({"retention.ms": "7200000", "segment.ms": "600000"}));
        live.change(&spec).await?;
        topic_has(&live, &[("retention.ms", "7200000"), ("segment.ms", "600000")]).await?;
        let spec = spec.with("/spec/kafka/topics/0/config", json!({"retention.ms": "3600000"}));
        live.change(&spec).await?;
        topic_has(&live, &[("retention.ms", "3600000")]).await?;

        let late = json!({"name": "late", "partitions": 2, "replicationFactor": 3, "minInSyncReplicas": 2});
        let spec = spec
            .with("/spec/kafka/replicas", json!(3))
            .with("/spec/kafka/topics/-", late)
            .with("/spec/cassandra/racks/0/replicas", json!(2));
        live.change(&spec).await?;
        let took = live.await_ready(GROWN_WITHIN).await?;
        namespace.time("one_to_three_brokers_and_two_nodes", took)?;
        everything_is_there(&live).await?;

        all_arrived(&live, COUNT, "past the growth").await
    })
    .await
}

/// Three brokers become four and three again, and during each change the operator is killed. A fourth gets its share of
/// every copy, leads some, and stops when it has none. Then the three take other settings. None of them is restarted.
pub async fn brokers_come_and_go_while_records_arrive(turn: Turn) -> Result<()> {
    in_namespace(&turn, "brokers", async |namespace| {
        let mut kills = kills(&turn);
        let source = Generator { seed: SEED, count: Some(COUNT), rate: Some(RATE) }.source();
        let three = three_brokers();
        let live = Live::start(namespace, &three, GROWN_WITHIN).await?;
        let before = lives(&live.pods(Component::Kafka).await?);

        let spec = three.sources([source]).with("/spec/kafka/replicas", json!(4));
        live.change(&spec).await?;
        // The negative control: a broker that has only just come has nothing.
        let came = async || {
            let facts = live.kafka().await?.facts().await?;
            Ok((facts.brokers.len() == 4).then(|| replicas(&facts)))
        };
        let (first, _) = eventually("the fourth broker comes", GROWN_WITHIN, came).await?;
        namespace.say(format!("replicas by broker when the fourth came: {first:?}"));
        kill_operator(&live, &mut kills).await?;
        let took = live.await_ready(GROWN_WITHIN).await?;
        namespace.time("three_to_four_brokers", took)?;
        let four = replicas(&live.kafka().await?.facts().await?);
        let (most, least) = (four.values().max().copied(), four.values().min().copied());
        ensure!(four.len() == 4 && most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{four:?}");

        let spec = spec.with("/spec/kafka/replicas", json!(3));
        let took = change_and_kill(&live, &spec, &mut kills).await?;
        namespace.time("four_to_three_brokers", took)?;
        pods_are(&live, Component::Kafka, 3).await?;
        let facts = live.kafka().await?.facts().await?;
        let three = replicas(&facts);
        same("the brokers with replicas", &format!("{:?}", three.keys().collect::<Vec<_>>()), "[0, 1, 2]")?;
        ensure!(facts.under_replicated == 0, "{} partitions are out of sync", facts.under_replicated);

        // One is of the logs, the other of a pool of threads, of which Kafka makes at most twice as many at once.
        let settings = [("message.max.bytes", "2097152"), ("num.io.threads", "12")];
        let spec = spec.with("/spec/kafka/config", json!(BTreeMap::from(settings)));
        live.change(&spec).await?;
        let took = live.await_ready(READY_WITHIN).await?;
        namespace.say(format!("the brokers took other settings in {took:?}"));
        for (key, value) in settings {
            let found = live.kafka().await?.setting(key).await?;
            ensure!(found.len() == 3 && found.values().all(|found| found == value), "{key} is {found:?}");
        }
        ensure!(lives(&live.pods(Component::Kafka).await?) == before, "a broker was restarted");

        all_arrived(&live, COUNT, "past the fourth broker").await
    })
    .await
}

/// One ZooKeeper server becomes three, five, three and one again, and during each change the operator is killed. The leader
/// of the three is among those that go at the end.
pub async fn zookeeper_grows_and_shrinks_while_records_arrive(turn: Turn) -> Result<()> {
    in_namespace(&turn, "ensemble", async |namespace| {
        let mut kills = kills(&turn);
        let source = Generator { seed: SEED, count: Some(LONG_COUNT), rate: Some(RATE) }.source();
        let live = Live::start(namespace, &Spec::one(), READY_WITHIN).await?;
        // The negative control: at first one votes.
        same("the voters", &voters(&live).await?, "{0}")?;

        let spec = Spec::one().sources([source]);
        for (servers, figure, wanted) in [
            (3, "one_to_three_servers", "{0, 1, 2}"),
            (5, "three_to_five_servers", "{0, 1, 2, 3, 4}"),
            (3, "five_to_three_servers", "{0, 1, 2}"),
        ] {
            let spec = spec.clone().with("/spec/zookeeper/replicas", json!(servers));
            let took = change_and_kill(&live, &spec, &mut kills).await?;
            namespace.time(figure, took)?;
            same("the voters", &voters(&live).await?, wanted)?;
            pods_are(&live, Component::ZooKeeper, servers).await?;
        }

        let first = live.pod(&format!("{}-0", live.names.component(Component::ZooKeeper))).await?;
        signal(&namespace.cluster, &first, Signal::Kill).await?;
        live.await_recovery(&first, READY_WITHIN).await?;
        let leader = ensemble(&live).await?.leader();
        ensure!(leader.is_some_and(|leader| leader > 0), "server {leader:?} leads");

        let spec = spec.with("/spec/zookeeper/replicas", json!(1));
        let took = change_and_kill(&live, &spec, &mut kills).await?;
        namespace.time("three_to_one_servers", took)?;
        pods_are(&live, Component::ZooKeeper, 1).await?;
        same("the voters", &voters(&live).await?, "{0}")?;

        all_arrived(&live, LONG_COUNT, "past the five servers").await
    })
    .await
}

/// Three Cassandra nodes become four and three again, and during each change the operator is killed. The fourth takes its
/// share of the ring, and hands it over before it goes. Every row has three copies all the time.
pub async fn cassandra_nodes_come_and_go_while_records_arrive(turn: Turn) -> Result<()> {
    in_namespace(&turn, "ring", async |namespace| {
        let mut kills = kills(&turn);
        let source = Generator { seed: SEED, count: Some(LONG_COUNT), rate: Some(RATE) }.source();
        let three = Spec::three()
            .with("/spec/zookeeper/replicas", json!(1))
            .with("/spec/kafka/replicas", json!(1))
            .sources([source]);
        let live = Live::start(namespace, &three, GROWN_WITHIN).await?;
        // The negative control: the fourth is not there yet.
        same("the nodes of the ring", &nodes(&live).await?.to_string(), "3")?;

        let four = three.clone().with("/spec/cassandra/racks/0/replicas", json!(4));
        let took = change_and_kill(&live, &four, &mut kills).await?;
        namespace.time("three_to_four_nodes", took)?;
        same("the nodes of the ring", &nodes(&live).await?.to_string(), "4")?;

        let took = change_and_kill(&live, &three, &mut kills).await?;
        namespace.time("four_to_three_nodes", took)?;
        pods_are(&live, Component::Cassandra, 3).await?;
        same("the nodes of the ring", &nodes(&live).await?.to_string(), "3")?;

        all_arrived(&live, LONG_COUNT, "past the fourth node").await
    })
    .await
}

/// Returns the moments at which operators are killed, in milliseconds after a change, as the run's seed chooses them.
fn kills(turn: &Turn) -> impl Iterator<Item = u64> + use<> {
    let mut random = StdRng::seed_from_u64(turn.run.settings.seed);
    std::iter::repeat_with(move || random.random_range(UNTIL_KILL))
}

/// Applies a change, kills the operator that leads at the next of the moments, and waits until the change is complete.
/// Returns how long it took from the kill on.
async fn change_and_kill(live: &Live, spec: &Spec, kills: &mut impl Iterator<Item = u64>) -> Result<Duration> {
    live.change(spec).await?;
    kill_operator(live, kills).await?;
    live.await_ready(GROWN_WITHIN).await
}

async fn kill_operator(live: &Live, kills: &mut impl Iterator<Item = u64>) -> Result<()> {
    let moment = Duration::from_millis(kills.next().unwrap_or(UNTIL_KILL.start));
    tokio::time::sleep(moment).await;
    let killed = operator::kill_leader(&live.namespace.cluster).await?;
    live.namespace.say(format!("killed {killed} {moment:?} after the change"));
    Ok(())
}

/// Waits until a component has so many pods.
async fn pods_are(live: &Live, component: Component, count: usize) -> Result<()> {
    let there = async || Ok((live.pods(component).await?.len() == count).then_some(()));
    eventually(&format!("there are {count} pods of {component}"), READY_WITHIN, there).await.map(|_| ())
}

/// Waits until all records of the seed have been written, and compares the rows with the ledger.
pub async fn all_arrived(live: &Live, count: u64, when: &str) -> Result<()> {
    live.await_produced(count, GROWN_WITHIN).await?;
    live.await_caught_up(GROWN_WITHIN).await?;
    let found = live.table().await?.compare(Ledger::default().and(SEED, count)).await?;
    live.namespace.say(format!("{when}: {found}"));
    found.ensure_exact()
}

/// Returns what the ZooKeeper servers say.
async fn ensemble(live: &Live) -> Result<ZooKeeperFacts> {
    let addresses = live.addresses(Component::ZooKeeper).await?;
    Ok(zookeeper::observe(&Reach::of_pods(&addresses, ZOOKEEPER_CLIENT)).await)
}

/// Returns the servers that vote, as the leader says.
async fn voters(live: &Live) -> Result<String> {
    let facts = ensemble(live).await?;
    Ok(facts.committed().map_or_else(|| "nobody leads".to_owned(), |committed| format!("{:?}", committed.voters)))
}

/// Three of each, but for the stores that this is not about: they have one server.
fn three_brokers() -> Spec {
    Spec::three()
        .with("/spec/zookeeper/replicas", json!(1))
        .with("/spec/cassandra/racks/0/replicas", json!(1))
        .with("/spec/cassandra/keyspace/replicationFactor", json!(1))
}

/// Returns how many replicas each broker has; those without any are left out.
fn replicas(facts: &KafkaFacts) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    for broker in facts.all_topics().flat_map(|(_, topic)| &topic.partitions).flat_map(|found| &found.replicas) {
        *counts.entry(*broker).or_default() += 1;
    }
    counts
}

/// Waits until the topic has these settings of its own and no others but what the operator sets.
async fn topic_has(live: &Live, wanted: &[(&str, &str)]) -> Result<()> {
    let own = |config: &BTreeMap<String, String>| {
        let set = ["retention.ms", "segment.ms"].into_iter();
        set.filter_map(|key| Some((key, config.get(key)?.as_str())))
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
    };
    let wanted: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let configured = async || {
        let facts = live.kafka().await?.facts().await?;
        Ok(facts.topics.get(TOPIC).is_some_and(|topic| own(&topic.config) == wanted).then_some(()))
    };
    eventually(&format!("the topic has {wanted:?}"), READY_WITHIN, configured).await?;
    live.await_ready(READY_WITHIN).await.map(|_| ())
}

/// Three brokers carry the new topic with three copies, the old one keeps its own, and two nodes share the ring.
async fn everything_is_there(live: &Live) -> Result<()> {
    let facts = live.kafka().await?.facts().await?;
    same("the brokers", &format!("{:?}", facts.brokers), "{0, 1, 2}")?;
    let copies = |topic: &str| facts.topics[topic].partitions.iter().map(|found| found.in_sync).collect::<Vec<_>>();
    same("the new topic's replicas in sync", &format!("{:?}", copies("late")), "[3, 3]")?;
    same("the old topic's replicas in sync", &format!("{:?}", copies(TOPIC)), "[1, 1, 1]")?;
    let pods = live.pods(Component::Cassandra).await?.len();
    ensure!(pods == 2, "{pods} Cassandra nodes run");
    same("the nodes of the ring", &nodes(live).await?.to_string(), "2")
}

/// Returns how many Cassandra nodes are up and normal; fails if there are others.
async fn nodes(live: &Live) -> Result<usize> {
    let pod = format!("{}-0", live.names.rack("r1"));
    let command = ["exec", "-n", &live.namespace.name, &pod, "-c", "cassandra", "--", "nodetool", "status"];
    let status = live.namespace.cluster.kubectl(&command).await?;
    let is_node =
        |line: &&str| line.starts_with(['U', 'D']) && line.chars().nth(1).is_some_and(|state| "NLJM".contains(state));
    let (normal, others): (Vec<&str>, Vec<&str>) =
        status.lines().filter(is_node).partition(|line| line.starts_with("UN "));
    ensure!(others.is_empty(), "not up and normal: {others:?}");
    Ok(normal.len())
}
