//! Sends letters' records back to where they came from, acknowledged in groups before the place is committed.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use serde::Serialize;
use snafu::{ResultExt, Snafu};

use super::reader::{Letters, ReadLetters, Start, read};
use super::{Counts, Letter, LetterDesk};
use crate::kafka::producer::{KafkaPublisher, MakeProducer};
use crate::kafka::{PublishRecord, Publisher};
use crate::sabotage::Sabotages;

/// Letters that are sent before their acknowledgements are awaited.
const GROUP: usize = 500;

/// Why a redrive ends early. What was acknowledged before is done with; the next one goes on from there.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunRedrive {
    #[snafu(display("cannot read the dead letters"), context(false))]
    Read { source: ReadLetters },
    #[snafu(display("cannot make the producer"))]
    Make { source: MakeProducer },
    #[snafu(display("cannot send a record"))]
    Send { source: PublishRecord },
}

/// What a redrive did. Its JSON is what the console reads.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Redriven {
    /// Records sent, or to be sent by a dry run, by the reason of their letters.
    pub sent: Counts,
    /// Letters that were left, by why.
    pub kept: Counts,
}

/// Redrives the letters of one reason, or of all, that no earlier redrive for the same has passed.
pub async fn redrive(
    desk: &LetterDesk,
    reason: Option<&str>,
    again: bool,
    dry_run: bool,
) -> Result<Redriven, RunRedrive> {
    let publisher = KafkaPublisher::new(&desk.kafka, &desk.pipeline, desk.buffer_memory, &Sabotages::default())
        .context(MakeSnafu)?;
    let group = format!("{}-redrive-{}", desk.group, reason.unwrap_or("all"));
    // Letters that have failed again lie behind what earlier redrives have passed.
    let mut letters = read(desk, &if again { Start::Oldest } else { Start::Group(group) })?;
    let mut redriven = Redriven::default();
    loop {
        let group = next_group(&mut letters)?;
        if group.is_empty() {
            return Ok(redriven);
        }
        let mut receipts = Vec::new();
        let mut last = BTreeMap::new();
        for letter in group {
            last.insert(letter.partition, letter.offset);
            if reason.is_some_and(|reason| reason != letter.reason()) {
                continue;
            }
            match letter.record(&desk.ways, again) {
                Ok(record) => {
                    *redriven.sent.entry(letter.reason().to_owned()).or_default() += 1;
                    if !dry_run {
                        receipts.push(publisher.publish(&record));
                    }
                }
                Err(kept) => *redriven.kept.entry(kept.to_string()).or_default() += 1,
            }
        }
        try_join_all(receipts).await.context(SendSnafu)?;
        // All of them once more is no progress of the redrives that go on where the last one ended.
        if !dry_run && !again {
            letters.commit(&last)?;
        }
    }
}

fn next_group(letters: &mut Letters) -> Result<Vec<Letter>, ReadLetters> {
    let mut group = Vec::new();
    while group.len() < GROUP {
        let Some(letter) = letters.next()? else { break };
        group.push(letter);
    }
    Ok(group)
}
