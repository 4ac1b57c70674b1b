//! Topics: those that are declared, and those that a pipeline needs for itself.

use super::Parse;
use crate::crd;
use crate::names::KafkaPrefix;
use crate::pipeline::{Factor, Processor, Topic, default_replication_factor};

impl Parse {
    pub(super) fn topic(&mut self, index: usize, written: &crd::Topic, brokers: u32) -> Topic {
        let crd::Topic { name, partitions, replication_factor, min_in_sync_replicas, config } = written;
        let path = format!("spec.kafka.topics[{index}]");
        let replication_factor = match replication_factor {
            Some(written) => Factor::Written(self.count(&format!("{path}.replicationFactor"), *written)),
            None => Factor::Default(default_replication_factor(brokers)),
        };
        let min_in_sync_replicas =
            min_in_sync_replicas.map(|written| self.count(&format!("{path}.minInSyncReplicas"), written));
        let copies = replication_factor.of_new();
        if let Some(in_sync) = min_in_sync_replicas.filter(|in_sync| *in_sync >= copies && copies > 1) {
            self.reject(
                format!("{path}.minInSyncReplicas"),
                format!(
                    "{in_sync} is not below the replication factor {copies}, so one failed broker would stop all \
                     writes; lower it"
                ),
            );
        }
        Topic {
            name: name.clone(),
            partitions: self.count(&format!("{path}.partitions"), *partitions),
            replication_factor,
            min_in_sync_replicas,
            config: config.clone(),
        }
    }
}

/// A topic that a pipeline has although it is not declared.
pub(super) struct OwnTopic {
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) config: &'static [(&'static str, &'static str)],
}

/// Returns the topics that the pipeline needs for itself.
pub(super) fn own_topics(producer: &crd::Producer, processor: &Processor, prefix: &KafkaPrefix) -> Vec<OwnTopic> {
    let mut topics = vec![OwnTopic {
        name: processor.dead_letter_topic.clone(),
        partitions: 1,
        // Kept for ever, since nothing may be lost.
        config: &[("retention.ms", "-1")],
    }];
    let has_since = |source: &crd::Source| source.http.as_ref().is_some_and(|http| http.since.is_some());
    if producer.sources.iter().any(|source| source.files.is_some() || has_since(source)) {
        topics.push(OwnTopic {
            name: prefix.cursors_topic(),
            // Read in order.
            partitions: 1,
            // The latest of each key is kept, and the rest goes soon: a start reads the whole topic.
            config: &[("cleanup.policy", "compact"), ("segment.bytes", "16777216")],
        });
    }
    if processor.canary.is_some() {
        topics.push(OwnTopic {
            name: prefix.canary_topic(),
            // Records go to each in turn. Not one for each broker: Kafka takes none away when a broker leaves.
            partitions: CANARY_PARTITIONS,
            config: &[("retention.ms", "3600000"), ("segment.ms", "3600000")],
        });
    }
    topics
}

/// As many as a topic has copies by default, so that each of three brokers leads one.
const CANARY_PARTITIONS: u32 = 3;

/// Returns a topic of the pipeline's own as the model has it.
pub(super) fn own_topic(own: OwnTopic, brokers: u32) -> Topic {
    let OwnTopic { name, partitions, config } = own;
    Topic {
        name,
        partitions,
        replication_factor: Factor::Default(default_replication_factor(brokers)),
        min_in_sync_replicas: None,
        config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}
