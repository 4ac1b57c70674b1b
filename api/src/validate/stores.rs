//! Parses the stores: ZooKeeper, Kafka and Cassandra.

use std::collections::BTreeMap;

use millrace_terms::{Bytes, CANARY_KEY, CANARY_TABLE, canary_columns};
use serde::Serialize;

use super::Parse;
use super::members::{Defaults, MEBIBYTE};
use super::topics::{OwnTopic, own_topic};
use crate::crd;
use crate::names::{Component, KafkaPrefix};
use crate::pipeline::{Cassandra, Factor, Kafka, Member, Rack, Table, Topic, ZooKeeper, default_replication_factor};

/// A quiet ensemble; heap of half of it.
const ZOOKEEPER: Defaults = Defaults { cpu: "50m", memory: 512 * MEBIBYTE };
/// Heap of half of it; the rest is page cache and thread stacks.
const KAFKA: Defaults = Defaults { cpu: "100m", memory: 1024 * MEBIBYTE };
/// Heap of half of it; the rest is off-heap memtables, caches and page cache.
const CASSANDRA: Defaults = Defaults { cpu: "250m", memory: 2048 * MEBIBYTE };

/// Of replicas that move: not half of what a link of 1 Gbit/s carries, so that clients keep the rest.
const DEFAULT_BYTES_PER_SECOND: Bytes = Bytes(50 * MEBIBYTE);

impl Parse {
    /// Parses the ensemble; absent where someone else runs Kafka, as admission has seen to.
    pub(super) fn zookeeper(&mut self, written: Option<&crd::ZooKeeper>) -> ZooKeeper {
        let Some(written) = written else { return ZooKeeper { replicas: 0, member: Member::none() } };
        let crd::ZooKeeper { version, image, replicas, storage, resources, pod_template, jvm_options, config } =
            written;
        let image = image.clone().unwrap_or_else(|| format!("zookeeper:{version}"));
        ZooKeeper {
            replicas: self.count("spec.zookeeper.replicas", *replicas),
            member: Member {
                image,
                storage: self.storage("spec.zookeeper.storage", storage),
                resources: self.resources("spec.zookeeper.resources", resources, &ZOOKEEPER),
                config: config.clone(),
                jvm_options: self.jvm_options(Component::ZooKeeper, jvm_options),
                pods: self.pods(Component::ZooKeeper, pod_template.as_ref()),
                inputs: inputs(written, &["storage"]),
            },
        }
    }

    pub(super) fn kafka(&mut self, written: &crd::Kafka, prefix: KafkaPrefix, own: Vec<OwnTopic>) -> Kafka {
        let crd::Kafka {
            external,
            version,
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
            topics,
        } = written;
        let brokers = self.members("spec.kafka.replicas", external.is_some(), *replicas);
        let mut topics: Vec<Topic> =
            topics.iter().enumerate().map(|(index, topic)| self.topic(index, topic, brokers)).collect();
        for own in own {
            if topics.iter().all(|topic| topic.name != own.name) {
                topics.push(own_topic(own, brokers));
            }
        }
        let placement = self.kafka_placement(written);
        if placement.external().is_some() {
            return Kafka {
                placement,
                prefix,
                replicas: 0,
                member: Member::none(),
                access_from: Vec::new(),
                service_annotations: BTreeMap::new(),
                bytes_per_second: DEFAULT_BYTES_PER_SECOND,
                topics,
            };
        }
        Kafka {
            placement,
            prefix,
            replicas: brokers,
            member: Member {
                image: image.clone().unwrap_or_else(|| format!("apache/kafka:{version}")),
                storage: self.volume("spec.kafka.storage", storage.as_ref()),
                resources: self.resources("spec.kafka.resources", resources, &KAFKA),
                config: config.clone(),
                jvm_options: self.jvm_options(Component::Kafka, jvm_options),
                pods: self.pods(Component::Kafka, pod_template.as_ref()),
                inputs: inputs(written, &["storage", "topics", "access", "service", "reassignment", "replicas"]),
            },
            access_from: self.access(Component::Kafka, access.as_ref()),
            service_annotations: service.clone().unwrap_or_default().annotations,
            bytes_per_second: self.bytes_per_second(reassignment.as_ref()),
            topics,
        }
    }

    fn bytes_per_second(&mut self, written: Option<&crd::Reassignment>) -> Bytes {
        match written {
            Some(crd::Reassignment { bytes_per_second: Some(amount) }) => {
                self.bytes("spec.kafka.reassignment.bytesPerSecond", amount)
            }
            Some(crd::Reassignment { bytes_per_second: None }) | None => DEFAULT_BYTES_PER_SECOND,
        }
    }

    pub(super) fn cassandra(&mut self, written: &crd::Cassandra, has_canary: bool) -> Cassandra {
        let crd::Cassandra {
            external: _,
            version,
            image,
            datacenter,
            racks,
            storage,
            resources,
            pod_template,
            access,
            jvm_options,
            config,
            keyspace,
            types,
            tables,
        } = written;
        let racks: Vec<Rack> = racks
            .iter()
            .enumerate()
            .map(|(index, rack)| Rack {
                name: rack.name.clone(),
                replicas: self.count(&format!("spec.cassandra.racks[{index}].replicas"), rack.replicas),
            })
            .collect();
        let nodes = racks.iter().map(|rack| rack.replicas).sum();
        let replication_factor = match keyspace.replication_factor {
            Some(written) => Factor::Written(self.count("spec.cassandra.keyspace.replicationFactor", written)),
            None => Factor::Default(default_replication_factor(nodes)),
        };
        let types = self.types(types);
        let mut inputs = inputs(written, &["storage", "access", "keyspace", "types", "tables"]);
        // Of the racks, every node knows the first one's name.
        inputs["racks"] = serde_json::json!(racks.iter().map(|rack| &rack.name).min());
        let tables = tables.iter().enumerate().map(|(index, table)| self.table(index, table, &types));
        let tables = tables.chain(has_canary.then(canary_table)).collect();
        let placement = self.cassandra_placement(written);
        if placement.external().is_some() {
            return Cassandra {
                placement,
                version: version.clone(),
                datacenter: datacenter.clone(),
                racks: Vec::new(),
                member: Member::none(),
                access_from: Vec::new(),
                keyspace: keyspace.name.clone(),
                replication_factor,
                types,
                tables,
            };
        }
        Cassandra {
            placement,
            version: version.clone(),
            datacenter: datacenter.clone(),
            racks,
            member: Member {
                image: image.clone().unwrap_or_else(|| format!("cassandra:{version}")),
                storage: self.volume("spec.cassandra.storage", storage.as_ref()),
                resources: self.resources("spec.cassandra.resources", resources, &CASSANDRA),
                config: config.clone(),
                jvm_options: self.jvm_options(Component::Cassandra, jvm_options),
                pods: self.pods(Component::Cassandra, pod_template.as_ref()),
                inputs,
            },
            access_from: self.access(Component::Cassandra, access.as_ref()),
            keyspace: keyspace.name.clone(),
            replication_factor,
            types,
            tables,
        }
    }
}

/// Returns the table of the canary's rows. A row is read at once, and gone after an hour.
fn canary_table() -> Table {
    Table {
        name: CANARY_TABLE.to_owned(),
        columns: canary_columns(),
        partition_key: vec![CANARY_KEY.to_owned()],
        clustering_key: Vec::new(),
        ttl_seconds: 3600,
    }
}

/// Returns what the user wrote of a store, but for fields that no template of its pods follows.
fn inputs(written: &impl Serialize, beside: &[&str]) -> serde_json::Value {
    let mut inputs = serde_json::to_value(written).expect("resources serialise");
    if let Some(fields) = inputs.as_object_mut() {
        fields.retain(|field, _| !beside.contains(&field.as_str()));
    }
    inputs
}
