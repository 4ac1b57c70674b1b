//! The OpenAPI document of the API, from the routes and the types themselves.

use utoipa::OpenApi;

use super::history::Sample;
use super::messages::TailBatch;
use super::pods::LogLines;

/// The API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millrace console",
        description = "Everything is JSON; unknown is null, never 0. Rates are per second. Changes want the header x-millrace-csrf."
    ),
    paths(
        crate::routes::session::begin,
        crate::routes::session::read,
        crate::routes::session::end,
        crate::routes::pipelines::all,
        crate::routes::pipelines::one,
        crate::routes::live::live,
        crate::routes::pipelines::history,
        crate::routes::pipelines::lag,
        crate::routes::messages::topics,
        crate::routes::messages::page,
        crate::routes::messages::file,
        crate::routes::tail::tail,
        crate::routes::rows::tables,
        crate::routes::rows::rows,
        crate::routes::letters::letters,
        crate::routes::trace::trace,
        crate::routes::pipelines::resource,
        crate::routes::pods::pods,
        crate::routes::logs::logs,
        crate::routes::logs::follow,
        crate::routes::pods::events,
        crate::routes::runs::runs,
        crate::routes::runs::run,
        crate::routes::actions::trigger,
        crate::routes::actions::cancel,
        crate::routes::actions::rerun,
        crate::routes::backfill::backfill,
        crate::routes::actions::paused,
    ),
    components(schemas(LogLines, Sample, TailBatch))
)]
struct Document;

/// Returns the document, for `console openapi` and for the page's types.
pub fn json() -> String {
    let document = Document::openapi().to_pretty_json();
    document.expect("a document of our own types can be written") + "\n"
}

#[cfg(test)]
mod tests {
    /// The routes as `api.rs` lists them.
    fn listed() -> Vec<(String, String)> {
        let text = include_str!("../api.rs");
        let words = |line: &str| line.trim_start_matches("//!").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines = text.lines().map(words).filter(|words| words.len() > 1);
        lines
            .filter(|words| ["GET", "POST", "PUT", "DELETE"].contains(&words[0].as_str()))
            .map(|words| (words[0].to_lowercase(), words[1].replacen('P', "/api/v1/namespaces/{namespace}/pipelines/{pipeline}", 1)))
            .filter(|(_, path)| !path.ends_with("openapi.json"))
            .collect()
    }

    #[test]
    fn describes_every_route_that_is_listed_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(&super::json()).expect("JSON");
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let methods = methods.as_object().expect("methods").keys();
            described.extend(methods.map(|method| (method.clone(), path.clone())));
        }
        let mut listed = listed();
        listed.sort();
        described.sort();
        assert_eq!(described, listed);
        assert!(listed.len() > 25);
    }

    #[test]
    fn the_document_that_the_page_is_built_from_is_this_one() {
        let kept = include_str!("../../web/openapi.json");
        assert_eq!(kept, super::json(), "run `make console-page`");
    }
}
