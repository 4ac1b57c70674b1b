//! CEL over records, and JSON as it is written.
//!
//! ```text
//! json      the text of a value: its members, its elements, its strings; numbers stay text
//! record    a record as a value of CEL, read as far as an expression asks
//! number    a number that neither int nor uint holds: a double to operators, its text to everything else
//! encode    what an expression gives, as JSON
//! language  the functions that expressions may call, and what they compile to
//! ```
//!
//! A number that an expression only passes on keeps every digit. One that it computes with is what CEL says: `int` and
//! `uint` are exact and fail on overflow, everything else is a double. Pure: no clock, no chance, no network.

mod encode;
pub mod json;
mod language;
mod number;
mod record;

pub use encode::append;
pub use language::{RECORD_VARIABLE, bind, environment, scope};
pub use number::compare_json;
