//! A mutating webhook adds a sidecar, an annotation and a toleration to every pod of a pipeline, as service meshes and agents
//! do: the pipeline becomes Ready, its stores are restarted, and then the operator writes nothing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use millrace_api::labels::INSTANCE_LABEL;
use millrace_e2e::cluster::target;
use millrace_e2e::live::STORES;
use millrace_e2e::spec::Generator;
use millrace_e2e::{Ledger, Live, Spec, TestNamespace, Turn, eventually, in_shared, operator};
use serde_json::{Value, json};

const READY_WITHIN: Duration = Duration::from_secs(300);
/// Longest that the restart of three stores, one after the other, may take on a busy machine.
const ROLLED_WITHIN: Duration = Duration::from_secs(420);
const WITHIN: Duration = Duration::from_secs(120);

/// What the webhook is called, and where the image of its server runs already.
const INJECTOR: &str = "injector";
const SERVER_NAMESPACE: &str = "e2e-source";
/// Its port, as the server has it.
const PORT: u16 = 8443;

/// Three stores, a producer and a processor.
const PODS: usize = 5;
/// What the last restart leaves to be said is said this long after it.
const QUIET: Duration = Duration::from_secs(20);

const SEED: u64 = 21;
const RECORDS: u64 = 1_000;

/// Writes a key and a certificate of that name, `$2`, which is its own authority, into the directory `$1`.
const CERTIFICATE: &str = "set -e; mkdir -p \"$1\"; cd \"$1\"; \
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj \"/CN=$2\" \
    -addext \"subjectAltName=DNS:$2\" -keyout tls.key -out tls.crt 2>openssl.log";

pub async fn beside_a_mutating_webhook(turn: Turn) -> Result<()> {
    in_shared(&turn, "injected", async |namespace| {
        let injected = match begin(namespace).await {
            Ok(()) => becomes_ready_rolls_and_rests(namespace).await,
            Err(error) => Err(error),
        };
        // In any case: nobody could start a pod in this namespace without the server.
        let ended = end(namespace).await;
        let live = injected?;
        ended?;
        stores_are_again_as_the_operator_wants_them(&live).await
    })
    .await
}

/// The pipeline, and with it the settings of its stores: other ones restart them.
fn spec(threads: Option<&str>) -> Spec {
    let spec = Spec::one().sources([Generator { seed: SEED, count: Some(RECORDS), rate: None }.source()]);
    match threads {
        None => spec,
        Some(threads) => spec
            .with("/spec/zookeeper/config", json!({"autopurge.snapRetainCount": threads}))
            .with("/spec/kafka/config", json!({"num.partitions": threads}))
            .with("/spec/cassandra/config", json!({"concurrent_writes": threads})),
    }
}

async fn becomes_ready_rolls_and_rests(namespace: &TestNamespace) -> Result<Live> {
    let live = Live::start(namespace, &spec(None), READY_WITHIN).await?;
    live.await_produced(RECORDS, READY_WITHIN).await?;
    // Stores that another scenario has left were there before the webhook.
    live.change(&spec(Some("5"))).await?;
    namespace.time("rolled_beside_a_webhook", live.await_ready(ROLLED_WITHIN).await?)?;
    let injected = async || {
        let pods = live.all_pods().await?;
        Ok((pods.len() == PODS && pods.iter().all(is_injected)).then_some(()))
    };
    eventually("every pod has what the webhook adds", WITHIN, injected).await?;
    live.await_caught_up(WITHIN).await?;
    let found = live.table().await?.compare(Ledger::default().and(SEED, RECORDS)).await?;
    found.ensure_exact()?;
    let told = async || Ok(live.resource().await?.status.is_some_and(|status| status.lag == Some(0)).then_some(()));
    eventually("the status tells that nothing is left to do", WITHIN, told).await?;
    let quiet = async || {
        let since = Utc::now() - QUIET;
        Ok(operator::writes(&namespace.cluster, &namespace.name, since).await?.is_empty().then_some(()))
    };
    eventually("the operator has said all of the restarts", WITHIN, quiet).await?;

    let length = namespace.turn.run.settings.injected_idle;
    let since = Utc::now();
    namespace.say(format!("{PODS} pods with a sidecar: idle for {} s", length.as_secs()));
    // It waits for nothing: it is the time in which nothing shall happen.
    tokio::time::sleep(length).await;
    let writes = operator::writes(&namespace.cluster, &namespace.name, since).await?;
    namespace.figure("operator_writes_beside_a_webhook", writes.len() as f64, "writes")?;
    ensure!(writes.is_empty(), "{} writes in {} s: {writes:?}", writes.len(), length.as_secs());
    a_change_would_have_been_noticed(&live).await?;
    Ok(live)
}

/// Negative control: one deliberate change, and the count is above zero.
async fn a_change_would_have_been_noticed(live: &Live) -> Result<()> {
    let since = Utc::now();
    live.patch(json!({"spec": {"processor": {"replicas": 2}}})).await?;
    let namespace = &live.namespace;
    let noticed =
        async || Ok((!operator::writes(&namespace.cluster, &namespace.name, since).await?.is_empty()).then_some(()));
    eventually("the audit log tells of a change", WITHIN, noticed).await.map(|_| ())
}

/// Once the webhook is gone, the stores are restarted as the next scenario wants them; the workers go with this one.
async fn stores_are_again_as_the_operator_wants_them(live: &Live) -> Result<()> {
    live.change(&spec(None)).await?;
    live.await_ready(ROLLED_WITHIN).await?;
    for component in STORES {
        let injected = live.pods(component).await?.iter().any(is_injected);
        ensure!(!injected, "{component} still has what the webhook added");
    }
    Ok(())
}

/// Returns whether a pod has all that the webhook adds.
fn is_injected(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers.iter().any(|container| container.name == "sidecar")
        && pod.annotations().get("injector/status").is_some_and(|status| status == "injected")
        && spec.tolerations.iter().flatten().any(|toleration| toleration.key.as_deref() == Some("injector/spot"))
}

/// Starts the webhook's server in the namespace, and sends the pipeline's new pods by it.
async fn begin(namespace: &TestNamespace) -> Result<()> {
    let host = format!("{INJECTOR}.{}.svc", namespace.name);
    let directory = target().join(format!("e2e-{INJECTOR}-{}", namespace.name));
    let made = {
        let (directory, host) = (directory.clone(), host.clone());
        let make = move || Command::new("sh").args(["-c", CERTIFICATE, "sh"]).arg(directory).arg(host).output();
        tokio::task::spawn_blocking(make).await?.context("cannot run sh")?
    };
    ensure!(made.status.success(), "openssl made no certificate; see {}", directory.join("openssl.log").display());
    let file =
        |name: &str| std::fs::read_to_string(directory.join(name)).with_context(|| format!("there is no {name}"));
    let (certificate, key) = (file("tls.crt")?, file("tls.key")?);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": INJECTOR}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    });
    namespace.apply::<Secret>(INJECTOR, &secret).await?;
    // The API server comes from a node, which the other policies of the namespace may take for a pod.
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": INJECTOR},
        "spec": {
            "podSelector": {"matchLabels": {"app": INJECTOR}}, "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": PORT}]}],
        },
    });
    namespace.apply::<NetworkPolicy>(INJECTOR, &policy).await?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": INJECTOR},
        "spec": {"selector": {"app": INJECTOR}, "ports": [{"port": 443, "targetPort": PORT}]},
    });
    namespace.apply::<Service>(INJECTOR, &service).await?;
    namespace.apply::<Deployment>(INJECTOR, &server(&image(namespace).await?)).await?;
    let deployments: Api<Deployment> = Api::namespaced(namespace.cluster.client.clone(), &namespace.name);
    let available = async || {
        let status = deployments.get(INJECTOR).await?.status.unwrap_or_default();
        Ok((status.available_replicas == Some(1)).then_some(()))
    };
    eventually("the webhook's server runs", WITHIN, available).await?;

    let name = format!("e2e-{}", namespace.name);
    let configuration: Api<MutatingWebhookConfiguration> = Api::all(namespace.cluster.client.clone());
    let webhook = webhook(&name, &namespace.name, &uid_of(namespace).await?, &certificate)?;
    configuration.patch(&name, &PatchParams::apply("millrace-e2e").force(), &Patch::Apply(&webhook)).await?;
    // The API server hears of it a moment later: a pod of no other use shows when it does.
    let asked = async || {
        let probe = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "injector-probe", "labels": {INSTANCE_LABEL: "users"}},
            "spec": {"containers": [server_container("none", &[])]},
        });
        let pods: Api<Pod> = Api::namespaced(namespace.cluster.client.clone(), &namespace.name);
        let dry_run = PatchParams { dry_run: true, ..PatchParams::apply("millrace-e2e") };
        let probed = pods.patch("injector-probe", &dry_run, &Patch::Apply(&probe)).await;
        Ok(is_injected(&probed.context("the probe is refused")?).then_some(()))
    };
    eventually("the webhook is asked", WITHIN, asked).await.map(|_| ())
}

async fn uid_of(namespace: &TestNamespace) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(namespace.cluster.client.clone());
    namespaces.get(&namespace.name).await?.metadata.uid.context("the namespace has no UID")
}

/// Takes the webhook away, and then its server.
async fn end(namespace: &TestNamespace) -> Result<()> {
    let configuration: Api<MutatingWebhookConfiguration> = Api::all(namespace.cluster.client.clone());
    let gone = configuration.delete(&format!("e2e-{}", namespace.name), &DeleteParams::default()).await;
    match gone {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error).context("cannot remove the webhook"),
    }
    let objects = ["deployment", "service", "secret", "networkpolicy"].map(|kind| format!("{kind}/{INJECTOR}"));
    let delete = ["delete", "-n", &namespace.name, "--ignore-not-found", "--wait=false"];
    let objects = objects.each_ref().map(String::as_str);
    namespace.cluster.kubectl(&[&delete[..], &objects].concat()).await.map(|_| ())
}

/// Returns the image of the sample source, which is the webhook's server, too.
async fn image(namespace: &TestNamespace) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(namespace.cluster.client.clone(), SERVER_NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/name=sample-source");
    let found = pods.list(&ours).await.context("cannot list the sample source's pods")?.items;
    let image = found.iter().find_map(|pod| pod.spec.as_ref()?.containers.first()?.image.clone());
    image.context("the sample source does not run")
}

fn server_container(image: &str, arguments: &[&str]) -> Value {
    json!({
        "name": INJECTOR, "image": image, "imagePullPolicy": "IfNotPresent", "args": arguments,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

fn server(image: &str) -> Value {
    let mut container = server_container(image, &["--webhook", "/tls", "--sidecar-image", image]);
    container["volumeMounts"] = json!([{"name": "tls", "mountPath": "/tls", "readOnly": true}]);
    container["readinessProbe"] = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": INJECTOR},
        "spec": {
            "selector": {"matchLabels": {"app": INJECTOR}},
            "template": {
                "metadata": {"labels": {"app": INJECTOR}},
                "spec": {
                    "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 2,
                    "containers": [container], "volumes": [{"name": "tls", "secret": {"secretName": INJECTOR}}],
                },
            },
        },
    })
}

/// The pipeline's pods, and no others, go by the webhook; none starts without it.
fn webhook(name: &str, namespace: &str, uid: &str, certificate: &str) -> Result<MutatingWebhookConfiguration> {
    let webhook = json!({
        "name": "injector.e2e.millrace.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "failurePolicy": "Fail", "timeoutSeconds": 10,
        "clientConfig": {"service": {"name": INJECTOR, "namespace": namespace, "path": "/inject", "port": 443}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "objectSelector": {"matchLabels": {INSTANCE_LABEL: "users"}},
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        // It goes with the namespace, whatever becomes of the test.
        "metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid},
        ]},
        "webhooks": [webhook],
    });
    let mut configuration: MutatingWebhookConfiguration = serde_json::from_value(configuration)?;
    let authority = k8s_openapi::ByteString(certificate.as_bytes().to_vec());
    for webhook in configuration.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = Some(authority.clone());
    }
    Ok(configuration)
}

/// Checks without a cluster that both pipelines are valid.
pub fn check() -> Result<()> {
    for spec in [spec(None), spec(Some("5"))] {
        let rejected = spec.rejected()?;
        ensure!(rejected.is_empty(), "{rejected:?}");
    }
    Ok(())
}
