//! Where a search goes on: the stretch of each partition that is still to be looked at, as a short text. Pure.

use std::collections::BTreeMap;

use crate::refusal::Refusal;

/// Most partitions of a cursor.
const MOST: usize = 10_000;

/// In which direction a search goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the newest back.
    Back,
    /// From the oldest on.
    On,
}

/// What is still to be looked at: by partition, from the first offset up to before the second.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// In which direction.
    pub direction: Direction,
    /// The stretches; none is empty.
    pub left: BTreeMap<i32, (i64, i64)>,
}

impl Cursor {
    /// Makes a cursor; stretches that are empty are left out.
    pub fn new(direction: Direction, left: impl IntoIterator<Item = (i32, (i64, i64))>) -> Self {
        Self { direction, left: left.into_iter().filter(|(_, (from, to))| from < to).collect() }
    }

    /// Returns the text; `None`: there is nothing left.
    pub fn text(&self) -> Option<String> {
        let direction = match self.direction {
            Direction::Back => "back",
            Direction::On => "on",
        };
        let stretches: Vec<String> =
            self.left.iter().map(|(index, (from, to))| format!("{index}.{from}.{to}")).collect();
        (!stretches.is_empty()).then(|| format!("{direction}_{}", stretches.join("_")))
    }

    /// Parses the text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::field("cursor", "it is not one that this console gave");
        let mut parts = text.split('_');
        let direction = match parts.next() {
            Some("back") => Direction::Back,
            Some("on") => Direction::On,
            Some(_) | None => return Err(wrong()),
        };
        let mut left = BTreeMap::new();
        for part in parts {
            let mut numbers = part.split('.');
            let mut next =
                || numbers.next().and_then(|number| number.parse::<i64>().ok()).filter(|number| *number >= 0);
            let (Some(index), Some(from), Some(to), None) = (next(), next(), next(), next()) else {
                return Err(wrong());
            };
            left.insert(i32::try_from(index).map_err(|_| wrong())?, (from, to));
        }
        if left.len() > MOST {
            return Err(wrong());
        }
        Ok(Self::new(direction, left))
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor::new(Direction::Back, [(0, (5, 9)), (3, (0, 1)), (4, (2, 2))]);
        assert_eq!(cursor.text().as_deref(), Some("back_0.5.9_3.0.1"));
        assert_eq!(Cursor::parse("back_0.5.9_3.0.1"), Ok(cursor));
        assert_eq!(Cursor::new(Direction::On, [(0, (5, 5))]).text(), None);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "up_0.1.2", "back_0.1", "back_0.1.2.3", "back_x.1.2", "back_0.-1.2", "back_99999999999.1.2"] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_cursor_breaks_its_reader() {
        let inputs: &[&[u8]] = &[b"back_0.5.9_3.0.1", b"on_2147483647.0.9223372036854775807"];
        let words = &["_", ".", "-", "+", "back", "on", "9223372036854775808", "\u{661}"];
        feed("cursors of the console", Corpus { inputs, words, longest: 64 << 10 }, |input| {
            if let Ok(cursor) = Cursor::parse(&String::from_utf8_lossy(input)) {
                let again = cursor.text().map(|text| Cursor::parse(&text));
                assert!(again.is_none_or(|again| again == Ok(cursor)));
            }
        });
    }
}
