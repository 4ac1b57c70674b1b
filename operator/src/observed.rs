//! What there is: the pipeline's objects, and what the stores say of themselves. `observe` fills it in; all else reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Resource, ResourceExt};
use millrace_api::crd::status::{StreamingPipelineStatus, TableStatus, TopicStatus};
use millrace_api::names::Component;
use millrace_api::pods::{address, ordinal};
use millrace_api::ports::{CASSANDRA_CQL, KAFKA, ZOOKEEPER_CLIENT};
use millrace_api::quantity::Quantity;
use millrace_api::{Pipeline, StreamingPipeline};

use crate::labels::{COMPONENT_LABEL, RACK_LABEL, accepted_losses, approved_plan, holds_disruptions, requested_replay};
use crate::ledger::Writes;
use crate::looks::Looks;
use millrace_stores::cassandra::{CassandraFacts, NodeKey};
use millrace_stores::discover::Unreached;
use millrace_stores::kafka::{KafkaFacts, Span};
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::ZooKeeperFacts;
use millrace_terms::{CanaryReport, SourceState, Work};

/// What there is.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When it was read.
    pub now: DateTime<Utc>,
    /// What the resource says of earlier passes.
    pub remembered: Remembered,
    /// The pipeline's objects.
    pub children: Children,
    /// What the stores say.
    pub stores: Stores,
    /// What this process wrote last of each object.
    pub writes: Writes,
    /// What this process saw of the load in the last minutes.
    pub looks: Looks,
    /// Where the processors stand in each partition of a topic that is to be read again, or why that is unknown. Absent: no
    /// topic is.
    pub spans: Option<Result<BTreeMap<i32, Span>, String>>,
}

/// What the resource says of earlier passes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// What the pass before reported.
    pub status: StreamingPipelineStatus,
    /// Ids of the losses that people accept.
    pub accepted: BTreeSet<String>,
    /// Whether people hold what disturbs a store.
    pub holds_disruptions: bool,
    /// Hash of the plan that people approve.
    pub approved_plan: Option<String>,
    /// The replay that people ask for, as they wrote it.
    pub replay: Option<String>,
}

impl Remembered {
    /// Reads what a resource says of earlier passes.
    pub fn of(resource: &StreamingPipeline) -> Self {
        Self {
            status: resource.status.clone().unwrap_or_default(),
            accepted: accepted_losses(resource),
            holds_disruptions: holds_disruptions(resource),
            approved_plan: approved_plan(resource),
            replay: requested_replay(resource),
        }
    }

    /// Returns the tables as they were.
    pub fn tables(&self) -> &[TableStatus] {
        self.status.cassandra.as_ref().map_or(&[], |cassandra| &cassandra.tables)
    }

    /// Returns a table as it was.
    pub fn table(&self, name: &str) -> Option<&TableStatus> {
        self.tables().iter().find(|table| table.name == name)
    }

    /// Returns a topic as it was.
    pub fn topic(&self, name: &str) -> Option<&TopicStatus> {
        self.status.kafka.as_ref()?.topics.iter().find(|topic| topic.name == name)
    }
}

/// The pipeline's objects, by name.
#[derive(Clone, Debug, Default)]
#[allow(
    missing_docs,
    reason = "each field is the kind of that name; warnings are read only while pods are missing, claims are those \
              with the label that StatefulSets give them, and volumes all claims of the stores: `None` where they cannot \
              be listed"
)]
pub struct Children {
    pub service_accounts: BTreeMap<String, ServiceAccount>,
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub services: BTreeMap<String, Service>,
    pub network_policies: BTreeMap<String, NetworkPolicy>,
    pub disruption_budgets: BTreeMap<String, PodDisruptionBudget>,
    pub stateful_sets: BTreeMap<String, StatefulSet>,
    pub deployments: BTreeMap<String, Deployment>,
    pub pods: BTreeMap<String, Pod>,
    pub warnings: Vec<Warning>,
    pub claims: Vec<String>,
    pub volumes: Option<BTreeMap<String, Claim>>,
    /// Runs with an attempt that has not ended; looked for only where the pipeline is to be suspended.
    pub runs: BTreeSet<String>,
}

/// A claim of a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// UID.
    pub uid: String,
    /// The version that was read.
    pub resource_version: String,
    /// StorageClass that it asks for.
    pub class: Option<String>,
    /// Amount of storage that it asks for.
    pub size: Option<String>,
    /// Whose store's, as its label says.
    pub component: Option<String>,
    /// The rack of the Cassandra node that it is of.
    pub rack: Option<String>,
    /// Whether it has never had a volume.
    pub is_unbound: bool,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// Whether it belongs to a StatefulSet, and goes with it.
    pub is_owned: bool,
    /// Whether its ZooKeeper server has left the ensemble.
    pub has_left: bool,
    /// How its growth stands.
    pub growth: Growth,
}

/// How the growth of a claim stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Growth {
    /// Amount of storage that the claim has. Absent: none yet.
    pub capacity: Option<String>,
    /// What Kubernetes says of a growth that is under way. Absent: nothing.
    pub waits: Option<String>,
    /// Since when only the file system is left to grow, which some drivers let it do at the start of a pod. Absent: it is
    /// not awaited.
    pub file_system_since: Option<DateTime<Utc>>,
    /// Whether the API server would take the size that the pipeline asks for, or what it says instead. Absent: it was not
    /// asked.
    pub answer: Option<Result<(), String>>,
}

impl Claim {
    /// Returns what a claim that has grown on paper has so far, and what it waits for. `None`: it has all that it asks for.
    pub fn shortfall(&self) -> Option<String> {
        let (size, capacity) = (self.size.as_deref()?, self.growth.capacity.as_deref()?);
        let is_short = capacity.parse::<Quantity>().ok()? < size.parse::<Quantity>().ok()?;
        let waits = self.growth.waits.as_deref().unwrap_or("Kubernetes has not started to resize the volume");
        is_short.then(|| format!("has {capacity} of {size}: {waits}"))
    }

    fn is_smaller_than(&self, wanted: Quantity) -> bool {
        self.size.as_ref().and_then(|size| size.parse().ok()).is_some_and(|size: Quantity| size < wanted)
    }
}

/// A warning that Kubernetes gave about an object of the pipeline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// Kind of the object.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID. Absent: the warning does not tell, and is about whatever has the name.
    pub uid: Option<String>,
    /// What happened, in one word.
    pub reason: String,
    /// What happened, in a sentence.
    pub message: String,
    /// When it happened last.
    pub last: DateTime<Utc>,
}

impl Children {
    /// Returns the pods of a component that are not being deleted.
    pub fn pods_of(&self, component: Component) -> impl Iterator<Item = &Pod> {
        self.all_pods_of(component).filter(|pod| pod.meta().deletion_timestamp.is_none())
    }

    /// Returns all pods of a component, those that are being deleted included.
    pub fn all_pods_of(&self, component: Component) -> impl Iterator<Item = &Pod> {
        self.of_component(&self.pods, component)
    }

    /// Returns whether a component has exactly this many pods, and none that is being deleted.
    pub fn has_pods(&self, component: Component, count: u32) -> bool {
        let is_kept = |pod: &Pod| pod.meta().deletion_timestamp.is_none();
        self.all_pods_of(component).count() == count as usize && self.all_pods_of(component).all(is_kept)
    }

    /// Returns the pods of a StatefulSet, those that are being deleted included.
    pub fn pods_of_set(&self, stateful_set: &str) -> impl Iterator<Item = &Pod> {
        self.pods
            .values()
            .filter(move |pod| pod.name_any().rsplit_once('-').is_some_and(|(set, _)| set == stateful_set))
    }

    /// Returns the claims of a StatefulSet's members, in the order of their ordinals.
    pub fn claims_of(&self, stateful_set: &StatefulSet) -> Vec<(&str, &Claim)> {
        let prefix = format!("data-{}-", stateful_set.name_any());
        let members = stateful_set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0).unsigned_abs();
        let numbered = self.volumes.iter().flatten().filter_map(|(name, claim)| {
            let ordinal: u32 = name.strip_prefix(prefix.as_str())?.parse().ok()?;
            (ordinal < members).then_some((ordinal, name.as_str(), claim))
        });
        let mut numbered: Vec<(u32, &str, &Claim)> = numbered.collect();
        numbered.sort_by_key(|(ordinal, ..)| *ordinal);
        numbered.into_iter().map(|(_, name, claim)| (name, claim)).collect()
    }

    /// Returns the first claim of a StatefulSet's members that is smaller than wanted. `None`: none is, as far as is known.
    pub fn next_to_grow(&self, stateful_set: &StatefulSet, wanted: Quantity) -> Option<(&str, &Claim)> {
        self.claims_of(stateful_set).into_iter().find(|(_, claim)| claim.is_smaller_than(wanted))
    }

    /// Returns whether a StatefulSet has begun: it is there, or its pods are, because it is being made anew.
    pub fn has_begun(&self, stateful_set: &str) -> bool {
        self.stateful_sets.contains_key(stateful_set) || self.released(stateful_set).next().is_some()
    }

    /// Returns how many members a StatefulSet was given. Of one that is being made anew its pods tell: with fewer members
    /// than before it would delete those that are too many.
    pub fn given(&self, stateful_set: &str) -> u32 {
        match self.stateful_sets.get(stateful_set) {
            Some(found) => found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0).unsigned_abs(),
            None => self.released(stateful_set).filter_map(|pod| Some(ordinal(pod)? + 1)).max().unwrap_or(0),
        }
    }

    /// Returns how many members the StatefulSets of a component that are there were given.
    pub fn given_to(&self, component: Component) -> u32 {
        self.of_component(&self.stateful_sets, component).map(|set| self.given(&set.name_any())).sum()
    }

    /// Returns the pods that a StatefulSet has left behind for the next one of its name. Those of one that was deleted with
    /// its pods still have it for an owner, and are on their way out.
    fn released(&self, stateful_set: &str) -> impl Iterator<Item = &Pod> {
        self.pods_of_set(stateful_set)
            .filter(|pod| pod.owner_references().is_empty() && pod.metadata.deletion_timestamp.is_none())
    }

    /// Returns the objects of a component among those of a kind.
    pub fn of_component<'a, K: Resource>(
        &self,
        objects: &'a BTreeMap<String, K>,
        component: Component,
    ) -> impl Iterator<Item = &'a K> + use<'a, K> {
        objects
            .values()
            .filter(move |object| object.labels().get(COMPONENT_LABEL).is_some_and(|label| label == component.as_str()))
    }

    /// Returns how the ZooKeeper servers are reached, by ordinal.
    pub fn servers(&self) -> Reach<u32> {
        Reach::of_pods(&addresses(self, Component::ZooKeeper), ZOOKEEPER_CLIENT)
    }

    /// Returns how the brokers are reached, by ordinal.
    pub fn brokers(&self) -> Reach<u32> {
        Reach::of_pods(&addresses(self, Component::Kafka), KAFKA)
    }

    /// Returns how the Cassandra nodes are reached, by rack and ordinal.
    pub fn nodes(&self) -> Reach<NodeKey> {
        Reach::of_pods(&node_addresses(self), CASSANDRA_CQL)
    }
}

/// What the stores and the producers say of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Stores {
    /// The ensemble.
    pub zookeeper: ZooKeeperFacts,
    /// The brokers and topics, or why they could not be asked.
    pub kafka: Result<KafkaFacts, String>,
    /// The ring and the schema.
    pub cassandra: CassandraFacts,
    /// How the sources are doing; those of producers that do not answer are left out.
    pub sources: Vec<SourceState>,
    /// What the processors have done, by pod; those that do not answer are left out. Empty: their number does not follow the
    /// load.
    pub processors: BTreeMap<String, Work>,
    /// What the producers have done for clients that push, in the same way.
    pub producers: BTreeMap<String, Work>,
    /// How the canaries are doing, by pod; those of processors that do not answer are left out. Empty: there are none.
    pub canaries: BTreeMap<String, CanaryReport>,
    /// How stores are reached that someone else runs.
    pub outside: Outside,
}

impl Stores {
    /// Returns how a pipeline's brokers are reached, by id.
    pub fn brokers(&self, pipeline: &Pipeline, children: &Children) -> Reach<u32> {
        match pipeline.manages(Component::Kafka) {
            true => children.brokers(),
            false => self.outside.brokers.clone(),
        }
    }

    /// Returns how a pipeline's Cassandra nodes are reached.
    pub fn nodes(&self, pipeline: &Pipeline, children: &Children) -> Reach<NodeKey> {
        match pipeline.manages(Component::Cassandra) {
            true => children.nodes(),
            false => self.outside.nodes.clone(),
        }
    }
}

/// How stores are reached that someone else runs. Empty: the operator runs all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outside {
    /// The brokers that may be asked, by id.
    pub brokers: Reach<u32>,
    /// The nodes that may be asked.
    pub nodes: Reach<NodeKey>,
    /// Why a store, or a member of it, is not asked.
    pub left_out: BTreeMap<Component, Unreached>,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            zookeeper: ZooKeeperFacts::default(),
            kafka: Err("not asked".to_owned()),
            cassandra: CassandraFacts::default(),
            sources: Vec::new(),
            processors: BTreeMap::new(),
            producers: BTreeMap::new(),
            outside: Outside::default(),
            canaries: BTreeMap::new(),
        }
    }
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            now: DateTime::UNIX_EPOCH,
            remembered: Remembered::default(),
            children: Children::default(),
            stores: Stores::default(),
            writes: Writes::new(),
            looks: Looks::default(),
            spans: None,
        }
    }
}

impl Observed {
    /// Returns the addresses of a component's pods by ordinal; pods without an address are left out.
    pub fn addresses(&self, component: Component) -> BTreeMap<u32, IpAddr> {
        addresses(&self.children, component)
    }
}

/// Returns the addresses of a component's pods by ordinal; pods without an address are left out.
fn addresses(children: &Children, component: Component) -> BTreeMap<u32, IpAddr> {
    children.pods_of(component).filter_map(|pod| Some((ordinal(pod)?, address(pod)?))).collect()
}

/// Returns the addresses of the Cassandra pods by rack and ordinal.
pub fn node_addresses(children: &Children) -> BTreeMap<NodeKey, IpAddr> {
    let key = |pod: &Pod| Some((pod.labels().get(RACK_LABEL)?.clone(), ordinal(pod)?));
    children.pods_of(Component::Cassandra).filter_map(|pod| Some((key(pod)?, address(pod)?))).collect()
}
