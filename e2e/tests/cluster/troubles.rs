//! Ten troubles of docs/troubles.md on a pipeline that works, one after the other: within 30 seconds `Ready`, as
//! kubectl shows it, `millrace status` and `millrace explain` name the cause of each. Only processors and producers have them, so that the
//! stores stay.
//!
//! Each is a row of [`troubles`]. To try another one, add a row to it, write `cluster: true` to the trouble's entry in
//! operator/tests/troubles.yaml, and `yes` to its row in docs/troubles.md.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use millrace_api::names::Component;
use millrace_api::pods::is_ready;
use millrace_e2e::command::Millrace;
use millrace_e2e::spec::http_source;
use millrace_e2e::{Live, Spec, Turn, eventually, in_shared};
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that the API server may take to follow an object that keeps pods from being created.
const ENFORCED_WITHIN: Duration = Duration::from_secs(60);
/// Longest that Kubernetes may take to meet a trouble: a producer ends first, and a busy machine takes its time.
const REPORTED_WITHIN: Duration = Duration::from_secs(90);
/// Longest that `Ready` and the command may take to name a cause that Kubernetes reports.
const NAMED_WITHIN: Duration = Duration::from_secs(30);
/// Longest that the pipeline may take to be Ready without the trouble.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);
/// Fewest troubles that are tried.
const LEAST: usize = 10;

const PROCESSOR_PODS: &str = "/spec/processor/podTemplate";
const PRODUCER_PODS: &str = "/spec/producer/podTemplate";

/// A trouble: how it comes about, and by which words it is known.
struct Trouble {
    /// What docs/troubles.md calls it.
    name: &'static str,
    /// An object of the cluster that keeps pods from being created. Absent: the pipeline's change is trouble enough.
    obstacle: Option<Value>,
    /// What is changed in the pipeline: a JSON pointer and the value there. New pods are made for it.
    change: (&'static str, Value),
    /// The cause in Kubernetes' words. No other row has them.
    words: &'static str,
}

/// Returns the troubles of a pipeline in this namespace. To undo one, its obstacle is deleted and the pipeline is
/// changed back.
fn troubles(namespace: &str) -> Vec<Trouble> {
    vec![
        Trouble {
            name: "a quota has no room for a processor",
            obstacle: Some(json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
                "spec": {"hard": {"pods": "0"}},
            })),
            change: ("/spec/processor/replicas", json!(2)),
            words: "exceeded quota: full, requested: pods=1",
        },
        Trouble {
            name: "no node fits selector and tolerations",
            obstacle: None,
            change: (PROCESSOR_PODS, json!({"nodeSelector": {"trouble": "no-such-node"}})),
            words: "didn't match Pod's node affinity/selector",
        },
        Trouble {
            name: "the priority class is missing",
            obstacle: None,
            change: (PROCESSOR_PODS, json!({"priorityClassName": "absent"})),
            words: "no PriorityClass with name absent was found",
        },
        Trouble {
            name: "no node has the memory",
            obstacle: None,
            change: ("/spec/processor/resources", json!({"requests": {"cpu": "10m", "memory": "1Ti"}})),
            words: "Insufficient memory",
        },
        Trouble {
            name: "the namespace's Pod Security Standard refuses the pod",
            obstacle: None,
            change: (
                PROCESSOR_PODS,
                json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}}),
            ),
            words: "forbidden sysctls (kernel.msgmax)",
        },
        Trouble {
            name: "a Secret of an environment variable is missing",
            obstacle: None,
            change: (
                PROCESSOR_PODS,
                json!({"env": [
                    {"name": "TROUBLE", "valueFrom": {"secretKeyRef": {"name": "absent-variable", "key": "trouble"}}},
                ]}),
            ),
            words: "secret \"absent-variable\" not found",
        },
        Trouble {
            name: "an admission webhook does not answer",
            obstacle: Some(json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "millrace-e2e-troubles"},
                "webhooks": [{
                    "name": "pods.troubles.millrace.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "failurePolicy": "Fail", "timeoutSeconds": 1,
                    "clientConfig": {"service": {"namespace": namespace, "name": "nobody"}},
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "rules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]},
                    ],
                }],
            })),
            change: (PROCESSOR_PODS, json!({"labels": {"trouble": "webhook"}})),
            words: "failed calling webhook \"pods.troubles.millrace.dev\"",
        },
        Trouble {
            name: "a LimitRange allows less memory",
            obstacle: Some(json!({
                "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
                "spec": {"limits": [{"type": "Container", "max": {"memory": "32Mi"}}]},
            })),
            change: (PRODUCER_PODS, json!({"labels": {"trouble": "limit-range"}})),
            words: "maximum memory usage per Container is 32Mi",
        },
        Trouble {
            name: "the Secret of a header is missing",
            obstacle: None,
            change: (
                "/spec/producer/sources/0/http/headers",
                json!([
                    {"name": "Authorization", "valueFrom": {"secretKeyRef": {"name": "absent-header", "key": "token"}}},
                ]),
            ),
            words: "secret \"absent-header\" not found",
        },
        Trouble {
            name: "a worker refuses a variable's value",
            obstacle: None,
            change: (PRODUCER_PODS, json!({"env": [{"name": "FORBIDDEN_SOURCE_NETWORKS", "value": "everywhere"}]})),
            words: "invalid value 'everywhere' for '--forbidden-source-network <CIDR>'",
        },
    ]
}

/// One processor and one producer that work.
fn pipeline() -> Spec {
    Spec::one().sources([http_source("people", "results=1")])
}

fn changed(trouble: &Trouble) -> Spec {
    let (pointer, value) = &trouble.change;
    pipeline().with(pointer, value.clone())
}

/// Checks what needs no cluster: each changed pipeline is valid, and the page marks what is tried and nothing else.
pub fn check() -> Result<()> {
    let troubles = troubles("any");
    ensure!(troubles.len() >= LEAST, "only {} troubles are tried", troubles.len());
    for trouble in &troubles {
        let rejected = changed(trouble).rejected().context(trouble.name)?;
        ensure!(rejected.is_empty(), "{}: {rejected:?}", trouble.name);
    }
    let tried: BTreeSet<&str> = troubles.iter().map(|trouble| trouble.name).collect();
    let page = include_str!("../../../docs/troubles.md");
    let rows = page.lines().filter(|line| line.ends_with("| yes |"));
    let marked: BTreeSet<&str> = rows.filter_map(|row| row.strip_prefix("| ")?.split(" | ").next()).collect();
    ensure!(tried == marked, "tried are {tried:?}, and docs/troubles.md marks {marked:?}");
    Ok(())
}

pub async fn ten_troubles_are_named_on_the_cluster(turn: Turn) -> Result<()> {
    in_shared(&turn, "troubles", async |namespace| {
        let live = Live::start(namespace, &pipeline(), READY_WITHIN).await?;
        let millrace = Millrace::new(namespace)?;
        the_producers_are_made_again(&live).await?;
        let mut slowest = Duration::ZERO;
        for trouble in troubles(&namespace.name) {
            let took = meet(&live, &millrace, &trouble).await.context(trouble.name)?;
            slowest = slowest.max(took);
        }
        namespace.time("named_at_the_latest", slowest)
    })
    .await
}

/// Has the operator make the producers' StatefulSet once more. Only events tell why a StatefulSet has no pods, and
/// Kubernetes drops most warnings about an object that has had 25 of them, as it may have by the scenarios before this
/// one.
async fn the_producers_are_made_again(live: &Live) -> Result<()> {
    let namespace = &live.namespace;
    let api: Api<StatefulSet> = Api::namespaced(namespace.cluster.client.clone(), &namespace.name);
    let name = live.names.component(Component::Producer);
    let before = api.get(&name).await.context("there are no producers")?.uid();
    api.delete(&name, &DeleteParams::foreground()).await.context("cannot delete the producers")?;
    let again = async || Ok(api.get_opt(&name).await?.filter(|found| found.uid() != before).map(drop));
    eventually("the producers are made again", RECOVERED_WITHIN, again).await?;
    recovered(live).await
}

/// Lets a trouble come and go. Returns how long its cause took to be named, from when Kubernetes reported it.
async fn meet(live: &Live, millrace: &Millrace, trouble: &Trouble) -> Result<Duration> {
    // Control: without the trouble nobody names it.
    let shown = shown(live, millrace).await?;
    ensure!(!shown.iter().any(|text| text.contains(trouble.words)), "it is named before it is there: {shown:?}");

    let named = comes(live, millrace, trouble).await;
    // After a failure, too: a webhook's configuration outlives the namespace.
    let removed = match &trouble.obstacle {
        Some(obstacle) => kubectl(live, &["delete", "--ignore-not-found"], obstacle).await,
        None => Ok(()),
    };
    let took = named?;
    removed?;
    goes(live, trouble).await?;
    Ok(took)
}

/// Makes a trouble and waits until its cause is named.
async fn comes(live: &Live, millrace: &Millrace, trouble: &Trouble) -> Result<Duration> {
    let words = trouble.words;
    if let Some(obstacle) = &trouble.obstacle {
        kubectl(live, &["apply"], obstacle).await?;
        await_answer_to_pods(live, Some(words)).await?;
    }
    live.change(&changed(trouble)).await?;
    let reported = async || Ok(reports(live).await?.iter().any(|report| report.contains(words)).then_some(()));
    let (_, reported) = eventually("Kubernetes reports it", REPORTED_WITHIN, reported).await?;
    let named = async || {
        let shown = shown(live, millrace).await?;
        // What is shown instead is part of the error once time is up.
        ensure!(shown.iter().all(|text| text.contains(words)), "shown is {shown:?}");
        Ok(Some(()))
    };
    let (_, took) = eventually("Ready and the command name the cause", NAMED_WITHIN, named).await?;
    let (reported, later) = (reported.as_secs_f64(), took.as_secs_f64());
    live.namespace.say(format!("{}: reported after {reported:.1} s, named {later:.1} s later", trouble.name));
    Ok(took)
}

/// Undoes a trouble whose obstacle is deleted, and waits until the pipeline works.
async fn goes(live: &Live, trouble: &Trouble) -> Result<()> {
    if trouble.obstacle.is_some() {
        await_answer_to_pods(live, None).await?;
    }
    live.change(&pipeline()).await?;
    recovered(live).await
}

/// Returns what a person sees of the pipeline: the message of `Ready` by kubectl, the command's tree, and its explanation.
async fn shown(live: &Live, millrace: &Millrace) -> Result<[String; 3]> {
    let (namespace, pipeline) = (&live.namespace, live.names.pipeline());
    let wide = ["get", "spl", pipeline, "-n", &namespace.name, "-o", "wide"];
    let status = millrace.run(&["status", pipeline]).await?;
    let explained = millrace.run(&["explain", pipeline]).await?;
    Ok([namespace.cluster.kubectl(&wide).await?, status.out, explained.out])
}

/// Returns the messages of Kubernetes about pods and what makes them.
async fn reports(live: &Live) -> Result<Vec<String>> {
    let (client, namespace) = (&live.namespace.cluster.client, &live.namespace.name);
    let mut messages = Vec::new();
    for pod in live.all_pods().await? {
        let status = pod.status.unwrap_or_default();
        messages.extend(status.conditions.into_iter().flatten().filter_map(|condition| condition.message));
        let containers = status.container_statuses.into_iter().flatten();
        for state in containers.flat_map(|container| [container.state, container.last_state]).flatten() {
            messages.extend(state.waiting.and_then(|waiting| waiting.message));
            messages.extend(state.terminated.and_then(|terminated| terminated.message));
        }
    }
    let all = ListParams::default();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    for deployment in deployments.list(&all).await.context("cannot list Deployments")? {
        let conditions = deployment.status.unwrap_or_default().conditions;
        messages.extend(conditions.into_iter().flatten().filter_map(|condition| condition.message));
    }
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    for event in events.list(&all).await.context("cannot list events")? {
        // The operator's own are what is judged.
        if event.involved_object.kind.as_deref() != Some("StreamingPipeline") {
            messages.extend(event.message);
        }
    }
    Ok(messages)
}

/// Waits until the pipeline is Ready and nothing is left of a trouble that the next one could be taken for: neither a
/// pod nor the Deployment's condition, whose message Kubernetes does not change while it lasts.
async fn recovered(live: &Live) -> Result<()> {
    live.await_ready(RECOVERED_WITHIN).await?;
    let deployments: Api<Deployment> = Api::namespaced(live.namespace.cluster.client.clone(), &live.namespace.name);
    let recovered = async || {
        let mut pods = live.pods(Component::Processor).await?;
        pods.extend(live.pods(Component::Producer).await?);
        let status = deployments.get(&live.names.component(Component::Processor)).await?.status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter().flatten();
        let is_marked = conditions.any(|condition| condition.type_ == "ReplicaFailure");
        Ok((pods.len() == 2 && pods.iter().all(is_ready) && !is_marked).then_some(()))
    };
    eventually("one processor and one producer are left, both ready", RECOVERED_WITHIN, recovered).await?;
    live.await_ready(RECOVERED_WITHIN).await.map(drop)
}

/// Waits until the API server refuses a pod like a worker's with these words; absent: until it takes one. Nothing is
/// created.
async fn await_answer_to_pods(live: &Live, refusal: Option<&str>) -> Result<()> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "tried"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "tried", "image": "tried", "resources": {"limits": {"memory": "128Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }))
    .context("it is no pod")?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let answered = async || match (live.pod_api().create(&dry, &pod).await, refusal) {
        (Ok(_), None) => Ok(Some(())),
        (Ok(_), Some(_)) => Ok(None),
        (Err(kube::Error::Api(status)), Some(words)) if status.message.contains(words) => Ok(Some(())),
        (Err(error), _) => Err(anyhow::Error::from(error)),
    };
    let what = if refusal.is_some() { "the API server refuses pods" } else { "the API server takes pods" };
    eventually(what, ENFORCED_WITHIN, answered).await.map(drop)
}

/// Runs kubectl on an obstacle.
async fn kubectl(live: &Live, verb: &[&str], obstacle: &Value) -> Result<()> {
    let namespace = &live.namespace;
    let file = std::env::temp_dir().join(format!("millrace-trouble-{}", namespace.name));
    fs::write(&file, obstacle.to_string()).context("cannot write a manifest")?;
    let words = [verb, &["-n", &namespace.name, "-f", "-"]].concat();
    let ran = namespace.cluster.kubectl_reading(&file, &words).await;
    fs::remove_file(file).context("cannot remove a manifest")?;
    ran.map(drop)
}
