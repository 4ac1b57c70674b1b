//! The cluster under test: its API server, `kubectl` and `helm` as a person uses them, and a way onto its nodes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// The node whose API server writes the audit log.
pub const CONTROL_PLANE: &str = "millrace-control-plane";

/// The nodes that run pods.
pub const WORKERS: [&str; 2] = ["millrace-worker", "millrace-worker2"];

/// A connection to the cluster of `MILLRACE_CONTEXT`, by default the one that `make cluster` makes.
#[derive(Clone)]
pub struct Cluster {
    /// The API server.
    pub client: Client,
    context: String,
}

impl Cluster {
    /// Connects; fails with what to do where there is no such cluster.
    pub async fn connect() -> Result<Self> {
        // As the operator does; each test of this process asks for the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let context = std::env::var("MILLRACE_CONTEXT").unwrap_or_else(|_| "kind-millrace".to_owned());
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let kubeconfig = Kubeconfig::read().context("there is no kubeconfig; make cluster")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("there is no context '{context}'; make cluster"))?;
        let client = Client::try_from(config).context("cannot make a client")?;
        client.apiserver_version().await.with_context(|| format!("'{context}' does not answer; make cluster"))?;
        Ok(Self { client, context })
    }

    /// Returns the kubeconfig context.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Runs kubectl and returns what it prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("kubectl");
        command.args(["--context", &self.context]).args(arguments);
        printed(command, &format!("kubectl {}", arguments.join(" "))).await
    }

    /// Runs kubectl with a file as its input, and returns what it prints.
    pub async fn kubectl_reading(&self, input: &Path, arguments: &[&str]) -> Result<String> {
        let file = File::open(input).with_context(|| format!("cannot read {}", input.display()))?;
        let mut command = Command::new("kubectl");
        command.args(["--context", &self.context]).args(arguments).stdin(file);
        printed(command, &format!("kubectl {}", arguments.join(" "))).await
    }

    /// Runs helm and returns what it prints.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("helm");
        command.args(["--kube-context", &self.context]).args(arguments);
        printed(command, &format!("helm {}", arguments.join(" "))).await
    }

    /// Runs a shell script on a node, with `$1` and so on.
    pub async fn on_node(&self, node: &str, script: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("docker");
        command.args(["exec", node, "sh", "-c", script, "sh"]).args(arguments);
        printed(command, &format!("docker exec {node} sh -c '{script}'")).await
    }

    /// Stops all processes of a node, as a machine that hangs: its connections stay open, and nobody answers.
    pub async fn pause(&self, node: &str) -> Result<()> {
        engine(&["pause", node]).await
    }

    /// Lets the processes of a node go on.
    pub async fn resume(&self, node: &str) -> Result<()> {
        engine(&["unpause", node]).await
    }
}

/// Runs the engine that the nodes are containers of.
async fn engine(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("docker");
    command.args(arguments);
    printed(command, &format!("docker {}", arguments.join(" "))).await.map(drop)
}

async fn printed(mut command: Command, told: &str) -> Result<String> {
    // On a thread that may block: tokio's own processes are a feature that nothing else in the workspace needs.
    let ran = tokio::task::spawn_blocking(move || command.output()).await.context("the thread was stopped")?;
    let Output { status, stdout, stderr } =
        ran.with_context(|| format!("cannot run {told}; eval \"$(cluster/cluster.sh env)\""))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        bail!("{told}: {status}: {}{}", stdout.trim(), String::from_utf8_lossy(&stderr).trim());
    }
    Ok(stdout)
}

/// Runs a script of this repository, and returns what it prints.
pub async fn script(path: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(repository().join(path));
    command.args(arguments);
    printed(command, &format!("{path} {}", arguments.join(" "))).await
}

/// Returns the workspace's directory.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns where figures and logs go.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Returns an error unless two texts are the same; says what they are of.
pub fn same(what: &str, found: &str, wanted: &str) -> Result<()> {
    ensure!(found == wanted, "{what} is '{found}', not '{wanted}'");
    Ok(())
}
