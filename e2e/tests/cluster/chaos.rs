//! Faults at random under load: after each the pipeline goes on unaided, and at the end every record is a row, once and
//! with its values. And the one fault that only acknowledgement by all replicas survives, with its control.
//!
//! Two hands let faults happen: one those that take their time, one after the other, and sees the pipeline go on after
//! each; the other, beside it, those that are over after seconds.
//!
//! The settings say how long and how many (`E2E_CHAOS_…` of `e2e/run.sh`), and which: each commit has another seed.
//! `make chaos-data` asks for 500 faults and ten million records.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millrace_api::names::{Component, Names};
use millrace_api::pods::is_ready;
use millrace_e2e::cluster::WORKERS;
use millrace_e2e::disk::Disk;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::settings::Settings;
use millrace_e2e::spec::{Generator, Spec, TOPIC};
use millrace_e2e::{Comparison, Live, TestNamespace, Turn, eventually, in_namespace, in_shared};
use serde_json::json;

use crate::generated::pipeline;
use crate::scenario::account::Account;
use crate::scenario::fault::{Fault, Faults, OF_DISKS, cut_off};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest until records are committed again after a fault.
const GOES_ON_WITHIN: Duration = Duration::from_secs(300);
const WRITTEN_WITHIN: Duration = Duration::from_secs(600);
/// How long a round of faults lasts. At its end the whole table is read.
const ROUND: Duration = Duration::from_secs(1_200);
/// Brief faults begin at most so long after the one before is over.
const BRIEF_EVERY: Duration = Duration::from_secs(5);
/// Room on a store's own disk; what is not written takes none of this machine.
const DISK_GIBIBYTES: u32 = 12;
/// Records a second that meet the cut of a leader, and how many.
const CUT_RATE: u32 = 1_500;
const COUNT: u64 = 60_000;
/// Lazy nodes that are killed in a round, and the most rounds.
const LAZY_KILLS: u64 = 3;
const LAZY_ROUNDS: u64 = 4;
/// Processors are killed one after the other, each at most so long after the one before.
const KILL_EVERY: Duration = Duration::from_secs(4);
/// How long a leader is cut off: ZooKeeper gives it up after 18 s.
const CUT: Duration = Duration::from_secs(45);

pub async fn faults_at_random_lose_nothing(turn: Turn) -> Result<()> {
    in_namespace(&turn, "chaos", async |namespace| {
        on_disks(namespace, async |disks| faults_strike(namespace, disks).await).await
    })
    .await
}

/// The disks of broker and node fill up and slow down, each once.
pub async fn full_and_slow_disks_lose_nothing(turn: Turn) -> Result<()> {
    in_namespace(&turn, "disks", async |namespace| {
        on_disks(namespace, async |disks| {
            let spec = pipeline().readable_topics();
            let live = Live::start(namespace, &spec, READY_WITHIN).await?;
            let mut faults = Faults::of_disks(seeded(namespace), disks);
            let account = Load::new(&live, spec).start().await?;
            for _ in OF_DISKS {
                let fault = faults.strike(&live).await?;
                goes_on(&live, fault).await?;
            }
            let ledger = account.close(&live).await?.without_others()?;
            let found = live.table().await?.compare(ledger).await?;
            namespace.say(format!("past the disks: {found}"));
            found.ensure_exact()
        })
        .await
    })
    .await
}

/// Runs a test with disks, and takes them away again.
async fn on_disks(
    namespace: &TestNamespace,
    test: impl AsyncFnOnce(BTreeMap<Component, Disk>) -> Result<()>,
) -> Result<()> {
    let disks = disks(namespace).await?;
    let ended = test(disks.clone()).await;
    for disk in disks.values() {
        disk.remove().await?;
    }
    ended
}

/// Gives the first broker and the first node a disk of its own each, on a node of its own.
async fn disks(namespace: &TestNamespace) -> Result<BTreeMap<Component, Disk>> {
    let names = Names::new(&namespace.name, pipeline().name());
    let kafka = format!("data-{}-0", names.component(Component::Kafka));
    let cassandra = format!("data-{}-0", names.rack("r1"));
    let mut disks = BTreeMap::new();
    for (component, claim, node) in
        [(Component::Kafka, kafka, WORKERS[0]), (Component::Cassandra, cassandra, WORKERS[1])]
    {
        disks.insert(component, Disk::make(namespace, node, &claim, DISK_GIBIBYTES).await?);
    }
    Ok(disks)
}

async fn faults_strike(namespace: &TestNamespace, disks: BTreeMap<Component, Disk>) -> Result<()> {
    let spec = pipeline().readable_topics();
    let live = Live::start(namespace, &spec, READY_WITHIN).await?;
    let wanted = Wanted::of(&namespace.turn.run.settings);
    let seed = seeded(namespace);
    let mut hands = Hands { faults: Faults::of(seed, disks), brief: Faults::brief(seed), struck: 0 };
    let mut load = Load::new(&live, spec);
    let (began, mut ledger) = (Instant::now(), Ledger::default());
    while !wanted.is_met(began.elapsed(), hands.struck, committed(&live).await?) {
        let mut account = load.start().await?;
        hands.strike(&mut load, &mut account, &wanted, began).await?;
        ledger = ledger.plus(account.close(&live).await?.without_others()?);
        let found = live.table().await?.compare(ledger.clone()).await?;
        namespace.say(format!("{} faults, {} records: {found}", hands.struck, committed(&live).await?));
        found.ensure_exact()?;
    }
    namespace.figure("faults", f64::from(hands.struck), "")?;
    namespace.figure("records_consumed", committed(&live).await? as f64, "")?;

    let account = load.start().await?;
    processors_are_killed_at_random(&live).await?;
    ledger = ledger.plus(account.close(&live).await?.without_others()?);
    let found = live.table().await?.compare(ledger.clone()).await?;
    namespace.say(format!("{} kills of processors: {found}", namespace.turn.run.settings.chaos_kills));
    found.ensure_exact()?;
    a_lazy_commit_log_is_noticed(load, ledger).await
}

/// How much of it there is to be, at least.
struct Wanted {
    length: Duration,
    faults: u32,
    records: i64,
}

impl Wanted {
    fn of(settings: &Settings) -> Self {
        Self { length: settings.chaos, faults: settings.chaos_faults, records: settings.chaos_records }
    }

    fn is_met(&self, elapsed: Duration, faults: u32, records: i64) -> bool {
        elapsed >= self.length && faults >= self.faults && records >= self.records
    }
}

/// The two hands.
struct Hands {
    faults: Faults,
    brief: Faults,
    /// Faults of both so far.
    struck: u32,
}

impl Hands {
    /// Lets faults happen for a round, or until there were as many as wanted. Where one hand fails, both end.
    async fn strike(
        &mut self,
        load: &mut Load<'_>,
        account: &mut Account,
        wanted: &Wanted,
        began: Instant,
    ) -> Result<()> {
        let Self { faults, brief, struck } = self;
        let live = load.live;
        let end = Instant::now() + ROUND;
        let (so_far, over) = (Cell::from_mut(struck), Cell::new(false));
        let one = async {
            while !over.get() {
                account.acknowledged(live).await?;
                let fault = faults.strike(live).await?;
                if fault == Fault::Kill(Component::Producer) {
                    load.go_on(account).await?;
                }
                let records = goes_on(live, fault).await?;
                so_far.set(so_far.get() + 1);
                over.set(Instant::now() >= end || wanted.is_met(began.elapsed(), so_far.get(), records));
            }
            anyhow::Ok(())
        };
        let other = async {
            while !over.get() {
                tokio::time::sleep(brief.pause(BRIEF_EVERY)).await;
                brief.strike(live).await?;
                so_far.set(so_far.get() + 1);
            }
            anyhow::Ok(())
        };
        tokio::try_join!(one, other).map(|_| ())
    }
}

/// Waits until rows were written between two looks, one right after the other.
async fn rows_are_being_written(live: &Live) -> Result<()> {
    let written = async || live.sum(Component::Processor, "millrace_rows_written_total").await;
    let more = async || {
        let before = written().await?;
        Ok((written().await? > before).then_some(()))
    };
    eventually("rows are being written", GOES_ON_WITHIN, more).await.map(|_| ())
}

/// Negative control: a node that acknowledges what is not in its commit log yet, as Cassandra does by default, loses
/// rows when it is killed.
async fn a_lazy_commit_log_is_noticed(mut load: Load<'_>, mut ledger: Ledger) -> Result<()> {
    let live = load.live;
    let before = live.pods(Component::Cassandra).await?;
    load.spec = load.spec.with("/spec/cassandra/config", json!({"commitlog_sync": "periodic"}));
    live.change(&load.spec).await?;
    let renewed = async || {
        let now = live.pods(Component::Cassandra).await?;
        Ok((now.iter().all(is_ready) && now.len() == 1 && now[0].uid() != before[0].uid()).then_some(()))
    };
    eventually("the node has the other setting", READY_WITHIN, renewed).await?;
    live.await_ready(READY_WITHIN).await?;
    let mut kills = Faults::among(seeded(&live.namespace), &[Fault::Kill(Component::Cassandra)]);
    // What a kill takes is a tenth of a second's rows at most, so the node is killed while rows are being written.
    for _ in 0..LAZY_ROUNDS {
        let account = load.start().await?;
        for _ in 0..LAZY_KILLS {
            rows_are_being_written(live).await?;
            let fault = kills.strike(live).await?;
            goes_on(live, fault).await?;
        }
        ledger = ledger.plus(account.close(live).await?.without_others()?);
        let found = live.table().await?.compare(ledger.clone()).await?;
        if found.lost > 0 && found.ensure_exact().is_err() {
            live.namespace.say(format!("NOTICED: {found}"));
            return Ok(());
        }
    }
    bail!("{} kills of a node with a lazy commit log lost no row", LAZY_ROUNDS * LAZY_KILLS)
}

/// A leader is cut off from the other brokers and from ZooKeeper, but not from its clients: what it alone has taken is
/// gone when it is back. Nothing of that was acknowledged, unless the producer asks the leader alone: the control.
pub async fn a_cut_off_leader_takes_nothing_with_it(turn: Turn) -> Result<()> {
    in_shared(&turn, "cut-off", async |namespace| {
        let topic = json!({"name": TOPIC, "partitions": 3, "replicationFactor": 3, "minInSyncReplicas": 2});
        let spec = Spec::three().with("/spec/kafka/topics/0", topic);
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        let found = leader_cut_off(&live, &spec, 1).await?;
        namespace.say(format!("past the cut: {found}"));
        found.ensure_exact()?;

        let noticed = async {
            live.sabotage(Some("weak-acks")).await?;
            leader_cut_off(&live, &spec, 2).await
        }
        .await;
        live.sabotage(None).await?;
        let found = noticed?;
        namespace.say(format!("NOTICED: {found}"));
        ensure!(found.lost > 0 && found.ensure_exact().is_err(), "records lost by weak acknowledgements pass: {found}");
        Ok(())
    })
    .await
}

/// Returns how the table differs from the records of `round`, of which those of earlier rounds were exact.
async fn leader_cut_off(live: &Live, spec: &Spec, round: u64) -> Result<Comparison> {
    let source = Generator { seed: round, count: Some(COUNT), rate: Some(CUT_RATE) }.source();
    begin(live, &spec.clone().sources([source])).await?;
    let leader = leader(live).await?;
    live.namespace.say(format!("cutting '{}' off from brokers and ZooKeeper", leader.name_any()));
    cut_off(live, &leader, &[Component::Kafka, Component::ZooKeeper], CUT).await?;
    live.await_produced(COUNT, WRITTEN_WITHIN).await?;
    live.await_caught_up(WRITTEN_WITHIN).await?;
    let ledger = (1..=round).fold(Ledger::default(), |ledger, round| ledger.and(round, COUNT));
    live.table().await?.compare(ledger).await
}

/// Returns the broker that leads the topic's first partition and is not the controller, whose loss is another fault.
async fn leader(live: &Live) -> Result<Pod> {
    let facts = live.kafka().await?.facts().await?;
    let leaders = facts.topics[TOPIC].partitions.iter().filter_map(|partition| partition.leader);
    let leader = leaders.into_iter().find(|leader| Some(*leader) != facts.controller);
    let leader = leader.context("every partition is led by the controller")?;
    live.pod(&format!("{}-{leader}", live.names.component(Component::Kafka))).await
}

/// A generator without an end. It never makes the same records twice: what comes again mends what was lost.
struct Load<'a> {
    live: &'a Live,
    spec: Spec,
    /// Of the records that are made now. 0: none are yet.
    seed: u64,
}

impl<'a> Load<'a> {
    fn new(live: &'a Live, spec: Spec) -> Self {
        Self { live, spec, seed: 0 }
    }

    /// Starts with the next seed, and opens its account.
    async fn start(&mut self) -> Result<Account> {
        let loaded = self.next();
        let account = Account::open(self.live, self.seed).await?;
        begin(self.live, &loaded).await?;
        Ok(account)
    }

    /// Goes on with the next seed: a producer that was killed begins its sequence again.
    async fn go_on(&mut self, account: &mut Account) -> Result<()> {
        let loaded = self.next();
        account.and(self.seed);
        self.live.change(&loaded).await
    }

    fn next(&mut self) -> Spec {
        self.seed += 1;
        let rate = self.live.namespace.turn.run.settings.chaos_rate;
        let source = Generator { seed: self.seed, count: None, rate: Some(rate) }.source();
        self.spec.clone().sources([source])
    }
}

/// Applies a pipeline with another source and waits until its records are being committed.
async fn begin(live: &Live, spec: &Spec) -> Result<()> {
    let before = committed(live).await?;
    live.change(spec).await?;
    let more = async || Ok((committed(live).await? > before).then_some(()));
    eventually("records of the round are committed", READY_WITHIN, more).await.map(|_| ())
}

/// Returns how many records the processors have committed in all; it never goes back.
async fn committed(live: &Live) -> Result<i64> {
    let mut kafka = live.kafka().await?;
    Ok(kafka.length(TOPIC).await? - kafka.lag().await?)
}

/// Waits until more is committed than what was under way: a second's records since the first look after the fault.
/// Returns how many records are committed by then.
async fn goes_on(live: &Live, fault: Fault) -> Result<i64> {
    let a_second = i64::from(live.namespace.turn.run.settings.chaos_rate);
    let mut first = None;
    let goes_on = async || {
        let now = committed(live).await?;
        Ok((now >= *first.get_or_insert(now) + a_second).then_some(now))
    };
    let (records, took) = eventually(&format!("records are committed after {fault}"), GOES_ON_WITHIN, goes_on).await?;
    live.namespace.say(format!("goes on {} s later", took.as_secs()));
    Ok(records)
}

/// One processor after the other is killed, at moments that nothing in the pipeline chose.
async fn processors_are_killed_at_random(live: &Live) -> Result<()> {
    let mut kills = Faults::among(seeded(&live.namespace), &[Fault::Kill(Component::Processor)]);
    for _ in 0..live.namespace.turn.run.settings.chaos_kills {
        tokio::time::sleep(kills.pause(KILL_EVERY)).await;
        kills.strike(live).await?;
    }
    Ok(())
}

/// Returns the seed of this run's faults, and says it.
fn seeded(namespace: &TestNamespace) -> u64 {
    let seed = namespace.turn.run.settings.seed;
    namespace.say(format!("faults of seed {seed}; E2E_CHAOS_SEED={seed} repeats them"));
    seed
}
