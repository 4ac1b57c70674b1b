//! What the API server makes of the pipeline's objects, its defaults, notation and order, is no difference: random valid
//! specs, applied and read back.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use millrace_api::{StreamingPipeline, validate_sources};
use millrace_operator::cassandra::repair::is_switched_on;
use millrace_operator::desire::{Desired, desire};
use millrace_operator::objects::Objects;
use millrace_operator::objects::scope::{Ensemble, Inputs};
use millrace_operator::observed::{Children, Observed};
use millrace_operator::plan::drift::drift;
use millrace_operator::scale::scale;
use millrace_operator::write::FIELD_MANAGER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::server::{Who, make_namespace, server};
use crate::snapshot;
use crate::stage::administration;

/// Specs of a usual run; `NORMALISED_SPECS=5000` tries that many.
const SPECS: usize = 60;
/// Specs in one namespace: there are some 250 cluster IPs, which are given back when it is done.
const AT_ONCE: usize = 20;
const CONCURRENCY: usize = 8;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.throw(choices.len())].clone()
    }
}

fn resources(dice: &mut Dice) -> Value {
    let cpu = [json!(1), json!("0.5"), json!("0.3333"), json!("100m"), json!("1e-1"), json!("250000u"), json!(".75")];
    let memory = [json!(2_147_483_648u64), json!("2Gi"), json!("1.5Gi"), json!("2e9"), json!("1536M"), json!("1.1Gi")];
    let larger = [json!("4Gi"), json!("4.5Gi"), json!(5_000_000_000u64), json!("5e9"), json!("0.01Ti")];
    json!({
        "requests": {"cpu": dice.one_of(&cpu), "memory": dice.one_of(&memory)},
        "limits": {"cpu": dice.one_of(&[json!(2), json!("2.5"), json!("3e0")]), "memory": dice.one_of(&larger)},
    })
}

fn pod_template(dice: &mut Dice) -> Value {
    let all = json!({
        "labels": {"team": "data"},
        "annotations": {"note": "text: with \"signs\" {}"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "b", "operator": "Exists"}, {"key": "a", "value": "x", "effect": "NoExecute", "tolerationSeconds": 60}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 5, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b", "a"]}]}}
        ]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
        "env": [{"name": "TZ", "value": "UTC"}, {"name": "EMPTY", "value": ""},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0.001"}}}],
        "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "0.5Gi"}}, {"name": "keys", "secret": {"secretName": "keys"}},
            {"name": "both", "projected": {"sources": [{"configMap": {"name": "a"}}, {"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
            ]}}]}},
            {"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": true}}],
        "terminationGracePeriodSeconds": 90,
        "securityContext": {"fsGroup": 1_000_710_000},
    });
    let Value::Object(fields) = all else { return json!({}) };
    fields.into_iter().filter(|_| dice.throw(2) == 0).collect::<serde_json::Map<String, Value>>().into()
}

/// Returns a valid pipeline.
fn pipeline(namespace: &str, number: usize) -> Result<StreamingPipeline> {
    let mut dice = Dice(number as u64 + 1);
    let fixture = dice.one_of(&["one", "three", "sources"]);
    let path = format!("{}/tests/fixtures/{fixture}.yaml", env!("CARGO_MANIFEST_DIR"));
    let mut resource: Value = serde_yaml::from_str(&std::fs::read_to_string(path)?)?;
    resource["metadata"] =
        json!({"name": format!("p{number}"), "namespace": namespace, "uid": format!("uid-{number}")});
    for component in ["zookeeper", "kafka", "cassandra", "producer", "processor"] {
        if dice.throw(4) > 0 {
            resource["spec"][component]["resources"] = resources(&mut dice);
        }
        if dice.throw(4) > 0 {
            resource["spec"][component]["podTemplate"] = pod_template(&mut dice);
        }
    }
    for store in ["zookeeper", "kafka", "cassandra"] {
        let sizes =
            [json!("1Gi"), json!("1.5Gi"), json!(1_073_741_824), json!("1e9"), json!("0.3Ti"), json!("1234567k")];
        resource["spec"][store]["storage"]["size"] = dice.one_of(&sizes);
    }
    resource["spec"]["deletionPolicy"] = dice.one_of(&[json!("Retain"), json!("Delete")]);
    serde_json::from_value(resource).context("it is a pipeline")
}

/// Returns every object of a pipeline.
fn objects(resource: &StreamingPipeline) -> Result<Objects> {
    let validated = validate_sources(resource);
    let pipeline = validated.pipeline.with_context(|| format!("{:?}", validated.rejected))?;
    let mut replicas = scale(&pipeline, &Observed::default()).replicas;
    replicas.cassandra.values_mut().for_each(|nodes| *nodes = 1);
    let bases = pipeline.kafka.topics.iter().map(|topic| (topic.name.clone(), 1));
    let inputs = Inputs {
        replicas,
        write_timestamp_bases: bases.collect(),
        replication_factor: 1,
        has_repair_scheduler: is_switched_on(&pipeline, &Observed::default(), None),
        nodes: String::new(),
        ensemble: Ensemble::of(pipeline.zookeeper.replicas),
        administration: administration(),
    };
    let Desired { shared, zookeeper, kafka, cassandra, producer, processor } = desire(&pipeline, &inputs);
    let mut all = Objects::default();
    for part in [shared, zookeeper, kafka, cassandra, producer, processor.context("its topics have bases")?] {
        all.extend(part);
    }
    Ok(all)
}

async fn apply<K>(client: &Client, namespace: &str, objects: Vec<K>) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    for object in objects {
        let name = object.name_any();
        let ours = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&name, &ours, &Patch::Apply(&object)).await.with_context(|| format!("cannot apply '{name}'"))?;
    }
    Ok(())
}

async fn apply_all(client: &Client, namespace: &str, objects: Objects) -> Result<()> {
    let Objects {
        service_accounts,
        config_maps,
        services,
        network_policies,
        disruption_budgets,
        stateful_sets,
        deployments,
    } = objects;
    apply(client, namespace, service_accounts).await?;
    apply(client, namespace, config_maps).await?;
    apply(client, namespace, services).await?;
    apply(client, namespace, network_policies).await?;
    apply(client, namespace, disruption_budgets).await?;
    apply(client, namespace, stateful_sets).await?;
    apply(client, namespace, deployments).await
}

async fn list<K>(client: &Client, namespace: &str) -> Result<BTreeMap<String, K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let listed = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    Ok(listed.items.into_iter().map(|object| (object.name_any(), object)).collect())
}

async fn children(client: &Client, namespace: &str) -> Result<Children> {
    Ok(Children {
        service_accounts: list(client, namespace).await?,
        config_maps: list(client, namespace).await?,
        services: list(client, namespace).await?,
        network_policies: list(client, namespace).await?,
        disruption_budgets: list(client, namespace).await?,
        stateful_sets: list(client, namespace).await?,
        deployments: list(client, namespace).await?,
        ..Children::default()
    })
}

/// Applies the objects of some specs and reads them back. Returns how many objects there were, and what differs.
async fn round_trip(client: &Client, namespace: &str, numbers: std::ops::Range<usize>) -> Result<(usize, Vec<String>)> {
    make_namespace(client, namespace).await?;
    let mut all = Vec::new();
    for number in numbers {
        all.push((number, objects(&pipeline(namespace, number)?).with_context(|| format!("spec {number}"))?));
    }
    let nothing = Observed::default();
    let writes = stream::iter(&all).map(|(number, objects)| {
        let wanted = drift(objects.clone(), &nothing).apply;
        async move { apply_all(client, namespace, wanted).await.with_context(|| format!("spec {number}")) }
    });
    writes.buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    let observed = Observed { children: children(client, namespace).await?, ..Observed::default() };
    let mut differences = Vec::new();
    let count = all.iter().map(|(_, objects)| objects.len()).sum();
    for (number, objects) in all {
        let found = drift(objects, &observed);
        differences.extend(found.set_back.iter().map(|changed| format!("spec {number}: {}", changed.describe())));
        ensure!(found.apply.len() == found.set_back.len(), "spec {number}: something is missing");
    }
    // The negative control: what is wanted otherwise does differ.
    let mut other = pipeline(namespace, 0)?;
    other.spec.kafka.resources = serde_json::from_value(json!({"requests": {"cpu": "7"}}))?;
    if let Some(set) = observed.children.stateful_sets.get("p0-kafka") {
        let mut observed = observed.clone();
        let mut sets = BTreeMap::from([("p0-kafka".to_owned(), set.clone())]);
        std::mem::swap(&mut observed.children.stateful_sets, &mut sets);
        ensure!(!drift(objects(&other)?, &observed).apply.stateful_sets.is_empty(), "another CPU is no difference");
    }
    for name in observed.children.services.keys() {
        snapshot::delete(client, namespace, ("api/v1", "services"), name).await?;
    }
    Ok((count, differences))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn what_is_read_back_is_what_was_applied() -> Result<()> {
    let client = server().await?.client(Who::Everybody).await?;
    let specs = std::env::var("NORMALISED_SPECS").ok().and_then(|text| text.parse().ok()).unwrap_or(SPECS);
    let (mut count, mut differences) = (0, Vec::new());
    for begin in (0..specs).step_by(AT_ONCE) {
        let namespace = format!("normal-{begin}");
        let (objects, found) = round_trip(&client, &namespace, begin..specs.min(begin + AT_ONCE)).await?;
        count += objects;
        differences.extend(found);
    }
    ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    println!("{count} objects of {specs} specs were read back as they were applied");
    Ok(())
}
