//! What the user writes, and the rules that need no network.
//!
//! ```text
//! crd       StreamingPipeline as written: serde, schema, admission rules
//! validate  StreamingPipeline -> Pipeline | Rejected   pure; every user error that admission cannot see
//! pipeline  Pipeline: the validated model, in plain types
//! names     every name that is derived from a pipeline, born in one place
//! reference the resource's reference as Markdown, from its CRD
//! ```
//!
//! Shared by the operator now, by the console and the command line later; no network, no librdkafka.

pub mod crd;
pub mod names;
pub mod pipeline;
pub mod reference;
pub mod validate;

pub use crd::StreamingPipeline;
pub use pipeline::Pipeline;
pub use validate::{Rejected, Validated, validate};

/// API group of all Millrace resources.
pub const GROUP: &str = "millrace.dev";
