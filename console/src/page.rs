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

/// Where the files with a digest in their names are: what has such a name never changes.
const ASSETS: &str = "assets/";

/// Gives a file of the page, or the page.
pub async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return crate::refusal::Refusal::NotFound { what: format!("route '{}'", uri.path()) }.into_response();
    }
    match Page::get(path).filter(|_| !path.is_empty()) {
        Some(file) => answer(path, &file, &headers),
        // A file that is not there is not the page.
        None if path.starts_with(ASSETS) => StatusCode::NOT_FOUND.into_response(),
        None => match Page::get(INDEX) {
            Some(index) => answer(INDEX, &index, &headers),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn answer(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let digest: String = file.metadata.sha256_hash().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digest}\"");
    let kept = if path.starts_with(ASSETS) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let cached = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, kept.to_owned())];
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
        for path in ["/", "/index.html", "/shop/users/graph", "/shop/users/logs?pod=a.js"] {
            assert_eq!(status(path).await, (StatusCode::OK, html.clone()), "{path}");
        }
        assert_eq!(status("/assets/missing.js").await.0, StatusCode::NOT_FOUND);
        assert_eq!(
            status("/api/v1/missing").await,
            (StatusCode::NOT_FOUND, Some("application/problem+json".to_owned()))
        );
    }

    #[tokio::test]
    async fn files_whose_names_have_a_digest_are_kept_and_the_page_is_asked_for_each_time() {
        let kept = |path: String| async move {
            let uri = path.parse().expect("a path");
            file(uri, HeaderMap::new()).await.headers()[header::CACHE_CONTROL].clone()
        };
        let asset = Page::iter().find(|name| name.starts_with(ASSETS)).expect("the page has files");
        assert!(kept(format!("/{asset}")).await.to_str().expect("text").contains("immutable"));
        assert_eq!(kept("/".to_owned()).await, "no-cache");
    }

    #[tokio::test]
    async fn a_file_that_has_not_changed_is_not_sent_again() {
        let first = file(Uri::from_static("/"), HeaderMap::new()).await;
        let tag = first.headers()[header::ETAG].clone();
        let ask = |tag| async {
            file(Uri::from_static("/"), HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)])).await.status()
        };
        assert_eq!(ask(tag).await, StatusCode::NOT_MODIFIED);
        assert_eq!(ask("\"other\"".parse().expect("a value")).await, StatusCode::OK);
    }
}
