//! The console: a page and its API, one program. Everything that a viewer reads or does is read or done with the viewer's
//! own Kubernetes token.
//!
//! ```text
//! api      types of every request and answer; the list of routes
//! server   listener → routes, headers, the page
//! viewer   cookie → session → client with the viewer's token; CSRF and rate limits
//! access   may this viewer?               asked of Kubernetes
//! routes   read or act with the viewer's client
//! view     resources and measurements → answers         pure
//! cluster  pipelines and pods, watched with the console's own account
//! measure  an hour of history, every 5 s, in bounded memory
//! messages topics looked through and followed
//! rows     tables looked into
//! mask     fields that a viewer does not see            pure
//! settled  when a processor was done with a record      network
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

pub mod access;
pub mod api;
pub mod app;
pub mod audit;
pub mod cluster;
pub mod limit;
pub mod mask;
pub mod measure;
pub mod messages;
pub mod page;
pub mod refusal;
pub mod routes;
pub mod rows;
pub mod server;
pub mod session;
pub mod settled;
pub mod view;
pub mod viewer;
