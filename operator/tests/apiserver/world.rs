//! What is not there beside the API server: kubelet, Kubernetes' controllers and the stores, played.
//!
//! A tick moves everything on by one step, from what there was at its beginning: a pod is made, then runs, then its server
//! serves, then its copies are in sync or its node has joined. So there are all the moments between that a cluster has, the
//! one above all in which a pod is gone and the stores still speak of it as of a member. Between two ticks nothing moves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use millrace_api::names::Component;
use millrace_api::pipeline::Cassandra;
use millrace_api::{Pipeline, StreamingPipeline};
use millrace_operator::act::Act;
use millrace_operator::hands::{Hands, settings_question};
use millrace_operator::labels::{COMPONENT_LABEL, RACK_LABEL};
use millrace_operator::objects::properties::{SERVER_PROPERTIES, parse};
use millrace_operator::observed::{Children, Stores};
use millrace_stores::cassandra::{self, AskCassandra, NodeFacts, NodeKey, SchemaFacts, TableFacts};
use millrace_stores::kafka::{
    self, ANY_REPLICA, AskKafka, BrokerSettings, ConfigChange, GroupFacts, KafkaFacts, LogDirs, OFFSETS_TOPIC,
    PartitionFacts, Position, Reassigned, Setting, SettingsFacts, SettingsQuestion, Span, THROTTLED_REPLICAS,
    TopicFacts, wanted_config,
};
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::{AskZooKeeper, Configuration, Mode, Reconfiguration, ZooKeeperFacts};
use millrace_terms::Work;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::gate::{Gate, Write};
use crate::snapshot::{self, KINDS};

/// Label by which a pod tells its template's revision.
pub const REVISION: &str = "controller-revision-hash";
/// The pipeline of every fixture.
pub const PIPELINE: &str = "users";
/// The pod that answers as a processor, if a test has made it: the controller of Deployments here makes none.
pub const PROCESSOR: &str = "users-processor-0";
/// The pod that answers as a producer.
const PRODUCER: &str = "users-producer-0";
/// Records a second that a processor takes, and requests a second that a producer does.
const TAKES: f64 = 1_000.0;
/// The setting that brokers take while they run; all others come with a start.
pub const DYNAMIC: &str = "message.max.bytes";

/// The world of one namespace.
pub struct World {
    admin: Client,
    namespace: String,
    state: Arc<Mutex<State>>,
    /// Pods as they are after the last tick.
    pods: BTreeMap<String, Pod>,
    /// Members that have served: they may be away one at a time.
    members: BTreeSet<String>,
    /// UID of each volume claim, which never changes.
    claims: BTreeMap<String, String>,
    /// Why a store is not at full strength; `None`: all are.
    weakness: Option<String>,
    /// Members that each StatefulSet is told to have.
    given: BTreeMap<String, i64>,
    /// Storage that each claim asks for, and the template of each StatefulSet's claims.
    sizes: BTreeMap<String, String>,
    /// Workloads that are there.
    begun: BTreeSet<String>,
    /// Template and number of pods that each Deployment was last seen with.
    rollouts: BTreeMap<String, String>,
    /// The pods' addresses are those behind it, in their order.
    network: Ipv4Addr,
    addresses: u32,
    faults: Vec<String>,
}

/// The stores' own state.
#[derive(Default)]
struct State {
    servers: BTreeSet<u32>,
    /// Who votes, as all servers know; nobody until the ensemble was founded.
    voting: Configuration,
    /// Brokers that are registered, and whether they have caught up.
    brokers: BTreeMap<u32, bool>,
    nodes: BTreeMap<NodeKey, Node>,
    ring: BTreeSet<Uuid>,
    topics: BTreeMap<String, Topic>,
    offsets_topic: Option<Topic>,
    /// Values that were set for all brokers.
    for_all: BTreeMap<String, String>,
    /// The settings in the file with which each broker's pod began, by its UID.
    began: BTreeMap<String, BTreeMap<String, String>>,
    schema: SchemaFacts,
    processors: usize,
    /// Since when records come, and how many a second. Absent: none do.
    load: Option<(SystemTime, f64)>,
    /// The same of requests that clients push.
    pushes: Option<(SystemTime, f64)>,
    faults: Vec<String>,
}

struct Node {
    address: IpAddr,
    host_id: Uuid,
    joined: bool,
}

#[derive(Clone)]
struct Topic {
    id: Uuid,
    partitions: Vec<Partition>,
    config: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
struct Partition {
    /// Brokers of its replicas, those that come and go included.
    replicas: Vec<u32>,
    adding: Vec<u32>,
    removing: Vec<u32>,
    /// Whether it was ordered since the last tick: copies take one more.
    is_new: bool,
}

impl Partition {
    fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// A step of its copies. Returns whether there was any.
    fn step(&mut self, brokers: &BTreeMap<u32, bool>) -> bool {
        if !self.is_moving() {
            return false;
        }
        let arrived = !self.is_new && self.adding.iter().all(|broker| brokers.get(broker) == Some(&true));
        self.is_new = false;
        if arrived {
            let removing = std::mem::take(&mut self.removing);
            self.replicas.retain(|broker| !removing.contains(broker));
            self.adding.clear();
        }
        true
    }
}

impl World {
    /// Plays the world of a namespace.
    pub fn new(admin: Client, namespace: &str) -> Self {
        Self {
            admin,
            namespace: namespace.to_owned(),
            state: Arc::default(),
            pods: BTreeMap::new(),
            members: BTreeSet::new(),
            claims: BTreeMap::new(),
            weakness: None,
            given: BTreeMap::new(),
            sizes: BTreeMap::new(),
            begun: BTreeSet::new(),
            rollouts: BTreeMap::new(),
            network: Ipv4Addr::new(10, 244, 0, 0),
            addresses: 0,
            faults: Vec::new(),
        }
    }

    /// Gives its pods addresses elsewhere.
    pub fn at(self, network: Ipv4Addr) -> Self {
        Self { network, ..self }
    }

    /// Returns an operator's hands on these stores.
    pub fn hands(&self, gate: Gate) -> PlayedHands {
        PlayedHands { state: Arc::clone(&self.state), gate, blind: false }
    }

    /// Returns hands that hold every copy for one in sync: those of an operator that does not look.
    pub fn blind_hands(&self, gate: Gate) -> PlayedHands {
        PlayedHands { blind: true, ..self.hands(gate) }
    }

    /// Lets records come from now on, so many a second.
    pub fn load(&self, input: f64) {
        self.state().load = Some((SystemTime::now(), input));
    }

    /// Lets clients push from now on, so many requests a second.
    pub fn push(&self, input: f64) {
        self.state().pushes = Some((SystemTime::now(), input));
    }

    /// Returns the UID of each volume claim.
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }

    /// Fails if anything unsafe was seen so far.
    pub fn ensure_safe(&self) -> Result<()> {
        let state = self.state();
        let faults: Vec<&String> = self.faults.iter().chain(&state.faults).collect();
        ensure!(faults.is_empty(), "unsafe: {faults:?}");
        Ok(())
    }

    /// Judges the writes that the operator made since the last tick. Unsafe is:
    ///
    /// - to delete a store's pod while any store is not at full strength by its own true state and its pods;
    /// - to delete a StatefulSet with its pods, or before all its claims have grown;
    /// - to delete anything else;
    /// - to take members from a store, but for ZooKeeper servers that vote no more, and for one broker without a replica
    ///   while all are at full strength, or to add a Cassandra node before all that are there have joined;
    /// - to start a workload before what it needs: brokers without a quorum, processors without topics and tables,
    ///   producers without processors.
    ///
    /// What a tick finds unsafe: two members of the stores away at once, a claim that is gone or another.
    pub fn judge(&mut self, writes: &[Write]) {
        for write in writes {
            let fault = match (write.verb.as_str(), write.resource.as_str()) {
                ("DELETE", "pods") => self.deletion(&write.name),
                ("DELETE", "statefulsets") => self.removal(write),
                ("DELETE", _) => Some("the operator deletes nothing else here".to_owned()),
                ("PATCH", "statefulsets") => self.scaling(write).or_else(|| self.beginning(write)),
                ("PATCH", "deployments") => self.beginning(write),
                _ => None,
            };
            self.faults.extend(fault.map(|fault| format!("{write}: {fault}")));
        }
    }

    fn deletion(&mut self, pod: &str) -> Option<String> {
        let weakness = self.weakness.clone();
        self.weakness.get_or_insert(format!("pod '{pod}' is being deleted"));
        weakness
    }

    fn removal(&self, write: &Write) -> Option<String> {
        let Write { name, body, .. } = write;
        if body["propagationPolicy"] != json!("Orphan") || !body["preconditions"]["uid"].is_string() {
            return Some("takes its pods with it, or is another by now".to_owned());
        }
        let template = self.sizes.get(name);
        // A claim that a member left behind grows when there is such a member again.
        let mut members = 0..self.given.get(name).copied().unwrap_or(0);
        let size_of_member = |ordinal| self.sizes.get(&format!("data-{name}-{ordinal}"));
        members
            .any(|ordinal| size_of_member(ordinal).is_some_and(|size| Some(size) == template))
            .then(|| "goes before all its claims have grown".to_owned())
    }

    fn scaling(&mut self, write: &Write) -> Option<String> {
        let wanted = write.body.pointer("/spec/replicas").and_then(Value::as_i64)?;
        let component = component_of(&write.body)?;
        if component == Component::Producer.as_str() {
            return None;
        }
        let before = self.given.insert(write.name.clone(), wanted).unwrap_or(0);
        if wanted < before {
            let fault = || format!("takes members away: {before} to {wanted}, {:?}", self.weakness);
            if component == Component::ZooKeeper.as_str() {
                let votes = self.state().voting.voters.last().is_some_and(|last| i64::from(*last) >= wanted);
                return votes.then(fault);
            }
            let is_free = component == Component::Kafka.as_str() && wanted == before - 1 && !self.state().hosts(wanted);
            return (!is_free || self.weakness.is_some()).then(fault);
        }
        if component == Component::Cassandra.as_str() && wanted > before {
            let state = self.state();
            let joined = state.nodes.values().filter(|node| node.joined).count() as i64;
            let others: i64 =
                self.given.iter().filter(|(name, _)| is_rack(name)).map(|(_, given)| given).sum::<i64>() - wanted;
            if joined < others + before || wanted > before + 1 {
                return Some(format!("adds a node while {joined} of {} have joined", others + before));
            }
        }
        None
    }

    fn beginning(&self, write: &Write) -> Option<String> {
        if self.begun.contains(&write.name) {
            return None;
        }
        let state = self.state();
        let component = component_of(&write.body)?;
        let begins = write.body.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0);
        let lacks = match component.as_str() {
            "kafka" if !state.has_quorum() => Some("a quorum"),
            "processor" if self.rollouts.contains_key(&write.name) => None,
            "processor" if state.topics.is_empty() => Some("topics"),
            "processor" if state.schema.tables.is_empty() => Some("tables"),
            "producer" if state.processors == 0 => Some("processors"),
            _ => None,
        };
        lacks.filter(|_| begins).map(|lacks| format!("begins before there are {lacks}"))
    }

    /// Moves everything on by one step. Returns whether anything moved.
    pub async fn tick(&mut self) -> Result<bool> {
        let pipeline: Option<StreamingPipeline> = self.api().get_opt(PIPELINE).await?;
        let stateful_sets: Vec<StatefulSet> = self.list().await?;
        let deployments: Vec<Deployment> = self.list().await?;
        let claims: Vec<PersistentVolumeClaim> = self.list().await?;
        let pods: Vec<Pod> = self.list().await?;
        self.pods = pods.into_iter().map(|pod| (pod.name_any(), pod)).collect();

        let members: Option<ConfigMap> = self.api().get_opt(&format!("{PIPELINE}-zookeeper-members")).await?;
        let told = members.and_then(|members| members.data?.remove("servers")).unwrap_or_default();
        let mut moved = self.move_stores(&deployments, told.lines().count() as u32);
        moved |= self.run_pods().await?;
        moved |= self.keep_claims(&claims).await?;
        for stateful_set in &stateful_sets {
            if self.orphan(stateful_set, &claims).await? {
                moved = true;
                continue;
            }
            moved |= self.adopt(stateful_set, &claims).await?;
            moved |= self.keep_stateful_set(stateful_set).await?;
        }
        for deployment in &deployments {
            moved |= self.keep_deployment(deployment).await?;
        }
        match pipeline {
            Some(_) => self.look(&stateful_sets),
            None => {
                self.forget_members();
                moved |= self.collect_garbage().await?;
            }
        }
        Ok(moved)
    }

    /// The stores notice what pods there are: a step behind, since they are moved before the pods. `told`: how many
    /// servers a new ensemble is told to have.
    fn move_stores(&self, deployments: &[Deployment], told: u32) -> bool {
        let serving = |component: Component| {
            let of = move |pod: &&Pod| label(*pod, COMPONENT_LABEL) == component.as_str() && is_ready(pod);
            self.pods.values().filter(of).filter_map(|pod| Some((pod, ordinal(pod)?)))
        };
        let servers: BTreeSet<u32> = serving(Component::ZooKeeper).map(|(_, ordinal)| ordinal).collect();
        let brokers: BTreeSet<u32> = serving(Component::Kafka).map(|(_, ordinal)| ordinal).collect();
        let nodes: BTreeMap<NodeKey, (IpAddr, Uuid)> = serving(Component::Cassandra)
            .filter_map(|(pod, ordinal)| {
                let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
                let claim = self.claims.get(&format!("data-{}", pod.name_any()))?;
                Some(((label(pod, RACK_LABEL), ordinal), (address, claim.parse().ok()?)))
            })
            .collect();
        let ready = |deployment: &Deployment| deployment.status.as_ref()?.ready_replicas;
        let processors = deployments.iter().filter_map(ready).sum::<i32>().unsigned_abs() as usize;

        let mut state = self.state();
        let mut moved = state.servers != servers || state.processors != processors;
        if state.voting.voters.is_empty() && !servers.is_empty() {
            state.voting = Configuration { version: 1, voters: (0..told).collect() };
        }
        state.servers = servers;
        state.processors = processors;
        let caught_up: BTreeMap<u32, bool> =
            brokers.into_iter().map(|broker| (broker, state.brokers.contains_key(&broker))).collect();
        moved |= state.brokers != caught_up;
        state.brokers = caught_up;
        let State { topics, offsets_topic, brokers, .. } = &mut *state;
        for partition in topics.values_mut().chain(offsets_topic).flat_map(|topic| &mut topic.partitions) {
            moved |= partition.step(brokers);
        }
        let before = std::mem::take(&mut state.nodes);
        for (key, (address, host_id)) in nodes {
            let joined = before.get(&key).is_some_and(|node| node.address == address);
            moved |= !before.get(&key).is_some_and(|node| node.joined == joined && node.address == address);
            state.ring.extend(joined.then_some(host_id));
            state.nodes.insert(key, Node { address, host_id, joined });
        }
        moved |= before.len() != state.nodes.len();
        if processors > 0 && state.offsets_topic.is_none() {
            let replicas: Vec<u32> = state.brokers.keys().copied().take(3).collect();
            let partitions = vec![Partition { replicas, ..Partition::default() }];
            state.offsets_topic = Some(Topic { id: Uuid::from_u128(8), partitions, config: BTreeMap::new() });
            moved = true;
        }
        moved
    }

    /// The kubelet: a pod that is new runs and is ready, one that was told to go is gone.
    async fn run_pods(&mut self) -> Result<bool> {
        let api: Api<Pod> = self.api();
        let mut moved = false;
        for (name, pod) in self.pods.clone() {
            if pod.metadata.deletion_timestamp.is_some() {
                gone(api.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop))?;
                self.pods.remove(&name);
                moved = true;
            } else if !is_ready(&pod) {
                self.addresses += 1;
                let address = Ipv4Addr::from_bits(self.network.to_bits() + self.addresses).to_string();
                let status = json!({"status": {
                    "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                }});
                let running = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
                self.pods.insert(name, running);
                moved = true;
            }
        }
        Ok(moved)
    }

    /// What binds claims and lets them grow: the volume, then its file system.
    async fn keep_claims(&mut self, claims: &[PersistentVolumeClaim]) -> Result<bool> {
        let api: Api<PersistentVolumeClaim> = self.api();
        let mut moved = false;
        for claim in claims {
            let spec = claim.spec.clone().unwrap_or_default();
            let status = claim.status.clone().unwrap_or_default();
            let asked = size_of(spec.resources.and_then(|resources| resources.requests));
            self.sizes.insert(claim.name_any(), asked.clone());
            let has = size_of(status.capacity);
            if has == asked {
                continue;
            }
            let is_pending = status.conditions.is_some_and(|conditions| !conditions.is_empty());
            let pending = json!({
                "type": "FileSystemResizePending", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let next = match (has.is_empty(), is_pending) {
                (true, _) => {
                    json!({"phase": "Bound", "capacity": {"storage": asked}, "accessModes": spec.access_modes})
                }
                (false, false) => json!({"conditions": [pending]}),
                (false, true) => json!({"capacity": {"storage": asked}, "conditions": null}),
            };
            let next = Patch::Merge(json!({"status": next}));
            gone(api.patch_status(&claim.name_any(), &PatchParams::default(), &next).await.map(drop))?;
            moved = true;
        }
        Ok(moved)
    }

    /// The garbage collector, at a StatefulSet that is deleted without what it holds. Returns whether it is one.
    async fn orphan(&mut self, stateful_set: &StatefulSet, claims: &[PersistentVolumeClaim]) -> Result<bool> {
        let is_orphaning = stateful_set.finalizers().iter().any(|finalizer| finalizer == "orphan");
        if stateful_set.metadata.deletion_timestamp.is_none() || !is_orphaning {
            return Ok(false);
        }
        let nobody = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
        let api: Api<Pod> = self.api();
        for (name, pod) in self.pods.clone() {
            if is_owned_by(&pod, &stateful_set.uid()) {
                self.pods.insert(name.clone(), api.patch(&name, &PatchParams::default(), &nobody).await?);
            }
        }
        let api: Api<PersistentVolumeClaim> = self.api();
        for claim in claims.iter().filter(|claim| is_owned_by(*claim, &stateful_set.uid())) {
            api.patch(&claim.name_any(), &PatchParams::default(), &nobody).await?;
        }
        let released = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let api: Api<StatefulSet> = self.api();
        gone(api.patch(&stateful_set.name_any(), &PatchParams::default(), &released).await.map(drop))?;
        Ok(true)
    }

    /// The StatefulSet controller, for pods of its name that are nobody's, and claims that go with it or no more.
    async fn adopt(&mut self, stateful_set: &StatefulSet, claims: &[PersistentVolumeClaim]) -> Result<bool> {
        let (set, mut moved) = (stateful_set.name_any(), false);
        let ours = json!([owner(stateful_set)]);
        let owned_by = |owners: Value| Patch::Merge(json!({"metadata": {"ownerReferences": owners}}));
        let api: Api<Pod> = self.api();
        for (name, pod) in self.pods.clone() {
            let is_ours = name.rsplit_once('-').is_some_and(|(of, _)| of == set);
            if is_ours && pod.owner_references().is_empty() {
                let adopted = api.patch(&name, &PatchParams::default(), &owned_by(ours.clone())).await?;
                self.pods.insert(name, adopted);
                moved = true;
            }
        }
        let spec = stateful_set.spec.as_ref().context("a StatefulSet has a spec")?;
        let policy = spec.persistent_volume_claim_retention_policy.as_ref();
        let deletes = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
        let template = spec.volume_claim_templates.iter().flatten().next().and_then(|claim| claim.spec.clone());
        let resources = template.and_then(|template| template.resources);
        self.sizes.insert(set.clone(), size_of(resources.and_then(|resources| resources.requests)));
        let api: Api<PersistentVolumeClaim> = self.api();
        for claim in claims.iter().filter(|claim| claim.name_any().starts_with(&format!("data-{set}-"))) {
            if is_owned_by(claim, &stateful_set.uid()) != deletes {
                let owners = if deletes { ours.clone() } else { Value::Null };
                api.patch(&claim.name_any(), &PatchParams::default(), &owned_by(owners)).await?;
                moved = true;
            }
        }
        Ok(moved)
    }

    /// The StatefulSet controller, for pods that are made at once.
    async fn keep_stateful_set(&mut self, stateful_set: &StatefulSet) -> Result<bool> {
        let name = stateful_set.name_any();
        let spec = stateful_set.spec.as_ref().context("a StatefulSet has a spec")?;
        let replicas = spec.replicas.unwrap_or(1);
        let revision = revision_of(&name, &spec.template)?;
        let mut moved = false;
        let is_gone = stateful_set.metadata.deletion_timestamp.is_some();
        for ordinal in (0..replicas).filter(|_| !is_gone) {
            let pod = format!("{name}-{ordinal}");
            if !self.pods.contains_key(&pod) {
                self.claim(stateful_set, &pod).await?;
                let made = self.api().create(&PostParams::default(), &pod_of(stateful_set, &pod, &revision)?).await?;
                // It is there for the next tick, as for the operator.
                self.pods.insert(pod, made);
                moved = true;
            }
        }
        let own: Vec<Pod> = self.pods.values().filter(|pod| is_owned_by(*pod, &stateful_set.uid())).cloned().collect();
        let surplus = own.iter().find(|pod| ordinal(pod).is_some_and(|ordinal| ordinal as i32 >= replicas));
        let rolls =
            spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("RollingUpdate");
        let all_ready = own.iter().all(is_ready);
        let outdated = own.iter().find(|pod| rolls && all_ready && label(*pod, REVISION) != revision);
        for pod in surplus.into_iter().chain(outdated).take(1) {
            let api: Api<Pod> = self.api();
            gone(api.delete(&pod.name_any(), &DeleteParams::default()).await.map(drop))?;
            moved = true;
        }
        let ready = own.iter().filter(|pod| is_ready(pod)).count();
        let status = json!({
            "observedGeneration": stateful_set.metadata.generation,
            "replicas": own.len(), "readyReplicas": ready, "updateRevision": revision,
            "updatedReplicas": own.iter().filter(|pod| label(*pod, REVISION) == revision).count(),
        });
        moved |= self.write_status::<StatefulSet>(&name, &stateful_set.status, status).await?;
        Ok(moved)
    }

    /// Makes a pod's volume claim if there is none; one that is there is kept, whatever became of its pod.
    async fn claim(&mut self, stateful_set: &StatefulSet, pod: &str) -> Result<()> {
        let spec = stateful_set.spec.as_ref().context("a StatefulSet has a spec")?;
        let api: Api<PersistentVolumeClaim> = self.api();
        for template in spec.volume_claim_templates.iter().flatten() {
            let name = format!("{}-{pod}", template.name_any());
            let found = api.get_opt(&name).await?;
            let claim = match found {
                Some(claim) => claim,
                None => {
                    let mut claim = template.clone();
                    claim.status = None;
                    claim.metadata.name = Some(name.clone());
                    claim.metadata.namespace = None;
                    api.create(&PostParams::default(), &claim).await?
                }
            };
            let policy = spec.persistent_volume_claim_retention_policy.as_ref();
            if policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete") {
                let owners = json!({"metadata": {"ownerReferences": [owner(stateful_set)]}});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(owners)).await?;
            }
            let uid = claim.uid().unwrap_or_default();
            let known = self.claims.entry(name.clone()).or_insert_with(|| uid.clone());
            if *known != uid {
                self.faults.push(format!("claim '{name}' is another than before"));
            }
        }
        Ok(())
    }

    /// The Deployment controller: two steps to the current template or number of pods.
    async fn keep_deployment(&mut self, deployment: &Deployment) -> Result<bool> {
        let name = deployment.name_any();
        let spec = deployment.spec.as_ref().context("a Deployment has a spec")?;
        let (wanted, revision) = (spec.replicas.unwrap_or(1), revision_of(&name, &spec.template)?);
        let status = deployment.status.clone().unwrap_or_default();
        let target = format!("{revision} {wanted}");
        let begun = self.rollouts.insert(name.clone(), target.clone()) == Some(target);
        let ready = if begun { wanted } else { status.ready_replicas.unwrap_or(0).min(wanted) };
        let updated = if begun { wanted } else { 0 };
        let wanted = json!({
            "observedGeneration": deployment.metadata.generation, "replicas": wanted, "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": ready,
        });
        self.write_status::<Deployment>(&name, &deployment.status, wanted).await
    }

    async fn write_status<K>(&self, name: &str, found: &impl serde::Serialize, wanted: Value) -> Result<bool>
    where
        K: Clone
            + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let found = serde_json::to_value(found)?;
        let zero = |value: &Value| value.is_null() || *value == json!(0);
        let same = |key: &String, wanted: &Value| found[key] == *wanted || zero(&found[key]) && zero(wanted);
        if wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, wanted)| same(key, wanted))) {
            return Ok(false);
        }
        let patch = Patch::Merge(json!({"status": wanted}));
        gone(self.api::<K>().patch_status(name, &PatchParams::default(), &patch).await.map(drop))?;
        Ok(true)
    }

    /// Deletes what belongs to objects that are gone.
    async fn collect_garbage(&mut self) -> Result<bool> {
        let mut objects = Vec::new();
        for kind in KINDS {
            objects.extend(
                snapshot::list(&self.admin, &self.namespace, kind).await?.into_iter().map(|object| (kind, object)),
            );
        }
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let alive: BTreeSet<String> = objects.iter().map(|(_, object)| text(object, "/metadata/uid")).collect();
        let mut moved = false;
        for (kind, object) in &objects {
            let owners =
                object.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
            let orphaned = !owners.is_empty() && owners.iter().all(|owner| !alive.contains(&text(owner, "/uid")));
            if orphaned && object.pointer("/metadata/deletionTimestamp").is_none() {
                snapshot::delete(&self.admin, &self.namespace, *kind, &text(object, "/metadata/name")).await?;
                moved = true;
            }
        }
        Ok(moved)
    }

    fn forget_members(&mut self) {
        self.members.clear();
        self.given.clear();
        self.begun.clear();
        self.weakness = Some("the pipeline is gone".to_owned());
    }

    /// Sees how strong the stores are now.
    fn look(&mut self, stateful_sets: &[StatefulSet]) {
        let is_store = |component: &str| matches!(component, "zookeeper" | "kafka" | "cassandra");
        let mut weakness = None;
        let mut away = Vec::new();
        for stateful_set in stateful_sets {
            let name = stateful_set.name_any();
            self.begun.insert(name.clone());
            if !is_store(&label(stateful_set, COMPONENT_LABEL)) {
                continue;
            }
            let replicas = stateful_set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            self.given.insert(name.clone(), replicas.into());
            for pod in (0..replicas).map(|ordinal| format!("{name}-{ordinal}")) {
                let serves =
                    self.pods.get(&pod).is_some_and(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
                if serves {
                    self.members.insert(pod);
                } else {
                    weakness.get_or_insert(format!("pod '{pod}' does not serve"));
                    away.extend(self.members.contains(&pod).then_some(pod));
                }
            }
        }
        if away.len() > 1 {
            self.faults.push(format!("away at once: {away:?}"));
        }
        self.weakness = weakness.or_else(|| self.state().weakness(self.given.iter()));
    }

    /// Fails if a claim that was made is gone or another.
    pub async fn ensure_claims_are_kept(&self) -> Result<()> {
        let found: Vec<PersistentVolumeClaim> = self.list().await?;
        let found: BTreeMap<String, String> =
            found.into_iter().map(|claim| (claim.name_any(), claim.uid().unwrap_or_default())).collect();
        ensure!(found == self.claims, "the claims are {found:?}, and were {:?}", self.claims);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    async fn list<K>(&self) -> Result<Vec<K>>
    where
        K: Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Ok(self.api().list(&ListParams::default()).await?.items)
    }
}

impl State {
    fn has_quorum(&self) -> bool {
        let voters = &self.voting.voters;
        voters.intersection(&self.servers).count() > voters.len() / 2
    }

    fn ensemble(&self) -> ZooKeeperFacts {
        if !self.has_quorum() {
            return ZooKeeperFacts::default();
        }
        let leader = self.voting.voters.intersection(&self.servers).next();
        let mode = |ordinal: &u32| if Some(ordinal) == leader { Mode::Leader } else { Mode::Follower };
        ZooKeeperFacts {
            servers: self.servers.iter().map(|ordinal| (*ordinal, mode(ordinal))).collect(),
            znodes: Some(72),
            configurations: self.servers.iter().map(|ordinal| (*ordinal, self.voting.clone())).collect(),
        }
    }

    /// Changes who votes, and refuses what ZooKeeper refuses.
    fn reconfigure(&mut self, change: &Reconfiguration) -> Result<()> {
        let Reconfiguration { joining, leaving, version } = change;
        // Who has planned it from an older view is told so, and looks again.
        if *version != self.voting.version {
            return Ok(());
        }
        ensure!(joining.values().all(|line| line.ends_with(":2888:3888:participant;2181")), "{joining:?} lack ports");
        let mut voters = self.voting.voters.clone();
        voters.retain(|ordinal| !leaving.contains(ordinal));
        voters.extend(joining.keys());
        let there = voters.intersection(&self.servers).count();
        ensure!(there > voters.len() / 2, "of the new voters {voters:?} only {:?} are there", self.servers);
        self.voting = Configuration { version: version + 1, voters };
        Ok(())
    }

    fn weakness<'a>(&self, given: impl Iterator<Item = (&'a String, &'a i64)>) -> Option<String> {
        let given: BTreeMap<&String, i64> = given.map(|(name, members)| (name, *members)).collect();
        let of = |component: Component| given.get(&format!("{PIPELINE}-{component}")).copied().unwrap_or(0) as usize;
        let racks: i64 = given.iter().filter(|(name, _)| is_rack(name)).map(|(_, members)| members).sum();
        let joined = self.nodes.values().filter(|node| node.joined).count();
        if self.servers.len() < of(Component::ZooKeeper) {
            return Some("a ZooKeeper server is away".to_owned());
        }
        // One that has only just come has nothing to catch up with.
        let serves = |(broker, caught_up): &(&u32, &bool)| **caught_up || !self.hosts(i64::from(**broker));
        if self.brokers.iter().filter(serves).count() < of(Component::Kafka) {
            return Some("a broker is away or has not caught up".to_owned());
        }
        if self.partitions().any(Partition::is_moving) {
            return Some("partitions are being moved".to_owned());
        }
        (joined < racks as usize).then(|| "a Cassandra node is away or has not joined".to_owned())
    }

    fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.topics.values().chain(&self.offsets_topic).flat_map(|topic| &topic.partitions)
    }

    /// Returns whether a broker has a replica, or is getting one.
    fn hosts(&self, broker: i64) -> bool {
        self.partitions().any(|partition| partition.replicas.iter().any(|replica| i64::from(*replica) == broker))
    }

    fn topic(&mut self, topic: &str) -> Result<&mut Topic> {
        let topic = match topic {
            OFFSETS_TOPIC => self.offsets_topic.as_mut(),
            topic => self.topics.get_mut(topic),
        };
        topic.context("there is no such topic")
    }

    /// Returns the brokers of a new partition, in turn on all that serve, those included that are to go.
    fn placed(&self, index: u32, copies: u32) -> Partition {
        let brokers: Vec<u32> = self.brokers.keys().copied().collect();
        let replicas = (0..copies).map(|copy| brokers[(index + copy) as usize % brokers.len()]).collect();
        Partition { replicas, ..Partition::default() }
    }

    /// Puts a partition's replicas elsewhere, as Kafka would. That it was elsewhere is a fault.
    fn reassign(&mut self, moved: &Reassigned) -> Result<()> {
        let to: Vec<u32> = moved.to.iter().map(|broker| broker.unsigned_abs()).collect();
        ensure!(to.iter().all(|broker| self.brokers.contains_key(broker)), "a broker of {to:?} does not serve");
        let topic = self.topic(&moved.topic)?;
        topic.config.extend(THROTTLED_REPLICAS.map(|key| (key.to_owned(), ANY_REPLICA.to_owned())));
        let partition = topic.partitions.get_mut(moved.partition as usize).context("there is no such partition")?;
        let from: Vec<i32> = partition.replicas.iter().map(|broker| *broker as i32).collect();
        ensure!(from == moved.from && !partition.is_moving(), "it is on {from:?}, not on {:?}", moved.from);
        let different: BTreeSet<&u32> = to.iter().collect();
        ensure!(different.len() == from.len() && to.len() == from.len(), "{from:?} to {to:?} changes the copies");
        let adding = to.iter().copied().filter(|broker| !partition.replicas.contains(broker)).collect();
        let removing: Vec<u32> = partition.replicas.iter().copied().filter(|broker| !to.contains(broker)).collect();
        let replicas = to.iter().chain(&removing).copied().collect();
        *partition = Partition { replicas, adding, removing, is_new: true };
        Ok(())
    }

    fn topic_facts(&self, topic: &Topic, blind: bool) -> TopicFacts {
        let ids = |brokers: &[u32]| brokers.iter().map(|broker| *broker as i32).collect::<Vec<i32>>();
        let is_in_sync = |partition: &Partition, broker: &u32| {
            self.brokers.get(broker) == Some(&true) && !partition.adding.contains(broker)
        };
        let in_sync = |partition: &Partition| match blind {
            true => partition.replicas.len(),
            false => partition.replicas.iter().filter(|broker| is_in_sync(partition, broker)).count(),
        };
        let leader = |partition: &Partition| {
            let mut serving = partition.replicas.iter().filter(|broker| self.brokers.contains_key(broker));
            serving.find(|broker| !partition.adding.contains(broker)).map(|id| *id as i32)
        };
        let facts = |(index, partition): (usize, &Partition)| PartitionFacts {
            index: index as i32,
            leader: leader(partition),
            replicas: ids(&partition.replicas),
            in_sync: in_sync(partition),
            adding: ids(&partition.adding),
            removing: ids(&partition.removing),
        };
        let partitions = topic.partitions.iter().enumerate().map(facts).collect();
        TopicFacts { id: topic.id, partitions, config: topic.config.clone() }
    }

    /// Returns for how long records have come, and how many a second. Nothing comes: none for no time.
    fn flow(&self) -> (f64, f64) {
        let (since, input) = self.load.unwrap_or((SystemTime::now(), 0.0));
        (since.elapsed().unwrap_or_default().as_secs_f64(), input)
    }

    /// Returns where the group stands in a topic, of which each partition gets the same.
    fn position(&self, topic: &TopicFacts) -> Position {
        let (seconds, input) = self.flow();
        let count = topic.partitions.len().max(1) as i64;
        let of_one = |rate: f64| (rate * seconds / count as f64) as i64;
        let (end, committed) = (of_one(input), of_one(input.min(TAKES)));
        let numbers = || topic.partitions.iter().map(|partition| partition.index);
        Position {
            end: end * count,
            committed: committed * count,
            beyond: 0,
            lag: (end - committed) * count,
            behind: numbers().filter(|_| end > committed).map(|number| (number, end - committed)).collect(),
            ends: numbers().map(|number| (number, end)).collect(),
            at: Some(SystemTime::now()),
            ..Position::default()
        }
    }

    /// Returns what the processor has done: all that it could, since records come.
    fn work(&self) -> Work {
        let (seconds, input) = self.flow();
        let uptime = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let uptime = uptime.as_millis() as u64;
        Work {
            uptime,
            joined: true,
            assigned: Some(uptime),
            settled: (input.min(TAKES) * seconds) as u64,
            working: (input.min(TAKES) / TAKES * seconds * 1e3) as u64,
            ..Work::default()
        }
    }

    /// Returns what the producer has done: it answers what it can, and refuses the rest.
    fn pushed(&self) -> Work {
        let (since, input) = self.pushes.unwrap_or((SystemTime::now(), 0.0));
        let seconds = since.elapsed().unwrap_or_default().as_secs_f64();
        let uptime = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Work {
            uptime: uptime.as_millis() as u64,
            joined: true,
            settled: (input.min(TAKES) * seconds) as u64,
            refused: ((input - TAKES).max(0.0) * seconds) as u64,
            working: (input.min(TAKES) / TAKES * seconds * 1e3) as u64,
            ..Work::default()
        }
    }

    fn stores(&self, blind: bool) -> Stores {
        let topics: BTreeMap<String, TopicFacts> =
            self.topics.iter().map(|(name, topic)| (name.clone(), self.topic_facts(topic, blind))).collect();
        let offsets_topic = self.offsets_topic.as_ref().map(|topic| self.topic_facts(topic, blind));
        let partitions = topics.values().chain(&offsets_topic).flat_map(|topic| &topic.partitions);
        let under_replicated = partitions.filter(|partition| partition.in_sync < partition.replicas.len()).count();
        let brokers: BTreeSet<i32> = self.brokers.keys().map(|id| *id as i32).collect();
        let kafka = KafkaFacts {
            controller: brokers.first().copied(),
            log_dirs: Some(brokers.iter().map(|broker| (*broker, LogDirs::default())).collect()),
            brokers,
            racks: BTreeMap::new(),
            knows_reassignments: true,
            internal_topics: BTreeMap::new(),
            under_replicated,
            group: (!topics.is_empty()).then(|| GroupFacts {
                stable: true,
                members: self.processors,
                clients: BTreeSet::new(),
            }),
            positions: (!topics.is_empty())
                .then(|| topics.iter().map(|(name, topic)| (name.clone(), self.position(topic))).collect()),
            topics,
            offsets_topic,
            settings: None,
            refused: BTreeMap::new(),
        };
        let normal: BTreeSet<IpAddr> =
            self.nodes.values().filter(|node| node.joined).map(|node| node.address).collect();
        let facts = |node: &Node| NodeFacts {
            address: node.address,
            host_id: node.host_id,
            joined: node.joined,
            release: "5.0.9".to_owned(),
            schema_version: Uuid::from_u128(1),
            used_mebibytes: Some(100),
            has_auto_repair: false,
            sees_normal: normal.clone(),
            ring: self.ring.iter().copied().filter(|id| *id != node.host_id).collect(),
        };
        let mut stores = Stores {
            zookeeper: self.ensemble(),
            kafka: if self.brokers.is_empty() { Err("no broker answers".to_owned()) } else { Ok(kafka) },
            processors: [(PROCESSOR.to_owned(), self.work())].into(),
            producers: [(PRODUCER.to_owned(), self.pushed())].into(),
            ..Stores::default()
        };
        stores.cassandra.nodes = self.nodes.iter().map(|(key, node)| (key.clone(), facts(node))).collect();
        stores.cassandra.schema = (!self.nodes.is_empty()).then(|| self.schema.clone());
        stores
    }

    /// Says what the brokers are set to. A pod that is seen for the first time has begun with the file that is there.
    fn settings(&mut self, question: &SettingsQuestion, children: &Children) -> SettingsFacts {
        let files = children.config_maps.get(&format!("{PIPELINE}-{}", Component::Kafka));
        let file = files.and_then(|files| files.data.as_ref()?.get(SERVER_PROPERTIES));
        let file = file.map(|file| parse(file)).unwrap_or_default();
        let mut facts = SettingsFacts { for_all: self.for_all.clone(), ..SettingsFacts::default() };
        for pod in children.pods_of(Component::Kafka) {
            let began = self.began.entry(pod.uid().unwrap_or_default()).or_insert_with(|| file.clone());
            let Some(broker) = ordinal(pod).filter(|broker| self.brokers.contains_key(broker)) else { continue };
            let begun_with = |key: &String| began.get(key).cloned().unwrap_or_default();
            let setting = |key: &String| Setting {
                value: Some(self.for_all.get(key).cloned().unwrap_or_else(|| begun_with(key))),
                begun_with: Some(begun_with(key)),
                is_read_only: key != DYNAMIC,
                is_own: false,
            };
            let keys = question.keys.iter().chain(question.change.keys()).chain(self.for_all.keys());
            let settings = keys.map(|key| (key.clone(), setting(key))).collect();
            let is_taken = question.change.keys().all(|key| key == DYNAMIC);
            let answer = is_taken.then_some(()).ok_or_else(|| "it comes with a start".to_owned());
            let answer = (!question.change.is_empty()).then_some(answer);
            facts.brokers.insert(broker.cast_signed(), BrokerSettings { settings, answer });
        }
        facts
    }

    /// Does what Kafka is told, as Kafka would.
    fn change_kafka(&mut self, change: &kafka::Change) -> Result<()> {
        match change {
            kafka::Change::CreateTopic(topic) | kafka::Change::AddTopic(topic) => {
                let copies = topic.replication_factor.of_new();
                ensure!(copies as usize <= self.brokers.len(), "there are only {} brokers", self.brokers.len());
                if !self.topics.contains_key(&topic.name) {
                    let id = Uuid::from_u128(100 + self.topics.len() as u128);
                    let partitions = (0..topic.partitions).map(|index| self.placed(index, copies)).collect();
                    let created = Topic { id, partitions, config: wanted_config(topic, copies) };
                    self.topics.insert(topic.name.clone(), created);
                }
            }
            kafka::Change::AddPartitions { topic, partitions } => {
                let found = &self.topic(topic)?.partitions;
                ensure!(*partitions as usize > found.len(), "it has {} already", found.len());
                ensure!(!found.iter().any(Partition::is_moving), "its partitions are being moved");
                let copies = found.first().context("a topic has partitions")?.replicas.len() as u32;
                let begin = found.len() as u32;
                let added: Vec<Partition> = (begin..*partitions).map(|index| self.placed(index, copies)).collect();
                self.topic(topic)?.partitions.extend(added);
            }
            kafka::Change::AlterTopic { topic, config: change } => {
                let config = &mut self.topic(topic)?.config;
                config.retain(|key, _| !change.unset.contains(key));
                config.extend(change.set.clone());
            }
            kafka::Change::Reassign { moves, .. } => {
                for moved in moves {
                    self.reassign(moved)?;
                }
            }
            kafka::Change::CancelMoves { partitions } => {
                for (topic, index) in partitions {
                    let found = &mut self.topic(topic)?.partitions;
                    let found = found.get_mut(*index as usize).context("there is no such partition")?;
                    let was_there = |broker: &u32| !found.adding.contains(broker);
                    let replicas = found.replicas.iter().copied().filter(was_there).collect();
                    *found = Partition { replicas, ..Partition::default() };
                }
            }
            // Those that prefer to lead do so at once here, and nothing has a pace.
            kafka::Change::ElectLeaders { .. } | kafka::Change::Throttle { .. } => {}
            kafka::Change::Rewind { .. } => {
                ensure!(self.processors == 0, "the group has members");
            }
            kafka::Change::AlterBrokers { config: ConfigChange { set, unset }, .. } => {
                ensure!(
                    set.keys().chain(unset).all(|key| key == DYNAMIC),
                    "not all of it is taken while a broker runs"
                );
                self.for_all.retain(|key, _| !unset.contains(key));
                self.for_all.extend(set.clone());
            }
            kafka::Change::EndReassignment { topics } => {
                ensure!(!self.partitions().any(Partition::is_moving), "partitions are being moved");
                for topic in topics {
                    self.topic(topic)?.config.retain(|key, _| !THROTTLED_REPLICAS.contains(&key.as_str()));
                }
            }
        }
        Ok(())
    }

    /// Does what Cassandra is told, as Cassandra would.
    fn change_cassandra(&mut self, model: &Cassandra, change: &cassandra::Change) -> Result<()> {
        const NO_KEYSPACE: &str = "there is no keyspace";
        const NO_TABLE: &str = "there is no such table";
        match change {
            cassandra::Change::CreateKeyspace => {
                let replication = (model.datacenter.clone(), model.replication_factor.of_new().to_string());
                self.schema.replication.get_or_insert([replication].into());
            }
            cassandra::Change::CreateType(declared) => {
                ensure!(self.schema.replication.is_some(), NO_KEYSPACE);
                let fields = declared.fields.iter().map(|field| (field.name.clone(), field.column_type.to_string()));
                self.schema.types.entry(declared.name.clone()).or_insert(fields.collect());
            }
            cassandra::Change::AddField { type_name, field } => {
                let fields = self.schema.types.get_mut(type_name).context("there is no such type")?;
                ensure!(fields.iter().all(|(name, _)| *name != field.name), "it has that field already");
                fields.push((field.name.clone(), field.column_type.to_string()));
            }
            cassandra::Change::CreateTable(table) => {
                ensure!(self.schema.replication.is_some(), NO_KEYSPACE);
                let columns = table.columns.iter();
                let facts = TableFacts {
                    id: Uuid::from_u128(1_000 + self.schema.tables.len() as u128),
                    columns: columns.map(|column| (column.name.clone(), column.column_type.to_string())).collect(),
                    partition_key: table.partition_key.clone(),
                    clustering_key: table.clustering_key.clone(),
                    ttl_seconds: table.ttl_seconds,
                    gc_grace_seconds: 864_000,
                };
                self.schema.tables.entry(table.name.clone()).or_insert(facts);
            }
            cassandra::Change::AddColumn { table, column } => {
                let columns = &mut self.schema.tables.get_mut(table).context(NO_TABLE)?.columns;
                let before = columns.insert(column.name.clone(), column.column_type.to_string());
                ensure!(before.is_none(), "it has that column already");
            }
            cassandra::Change::SetTtl { table, ttl_seconds } => {
                self.schema.tables.get_mut(table).context(NO_TABLE)?.ttl_seconds = *ttl_seconds;
            }
        }
        Ok(())
    }
}

/// An operator's hands on played stores.
pub struct PlayedHands {
    state: Arc<Mutex<State>>,
    gate: Gate,
    blind: bool,
}

impl PlayedHands {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl PlayedHands {
    /// Commits a change through the gate. What the store would refuse is a fault: nothing here asks for it rightly.
    async fn commit(&self, act: &Act, change: impl FnOnce(&mut State) -> Result<()> + Send) {
        let resource = act.event_reason().to_owned();
        let write = Write { verb: "ACT".to_owned(), resource, name: act.describe(), body: Value::Null };
        let done = async {
            let mut state = self.state();
            let refused = change(&mut state).err().map(|error| format!("cannot {}: {error}", act.describe()));
            state.faults.extend(refused);
        };
        self.gate.write(write, done).await;
    }
}

impl Hands for PlayedHands {
    fn ask<'a>(&'a self, pipeline: &'a Pipeline, children: &'a Children) -> BoxFuture<'a, Stores> {
        let mut state = self.state();
        let mut stores = state.stores(self.blind);
        let settings = settings_question(pipeline, children).map(|question| state.settings(&question, children));
        if let Ok(kafka) = &mut stores.kafka {
            kafka.settings = settings;
        }
        async move { stores }.boxed()
    }

    /// Nothing was ever read here.
    fn ask_spans<'a>(
        &'a self,
        _: &'a Reach<u32>,
        _: &'a str,
        _: &'a str,
        _: Option<i64>,
    ) -> BoxFuture<'a, Result<BTreeMap<i32, Span>, AskKafka>> {
        async { Ok(BTreeMap::new()) }.boxed()
    }

    fn change_zookeeper<'a>(
        &'a self,
        server: Option<SocketAddr>,
        _: &'a str,
        change: &'a Reconfiguration,
    ) -> BoxFuture<'a, Result<(), AskZooKeeper>> {
        async move {
            if server.is_none() {
                return Err(AskZooKeeper::FindAddress);
            }
            self.commit(&Act::ZooKeeper(change.clone()), |state| state.reconfigure(change)).await;
            Ok(())
        }
        .boxed()
    }

    fn change_kafka<'a>(
        &'a self,
        brokers: &'a Reach<u32>,
        change: &'a kafka::Change,
    ) -> BoxFuture<'a, Result<(), AskKafka>> {
        async move {
            if brokers.members().next().is_none() {
                return Err(AskKafka::FindAddress);
            }
            self.commit(&Act::Kafka(change.clone()), |state| state.change_kafka(change)).await;
            Ok(())
        }
        .boxed()
    }

    fn change_cassandra<'a>(
        &'a self,
        node: Option<SocketAddr>,
        model: &'a Cassandra,
        change: &'a cassandra::Change,
    ) -> BoxFuture<'a, Result<(), AskCassandra>> {
        async move {
            if node.is_none() {
                return Err(AskCassandra::FindAddress);
            }
            self.commit(&Act::Cassandra(change.clone()), |state| state.change_cassandra(model, change)).await;
            Ok(())
        }
        .boxed()
    }
}

fn pod_of(stateful_set: &StatefulSet, name: &str, revision: &str) -> Result<Pod> {
    let spec = stateful_set.spec.as_ref().context("a StatefulSet has a spec")?;
    let template = serde_json::to_value(&spec.template)?;
    let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["labels"][REVISION] = json!(revision);
    pod["metadata"]["ownerReferences"] = json!([owner(stateful_set)]);
    // Bound to a node: a pod that is nowhere yet goes at once when it is deleted.
    pod["spec"]["nodeName"] = json!("played");
    let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    for claim in spec.volume_claim_templates.iter().flatten() {
        let claim_name = format!("{}-{name}", claim.name_any());
        volumes.push(json!({"name": claim.name_any(), "persistentVolumeClaim": {"claimName": claim_name}}));
    }
    pod["spec"]["volumes"] = json!(volumes);
    Ok(serde_json::from_value(pod)?)
}

fn owner(stateful_set: &StatefulSet) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": stateful_set.name_any(), "uid": stateful_set.uid(),
        "controller": true,
    })
}

fn revision_of(name: &str, template: &impl serde::Serialize) -> Result<String> {
    let digest = Sha256::digest(serde_json::to_vec(template)?);
    let digest: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{name}-{digest}"))
}

fn is_rack(name: &str) -> bool {
    name.starts_with(&format!("{PIPELINE}-{}-", Component::Cassandra))
}

fn component_of(body: &Value) -> Option<String> {
    Some(body.pointer("/metadata/labels")?.get(COMPONENT_LABEL)?.as_str()?.to_owned())
}

fn label(object: &impl ResourceExt, key: &str) -> String {
    object.labels().get(key).cloned().unwrap_or_default()
}

fn ordinal(pod: &Pod) -> Option<u32> {
    pod.name_any().rsplit_once('-')?.1.parse().ok()
}

fn is_owned_by(object: &impl ResourceExt, owner: &Option<String>) -> bool {
    object.owner_references().iter().any(|reference| Some(&reference.uid) == owner.as_ref())
}

/// Returns the amount of storage among amounts; empty: there is none.
fn size_of(amounts: Option<BTreeMap<String, Quantity>>) -> String {
    amounts.and_then(|mut amounts| amounts.remove("storage")).map(|size| size.0).unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What is gone already needs no more.
fn gone(answer: Result<(), kube::Error>) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => Ok(answer?),
    }
}
