//! Reads the cursors topic, from its beginning to the end that it has now.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use millrace_terms::causes::chain_of;
use millrace_terms::{KafkaSettings, PipelineName};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use snafu::{Snafu, ensure};

use super::{Positions, ReadMarks, enter};
use crate::kafka::{Voice, client_config, partitions};

/// Longest that the brokers may take to answer one question.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest that nothing may come before the end is reached.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest wait for one record; also how soon a worker that is told to stop gives up.
const POLL: Duration = Duration::from_millis(200);

/// Why positions cannot be read.
#[derive(Debug, Snafu)]
enum ReadCursors {
    #[snafu(display("cannot ask kafka for the cursors"), context(false))]
    Ask { source: KafkaError },
    #[snafu(display("the cursors topic '{topic}' does not exist yet"))]
    FindTopic { topic: String },
    #[snafu(display("kafka has sent nothing of the cursors topic for {} s", SILENCE.as_secs()))]
    AwaitRecords,
}

/// The cursors topic of a pipeline.
#[derive(Clone, Debug)]
pub struct CursorsTopic {
    config: ClientConfig,
    topic: String,
}

impl CursorsTopic {
    /// Makes the reader; connects when it is asked.
    pub fn new(settings: &KafkaSettings, pipeline: &PipelineName, topic: &str) -> Self {
        let mut config = client_config(settings, pipeline, "cursors");
        // Nothing is ever committed for it; librdkafka wants a group of every consumer.
        config
            .set("group.id", format!("{topic}-reader"))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest");
        Self { config, topic: topic.to_owned() }
    }

    #[expect(clippy::disallowed_methods, reason = "it gives up on a broker that is silent")]
    fn read_all(&self, source: &str) -> Result<Positions, ReadCursors> {
        let consumer: BaseConsumer<Voice> = self.config.create_with_context(Voice)?;
        let topic = &self.topic;
        let mut open = partitions(&consumer, topic, ANSWER)?;
        ensure!(!open.is_empty(), FindTopicSnafu { topic });
        let mut assigned = TopicPartitionList::new();
        for partition in &open {
            assigned.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        consumer.assign(&assigned)?;

        let mut positions = Positions::new();
        let mut heard = Instant::now();
        while !open.is_empty() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    enter(&mut positions, source, message.key(), message.payload());
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                    heard = Instant::now();
                }
                // Brokers come and go; silence is what counts.
                Some(Err(_)) | None => ensure!(heard.elapsed() < SILENCE, AwaitRecordsSnafu),
            }
        }
        Ok(positions)
    }
}

impl ReadMarks for CursorsTopic {
    fn read(&self, source: &str) -> BoxFuture<'static, Result<Positions, String>> {
        let (topic, source) = (self.clone(), source.to_owned());
        async move {
            let read = tokio::task::spawn_blocking(move || topic.read_all(&source)).await;
            read.map_err(|error| error.to_string())?.map_err(|error| chain_of(&error))
        }
        .boxed()
    }
}
