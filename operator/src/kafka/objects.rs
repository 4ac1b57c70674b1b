//! The Kafka brokers, which keep their metadata in the pipeline's ZooKeeper.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use millrace_api::crd::kafka::is_refused;
use millrace_api::names::Component;
use millrace_api::pipeline::{Kafka, Member, default_min_in_sync, default_replication_factor};
use millrace_api::ports::{KAFKA, Port, ZOOKEEPER_CLIENT};

use crate::objects::pod::{Members, Probes, Rhythm, Store, User, command_probe, script, stateful_set, variable};
use crate::objects::properties::{self, SERVER_PROPERTIES};
use crate::objects::scope::{Files, Inputs, Labels, Scope, annotated, files, heap_mebibytes, layered};
use crate::objects::{Objects, network};
use millrace_stores::kafka::BROKER_MIN_IN_SYNC;

const PORTS: &[Port] = &[KAFKA];

/// Returns the brokers' objects.
pub fn objects(scope: &Scope<'_>, inputs: &Inputs) -> Objects {
    let kafka = &scope.pipeline.kafka;
    let brokers = inputs.replicas.kafka;
    let connected = &inputs.ensemble.connected;
    let files = config(scope, kafka, brokers, connected);
    let mut member = kafka.member.clone();
    // Which servers brokers connect to is what people asked for, once they may.
    member.inputs["zookeeperReplicas"] = connected.len().into();
    let copies = Some(default_replication_factor(brokers));
    Objects {
        config_maps: vec![scope.config_map(&files)],
        services: vec![scope.nodes_service(PORTS), annotated(scope.client_service(PORTS), &kafka.service_annotations)],
        network_policies: vec![network_policy(scope)],
        disruption_budgets: vec![scope.disruption_budget()],
        stateful_sets: vec![stateful_set(
            scope,
            &Store { copies, member: &member, ..store(scope, kafka, &files) },
            Members { name: scope.name(), replicas: brokers, labels: Labels::new(), env: Vec::new() },
        )],
        ..Objects::default()
    }
}

fn config(scope: &Scope<'_>, kafka: &Kafka, brokers: u32, connected: &BTreeSet<u32>) -> Files {
    files([
        ("answers.sh", include_str!("files/answers.sh").to_owned()),
        ("java.security", include_str!("../objects/files/java.security").to_owned()),
        ("log4j.properties", include_str!("files/log4j.properties").to_owned()),
        (SERVER_PROPERTIES, server_properties(scope, kafka, brokers, connected)),
        ("start.sh", include_str!("files/start.sh").to_owned()),
    ])
}

/// Returns the settings of all brokers, of which there are so many, with the ZooKeeper servers that they connect to;
/// `start.sh` adds what differs: the id and the advertised address.
fn server_properties(scope: &Scope<'_>, kafka: &Kafka, brokers: u32, connected: &BTreeSet<u32>) -> String {
    let replication = default_replication_factor(brokers);
    let in_sync = default_min_in_sync(replication);
    let names = &scope.pipeline.names;
    let set = names.component(Component::ZooKeeper);
    let host = |ordinal: &u32| names.pod_host(&set, Component::ZooKeeper, *ordinal);
    let servers: Vec<String> =
        connected.iter().map(|ordinal| format!("{}:{}", host(ordinal), ZOOKEEPER_CLIENT.number)).collect();
    let defaults = [
        // A stop with the controller gone gives up after two tries of 8 s, and the leaders move by themselves.
        ("controlled.shutdown.max.retries", "2".to_owned()),
        ("controlled.shutdown.retry.backoff.ms", "1000".to_owned()),
        ("controller.socket.timeout.ms", "8000".to_owned()),
        // Processors start together; to wait 3 s for more of them, the default, only delays the first row.
        ("group.initial.rebalance.delay.ms", "500".to_owned()),
        // The only compacted topic is small; the default takes 128 MiB of the heap.
        ("log.cleaner.dedupe.buffer.size", "33554432".to_owned()),
        // A pipeline has one consumer group and whatever people try; 50, the default, takes seconds to create.
        ("offsets.topic.num.partitions", "10".to_owned()),
        // All pods are created at once, and ZooKeeper may be long in coming; without it a broker would end itself.
        ("zookeeper.connection.timeout.ms", "120000".to_owned()),
        // Not lowered, though a killed broker cannot come back before: a controller whose session stalls for two thirds
        // of it writes replicas twice, takes its own first write for another's, and never counts them as in sync again
        // (docs/runbooks.md, under-replicated).
        ("zookeeper.session.timeout.ms", "18000".to_owned()),
    ];
    let owned = [
        // Topics are declared in the resource; a misspelt one must fail and not appear.
        ("auto.create.topics.enable", "false".to_owned()),
        ("broker.id.generation.enable", "false".to_owned()),
        ("controlled.shutdown.enable", "true".to_owned()),
        ("default.replication.factor", replication.to_string()),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT".to_owned()),
        ("listeners", format!("PLAINTEXT://:{}", KAFKA.number)),
        // Not the volume's root: Kafka takes every directory there, such as lost+found, for a partition.
        ("log.dirs", "/var/lib/kafka/data/log".to_owned()),
        // Of topics that do not say it. It must not follow the number of brokers: topics keep the copies that they were
        // created with. `plan` gives each of ours, and the committed offsets, what their own copies allow.
        ("min.insync.replicas", BROKER_MIN_IN_SYNC.to_string()),
        ("offsets.topic.replication.factor", replication.to_string()),
        ("transaction.state.log.min.isr", in_sync.to_string()),
        ("transaction.state.log.replication.factor", replication.to_string()),
        // An acknowledged record is never given up for availability.
        ("unclean.leader.election.enable", "false".to_owned()),
        ("zookeeper.connect", servers.join(",")),
    ];
    // Admission refuses them, too; a resource that has gone round it must not lose records.
    let user = kafka.member.config.clone().into_iter().filter(|(key, _)| !is_refused(key));
    properties::render(&layered(defaults, user, owned))
}

fn store<'a>(scope: &Scope<'_>, kafka: &'a Kafka, files: &'a Files) -> Store<'a> {
    let names = &scope.pipeline.names;
    let nodes_host = format!("{}.{}.svc", names.nodes_service(Component::Kafka), names.namespace());
    Store {
        member: &kafka.member,
        user: User(1000),
        files,
        copies: None,
        told: Vec::new(),
        env: environment(kafka, nodes_host),
        ports: PORTS,
        data: "/var/lib/kafka/data",
        scratch: &[
            ("config", "/mnt/shared/config"),
            ("logs", "/var/log/kafka"),
            ("secrets", "/etc/kafka/secrets"),
            ("tmp", "/tmp"),
        ],
        probes: Probes {
            // Log recovery after a kill reads whole segments.
            startup: command_probe(script("answers.sh", &[]), Rhythm::start_within_minutes(20)),
            liveness: command_probe(script("answers.sh", &[]), Rhythm { period: 15, timeout: 10, failures: 4 }),
            readiness: command_probe(script("answers.sh", &[]), Rhythm { period: 5, timeout: 5, failures: 2 }),
        },
        before_stop: None,
    }
}

fn environment(kafka: &Kafka, nodes_host: String) -> Vec<EnvVar> {
    let Member { resources, jvm_options, .. } = &kafka.member;
    let mut variables = vec![variable("BROKER_HEAP", format!("{}m", heap_mebibytes(resources.memory_limit)))];
    if !jvm_options.is_empty() {
        variables.push(variable("BROKER_JVM_OPTIONS", jvm_options.join(" ")));
    }
    variables.push(variable("LOG_DIR", "/var/log/kafka"));
    variables.push(variable("NODES_HOST", nodes_host));
    variables
}

fn network_policy(scope: &Scope<'_>) -> NetworkPolicy {
    let [kafka, producer, processor, run, zookeeper] =
        [Component::Kafka, Component::Producer, Component::Processor, Component::Run, Component::ZooKeeper]
            .map(|component| network::component(scope.pipeline, component));
    let own = network::from(vec![kafka.clone(), producer, processor, run, network::operator(scope)], PORTS);
    let named = network::from_named(&scope.pipeline.kafka.access_from, PORTS);
    network::allow(
        scope,
        [own].into_iter().chain(named).collect(),
        vec![network::to(vec![kafka], PORTS), network::to(vec![zookeeper], &[ZOOKEEPER_CLIENT])],
    )
}
