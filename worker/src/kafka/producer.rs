//! The producer: idempotent, acknowledged by all in-sync replicas, keyed like the Java client.
//!
//! librdkafka retries for ever and in order, so a receipt may be open for as long as the brokers are away. What it does
//! report, the road sends again. A producer that librdkafka declares dead is replaced, since its records are still
//! ours. A broker that finds a batch too large refuses all records in it: each goes once more, alone, to tell which.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_terms::{Bytes, KafkaSettings, PipelineName};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header as RawHeader, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use snafu::{ResultExt, Snafu};

use super::{AwaitBrokerSnafu, Placed, PublishRecord, Publisher, Receipt, RefuseRecordSnafu, Voice, client_config};
use crate::message::Outgoing;
use crate::sabotage::{Sabotage, Sabotages};

/// Why there is no producer.
#[derive(Debug, Snafu)]
#[snafu(display("cannot make the producer"))]
pub struct MakeProducer {
    source: KafkaError,
}

/// The producer of a worker; clones share it.
#[derive(Clone)]
pub struct KafkaPublisher {
    shared: Arc<Shared>,
}

struct Shared {
    /// Sends all records, in batches.
    batches: Slot,
    /// Sends what was in a batch that was too large, record by record.
    alone: Slot,
}

/// The place of one producer.
struct Slot {
    config: ClientConfig,
    /// Absent: not needed yet, or dead and not replaced yet.
    current: Mutex<Option<FutureProducer<Voice>>>,
}

impl Slot {
    fn new(config: ClientConfig) -> Self {
        Self { config, current: Mutex::new(None) }
    }

    /// Returns the producer, made if there is none.
    fn producer(&self) -> KafkaResult<FutureProducer<Voice>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*current {
            return Ok(producer.clone());
        }
        let producer = self.config.create_with_context(Voice)?;
        Ok(current.insert(producer).clone())
    }

    /// Drops a producer that has declared itself unusable; what it still has comes back as not acknowledged.
    fn drop_dead(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, problem)) = current.as_ref().and_then(|producer| producer.client().fatal_error()) {
            tracing::error!(%code, problem, "the producer is unusable and is replaced");
            *current = None;
        }
    }

    /// Puts a record in the producer's queue.
    fn send(&self, record: FutureRecord<'_, [u8], [u8]>) -> KafkaResult<DeliveryFuture> {
        self.producer()?.send_result(record).map_err(|(error, _)| error)
    }
}

impl KafkaPublisher {
    /// Makes the producer; does not wait for a broker.
    pub fn new(
        settings: &KafkaSettings,
        pipeline: &PipelineName,
        buffer_memory: Bytes,
        sabotages: &Sabotages,
    ) -> Result<Self, MakeProducer> {
        let mut config = client_config(settings, pipeline, "producer");
        let weak = sabotages.has(Sabotage::WeakAcks);
        config
            .set("enable.idempotence", if weak { "false" } else { "true" })
            .set("acks", if weak { "1" } else { "all" })
            // Records that come together share a request; more of a wait would be added to the age of every single one.
            .set("linger.ms", "1")
            .set("compression.type", "zstd")
            .set("compression.level", "1")
            // The Java client's choice, so that a key is in the same partition with every client.
            .set("partitioner", "murmur2_random")
            // For ever: a record that is given up and sent again would pass those of its key behind it.
            .set("message.timeout.ms", "0")
            .set("request.timeout.ms", "15000")
            // The broker has the say about sizes; this client must not refuse a dead letter first.
            .set("message.max.bytes", "2097152")
            .set("queue.buffering.max.kbytes", (buffer_memory.0 / 1024).clamp(1024, 1 << 20).to_string());
        let mut single = config.clone();
        single.set("batch.num.messages", "1");
        let shared = Shared { batches: Slot::new(config), alone: Slot::new(single) };
        // Made now, so that properties that are refused are refused at the start.
        drop(shared.batches.producer().context(MakeProducerSnafu)?);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks the brokers for their metadata and for the topics' existence; blocks up to `timeout` for each question.
    pub fn probe(&self, topics: &[String], timeout: Duration) -> Result<(), String> {
        self.shared.batches.drop_dead();
        let producer = self.shared.batches.producer().map_err(|error| error.to_string())?;
        for topic in topics {
            let metadata = producer.client().fetch_metadata(Some(topic), timeout).map_err(|error| error.to_string())?;
            let known = metadata.topics().iter().find(|known| known.name() == topic);
            match known {
                Some(known) if known.error().is_none() && !known.partitions().is_empty() => {}
                _ => return Err(format!("topic '{topic}' does not exist yet")),
            }
        }
        Ok(())
    }
}

impl Publisher for KafkaPublisher {
    fn publish(&self, record: &Outgoing) -> Receipt {
        let message = FutureRecord {
            topic: &record.topic,
            partition: None,
            payload: record.payload.as_deref(),
            key: record.key.as_deref(),
            timestamp: None,
            headers: Some(headers(record)),
        };
        let sent = self.shared.batches.send(message);
        let topic = record.topic.clone();
        let publisher = self.clone();
        Box::pin(async move {
            match delivered(sent).await {
                Err(Undelivered { error, message: Some(message) }) if is_too_large(&error) => {
                    publisher.publish_alone(topic, &message).await
                }
                delivered => publisher.judge(topic, delivered),
            }
        })
    }
}

impl KafkaPublisher {
    /// Sends a record that was refused with its batch; only what is refused now is to blame itself.
    async fn publish_alone(&self, topic: String, message: &OwnedMessage) -> Result<Placed, PublishRecord> {
        let record = FutureRecord {
            topic: message.topic(),
            partition: None,
            payload: message.payload(),
            key: message.key(),
            timestamp: None,
            headers: message.headers().cloned(),
        };
        let sent = self.shared.alone.send(record);
        self.judge(topic, delivered(sent).await)
    }

    /// Tells records that must be sent again from those that must not.
    fn judge(&self, topic: String, delivered: Result<Placed, Undelivered>) -> Result<Placed, PublishRecord> {
        let Undelivered { error, message: _ } = match delivered {
            Ok(placed) => return Ok(placed),
            Err(undelivered) => undelivered,
        };
        let problem = error.to_string();
        if is_too_large(&error) || error.rdkafka_error_code() == Some(RDKafkaErrorCode::InvalidRecord) {
            return RefuseRecordSnafu { topic, problem }.fail();
        }
        self.shared.batches.drop_dead();
        self.shared.alone.drop_dead();
        AwaitBrokerSnafu { topic, problem }.fail()
    }
}

/// A record that was not acknowledged.
struct Undelivered {
    error: KafkaError,
    /// Absent: this client did not even take it.
    message: Option<OwnedMessage>,
}

async fn delivered(sent: KafkaResult<DeliveryFuture>) -> Result<Placed, Undelivered> {
    let delivery = sent.map_err(|error| Undelivered { error, message: None })?;
    match delivery.await {
        Ok(Ok(Delivery { partition, offset, .. })) => Ok(Placed { partition, offset }),
        Ok(Err((error, message))) => Err(Undelivered { error, message: Some(message) }),
        // The producer was replaced meanwhile.
        Err(_) => Err(Undelivered { error: KafkaError::Canceled, message: None }),
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

fn headers(record: &Outgoing) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    record
        .headers
        .iter()
        .fold(empty, |headers, header| headers.insert(RawHeader { key: &header.name, value: header.value.as_deref() }))
}
