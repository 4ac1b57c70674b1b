//! The worker's own HTTP endpoints: `/healthz`, `/readyz`, `/metrics`, and what else its road has to tell.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use millrace_serve::{Limits, listen, serve_always};
use snafu::{ResultExt, Snafu};

use super::Health;
use crate::telemetry::Telemetry;

/// Why the endpoints are not there.
#[derive(Debug, Snafu)]
pub enum ServeHealth {
    /// The port is taken or not allowed.
    #[snafu(display("cannot listen on port {port}"))]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
}

struct Shared<H> {
    health: Arc<H>,
    telemetry: Telemetry,
}

/// Listens on `port` and answers in the background until the process ends; `more` are routes beside those of every worker.
pub async fn serve<H: Health>(
    port: u16,
    health: Arc<H>,
    telemetry: Telemetry,
    more: Router,
) -> Result<SocketAddr, ServeHealth> {
    let listener = listen(port).await.context(ListenSnafu { port })?;
    let address = listener.local_addr().context(ListenSnafu { port })?;
    let router = Router::new()
        .route("/healthz", get(healthz::<H>))
        .route("/readyz", get(readyz::<H>))
        .route("/metrics", get(metrics::<H>))
        .with_state(Arc::new(Shared { health, telemetry }))
        .merge(more);
    tokio::spawn(serve_always(listener, router, Limits::HEALTH));
    Ok(address)
}

async fn healthz<H: Health>(State(shared): State<Arc<Shared<H>>>) -> Response {
    let pulses = shared.health.pulses();
    let stuck: Vec<&str> =
        pulses.iter().filter(|(_, pulse)| !pulse.is_alive()).map(|(name, _)| name.as_str()).collect();
    match stuck.is_empty() {
        true => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}\n", stuck.join(", "))).into_response(),
    }
}

async fn readyz<H: Health>(State(shared): State<Arc<Shared<H>>>) -> Response {
    let readiness = shared.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics<H: Health>(State(shared): State<Arc<Shared<H>>>) -> Response {
    const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, FORMAT)], shared.telemetry.encode()).into_response()
}
