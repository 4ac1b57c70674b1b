//! Endpoints that misbehave on purpose: statuses, redirects, slowness, size, failures that pass, and a closed door.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Json, Router, routing::get};
use millrace_profile::{seed_of, user};
use serde::Deserialize;
use serde_json::json;

/// Largest body that `/big` makes: enough to pass any cap, too little to fill the machine.
const MOST_BYTES: usize = 256 << 20;

/// How often `/fail-first` has failed, by its `key`.
type Failures = Arc<Mutex<HashMap<String, u32>>>;

/// Returns the misbehaving routes.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/status/{code}", get(status))
        .route("/redirect", get(|| async { Redirect::temporary("/api/") }))
        .route("/slow", get(slow))
        .route("/big", get(big))
        .route("/fail-first", get(fail_first))
        .route("/guarded", get(guarded))
        .with_state(Failures::default())
}

async fn status(Path(code): Path<u16>) -> Response {
    match StatusCode::from_u16(code) {
        Ok(code) => (code, Json(json!({"error": format!("status {code} as asked for")}))).into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, Json(json!({"error": "no such status"}))).into_response(),
    }
}

#[derive(Deserialize)]
struct Slow {
    /// How long to wait before answering, in milliseconds.
    ms: u64,
}

async fn slow(Query(Slow { ms }): Query<Slow>) -> Response {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    one_person()
}

#[derive(Deserialize)]
struct Big {
    /// Length of the text in the answer.
    bytes: usize,
}

async fn big(Query(Big { bytes }): Query<Big>) -> Response {
    let padding = " ".repeat(bytes.min(MOST_BYTES));
    ([(header::CONTENT_TYPE, "application/json")], format!("{{\"results\":[{padding}]}}")).into_response()
}

#[derive(Deserialize)]
struct FailFirst {
    /// How many calls to refuse with 429 and Retry-After before answering.
    n: u32,
    /// Calls are counted apart for each key.
    #[serde(default)]
    key: String,
}

async fn fail_first(State(failures): State<Failures>, Query(FailFirst { n, key }): Query<FailFirst>) -> Response {
    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = failures.entry(key).or_default();
    if *failed >= n {
        return one_person();
    }
    *failed += 1;
    let body = Json(json!({"error": "too many requests"}));
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], body).into_response()
}

#[derive(Deserialize)]
struct Guarded {
    /// The bearer token that opens.
    token: String,
}

async fn guarded(Query(Guarded { token }): Query<Guarded>, headers: HeaderMap) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|given| given.strip_prefix("Bearer ")) == Some(token.as_str()) {
        return one_person();
    }
    (StatusCode::UNAUTHORIZED, Json(json!({"error": "the token is wrong"}))).into_response()
}

fn one_person() -> Response {
    Json(json!({"results": [user(seed_of("trouble"), 0)]})).into_response()
}
