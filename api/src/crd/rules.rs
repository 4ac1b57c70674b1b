//! Admission rules (CEL) that more than one field uses; each message says what to do.
//!
//! CEL runs inside the API server. `fieldPath` cannot hold a list index, so rules across lists name the offending
//! item in a message expression instead.
//!
//! ```text
//! names    of pipelines, runs and what they declare
//! values   of one field
//! keys     of settings and annotations
//! changes  what stays as it was created
//! across   fields that have to fit each other
//! ```

mod across;
mod changes;
mod keys;
mod names;
mod values;

use kube::core::Rule;
use kube::core::cel::Message;

pub use across::*;
pub use changes::*;
pub use keys::*;
pub use names::*;
pub use values::*;

fn rule(expression: impl Into<String>, message: impl Into<String>) -> Rule {
    let message: String = message.into();
    Rule::new(expression).message(Message::Message(message))
}

/// Returns the CEL for the first item `i` of `list` that fulfils `condition`.
///
/// An index keeps the item's schema, and so its size, in the API server's cost estimate; `list.filter(…)[0]` loses it
/// and is refused as too dear. For the same reason no message may contain `string(…)` of a number.
pub fn first(list: &str, condition: &str) -> String {
    format!("{list}[{list}.map(i, {condition}).indexOf(true)]")
}
