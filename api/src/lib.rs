//! What the user writes, and the rules that need no network.
//!
//! ```text
//! crd       StreamingPipeline and IngestionRun as written: serde, schema, admission rules
//! validate  StreamingPipeline -> Pipeline | Rejected   pure; every user error that admission cannot see
//! pipeline  Pipeline: the validated model, in plain types
//! run       IngestionRun + its pipeline -> Run | Rejected
//! params    a declaration and a text -> a value of its type
//! schedule  due times of a schedule; the runs of a backfill
//! template  texts with `${…}` in them
//! labels    labels of the operator's objects, and selectors
//! ports     every port of a pipeline's pods, by name and number
//! names     every name that is derived from a pipeline, born in one place
//! reference a resource's reference as Markdown, from its CRD
//! ```
//!
//! Shared by operator, console and command line; no network, no librdkafka.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

pub mod crd;
pub mod labels;
pub mod names;
pub mod params;
pub mod pipeline;
pub mod ports;
pub mod reference;
pub mod run;
pub mod schedule;
pub mod template;
pub mod validate;

pub use crd::{IngestionRun, StreamingPipeline};
pub use millrace_sql::{Position, Problem};
pub use pipeline::Pipeline;
pub use run::{Run, validate_run};
pub use validate::{Rejected, SqlQuestion, Validated, validate, validate_sources, validate_with};

/// API group of all Millrace resources.
pub const GROUP: &str = "millrace.dev";
