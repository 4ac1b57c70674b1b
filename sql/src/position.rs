//! Where a piece of SQL stands, as the parser knows it.

use millrace_terms::{Position, Problem};
use sqlparser::tokenizer::{Location, Span};

/// What a step of compiling returns: every fault has a place.
pub(crate) type Result<T> = std::result::Result<T, Problem>;

/// Returns where a piece of SQL begins, or `otherwise` where the parser does not know.
pub(crate) fn position_of(span: Span, otherwise: Position) -> Position {
    let Location { line, column } = span.start;
    if line == 0 { otherwise } else { Position { line, column } }
}
