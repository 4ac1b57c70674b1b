//! A small server that speaks the public random-user API's JSON, so that demos and tests need no internet.
//!
//! `GET /api/?results=N&seed=S&page=P` answers N people, the same ones for the same three values; without a seed
//! each call answers new people. The other paths are for tests: those of `trouble` misbehave on purpose, `/shops/` is an
//! API as people have them, and `injector` is a webhook.

mod injector;
mod people;
mod shop;
mod trouble;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use axum::{Router, routing::get};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Serves made-up people in the random-user API's form.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port to listen on, on all addresses.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Seed of the people that are answered to calls without a seed.
    #[arg(long, env = "SEED", default_value = "millrace")]
    seed: String,
    /// Directory with tls.crt and tls.key, by which the webhook is served, too. Absent: it is not served.
    #[arg(long, value_name = "DIRECTORY", requires = "sidecar_image")]
    webhook: Option<PathBuf>,
    /// Image of the sidecar that the webhook adds: this program's.
    #[arg(long, value_name = "IMAGE")]
    sidecar_image: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).init();
    let arguments = Arguments::parse();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(people::router(&arguments.seed))
        .merge(shop::router())
        .merge(trouble::router());
    if let (Some(directory), Some(image)) = (&arguments.webhook, &arguments.sidecar_image) {
        injector::start(directory, image).await?;
    }
    let listener = listen(arguments.port).await?;
    info!(port = arguments.port, "listening");
    axum::serve(listener, router).with_graceful_shutdown(terminated()).await.context("serve")
}

/// Listens on IPv6 and IPv4, or on IPv4 alone where the machine has no IPv6.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("listen on port {port}")),
    }
}

async fn terminated() {
    let mut terminate = signal(SignalKind::terminate()).expect("the SIGTERM handler can be set once");
    let mut interrupt = signal(SignalKind::interrupt()).expect("the SIGINT handler can be set once");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping");
}
