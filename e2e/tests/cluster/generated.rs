//! Generator records end as rows, each exactly once and with its values: at full speed, past an outage of Cassandra, and
//! when processors die with rows in hand. Poison among good records ends in the dead-letter topic, all of it and nothing
//! else; and neither a replay nor a processor's wrong clock changes anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_api::names::Component;
use millrace_e2e::ledger::Ledger;
use millrace_e2e::spec::{Generator, Spec};
use millrace_e2e::{Live, Turn, eventually, in_shared};
use serde_json::json;

use crate::scenario::{clock, outage, poison, replay};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that all records of a step may take on a busy machine; the rate itself is written down.
const WRITTEN_WITHIN: Duration = Duration::from_secs(420);

/// Records of the first step, seed 1.
const COUNT: u64 = 200_000;
/// Records that meet the outage, seed 2: several times what processors may hold.
const OUTAGE_COUNT: u64 = 120_000;
/// Records that processors have in hand when they die, seed 3.
pub const KILL_COUNT: u64 = 30_000;
/// Good records of seed 4, and how many of them one poison record comes to.
const GOOD: u64 = 100_000;
const EACH: u64 = 100;

/// How long Cassandra stands still.
const OUTAGE: Duration = Duration::from_secs(60);
/// The default of `bufferMemory`, which the processors run with.
pub const BUFFER: f64 = 16.0 * 1024.0 * 1024.0;
/// What a processor may have resident in all: at rest, its buffer, and the clients' own.
pub const RESIDENT: f64 = 64.0 * 1024.0 * 1024.0;

pub async fn generated_records_are_rows_once_whatever_comes_between(turn: Turn) -> Result<()> {
    in_shared(&turn, "generated", async |namespace| {
        let spec = pipeline().readable_topics();
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        full_speed(&live, &spec).await?;
        outage_of_cassandra(&live, &spec).await?;
        death_with_rows_in_hand(&live, &spec).await?;
        poison_among_good_records(&live).await?;
        a_replay(&live).await?;
        clocks_an_hour_off(&live).await
    })
    .await
}

/// One of each store, two processors and six partitions.
pub fn pipeline() -> Spec {
    Spec::one().with("/spec/processor/replicas", json!(2)).with("/spec/kafka/topics/0/partitions", json!(6))
}

/// A source of `count` records of a seed, as fast as Kafka takes them.
pub fn generator(seed: u64, count: u64) -> serde_json::Value {
    Generator { seed, count: Some(count), rate: None }.source()
}

async fn full_speed(live: &Live, spec: &Spec) -> Result<()> {
    let namespace = &live.namespace;
    live.change(&spec.clone().sources([generator(1, COUNT)])).await?;
    // By the time that the first rows are seen, others are under way.
    let begun = written(live, 1.0).await?;
    let (_, took) = eventually("all rows are written", WRITTEN_WITHIN, async || {
        Ok((live.sum(Component::Processor, "millrace_rows_written_total").await? >= COUNT as f64).then_some(()))
    })
    .await?;
    namespace.figure("full_speed", (COUNT as f64 - begun) / took.as_secs_f64(), "rows_per_second")?;
    live.await_produced(COUNT, WRITTEN_WITHIN).await?;
    live.await_caught_up(WRITTEN_WITHIN).await?;
    let found = live.table().await?.compare(Ledger::default().and(1, COUNT)).await?;
    namespace.say(format!("{COUNT} records: {found}"));
    found.ensure_exact()?;
    let letters = live.kafka().await?.length(&Spec::dead_letters()).await?;
    ensure!(letters == 0, "{letters} good records are dead letters");
    Ok(())
}

/// Waits until so many rows were written since the processors began; returns how many it was by then.
pub async fn written(live: &Live, least: f64) -> Result<f64> {
    let seen = eventually("rows are written", WRITTEN_WITHIN, async || {
        let written = live.sum(Component::Processor, "millrace_rows_written_total").await?;
        Ok((written >= least).then_some(written))
    });
    Ok(seen.await?.0)
}

/// Replaces the source and waits until its records are being written.
pub async fn new_load(live: &Live, spec: &Spec, seed: u64, count: u64) -> Result<()> {
    let before = live.sum(Component::Processor, "millrace_rows_written_total").await?;
    live.change(&spec.clone().sources([generator(seed, count)])).await?;
    written(live, before + 1_000.0).await.map(|_| ())
}

async fn outage_of_cassandra(live: &Live, spec: &Spec) -> Result<()> {
    let namespace = &live.namespace;
    new_load(live, spec, 2, OUTAGE_COUNT).await?;
    let memory = outage::cassandra_stands_still(live, OUTAGE).await?;
    namespace.figure("outage_resident", memory.resident / (1024.0 * 1024.0), "MiB")?;
    namespace.figure("outage_buffered", memory.buffered / (1024.0 * 1024.0), "MiB")?;
    ensure!(memory.buffered > BUFFER / 4.0, "the outage was not felt: {memory:?}");
    ensure!(memory.is_bounded(BUFFER, RESIDENT), "the memory bound is broken: {memory:?}");
    ensure!(memory.dead_letters == 0.0, "an outage makes no dead letters: {memory:?}");
    live.await_produced(OUTAGE_COUNT, WRITTEN_WITHIN).await?;
    namespace.time("catch_up", live.await_caught_up(WRITTEN_WITHIN).await?)?;
    let ledger = Ledger::default().and(1, COUNT).and(2, OUTAGE_COUNT);
    let found = live.table().await?.compare(ledger).await?;
    namespace.say(format!("past the outage: {found}"));
    found.ensure_exact()?;
    let letters = live.kafka().await?.length(&Spec::dead_letters()).await?;
    ensure!(letters == 0, "{letters} good records are dead letters");
    Ok(())
}

async fn death_with_rows_in_hand(live: &Live, spec: &Spec) -> Result<()> {
    outage::processors_die_with_rows_in_hand(live, &spec.clone().sources([generator(3, KILL_COUNT)])).await?;
    live.await_produced(KILL_COUNT, WRITTEN_WITHIN).await?;
    live.await_caught_up(WRITTEN_WITHIN).await?;
    let ledger = Ledger::default().and(1, COUNT).and(2, OUTAGE_COUNT).and(3, KILL_COUNT);
    let found = live.table().await?.compare(ledger).await?;
    live.namespace.say(format!("past the processors' death: {found}"));
    found.ensure_exact()
}

async fn poison_among_good_records(live: &Live) -> Result<()> {
    let namespace = &live.namespace;
    let mut kafka = live.kafka().await?;
    let reasons = poison::send(&mut kafka, 4, GOOD, EACH).await?;
    namespace.say(format!("sent {GOOD} good records and {} poison", reasons.len()));
    live.await_caught_up(WRITTEN_WITHIN).await?;
    let letters = poison::letters(&mut kafka, &reasons).await?;
    namespace.say(format!("dead letters: {letters:?}"));
    ensure!(letters.is_exact(reasons.len()), "the dead letters are not the poison: {letters:?}");
    let ledger = Ledger::default().and(1, COUNT).and(2, OUTAGE_COUNT).and(3, KILL_COUNT).and(4, GOOD);
    let found = live.table().await?.compare(ledger).await?;
    namespace.say(format!("beside poison: {found}"));
    found.ensure_exact()
}

async fn a_replay(live: &Live) -> Result<()> {
    let changes = replay::one_partition(live).await?;
    live.namespace.say(format!("a replay changed: {changes:?}"));
    ensure!(changes.values == 0 && changes.timestamps == 0, "a replay changed rows: {changes:?}");
    Ok(())
}

async fn clocks_an_hour_off(live: &Live) -> Result<()> {
    for hours in [1, -1] {
        let kept = clock::rows_that_kept_the_first(live, hours).await?;
        live.namespace.say(format!("with a clock {hours:+} h off {kept} rows keep what came first"));
        ensure!(kept == 0, "a clock {hours:+} h off undid {kept} later writes");
    }
    Ok(())
}
