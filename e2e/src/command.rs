//! The built command `millrace`, run as a person runs it.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::TestNamespace;
use crate::cluster::target;

/// The command with the namespace of a test.
#[derive(Clone)]
pub struct Millrace {
    context: String,
    namespace: String,
    kubeconfig: Option<PathBuf>,
}

/// How it ended and what it printed.
#[derive(Clone, Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Millrace {
    /// Makes the command; fails where it has not been built.
    pub fn new(namespace: &TestNamespace) -> Result<Self> {
        ensure!(program().exists(), "{} is missing; cargo build --workspace --bin millrace", program().display());
        let context = namespace.cluster.context().to_owned();
        Ok(Self { context, namespace: namespace.name.clone(), kubeconfig: None })
    }

    /// Returns the command with another kubeconfig, of the same context.
    pub fn with_kubeconfig(&self, file: PathBuf) -> Self {
        Self { kubeconfig: Some(file), ..self.clone() }
    }

    /// Runs it with these words.
    pub async fn run(&self, words: &[&str]) -> Result<Said> {
        let mut command = Command::new(program());
        command.args(["--context", &self.context, "-n", &self.namespace]).args(words);
        if let Some(file) = &self.kubeconfig {
            command.env("KUBECONFIG", file);
        }
        let ran = tokio::task::spawn_blocking(move || command.output()).await.context("the thread was stopped")?;
        let Output { status, stdout, stderr } = ran.context("cannot run the command")?;
        Ok(Said {
            code: status.code().context("the command was killed")?,
            out: String::from_utf8(stdout).context("it prints no text")?,
            err: String::from_utf8(stderr).context("it prints no text")?,
        })
    }

    /// Runs it and returns its output; it must end with an exit code and say something.
    pub async fn says(&self, words: &[&str], code: i32, text: &str) -> Result<String> {
        let said = self.run(words).await?;
        let fits = said.code == code && format!("{}{}", said.out, said.err).contains(text);
        ensure!(fits, "millrace {} does not end with {code} and '{text}': {said:?}", words.join(" "));
        Ok(said.out)
    }

    /// Runs it and returns the JSON that it prints; it must end well.
    pub async fn json(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
        let out = self.says(&words, 0, "").await?;
        serde_json::from_str(&out).with_context(|| format!("millrace {} prints no JSON: {out}", words.join(" ")))
    }
}

fn program() -> PathBuf {
    target().join("debug/millrace")
}
