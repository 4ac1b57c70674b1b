//! The operator's rights, by RBAC on the API server: the chart's roles are enough for all it does (every test here runs with
//! them), each of its rights to write is needed, and it may do nothing else.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::http::{Method, Request};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use millrace_api::IngestionRun;
use millrace_operator::lease::Fence;
use millrace_operator::telemetry::Ended;
use serde_json::{Value, from_value, json};

use crate::gate::Gate;
use crate::server::{SYSTEM, Who, apply_any, chart_rights, server};
use crate::snapshot::{self, KINDS};
use crate::stage::{Stage, leader};
use crate::world::PIPELINE;

/// More passes than the creation of the smallest pipeline needs.
const ENOUGH: usize = 40;

/// Returns the rules of the chart's ClusterRole.
fn rules() -> Result<Vec<Value>> {
    let objects = chart_rights()?;
    let role = objects.iter().find(|object| object["kind"] == "ClusterRole").context("the chart has a ClusterRole")?;
    Ok(role["rules"].as_array().cloned().unwrap_or_default())
}

/// Takes one verb on one resource out of rules.
fn without(rules: &[Value], resource: &str, verb: &str) -> Vec<Value> {
    let names = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut left = Vec::new();
    for rule in rules {
        let (resources, verbs) = (names(rule, "resources"), names(rule, "verbs"));
        for each in resources {
            let verbs: Vec<&String> = verbs.iter().filter(|each_verb| each != resource || *each_verb != verb).collect();
            if verbs.is_empty() {
                continue;
            }
            left.push(json!({"apiGroups": rule["apiGroups"], "resources": [each], "verbs": verbs}));
        }
    }
    left
}

/// Gives an account that has no rights these, in one namespace.
async fn grant(stage: &Stage, rules: &[Value]) -> Result<()> {
    let metadata = json!({"name": "some-rights", "namespace": stage.namespace});
    let role =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some-rights"},
        "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": SYSTEM}],
    });
    apply_any(&stage.admin, &role).await?;
    apply_any(&stage.admin, &binding).await
}

/// Walks until the pipeline is Ready, or a pass ends otherwise than well. Returns how it ended.
async fn ended(stage: &mut Stage) -> Result<Ended> {
    let gate = Gate::default();
    let hands = Arc::new(stage.world.hands(gate.clone()));
    let operator = stage.operator_with(Who::Nobody, gate, hands).await?;
    for _ in 0..ENOUGH {
        match stage.pass(&operator).await {
            Ok(Some(Ended::Done)) => {}
            Ok(ended) => return ended.context("nobody kills it"),
            // Without the right to read or to write the status, a pass has no end.
            Err(_) => return Ok(Ended::Failed),
        }
        if !stage.world.tick().await? && stage.is_ready().await? {
            return Ok(Ended::Done);
        }
    }
    anyhow::bail!("neither ready nor failed after {ENOUGH} passes")
}

async fn lacks(resource: &str, verb: &str, fence: &Fence) -> Result<()> {
    let namespace = format!("rights-{verb}-{}", resource.replace('/', "-"));
    let mut stage = Stage::new(&namespace, fence).await?;
    grant(&stage, &without(&rules()?, resource, verb)).await?;
    stage.create("one", json!({})).await?;
    let ended = ended(&mut stage).await?;
    ensure!(ended != Ended::Done, "the pipeline is Ready without the right to {verb} {resource}");
    if let Some(kind) = KINDS.into_iter().find(|(_, plural)| *plural == resource && verb == "patch") {
        let made = snapshot::list(&stage.admin, &stage.namespace, kind).await?;
        ensure!(made.is_empty(), "{resource} were made without the right to: {made:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn each_right_to_write_is_needed_and_together_they_are_enough() -> Result<()> {
    let fence = leader("rights").await?;
    let mut stage = Stage::new("rights-all", &fence).await?;
    grant(&stage, &without(&rules()?, "nothing", "none")).await?;
    stage.create("one", json!({})).await?;
    ensure!(ended(&mut stage).await? == Ended::Done, "the chart's rights are not enough");

    let mut needed = vec![("streamingpipelines/status", "patch")];
    needed.extend(
        KINDS
            .iter()
            .map(|(_, plural)| (*plural, "patch"))
            .filter(|(plural, _)| !matches!(*plural, "streamingpipelines" | "pods" | "persistentvolumeclaims")),
    );
    let runs = stream::iter(&needed).map(|(resource, verb)| {
        let fence = &fence;
        async move { lacks(resource, verb, fence).await.with_context(|| format!("without {verb} on {resource}")) }
    });
    runs.buffer_unordered(8).try_collect::<()>().await?;
    println!("each of {} rights to write is needed", needed.len());
    Ok(())
}

/// Returns the status code that a request gets; 200 for one that would be granted.
async fn answer(client: &Client, method: Method, path: &str) -> Result<u16> {
    let body = json!({"metadata": {"name": "some"}}).to_string().into_bytes();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json").body(body)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(200),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn the_operator_may_do_nothing_else() -> Result<()> {
    let server = server().await?;
    let operator = server.client(Who::Operator).await?;
    let core = "/api/v1/namespaces/default";
    let refused = [
        (Method::DELETE, format!("{core}/persistentvolumeclaims")),
        (Method::DELETE, "/apis/apps/v1/namespaces/default/statefulsets".to_owned()),
        (Method::DELETE, "/apis/apps/v1/namespaces/default/deployments/some".to_owned()),
        (Method::DELETE, format!("{core}/services/some")),
        (Method::DELETE, "/apis/millrace.dev/v1alpha1/namespaces/default/streamingpipelines/some".to_owned()),
        (Method::PUT, "/apis/millrace.dev/v1alpha1/namespaces/default/streamingpipelines/some".to_owned()),
        (Method::POST, format!("{core}/pods")),
        (Method::POST, format!("{core}/pods/some/exec")),
        (Method::GET, format!("{core}/secrets")),
        (Method::GET, format!("{core}/secrets/some")),
        (Method::POST, format!("{core}/secrets")),
        (Method::GET, format!("/api/v1/namespaces/{SYSTEM}/secrets")),
        (Method::GET, format!("/api/v1/namespaces/{SYSTEM}/secrets/another")),
        (Method::GET, format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/another")),
        (Method::POST, "/apis/coordination.k8s.io/v1/namespaces/default/leases".to_owned()),
        (Method::POST, "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned()),
        (Method::GET, "/api/v1/nodes".to_owned()),
    ];
    for (method, path) in refused {
        let code = answer(&operator, method.clone(), &path).await?;
        ensure!(code == 403, "{method} {path} is answered with {code}");
    }
    // Negative control: what it may do is not refused, there is only nothing of that name.
    let granted = answer(&operator, Method::DELETE, &format!("{core}/pods/some")).await?;
    ensure!(granted == 404, "a pod's deletion is answered with {granted}");
    Ok(())
}

/// A whole operator with the chart's rights makes a run's Job, and ends it when the run is cancelled.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_run_is_made_a_job_and_cancelled() -> Result<()> {
    let fence = leader("runs").await?;
    let mut stage = Stage::new("runs", &fence).await?;
    stage.create("one", json!({})).await?;
    stage.settle().await?;
    let runs: Api<IngestionRun> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let jobs: Api<Job> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let spec = json!({"pipeline": PIPELINE, "source": "made-up", "maxRecords": 10});
    let run = json!({"metadata": {"name": "again"}, "spec": spec});
    runs.create(&PostParams::default(), &from_value(run)?).await?;

    let operator = stage.operator(Gate::default()).await?;
    let only_job = async || anyhow::Ok(jobs.list(&ListParams::default()).await?.items.into_iter().next());
    let mut is_cancelled = false;
    let ended = stage.run(&operator, async |_, _| {
        let Some(job) = only_job().await? else { return Ok(None) };
        if !is_cancelled {
            let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
            runs.patch("again", &PatchParams::default(), &cancel).await?;
            is_cancelled = true;
        }
        // Nobody collects it here.
        Ok(job.metadata.deletion_timestamp.map(drop))
    });
    ensure!(ended.await?.is_some(), "the operator was killed");
    Ok(())
}
