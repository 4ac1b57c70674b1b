//! A world in memory that carries plans out at once: objects appear, their pods run, stores do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use millrace_api::crd::StreamingPipelineStatus;
use millrace_api::names::Component;
use millrace_api::{Pipeline, StreamingPipeline, validate};
use millrace_operator::act::Act;
use millrace_operator::desire::{desire, inputs};
use millrace_operator::hands::settings_question;
use millrace_operator::key::OperatorKey;
use millrace_operator::labels::{COMPONENT_LABEL, RACK_LABEL};
use millrace_operator::objects::Objects;
use millrace_operator::objects::properties::{SERVER_PROPERTIES, parse};
use millrace_operator::objects::scope::{Administration, TEMPLATE_CHECKSUM};
use millrace_operator::observed::{Children, Claim, Growth, Observed, Remembered, Stores, node_addresses};
use millrace_operator::plan::drift::DESIRED_CHECKSUM;
use millrace_operator::plan::{Plan, plan};
use millrace_operator::report::{Outcome, report};
use millrace_operator::scale::scale;
use millrace_operator::workers::load::look;
use millrace_operator::workers::replay::question;
use millrace_stores::cassandra::{NodeFacts, NodeKey, SchemaFacts, TableFacts};
use millrace_stores::kafka::{
    ANY_REPLICA, BrokerSettings, ConfigChange, GroupFacts, KafkaFacts, LogDirs, OFFSETS_TOPIC, PartitionFacts,
    Position, Reassigned, Setting, SettingsFacts, SettingsQuestion, Span, THROTTLED_REPLICAS, TopicFacts,
    wanted_config,
};
use millrace_stores::permitted::Permitted;
use millrace_stores::reach::Reach;
use millrace_stores::zookeeper::{Configuration, Mode, Reconfiguration, ZooKeeperFacts};
use millrace_stores::{cassandra, kafka};
use millrace_terms::Work;
use uuid::Uuid;

/// Label by which a pod tells its template's revision.
const REVISION: &str = "controller-revision-hash";

/// Settings that the brokers here take while they run; of Kafka's own, some.
const DYNAMIC: [&str; 4] = ["log.retention.ms", "message.max.bytes", "num.io.threads", "num.network.threads"];

/// The broker of an external Kafka. Its id is no ordinal.
const OUTSIDE: i32 = 1001;

/// Grace period of pods that another version of the operator made, in seconds.
pub const OTHER_GRACE: i64 = 7;

/// The world, and the resource in it.
#[derive(Clone)]
pub struct World {
    pub resource: StreamingPipeline,
    pub observed: Observed,
    /// Where processors stand in each topic; nothing was written to one that is not there.
    pub read: BTreeMap<String, Position>,
    /// Where processors stand in each partition of the topic that is asked about.
    pub spans: BTreeMap<i32, Span>,
    /// What processors say that they have done, by pod.
    pub work: BTreeMap<String, Work>,
    /// What producers say that they have done for clients that push, by pod.
    pub pushed: BTreeMap<String, Work>,
    /// Bytes that are free on each broker's disk.
    pub usable: u64,
    /// Pace of the brokers' moves.
    pub rate: Option<u64>,
    /// Brokers that do not answer: what is copied onto them never arrives.
    pub away: BTreeSet<i32>,
    /// Who votes in the ensemble. Nobody until it was founded.
    pub voting: Configuration,
    /// The server that leads, if it votes and is there; else it is another.
    pub leader: u32,
    /// Servers that have yet to hear of the last change of who votes, with what they have heard.
    pub behind: BTreeMap<u32, Configuration>,
    /// Values that were set for all brokers.
    pub for_all: BTreeMap<String, String>,
    /// Brokers that refuse every change of their settings, with what they say.
    pub refuse: BTreeMap<i32, String>,
    /// Brokers that would take a change and never do.
    pub deaf: BTreeSet<i32>,
    /// Brokers that do not tell their settings.
    pub mute: BTreeSet<i32>,
    /// Values that a broker was given alone.
    pub own: BTreeMap<(i32, String), String>,
    /// The settings in the file with which each broker's pod began.
    began: BTreeMap<String, BTreeMap<String, String>>,
    /// Topics and tables that were made so far.
    made: u128,
    topics: BTreeMap<String, TopicFacts>,
    offsets_topic: Option<TopicFacts>,
    schema: SchemaFacts,
    /// Topics that an external Kafka does not describe, with the reason.
    pub refused: BTreeMap<String, String>,
}

impl World {
    pub fn of(fixture: &str) -> Self {
        let path = format!("{}/tests/fixtures/{fixture}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the fixture is there");
        Self {
            resource: serde_yaml::from_str(&text).expect("the fixture is a StreamingPipeline"),
            observed: Observed::default(),
            read: BTreeMap::new(),
            spans: BTreeMap::new(),
            work: BTreeMap::new(),
            pushed: BTreeMap::new(),
            usable: 64 << 30,
            rate: None,
            away: BTreeSet::new(),
            voting: Configuration::default(),
            leader: 1,
            behind: BTreeMap::new(),
            for_all: BTreeMap::new(),
            refuse: BTreeMap::new(),
            deaf: BTreeSet::new(),
            mute: BTreeSet::new(),
            own: BTreeMap::new(),
            began: BTreeMap::new(),
            made: 1_000,
            topics: BTreeMap::new(),
            offsets_topic: None,
            schema: SchemaFacts::default(),
            refused: BTreeMap::new(),
        }
    }

    /// Others change the stores.
    pub fn others(&mut self, act: &Act) {
        self.act(act);
        self.settle();
    }

    /// Begins a pod's deletion; the stores have not noticed yet.
    pub fn begin_deletion(&mut self, pod: &str) {
        self.pod(pod).metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    }

    /// Makes a pod one that is not ready.
    pub fn unready(&mut self, pod: &str) {
        self.status(pod).conditions = None;
    }

    /// Makes all pods ones that have run for some minutes.
    pub fn age(&mut self, minutes: i64) {
        self.observed.now += chrono::TimeDelta::minutes(minutes);
        for pod in self.observed.children.pods.values_mut() {
            let status = pod.status.as_mut().expect("it has a status");
            status.start_time.get_or_insert(Time(Timestamp::UNIX_EPOCH));
        }
    }

    /// Makes a pod one that keeps crashing.
    pub fn crash(&mut self, pod: &str) {
        self.unready(pod);
        let waiting =
            ContainerStateWaiting { reason: Some("CrashLoopBackOff".to_owned()), ..ContainerStateWaiting::default() };
        let state = ContainerState { waiting: Some(waiting), ..ContainerState::default() };
        self.status(pod).container_statuses =
            Some(vec![ContainerStatus { state: Some(state), ..ContainerStatus::default() }]);
    }

    /// Makes the keyspace one of so many copies of each row.
    pub fn replicate(&mut self, copies: u32) {
        self.schema.replication = Some([(self.pipeline().cassandra.datacenter, copies.to_string())].into());
        self.settle();
    }

    /// Makes the type of a column what Cassandra calls it.
    pub fn found_column(&mut self, table: &str, column: &str, found: &str) {
        for schema in [&mut self.schema].into_iter().chain(&mut self.observed.stores.cassandra.schema) {
            let columns = &mut schema.tables.get_mut(table).expect("the table is there").columns;
            columns.insert(column.to_owned(), found.to_owned());
        }
    }

    /// Gives the resource an annotation.
    pub fn annotate(&mut self, annotation: &str, value: &str) {
        self.resource.annotations_mut().insert(annotation.to_owned(), value.to_owned());
    }

    /// Makes the stores those that another version of the operator made of the same spec: with other templates and files.
    pub fn of_another_version(&mut self) {
        let children = &mut self.observed.children;
        for stateful_set in children.stateful_sets.values_mut().filter(|set| is_of_store(&**set)) {
            let spec = stateful_set.spec.as_mut().expect("it has a spec");
            spec.template.spec.get_or_insert_default().termination_grace_period_seconds = Some(OTHER_GRACE);
            for note in [TEMPLATE_CHECKSUM, DESIRED_CHECKSUM] {
                stateful_set.annotations_mut().insert(note.to_owned(), "another".to_owned());
            }
        }
        let has_scripts = |files: &ConfigMap| files.data.as_ref().is_some_and(|data| data.contains_key("start.sh"));
        for files in children.config_maps.values_mut().filter(|files| is_of_store(&**files) && has_scripts(files)) {
            files.data.get_or_insert_default().insert("start.sh".to_owned(), "another".to_owned());
            files.annotations_mut().insert(DESIRED_CHECKSUM.to_owned(), "another".to_owned());
        }
        children.pods.clear();
        self.settle();
    }

    /// Has so many pods of every Deployment be of its current template.
    pub fn roll_out(&mut self, updated: i32) {
        for deployment in self.observed.children.deployments.values_mut() {
            deployment.status.as_mut().expect("it has a status").updated_replicas = Some(updated);
        }
    }

    fn status(&mut self, pod: &str) -> &mut PodStatus {
        self.pod(pod).status.as_mut().expect("it has a status")
    }

    fn pod(&mut self, pod: &str) -> &mut Pod {
        self.observed.children.pods.get_mut(pod).expect("the pod is there")
    }

    pub fn pipeline(&self) -> Pipeline {
        validate(&self.resource, millrace_sql::judge).pipeline.expect("the fixture is valid")
    }

    /// Plans one pass over the world as it is, and writes the status that the pass reports.
    pub fn plan(&mut self) -> Plan {
        let pipeline = self.pipeline();
        self.observed.remembered = Remembered::of(&self.resource);
        if let Ok(facts) = &self.observed.stores.kafka {
            let question = settings_question(&pipeline, &self.observed.children);
            let settings = question.map(|question| self.settings(&question, &facts.brokers));
            self.observed.stores.kafka.as_mut().expect("they answer").settings = settings;
        }
        let asked = question(&pipeline, &self.observed.remembered);
        self.observed.spans = match &self.observed.stores.kafka {
            Ok(_) => asked.map(|_| Ok(self.spans.clone())),
            Err(error) => asked.map(|_| Err(error.clone())),
        };
        let before = std::mem::take(&mut self.observed.looks);
        let Observed { now, children, stores, .. } = &self.observed;
        self.observed.looks = look(&pipeline, children, stores, before, *now);
        let administration = Administration {
            worker_image: "worker:1".to_owned(),
            allowed_source_hosts: Vec::new(),
            operator_namespace: "millrace-system".to_owned(),
            allowed_stores: Permitted::default(),
            image_pull_secrets: Vec::new(),
            worker_env: BTreeMap::new(),
            key: OperatorKey::of([7; 32]),
        };
        let scale = scale(&pipeline, &self.observed);
        let status = self.resource.status.as_ref();
        let inputs = inputs(&pipeline, &self.observed, status, &scale, administration);
        let plan = plan(&pipeline, desire(&pipeline, &inputs), &self.observed, scale.membership);
        self.resource.status = Some(self.report(&pipeline, &plan));
        plan
    }

    fn report(&self, pipeline: &Pipeline, plan: &Plan) -> StreamingPipelineStatus {
        let outcome = Outcome::Planned { pipeline, rejected: &[], observed: &self.observed, plan, failure: None };
        report(&self.resource, &outcome, self.observed.now)
    }

    /// Plans one pass and carries it out.
    pub fn step(&mut self) -> Plan {
        let plan = self.plan();
        self.carry_out(&plan);
        plan
    }

    /// Returns how many pods a StatefulSet is told to have.
    pub fn size(&self, set: &str) -> i32 {
        let spec = self.observed.children.stateful_sets[set].spec.as_ref();
        spec.and_then(|spec| spec.replicas).expect("it says how many")
    }

    /// Carries a plan out, and lets the world settle.
    pub fn carry_out(&mut self, plan: &Plan) {
        self.end_moves();
        let Objects {
            service_accounts,
            config_maps,
            services,
            network_policies,
            disruption_budgets,
            stateful_sets,
            deployments,
        } = plan.apply.clone();
        let children = &mut self.observed.children;
        children.service_accounts.extend(named(service_accounts));
        children.config_maps.extend(named(config_maps));
        children.services.extend(named(services));
        children.network_policies.extend(named(network_policies));
        children.disruption_budgets.extend(named(disruption_budgets));
        children.stateful_sets.extend(named(stateful_sets));
        children.deployments.extend(named(deployments));
        for act in &plan.acts {
            self.act(act);
        }
        self.settle();
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::ZooKeeper(change) => self.reconfigure(change),
            Act::Kafka(kafka::Change::AddTopic(topic)) => {
                self.made += 1;
                let partitions = (0..topic.partitions as i32).map(|index| partition(index, vec![OUTSIDE])).collect();
                let id = Uuid::from_u128(self.made);
                let facts = TopicFacts { id, partitions, config: topic.config.clone() };
                self.topics.insert(topic.name.clone(), facts);
            }
            Act::Kafka(kafka::Change::CreateTopic(topic)) => {
                let copies = topic.replication_factor.of_new();
                self.made += 1;
                let id = Uuid::from_u128(self.made);
                let facts = TopicFacts { id, partitions: Vec::new(), config: wanted_config(topic, copies) };
                self.topics.insert(topic.name.clone(), facts);
                self.partitions(&topic.name, topic.partitions, copies);
            }
            Act::Kafka(kafka::Change::AddPartitions { topic, partitions }) => {
                let replicas = self.topics[topic].partitions[0].replicas.len() as u32;
                self.partitions(topic, *partitions, replicas);
            }
            Act::Kafka(kafka::Change::AlterTopic { topic, config: change }) => {
                let config = &mut self.topic(topic).config;
                config.retain(|key, _| !change.unset.contains(key));
                config.extend(change.set.clone());
            }
            Act::Kafka(kafka::Change::Reassign { moves, rate }) => {
                self.rate = Some(*rate);
                for moved in moves {
                    self.reassign(moved);
                }
            }
            Act::Kafka(kafka::Change::Throttle { rate }) => self.rate = Some(*rate),
            Act::Kafka(kafka::Change::CancelMoves { partitions }) => {
                for (topic, index) in partitions {
                    let partition = &mut self.topic(topic).partitions[*index as usize];
                    partition.replicas = partition.origin();
                    (partition.adding, partition.removing) = (Vec::new(), Vec::new());
                }
            }
            Act::Kafka(kafka::Change::ElectLeaders { partitions }) => {
                for (topic, index) in partitions {
                    let partition = &mut self.topic(topic).partitions[*index as usize];
                    partition.leader = partition.replicas.first().copied();
                }
            }
            Act::Kafka(kafka::Change::EndReassignment { topics }) => {
                for topic in topics {
                    self.topic(topic).config.retain(|key, _| !THROTTLED_REPLICAS.contains(&key.as_str()));
                }
            }
            Act::Kafka(kafka::Change::AlterBrokers { config, otherwise }) => {
                let is_taken = config.set.iter().all(|(key, value)| self.is_within_reach(key, Some(value)))
                    && config.unset.iter().all(|key| self.is_within_reach(key, None));
                let ConfigChange { set, unset } = if is_taken { config } else { otherwise };
                self.for_all.retain(|key, _| !unset.contains(key));
                self.for_all.extend(set.clone());
            }
            Act::Kafka(kafka::Change::Rewind { offsets, .. }) => {
                let members = processors(&self.observed.children.deployments);
                assert_eq!(members, 0, "Kafka refuses it while the group has members");
                for (index, offset) in offsets {
                    self.spans.get_mut(index).expect("the partition is there").committed = Some(*offset);
                }
            }
            Act::Cassandra(cassandra::Change::CreateKeyspace) => {
                let cassandra = self.pipeline().cassandra;
                let replication = (cassandra.datacenter, cassandra.replication_factor.of_new().to_string());
                self.schema.replication = Some([replication].into());
            }
            Act::Cassandra(cassandra::Change::CreateType(declared)) => {
                let fields = declared.fields.iter().map(|field| (field.name.clone(), field.column_type.to_string()));
                self.schema.types.insert(declared.name.clone(), fields.collect());
            }
            Act::Cassandra(cassandra::Change::AddField { type_name, field }) => {
                let fields = self.schema.types.get_mut(type_name).expect("the type is there");
                fields.push((field.name.clone(), field.column_type.to_string()));
            }
            Act::Cassandra(cassandra::Change::CreateTable(table)) => {
                self.made += 1;
                let facts = TableFacts {
                    id: Uuid::from_u128(self.made),
                    columns: table
                        .columns
                        .iter()
                        .map(|column| (column.name.clone(), column.column_type.to_string()))
                        .collect(),
                    partition_key: table.partition_key.clone(),
                    clustering_key: table.clustering_key.clone(),
                    ttl_seconds: table.ttl_seconds,
                    gc_grace_seconds: 864_000,
                };
                self.schema.tables.insert(table.name.clone(), facts);
            }
            Act::Cassandra(cassandra::Change::AddColumn { table, column }) => {
                let columns = &mut self.schema.tables.get_mut(table).expect("the table is there").columns;
                columns.insert(column.name.clone(), column.column_type.to_string());
            }
            Act::Cassandra(cassandra::Change::SetTtl { table, ttl_seconds }) => {
                self.schema.tables.get_mut(table).expect("the table is there").ttl_seconds = *ttl_seconds;
            }
            Act::RestartPod(restart) => {
                self.observed.children.pods.remove(&restart.pod);
            }
            Act::RemoveSet(set) | Act::RemakeSet(set) => {
                self.observed.children.stateful_sets.remove(&set.name);
            }
            // That it asks for more does not give it more.
            Act::GrowClaim(growth) => {
                let claims = self.observed.children.volumes.as_mut().expect("claims are there");
                claims.get_mut(&growth.name).expect("the claim is there").size = Some(growth.to.clone());
            }
            Act::RemoveClaim(claim) => {
                self.observed.children.volumes.as_mut().expect("claims are there").remove(&claim.name);
            }
        }
    }

    /// Changes who votes, as ZooKeeper would. What it would refuse, and what would cost brokers their sessions, is a
    /// fault.
    fn reconfigure(&mut self, change: &Reconfiguration) {
        let Reconfiguration { joining, leaving, version } = change;
        assert_eq!(*version, self.voting.version, "it was planned for another configuration");
        let servers = self.observed.addresses(Component::ZooKeeper);
        assert!(joining.keys().all(|ordinal| servers.contains_key(ordinal)), "{joining:?} are not there");
        assert!(leaving.is_subset(&self.voting.voters), "{leaving:?} do not vote");
        assert!(!leaving.contains(&self.leader) || leaving.len() == 1, "the leader leaves with others: {leaving:?}");
        let files = self.observed.children.config_maps["users-kafka"].data.as_ref().expect("it has files");
        let settings = &files["server.properties"];
        let sets = &self.observed.children.stateful_sets;
        let current = revision(&sets["users-kafka"]);
        for pod in self.observed.children.pods_of(Component::Kafka) {
            assert_eq!(pod.labels()[REVISION], current, "a broker has yet to get its settings");
        }
        for ordinal in leaving {
            assert!(!settings.contains(&format!("users-zookeeper-{ordinal}.")), "brokers connect to server {ordinal}");
        }
        self.voting.voters.retain(|ordinal| !leaving.contains(ordinal));
        self.voting.voters.extend(joining.keys());
        self.voting.version += 1;
    }

    /// Has the servers that found the ensemble agree on it once they are there, and another lead where the leader is
    /// gone.
    fn vote(&mut self) {
        let servers = self.observed.addresses(Component::ZooKeeper);
        if self.voting.voters.is_empty() && !servers.is_empty() {
            let told = self.observed.children.config_maps.get("users-zookeeper-members");
            let told = told.and_then(|told| told.data.as_ref());
            let lines = told.map(|told| told["servers"].lines().count()).unwrap_or_default();
            self.voting = Configuration { version: 1, voters: (0..lines as u32).collect() };
        }
        let is_there = |ordinal: &u32| servers.contains_key(ordinal) && self.voting.voters.contains(ordinal);
        if !is_there(&self.leader) {
            self.leader = self.voting.voters.iter().copied().find(is_there).unwrap_or_default();
        }
    }

    fn ensemble(&self) -> ZooKeeperFacts {
        let servers = self.observed.addresses(Component::ZooKeeper);
        let voters = &self.voting.voters;
        let there = voters.iter().filter(|ordinal| servers.contains_key(ordinal)).count();
        if there <= voters.len() / 2 {
            return ZooKeeperFacts::default();
        }
        let mode = |ordinal: u32| if ordinal == self.leader { Mode::Leader } else { Mode::Follower };
        let knows = |ordinal: u32| self.behind.get(&ordinal).unwrap_or(&self.voting).clone();
        ZooKeeperFacts {
            servers: servers.keys().map(|ordinal| (*ordinal, mode(*ordinal))).collect(),
            znodes: Some(72),
            configurations: servers.keys().map(|ordinal| (*ordinal, knows(*ordinal))).collect(),
        }
    }

    /// Gives a topic the partitions that it lacks, in turn on every broker.
    fn partitions(&mut self, topic: &str, partitions: u32, replicas: u32) {
        let brokers = self.observed.addresses(Component::Kafka).len() as i32;
        let found = &mut self.topic(topic).partitions;
        for index in found.len() as i32..partitions as i32 {
            found.push(partition(index, (0..replicas as i32).map(|copy| (index + copy) % brokers).collect()));
        }
    }

    fn topic(&mut self, topic: &str) -> &mut TopicFacts {
        let topic = match topic {
            OFFSETS_TOPIC => self.offsets_topic.as_mut(),
            topic => self.topics.get_mut(topic),
        };
        topic.expect("the topic is there")
    }

    /// Puts a partition's replicas elsewhere; they are copied until plans are carried out the next time.
    fn reassign(&mut self, moved: &Reassigned) {
        let topic = self.topic(&moved.topic);
        topic.config.extend(THROTTLED_REPLICAS.map(|key| (key.to_owned(), ANY_REPLICA.to_owned())));
        let partition = &mut topic.partitions[moved.partition as usize];
        assert_eq!(partition.replicas, moved.from, "it is where it was");
        assert_eq!(moved.from.len(), moved.to.len(), "no copy is lost, and none is added");
        partition.adding = moved.added();
        partition.removing = moved.from.iter().filter(|broker| !moved.to.contains(broker)).copied().collect();
        partition.replicas = moved.to.iter().chain(&partition.removing).copied().collect();
    }

    fn end_moves(&mut self) {
        let partitions =
            self.topics.values_mut().chain(&mut self.offsets_topic).flat_map(|topic| &mut topic.partitions);
        let arrives = |partition: &PartitionFacts| !partition.adding.iter().any(|broker| self.away.contains(broker));
        for partition in partitions.filter(|partition| arrives(partition)) {
            partition.replicas = partition.target();
            partition.in_sync = partition.replicas.len();
            (partition.adding, partition.removing) = (Vec::new(), Vec::new());
            if partition.leader.is_none_or(|leader| !partition.replicas.contains(&leader)) {
                partition.leader = partition.replicas.first().copied();
            }
        }
    }

    fn every_partition(&self) -> impl Iterator<Item = &PartitionFacts> {
        self.topics.values().chain(&self.offsets_topic).flat_map(|topic| &topic.partitions)
    }

    /// Returns the value with which a broker began: of its file, or Kafka's default, which is 8 for all here.
    fn begun_with(&self, broker: i32, key: &str) -> String {
        let file = self.began.get(&format!("users-kafka-{broker}"));
        file.and_then(|file| file.get(key)).cloned().unwrap_or_else(|| "8".to_owned())
    }

    /// Returns the value that a broker has in force.
    pub fn in_force(&self, broker: i32, key: &str) -> String {
        let own = self.own.get(&(broker, key.to_owned()));
        let for_all = self.for_all.get(key).filter(|_| !self.deaf.contains(&broker));
        own.or(for_all).cloned().unwrap_or_else(|| self.begun_with(broker, key))
    }

    /// Returns whether the first broker takes a value for all at once. Kafka lets no pool of threads more than double, nor fall
    /// below half. `None`: none for all.
    fn is_within_reach(&self, key: &str, value: Option<&String>) -> bool {
        let value = value.cloned().unwrap_or_else(|| self.begun_with(0, key));
        match (self.in_force(0, key).parse::<i64>(), value.parse::<i64>()) {
            (Ok(now), Ok(then)) if key.ends_with(".threads") => (now / 2..=now * 2).contains(&then),
            _ => true,
        }
    }

    fn settings(&self, question: &SettingsQuestion, brokers: &BTreeSet<i32>) -> SettingsFacts {
        let mut facts = SettingsFacts { for_all: self.for_all.clone(), ..SettingsFacts::default() };
        if facts.for_all.is_empty() && question.change.is_empty() && !question.may_differ {
            return facts;
        }
        let keys: BTreeSet<&String> =
            question.keys.iter().chain(question.change.keys()).chain(self.for_all.keys()).collect();
        for broker in brokers.difference(&self.mute) {
            let setting = |key: &&String| Setting {
                value: Some(self.in_force(*broker, key)),
                begun_with: Some(self.begun_with(*broker, key)),
                is_read_only: !DYNAMIC.contains(&key.as_str()),
                is_own: self.own.contains_key(&(*broker, (*key).clone())),
            };
            let settings = keys.iter().map(|key| ((*key).clone(), setting(key))).collect();
            let answer = (!question.change.is_empty()).then(|| self.would_take(*broker, &question.change));
            facts.brokers.insert(*broker, BrokerSettings { settings, answer });
        }
        facts
    }

    fn would_take(&self, broker: i32, change: &BTreeMap<String, String>) -> Result<(), String> {
        if let Some(says) = self.refuse.get(&broker) {
            return Err(says.clone());
        }
        if !change.keys().all(|key| DYNAMIC.contains(&key.as_str())) {
            return Err("Cannot update these configs dynamically".to_owned());
        }
        let is_near = change.iter().all(|(key, value)| self.is_within_reach(key, Some(value)));
        is_near.then_some(()).ok_or_else(|| "Dynamic thread count update validation failed".to_owned())
    }

    /// Gives every workload its pods, ready, and every store the members that have pods.
    pub fn settle(&mut self) {
        let children = &mut self.observed.children;
        self.began.retain(|pod, _| children.pods.contains_key(pod));
        let file =
            children.config_maps.get("users-kafka").and_then(|files| files.data.as_ref()?.get(SERVER_PROPERTIES));
        let file = file.map(|file| parse(file)).unwrap_or_default();
        for stateful_set in children.stateful_sets.values_mut() {
            let revision = revision(stateful_set);
            let uid = format!("uid-of-{}", stateful_set.name_any());
            stateful_set.metadata.uid.get_or_insert(uid);
            let replicas = stateful_set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            if stateful_set.name_any() == "users-zookeeper" {
                let last = self.voting.voters.last().copied().unwrap_or_default();
                assert!(last.cast_signed() < replicas, "server {last} goes, and votes");
            }
            stateful_set.status = Some(StatefulSetStatus {
                replicas,
                ready_replicas: Some(replicas),
                updated_replicas: Some(replicas),
                update_revision: Some(revision.clone()),
                observed_generation: stateful_set.metadata.generation,
                ..StatefulSetStatus::default()
            });
            for ordinal in 0..replicas {
                let name = format!("{}-{ordinal}", stateful_set.name_any());
                if stateful_set.name_any() == "users-kafka" {
                    self.began.entry(name.clone()).or_insert_with(|| file.clone());
                }
                let labels = stateful_set.labels().clone();
                let template = stateful_set.spec.as_ref().and_then(|spec| spec.template.metadata.clone());
                let annotations = template.and_then(|metadata| metadata.annotations);
                let rack = stateful_set.name_any().rsplit_once('-').map(|(_, rack)| rack.to_owned());
                let count = children.pods.len() as u8;
                let made =
                    children.pods.entry(name.clone()).or_insert_with(|| pod(&name, labels, &revision, rack, count));
                made.metadata.annotations.get_or_insert(annotations.unwrap_or_default());
            }
            let set = stateful_set.name_any();
            children.pods.retain(|name, _| match name.rsplit_once('-') {
                Some((owner, ordinal)) if owner == set => ordinal.parse().is_ok_and(|ordinal: i32| ordinal < replicas),
                _ => true,
            });
        }
        for deployment in children.deployments.values_mut() {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            deployment.status = Some(DeploymentStatus {
                replicas,
                ready_replicas: replicas,
                updated_replicas: replicas,
                ..DeploymentStatus::default()
            });
        }
        self.commit_offsets();
        self.vote();
        self.observed.stores = self.stores();
    }

    /// Has Kafka make the topic for offsets when the first processors come, with the copies that the brokers allow then.
    fn commit_offsets(&mut self) {
        let brokers = self.observed.addresses(Component::Kafka).len();
        if self.offsets_topic.is_none() && processors(&self.observed.children.deployments) > 0 {
            let partitions = vec![partition(0, (0..brokers.min(3) as i32).collect())];
            self.offsets_topic = Some(TopicFacts { id: Uuid::from_u128(8), partitions, config: BTreeMap::new() });
        }
    }

    /// As the stores' client does, nothing is said before every topic that queries read is there.
    fn positions(&self) -> Option<BTreeMap<String, Position>> {
        let position = |topic: &String| self.read.get(topic).cloned().unwrap_or_default();
        let queries = &self.resource.spec.processor.queries;
        let topics = queries.iter().map(|query| &query.from);
        topics.map(|topic| self.topics.contains_key(topic).then(|| (topic.clone(), position(topic)))).collect()
    }

    /// Cassandra loses its volumes: it comes back empty.
    pub fn empty_cassandra(&mut self) {
        self.schema = SchemaFacts::default();
        self.settle();
    }

    /// Somebody drops a table.
    pub fn drop_table(&mut self, name: &str) {
        self.schema.tables.remove(name);
        self.settle();
    }

    /// Cassandra has a keyspace that is not the pipeline's.
    pub fn found_keyspace(&mut self, name: &str) {
        self.schema.other_keyspaces.insert(name.to_owned());
        self.settle();
    }

    /// Somebody deletes a topic.
    pub fn delete_topic(&mut self, name: &str) {
        self.topics.remove(name);
        self.read.remove(name);
        self.settle();
    }

    /// Processors have read so many of a topic's records.
    pub fn read(&mut self, topic: &str, end: i64, committed: i64) {
        let lag = (end - committed).max(0);
        let behind = (lag > 0).then_some((0, lag)).into_iter().collect();
        let position =
            Position { end, committed, beyond: (committed - end).max(0), lag, behind, ..Position::default() };
        self.read.insert(topic.to_owned(), position);
        self.settle();
    }

    /// Every replica has a mebibyte, those that are being copied none.
    fn log_dirs(&self) -> BTreeMap<i32, LogDirs> {
        let mut dirs: BTreeMap<i32, LogDirs> = BTreeMap::new();
        for ordinal in self.observed.addresses(Component::Kafka).into_keys() {
            let usable = Some(self.usable);
            let empty = LogDirs { total: Some(100 << 30), usable, sizes: BTreeMap::new(), rate: self.rate };
            dirs.insert(ordinal as i32, empty);
        }
        let offsets = self.offsets_topic.iter().map(|topic| (OFFSETS_TOPIC, topic));
        for (name, topic) in self.topics.iter().map(|(name, topic)| (name.as_str(), topic)).chain(offsets) {
            for found in &topic.partitions {
                for broker in found.replicas.iter().filter(|broker| !found.adding.contains(broker)) {
                    let dir = dirs.entry(*broker).or_default();
                    dir.sizes.insert((name.to_owned(), found.index), 1 << 20);
                }
            }
        }
        dirs
    }

    fn stores(&self) -> Stores {
        let children = &self.observed.children;
        let ordinals = |component| self.observed.addresses(component).into_keys().collect::<Vec<_>>();
        let mut running: BTreeSet<i32> = ordinals(Component::Kafka).into_iter().map(|ordinal| ordinal as i32).collect();
        running.extend(self.resource.spec.kafka.external.as_ref().map(|_| OUTSIDE));
        let brokers: BTreeSet<i32> = running.difference(&self.away).copied().collect();
        let processors: i32 = processors(&children.deployments);
        let kafka = KafkaFacts {
            controller: brokers.first().copied(),
            brokers,
            topics: self.topics.clone(),
            offsets_topic: self.offsets_topic.clone(),
            group: Some(GroupFacts { stable: true, members: processors as usize, clients: BTreeSet::new() }),
            positions: self.positions(),
            under_replicated: self.every_partition().filter(|found| found.in_sync < found.replicas.len()).count(),
            internal_topics: BTreeMap::new(),
            racks: BTreeMap::new(),
            knows_reassignments: true,
            log_dirs: Some(self.log_dirs()),
            // Asked anew before each pass, as the spec is then.
            settings: None,
            refused: self.refused.clone(),
        };
        let gone: Vec<_> =
            self.every_partition().flat_map(|found| &found.replicas).filter(|id| !running.contains(*id)).collect();
        assert!(kafka.brokers.is_empty() || gone.is_empty(), "brokers {gone:?} went with their replicas");
        let addresses = node_addresses(children);
        let everybody: BTreeSet<_> = addresses.values().copied().collect();
        let host_ids: BTreeMap<_, _> = addresses.keys().map(|key| (key.clone(), host_id(key))).collect();
        let node = |key: &NodeKey, address| NodeFacts {
            address,
            host_id: host_ids[key],
            joined: true,
            release: self.resource.spec.cassandra.version.clone(),
            schema_version: Uuid::from_u128(1),
            used_mebibytes: Some(100),
            has_auto_repair: false,
            sees_normal: everybody.clone(),
            ring: host_ids.values().copied().filter(|id| *id != host_ids[key]).collect(),
        };
        let mut stores = Stores {
            zookeeper: self.ensemble(),
            kafka: if kafka.brokers.is_empty() { Err("no broker".to_owned()) } else { Ok(kafka) },
            processors: self.work.clone(),
            producers: self.pushed.clone(),
            ..Stores::default()
        };
        stores.cassandra.nodes = addresses.iter().map(|(key, address)| (key.clone(), node(key, *address))).collect();
        if self.resource.spec.cassandra.external.is_some() {
            let key = (Uuid::from_u128(9).to_string(), 0);
            let facts = NodeFacts {
                address: IpAddr::from([10_u8, 8, 0, 2]),
                host_id: Uuid::from_u128(9),
                joined: true,
                release: "4.1.3".to_owned(),
                schema_version: Uuid::from_u128(1),
                used_mebibytes: None,
                has_auto_repair: false,
                sees_normal: BTreeSet::new(),
                ring: BTreeSet::new(),
            };
            stores.outside.nodes = Reach::at([(key.clone(), SocketAddr::new(facts.address, 9042))].into());
            stores.cassandra.nodes.insert(key, facts);
        }
        if self.resource.spec.kafka.external.is_some() && !self.away.contains(&OUTSIDE) {
            let address = SocketAddr::from(([10_u8, 8, 0, 1], 9092));
            stores.outside.brokers = Reach::at([(OUTSIDE.cast_unsigned(), address)].into());
        }
        stores.cassandra.schema = Some(self.schema.clone()).filter(|_| !stores.cassandra.nodes.is_empty());
        stores
    }
}

/// Returns a claim with a volume, of which nothing else is known; its UID tells it from another of the same name.
pub fn claim(uid: &str) -> Claim {
    Claim {
        uid: uid.to_owned(),
        resource_version: "7".to_owned(),
        class: None,
        size: None,
        component: None,
        rack: None,
        is_unbound: false,
        is_leaving: false,
        is_owned: false,
        has_left: false,
        growth: Growth::default(),
    }
}

/// Returns the identity that a node has for as long as it has its volume.
pub fn host_id((rack, ordinal): &NodeKey) -> Uuid {
    let text = format!("{rack}-{ordinal}");
    Uuid::from_u128(text.bytes().fold(0, |number, byte| (number << 8) | u128::from(byte)))
}

fn is_of_store(object: &impl ResourceExt) -> bool {
    object
        .labels()
        .get(COMPONENT_LABEL)
        .is_some_and(|label| ["zookeeper", "kafka", "cassandra"].contains(&label.as_str()))
}

fn partition(index: i32, replicas: Vec<i32>) -> PartitionFacts {
    PartitionFacts {
        index,
        leader: replicas.first().copied(),
        in_sync: replicas.len(),
        replicas,
        adding: Vec::new(),
        removing: Vec::new(),
    }
}

fn processors(deployments: &BTreeMap<String, Deployment>) -> i32 {
    deployments.values().filter_map(|deployment| deployment.spec.as_ref()?.replicas).sum()
}

fn named<K: kube::Resource>(objects: Vec<K>) -> impl Iterator<Item = (String, K)> {
    objects.into_iter().map(|object| (object.name_any(), object))
}

/// Returns a revision that changes with the pod template, as the StatefulSet controller's does.
fn revision(stateful_set: &StatefulSet) -> String {
    let template = stateful_set.spec.as_ref().map(|spec| serde_json::to_string(&spec.template).expect("serialises"));
    format!(
        "{:x}",
        template.unwrap_or_default().bytes().fold(5381u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte))
    )
}

fn pod(name: &str, mut labels: BTreeMap<String, String>, revision: &str, rack: Option<String>, count: u8) -> Pod {
    labels.insert(REVISION.to_owned(), revision.to_owned());
    if labels.get(COMPONENT_LABEL).is_some_and(|component| component == "cassandra") {
        labels.insert(RACK_LABEL.to_owned(), rack.unwrap_or_default());
    }
    let ready = PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), ..PodCondition::default() };
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(format!("uid-of-{name}")),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        status: Some(PodStatus {
            pod_ip: Some(format!("10.0.0.{}", count + 1)),
            conditions: Some(vec![ready]),
            ..PodStatus::default()
        }),
        ..Pod::default()
    }
}

/// Returns the children's names, for a look at the whole.
pub fn workloads(children: &Children) -> Vec<String> {
    children.stateful_sets.keys().chain(children.deployments.keys()).cloned().collect()
}
