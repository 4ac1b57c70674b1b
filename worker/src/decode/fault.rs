//! What is wrong with a value, and where in it; becomes a rejection once the column is known.

use std::borrow::Cow;
use std::fmt;

use crate::rejection::{BadValueSnafu, Rejection, UnknownElementSnafu, excerpt};

/// What is wrong with a value. Boxed wherever it travels, since results without one are many and must stay small.
#[derive(Debug)]
pub(super) struct Fault {
    /// Path from the column to the faulty part, such as `[3].city`. Empty: the whole value.
    path: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Value { wanted: Cow<'static, str>, excerpt: String },
    UnknownField { type_name: String },
}

impl Fault {
    /// A value that is not of its type.
    pub(super) fn value(wanted: impl Into<Cow<'static, str>>, text: &str) -> Box<Self> {
        let problem = Problem::Value { wanted: wanted.into(), excerpt: excerpt(text) };
        Box::new(Self { path: String::new(), problem })
    }

    /// A field that a user-defined type does not have.
    pub(super) fn unknown_field(field: &str, type_name: &str) -> Box<Self> {
        let problem = Problem::UnknownField { type_name: type_name.to_owned() };
        Box::new(Self { path: format!(".{}", excerpt(field)), problem })
    }

    /// Puts the place of the part before the path in it.
    pub(super) fn within(mut self: Box<Self>, place: &str) -> Box<Self> {
        self.path.insert_str(0, place);
        self
    }

    /// Returns the rejection of a record with this fault in a column.
    pub(super) fn reject(self, column: &str) -> Rejection {
        let column = format!("{column}{}", self.path);
        match self.problem {
            Problem::Value { wanted, excerpt } => BadValueSnafu { column, wanted, excerpt }.build(),
            Problem::UnknownField { type_name } => UnknownElementSnafu { path: column, type_name }.build(),
        }
    }
}

/// The fault as it is told where the column is named before.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        match &self.problem {
            Problem::Value { wanted, excerpt } => write!(f, "wants {wanted}, not {excerpt}"),
            Problem::UnknownField { type_name } => write!(f, "type '{type_name}' has no such field"),
        }
    }
}
