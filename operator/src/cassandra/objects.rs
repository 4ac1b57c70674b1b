//! The Cassandra nodes: one StatefulSet per rack, one configuration for all.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use millrace_api::crd::cassandra::is_refused;
use millrace_api::names::Component;
use millrace_api::pipeline::{Cassandra, Rack};
use millrace_api::ports::{CASSANDRA_CQL, CASSANDRA_INTERNODE, CASSANDRA_INTERNODE_TLS, Port};
use serde_json::{Value, json};

use super::memory::SCRIPT;
use super::nodes;
use super::repair::{OPTIONS_FILE, SWITCH, settings};
use crate::labels::RACK_LABEL;
use crate::objects::pod::{
    Members, Probes, Rhythm, Store, User, address_variable, command_probe, connection_probe, script, stateful_set,
    variable,
};
use crate::objects::scope::{Files, Inputs, Scope, files, heap_mebibytes, layered};
use crate::objects::{Objects, network};

const PORTS: &[Port] = &[CASSANDRA_CQL, CASSANDRA_INTERNODE, CASSANDRA_INTERNODE_TLS];

/// Returns the nodes' objects.
pub fn objects(scope: &Scope<'_>, inputs: &Inputs) -> Objects {
    let cassandra = &scope.pipeline.cassandra;
    let files = config(scope, cassandra, inputs);
    let store = Store { copies: Some(inputs.replication_factor), ..store(scope, cassandra, &files) };
    // Beside the files that a pod's revision depends on: pods read it as they start.
    let mut mounted = files.clone();
    mounted.insert(nodes::FILE.to_owned(), inputs.nodes.clone());
    Objects {
        config_maps: vec![scope.config_map(&mounted)],
        // Drivers want the nodes' own addresses, of those that serve.
        services: vec![scope.nodes_service(PORTS), scope.client_service_of_addresses(&[CASSANDRA_CQL])],
        network_policies: vec![network_policy(scope)],
        disruption_budgets: vec![scope.disruption_budget()],
        stateful_sets: cassandra.racks.iter().map(|rack| rack_set(scope, &store, rack, inputs)).collect(),
        ..Objects::default()
    }
}

fn rack_set(scope: &Scope<'_>, store: &Store<'_>, rack: &Rack, inputs: &Inputs) -> StatefulSet {
    let members = Members {
        name: scope.pipeline.names.rack(&rack.name),
        replicas: inputs.replicas.cassandra.get(&rack.name).copied().unwrap_or_default(),
        labels: BTreeMap::from([(RACK_LABEL.to_owned(), rack.name.clone())]),
        env: vec![variable("RACK", &rack.name)],
    };
    stateful_set(scope, store, members)
}

fn config(scope: &Scope<'_>, cassandra: &Cassandra, inputs: &Inputs) -> Files {
    let heap = heap_mebibytes(cassandra.member.resources.memory_limit);
    let options = include_str!("files/jvm-server.options");
    let switch = if inputs.has_repair_scheduler { format!("{SWITCH}\n") } else { String::new() };
    let user: String = cassandra.member.jvm_options.iter().map(|option| format!("{option}\n")).collect();
    files([
        ("cassandra.yaml", cassandra_yaml(scope, cassandra, inputs)),
        ("empty_segments.py", include_str!("files/empty_segments.py").to_owned()),
        (OPTIONS_FILE, format!("{options}{switch}{user}-Xms{heap}m\n-Xmx{heap}m\n")),
        ("logback.xml", include_str!("files/logback.xml").to_owned()),
        ("ready.sh", include_str!("files/ready.sh").to_owned()),
        (SCRIPT, include_str!("files/start.sh").to_owned()),
    ])
}

/// Returns the settings of all nodes; `start.sh` fills in `POD_IP` and `SEEDS`.
fn cassandra_yaml(scope: &Scope<'_>, cassandra: &Cassandra, inputs: &Inputs) -> String {
    let copies = inputs.replication_factor;
    let defaults = [
        ("auto_snapshot", json!(true)),
        // Processors write rows of the same replicas in one unlogged batch, and never more than warns.
        ("batch_size_fail_threshold", json!("256KiB")),
        ("batch_size_warn_threshold", json!("64KiB")),
        ("cdc_enabled", json!(false)),
        // A node that only stopped serving would look alive; one that ends is restarted, and seen.
        ("commit_failure_policy", json!("die")),
        ("disk_failure_policy", json!("die")),
        ("unlogged_batch_across_partitions_warn_threshold", json!(1000)),
    ];
    let repairs = settings(inputs.has_repair_scheduler, copies);
    let defaults = defaults.into_iter().chain(commit_log(cassandra, copies)).chain(repairs);
    let owned = [
        ("allocate_tokens_for_local_replication_factor", json!(copies)),
        ("broadcast_rpc_address", json!("POD_IP")),
        ("cdc_raw_directory", json!("/var/lib/cassandra/cdc_raw")),
        ("cluster_name", json!(scope.pipeline.names.pipeline())),
        ("commitlog_directory", json!("/var/lib/cassandra/commitlog")),
        ("data_file_directories", json!(["/var/lib/cassandra/data"])),
        ("endpoint_snitch", json!("GossipingPropertyFileSnitch")),
        ("hints_directory", json!("/var/lib/cassandra/hints")),
        ("listen_address", json!("POD_IP")),
        ("native_transport_port", json!(CASSANDRA_CQL.number)),
        ("num_tokens", json!(16)),
        ("partitioner", json!("org.apache.cassandra.dht.Murmur3Partitioner")),
        // Every address, so that a forwarded port reaches it, too.
        ("rpc_address", json!("0.0.0.0")),
        ("saved_caches_directory", json!("/var/lib/cassandra/saved_caches")),
        (
            "seed_provider",
            json!([{
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": "SEEDS"}],
            }]),
        ),
        ("ssl_storage_port", json!(CASSANDRA_INTERNODE_TLS.number)),
        ("start_native_transport", json!(true)),
        ("storage_port", json!(CASSANDRA_INTERNODE.number)),
    ];
    // Admission refuses them, too; a resource that has gone round it must not move a node's tokens or data.
    let user = cassandra.member.config.iter().filter(|(key, _)| !is_refused(key));
    let user = user.map(|(key, text)| (key.clone(), yaml_value(text)));
    let settings = layered(defaults, user, owned);
    // JSON values are YAML of every version; Cassandra's parser takes a bare `yes` or `12:30` for something else.
    settings.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

/// Returns when a write that the node acknowledges is in its commit log on disk, and how it is written there.
///
/// With `periodic`, a node that is killed loses what it acknowledged in the last tenth of a second, since a replay reads
/// only up to the log's last marker (`commitlog_sync_period` is for fsync, markers are written every 100 ms). Another
/// replica has it; where there is none, nothing is acknowledged before it is on disk.
///
/// A log that is not compressed is a mapped file. If its disk has no room for a moment, the write that found none leaves
/// a hole in it, the node may live on, and what it acknowledges behind the hole is not read again. A compressed log is
/// written by one thread, which ends the node at the first failure. It is not for `periodic`: its markers would be as far
/// apart as its fsyncs.
fn commit_log(cassandra: &Cassandra, copies: u32) -> Vec<(&'static str, Value)> {
    let user = &cassandra.member.config;
    let default = if copies == 1 { "batch" } else { "periodic" };
    let sync = user.get("commitlog_sync").map_or(default, |text| text.trim());
    // Cassandra refuses to start with a period in any other mode.
    let period = (sync == "periodic").then(|| ("commitlog_sync_period", json!("10s")));
    // Nor does it start with compression and a way of access that somebody chose.
    let compressed = sync != "periodic" && !user.contains_key("commitlog_disk_access_mode");
    let compression = compressed.then(|| ("commitlog_compression", json!([{"class_name": "LZ4Compressor"}])));
    [("commitlog_sync", json!(sync))].into_iter().chain(period).chain(compression).collect()
}

/// Returns the value that a text would have in `cassandra.yaml`; what is not YAML is taken as the text itself.
fn yaml_value(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn store<'a>(scope: &Scope<'_>, cassandra: &'a Cassandra, files: &'a Files) -> Store<'a> {
    let names = &scope.pipeline.names;
    // By name, as `scale` begins: a reordered list must not restart every node.
    let first_rack = cassandra.racks.iter().min_by_key(|rack| &rack.name).expect("the schema demands a rack");
    Store {
        member: &cassandra.member,
        user: User(999),
        files,
        copies: None,
        told: Vec::new(),
        env: vec![
            variable("CASSANDRA_CONF", "/config"),
            variable("CASSANDRA_HEAPDUMP_DIR", "/tmp"),
            variable("CASSANDRA_LOG_DIR", "/var/log/cassandra"),
            variable("DATACENTER", &cassandra.datacenter),
            variable("FIRST_NODE", format!("{}-0", names.rack(&first_rack.name))),
            variable("HOME", "/tmp"),
            // One arena per core and thread would hold memory that no one uses.
            variable("MALLOC_ARENA_MAX", "2"),
            variable("NODES_HOST", format!("{}.{}.svc", names.nodes_service(Component::Cassandra), names.namespace())),
            address_variable("POD_IP"),
        ],
        ports: PORTS,
        data: "/var/lib/cassandra",
        scratch: &[("config", "/config"), ("logs", "/var/log/cassandra"), ("tmp", "/tmp")],
        probes: Probes {
            // The port opens after the commit log is replayed, and before the node joins: a join has no time limit.
            startup: connection_probe(CASSANDRA_INTERNODE, Rhythm::start_within_minutes(20)),
            liveness: connection_probe(CASSANDRA_INTERNODE, Rhythm { period: 15, timeout: 10, failures: 4 }),
            readiness: command_probe(script("ready.sh", &[]), Rhythm { period: 2, timeout: 5, failures: 2 }),
        },
        // SIGTERM drains; `nodetool drain` before it would only start one more JVM.
        before_stop: None,
    }
}

fn network_policy(scope: &Scope<'_>) -> NetworkPolicy {
    let own = network::component(scope.pipeline, Component::Cassandra);
    let processor = network::component(scope.pipeline, Component::Processor);
    let clients = network::from(vec![processor, network::operator(scope)], &[CASSANDRA_CQL]);
    // CQL, too: a node that takes another's place asks for its address.
    let nodes = network::from(vec![own.clone()], PORTS);
    let named = network::from_named(&scope.pipeline.cassandra.access_from, &[CASSANDRA_CQL]);
    network::allow(scope, [clients, nodes].into_iter().chain(named).collect(), vec![network::to(vec![own], PORTS)])
}
