//! What the console's API says and takes: a type for every request and answer, and the list of routes. No logic.
//!
//! Everything is JSON in camelCase, times are RFC 3339, durations are seconds, rates are per second. **Unknown is `null`,
//! never 0.** Errors are [`Problem`]s. All but the session's own routes want the session's cookie; whatever changes
//! something also wants the header `x-millrace-csrf` with [`session::Session::csrf`], else it is refused with 403.
//!
//! `P` stands for `/api/v1/namespaces/{namespace}/pipelines/{pipeline}`.
//!
//! ```text
//! POST   /api/v1/session                  session::Login     -> session::Session   sets the cookie
//! GET    /api/v1/session                                     -> session::Session   401: log in
//! DELETE /api/v1/session                                     -> 204                logs out
//! GET    /api/v1/pipelines                ?namespace         -> pipeline::Pipelines  (1) all that the viewer may list
//! GET    /api/v1/openapi.json                                -> the OpenAPI document; no session
//!
//! GET    P                                                   -> pipeline::PipelineView  (2) (4)
//! GET    P/live                                              -> server-sent events, see below
//! GET    P/history                        ?seconds           -> history::History   (3) (4) up to an hour, 5 s apart
//! GET    P/lag                                               -> history::Lag       (3) total and per partition
//! GET    P/topics                                            -> messages::Topics
//! GET    P/topics/{topic}/messages        messages::Query    -> messages::Messages (5)
//! GET    P/topics/{topic}/messages/file   messages::Query    -> application/x-ndjson, one messages::Message a line
//! GET    P/topics/{topic}/tail            messages::Filter   -> server-sent events, see below
//! GET    P/tables                                            -> rows::Tables
//! GET    P/tables/{table}/rows            rows::Query        -> rows::Rows         (8)
//! GET    P/dead-letters                   ?limit             -> letters::DeadLetters (9)
//! GET    P/trace                          trace::Query       -> trace::Trace       (10)
//! GET    P/resource                                          -> resource::Resource (11)
//! GET    P/pods                                              -> pods::Pods         (7)
//! GET    P/pods/{pod}/logs                pods::LogQuery     -> text/plain         (7) also for download
//! GET    P/pods/{pod}/logs/follow         pods::LogQuery     -> server-sent events, see below
//! GET    P/events                                            -> pods::Events       (7)
//! GET    P/runs                                              -> runs::Runs         (6)
//! GET    P/runs/{run}                                        -> runs::Run          (6)
//!
//! POST   P/runs                           runs::Trigger      -> 201 actions::Done
//! POST   P/runs/{run}/cancel                                 -> actions::Done
//! POST   P/runs/{run}/rerun                                  -> 201 actions::Done
//! POST   P/backfills                      runs::Backfill     -> runs::BackfillAnswer   with `dryRun` creates nothing
//! PUT    P/sources/{source}/paused        runs::Paused       -> actions::Done
//! POST   P/plan/approval                  actions::Approval  -> actions::Done      409: the plan is another by now
//! POST   P/dead-letters/redrive           letters::Redrive   -> letters::RedriveAnswer with `dryRun` sends nothing
//! ```
//!
//! Server-sent events; each stream has a `ping` at least every 10 s:
//!
//! ```text
//! P/live                  view     pipeline::PipelineView   at once, and whenever it has changed
//!                         sample   history::Sample          every 5 s
//!                         problem  Problem                  what could not be asked; the stream goes on
//!                         expired  {}                       the session has ended; the stream ends
//! P/topics/{topic}/tail   messages messages::TailBatch      about once a second, if there are new ones
//!                         problem, expired                  as above
//! P/pods/{pod}/logs/follow  lines  pods::LogLines           as they come
//!                         end      {}                       the container has ended; the stream ends
//!                         problem, expired                  as above
//! ```

pub mod actions;
pub mod document;
pub mod history;
pub mod letters;
pub mod messages;
pub mod pipeline;
pub mod pods;
pub mod resource;
pub mod rows;
pub mod runs;
pub mod session;
pub mod sources;
pub mod trace;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Header that whatever changes something must carry: the session's CSRF token.
pub const CSRF_HEADER: &str = "x-millrace-csrf";

/// A moment, as the document describes it: RFC 3339.
pub(crate) struct Moment;

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Why a request was not answered. Content type `application/problem+json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem it is.
    pub reason: ProblemReason,
    /// What is wrong, for people.
    pub message: String,
    /// Its causes, outermost first; empty: none is known.
    pub causes: Vec<String>,
    /// The right that the viewer lacks, such as `get streamingpipelines/messages`; only with `Forbidden`.
    pub right: Option<String>,
    /// Fields of the request that are wrong; only with `Rejected`.
    pub fields: Vec<FieldProblem>,
    /// Seconds after which it is worth trying again. `null`: not by itself.
    pub retry_after: Option<u32>,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum ProblemReason {
    /// There is no session, or it has ended: log in.
    Unauthenticated,
    /// The viewer's Kubernetes rights do not allow it.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The request is wrong; `fields` may say where.
    Rejected,
    /// Somebody else has changed it meanwhile, or it exists already.
    Conflict,
    /// Too many requests: wait for `retryAfter`.
    Limited,
    /// Kafka, Cassandra or the API server does not answer: what was asked for is unknown.
    Unavailable,
    /// The console is broken.
    Bug,
}

/// What is wrong with a field of a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub struct FieldProblem {
    /// Path of the field, such as `params.day`.
    pub field: String,
    /// What is wrong.
    pub message: String,
}
