//! Parses stores that someone else runs, and refuses what only stores of the pipeline's own have.

use super::Parse;
use crate::address::HostPort;
use crate::crd::{self, Changes};
use crate::names::KafkaPrefix;
use crate::pipeline::{External, Placement, Storage};

impl Parse {
    /// Judges what more than one part of a pipeline has to do with external stores.
    pub(super) fn external(&mut self, spec: &crd::StreamingPipelineSpec, prefix: &KafkaPrefix) {
        let crd::StreamingPipelineSpec { zookeeper, kafka, cassandra, producer, processor, .. } = spec;
        if zookeeper.is_some() == kafka.external.is_some() {
            self.reject("spec.zookeeper", "it is for a Kafka that is not external; add or remove it");
        }
        if processor.canary.is_some() && (kafka.external.is_some() || cassandra.external.is_some()) {
            self.reject(
                "spec.processor.canary",
                "canary records are not sent to external stores in this version; remove it",
            );
        }
        if kafka.external.is_none() {
            return;
        }
        // Admission knows the names of these topics only in a Kafka of the pipeline's own.
        let letters = prefix.dead_letter_topic();
        let is_used = processor.queries.iter().any(|query| query.from == letters)
            || producer.sources.iter().any(|source| source.topic == letters);
        if processor.dead_letter.is_none() && is_used {
            self.reject(
                "spec.processor.deadLetter",
                format!(
                    "'{letters}' is the dead-letter topic, which no query may read and no source may fill; use another \
                     topic or set spec.processor.deadLetter.topic"
                ),
            );
        }
        let cursors = prefix.cursors_topic();
        let takes_letters = processor.dead_letter.as_ref().is_some_and(|letters| letters.topic == cursors);
        if takes_letters || kafka.topics.iter().any(|topic| topic.name == cursors) {
            self.reject(
                "spec.kafka.topics",
                format!("'{cursors}' is the topic in which the operator keeps how far sources are read; use another"),
            );
        }
    }

    /// Parses who runs Kafka.
    pub(super) fn kafka_placement(&mut self, written: &crd::Kafka) -> Placement {
        let crd::Kafka {
            external,
            // Has a default in the schema, and so is always there.
            version: _,
            image,
            metadata_manager: crd::MetadataManager::ZooKeeper,
            replicas,
            storage,
            resources,
            pod_template,
            access,
            service,
            reassignment,
            jvm_options,
            config,
            topics: _,
        } = written;
        let Some(crd::ExternalKafka { bootstrap_servers, changes, prefix }) = external else {
            return Placement::Managed;
        };
        self.refuse_own(
            "spec.kafka",
            &[
                ("image", image.is_some()),
                ("replicas", replicas.is_some()),
                ("storage", storage.is_some()),
                ("resources", *resources != crd::Resources::default()),
                ("podTemplate", pod_template.is_some()),
                ("access", access.is_some()),
                ("service", service.is_some()),
                ("reassignment", reassignment.is_some()),
                ("jvmOptions", !jvm_options.is_empty()),
                ("config", !config.is_empty()),
            ],
        );
        if let Some(prefix) = prefix {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if prefix.is_empty() || prefix.starts_with("__") || !prefix.bytes().all(fits) {
                self.reject(
                    "spec.kafka.external.prefix",
                    format!(
                        "'{prefix}' cannot begin a topic's name; use letters, digits, '.', '_' and '-', such as users."
                    ),
                );
            }
        }
        let addresses = self.addresses("spec.kafka.external.bootstrapServers", bootstrap_servers);
        Placement::External(External { addresses, changes: *changes })
    }

    /// Parses who runs Cassandra.
    pub(super) fn cassandra_placement(&mut self, written: &crd::Cassandra) -> Placement {
        let crd::Cassandra {
            external,
            // Has a default in the schema, and so is always there.
            version: _,
            image,
            datacenter: _,
            racks,
            storage,
            resources,
            pod_template,
            access,
            jvm_options,
            config,
            keyspace,
            types: _,
            tables: _,
        } = written;
        let Some(crd::ExternalCassandra { contact_points, changes }) = external else {
            return Placement::Managed;
        };
        self.refuse_own(
            "spec.cassandra",
            &[
                ("image", image.is_some()),
                ("racks", !racks.is_empty()),
                ("storage", storage.is_some()),
                ("resources", *resources != crd::Resources::default()),
                ("podTemplate", pod_template.is_some()),
                ("access", access.is_some()),
                ("jvmOptions", !jvm_options.is_empty()),
                ("config", !config.is_empty()),
            ],
        );
        if *changes == Changes::Additions && keyspace.replication_factor.is_none() {
            self.reject(
                "spec.cassandra.keyspace.replicationFactor",
                "the operator cannot know how many copies an external Cassandra is to keep; write the number, or set \
                 spec.cassandra.external.changes to None",
            );
        }
        let addresses = self.addresses("spec.cassandra.external.contactPoints", contact_points);
        Placement::External(External { addresses, changes: *changes })
    }

    /// Parses the number of members; there is none where someone else runs the store.
    pub(super) fn members(&mut self, path: &str, is_external: bool, written: Option<i32>) -> u32 {
        match written {
            Some(written) => self.count(path, written),
            None => {
                if !is_external {
                    self.reject(path, "it is missing; write a count, or external if someone else runs the store");
                }
                0
            }
        }
    }

    /// Parses the volume of a store that the operator runs.
    pub(super) fn volume(&mut self, path: &str, written: Option<&crd::Storage>) -> Storage {
        match written {
            Some(written) => self.storage(path, written),
            None => {
                self.reject(path, "it is missing; write a size, or external if someone else runs the store");
                Storage { size: String::new(), class_name: None }
            }
        }
    }

    fn addresses(&mut self, path: &str, written: &[String]) -> Vec<HostPort> {
        if written.is_empty() {
            self.reject(path, "it is empty; write an address, such as store.example.com:9092");
        }
        let stand_in = || HostPort { host: String::new(), port: 0 };
        written
            .iter()
            .enumerate()
            .map(|(index, text)| self.parse(&format!("{path}[{index}]"), text, stand_in()))
            .collect()
    }

    /// Refuses fields of members, which an external store does not have here.
    fn refuse_own(&mut self, store: &str, fields: &[(&str, bool)]) {
        for (field, is_there) in fields {
            if *is_there {
                self.reject(format!("{store}.{field}"), "someone else runs this store; remove it, or external");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::names::Component;
    use crate::pipeline::{Pipeline, Validated};
    use crate::validate_sources;

    /// Returns the smallest pipeline on stores that someone else runs, with one field of it changed.
    fn validated(pointer: &str, value: Value) -> Validated {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/external-stores.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
        resource["metadata"]["namespace"] = json!("shop");
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        resource.pointer_mut(parent).expect("the parent is there")[field] = value;
        validate_sources(&serde_json::from_value(resource).expect("a pipeline"))
    }

    fn pipeline(pointer: &str, value: Value) -> Pipeline {
        let Validated { pipeline, rejected } = validated(pointer, value);
        assert!(rejected.is_empty(), "{rejected:?}");
        pipeline.expect("it is valid")
    }

    #[test]
    fn stores_that_someone_else_runs_have_no_members_here() {
        let pipeline = pipeline("/metadata/labels", json!({}));
        let managed = Component::ALL.into_iter().filter(|component| pipeline.manages(*component));
        assert_eq!(managed.collect::<Vec<_>>(), [Component::Processor, Component::Producer]);
        assert_eq!((pipeline.zookeeper.replicas, pipeline.kafka.replicas, pipeline.cassandra.nodes()), (0, 0, 0));
        let external = pipeline.kafka.placement.external().expect("it is external");
        assert_eq!(external.addresses[0].to_string(), "kafka.example.com:9092");
    }

    /// Two pipelines of one name in two namespaces would otherwise share a group, and halve each other's records.
    #[rstest]
    #[case(json!(null), "shop.users.")]
    #[case(json!("data.users."), "data.users.")]
    fn names_in_a_shared_kafka_begin_with_the_prefix(#[case] prefix: Value, #[case] begins: &str) {
        let pipeline = pipeline("/spec/kafka/external/prefix", prefix);
        assert_eq!(pipeline.kafka.prefix.consumer_group(), format!("{begins}processor"));
        assert_eq!(pipeline.processor.dead_letter_topic, format!("{begins}dead-letters"));
        // The control: the names in a Kafka of the pipeline's own.
        assert_eq!(pipeline.names.consumer_group(), "users-processor");
    }

    #[rstest]
    #[case("/spec/kafka/image", json!("kafka:1"), "spec.kafka.image")]
    #[case("/spec/kafka/config", json!({"num.partitions": "3"}), "spec.kafka.config")]
    #[case("/spec/kafka/jvmOptions", json!(["-Xss1m"]), "spec.kafka.jvmOptions")]
    #[case("/spec/kafka/access", json!({"from": []}), "spec.kafka.access")]
    #[case("/spec/kafka/resources", json!({"limits": {"memory": "2Gi"}}), "spec.kafka.resources")]
    #[case("/spec/kafka/external/prefix", json!("data users"), "spec.kafka.external.prefix")]
    #[case("/spec/kafka/external/bootstrapServers", json!([]), "spec.kafka.external.bootstrapServers")]
    #[case("/spec/kafka/external/bootstrapServers", json!(["kafka"]), "spec.kafka.external.bootstrapServers[0]")]
    #[case("/spec/cassandra/podTemplate", json!({}), "spec.cassandra.podTemplate")]
    #[case("/spec/cassandra/external/changes", json!("Additions"), "spec.cassandra.keyspace.replicationFactor")]
    #[case("/spec/zookeeper", json!({"replicas": 1, "storage": {"size": "1Gi"}}), "spec.zookeeper")]
    #[case("/spec/processor/canary", json!({"interval": "10s"}), "spec.processor.canary")]
    #[case("/spec/kafka/external", json!(null), "spec.zookeeper")]
    fn what_an_external_store_cannot_have_is_refused_where_it_stands(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] path: &str,
    ) {
        let rejected = validated(pointer, value).rejected;
        assert!(rejected.iter().any(|rejected| rejected.path == path), "{rejected:?}");
    }
}
