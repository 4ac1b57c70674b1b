//! `GET /api/`: people by number, seed and page, or the error document of the public API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Query, State, rejection::QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use millrace_profile::{seed_of, user};
use serde::Deserialize;
use serde_json::{Value, json};

/// The public API's limit for one call.
const MOST_RESULTS: u64 = 5_000;

/// Pages whose people are addressable without overflow.
const MOST_PAGES: u64 = 1 << 40;

#[derive(Deserialize)]
struct Ask {
    #[serde(default = "one")]
    results: u64,
    /// Absent or empty: the endless sequence of this server.
    #[serde(default)]
    seed: String,
    #[serde(default = "one")]
    page: u64,
}

fn one() -> u64 {
    1
}

/// The sequence behind calls without a seed.
struct Endless {
    seed: String,
    next: AtomicU64,
}

/// Returns the routes of the random-user API.
pub(crate) fn router(seed: &str) -> Router {
    let endless = Arc::new(Endless { seed: seed.to_owned(), next: AtomicU64::new(0) });
    Router::new().route("/api", get(answer)).route("/api/", get(answer)).with_state(endless)
}

async fn answer(State(endless): State<Arc<Endless>>, ask: Result<Query<Ask>, QueryRejection>) -> Response {
    let Ok(Query(ask)) = ask else {
        return refuse("results and page are whole numbers");
    };
    if !(1..=MOST_RESULTS).contains(&ask.results) {
        return refuse("results is between 1 and 5000");
    }
    if !(1..=MOST_PAGES).contains(&ask.page) {
        return refuse("page starts at 1");
    }
    let (seed, first) = match ask.seed.is_empty() {
        true => (&endless.seed, endless.next.fetch_add(ask.results, Ordering::Relaxed)),
        false => (&ask.seed, (ask.page - 1) * ask.results),
    };
    let number = seed_of(seed);
    let results: Vec<Value> = (first..first + ask.results).map(|index| user(number, index)).collect();
    let info = json!({"seed": seed, "results": ask.results, "page": ask.page, "version": "1.4"});
    Json(json!({"results": results, "info": info})).into_response()
}

fn refuse(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": message}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn call(query: Ask) -> Value {
        let endless = Arc::new(Endless { seed: "s".to_owned(), next: AtomicU64::new(0) });
        document(answer(State(endless), Ok(Query(query))).await).await
    }

    async fn document(response: Response) -> Value {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
        serde_json::from_slice(&bytes).expect("a JSON document")
    }

    fn ask(results: u64, seed: &str, page: u64) -> Ask {
        Ask { results, seed: seed.to_owned(), page }
    }

    #[tokio::test]
    async fn answers_the_same_people_for_the_same_seed_and_page() {
        let twice = [call(ask(3, "a", 2)).await, call(ask(3, "a", 2)).await];
        assert_eq!(twice[0], twice[1]);
        assert_eq!(twice[0]["results"][0], user(seed_of("a"), 3));
        assert_eq!(twice[0]["info"], json!({"seed": "a", "results": 3, "page": 2, "version": "1.4"}));
        assert_ne!(call(ask(3, "b", 2)).await["results"], twice[0]["results"]);
    }

    #[tokio::test]
    async fn answers_new_people_without_a_seed() {
        let endless = Arc::new(Endless { seed: "s".to_owned(), next: AtomicU64::new(0) });
        let first = document(answer(State(endless.clone()), Ok(Query(ask(2, "", 1)))).await).await;
        let second = document(answer(State(endless), Ok(Query(ask(2, "", 1)))).await).await;
        assert_eq!(first["results"][1], user(seed_of("s"), 1));
        assert_eq!(second["results"][0], user(seed_of("s"), 2));
    }

    #[tokio::test]
    async fn refuses_more_than_the_public_api_gives() {
        for (results, page) in [(0, 1), (5_001, 1), (1, 0), (1, u64::MAX)] {
            assert!(call(ask(results, "a", page)).await["error"].is_string());
        }
    }
}
