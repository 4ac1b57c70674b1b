//! The ZooKeeper ensemble.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use millrace_api::crd::zookeeper::is_refused;
use millrace_api::names::Component;
use millrace_api::pipeline::ZooKeeper;
use millrace_api::ports::{Port, ZOOKEEPER_CLIENT, ZOOKEEPER_ELECTION, ZOOKEEPER_QUORUM};

use crate::objects::pod::{FILES, Members, Probes, Rhythm, Store, User, command_probe, script, stateful_set, variable};
use crate::objects::scope::{Files, Inputs, Labels, Scope, files, heap_mebibytes, layered};
use crate::objects::{Objects, network, properties};

const PORTS: &[Port] = &[ZOOKEEPER_CLIENT, ZOOKEEPER_QUORUM, ZOOKEEPER_ELECTION];

/// Returns the ensemble's objects.
pub fn objects(scope: &Scope<'_>, inputs: &Inputs) -> Objects {
    let zookeeper = &scope.pipeline.zookeeper;
    let files = config(scope, zookeeper);
    Objects {
        config_maps: vec![scope.config_map(&files)],
        services: vec![scope.nodes_service(PORTS), scope.client_service(&[ZOOKEEPER_CLIENT])],
        network_policies: vec![network_policy(scope)],
        disruption_budgets: vec![scope.disruption_budget()],
        stateful_sets: vec![stateful_set(
            scope,
            &store(zookeeper, &files),
            Members { name: scope.name(), replicas: inputs.replicas.zookeeper, labels: Labels::new(), env: Vec::new() },
        )],
        ..Objects::default()
    }
}

fn config(scope: &Scope<'_>, zookeeper: &ZooKeeper) -> Files {
    files([
        ("answers.sh", include_str!("files/answers.sh").to_owned()),
        ("java.security", include_str!("../objects/files/java.security").to_owned()),
        ("logback.xml", include_str!("files/logback.xml").to_owned()),
        ("start.sh", include_str!("files/start.sh").to_owned()),
        ("stop.sh", include_str!("files/stop.sh").to_owned()),
        ("zoo.cfg", zoo_cfg(scope, zookeeper)),
    ])
}

fn zoo_cfg(scope: &Scope<'_>, zookeeper: &ZooKeeper) -> String {
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
        ("4lw.commands.whitelist", "mntr,ruok,srvr"),
        ("admin.enableServer", "false"),
        ("clientPort", "2181"),
        ("dataDir", "/data"),
        // A pod knows its own name only when the name service does, which may be later.
        ("quorumListenOnAllIPs", "true"),
    ];
    // Admission refuses them, too; a resource that has gone round it must not move the ensemble's data.
    let user = zookeeper.member.config.clone().into_iter().filter(|(key, _)| !is_refused(key));
    let mut settings = layered(own(defaults), user, own(owned));
    // A single server stands alone; listing it would only earn a warning.
    if zookeeper.replicas > 1 {
        let servers = scope.ensemble().into_iter().zip(1..).map(|(host, id)| {
            (format!("server.{id}"), format!("{host}:{}:{}", ZOOKEEPER_QUORUM.number, ZOOKEEPER_ELECTION.number))
        });
        settings.extend(servers);
    }
    properties::render(&settings)
}

fn own<const N: usize>(settings: [(&'static str, &str); N]) -> [(&'static str, String); N] {
    settings.map(|(key, value)| (key, value.to_owned()))
}

fn store<'a>(zookeeper: &'a ZooKeeper, files: &'a Files) -> Store<'a> {
    Store {
        member: &zookeeper.member,
        user: User(1000),
        files,
        copies: None,
        env: vec![
            variable("JMXDISABLE", "true"),
            variable("SERVER_JVMFLAGS", jvm_flags(zookeeper)),
            variable("ZK_SERVER_HEAP", heap_mebibytes(zookeeper.member.resources.memory_limit).to_string()),
            variable("ZOOCFGDIR", FILES),
        ],
        ports: PORTS,
        data: "/data",
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

fn jvm_flags(zookeeper: &ZooKeeper) -> String {
    let own = format!("-Djava.security.properties={FILES}/java.security");
    [own].iter().chain(&zookeeper.member.jvm_options).map(String::as_str).collect::<Vec<_>>().join(" ")
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
