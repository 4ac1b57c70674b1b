//! The console as a person reaches it: through a port-forward, with the tokens of ServiceAccounts.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::live::address;
use crate::operator::{NAMESPACE, RELEASE};
use crate::{Cluster, TestNamespace};

/// Port of the console's pod.
const PORT: u16 = 8080;
/// From the end of a stream until it is opened again.
const REOPENED: Duration = Duration::from_secs(1);

/// A port of this machine that leads to the console, for as long as it is held.
pub struct Forwarded {
    process: Child,
    /// Address of the console here.
    pub address: String,
}

impl Forwarded {
    /// Opens the way.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        let context = cluster.context().to_owned();
        tokio::task::spawn_blocking(move || Self::start(&context)).await.context("the thread was stopped")?
    }

    fn start(context: &str) -> Result<Self> {
        let service = format!("service/{RELEASE}-console");
        let mut process = Command::new("kubectl")
            .args(["--context", context, "port-forward", "-n", NAMESPACE, &service, ":80"])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run kubectl port-forward")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("kubectl has an output")?;
        let mut said = BufReader::new(stdout);
        said.read_line(&mut line).context("cannot read what kubectl says")?;
        // It tells of each connection, and ends when nobody listens.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let port = line.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split_whitespace().next());
        let address = port.map(|port| format!("http://127.0.0.1:{port}"));
        let address = address.with_context(|| format!("kubectl port-forward says '{}'", line.trim()));
        if address.is_err() {
            let _ = process.kill();
        }
        Ok(Self { address: address?, process })
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody in front of the page.
#[derive(Clone)]
pub struct Viewer {
    client: Client,
    address: String,
    cookie: Option<String>,
    csrf: Option<String>,
    /// Who they are, as the console says.
    pub user: String,
}

/// What the console answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Returns the body of an answer that must have a status.
    pub fn expect(self, status: StatusCode) -> Result<Value> {
        ensure!(self.status == status, "{} and not {status}: {}", self.status, self.body);
        Ok(self.body)
    }
}

impl Viewer {
    /// Makes somebody who has not logged in.
    pub fn nobody(console: &Forwarded) -> Result<Self> {
        // Well below the console's own limit: a request on a connection that is closed at that moment fails.
        let client = Client::builder()
            .no_proxy()
            .pool_idle_timeout(std::time::Duration::from_secs(10))
            .build()
            .context("cannot make a client")?;
        Ok(Self { client, address: console.address.clone(), cookie: None, csrf: None, user: String::new() })
    }

    /// Logs in with a token.
    pub async fn log_in(console: &Forwarded, token: &str) -> Result<Self> {
        let mut viewer = Self::nobody(console)?;
        let url = format!("{}/api/v1/session", viewer.address);
        let response = viewer.client.post(url).json(&json!({"token": token})).send().await?;
        let status = response.status();
        let cookie = response.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let session: Value = response.json().await?;
        ensure!(status == StatusCode::OK, "{status}: {session}");
        viewer.cookie = Some(cookie);
        viewer.csrf = session["csrf"].as_str().map(str::to_owned);
        viewer.user = session["user"].as_str().unwrap_or_default().to_owned();
        Ok(viewer)
    }

    /// Returns the same viewer with another CSRF token, or none.
    pub fn with_csrf(&self, csrf: Option<&str>) -> Self {
        Self { csrf: csrf.map(str::to_owned), ..self.clone() }
    }

    /// Asks for something.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks for something to be done.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| format!("cannot ask for {path}"))?;
        let status = response.status();
        let text = response.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or_default() })
    }

    /// Returns the same viewer at another address of the console.
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// Keeps a live stream open, as the page does: one that ends is opened again.
    pub fn watch(&self, path: &str) -> Watched {
        let events = Events::default();
        let (viewer, path, seen) = (self.clone(), path.to_owned(), events.clone());
        let task = tokio::spawn(async move {
            loop {
                // Whatever ends a stream, the next one tells more.
                let _ = viewer.follow(&path, &seen).await;
                tokio::time::sleep(REOPENED).await;
            }
        });
        Watched { events, task }
    }

    async fn follow(&self, path: &str, events: &Events) -> Result<()> {
        let response = self.request(Method::GET, path).send().await?.error_for_status()?;
        let mut chunks = response.bytes_stream();
        let mut text = Vec::new();
        while let Some(chunk) = chunks.next().await {
            text.extend_from_slice(&chunk?);
            while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8_lossy(&event)) {
                    events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
            }
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.client.request(method, format!("{}/api/v1{path}", self.address));
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        if let Some(csrf) = &self.csrf {
            request = request.header("x-millrace-csrf", csrf);
        }
        request
    }
}

/// An event of a stream: its name and its data.
pub type Event = (String, Value);

type Events = Arc<Mutex<Vec<Event>>>;

/// A live stream, for as long as it is held.
pub struct Watched {
    events: Events,
    task: JoinHandle<()>,
}

impl Watched {
    /// Returns how many events there were so far.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns the data of the events of a name that came after the first `passed` ones of any name.
    pub fn since(&self, passed: usize, name: &str) -> Vec<Value> {
        self.lock().iter().skip(passed).filter(|(found, _)| found == name).map(|(_, data)| data.clone()).collect()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one server-sent event.
fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    Some((field("event: ")?.to_owned(), serde_json::from_str(field("data: ")?).ok()?))
}

/// Returns the console's pod.
pub async fn pod(cluster: &Cluster) -> Result<Pod> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/component=console");
    let pods = api.list(&ours).await.context("cannot list the console's pods")?.items;
    let is_leaving = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    pods.into_iter().find(|pod| !is_leaving(pod)).context("the console has no pod")
}

/// Returns where the console's pod answers: a way to it without the API server.
pub fn direct(pod: &Pod) -> Result<String> {
    let address = address(pod).context("the console's pod has no address")?;
    Ok(format!("http://{}", SocketAddr::new(address, PORT)))
}

/// Makes a ServiceAccount in a namespace and returns a token of it.
pub async fn account(namespace: &TestNamespace, of: &str, name: &str) -> Result<String> {
    let cluster = &namespace.cluster;
    cluster.kubectl(&["create", "serviceaccount", name, "-n", of]).await?;
    let token = cluster.kubectl(&["create", "token", name, "-n", of, "--duration", "1h"]).await?;
    Ok(token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_events_and_passes_over_what_is_none() {
        let event = parse("event: sample\ndata: {\"time\":1}\n\n");
        assert_eq!(event, Some(("sample".to_owned(), json!({"time": 1}))));
        assert_eq!(parse(": comment\n\n"), None);
    }
}
