//! Poison among good records ends in the dead-letter topic, all of it and nothing else; and a replay changes nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_e2e::ledger::Ledger;
use millrace_e2e::{Live, Spec, in_namespace};

use crate::scenario::{poison, replay};

const READY_WITHIN: Duration = Duration::from_secs(300);
const WRITTEN_WITHIN: Duration = Duration::from_secs(300);

/// Good records, and how many of them one poison record comes to.
const GOOD: u64 = 100_000;
const EACH: u64 = 100;
/// Seed of the good ones.
const SEED: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn poison_ends_as_dead_letters_and_a_replay_changes_nothing() -> Result<()> {
    in_namespace("poisoned", async |namespace| {
        let live = Live::apply(namespace, &Spec::one().readable_topics()).await?;
        namespace.time("apply_to_ready", live.await_ready(READY_WITHIN).await?)?;
        let mut kafka = live.kafka().await?;
        let reasons = poison::send(&mut kafka, SEED, GOOD, EACH).await?;
        namespace.say(format!("sent {GOOD} good records and {} poison", reasons.len()));
        live.await_caught_up(WRITTEN_WITHIN).await?;

        let letters = poison::letters(&mut kafka, &reasons).await?;
        namespace.say(format!("dead letters: {letters:?}"));
        ensure!(letters.is_exact(reasons.len()), "the dead letters are not the poison: {letters:?}");
        let found = live.table().await?.compare(Ledger::default().and(SEED, GOOD)).await?;
        namespace.say(format!("good records: {found}"));
        found.ensure_exact()?;

        let changes = replay::one_partition(&live).await?;
        namespace.say(format!("a replay changed: {changes:?}"));
        ensure!(changes.values == 0 && changes.timestamps == 0, "a replay changed rows: {changes:?}");
        Ok(())
    })
    .await
}
