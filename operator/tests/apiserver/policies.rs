//! The chart's admission policies on the API server: what a pipeline may refer to, by who writes it, and what the operator's
//! own account may write. Every other test here runs with them, so what the operator really writes passes.

use anyhow::{Context, Result, bail, ensure};
use axum::http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::eventually;
use crate::server::{SYSTEM, Who, apply_any, chart_objects, make_class, make_namespace, server};

/// What the API server says to an object that nobody keeps: nothing, when it would take it.
async fn refusal(client: &Client, path: &str, object: &Value) -> Result<Option<String>> {
    let request = Request::post(format!("{path}?dryRun=All")).header("content-type", "application/json");
    match client.request::<Value>(request.body(serde_json::to_vec(object)?)?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the API server would take an object, or tells what it says instead.
async fn is_taken(client: &Client, path: &str, object: &Value) -> Result<()> {
    let mut said = None;
    for _ in 0..100 {
        said = refusal(client, path, object).await?;
        if said.is_none() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bail!("it is refused: {said:?}")
}

/// A Job as the operator writes it.
fn job() -> Value {
    let container = json!({
        "name": "run", "image": "worker:1",
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
    });
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "again-1", "labels": {"app.kubernetes.io/managed-by": "millrace-operator"}},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "settings", "configMap": {"name": "again-1"}}],
        }}},
    })
}

/// Places in a Job, what is put there (null: taken away), and a part of what the refusal says.
fn crimes() -> Vec<(&'static str, Value, &'static str)> {
    const POD: &str = "/spec/template/spec";
    let host = json!([{"name": "host", "hostPath": {"path": "/"}}]);
    let token = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
    vec![
        ("/metadata/labels", json!({"app.kubernetes.io/managed-by": "me"}), "managed-by=millrace-operator"),
        ("/metadata/labels", json!({}), "managed-by=millrace-operator"),
        (POD, json!({"hostNetwork": true}), "must not use host namespaces"),
        (POD, json!({"hostPID": true}), "must not use host namespaces"),
        (POD, json!({"hostIPC": true}), "must not use host namespaces"),
        (POD, json!({"automountServiceAccountToken": true}), "a ServiceAccount token"),
        (POD, json!({"automountServiceAccountToken": null}), "a ServiceAccount token"),
        (POD, json!({"volumes": token}), "a ServiceAccount token"),
        (POD, json!({"volumes": host}), "may mount only emptyDir"),
        (POD, json!({"securityContext": null}), "must not run as root"),
        ("/spec/template/spec/securityContext", json!({"runAsNonRoot": false}), "must not run as root"),
        ("/spec/template/spec/securityContext", json!({"seccompProfile": {"type": "Unconfined"}}), "seccomp"),
        ("/spec/template/spec/containers/0", json!({"image": "miner:1"}), "must run the image worker:1"),
        ("/spec/template/spec/containers/0", json!({"securityContext": null}), "no privileges"),
        (
            "/spec/template/spec/containers/0",
            json!({"ports": [{"containerPort": 1, "hostPort": 1}]}),
            "must not use host ports",
        ),
        ("/spec/template/spec/containers/0/securityContext", json!({"privileged": true}), "privilege"),
        (
            "/spec/template/spec/containers/0/securityContext",
            json!({"allowPrivilegeEscalation": true}),
            "no privileges",
        ),
        ("/spec/template/spec/containers/0/securityContext", json!({"runAsUser": 0}), "no privileges"),
        (
            "/spec/template/spec/containers/0/securityContext/capabilities",
            json!({"add": ["SYS_ADMIN"]}),
            "no privileges",
        ),
        ("/spec/template/spec/containers/0/securityContext/capabilities", json!({"drop": null}), "no privileges"),
        (POD, json!({"initContainers": [{"name": "first", "image": "worker:1"}]}), "no privileges"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn the_operators_account_writes_unprivileged_pods_only() -> Result<()> {
    const JOBS: &str = "/apis/batch/v1/namespaces/policies-own/jobs";
    let server = server().await?;
    let (operator, admin) = (server.client(Who::Operator).await?, server.client(Who::Everybody).await?);
    make_namespace(&admin, "policies-own").await?;
    // A policy counts some moments after it was made.
    let mut first = job();
    first["metadata"]["labels"] = json!({});
    eventually("the policy counts", async || Ok(refusal(&operator, JOBS, &first).await?.map(drop))).await?;

    let said = refusal(&operator, JOBS, &job()).await?;
    ensure!(said.is_none(), "a Job as the operator writes it is refused: {said:?}");
    let mut mounting = job();
    mounting["spec"]["template"]["spec"]["volumes"] = json!([{"name": "vault", "csi": {"driver": "secrets"}}]);
    let said = refusal(&operator, JOBS, &mounting).await?;
    ensure!(said.is_none(), "a volume of a CSI driver is refused: {said:?}");
    let mut faults = Vec::new();
    for (place, change, says) in crimes() {
        let mut broken = job();
        let holder = broken.pointer_mut(place).and_then(Value::as_object_mut).context("the place is there")?;
        if place == "/metadata/labels" {
            holder.clear();
        }
        holder.extend(change.as_object().cloned().unwrap_or_default());
        holder.retain(|_, value| !value.is_null());
        match refusal(&operator, JOBS, &broken).await? {
            Some(said) if said.contains(says) => {}
            other => faults.push(format!("{place} {change}: {other:?}")),
        }
        // Negative control: it is who asks that matters.
        if let Some(said) = refusal(&admin, JOBS, &broken).await?.filter(|said| said.contains("own-account")) {
            faults.push(format!("{place} {change}: everybody is told {said}"));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A Deployment as the operator writes it.
fn deployment() -> Value {
    let mut deployment = job();
    deployment["apiVersion"] = json!("apps/v1");
    deployment["kind"] = json!("Deployment");
    deployment["spec"]["selector"] = json!({"matchLabels": {"app": "again"}});
    deployment["spec"]["template"]["metadata"] = json!({"labels": {"app": "again"}});
    deployment["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    deployment
}

/// What others add to an object is theirs: the operator's next change of it goes through, and what it adds itself is judged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn containers_of_others_do_not_stop_the_operators_account() -> Result<()> {
    const NAMESPACE: &str = "policies-others";
    const PATH: &str = "/apis/apps/v1/namespaces/policies-others/deployments";
    let server = server().await?;
    let (operator, admin) = (server.client(Who::Operator).await?, server.client(Who::Everybody).await?);
    make_namespace(&admin, NAMESPACE).await?;
    // `privileged` itself is refused by this API server before any policy is asked.
    let rises = json!({"allowPrivilegeEscalation": true});
    let privileged = |name: &str, image: &str| json!({"name": name, "image": image, "securityContext": rises});
    // A policy counts some moments after it was made.
    let mut broken = deployment();
    broken["spec"]["template"]["spec"]["initContainers"] = json!([privileged("first", "worker:1")]);
    eventually("the policy counts", async || {
        Ok(refusal(&operator, PATH, &broken).await?.filter(|said| said.contains("no privileges")).map(drop))
    })
    .await?;

    let created = Request::post(PATH).header("content-type", "application/json");
    operator.request::<Value>(created.body(serde_json::to_vec(&deployment())?)?).await?;
    let patched = async |client: &Client, change: Value| {
        let request = Request::patch(format!("{PATH}/again-1"));
        let request = request.header("content-type", "application/strategic-merge-patch+json");
        match client.request::<Value>(request.body(serde_json::to_vec(&change)?)?).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
            Err(error) => bail!("{error}"),
        }
    };
    let containers = |field: &str, container: Value| json!({"spec": {"template": {"spec": {field: [container]}}}});
    for field in ["containers", "initContainers"] {
        let said = patched(&admin, containers(field, privileged(&format!("their-{}", field.len()), "proxy:1"))).await?;
        ensure!(said.is_none(), "others may add {field}: {said:?}");
    }
    let said = patched(&operator, json!({"spec": {"replicas": 2}})).await?;
    ensure!(said.is_none(), "what others added stops the operator: {said:?}");
    let own = containers("containers", privileged("own", "worker:1"));
    let theirs = containers("containers", privileged("their-10", "miner:1"));
    // Not even what others run before the pod's containers, beside them.
    let mut moved = containers("containers", privileged("their-14", "proxy:1"));
    moved["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "their-14", "$patch": "delete"}]);
    for change in [own, theirs, moved] {
        let said = patched(&operator, change.clone()).await?.unwrap_or_default();
        ensure!(said.contains("no privileges"), "{change}: {said:?}");
    }
    Ok(())
}

/// Claims and StatefulSets are deleted by the operator's account only where no data can go with them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn the_operators_account_deletes_no_claim_that_may_hold_data() -> Result<()> {
    const CLAIMS: &str = "/api/v1/namespaces/policies-deletions/persistentvolumeclaims";
    const SETS: &str = "/apis/apps/v1/namespaces/policies-deletions/statefulsets";
    let server = server().await?;
    let (operator, admin) = (server.client(Who::Operator).await?, server.client(Who::Everybody).await?);
    make_namespace(&admin, "policies-deletions").await?;
    let created = async |path: &str, object: Value| -> Result<()> {
        let request = Request::post(path).header("content-type", "application/json");
        admin.request::<Value>(request.body(serde_json::to_vec(&object)?)?).await?;
        Ok(())
    };
    let claim = |name: &str, volume: Value| {
        let resources = json!({"requests": {"storage": "1Gi"}});
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": resources, "volumeName": volume});
        let labels = json!({"app.kubernetes.io/name": if name == "foreign" { "postgres" } else { "millrace" }});
        let metadata = json!({"name": name, "labels": labels});
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    };
    created(CLAIMS, claim("waits", Value::Null)).await?;
    created(CLAIMS, claim("bound", json!("some-volume"))).await?;
    created(CLAIMS, claim("foreign", Value::Null)).await?;
    let mut set = deployment();
    set["kind"] = json!("StatefulSet");
    set["metadata"]["labels"]["app.kubernetes.io/name"] = json!("millrace");
    set["spec"]["serviceName"] = json!("again");
    created(SETS, set).await?;

    let deleted = async |path: String, mut options: Value| {
        // In the body, since options of the query do not count beside one.
        options["dryRun"] = json!(["All"]);
        let request = Request::delete(path).header("content-type", "application/json");
        match operator.request::<Value>(request.body(serde_json::to_vec(&options)?)?).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
            Err(error) => bail!("{error}"),
        }
    };
    let (waits, bound, set) = (format!("{CLAIMS}/waits"), format!("{CLAIMS}/bound"), format!("{SETS}/again-1"));
    // A policy counts some moments after it was made.
    eventually("the policy counts", async || {
        let said = deleted(bound.clone(), json!({})).await?;
        Ok(said.filter(|said| said.contains("never had a volume")).map(drop))
    })
    .await?;
    let said = deleted(waits, json!({})).await?;
    ensure!(said.is_none(), "a claim that waits: {said:?}");
    let said = deleted(format!("{CLAIMS}/foreign"), json!({})).await?.unwrap_or_default();
    ensure!(said.contains("belongs to a pipeline"), "somebody else's claim: {said}");
    for options in [json!({}), json!({"propagationPolicy": "Background"})] {
        let said = deleted(set.clone(), options.clone()).await?.unwrap_or_default();
        ensure!(said.contains("the propagation policy Orphan"), "{options}: {said}");
    }
    let said = deleted(set, json!({"propagationPolicy": "Orphan"})).await?;
    ensure!(said.is_none(), "a StatefulSet alone: {said:?}");
    Ok(())
}

/// Of a pipeline's claims the operator's account changes the labels and makes the size larger, and of others nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn the_operators_account_only_labels_and_grows_claims() -> Result<()> {
    const NAMESPACE: &str = "policies-claims";
    const CLAIMS: &str = "/api/v1/namespaces/policies-claims/persistentvolumeclaims";
    let server = server().await?;
    let (operator, admin) = (server.client(Who::Operator).await?, server.client(Who::Everybody).await?);
    make_namespace(&admin, NAMESPACE).await?;
    make_class(&admin, NAMESPACE, true).await?;
    let patched = async |client: &Client, path: String, change: Value| {
        let request = Request::patch(path).header("content-type", "application/merge-patch+json");
        match client.request::<Value>(request.body(serde_json::to_vec(&change)?)?).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
            Err(error) => bail!("{error}"),
        }
    };
    let asking_for = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    for (name, application) in [("ours", "millrace"), ("foreign", "postgres")] {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": application}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": NAMESPACE,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        let request = Request::post(CLAIMS).header("content-type", "application/json");
        admin.request::<Value>(request.body(serde_json::to_vec(&claim)?)?).await?;
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        let said = patched(&admin, format!("{CLAIMS}/{name}/status"), bound).await?;
        ensure!(said.is_none(), "cannot bind a claim: {said:?}");
    }
    // From 3Gi, of which it has 1Gi so far, the API server itself would let it go back to 2Gi.
    eventually("the class counts", async || {
        let said = patched(&admin, format!("{CLAIMS}/ours"), asking_for("3Gi")).await?;
        Ok(said.is_none().then_some(()))
    })
    .await?;
    let tried = async |client: &Client, name: &str, change: &Value| {
        patched(client, format!("{CLAIMS}/{name}?dryRun=All"), change.clone()).await
    };
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}]);
    let crimes = [
        ("foreign", asking_for("4Gi"), "only claims of a pipeline"),
        ("foreign", json!({"metadata": {"labels": {"team": "a"}}}), "only claims of a pipeline"),
        ("ours", asking_for("2Gi"), "must not shrink claims"),
        ("ours", json!({"metadata": {"ownerReferences": owner}}), "only the labels and the size"),
        ("ours", json!({"metadata": {"finalizers": ["example.com/mine"]}}), "only the labels and the size"),
    ];
    for (name, change, says) in crimes {
        // A policy counts some moments after it was made.
        eventually(says, async || {
            let said = tried(&operator, name, &change).await?;
            Ok(said.filter(|said| said.contains(says)).map(drop))
        })
        .await?;
        // Negative control: it is who asks that matters.
        let said = tried(&admin, name, &change).await?;
        ensure!(said.is_none(), "{name} {change}: everybody is told {said:?}");
    }
    for change in [asking_for("4Gi"), json!({"metadata": {"labels": {"millrace.dev/pipeline": "users"}}})] {
        let said = tried(&operator, "ours", &change).await?;
        ensure!(said.is_none(), "{change}: {said:?}");
    }
    Ok(())
}

/// The smallest pipeline, with these sources.
fn pipeline(sources: Value) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/samples/accepted/one-of-each.yaml");
    let text = std::fs::read_to_string(file).expect("the sample is there");
    let mut pipeline: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
    let mut source = pipeline["spec"]["producer"]["sources"][0].clone();
    source.as_object_mut().expect("a source is an object").extend(sources.as_object().cloned().unwrap_or_default());
    pipeline["spec"]["producer"]["sources"] = json!([source]);
    pipeline
}

fn with_headers(secrets: &[&str]) -> Value {
    let header = |(index, name): (usize, &&str)| json!({"name": format!("X-{index}"), "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}});
    let headers: Vec<Value> = secrets.iter().enumerate().map(header).collect();
    pipeline(json!({"http": {"url": "https://a.example/", "headers": headers}}))
}

/// The smallest pipeline, with additions to the pods of a component.
fn with_template(component: &str, template: Value) -> Value {
    let mut pipeline = pipeline(json!({}));
    pipeline["spec"][component]["podTemplate"] = template;
    pipeline
}

/// A template whose pods have a key of a Secret as a variable.
fn with_variable(secret: &str) -> Value {
    json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]})
}

/// Gives the account that has no rights these rules in a namespace.
async fn grant(admin: &Client, namespace: &str, rules: Value) -> Result<()> {
    let metadata = json!({"name": "writer", "namespace": namespace});
    let api = "rbac.authorization.k8s.io";
    let role = json!({"apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "Role", "name": "writer"},
        "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": SYSTEM}],
    });
    apply_any(admin, &role).await?;
    apply_any(admin, &binding).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_pipeline_names_secrets_that_its_writer_may_get() -> Result<()> {
    const NAMESPACE: &str = "policies-secrets";
    const PATH: &str = "/apis/millrace.dev/v1alpha1/namespaces/policies-secrets/streamingpipelines";
    let server = server().await?;
    let (writer, admin) = (server.client(Who::Nobody).await?, server.client(Who::Everybody).await?);
    make_namespace(&admin, NAMESPACE).await?;
    let writes = json!({
        "apiGroups": ["millrace.dev"], "resources": ["streamingpipelines"],
        "verbs": ["get", "create", "update", "patch"],
    });
    let reads = |names: Value| {
        let mut rule = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]});
        if !names.is_null() {
            rule["resourceNames"] = names;
        }
        json!([writes, rule])
    };
    grant(&admin, NAMESPACE, json!([writes])).await?;
    let refused = async |pipeline: &Value| refusal(&writer, PATH, pipeline).await;

    eventually("the policy counts", async || {
        Ok(refused(&with_headers(&["a"])).await?.filter(|said| said.contains("Secret 'a'")).map(drop))
    })
    .await?;
    ensure!(refused(&with_headers(&[])).await?.is_none(), "any writer may write a pipeline without Secrets");
    let pushed = pipeline(json!({
        "http": null, "push": {"tokenFrom": {"secretKeyRef": {"name": "t", "key": "k"}}},
    }));
    let said = refused(&pushed).await?.unwrap_or_default();
    ensure!(said.contains("Secret 't'"), "{said}");
    let projected = json!([{"configMap": {"name": "c"}}, {"secret": {"name": "t"}}]);
    let templates = [
        ("kafka", with_variable("t")),
        ("zookeeper", json!({"volumes": [{"name": "v", "secret": {"secretName": "t"}}]})),
        ("processor", json!({"volumes": [{"name": "v", "projected": {"sources": projected}}]})),
        (
            "producer",
            json!({"volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "t"}}}]}),
        ),
        ("cassandra", json!({"imagePullSecrets": [{}, {"name": "t"}]})),
    ];
    for (component, template) in templates {
        let said = refused(&with_template(component, template)).await?.unwrap_or_default();
        ensure!(said.contains("Secret 't'"), "{component}: {said}");
    }
    let plain = json!({
        "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}],
        "labels": null,
        "imagePullSecrets": [],
    });
    let said = refused(&with_template("cassandra", plain)).await?;
    ensure!(said.is_none(), "a template without Secrets is for anyone who may write pipelines: {said:?}");
    ensure!(refusal(&admin, PATH, &with_headers(&["a"])).await?.is_none(), "anyone who may get it may name it");

    grant(&admin, NAMESPACE, reads(json!(["a", "b"]))).await?;
    is_taken(&writer, PATH, &with_headers(&["a", "b"])).await.context("with the right to both")?;
    let pulling = with_template("kafka", json!({"imagePullSecrets": [{"name": "a"}]}));
    ensure!(refused(&pulling).await?.is_none(), "anyone who may get a pull secret may name it");
    let said = refused(&with_headers(&["a", "b", "c"])).await?.unwrap_or_default();
    ensure!(said.contains("Secret 'c'") && said.contains("nobody"), "{said}");
    let sixteen = ["a"; 16];
    ensure!(refused(&with_headers(&sixteen)).await?.is_none(), "16 names are judged one by one");
    let said = refused(&with_headers(&["a"; 17])).await?.unwrap_or_default();
    ensure!(said.contains("more than 16 Secrets"), "{said}");

    // Who may not get a Secret may change all of a pipeline that names it, but for what names it or gets it.
    let mut named = with_headers(&["z"]);
    named["spec"]["kafka"]["podTemplate"] = with_variable("z");
    let created = Request::post(PATH).header("content-type", "application/json");
    admin.request::<Value>(created.body(serde_json::to_vec(&named)?)?).await?;
    let patched = async |change: Value| {
        let request = Request::patch(format!("{PATH}/users?dryRun=All"));
        let request = request.header("content-type", "application/merge-patch+json");
        match writer.request::<Value>(request.body(serde_json::to_vec(&change)?)?).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
            Err(error) => bail!("{error}"),
        }
    };
    ensure!(patched(json!({"metadata": {"labels": {"team": "a"}}})).await?.is_none(), "labels are his");
    ensure!(patched(json!({"spec": {"processor": {"replicas": 2}}})).await?.is_none(), "so are replicas");
    let elsewhere = &with_headers(&["z"])["spec"]["producer"]["sources"];
    let mut elsewhere = elsewhere.clone();
    elsewhere[0]["http"]["url"] = json!("https://evil.example/");
    let said = patched(json!({"spec": {"producer": {"sources": elsewhere}}})).await?.unwrap_or_default();
    ensure!(said.contains("Secret 'z'"), "the Secret may be sent elsewhere: {said:?}");
    for change in [json!({"image": "evil.example/kafka:3.9.2"}), json!({"podTemplate": {"labels": {"team": "a"}}})] {
        let said = patched(json!({"spec": {"kafka": change}})).await?.unwrap_or_default();
        ensure!(said.contains("Secret 'z'"), "other pods may get the Secret: {change} {said:?}");
    }
    let larger = json!({"spec": {"kafka": {"resources": {"limits": {"memory": "2Gi"}}}}});
    ensure!(patched(larger).await?.is_none(), "resources are his, too");

    grant(&admin, NAMESPACE, reads(Value::Null)).await?;
    let mut many = with_headers(&["c"; 20]);
    many["metadata"]["name"] = json!("others");
    is_taken(&writer, PATH, &many).await.context("with the right to all")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kube-apiserver and etcd"]
async fn a_pipeline_names_images_of_the_allowed_registries() -> Result<()> {
    const PATH: &str = "/apis/millrace.dev/v1alpha1/namespaces/policies-images/streamingpipelines";
    let admin = server().await?.client(Who::Everybody).await?;
    make_namespace(&admin, "policies-images").await?;
    let flags = ["--set", "admissionPolicy.references=false,admissionPolicy.images={registry.example.com/,zookeeper:}"];
    for mut object in chart_objects("images", &["templates/references.yaml"], &flags)? {
        if object["kind"] == "ValidatingAdmissionPolicyBinding" {
            let here = json!({"matchLabels": {"kubernetes.io/metadata.name": "policies-images"}});
            object["spec"]["matchResources"] = json!({"namespaceSelector": here});
        }
        apply_any(&admin, &object).await?;
    }
    let with = |store: &str, image: &str| {
        let mut pipeline = pipeline(json!({}));
        pipeline["spec"][store]["image"] = json!(image);
        pipeline
    };
    let foreign = with("kafka", "evil.example/kafka:3.9.2");
    eventually("the policy counts", async || {
        Ok(refusal(&admin, PATH, &foreign).await?.filter(|said| said.contains("evil.example/kafka:3.9.2")).map(drop))
    })
    .await?;
    for (store, image) in [("kafka", "registry.example.com/kafka:3.9.2"), ("zookeeper", "zookeeper:3.9.5")] {
        let said = refusal(&admin, PATH, &with(store, image)).await?;
        ensure!(said.is_none(), "{image}: {said:?}");
    }
    ensure!(refusal(&admin, PATH, &pipeline(json!({}))).await?.is_none(), "images by default");
    let said = refusal(&admin, PATH, &with("cassandra", "registry.example.com.evil.example/c:1")).await?;
    ensure!(said.is_some(), "a beginning is one with its slash");
    Ok(())
}
