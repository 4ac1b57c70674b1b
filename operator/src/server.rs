//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use millrace_serve::{Limits, serve_always};
use tokio::net::TcpListener;

use crate::telemetry::Telemetry;

/// Whether the operator is of use: it leads with its watches begun, or it stands by.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that the operator is of use from now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, telemetry: Telemetry, readiness: Readiness) {
    let ready = move || async move {
        if readiness.get() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") }
    };
    let metrics = move || async move {
        ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], telemetry.render())
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    serve_always(listener, router, Limits::HEALTH).await;
}
