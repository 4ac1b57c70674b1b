//! What the user writes, and the rules that need no network.
//!
//! ```text
//! crd       StreamingPipeline and IngestionRun as written: serde, schema, admission rules
//! validate  StreamingPipeline -> Pipeline | Rejected   pure; every user error that admission cannot see; SQL is for the
//!           caller to judge
//! pipeline  Pipeline: the validated model, in plain types
//! rejected  a user error: where it is and what to do
//! run       IngestionRun + its pipeline -> Run | Rejected
//! params    a declaration and a text -> a value of its type
//! schedule  due times of a schedule; the runs of a backfill
//! window    maintenance windows: when they are open
//! replay    a request to read a topic's records again
//! labels    labels of the operator's objects, and selectors; what may be a label
//! pod_template  what the user adds to the pods of a component
//! access    who else may reach the client port of a store
//! address   host and port of a store that someone else runs
//! jvm_options  JVM options that the user adds to a store
//! open_object  objects that the CRD leaves open, read with their unknown fields named
//! pods      what a pod says of itself: ordinal, address, readiness
//! quantity  a Kubernetes quantity, by its value
//! ports     every port of a pipeline's pods, by name and number
//! names     every name that is derived from a pipeline, born in one place
//! reference a resource's reference as Markdown, from its CRD
//! ```
//!
//! Shared by operator, console and command line; no network, no librdkafka, no DataFusion.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

pub mod access;
pub mod address;
pub mod crd;
mod jvm_options;
pub mod labels;
pub mod names;
mod open_object;
pub mod params;
pub mod pipeline;
pub mod pod_template;
pub mod pods;
pub mod ports;
pub mod quantity;
pub mod reference;
pub mod rejected;
pub mod replay;
pub mod run;
pub mod schedule;
pub mod validate;
pub mod window;

pub use crd::{IngestionRun, StreamingPipeline};
pub use pipeline::{Pipeline, Validated};
pub use rejected::Rejected;
pub use run::{Run, validate_run};
pub use validate::{validate, validate_sources};

/// API group of all Millrace resources.
pub const GROUP: &str = "millrace.dev";
