//! What keeps others out, and what tells of the pipeline: a token from a Secret opens a source, strangers reach no
//! store, and events and metrics say what happens.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use millrace_api::names::Component;
use millrace_e2e::cluster::same;
use millrace_e2e::live::address;
use millrace_e2e::operator;
use millrace_e2e::spec::{SAMPLE_SOURCE, http_source};
use millrace_e2e::{Live, Spec, TestNamespace, Turn, events, eventually, in_shared, metrics};
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
const SAID_WITHIN: Duration = Duration::from_secs(60);
/// The kubelet looks for changed Secrets about once a minute.
const ROTATED_WITHIN: Duration = Duration::from_secs(240);
/// A pod that belongs to nobody.
const STRANGER: &str = "stranger";
const ZOOKEEPER: u16 = 2181;
const BROKER: u16 = 9092;
const CQL: u16 = 9042;
const STORAGE: u16 = 7000;
const METRICS: u16 = 8080;

pub async fn a_guarded_pipeline_keeps_strangers_out_and_tells_what_happens(turn: Turn) -> Result<()> {
    in_shared(&turn, "guarded", async |namespace| {
        let since = Utc::now();
        token(namespace, "wrong").await?;
        let spec = Spec::one().sources([guarded_source()]);
        let live = Live::start(namespace, &spec, READY_WITHIN).await?;
        a_wrong_token_opens_nothing(&live).await?;
        token(namespace, "right").await?;

        events_tell_of_every_step(&live, since).await?;
        strangers_reach_no_store(&live).await?;
        components_reach_only_what_they_need(&live).await?;
        a_mistake_is_told(&live, &spec).await?;
        the_right_token_opens_without_a_restart(&live).await
    })
    .await
}

/// A source that answers only to the token `right`, which the worker has from a Secret.
fn guarded_source() -> Value {
    let mut source = http_source("guarded", "");
    let reference = json!({"secretKeyRef": {"name": "source-token", "key": "authorization"}});
    source["http"]["url"] = json!(format!("{SAMPLE_SOURCE}/guarded?token=right"));
    source["http"]["headers"] = json!([{"name": "Authorization", "valueFrom": reference}]);
    source
}

/// Makes or changes the Secret with the token.
async fn token(namespace: &TestNamespace, token: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source-token"},
        "stringData": {"authorization": format!("Bearer {token}")},
    });
    namespace.apply::<Secret>("source-token", &secret).await?;
    namespace.say(format!("the Secret has the {token} token"));
    Ok(())
}

async fn a_wrong_token_opens_nothing(live: &Live) -> Result<()> {
    let requests = "millrace_source_requests_total";
    let refused = async || {
        let all = live.metrics(Component::Producer).await?;
        let failed = |metrics: &metrics::Metrics| metrics.sum(requests) - metrics.of(requests, "outcome", "Ok");
        Ok((all.values().map(failed).sum::<f64>() >= 2.0).then_some(()))
    };
    eventually("the source refuses twice", SAID_WITHIN, refused).await?;
    let count = live.table().await?.count().await?;
    ensure!(count == 0, "{count} rows came with a wrong token");
    Ok(())
}

async fn the_right_token_opens_without_a_restart(live: &Live) -> Result<()> {
    let before = live.pods(Component::Producer).await?;
    let opened = async || Ok((live.table().await?.count().await? > 0).then_some(()));
    let (_, took) = eventually("the changed token opens the source", ROTATED_WITHIN, opened).await?;
    let uids = |pods: &[Pod]| pods.iter().filter_map(ResourceExt::uid).collect::<BTreeSet<_>>();
    let after = live.pods(Component::Producer).await?;
    same("the producer", &format!("{:?}", uids(&after)), &format!("{:?}", uids(&before)))?;
    ensure!(millrace_e2e::process::restarts(&after[0]) == 0, "the producer was restarted");
    live.namespace.say(format!("the changed token was taken up; waited {} s more for it", took.as_secs()));
    Ok(())
}

/// Each act and each link of the chain has its event. Of the stores it may be one that another scenario has seen, too; a
/// warning must not have come since this one began.
async fn events_tell_of_every_step(live: &Live, since: DateTime<Utc>) -> Result<()> {
    let wanted = [
        ("QuorumEstablished", "ZooKeeperReady: "),
        ("BrokersRegistered", "KafkaReady: "),
        ("TopicCreated", "create topic 'users_created'"),
        ("TopicsInSync", "TopicsReady: "),
        ("NodesUpNormal", "CassandraReady: "),
        ("SchemaApplied", "create table 'created_users'"),
        ("ProcessorsAssigned", "ProcessorReady: "),
        ("ProducersRunning", "ProducerReady: "),
        ("AllComponentsReady", "Ready: "),
    ];
    for (reason, note) in wanted {
        let told = async || {
            let events = events::of(live).await?;
            let mut normal = events.iter().filter(|event| event.kind == "Normal");
            Ok(normal.any(|event| event.reason == reason && event.note.starts_with(note)).then_some(()))
        };
        eventually(&format!("an event {reason} '{note}'"), SAID_WITHIN, told).await?;
    }
    // A store that a busy machine keeps waiting for a moment is warned of, too, and rightly.
    let is_of_spec = |event: &events::Told| {
        event.kind == "Warning" && event.note.starts_with("SpecValid: ") && event.at.is_none_or(|at| at >= since)
    };
    let warnings: Vec<_> = events::of(live).await?.into_iter().filter(is_of_spec).collect();
    ensure!(warnings.is_empty(), "a valid spec is warned of: {warnings:?}");
    gauge_is(live, 1.0).await?;
    Ok(())
}

/// A mistake in the spec is a warning with its path, the metric says so, and both go back once it is mended.
async fn a_mistake_is_told(live: &Live, spec: &Spec) -> Result<()> {
    let before = operator_sum(live, "millrace_reconciles_total").await?;
    let mut broken = http_source("broken", "results=1");
    broken["fields"]["first_name"] = json!("record.name.");
    live.change(&spec.clone().with("/spec/producer/sources/-", broken)).await?;
    let told = async || {
        let is_it = |event: &events::Told| {
            event.kind == "Warning"
                && event.reason == "Rejected"
                && event.note.contains("spec.producer.sources[1].fields.first_name")
        };
        Ok(events::of(live).await?.iter().any(is_it).then_some(()))
    };
    eventually("a warning names the path", SAID_WITHIN, told).await?;
    live.await_condition("Ready", "False", "SpecInvalid", SAID_WITHIN).await?;
    gauge_is(live, 0.0).await?;
    let written = metric_of_writes(live).await?;
    ensure!(written > 0.0, "the operator counts no writes of status");
    live.change(spec).await?;
    live.await_ready(READY_WITHIN).await?;
    gauge_is(live, 1.0).await?;
    ensure!(metric_of_writes(live).await? > written, "writing the status is not counted");
    ensure!(operator_sum(live, "millrace_reconciles_total").await? > before, "reconciles are not counted");
    let leaders = operator_sum(live, "millrace_leader").await?;
    ensure!(leaders == 1.0, "{leaders} operators say that they lead");
    live.namespace.say("events and metrics tell of a mistake and of its end");
    Ok(())
}

async fn operator_sum(live: &Live, metric: &str) -> Result<f64> {
    Ok(operator::metrics(&live.namespace.cluster).await?.values().map(|metrics| metrics.sum(metric)).sum())
}

async fn metric_of_writes(live: &Live) -> Result<f64> {
    let all = operator::metrics(&live.namespace.cluster).await?;
    Ok(all.values().map(|metrics| metrics.of("millrace_api_writes_total", "kind", "StreamingPipeline/status")).sum())
}

/// Waits until the leading operator's metric says what the pipeline's condition said a moment ago.
async fn gauge_is(live: &Live, wanted: f64) -> Result<()> {
    let said = async || Ok((gauge(live).await? == wanted).then_some(()));
    eventually(&format!("millrace_pipeline_ready is {wanted}"), SAID_WITHIN, said).await.map(|_| ())
}

/// Returns what the leading operator's metric says of this pipeline's readiness.
async fn gauge(live: &Live) -> Result<f64> {
    let all = operator::metrics(&live.namespace.cluster).await?;
    let leads = all.values().find(|metrics| metrics.sum("millrace_leader") == 1.0).context("no operator leads")?;
    Ok(leads.of("millrace_pipeline_ready", "namespace", &live.namespace.name))
}

/// A pod of nobody's reaches the workers' metrics and no store; a policy that lets it in shows that policies decide. Fails
/// where the cluster's network does not enforce policies.
async fn strangers_reach_no_store(live: &Live) -> Result<()> {
    let namespace = &live.namespace;
    let stranger = a_stranger(live).await?;
    let processor = live.pods(Component::Processor).await?.first().and_then(address).context("no processor runs")?;
    reaches(live, &stranger, processor, METRICS, true).await?;
    let stores = [
        (Component::ZooKeeper, ZOOKEEPER),
        (Component::Kafka, BROKER),
        (Component::Cassandra, CQL),
        (Component::Cassandra, STORAGE),
    ];
    for (component, port) in stores {
        reaches(live, &stranger, first(live, component).await?, port, false).await?;
    }
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "let-the-stranger-in"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kafka"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": STRANGER}}}], "ports": [{"port": BROKER}]}],
        },
    });
    namespace.apply::<NetworkPolicy>("let-the-stranger-in", &policy).await?;
    reaches(live, &stranger, first(live, Component::Kafka).await?, BROKER, true).await?;
    reaches(live, &stranger, first(live, Component::Cassandra).await?, CQL, false).await?;
    namespace.say("a stranger reaches no store but by a policy of its own");
    Ok(())
}

/// What a component's pods may reach is as narrow as who may reach it.
async fn components_reach_only_what_they_need(live: &Live) -> Result<()> {
    let broker = format!("{}-0", live.names.component(Component::Kafka));
    reaches(live, &broker, first(live, Component::ZooKeeper).await?, ZOOKEEPER, true).await?;
    reaches(live, &broker, first(live, Component::Cassandra).await?, CQL, false).await
}

async fn first(live: &Live, component: Component) -> Result<IpAddr> {
    let addresses = live.addresses(component).await?;
    addresses.into_values().next().with_context(|| format!("no pod of {component} has an address"))
}

/// Starts a pod with a shell beside the pipeline, of an image that is on the nodes; returns its name.
async fn a_stranger(live: &Live) -> Result<String> {
    let namespace = &live.namespace;
    let broker = live.pods(Component::Kafka).await?;
    let image = broker.first().and_then(|pod| pod.spec.as_ref()?.containers.first()?.image.clone());
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": STRANGER, "labels": {"app": STRANGER}},
        "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "shell", "image": image.context("no broker runs")?, "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    namespace.apply::<Pod>(STRANGER, &pod).await?;
    let runs = async || Ok(address(&live.pod(STRANGER).await?));
    eventually("the stranger runs", SAID_WITHIN, runs).await?;
    Ok(STRANGER.to_owned())
}

/// Fails unless a connection from a pod to an address opens, or does not; networks follow a policy with some delay.
async fn reaches(live: &Live, pod: &str, to: IpAddr, port: u16, wanted: bool) -> Result<()> {
    let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{to}/{port}' && echo open || echo closed");
    let command = ["exec", "-n", &live.namespace.name, pod, "--", "bash", "-c", &script];
    let word = if wanted { "open" } else { "closed" };
    let found = async || {
        let said = live.namespace.cluster.kubectl(&command).await?;
        Ok((said.trim() == word).then_some(()))
    };
    eventually(&format!("{to}:{port} is {word} for '{pod}'"), SAID_WITHIN, found).await.map(|_| ())
}
