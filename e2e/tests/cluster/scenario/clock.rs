//! Two processors of different hours write the same rows, one after the other: what Kafka has last must be in the table,
//! whatever time of day each of them thinks that it is.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use millrace_e2e::Live;
use millrace_e2e::clock::WrongClock;
use uuid::Uuid;

use super::replay::{people, without_processors};

/// Rows that are written twice.
const ROWS: usize = 200;
/// The partition that they come from.
const PARTITION: i32 = 0;
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets rows be written twice: first by a processor that is so many hours ahead and then by those whose clock is right;
/// with negative hours, first by these and then by one that is behind. Returns how many rows kept what came first.
pub async fn rows_that_kept_the_first(live: &Live, hours: i32) -> Result<usize> {
    let ids: Vec<Uuid> = (0..ROWS).map(|_| Uuid::new_v4()).collect();
    let (first, second) = (people(&ids, "first", "first"), people(&ids, "second", "second"));
    if hours > 0 {
        by_wrong_clock(live, hours, &first).await?;
        by_right_clocks(live, &second).await?;
    } else {
        by_right_clocks(live, &first).await?;
        by_wrong_clock(live, hours, &second).await?;
    }
    let mut rows = live.table().await?.stamps().await?;
    rows.retain(|id, _| ids.contains(id));
    ensure!(rows.len() == ROWS, "{} of {ROWS} rows are there", rows.len());
    Ok(rows.values().filter(|cells| cells.iter().any(|(name, _)| name.as_deref() != Some("second"))).count())
}

async fn by_right_clocks(live: &Live, records: &[(Bytes, Bytes)]) -> Result<()> {
    live.kafka().await?.produce(PARTITION, records).await?;
    live.await_caught_up(PATIENCE).await.map(|_| ())
}

async fn by_wrong_clock(live: &Live, hours: i32, records: &[(Bytes, Bytes)]) -> Result<()> {
    without_processors(live, async || {
        let processor = WrongClock::start(live, hours).await?;
        let written = async {
            live.kafka().await?.produce(PARTITION, records).await?;
            processor.writes().await?;
            live.await_caught_up(PATIENCE).await
        }
        .await;
        // In any case: nobody else would.
        processor.stop().await?;
        written.map(|_| ())
    })
    .await
}
