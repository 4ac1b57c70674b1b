//! The producer: idempotent, acknowledged by all in-sync replicas, keyed like the Java client.
//!
//! Retries for five minutes by itself and reports the record then; the road sends it again, for ever. A producer that
//! librdkafka declares dead is replaced, since its records are still ours.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as RawHeader, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use snafu::{ResultExt, Snafu};
use worker_settings::{Bytes, KafkaSettings, PipelineName};

use super::{AwaitBrokerSnafu, PublishRecord, Publisher, Receipt, RefuseRecordSnafu, client_config};
use crate::message::Outgoing;
use crate::sabotage::{Sabotage, Sabotages};

/// Why there is no producer.
#[derive(Debug, Snafu)]
#[snafu(display("cannot make the producer"))]
pub struct MakeProducer {
    source: KafkaError,
}

/// What the client tells besides deliveries.
#[derive(Clone, Debug)]
struct Voice;

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

/// The producer of a worker; clones share it.
#[derive(Clone)]
pub struct KafkaPublisher {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    current: Mutex<FutureProducer<Voice>>,
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
            .set("linger.ms", "5")
            .set("compression.type", "zstd")
            .set("compression.level", "1")
            // The Java client's choice, so that a key is in the same partition whoever writes it.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "300000")
            .set("request.timeout.ms", "15000")
            // The broker has the say about sizes; this client must not refuse a dead letter first.
            .set("message.max.bytes", "2097152")
            .set("queue.buffering.max.kbytes", (buffer_memory.0 / 1024).clamp(1024, 1 << 20).to_string());
        let producer = config.create_with_context(Voice).context(MakeProducerSnafu)?;
        Ok(Self { shared: Arc::new(Shared { config, current: Mutex::new(producer) }) })
    }

    /// Asks the brokers for their metadata and for the topics' existence; blocks up to `timeout` for each question.
    pub fn probe(&self, topics: &[String], timeout: Duration) -> Result<(), String> {
        let producer = self.current();
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

    fn current(&self) -> FutureProducer<Voice> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces a producer that has declared itself unusable.
    fn replace_dead(&self) {
        let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((code, problem)) = current.client().fatal_error() else {
            return;
        };
        tracing::error!(%code, problem, "the producer is unusable and is replaced");
        match self.shared.config.create_with_context(Voice) {
            Ok(producer) => *current = producer,
            Err(error) => tracing::error!(%error, "cannot replace the producer"),
        }
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
        let sent = self.current().send_result::<[u8], [u8]>(message).map_err(|(error, _)| error);
        let topic = record.topic.clone();
        let publisher = self.clone();
        Box::pin(async move {
            let delivered = match sent {
                Ok(delivery) => match delivery.await {
                    Ok(delivered) => delivered.map(|_| ()).map_err(|(error, _)| error),
                    // The producer was replaced meanwhile.
                    Err(_) => Err(KafkaError::Canceled),
                },
                Err(error) => Err(error),
            };
            delivered.or_else(|error| publisher.judge(topic, &error))
        })
    }
}

impl KafkaPublisher {
    /// Tells records that must be sent again from those that must not.
    fn judge(&self, topic: String, error: &KafkaError) -> Result<(), PublishRecord> {
        let problem = error.to_string();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => {
                RefuseRecordSnafu { topic, problem }.fail()
            }
            _ => {
                self.replace_dead();
                AwaitBrokerSnafu { topic, problem }.fail()
            }
        }
    }
}

fn headers(record: &Outgoing) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    record
        .headers
        .iter()
        .fold(empty, |headers, header| headers.insert(RawHeader { key: &header.name, value: header.value.as_deref() }))
}
