//! The page: its built files, embedded.

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What `make console-page` has built.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Page;

/// The page itself; every path that is no file is a view of it.
const INDEX: &str = "index.html";

/// Gives a file of the page, or the page.
pub async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return crate::refusal::Refusal::NotFound { what: format!("route '{}'", uri.path()) }.into_response();
    }
    match (Page::get(path).filter(|_| !path.is_empty()), path.contains('.')) {
        (Some(file), _) => answer(path, &file, &headers),
        // A view's path has no dot in its last part but in names; a file that is not there is not the page.
        (None, true) if is_asset(path) => StatusCode::NOT_FOUND.into_response(),
        (None, _) => match Page::get(INDEX) {
            Some(index) => answer(INDEX, &index, &headers),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn is_asset(path: &str) -> bool {
    [".js", ".css", ".map", ".svg", ".png", ".ico", ".woff2"].iter().any(|ending| path.ends_with(ending))
}

fn answer(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let digest: String = file.metadata.sha256_hash().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digest}\"");
    // Another release has other files under the same names: ask each time, and mostly be told that nothing has changed.
    let cached = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(header::CONTENT_TYPE, content_type(path))], file.data.clone().into_owned()).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "map") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(path: &'static str) -> (StatusCode, Option<String>) {
        let response = file(Uri::from_static(path), HeaderMap::new()).await;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        (response.status(), kind.map(str::to_owned))
    }

    #[tokio::test]
    async fn every_view_is_the_page_and_nothing_else_is() {
        let html = Some("text/html; charset=utf-8".to_owned());
        for path in ["/", "/index.html", "/namespaces/shop/pipelines/users", "/ns/a.b/runs"] {
            assert_eq!(status(path).await, (StatusCode::OK, html.clone()), "{path}");
        }
        assert_eq!(status("/missing.js").await.0, StatusCode::NOT_FOUND);
        assert_eq!(status("/api/v1/missing").await, (StatusCode::NOT_FOUND, Some("application/problem+json".to_owned())));
    }

    #[tokio::test]
    async fn a_file_that_has_not_changed_is_not_sent_again() {
        let first = file(Uri::from_static("/"), HeaderMap::new()).await;
        let tag = first.headers()[header::ETAG].clone();
        let ask = |tag| async { file(Uri::from_static("/"), HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)])).await.status() };
        assert_eq!(ask(tag).await, StatusCode::NOT_MODIFIED);
        assert_eq!(ask("\"other\"".parse().expect("a value")).await, StatusCode::OK);
    }
}
