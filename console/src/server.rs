//! Listener → routes, with the headers that every answer has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use futures::future::join;
use millrace_serve::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::{page, routes};

/// Largest request: a form.
const LARGEST_BODY: usize = 64 << 10;

/// Longest that answers may take once the console is told to stop; requests end before.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// What every answer says about itself: nothing is loaded from elsewhere, framed, guessed or told to others. Styles are set
/// by the page's own script only.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether the console is of use: it has listed what it watches.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it is of use from now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns everything that the console serves.
pub fn router(app: Arc<App>, readiness: Readiness) -> Router {
    let ready = move || async move {
        if readiness.get() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") }
    };
    let api = routes::router().with_state(app).layer(from_fn(uncached)).layer(DefaultBodyLimit::max(LARGEST_BODY));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(page::file)
        .layer(from_fn(guarded))
}

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a viewer was told stays in no cache.
async fn uncached(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Serves until the future ends, and then as long as it takes to answer what was asked.
pub async fn serve(listener: TcpListener, router: Router, ended: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let ordered = async {
        ended.await;
        stop.cancel();
    };
    join(millrace_serve::serve(listener, router, Limits::CONSOLE, || {}, (stop.clone(), LONGEST_DRAIN)), ordered).await;
}
