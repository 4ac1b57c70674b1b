//! Names in paths: one that nobody can have given is refused before any route sees it. A name becomes part of a path of the
//! API server, asked with the viewer's token, and of a command that people copy.

use axum::extract::{RawPathParams, Request};
use axum::middleware::Next;
use axum::response::Response;

use crate::refusal::Refusal;

/// Longest name of an object of Kubernetes.
const LONGEST_NAME: usize = 253;
/// Longest name of a topic.
const LONGEST_TOPIC: usize = 249;
/// Longest name of a table.
const LONGEST_TABLE: usize = 48;

/// Refuses a request whose path has a name that cannot be.
pub async fn checked(params: RawPathParams, request: Request, next: Next) -> Result<Response, Refusal> {
    for (what, name) in &params {
        let is_name = match what {
            "topic" => is_topic(name),
            "table" => is_table(name),
            _ => is_object(name),
        };
        if !is_name {
            return Err(Refusal::field(what, "no such name can be"));
        }
    }
    Ok(next.run(request).await)
}

/// Returns whether an object of Kubernetes can have this name (RFC 1123, a subdomain).
pub fn is_object(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|byte| is_inner(*byte))
            && bytes.last().is_some_and(|byte| is_inner(*byte))
            && bytes.iter().all(|byte| is_inner(*byte) || *byte == b'-')
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

fn is_topic(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !matches!(name, "" | "." | "..") && name.len() <= LONGEST_TOPIC && name.bytes().all(is_plain)
}

fn is_table(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= LONGEST_TABLE && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(path: &str) -> StatusCode {
        let inner = Router::new()
            .route("/topics/{topic}", get(|| async { "ok" }))
            .route("/tables/{table}", get(|| async { "ok" }))
            .route("/pods/{pod}", get(|| async { "ok" }));
        let router = Router::new().nest("/namespaces/{namespace}/pipelines/{pipeline}", inner).layer(from_fn(checked));
        let request = Request::get(path).body(Body::empty()).expect("a request");
        router.oneshot(request).await.expect("it answers").status()
    }

    #[tokio::test]
    async fn names_that_can_be_pass() {
        for path in [
            "/namespaces/demo/pipelines/users/topics/users_created-1.x",
            "/namespaces/demo/pipelines/users/tables/created_Users",
            "/namespaces/demo/pipelines/users.v2/pods/users-kafka-0",
        ] {
            assert_eq!(answer(path).await, StatusCode::OK, "{path}");
        }
    }

    #[tokio::test]
    async fn names_that_lead_elsewhere_are_refused() {
        for path in [
            "/namespaces/demo/pipelines/users%2Fstatus/pods/a",
            "/namespaces/..%2F..%2Fapi/pipelines/users/pods/a",
            "/namespaces/demo/pipelines/users/pods/a%2Fexec%3Fcommand=sh",
            "/namespaces/demo/pipelines/users/pods/a%3F",
            "/namespaces/demo/pipelines/users/pods/a%23",
            "/namespaces/demo/pipelines/users;id/pods/a",
            "/namespaces/demo/pipelines/$(id)/pods/a",
            "/namespaces/demo/pipelines/users%0Aid/pods/a",
            "/namespaces/demo/pipelines/-o/pods/a",
            "/namespaces/demo/pipelines/Users/pods/a",
            "/namespaces/demo/pipelines/users/topics/a%22b",
            "/namespaces/demo/pipelines/users/topics/..",
            "/namespaces/demo/pipelines/users/tables/a-b",
        ] {
            let status = answer(path).await;
            assert!(status.is_client_error(), "{path}: {status}");
        }
    }

    #[test]
    fn names_are_as_long_as_they_may_be() {
        assert!(is_object(&"a".repeat(253)) && !is_object(&"a".repeat(254)));
        assert!(!is_object("") && !is_object("a..b") && !is_object(".a") && !is_object("a-"));
    }
}
