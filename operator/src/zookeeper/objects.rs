//! The ZooKeeper ensemble.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use millrace_api::crd::zookeeper::is_refused;
use millrace_api::names::Component;
use millrace_api::pipeline::ZooKeeper;
use millrace_api::ports::{Port, ZOOKEEPER_CLIENT, ZOOKEEPER_ELECTION, ZOOKEEPER_QUORUM};

use super::membership::{FOUNDED, SERVERS, line};
use crate::objects::pod::{
    FILES, Members, Probes, Rhythm, Store, Told, User, command_probe, script, stateful_set, variable,
};
use crate::objects::scope::{Ensemble, Files, Inputs, Labels, Scope, files, heap_mebibytes, layered};
use crate::objects::{Objects, network, properties};

const PORTS: &[Port] = &[ZOOKEEPER_CLIENT, ZOOKEEPER_QUORUM, ZOOKEEPER_ELECTION];

/// Returns the ensemble's objects.
pub fn objects(scope: &Scope<'_>, inputs: &Inputs) -> Objects {
    let zookeeper = &scope.pipeline.zookeeper;
    let files = config(zookeeper);
    Objects {
        config_maps: vec![scope.config_map(&files), members(scope, &inputs.ensemble)],
        services: vec![scope.nodes_service(PORTS), scope.client_service(&[ZOOKEEPER_CLIENT])],
        network_policies: vec![network_policy(scope)],
        disruption_budgets: vec![scope.disruption_budget()],
        stateful_sets: vec![stateful_set(
            scope,
            &store(scope, zookeeper, &files),
            Members { name: scope.name(), replicas: inputs.replicas.zookeeper, labels: Labels::new(), env: Vec::new() },
        )],
        ..Objects::default()
    }
}

/// Returns the ConfigMap by which a server finds those that vote. Beside its files, since it changes while servers run.
fn members(scope: &Scope<'_>, ensemble: &Ensemble) -> ConfigMap {
    let names = &scope.pipeline.names;
    let lines: String = ensemble.voters.iter().map(|ordinal| format!("{}\n", line(names, *ordinal))).collect();
    let mut data = files([(SERVERS, lines)]);
    if ensemble.is_founded {
        data.insert(FOUNDED.to_owned(), "true\n".to_owned());
    }
    ConfigMap { metadata: scope.metadata(names.zookeeper_members()), data: Some(data), ..ConfigMap::default() }
}

fn config(zookeeper: &ZooKeeper) -> Files {
    files([
        ("answers.sh", include_str!("files/answers.sh").to_owned()),
        ("java.security", include_str!("../objects/files/java.security").to_owned()),
        ("logback.xml", include_str!("files/logback.xml").to_owned()),
        ("start.sh", include_str!("files/start.sh").to_owned()),
        ("stop.sh", include_str!("files/stop.sh").to_owned()),
        ("zoo.cfg", zoo_cfg(zookeeper)),
    ])
}

/// Returns the settings of all servers; `start.sh` adds where the list of servers is.
fn zoo_cfg(zookeeper: &ZooKeeper) -> String {
    let defaults = [
        // Snapshots and logs are kept for ever otherwise.
        ("autopurge.purgeInterval", "1"),
        ("autopurge.snapRetainCount", "3"),
        ("initLimit", "10"),
        ("syncLimit", "5"),
        ("tickTime", "2000"),
    ];
    let owned = [
        // What the probes and the operator ask.
        ("4lw.commands.whitelist", "conf,mntr,ruok,srvr"),
        ("admin.enableServer", "false"),
        ("dataDir", "/data"),
        // A pod knows its own name only when the name service does, which may be later.
        ("quorumListenOnAllIPs", "true"),
        ("reconfigEnabled", "true"),
        // One that stands alone has no list of servers, and could not let another in.
        ("standaloneEnabled", "false"),
    ];
    // Admission refuses them, too; a resource that has gone round it must not move the ensemble's data.
    let user = zookeeper.member.config.clone().into_iter().filter(|(key, _)| !is_refused(key));
    properties::render(&layered(own(defaults), user, own(owned)))
}

fn own<const N: usize>(settings: [(&'static str, &str); N]) -> [(&'static str, String); N] {
    settings.map(|(key, value)| (key, value.to_owned()))
}

fn store<'a>(scope: &Scope<'_>, zookeeper: &'a ZooKeeper, files: &'a Files) -> Store<'a> {
    let names = &scope.pipeline.names;
    let digest = scope.administration.key.zookeeper_digest(&scope.pipeline.uid);
    Store {
        member: &zookeeper.member,
        user: User(1000),
        files,
        copies: None,
        env: vec![
            variable("JMXDISABLE", "true"),
            variable("NODES_HOST", format!("{}.{}.svc", names.nodes_service(Component::ZooKeeper), names.namespace())),
            variable("SERVER_JVMFLAGS", jvm_flags(zookeeper, &digest)),
            variable("ZK_SERVER_HEAP", heap_mebibytes(zookeeper.member.resources.memory_limit).to_string()),
            variable("ZOOCFGDIR", FILES),
        ],
        ports: PORTS,
        data: "/data",
        told: vec![Told { volume: "members", config_map: names.zookeeper_members(), path: "/members" }],
        scratch: &[("datalog", "/datalog"), ("logs", "/logs"), ("tmp", "/tmp")],
        probes: Probes {
            startup: command_probe(script("answers.sh", &["ruok", "imok"]), Rhythm::start_within_minutes(10)),
            // `ruok` is answered without a quorum; a restart would not bring one.
            liveness: command_probe(
                script("answers.sh", &["ruok", "imok"]),
                Rhythm { period: 15, timeout: 10, failures: 4 },
            ),
            readiness: command_probe(
                script("answers.sh", &["srvr", "Mode: "]),
                Rhythm { period: 5, timeout: 5, failures: 2 },
            ),
        },
        before_stop: Some(script("stop.sh", &[])),
    }
}

/// Returns the flags of the JVM. The digest lets the operator, and nobody else, change who votes.
fn jvm_flags(zookeeper: &ZooKeeper, digest: &str) -> String {
    let own = [
        format!("-Djava.security.properties={FILES}/java.security"),
        "-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA-256".to_owned(),
        format!("-Dzookeeper.DigestAuthenticationProvider.superDigest={digest}"),
    ];
    own.iter().chain(&zookeeper.member.jvm_options).map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn network_policy(scope: &Scope<'_>) -> NetworkPolicy {
    let own = network::component(scope.pipeline, Component::ZooKeeper);
    let kafka = network::component(scope.pipeline, Component::Kafka);
    let peers = &[ZOOKEEPER_QUORUM, ZOOKEEPER_ELECTION];
    network::allow(
        scope,
        vec![
            network::from(vec![kafka, network::operator(scope)], &[ZOOKEEPER_CLIENT]),
            network::from(vec![own.clone()], peers),
        ],
        vec![network::to(vec![own], peers)],
    )
}
