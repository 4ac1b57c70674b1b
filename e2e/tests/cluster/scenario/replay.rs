//! A replay: the processors' position in one partition is moved back, as after a lost commit, while the position in
//! another stays. Records of the second that came later to the same rows must win over the replayed ones.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use millrace_api::names::Component;
use millrace_e2e::{Live, eventually};
use serde_json::json;
use uuid::Uuid;

/// Rows that are written twice.
const ROWS: u64 = 200;
/// The partition that is replayed, and the one that has the later records.
const EARLIER: i32 = 0;
const LATER: i32 = 1;
/// Longest that a step may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a replay changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Rows that were compared.
    pub rows: usize,
    /// Rows that have another value than before.
    pub values: usize,
    /// Rows whose cells were written with another timestamp than before.
    pub timestamps: usize,
}

/// Writes rows twice, from two partitions, replays the first, and returns what that changed.
pub async fn one_partition(live: &Live) -> Result<Changes> {
    let mut kafka = live.kafka().await?;
    let ids: Vec<Uuid> = (0..ROWS).map(|_| Uuid::new_v4()).collect();
    let earlier = people(&ids, "first", "first");
    let replayed_from = kafka.produce(EARLIER, &earlier).await?;
    live.await_caught_up(PATIENCE).await?;
    // The later records must stand at later offsets, since that is what their write timestamps are made of.
    let mut base = kafka.produce(LATER, &people(&ids, "second", "second")).await?;
    while base <= replayed_from {
        base = kafka.produce(LATER, &people(&ids, "second", "second")).await?;
    }
    live.await_caught_up(PATIENCE).await?;
    let mut before = live.table().await?.stamps().await?;
    before.retain(|id, _| ids.contains(id));
    let second = |name: &Option<String>| name.as_deref() == Some("second");
    let settled = before.len() == ids.len() && before.values().flatten().all(|(name, _)| second(name));
    ensure!(settled, "the later records have not won to begin with");

    let lag = rewind(live, EARLIER, replayed_from).await?;
    ensure!(lag >= ROWS as i64, "after moving the group back only {lag} records are to be read");
    let after = live.table().await?.stamps().await?;
    let mut changes = Changes { rows: before.len(), ..Changes::default() };
    for (id, cells) in before {
        let now = after.get(&id).context("a row is gone")?;
        changes.values += usize::from(cells.iter().zip(now).any(|((was, _), (is, _))| was != is));
        changes.timestamps += usize::from(cells.iter().zip(now).any(|((_, was), (_, is))| was != is));
    }
    Ok(changes)
}

/// Returns a record for each id, of a person of that name.
pub fn people(ids: &[Uuid], first: &str, last: &str) -> Vec<(Bytes, Bytes)> {
    let record = |id: &Uuid| json!({"id": id, "first_name": first, "last_name": last}).to_string();
    ids.iter().map(|id| (Bytes::from(id.to_string()), Bytes::from(record(id)))).collect()
}

/// Moves the group back in a partition while it has no members, and lets it catch up again; returns how many records
/// were to be read then.
pub async fn rewind(live: &Live, partition: i32, offset: i64) -> Result<i64> {
    let lag = without_processors(live, async || {
        let mut kafka = live.kafka().await?;
        kafka.rewind(partition, offset).await?;
        kafka.lag().await
    });
    let lag = lag.await?;
    live.namespace.say(format!("replayed {lag} records"));
    Ok(lag)
}

/// Does something while the group has no members, and lets the processors come back and catch up.
pub async fn without_processors<T>(live: &Live, task: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let processors = live.pods(Component::Processor).await?.len();
    live.patch(json!({"spec": {"processor": {"replicas": 0}}})).await?;
    let empty = eventually("the group has no members", PATIENCE, async || {
        let facts = live.kafka().await?.facts().await?;
        Ok((facts.group.is_some_and(|group| group.members == 0)).then_some(()))
    });
    empty.await?;
    let done = task().await?;
    live.patch(json!({"spec": {"processor": {"replicas": processors}}})).await?;
    live.await_ready(PATIENCE).await?;
    live.await_caught_up(PATIENCE).await?;
    Ok(done)
}
