//! A user error: where it is and what to do.

use std::fmt;

/// A user error: where it is and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// Path of the field, such as `spec.producer.sources[0].fields.address`.
    pub path: String,
    /// What is wrong and how to fix it.
    pub message: String,
    /// The faulty line of a text of several, with a mark below the place; for terminals.
    pub excerpt: Option<String>,
}

impl Rejected {
    pub(crate) fn new(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string(), excerpt: None }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
