//! Asks the processors of a pipeline when one of them was done with a record.

use futures::future::join_all;
use millrace_terms::{SETTLED_PATH, SettledAt, SettledQuery};

use crate::cluster::Worker;
use crate::measure::scrape::ask_for;

/// How much earlier than the record itself a time may be: the clocks of two machines. One that is earlier still is that of
/// another record, which had the offset before the topic was made anew.
const CLOCKS_APART: i64 = 60_000;

/// Who was done with a record, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    /// Name of the processor's pod.
    pub processor: String,
    /// In milliseconds since 1970; its rows, or its dead letter, were acknowledged then at the latest.
    pub at: i64,
}

/// Asks all processors at once. `None`: none of them remembers it. `record_time` is in milliseconds since 1970, where known.
pub async fn ask(
    client: &reqwest::Client,
    processors: Vec<Worker>,
    record: &SettledQuery,
    record_time: Option<i64>,
) -> Option<Settled> {
    // Names of topics have nothing that a URL would have to escape.
    let SettledQuery { topic, partition, offset } = record;
    let path = format!("{SETTLED_PATH}?topic={topic}&partition={partition}&offset={offset}");
    let answers = processors.into_iter().map(async |processor| {
        let text = ask_for(client, processor.address, &path).await.ok()?;
        let SettledAt { settled_at } = serde_json::from_str(&text).ok()?;
        Some(Settled { processor: processor.name, at: settled_at? })
    });
    first(join_all(answers).await.into_iter().flatten(), record_time)
}

/// Returns the first of some answers that can be the record's: one that was replayed was settled when it was the first time.
fn first(answers: impl Iterator<Item = Settled>, record_time: Option<i64>) -> Option<Settled> {
    let can_be = |settled: &Settled| record_time.is_none_or(|time| settled.at + CLOCKS_APART >= time);
    answers.filter(can_be).min_by_key(|settled| settled.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(processor: &str, at: i64) -> Settled {
        Settled { processor: processor.to_owned(), at }
    }

    #[test]
    fn the_first_that_can_be_the_record_s_counts() {
        let answers = || [settled("late", 200_000), settled("early", 100_000)].into_iter();
        assert_eq!(first(answers(), None), Some(settled("early", 100_000)));
        assert_eq!(first(answers(), Some(100_005)), Some(settled("early", 100_000)), "clocks differ a little");
        assert_eq!(first(answers(), Some(180_000)), Some(settled("late", 200_000)), "the other is of another topic");
        assert_eq!(first(answers(), Some(900_000)), None);
    }
}
