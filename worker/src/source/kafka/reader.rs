//! The consumer behind a Kafka source: where it begins, what it reads, what it commits. Blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_terms::{KafkaSettings, KafkaSourceSettings, PipelineName, StartAt};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use snafu::{Snafu, ensure};

use super::super::{Batch, Fetched, Read, Records, Unreadable};
use crate::cursor::Mark;
use crate::kafka::{Voice, client_config, fetch_ahead, partitions};
use crate::message::{Header, ORIGIN_OFFSET_HEADER, ORIGIN_PARTITION_HEADER, ORIGIN_TOPIC_HEADER};
use crate::text::plain;

/// Longest that the brokers may take to answer one question.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest wait for the first record of a batch; also how soon a worker that is told to stop gives up.
const POLL: Duration = Duration::from_millis(200);

/// Most records of a batch, and most bytes after which no further one is taken in.
const BATCH: (usize, usize) = (500, 256 << 10);

/// How often new partitions are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// Why a topic cannot be read.
#[derive(Debug, Snafu)]
pub(super) enum OpenTopic {
    #[snafu(display("cannot reach the other cluster"), context(false))]
    Ask { source: KafkaError },
    #[snafu(display("the other cluster has no topic '{topic}'"))]
    FindTopic { topic: String },
}

/// What a poll gave.
#[derive(Debug)]
pub(super) enum Polled {
    Records(Batch),
    Nothing,
    /// The cluster does not answer for now; the same reader goes on.
    Unavailable(String),
    /// The positions are no use any more; a new reader asks for them again.
    BeginAgain(String),
}

/// A topic that is being read.
pub(super) struct Reader {
    consumer: BaseConsumer<Voice>,
    topic: String,
    looked: Mutex<Looked>,
}

/// When partitions were last looked for, and which there are.
struct Looked {
    at: Instant,
    partitions: BTreeSet<i32>,
}

impl Reader {
    /// Connects and begins where the group stands; also returns what is missing, in words: records that the cluster
    /// had deleted before they were read.
    #[expect(clippy::disallowed_methods, reason = "the topic's partitions are looked up again after a while")]
    pub(super) fn open(
        settings: &KafkaSourceSettings,
        pipeline: &PipelineName,
        ahead: u64,
    ) -> Result<(Self, Option<String>), OpenTopic> {
        let consumer: BaseConsumer<Voice> = config(settings, pipeline, ahead).create_with_context(Voice)?;
        let topic = &settings.topic;
        let partitions = partitions(&consumer, topic, ANSWER)?;
        ensure!(!partitions.is_empty(), FindTopicSnafu { topic });
        let mut asked = TopicPartitionList::new();
        for partition in &partitions {
            asked.add_partition(topic, *partition);
        }
        let committed = consumer.committed_offsets(asked, ANSWER)?;
        let (mut assigned, mut pinned) = (TopicPartitionList::new(), TopicPartitionList::new());
        let mut missing = Vec::new();
        for partition in &partitions {
            let bounds = consumer.fetch_watermarks(topic, *partition, ANSWER)?;
            let committed = committed.find_partition(topic, *partition).map(|found| found.offset());
            let begin = begin(committed, bounds, settings.start);
            if begin.pin {
                pinned.add_partition_offset(topic, *partition, Offset::Offset(begin.offset))?;
            }
            missing.extend(begin.missing.map(|missing| format!("partition {partition}: {missing}")));
            assigned.add_partition_offset(topic, *partition, Offset::Offset(begin.offset))?;
        }
        if pinned.count() > 0 {
            consumer.commit(&pinned, CommitMode::Sync)?;
        }
        consumer.assign(&assigned)?;
        let looked = Mutex::new(Looked { at: Instant::now(), partitions });
        let missing = (!missing.is_empty()).then(|| format!("topic '{topic}', {}", missing.join("; ")));
        Ok((Self { consumer, topic: topic.clone(), looked }, missing))
    }

    /// Waits a little for records and takes in those that are there.
    pub(super) fn poll(&self) -> Polled {
        if let Err(error) = self.look_for_partitions() {
            return Polled::Unavailable(format!("cannot ask for partitions: {error}"));
        }
        let (mut records, mut positions, mut bytes) = (Vec::new(), BTreeMap::new(), 0);
        let mut wait = POLL;
        while records.len() < BATCH.0 && bytes < BATCH.1 {
            let message = match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => message,
                // What came before the error is not lost: the error comes again.
                Some(Err(_)) if !records.is_empty() => break,
                Some(Err(error)) => return failed(&error),
            };
            wait = Duration::ZERO;
            bytes += message.payload_len();
            positions.insert(message.partition(), message.offset() + 1);
            records.push(read(&message));
        }
        if records.is_empty() {
            return Polled::Nothing;
        }
        let mark = |(partition, next): (i32, i64)| Mark { part: partition.to_string(), position: next.to_string() };
        let marks = positions.into_iter().map(mark).collect();
        Polled::Records(Batch { records: Records::made(records), marks, ..Batch::default() })
    }

    /// Commits positions.
    pub(super) fn commit(&self, marks: &[Mark]) -> Result<(), KafkaError> {
        let mut offsets = TopicPartitionList::new();
        for Mark { part, position } in marks {
            let number = |text: &str| text.parse::<i64>().expect("this file writes numbers");
            let partition = i32::try_from(number(part)).expect("a partition is an i32");
            offsets.add_partition_offset(&self.topic, partition, Offset::Offset(number(position)))?;
        }
        self.consumer.commit(&offsets, CommitMode::Sync)
    }

    /// Takes in partitions that were added. They are read from their beginning: nothing of them is older than the start.
    #[expect(clippy::disallowed_methods, reason = "the topic's partitions are looked up again after a while")]
    fn look_for_partitions(&self) -> Result<(), KafkaError> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK {
            return Ok(());
        }
        looked.at = Instant::now();
        let now = partitions(&self.consumer, &self.topic, ANSWER)?;
        let mut added = TopicPartitionList::new();
        for partition in now.difference(&looked.partitions) {
            added.add_partition_offset(&self.topic, *partition, Offset::Beginning)?;
        }
        if added.count() > 0 {
            self.consumer.incremental_assign(&added)?;
            looked.partitions.extend(now);
        }
        Ok(())
    }
}

/// Where a partition begins.
#[derive(Debug, Eq, PartialEq)]
struct Begin {
    offset: i64,
    /// Whether the group must know at once, or a restart would begin elsewhere.
    pin: bool,
    /// What can never be read, in words.
    missing: Option<String>,
}

/// Decides where a partition begins, from what the group has committed and what the partition holds. Pure.
fn begin(committed: Option<Offset>, (oldest, end): (i64, i64), start: StartAt) -> Begin {
    match committed {
        Some(Offset::Offset(next)) if next < oldest => {
            let missing = format!("the other cluster deleted records {next} to {} before they were read", oldest - 1);
            Begin { offset: oldest, pin: false, missing: Some(missing) }
        }
        Some(Offset::Offset(next)) if next > end => {
            let missing = format!(
                "the group stands at {next}, but the last record is {}; the topic was made anew or cut, and is read from \
                 its beginning",
                end - 1
            );
            Begin { offset: oldest, pin: false, missing: Some(missing) }
        }
        Some(Offset::Offset(next)) => Begin { offset: next, pin: false, missing: None },
        _ => match start {
            StartAt::Earliest => Begin { offset: oldest, pin: false, missing: None },
            StartAt::Latest => Begin { offset: end, pin: true, missing: None },
        },
    }
}

fn failed(error: &KafkaError) -> Polled {
    let problem = error.to_string();
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::Fatal,
        ) => Polled::BeginAgain(problem),
        _ => Polled::Unavailable(problem),
    }
}

fn config(settings: &KafkaSourceSettings, pipeline: &PipelineName, ahead: u64) -> ClientConfig {
    let cluster = KafkaSettings { bootstrap_servers: settings.bootstrap_servers.clone() };
    let mut config = client_config(&cluster, pipeline, "source");
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Never silently elsewhere: a position that is gone is an error, and what is missing is told.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed");
    fetch_ahead(&mut config, (ahead / 1024).clamp(256, 65_536));
    config
}

fn read(message: &BorrowedMessage<'_>) -> Read {
    let headers = vec![
        Header::text(ORIGIN_TOPIC_HEADER, message.topic()),
        Header::text(ORIGIN_PARTITION_HEADER, message.partition().to_string()),
        Header::text(ORIGIN_OFFSET_HEADER, message.offset().to_string()),
    ];
    let Some(payload) = message.payload() else {
        let ends = message.key().map(<[u8]>::to_vec);
        return Err(Unreadable { ends, ..Unreadable::new("it has neither key nor value", &[], headers) });
    };
    let record = plain(payload).and_then(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        Fetched::read(text)
    });
    match record {
        Ok(record) => Ok(Fetched { record, headers }),
        Err(problem) => Err(Unreadable::new(problem, payload, headers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: i64) -> Option<Offset> {
        Some(Offset::Offset(next))
    }

    #[test]
    fn begins_where_the_group_stands_and_tells_what_is_missing() {
        let plain = |offset| Begin { offset, pin: false, missing: None };
        assert_eq!(begin(at(7), (3, 10), StartAt::Latest), plain(7));
        assert_eq!(begin(at(10), (3, 10), StartAt::Earliest), plain(10));
        let deleted = begin(at(1), (3, 10), StartAt::Latest);
        assert_eq!(deleted.missing.as_deref(), Some("the other cluster deleted records 1 to 2 before they were read"));
        assert_eq!(deleted.offset, 3);
        let anew = begin(at(11), (0, 10), StartAt::Latest);
        assert!(anew.offset == 0 && anew.missing.is_some_and(|missing| missing.contains("made anew")));
    }

    #[test]
    fn without_a_position_the_start_counts_and_the_latest_is_pinned() {
        for none in [None, Some(Offset::Invalid)] {
            assert_eq!(begin(none, (3, 10), StartAt::Earliest), Begin { offset: 3, pin: false, missing: None });
            assert_eq!(begin(none, (3, 10), StartAt::Latest), Begin { offset: 10, pin: true, missing: None });
        }
    }
}
