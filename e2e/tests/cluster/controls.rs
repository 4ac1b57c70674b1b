//! Negative controls: with a fault switched on in the workers, the scenarios that the tests stand on come out wrong,
//! and the checks say so. An annotation of the pipeline switches them on, for its own workers.

use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_e2e::ledger::Ledger;
use millrace_e2e::{Live, Spec, Turn, in_shared};

use crate::generated::{BUFFER, KILL_COUNT, RESIDENT, generator, new_load, pipeline};
use crate::scenario::{clock, outage, poison, replay};

const READY_WITHIN: Duration = Duration::from_secs(300);
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(300);
/// Records that a processor without a bound takes far too many of, seed 2.
const OUTAGE_COUNT: u64 = 200_000;
/// Long enough to take them.
const OUTAGE: Duration = Duration::from_secs(25);

pub async fn sabotage_is_noticed(turn: Turn) -> Result<()> {
    in_shared(&turn, "controls", async |namespace| {
        let spec = pipeline().readable_topics();
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        let noticed = async {
            dropped_dead_letters(&live).await?;
            rows_without_timestamps(&live).await?;
            timestamps_of_the_clock(&live).await?;
            commits_before_writes(&live, &spec).await?;
            a_buffer_without_bound(&live, &spec).await
        }
        .await;
        live.sabotage(None).await?;
        noticed
    })
    .await
}

async fn dropped_dead_letters(live: &Live) -> Result<()> {
    live.sabotage(Some("drop-dead-letter")).await?;
    let mut kafka = live.kafka().await?;
    let reasons = poison::send(&mut kafka, 9, 1_000, 100).await?;
    live.await_caught_up(CAUGHT_UP_WITHIN).await?;
    let letters = poison::letters(&mut kafka, &reasons).await?;
    live.namespace.say(format!("NOTICED: of {} poison records, {letters:?}", reasons.len()));
    ensure!(!letters.is_exact(reasons.len()), "dropped dead letters are not noticed: {letters:?}");
    Ok(())
}

async fn rows_without_timestamps(live: &Live) -> Result<()> {
    live.sabotage(Some("no-write-timestamp")).await?;
    let changes = replay::one_partition(live).await?;
    live.namespace.say(format!("NOTICED: a replay changed {changes:?}"));
    ensure!(
        changes.values > 0 && changes.timestamps > 0,
        "a replay that undoes later writes is not noticed: {changes:?}"
    );
    Ok(())
}

async fn timestamps_of_the_clock(live: &Live) -> Result<()> {
    live.sabotage(Some("clock-timestamp")).await?;
    let kept = clock::rows_that_kept_the_first(live, 1).await?;
    live.namespace.say(format!("NOTICED: a clock +1 h off undid {kept} later writes"));
    ensure!(kept > 0, "a clock an hour off, used for timestamps, is not noticed");
    Ok(())
}

async fn commits_before_writes(live: &Live, spec: &Spec) -> Result<()> {
    live.sabotage(Some("commit-before-write")).await?;
    outage::processors_die_with_rows_in_hand(live, &spec.clone().sources([generator(3, KILL_COUNT)])).await?;
    live.await_produced(KILL_COUNT, CAUGHT_UP_WITHIN).await?;
    live.await_caught_up(CAUGHT_UP_WITHIN).await?;
    let found = live.table().await?.compare(Ledger::default().and(3, KILL_COUNT)).await?;
    live.namespace.say(format!("NOTICED: {found}"));
    ensure!(found.lost > 0 && found.ensure_exact().is_err(), "lost rows are not noticed: {found}");
    Ok(())
}

async fn a_buffer_without_bound(live: &Live, spec: &Spec) -> Result<()> {
    live.sabotage(Some("unbounded-buffer")).await?;
    new_load(live, spec, 2, OUTAGE_COUNT).await?;
    let memory = outage::cassandra_stands_still(live, OUTAGE).await?;
    live.namespace.say(format!("NOTICED: {memory:?}"));
    let noticed = !memory.is_bounded(BUFFER, f64::MAX) && !memory.is_bounded(f64::MAX, RESIDENT);
    ensure!(noticed, "a buffer without a bound is not noticed: {memory:?}");
    Ok(())
}
