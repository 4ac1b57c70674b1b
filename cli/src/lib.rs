//! The command `millrace`: what the cluster's objects and the stores say, for people and scripts.
//!
//! ```text
//! arguments  what is typed; flags of a source's params become `--param`
//! cluster    the API server by the user's kubeconfig; which pipeline is meant
//! forward    a local address for a port of a pod
//! stores     Kafka and Cassandra behind such addresses
//! screen     tables, colours, documents
//! commands   one file for each
//! ```
//!
//! It has the user's rights and no others. Everything goes through the API server; what is drawn is made by pure
//! functions from what was read.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

pub mod arguments;
pub mod cluster;
pub mod commands;
pub mod failure;
pub mod forward;
pub mod screen;
pub mod stores;

pub use failure::{Failure, Outcome};
