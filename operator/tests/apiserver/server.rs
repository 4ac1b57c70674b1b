//! A real kube-apiserver and its etcd, on loopback ports with a directory of their own: nothing else of a cluster.
//!
//! One pair serves all tests of the process, a namespace each. Both programs end with the process, however it ends: a
//! shell waits at a pipe, and kills them once nobody holds the other end. `kube-apiserver`, `etcd` and `helm` come from
//! PATH, where `.ci/test apiserver` puts them (`cluster/cluster.sh tools`).

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::ClientBuilder;
use kube::config::{self, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use kube::{Api, Client, Config, CustomResourceExt, ResourceExt};
use millrace_api::{IngestionRun, StreamingPipeline};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::gate::{Gate, GateLayer};
use crate::{Patience, eventually};

/// Namespace and release name that the chart is rendered for.
pub const SYSTEM: &str = "millrace-system";
const RELEASE: &str = "millrace";

/// All who may do everything: the user, the kubelet, Kubernetes' own controllers.
const EVERYBODY: &str = "token-of-everybody";
/// The operator by the chart's ServiceAccount.
const OPERATOR: &str = "token-of-the-operator";
/// A service account that no role is bound to.
const NOBODY: &str = "token-of-nobody";

/// What the API server notes: what the operator's account writes, and nothing else.
const AUDIT_POLICY: &str = "audit-policy.yaml";
const AUDIT_LOG: &str = "audit.log";

/// Once standard input ends, kills the processes `$@` and takes the directory `$0` away.
const CLEAN_UP: &str = r#"trap '' INT TERM HUP; cat >/dev/null; kill -9 "$@"; rm -rf "$0""#;

/// The API server.
pub struct Server {
    url: String,
    directory: PathBuf,
    certificate: PathBuf,
    /// Never read from: it ends the programs when it is gone.
    _clean_up: Child,
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Who {
    /// May do everything.
    Everybody,
    /// Has the chart's rights.
    Operator,
    /// Has none.
    Nobody,
}

impl Who {
    const fn token(self) -> &'static str {
        match self {
            Self::Everybody => EVERYBODY,
            Self::Operator => OPERATOR,
            Self::Nobody => NOBODY,
        }
    }
}

/// Returns the server of this process, with our resource definitions and the chart's rights; starts it at first.
pub async fn server() -> Result<&'static Server> {
    static SERVER: OnceLock<std::result::Result<Server, String>> = OnceLock::new();
    static PREPARED: OnceCell<()> = OnceCell::const_new();
    let start = || tokio::task::block_in_place(|| SERVER.get_or_init(|| Server::start().map_err(|e| format!("{e:#}"))));
    let server = start().as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    PREPARED.get_or_try_init(|| server.prepare()).await?;
    Ok(server)
}

impl Server {
    fn start() -> Result<Self> {
        // A port that is free now may be taken a moment later: then the program ends, and others are tried.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::start_once() {
                Err(error) if attempts == 3 => return Err(error),
                Err(_) => {}
                started => return started,
            }
        }
    }

    fn start_once() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("millrace-apiserver-").tempdir()?.keep();
        let file = |name: &str| directory.join(name);
        let path = |name: &str| file(name).display().to_string();
        std::fs::write(file("tokens.csv"), tokens())?;
        std::fs::write(file(AUDIT_POLICY), audit_policy().to_string())?;
        let key = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &path("service-accounts.key")];
        let made = Command::new("openssl").args(key).output().context("cannot run openssl")?;
        ensure!(made.status.success(), "openssl made no key: {}", String::from_utf8_lossy(&made.stderr));

        let [store, peer, port] = free_ports()?;
        let store = format!("http://127.0.0.1:{store}");
        let peer = format!("http://127.0.0.1:{peer}");
        let etcd = [
            format!("--data-dir={}", path("etcd")),
            format!("--listen-client-urls={store}"),
            format!("--advertise-client-urls={store}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // Nothing here outlives the process.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=error".to_owned(),
        ];
        let api = [
            format!("--etcd-servers={store}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", path("certificates")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("service-accounts.key")),
            format!("--service-account-signing-key-file={}", path("service-accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
            // Both wait for controllers that are not here: one for each namespace's default account, the other takes
            // away the finalizer that it puts on claims.
            "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection".to_owned(),
            format!("--audit-policy-file={}", path(AUDIT_POLICY)),
            format!("--audit-log-path={}", path(AUDIT_LOG)),
            // In one file, however much it is.
            "--audit-log-maxsize=4000".to_owned(),
            // Who asks much waits long otherwise, and here a few ask for hundreds.
            "--enable-priority-and-fairness=false".to_owned(),
            "--v=1".to_owned(),
        ];
        let mut programs = [spawn("etcd", &etcd, &directory)?, spawn("kube-apiserver", &api, &directory)?];
        let ids = programs.each_ref().map(|program| program.id().to_string());
        let mut shell = Command::new("sh");
        shell.args(["-c", CLEAN_UP]).arg(&directory).args(ids).stdin(Stdio::piped()).stderr(Stdio::null());
        let clean_up = shell.spawn().context("cannot run sh")?;
        let certificate = file("certificates").join("apiserver.crt");
        await_port(port, &mut programs).with_context(|| end_of(&file("kube-apiserver.log")))?;
        Ok(Self { url: format!("https://127.0.0.1:{port}"), directory, certificate, _clean_up: clean_up })
    }

    /// Waits until the server is ready, and gives it our resource definitions and the chart's rights.
    async fn prepare(&self) -> Result<()> {
        let admin = self.client(Who::Everybody).await?;
        let ready = async || {
            let request = axum::http::Request::get("/readyz").body(Vec::new())?;
            Ok(admin.request_text(request).await.ok().filter(|answer| answer == "ok").map(drop))
        };
        eventually("kube-apiserver is ready", ready).await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
        let ours = PatchParams::apply("tests").force();
        for definition in crds()? {
            definitions.patch(&definition.name_any(), &ours, &Patch::Apply(&definition)).await?;
        }
        for name in [StreamingPipeline::crd_name(), IngestionRun::crd_name()] {
            let established = async || {
                let status = definitions.get_status(name).await?.status;
                let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
                let is = |condition: &str| conditions.iter().any(|c| c.type_ == condition && c.status == "True");
                Ok((is("Established")).then_some(()))
            };
            eventually(&format!("{name} is served"), established).await?;
        }
        make_namespace(&admin, SYSTEM).await?;
        for object in chart_rights()?.into_iter().chain(chart_policies()?) {
            apply_any(&admin, &object).await?;
        }
        Ok(())
    }

    /// Returns a client that nothing stands in the way of.
    pub async fn client(&self, who: Who) -> Result<Client> {
        Ok(Client::try_from(self.config(who).await?)?)
    }

    /// Returns a client whose every request goes through a gate.
    pub async fn gated(&self, who: Who, gate: &Gate) -> Result<Client> {
        let builder = ClientBuilder::try_from(self.config(who).await?)?;
        Ok(builder.with_layer(&GateLayer(gate.clone())).build())
    }

    /// Writes a file by which a program reaches the server, and returns where it is.
    pub fn kubeconfig(&self, who: Who) -> Result<PathBuf> {
        let named = "tests";
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": named,
            "clusters": [{"name": named, "cluster": {
                "server": self.url, "certificate-authority": self.certificate.display().to_string(),
            }}],
            "users": [{"name": named, "user": {"token": who.token()}}],
            "contexts": [{"name": named, "context": {"cluster": named, "user": named}}],
        });
        let file = self.directory.join(format!("{}.kubeconfig", who.token()));
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// Returns where the server notes what the operator writes: one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.directory.join(AUDIT_LOG)
    }

    async fn config(&self, who: Who) -> Result<Config> {
        let named = "tests".to_owned();
        let cluster = config::Cluster {
            server: Some(self.url.clone()),
            certificate_authority: Some(self.certificate.display().to_string()),
            ..config::Cluster::default()
        };
        let user = config::AuthInfo { token: Some(who.token().to_owned().into()), ..config::AuthInfo::default() };
        let context =
            config::Context { cluster: named.clone(), user: Some(named.clone()), ..config::Context::default() };
        let kubeconfig = Kubeconfig {
            clusters: vec![NamedCluster { name: named.clone(), cluster: Some(cluster), ..NamedCluster::default() }],
            auth_infos: vec![NamedAuthInfo { name: named.clone(), auth_info: Some(user), ..NamedAuthInfo::default() }],
            contexts: vec![NamedContext { name: named.clone(), context: Some(context), ..NamedContext::default() }],
            current_context: Some(named),
            ..Kubeconfig::default()
        };
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }
}

fn account(name: &str) -> String {
    format!("system:serviceaccount:{SYSTEM}:{name}")
}

fn audit_policy() -> Value {
    let verbs = ["create", "update", "patch", "delete", "deletecollection"];
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [account(RELEASE)], "verbs": verbs}, {"level": "None"}],
    })
}

fn tokens() -> String {
    let groups = format!("system:serviceaccounts,system:serviceaccounts:{SYSTEM},system:authenticated");
    [
        format!("{EVERYBODY},everybody,1,system:masters"),
        format!("{OPERATOR},{},2,\"{groups}\"", account(RELEASE)),
        format!("{NOBODY},{},3,\"{groups}\"", account("nobody")),
    ]
    .join("\n")
}

fn spawn(program: &str, flags: &[String], directory: &Path) -> Result<Child> {
    let log = std::fs::File::create(directory.join(format!("{program}.log")))?;
    let mut command = Command::new(program);
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().with_context(|| format!("cannot run {program}; is it on PATH?"))
}

/// Waits until the server listens. Blocks: a runtime does not outlive its test.
fn await_port(port: u16, programs: &mut [Child]) -> Result<()> {
    let patience = Patience::default();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        for program in programs.iter_mut() {
            ensure!(program.try_wait()?.is_none(), "a program ended");
        }
        patience.pause("kube-apiserver listens")?;
    }
    Ok(())
}

/// Returns ports of the loopback that are free now.
pub fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let listeners: Vec<TcpListener> =
        (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let ports: Vec<u16> =
        listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    ports.try_into().map_err(|_| anyhow::anyhow!("there are not {COUNT} ports"))
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(20);
    format!("kube-apiserver did not start; the end of its log:\n{}", lines[last..].join("\n"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn crds() -> Result<Vec<CustomResourceDefinition>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(repository().join("crds"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|file| Ok(serde_yaml::from_str(&std::fs::read_to_string(file)?)?)).collect()
}

/// Returns what the chart gives the operator: its roles, and their bindings.
pub fn chart_rights() -> Result<Vec<Value>> {
    chart_objects(RELEASE, &["templates/rbac.yaml"], &[])
}

/// Returns the chart's admission policies of pipelines and of the operator's own account.
fn chart_policies() -> Result<Vec<Value>> {
    let image = ["--set-string", "worker.image.repository=worker,worker.image.tag=1"];
    chart_objects(RELEASE, &["templates/references.yaml", "templates/own-account.yaml"], &image)
}

/// Returns what some templates of the chart render for a release.
pub fn chart_objects(release: &str, templates: &[&str], flags: &[&str]) -> Result<Vec<Value>> {
    let mut helm = Command::new("helm");
    helm.args(["template", release]).arg(repository().join("charts/millrace")).args(["--namespace", SYSTEM]);
    helm.args(["--kube-version", "1.34.0"]).args(flags);
    templates.iter().for_each(|template| {
        helm.args(["--show-only", template]);
    });
    let output = helm.output().context("cannot run helm")?;
    ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    let objects: Vec<Value> = documents.collect::<std::result::Result<_, _>>()?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// Applies an object of any kind of RBAC or of admission policies.
pub async fn apply_any(client: &Client, object: &Value) -> Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api, kind, name, namespace) =
        (text("/apiVersion"), text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
    let plural = format!("{}s", kind.to_lowercase()).replace("policys", "policies");
    let scope = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    let path = format!("/apis/{api}{scope}/{plural}/{name}?fieldManager=tests&force=true");
    let request = axum::http::Request::patch(path)
        .header("content-type", "application/apply-patch+yaml")
        .body(serde_json::to_vec(object)?)?;
    client.request::<Value>(request).await.with_context(|| format!("cannot apply {kind} '{name}'"))?;
    Ok(())
}

/// Makes a StorageClass, whose volumes may grow or not; one that is there already will do.
pub async fn make_class(client: &Client, name: &str, grows: bool) -> Result<()> {
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": {"name": name}, "provisioner": "played.example", "allowVolumeExpansion": grows,
    }))?;
    match Api::all(client.clone()).create(&PostParams::default(), &class).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => bail!("cannot make StorageClass '{name}': {error}"),
    }
}

/// Makes a namespace; one that is there already will do.
pub async fn make_namespace(client: &Client, name: &str) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    match Api::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => bail!("cannot make namespace '{name}': {error}"),
    }
}
