//! The routes: each reads what it needs with the viewer's rights and hands it to `view`.

pub mod actions;
pub mod backfill;
pub mod letters;
pub mod live;
pub mod logs;
pub mod messages;
pub mod named;
pub mod pipelines;
pub mod pods;
pub mod redrive;
pub mod rows;
pub mod runs;
pub mod session;
pub mod stream;
pub mod tail;
pub mod trace;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post, put};

use crate::app::App;

/// Returns the API's routes.
pub fn router() -> Router<Arc<App>> {
    let of_pipeline = Router::new()
        .route("/", get(pipelines::one))
        .route("/live", get(live::live))
        .route("/history", get(pipelines::history))
        .route("/lag", get(pipelines::lag))
        .route("/topics", get(messages::topics))
        .route("/topics/{topic}/messages", get(messages::page))
        .route("/topics/{topic}/messages/file", get(messages::file))
        .route("/topics/{topic}/tail", get(tail::tail))
        .route("/tables", get(rows::tables))
        .route("/tables/{table}/rows", get(rows::rows))
        .route("/dead-letters", get(letters::letters))
        .route("/dead-letters/redrive", post(redrive::redrive))
        .route("/trace", get(trace::trace))
        .route("/resource", get(pipelines::resource))
        .route("/pods", get(pods::pods))
        .route("/pods/{pod}/logs", get(logs::logs))
        .route("/pods/{pod}/logs/follow", get(logs::follow))
        .route("/events", get(pods::events))
        .route("/runs", get(runs::runs).post(actions::trigger))
        .route("/runs/{run}", get(runs::run))
        .route("/runs/{run}/cancel", post(actions::cancel))
        .route("/runs/{run}/rerun", post(actions::rerun))
        .route("/backfills", post(backfill::backfill))
        .route("/plan/approval", post(actions::approved))
        .route("/sources/{source}/paused", put(actions::paused));
    Router::new()
        .route("/session", get(session::read).post(session::begin).delete(session::end))
        .route("/pipelines", get(pipelines::all))
        .route("/openapi.json", get(session::document))
        .nest("/namespaces/{namespace}/pipelines/{pipeline}", of_pipeline)
        .layer(from_fn(named::checked))
}
