//! Every object of three pipelines, as files to be read: `golden/NAME.yaml`, from `fixtures/NAME.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p millrace-operator --test golden` writes them anew. The other tests hold what must be
//! true of the objects of any pipeline.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::api::networking::v1::{NetworkPolicyIngressRule, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use millrace_api::crd::{PushService, ServiceType};
use millrace_api::names::Component;
use millrace_api::pipeline::PushFrom;
use millrace_api::{Pipeline, StreamingPipeline, validate};
use millrace_operator::cassandra::repair::is_switched_on;
use millrace_operator::desire::{Desired, desire};
use millrace_operator::key::OperatorKey;
use millrace_operator::objects::Objects;
use millrace_operator::objects::scope::{
    Administration, CONFIG_CHECKSUM, Ensemble, Inputs, Replicas, component_selector,
};
use millrace_operator::observed::Observed;
use millrace_stores::permitted::Permitted;
use millrace_terms::metadata::METADATA;
use rstest::rstest;
use serde::Serialize;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn pipeline(fixture: &str) -> Result<Pipeline> {
    let text = std::fs::read_to_string(path(&format!("fixtures/{fixture}.yaml")))?;
    let resource: StreamingPipeline = serde_yaml::from_str(&text)?;
    let validated = validate(&resource, millrace_sql::judge);
    ensure!(validated.rejected.is_empty(), "'{fixture}' is rejected: {:?}", validated.rejected);
    validated.pipeline.context("a valid resource is a pipeline")
}

/// Returns the inputs of a pipeline that is complete.
fn inputs(pipeline: &Pipeline) -> Inputs {
    Inputs {
        replicas: Replicas {
            zookeeper: pipeline.zookeeper.replicas,
            kafka: pipeline.kafka.replicas,
            cassandra: pipeline.cassandra.racks.iter().map(|rack| (rack.name.clone(), rack.replicas)).collect(),
            producer: pipeline.producer.replicas,
            processor: pipeline.processor.replicas,
        },
        write_timestamp_bases: BTreeMap::from([("users_created".to_owned(), 1_700_000_000_000_000)]),
        replication_factor: pipeline.cassandra.replication_factor.of_new(),
        has_repair_scheduler: is_switched_on(pipeline, &Observed::default(), None),
        nodes: String::new(),
        ensemble: Ensemble::of(pipeline.zookeeper.replicas),
        administration: Administration {
            worker_image: "ghcr.io/millrace/worker:0.1.0".to_owned(),
            allowed_source_hosts: vec!["sample-source.demo.svc".to_owned()],
            operator_namespace: "millrace-system".to_owned(),
            allowed_stores: Permitted::default(),
            image_pull_secrets: vec!["registry".to_owned()],
            worker_env: BTreeMap::new(),
            key: OperatorKey::of([7; 32]),
        },
    }
}

fn desired(fixture: &str) -> Result<(Pipeline, Desired)> {
    let pipeline = pipeline(fixture)?;
    let desired = desire(&pipeline, &inputs(&pipeline));
    Ok((pipeline, desired))
}

/// Returns all objects of a pipeline in the order in which they are listed here.
fn all(desired: &Desired) -> Result<Vec<Value>> {
    let Desired { shared, zookeeper, kafka, cassandra, producer, processor } = desired;
    let mut all = Vec::new();
    for objects in [shared, zookeeper, kafka, cassandra, producer].into_iter().chain(processor) {
        let Objects {
            service_accounts,
            config_maps,
            services,
            network_policies,
            disruption_budgets,
            stateful_sets,
            deployments,
        } = objects;
        collect(&mut all, service_accounts)?;
        collect(&mut all, config_maps)?;
        collect(&mut all, services)?;
        collect(&mut all, network_policies)?;
        collect(&mut all, disruption_budgets)?;
        collect(&mut all, stateful_sets)?;
        collect(&mut all, deployments)?;
    }
    Ok(all)
}

fn collect<T: Serialize>(all: &mut Vec<Value>, objects: &[T]) -> Result<()> {
    for object in objects {
        all.push(serde_json::to_value(object)?);
    }
    Ok(())
}

fn rendered(fixture: &str) -> Result<String> {
    let (_, desired) = desired(fixture)?;
    let mut text = String::new();
    for object in all(&desired)? {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&object)?);
    }
    Ok(text)
}

/// Returns every pod template with the selector of its workload.
fn templates(desired: &Desired) -> Vec<(LabelSelector, PodTemplateSpec)> {
    let Desired { shared, zookeeper, kafka, cassandra, producer, processor } = desired;
    let mut templates = Vec::new();
    for objects in [shared, zookeeper, kafka, cassandra, producer].into_iter().chain(processor) {
        let sets = objects.stateful_sets.iter().filter_map(|set| set.spec.as_ref());
        templates.extend(sets.map(|spec| (spec.selector.clone(), spec.template.clone())));
        let deployments = objects.deployments.iter().filter_map(|deployment| deployment.spec.as_ref());
        templates.extend(deployments.map(|spec| (spec.selector.clone(), spec.template.clone())));
    }
    templates
}

fn checksums(desired: &Desired) -> Vec<String> {
    templates(desired)
        .into_iter()
        .map(|(_, template)| {
            template.metadata.unwrap_or_default().annotations.unwrap_or_default()[CONFIG_CHECKSUM].clone()
        })
        .collect()
}

#[rstest]
#[case("one")]
#[case("three")]
#[case("sources")]
#[case("external")]
fn objects_are_those_of_the_golden_file(#[case] fixture: &str) -> Result<()> {
    let file = path(&format!("golden/{fixture}.yaml"));
    let text = rendered(fixture)?;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text)?;
    }
    let golden = std::fs::read_to_string(&file).with_context(|| format!("cannot read '{}'", file.display()))?;
    similar(&golden, &text)
}

/// Fails with the first lines that differ, since a whole file is too long to read in a terminal.
fn similar(golden: &str, text: &str) -> Result<()> {
    let mut lines = golden.lines().zip(text.lines()).enumerate();
    if let Some((number, (golden, now))) = lines.find(|(_, (golden, now))| golden != now) {
        anyhow::bail!("line {} was\n{golden}\nand is\n{now}\n(UPDATE_GOLDEN=1 accepts)", number + 1);
    }
    ensure!(golden == text, "one text is longer than the other (UPDATE_GOLDEN=1 accepts)");
    Ok(())
}

#[rstest]
#[case("one")]
#[case("three")]
#[case("sources")]
#[case("external")]
fn every_object_is_labelled_and_owned(#[case] fixture: &str) -> Result<()> {
    let (pipeline, desired) = desired(fixture)?;
    let mut seen = BTreeSet::new();
    for object in all(&desired)? {
        let metadata = &object["metadata"];
        let id = format!("{} {}", object["kind"], metadata["name"]);
        assert!(seen.insert(id.clone()), "{id} is there twice");
        assert_eq!(metadata["namespace"], "data", "{id}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "millrace", "{id}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "users", "{id}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "millrace-operator", "{id}");
        let owners = metadata["ownerReferences"].as_array().with_context(|| format!("{id} has no owner"))?;
        assert_eq!(owners.len(), 1, "{id}");
        assert_eq!(owners[0]["uid"], pipeline.uid, "{id}");
        assert_eq!(owners[0]["controller"], true, "{id}");
        assert!(metadata.get("finalizers").is_none(), "{id}");
    }
    Ok(())
}

#[test]
fn of_a_store_that_someone_else_runs_there_is_no_object() -> Result<()> {
    let (_, desired) = desired("external")?;
    let none = Objects::default();
    assert_eq!((&desired.zookeeper, &desired.kafka, &desired.cassandra), (&none, &none, &none));
    let text = rendered("external")?;
    let settings = ["kafka-0.example.com:9092", "cassandra.example.com:9042", "consumerGroup: data.users.processor"];
    assert!(settings.iter().all(|setting| text.contains(setting)), "{text}");
    // The control: with stores of its own.
    let (_, own) = self::desired("one")?;
    assert!(own.zookeeper != none && own.kafka != none && own.cassandra != none);
    Ok(())
}

#[rstest]
#[case("one")]
#[case("three")]
#[case("sources")]
fn selectors_select_their_own_pods_only(#[case] fixture: &str) -> Result<()> {
    let (pipeline, desired) = desired(fixture)?;
    let templates = templates(&desired);
    let labels: Vec<_> = templates
        .iter()
        .map(|(_, template)| template.metadata.clone().unwrap_or_default().labels.unwrap_or_default())
        .collect();
    for (index, (selector, _)) in templates.iter().enumerate() {
        let selector = selector.match_labels.clone().unwrap_or_default();
        for (other, labels) in labels.iter().enumerate() {
            let selected = selector.iter().all(|(label, value)| labels.get(label) == Some(value));
            assert_eq!(selected, index == other, "workload {index}, pod template {other}");
        }
    }
    for component in Component::ALL {
        let selector = component_selector(&pipeline, component);
        let selected =
            labels.iter().filter(|labels| selector.iter().all(|(label, value)| labels.get(label) == Some(value)));
        let racks = if component == Component::Cassandra { pipeline.cassandra.racks.len() } else { 1 };
        assert_eq!(selected.count(), racks, "{component}");
    }
    Ok(())
}

/// The rules of the restricted Pod Security Standard that bear on our pods, a read-only root and a memory limit.
fn violations(spec: &PodSpec) -> Vec<String> {
    let mut violations = Vec::new();
    let mut hold = |rule: &str, holds: bool| {
        if !holds {
            violations.push(rule.to_owned());
        }
    };
    let pod = spec.security_context.clone().unwrap_or_default();
    hold("runAsNonRoot", pod.run_as_non_root == Some(true));
    hold("runAsUser", pod.run_as_user.is_some_and(|user| user > 0));
    hold("seccomp", pod.seccomp_profile.is_some_and(|profile| profile.type_ == "RuntimeDefault"));
    hold("no token", spec.automount_service_account_token == Some(false));
    hold("no service links", spec.enable_service_links == Some(false));
    hold("no host", spec.host_network.is_none() && spec.host_pid.is_none() && spec.host_ipc.is_none());
    for volume in spec.volumes.iter().flatten() {
        let allowed = volume.empty_dir.is_some()
            || volume.config_map.is_some()
            || volume.projected.is_some()
            || volume.persistent_volume_claim.is_some();
        hold("volume types", allowed);
    }
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let security = container.security_context.clone().unwrap_or_default();
        hold("no escalation", security.allow_privilege_escalation == Some(false));
        hold("read-only root", security.read_only_root_filesystem == Some(true));
        hold("not privileged", security.privileged.is_none());
        let capabilities = security.capabilities.unwrap_or_default();
        hold("drop ALL", capabilities.drop == Some(vec!["ALL".to_owned()]) && capabilities.add.is_none());
        let limits = container.resources.clone().unwrap_or_default().limits.unwrap_or_default();
        hold("memory limit", limits.contains_key("memory"));
        hold(
            "probes",
            container.startup_probe.is_some()
                && container.liveness_probe.is_some()
                && container.readiness_probe.is_some(),
        );
    }
    violations
}

#[rstest]
#[case("one")]
#[case("three")]
#[case("sources")]
fn every_pod_is_restricted(#[case] fixture: &str) -> Result<()> {
    for (_, template) in templates(&desired(fixture)?.1) {
        let spec = template.spec.unwrap_or_default();
        assert_eq!(violations(&spec), Vec::<String>::new(), "{}", spec.containers[0].name);
    }
    Ok(())
}

#[test]
fn a_pod_that_is_not_restricted_is_found() {
    assert!(violations(&PodSpec::default()).contains(&"runAsNonRoot".to_owned()));
}

#[test]
fn the_same_pipeline_gives_the_same_objects() -> Result<()> {
    assert_eq!(desired("three")?.1, desired("three")?.1);
    assert_eq!(rendered("three")?, rendered("three")?);
    Ok(())
}

#[test]
fn a_user_cannot_set_what_the_operator_owns() -> Result<()> {
    let honest = pipeline("three")?;
    let mut sly = honest.clone();
    let hijack = |config: &mut BTreeMap<String, String>, keys: &[&str]| {
        config.extend(keys.iter().map(|&key| (key.to_owned(), "hijacked".to_owned())));
    };
    hijack(&mut sly.zookeeper.member.config, &millrace_api::crd::zookeeper::OWNED_KEYS);
    hijack(&mut sly.zookeeper.member.config, &["server.1", "server.4"]);
    hijack(&mut sly.kafka.member.config, &millrace_api::crd::kafka::OWNED_KEYS);
    hijack(&mut sly.cassandra.member.config, &millrace_api::crd::cassandra::OWNED_KEYS);
    assert_eq!(desire(&sly, &inputs(&sly)), desire(&honest, &inputs(&honest)));
    Ok(())
}

#[test]
fn a_changed_setting_changes_the_checksum_of_its_component_only() -> Result<()> {
    let before = pipeline("three")?;
    let mut after = before.clone();
    after.kafka.member.config.insert("log.retention.hours".to_owned(), "25".to_owned());
    let before = checksums(&desire(&before, &inputs(&before)));
    let after = checksums(&desire(&after, &inputs(&after)));
    let changed: Vec<usize> = (0..before.len()).filter(|&index| before[index] != after[index]).collect();
    assert_eq!(changed, [1], "ZooKeeper, Kafka, three racks, producer, processor");
    Ok(())
}

#[test]
fn more_members_change_no_checksum_of_cassandra_or_the_workers() -> Result<()> {
    let before = pipeline("three")?;
    let mut after = before.clone();
    after.cassandra.racks[0].replicas = 2;
    after.processor.replicas = 4;
    let before = checksums(&desire(&before, &inputs(&before)));
    let after = checksums(&desire(&after, &inputs(&after)));
    assert_eq!(before, after);
    Ok(())
}

#[test]
fn a_settings_value_with_a_line_break_stays_one_setting() -> Result<()> {
    let mut pipeline = pipeline("one")?;
    pipeline.kafka.member.config.insert("compression.type".to_owned(), "zstd\nbroker.rack=x".to_owned());
    let desired = desire(&pipeline, &inputs(&pipeline));
    let data = desired.kafka.config_maps[0].data.clone().unwrap_or_default();
    assert!(data["server.properties"].contains("\ncompression.type=zstd\\nbroker.rack=x\n"));
    Ok(())
}

/// Returns the lines of `cassandra.yaml` that tell how a commit log is compressed, for one copy and these settings.
fn compression(settings: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut pipeline = pipeline("one")?;
    pipeline.cassandra.member.config.extend(settings.iter().map(|&(key, text)| (key.to_owned(), text.to_owned())));
    let desired = desire(&pipeline, &inputs(&pipeline));
    let data = desired.cassandra.config_maps[0].data.clone().unwrap_or_default();
    let lines = data["cassandra.yaml"].lines().filter(|line| line.starts_with("commitlog_compression:"));
    Ok(lines.map(str::to_owned).collect())
}

#[test]
fn a_commit_log_is_compressed_where_cassandra_can_and_nobody_chose_otherwise() -> Result<()> {
    let default = ["commitlog_compression: [{\"class_name\":\"LZ4Compressor\"}]"];
    assert_eq!(compression(&[])?, default);
    assert_eq!(compression(&[("commitlog_sync", "group"), ("commitlog_sync_group_window", "10ms")])?, default);
    assert!(compression(&[("commitlog_sync", "periodic")])?.is_empty(), "a killed node would lose ten seconds");
    assert!(compression(&[("commitlog_disk_access_mode", "mmap")])?.is_empty(), "it would not start with both");
    assert_eq!(compression(&[("commitlog_compression", "null")])?, ["commitlog_compression: null"]);
    Ok(())
}

/// Returns who may reach a port of the producers; `None`: nobody.
fn let_in(objects: &Objects, port: i32) -> Option<Value> {
    let rules = objects.network_policies[0].spec.clone().unwrap_or_default().ingress.unwrap_or_default();
    let is_of_port = |rule: &&NetworkPolicyIngressRule| {
        rule.ports.iter().flatten().any(|found| found.port == Some(IntOrString::Int(port)))
    };
    rules.iter().find(is_of_port).map(|rule| serde_json::json!(rule.from))
}

#[test]
fn the_push_port_is_open_only_where_a_source_is_pushed_to_and_only_for_those_who_may() -> Result<()> {
    let names = |objects: &Objects| -> Vec<String> {
        objects.services.iter().filter_map(|service| service.metadata.name.clone()).collect()
    };
    let (_, without) = desired("one")?;
    assert_eq!(names(&without.producer), ["users-producer-nodes"]);
    assert_eq!(let_in(&without.producer, 8090), None);

    let mut pipeline = pipeline("sources")?;
    let desired = |pipeline: &Pipeline| desire(pipeline, &inputs(pipeline)).producer;
    let with = desired(&pipeline);
    assert_eq!(names(&with), ["users-producer-nodes", "users-push"]);
    let from = |namespace: &str| {
        serde_json::json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "podSelector": {"matchLabels": {"app": "checkout"}},
        })
    };
    assert_eq!(let_in(&with, 8090), Some(serde_json::json!([from("shop"), from("tools")])));

    pipeline.producer.push_from = PushFrom::default();
    let own = serde_json::json!([{"podSelector": {"matchLabels": {}}}]);
    assert_eq!(let_in(&desired(&pipeline), 8090), Some(own));
    Ok(())
}

/// Returns what the egress of producers leaves out, by address family.
fn blocked(allowed_source_hosts: &[&str]) -> Result<Vec<Vec<String>>> {
    let pipeline = pipeline("one")?;
    let mut inputs = inputs(&pipeline);
    inputs.administration.allowed_source_hosts = allowed_source_hosts.iter().map(|&host| host.to_owned()).collect();
    let policies = desire(&pipeline, &inputs).producer.network_policies;
    let egress = policies[0].spec.clone().unwrap_or_default().egress.unwrap_or_default();
    let peers = egress.into_iter().flat_map(|rule| rule.to.unwrap_or_default());
    Ok(peers.filter_map(|peer| peer.ip_block?.except).collect())
}

#[test]
fn no_source_reaches_where_clouds_hand_out_credentials() -> Result<()> {
    let blocked_by_default = blocked(&["sample-source.demo.svc"])?;
    let [v4, v6] = &blocked_by_default[..] else { anyhow::bail!("one block for each family: {blocked_by_default:?}") };
    for (network, _) in METADATA {
        let of_family = if network.contains(':') { v6 } else { v4 };
        let is_blocked = network.starts_with("fe80:") || of_family.iter().any(|blocked| blocked == network);
        assert!(is_blocked, "{network}");
    }
    assert!(v4.contains(&"168.63.129.16/32".to_owned()) && v6.contains(&"fe80::/10".to_owned()));
    let allowed = blocked(&["168.63.129.16", "[fd20:ce::254]"])?;
    assert_eq!((allowed[0].len(), allowed[1].len()), (v4.len() - 1, v6.len() - 1), "an allowed address stays open");
    Ok(())
}

#[test]
fn services_of_clients_are_as_the_user_wants_and_those_of_nodes_as_ever() -> Result<()> {
    let annotations = BTreeMap::from([("example.com/name".to_owned(), "users".to_owned())]);
    let mut pipeline = pipeline("sources")?;
    let before = desire(&pipeline, &inputs(&pipeline));
    pipeline.kafka.service_annotations = annotations.clone();
    pipeline.producer.push_service =
        PushService { service_type: ServiceType::LoadBalancer, annotations: annotations.clone() };
    pipeline.producer.push_from.addresses = vec!["203.0.113.0/24".to_owned()];
    let after = desire(&pipeline, &inputs(&pipeline));
    for (before, after) in [(&before.kafka, &after.kafka), (&before.producer, &after.producer)] {
        let [nodes, clients] = &after.services[..] else { anyhow::bail!("two Services") };
        assert_eq!(*nodes, before.services[0], "the headless one is the operator's");
        assert_eq!(clients.metadata.annotations, Some(annotations.clone()));
        assert_eq!(before.services[1].metadata.annotations, None);
    }
    let type_of = |objects: &Objects| objects.services[1].spec.clone().unwrap_or_default().type_;
    assert_eq!(type_of(&after.producer).as_deref(), Some("LoadBalancer"));
    assert_eq!((type_of(&before.producer), type_of(&after.kafka)), (None, None));
    let block = serde_json::json!({"ipBlock": {"cidr": "203.0.113.0/24"}});
    let peers = let_in(&after.producer, 8090).context("the port is open")?;
    assert_eq!(peers.as_array().and_then(|peers| peers.last()), Some(&block));
    Ok(())
}

#[test]
fn stores_are_open_to_named_peers_only() -> Result<()> {
    let rules = |objects: &Objects| -> Vec<NetworkPolicyIngressRule> {
        objects.network_policies[0].spec.clone().unwrap_or_default().ingress.unwrap_or_default()
    };
    let mut pipeline = pipeline("one")?;
    let closed = desire(&pipeline, &inputs(&pipeline));
    let report = NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("app".to_owned(), "report".to_owned())])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    pipeline.kafka.access_from = vec![report.clone()];
    pipeline.cassandra.access_from = vec![report.clone()];
    let opened = desire(&pipeline, &inputs(&pipeline));
    for (before, after, port) in [(&closed.kafka, &opened.kafka, 9092), (&closed.cassandra, &opened.cassandra, 9042)] {
        let (before, mut after) = (rules(before), rules(after));
        assert!(before.iter().all(|rule| rule.from.as_ref().is_some_and(|peers| !peers.is_empty())), "{port}");
        let added = after.pop().context("a rule is added")?;
        assert_eq!(after, before, "{port}: the others stay");
        assert_eq!(added.from, Some(vec![report.clone()]));
        let ports: Vec<_> = added.ports.into_iter().flatten().map(|port| port.port).collect();
        assert_eq!(ports, [Some(IntOrString::Int(port))]);
    }
    assert_eq!(checksums(&closed), checksums(&opened), "nothing is restarted for it");
    Ok(())
}

#[test]
fn a_server_is_told_who_votes_and_restarts_for_none_of_it() -> Result<()> {
    let pipeline = pipeline("three")?;
    let founded = Ensemble { voters: [0, 2].into(), is_founded: true, connected: (0..3).collect() };
    let inputs = |ensemble: Ensemble| Inputs { ensemble, ..inputs(&pipeline) };
    let (before, after) = (desire(&pipeline, &inputs(Ensemble::of(3))), desire(&pipeline, &inputs(founded)));
    assert_eq!(checksums(&before), checksums(&after));
    let told = |desired: &Desired| desired.zookeeper.config_maps[1].data.clone().unwrap_or_default();
    assert_eq!(told(&before)["servers"].lines().count(), 3);
    assert_eq!(told(&before).get("founded"), None);
    let host =
        |ordinal: u32| format!("users-zookeeper-{ordinal}.users-zookeeper-nodes.{}.svc", pipeline.names.namespace());
    let lines = [1, 3].map(|id| format!("server.{id}={}:2888:3888:participant;2181\n", host(id - 1))).concat();
    assert_eq!(told(&after)["servers"], lines);
    assert!(told(&after).contains_key("founded"));
    // The control: brokers do restart for the servers that they connect to.
    let fewer = inputs(Ensemble { connected: [0].into(), ..Ensemble::of(3) });
    assert_ne!(checksums(&desire(&pipeline, &fewer)), checksums(&before));
    Ok(())
}

#[test]
fn jvm_options_reach_each_server() -> Result<()> {
    let mut pipeline = pipeline("one")?;
    let before = desire(&pipeline, &inputs(&pipeline));
    let options = vec!["-Xss1m".to_owned(), "-Da=b".to_owned()];
    pipeline.zookeeper.member.jvm_options = options.clone();
    pipeline.kafka.member.jvm_options = options.clone();
    pipeline.cassandra.member.jvm_options = options;
    let after = desire(&pipeline, &inputs(&pipeline));
    let variable = |objects: &Objects, name: &str| -> Option<String> {
        let spec = objects.stateful_sets[0].spec.clone().unwrap_or_default().template.spec.unwrap_or_default();
        spec.containers[0].env.iter().flatten().find(|variable| variable.name == name)?.value.clone()
    };
    let flags = variable(&after.zookeeper, "SERVER_JVMFLAGS").unwrap_or_default();
    assert!(flags.starts_with("-Djava.security.properties=/millrace/java.security "), "{flags}");
    assert!(flags.ends_with(" -Xss1m -Da=b"), "{flags}");
    assert_eq!(variable(&after.kafka, "BROKER_JVM_OPTIONS").as_deref(), Some("-Xss1m -Da=b"));
    assert_eq!(variable(&before.kafka, "BROKER_JVM_OPTIONS"), None);
    let files = after.cassandra.config_maps[0].data.clone().unwrap_or_default();
    let file = &files["jvm-server.options"];
    assert!(file.contains("\n-Xss1m\n-Da=b\n-Xms"), "the heap stays last: {file}");
    assert_ne!(checksums(&before), checksums(&after));
    Ok(())
}

#[test]
fn there_is_no_processor_while_a_write_timestamp_base_is_unknown() -> Result<()> {
    let pipeline = pipeline("one")?;
    let inputs = Inputs { write_timestamp_bases: BTreeMap::new(), ..inputs(&pipeline) };
    assert_eq!(desire(&pipeline, &inputs).processor, None);
    Ok(())
}

#[test]
fn the_administrators_environment_reaches_both_workers_and_no_store() -> Result<()> {
    let pipeline = pipeline("one")?;
    let mut inputs = inputs(&pipeline);
    inputs.administration.worker_env.insert("FAULT".to_owned(), "commit-before-write".to_owned());
    let having: Vec<String> = templates(&desire(&pipeline, &inputs))
        .into_iter()
        .flat_map(|(_, template)| template.spec.unwrap_or_default().containers)
        .filter(|container| container.env.iter().flatten().any(|variable| variable.name == "FAULT"))
        .map(|container| container.name)
        .collect();
    assert_eq!(having, ["producer", "processor"]);
    Ok(())
}
