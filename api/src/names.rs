//! Every name that is derived from a pipeline's own, born in one place.
//!
//! A [`Names`] is made once from namespace and name; nothing else in the project puts such names together.
//! Lengths hold by the admission rule on the pipeline's name (`crd::rules::MAX_PIPELINE_NAME`); a test proves it.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::crd;
use crate::crd::rules::{MAX_PIPELINE_NAME, MAX_RUN_NAME};

/// Longest rack name; the schema bounds it.
pub const MAX_RACK_NAME: usize = 12;

/// A part of a pipeline, as its labels and its conditions name it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Component {
    /// The ZooKeeper ensemble.
    ZooKeeper,
    /// The Kafka brokers.
    Kafka,
    /// The Cassandra nodes.
    Cassandra,
    /// The pods that write tables.
    Processor,
    /// The pods that fetch sources.
    Producer,
    /// The pods of IngestionRuns; no link of the readiness chain.
    Run,
}

impl Component {
    /// All components that a pipeline always has, in the order of the readiness chain.
    pub const ALL: [Self; 5] = [Self::ZooKeeper, Self::Kafka, Self::Cassandra, Self::Processor, Self::Producer];

    /// Returns the value of the component's label, and the stem of its objects' names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ZooKeeper => "zookeeper",
            Self::Kafka => "kafka",
            Self::Cassandra => "cassandra",
            Self::Producer => "producer",
            Self::Processor => "processor",
            Self::Run => "run",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The identity of a pipeline and all names that follow from it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Names {
    namespace: String,
    name: String,
}

impl Names {
    /// Makes the names of the pipeline `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the namespace of the pipeline and of all its objects.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the pipeline's own name.
    pub fn pipeline(&self) -> &str {
        &self.name
    }

    /// Returns the name of what no component owns: the ServiceAccount of all pods, the default-deny NetworkPolicy.
    /// Never the bare name of the pipeline, which other things are called by, the operator's own account among them.
    pub fn shared(&self) -> String {
        format!("{}-pipeline", self.name)
    }

    /// Returns the name of a component's workload (but Cassandra's, which has one per rack), client Service,
    /// ConfigMap, PodDisruptionBudget and NetworkPolicy.
    pub fn component(&self, component: Component) -> String {
        format!("{}-{component}", self.name)
    }

    /// Returns the name of the ConfigMap that says which ZooKeeper servers vote.
    pub fn zookeeper_members(&self) -> String {
        format!("{}-members", self.component(Component::ZooKeeper))
    }

    /// Returns the name of a component's headless Service, which gives each pod a DNS name.
    pub fn nodes_service(&self, component: Component) -> String {
        format!("{}-{component}-nodes", self.name)
    }

    /// Returns the name of a rack's StatefulSet.
    pub fn rack(&self, rack: &str) -> String {
        format!("{}-cassandra-{rack}", self.name)
    }

    /// Returns the DNS name of one pod of a StatefulSet behind a headless Service.
    pub fn pod_host(&self, stateful_set: &str, component: Component, ordinal: u32) -> String {
        format!("{stateful_set}-{ordinal}.{}.{}.svc", self.nodes_service(component), self.namespace)
    }

    /// Returns the DNS name of a component's client Service.
    pub fn service_host(&self, component: Component) -> String {
        format!("{}.{}.svc", self.component(component), self.namespace)
    }

    /// Returns the consumer group of all processors of the pipeline.
    pub fn consumer_group(&self) -> String {
        self.own_kafka().consumer_group()
    }

    /// Returns the name of the Service that records are pushed to.
    pub fn push_service(&self) -> String {
        format!("{}-push", self.name)
    }

    /// Returns the topic in which positions of sources are kept.
    pub fn cursors_topic(&self) -> String {
        self.own_kafka().cursors_topic()
    }

    /// Returns the topic of the canary's records.
    pub fn canary_topic(&self) -> String {
        self.own_kafka().canary_topic()
    }

    /// Returns the consumer group, in another cluster, of a source that names none. Namespaces have no dots, so that no
    /// two sources of one Kubernetes cluster share one.
    pub fn source_group(&self, source: &str) -> String {
        format!("{}.{}.{source}", self.namespace, self.name)
    }

    /// Returns the dead-letter topic of a pipeline that names none.
    pub fn dead_letter_topic(&self) -> String {
        self.own_kafka().dead_letter_topic()
    }

    /// Returns what the pipeline's own names begin with in its Kafka. In one that others use, too, the namespace is part of
    /// it: namespaces have no dots, so that no two pipelines of one Kubernetes cluster share a name.
    pub fn kafka_prefix(&self, kafka: &crd::Kafka) -> KafkaPrefix {
        match &kafka.external {
            None => self.own_kafka(),
            Some(crd::ExternalKafka { prefix: Some(prefix), .. }) => KafkaPrefix(prefix.clone()),
            Some(crd::ExternalKafka { prefix: None, .. }) => KafkaPrefix(format!("{}.{}.", self.namespace, self.name)),
        }
    }

    fn own_kafka(&self) -> KafkaPrefix {
        KafkaPrefix(format!("{}-", self.name))
    }
}

/// What the names begin with that a pipeline has in its Kafka: those of its group, and of the topics that it needs for
/// itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KafkaPrefix(String);

impl KafkaPrefix {
    /// Returns the consumer group of all processors of the pipeline.
    pub fn consumer_group(&self) -> String {
        format!("{}processor", self.0)
    }

    /// Returns the topic in which positions of sources are kept.
    pub fn cursors_topic(&self) -> String {
        format!("{}cursors", self.0)
    }

    /// Returns the topic of the canary's records.
    pub fn canary_topic(&self) -> String {
        format!("{}canary", self.0)
    }

    /// Returns the dead-letter topic of a pipeline that names none.
    pub fn dead_letter_topic(&self) -> String {
        format!("{}dead-letters", self.0)
    }
}

/// Returns the name of the run of a source that is due at a moment: the same each time, so that it cannot be made twice.
///
/// Due times are whole minutes, whose number since the Unix epoch has eight digits until the year 2160.
pub fn scheduled_run(pipeline: &str, source: &str, due: DateTime<Utc>) -> String {
    let minute = format!("{:08}", due.timestamp().div_euclid(60));
    let stem = format!("{pipeline}-{source}");
    let room = MAX_RUN_NAME - 1 - minute.len();
    if stem.len() <= room {
        return format!("{stem}-{minute}");
    }
    // Cut, and told apart by a digest of the whole.
    let digest: String = Sha256::digest(&stem).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let cut = stem[..room - 1 - digest.len()].trim_end_matches('-');
    format!("{cut}-{digest}-{minute}")
}

/// Returns the name of the Job, ConfigMap and pods of an attempt of a run.
pub fn attempt(run: &str, number: u32) -> String {
    format!("{run}-{number}")
}

/// The longest name of a pod's revision label: the StatefulSet's name, a dash and ten characters of hash.
const LONGEST_REVISION_LABEL: usize = MAX_PIPELINE_NAME + "-cassandra-".len() + MAX_RACK_NAME + "-0123456789".len();
const _: () = assert!(LONGEST_REVISION_LABEL <= 63, "a derived name does not fit a label value");

/// An attempt's name is the value of its pods' label `job-name`; there are at most 100 attempts.
const _: () = assert!(MAX_RUN_NAME + "-100".len() <= 63, "an attempt's name does not fit a label value");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scheduled_runs_fit_and_are_of_one_due_time_of_one_source() {
        let due = |minute: i64| DateTime::from_timestamp(minute * 60, 0).expect("a moment");
        assert_eq!(scheduled_run("users", "orders", due(29_400_000)), "users-orders-29400000");
        let long = "s".repeat(40);
        let names = [
            scheduled_run("users", &long, due(29_400_000)),
            scheduled_run(&"p".repeat(28), &long, due(29_400_000)),
            scheduled_run(&"p".repeat(28), &format!("{}t", "s".repeat(39)), due(29_400_000)),
            scheduled_run(&"p".repeat(28), &long, due(29_400_001)),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| name.len() <= MAX_RUN_NAME), "{names:?}");
    }
}
