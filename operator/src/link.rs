//! A link of the readiness chain as it is right now: what every room judges its own links to be.

pub use millrace_api::crd::condition::{Link, Reason};

/// A link and whether it is met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkState {
    /// Which one.
    pub link: Link,
    /// Whether it is met.
    pub met: bool,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence that a person can act on.
    pub message: String,
}

impl LinkState {
    /// Makes a link that is met.
    pub fn met(link: Link, reason: Reason, message: impl Into<String>) -> Self {
        Self { link, met: true, reason, message: message.into() }
    }

    /// Makes a link that is not met.
    pub fn unmet(link: Link, reason: Reason, message: impl Into<String>) -> Self {
        Self { link, met: false, reason, message: message.into() }
    }
}
