//! Reads single records by their place, without a group and without commits: the canary's way out of Kafka.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use millrace_terms::{KafkaSettings, PipelineName};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use snafu::{ResultExt, Snafu};

use super::{Fetch, Placed, Voice, client_config, fetch_ahead};

/// Longest wait for one record; also how late a worker that is told to stop ends.
const LOOK: Duration = Duration::from_secs(1);

/// Longest wait for the next event of the client.
const POLL: Duration = Duration::from_millis(50);

/// What is fetched ahead, in KiB: canary records are small.
const AHEAD: u64 = 64;

/// Why there is no consumer.
#[derive(Debug, Snafu)]
#[snafu(display("cannot make the canary's consumer"))]
pub struct MakeFetch {
    source: KafkaError,
}

/// A consumer that reads single records; clones share it.
#[derive(Clone)]
pub struct KafkaFetch {
    consumer: Arc<BaseConsumer<Voice>>,
}

impl KafkaFetch {
    /// Makes the consumer; does not wait for a broker.
    pub fn new(settings: &KafkaSettings, pipeline: &PipelineName, topic: &str) -> Result<Self, MakeFetch> {
        let mut config = client_config(settings, pipeline, "canary");
        // Nothing is ever committed for it; librdkafka wants a group of every consumer.
        config
            .set("group.id", format!("{topic}-reader"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error");
        fetch_ahead(&mut config, AHEAD);
        let consumer: BaseConsumer<Voice> = config.create_with_context(Voice).context(MakeFetchSnafu)?;
        Ok(Self { consumer: Arc::new(consumer) })
    }
}

impl Fetch for KafkaFetch {
    fn fetch(&self, topic: &str, placed: Placed) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> {
        let (consumer, topic) = (Arc::clone(&self.consumer), topic.to_owned());
        async move {
            let looked = tokio::task::spawn_blocking(move || look(&consumer, &topic, placed)).await;
            looked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

/// Waits a little for a record. Blocks.
#[expect(clippy::disallowed_methods, reason = "it gives up on a broker that is silent")]
fn look(consumer: &BaseConsumer<Voice>, topic: &str, placed: Placed) -> KafkaResult<Option<Vec<u8>>> {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, placed.partition, Offset::Offset(placed.offset))?;
    consumer.assign(&place)?;
    let begun = Instant::now();
    let mut found = None;
    while found.is_none() && begun.elapsed() < LOOK {
        // Brokers come and go: what fails now may succeed with the next look.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        if (message.partition(), message.offset()) == (placed.partition, placed.offset) {
            found = message.payload().map(<[u8]>::to_vec);
        }
    }
    consumer.unassign()?;
    Ok(found)
}
