//! A local address for a port of a pod, through the API server: each connection to it is one port-forward.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use snafu::ResultExt;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Failure;
use crate::failure::ListenSnafu;

/// Listens for as long as it lives.
#[derive(Debug)]
pub struct Forward {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port of a pod.
#[derive(Clone)]
struct Target {
    api: Api<Pod>,
    pod: String,
    port: u16,
}

/// Listens on a local port, 0 for any that is free, and leads to a port of a pod. The first port-forward is made at
/// once, so that what forbids it is told here.
pub async fn forward(api: &Api<Pod>, pod: &str, port: u16, local: u16) -> Result<Forward, Failure> {
    let target = Target { api: api.clone(), pod: pod.to_owned(), port };
    let first = target.open().await.map_err(Failure::asking(format!("open a port-forward to pod '{pod}'")))?;
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, local));
    let listener = TcpListener::bind(wanted).await.context(ListenSnafu { address: wanted })?;
    let address = listener.local_addr().context(ListenSnafu { address: wanted })?;
    Ok(Forward { address, task: tokio::spawn(serve(listener, target, Some(first))) })
}

impl Target {
    async fn open(&self) -> Result<Portforwarder, kube::Error> {
        self.api.portforward(&self.pod, &[self.port]).await
    }
}

async fn serve(listener: TcpListener, target: Target, mut first: Option<Portforwarder>) {
    while let Ok((connection, _)) = listener.accept().await {
        let target = target.clone();
        let ready = first.take();
        tokio::spawn(async move {
            let forwarder = match ready {
                Some(forwarder) => Some(forwarder),
                None => target.open().await.ok(),
            };
            // Without one the connection is closed, which its client tells as it tells any loss.
            if let Some(forwarder) = forwarder {
                join(connection, forwarder, target.port).await;
            }
        });
    }
}

async fn join(mut connection: TcpStream, mut forwarder: Portforwarder, port: u16) {
    if let Some(mut stream) = forwarder.take_stream(port) {
        let _ = copy_bidirectional(&mut connection, &mut stream).await;
    }
    forwarder.abort();
}
