//! The value of a source's param, parsed and of its declared type.

use serde::{Deserialize, Serialize};

/// A value of a param.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamValue {
    /// Any text.
    String(String),
    /// A whole number of 64 bits.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// true or false.
    Boolean(bool),
    /// An RFC 3339 moment in UTC.
    Timestamp(String),
}
