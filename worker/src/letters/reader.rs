//! Reads the dead-letter topic from a start to the ends that its partitions have now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use snafu::{Snafu, ensure};

use super::{Letter, LetterDesk};
use crate::kafka::{client_config, partitions};
use crate::message::Header;

/// Longest that the brokers may take to answer one question.
const ANSWER: Duration = Duration::from_secs(20);

/// Longest that no letter may come before the end is reached.
const SILENCE: Duration = Duration::from_secs(30);

/// Why the letters cannot be read.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReadLetters {
    #[snafu(display("cannot ask Kafka"), context(false))]
    Ask { source: KafkaError },
    #[snafu(display("the dead-letter topic '{topic}' does not exist"))]
    FindTopic { topic: String },
    #[snafu(display("Kafka has sent no letter for {} s, though some are left", SILENCE.as_secs()))]
    AwaitLetters,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub enum Start {
    /// At the oldest letter.
    Oldest,
    /// Where this group has committed, or at the oldest letter.
    Group(String),
}

/// The letters from a start to the end that the topic had when it was opened.
pub struct Letters {
    consumer: BaseConsumer,
    topic: String,
    /// Ends of the partitions that have letters left.
    ends: Vec<(i32, i64)>,
}

/// Opens the dead-letter topic of a worker's pipeline.
pub fn read(desk: &LetterDesk, start: &Start) -> Result<Letters, ReadLetters> {
    let mut config: ClientConfig = client_config(&desk.kafka, &desk.pipeline, "letters");
    let group = match start {
        Start::Oldest => format!("{}-letters", desk.group),
        Start::Group(group) => group.clone(),
    };
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create()?;
    let topic = desk.topic.clone();
    let partitions = partitions(&consumer, &topic, ANSWER)?;
    ensure!(!partitions.is_empty(), FindTopicSnafu { topic });

    let mut committed = TopicPartitionList::new();
    if let Start::Group(_) = start {
        for partition in &partitions {
            committed.add_partition(&topic, *partition);
        }
        committed = consumer.committed_offsets(committed, ANSWER)?;
    }
    let mut assigned = TopicPartitionList::new();
    let mut ends = Vec::new();
    for partition in partitions {
        let (oldest, end) = consumer.fetch_watermarks(&topic, partition, ANSWER)?;
        let next = match committed.find_partition(&topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => offset.max(oldest),
            _ => oldest,
        };
        if next < end {
            assigned.add_partition_offset(&topic, partition, Offset::Offset(next))?;
            ends.push((partition, end));
        }
    }
    consumer.assign(&assigned)?;
    Ok(Letters { consumer, topic, ends })
}

impl Letters {
    /// Returns the next letter; none once all have been read. Blocks.
    #[expect(clippy::disallowed_methods, reason = "it gives up on a broker that is silent")]
    pub fn next(&mut self) -> Result<Option<Letter>, ReadLetters> {
        let began = Instant::now();
        while !self.ends.is_empty() {
            ensure!(began.elapsed() < SILENCE, AwaitLettersSnafu);
            let Some(polled) = self.consumer.poll(Duration::from_millis(200)) else { continue };
            let Ok(message) = polled else { continue };
            let (partition, offset) = (message.partition(), message.offset());
            let is_past = self.ends.iter().all(|(of, end)| *of != partition || offset >= *end);
            self.ends.retain(|(of, end)| *of != partition || offset + 1 < *end);
            if is_past {
                continue;
            }
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let headers = headers.map(|header| Header::of(header.key, header.value)).collect();
            return Ok(Some(Letter {
                partition,
                offset,
                key: message.key().map(<[u8]>::to_vec),
                payload: message.payload().map(<[u8]>::to_vec),
                headers,
            }));
        }
        Ok(None)
    }

    /// Commits that all letters up to and including `last`, one of each partition, are done with.
    pub fn commit(&self, last: &BTreeMap<i32, i64>) -> Result<(), ReadLetters> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in last {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(offset + 1))?;
        }
        Ok(self.consumer.commit(&list, CommitMode::Sync)?)
    }
}
