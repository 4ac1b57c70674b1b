//! `POST /inject` over TLS: a mutating webhook that adds a sidecar, an annotation and a toleration to each pod, as service
//! meshes and agents do, for the test that operator and webhook get along.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::routing::post;
use axum::serve::Listener;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::warn;

/// Where it listens.
const PORT: u16 = 8443;
/// Longest that a client may take to agree on TLS.
const PATIENCE: Duration = Duration::from_secs(1);
/// The container that is added.
const SIDECAR: &str = "sidecar";

/// Serves the webhook beside the process's other work, with `tls.crt` and `tls.key` of a directory.
pub(crate) async fn start(directory: &Path, image: &str) -> anyhow::Result<()> {
    let tls = Tls { listener: crate::listen(PORT).await?, acceptor: acceptor(directory)? };
    let router = Router::new().route("/inject", post(inject)).with_state(Arc::new(sidecar(image)));
    tokio::spawn(async move { axum::serve(tls, router).await });
    Ok(())
}

fn acceptor(directory: &Path) -> anyhow::Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_file_iter(directory.join("tls.crt")).context("cannot read tls.crt")?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().context("tls.crt is not valid PEM")?;
    let key = PrivateKeyDer::from_pem_file(directory.join("tls.key")).context("cannot read tls.key")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections whose clients have agreed on TLS.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match timeout(PATIENCE, self.acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => return (stream, peer),
                    Ok(Err(error)) => warn!(%error, %peer, "no TLS"),
                    Err(_) => warn!(%peer, "no TLS in time"),
                },
                Err(error) => {
                    warn!(%error, "no connection");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The container that is added: this program once more, which does nothing there.
fn sidecar(image: &str) -> Value {
    json!({
        "name": SIDECAR, "image": image, "imagePullPolicy": "IfNotPresent", "args": ["--port", "18080"],
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

async fn inject(State(sidecar): State<Arc<Value>>, Json(review): Json<Value>) -> Json<Value> {
    let patch = patch(&review["request"]["object"], &sidecar);
    Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"], "allowed": true,
            "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string()),
        },
    }))
}

/// Returns what is added to a pod. A list or map that is not there yet is added whole.
fn patch(pod: &Value, sidecar: &Value) -> Value {
    let toleration = json!({"key": "injector/spot", "operator": "Exists"});
    let annotation = match pod["metadata"]["annotations"].is_object() {
        true => json!({"op": "add", "path": "/metadata/annotations/injector~1status", "value": "injected"}),
        false => json!({"op": "add", "path": "/metadata/annotations", "value": {"injector/status": "injected"}}),
    };
    let toleration = match pod["spec"]["tolerations"].is_array() {
        true => json!({"op": "add", "path": "/spec/tolerations/-", "value": toleration}),
        false => json!({"op": "add", "path": "/spec/tolerations", "value": [toleration]}),
    };
    json!([{"op": "add", "path": "/spec/containers/-", "value": sidecar}, annotation, toleration])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_added_whole() {
        let places = |pod: &Value| -> Vec<String> {
            let patch = patch(pod, &sidecar("a"));
            let changes = patch.as_array().expect("a list");
            changes.iter().map(|change| change["path"].as_str().expect("a path").to_owned()).collect()
        };
        let bare = json!({"metadata": {}, "spec": {"containers": []}});
        assert_eq!(places(&bare), ["/spec/containers/-", "/metadata/annotations", "/spec/tolerations"]);
        let full = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"containers": [], "tolerations": []}});
        let each = ["/spec/containers/-", "/metadata/annotations/injector~1status", "/spec/tolerations/-"];
        assert_eq!(places(&full), each);
    }
}
