//! SQL of a query: compiled once, then applied to records.
//!
//! ```text
//! statement   the text -> SELECT, FROM, UNNEST, WHERE; all else is refused by name
//! scope       what the names mean: columns of the stream, paths into json
//! position    where a piece of SQL stands, as the parser knows it
//! expression  one expression, checked and typed node by node, each error with its place
//! plan        compile: what to read, what to compute, which column gets what
//! apply       records -> rows; a projection one by one, the rest in batches
//! ```
//!
//! A column that the SELECT only names goes from the record to the table as a piece of text, which the caller reads
//! as the column's type; Arrow sees only what is computed. Pure: no clock, no chance, no network.

mod apply;
mod batch;
mod expression;
mod extract;
mod functions;
mod plan;
mod position;
mod read;
mod rows;
mod scope;
mod statement;
mod types;
mod value;

pub use apply::{Outcome, Scratch};
pub use functions::FUNCTIONS;
pub use plan::{LONGEST_SQL, Plan, compile, judge};
pub use rows::MOST_ROWS;
pub use value::{Failure, Value};
