//! What is wrong with a query's SQL, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the SQL, both counted from 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Character in the line.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A user error in the SQL.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// The table's column that the faulty expression fills; `None` outside of the SELECT list.
    pub column: Option<String>,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl Problem {
    /// Returns a problem of the query as a whole, or of a part outside of the SELECT list.
    pub fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, column: None, message: message.into() }
    }

    /// Returns the line of the SQL that it is in, numbered, and below it a mark under the place.
    pub fn excerpt(&self, sql: &str) -> String {
        let Position { line, column } = self.position;
        let (line, column) = (line.max(1), usize::try_from(column.max(1)).unwrap_or(usize::MAX));
        let text = usize::try_from(line - 1).ok().and_then(|index| sql.lines().nth(index)).unwrap_or_default();
        // A tab is as wide as its terminal likes; of a long line only the surroundings are of use.
        let characters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let place = (column - 1).min(characters.len());
        let from = place.saturating_sub(60);
        let shown: String = characters[from..].iter().take(120).collect();
        let number = line.to_string();
        format!("{number} | {shown}\n{} | {}^", " ".repeat(number.len()), " ".repeat(place - from))
    }

    /// Names the column, unless something inside has named it.
    #[must_use]
    pub fn of_column(self, column: &str) -> Self {
        Self { column: self.column.or_else(|| Some(column.to_owned())), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{}: column '{column}': {}", self.position, self.message),
            None => write!(f, "{}: {}", self.position, self.message),
        }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(sql: &str, line: u64, column: u64) -> String {
        Problem::new(Position { line, column }, "").excerpt(sql)
    }

    #[test]
    fn an_excerpt_marks_the_place() {
        assert_eq!(excerpt("SELECT é,\n\tlowr(x)\nFROM s", 2, 2), "2 |  lowr(x)\n  |  ^");
        assert_eq!(excerpt("SELECT 'é' AS x", 1, 15), "1 | SELECT 'é' AS x\n  |               ^");
        let long = format!("{}here{}", " ".repeat(500), "x".repeat(500));
        let marked = excerpt(&long, 1, 501);
        assert_eq!(marked.lines().map(|line| line.find(['h', '^'])).collect::<Vec<_>>(), [Some(64), Some(64)]);
    }

    /// The parser counts the end of the text as a place, too.
    #[test]
    fn a_place_behind_the_text_is_marked_at_its_end() {
        assert_eq!(excerpt("SELECT", 1, 99), "1 | SELECT\n  |       ^");
        assert_eq!(excerpt("SELECT", 9, 9), "9 | \n  | ^");
        assert_eq!(excerpt("", 0, 0), "1 | \n  | ^");
    }
}
