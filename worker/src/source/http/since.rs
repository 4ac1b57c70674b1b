//! The durable cursor of an endpoint: the greatest value of an expression over its records. Pure.

use std::cmp::Ordering;

use cel::Program;
use cel::Value;
use millrace_expressions::{append, compare_json, environment, scope};
use serde_json::value::RawValue;

use super::super::Records;
use crate::rejection::hearsay;

/// Part of the source that the cursor is the position of.
pub(super) const PART: &str = "since";

/// The cursor of a source.
pub(super) struct Since {
    program: Program,
    expression: String,
    /// What was kept, as JSON. Absent: the source has never had a record.
    kept: Option<String>,
    /// The greatest value of the poll under way and before. Absent: none yet.
    seen: Option<String>,
}

impl Since {
    /// Compiles the expression. The error says why it does not compile.
    pub(super) fn new(expression: &str) -> Result<Self, String> {
        let program = environment().compile(expression).map_err(|errors| hearsay(&errors.to_string()))?;
        Ok(Self { program, expression: expression.to_owned(), kept: None, seen: None })
    }

    /// Begins with what was kept, JSON that may have been written by hand; an error is what it is instead.
    pub(super) fn begin(&mut self, kept: Option<String>) -> Result<(), String> {
        let is_usable =
            |kept: &String| serde_json::from_str::<&RawValue>(kept).is_ok() && compare_json(kept, kept).is_some();
        if let Some(wrong) = kept.as_ref().filter(|kept| !is_usable(kept)) {
            return Err(hearsay(wrong));
        }
        (self.kept, self.seen) = (kept.clone(), kept);
        Ok(())
    }

    /// Returns the value that the next poll asks from, as JSON.
    pub(super) fn value(&self) -> Option<&str> {
        self.kept.as_deref()
    }

    /// Looks through the records of a page. What cannot be read is passed over here, and rejected where it is mapped.
    pub(super) fn look(&mut self, records: Records) -> Result<(), String> {
        for record in records.flatten() {
            let Some(value) = self.evaluate(record.record.get())? else { continue };
            let order = match &self.seen {
                None => Ordering::Greater,
                Some(seen) => compare_json(&value, seen).ok_or_else(|| {
                    format!("'{}' gives {value} after {seen}, which cannot be compared", self.expression)
                })?,
            };
            if order == Ordering::Greater {
                self.seen = Some(value);
            }
        }
        Ok(())
    }

    /// Ends a poll whose pages all came; returns the position to keep, if it has moved.
    pub(super) fn end(&mut self) -> Option<String> {
        let moved = self.seen != self.kept;
        self.kept.clone_from(&self.seen);
        self.kept.clone().filter(|_| moved)
    }

    /// Gives a poll up that broke off.
    pub(super) fn give_up(&mut self) {
        self.seen.clone_from(&self.kept);
    }

    fn evaluate(&self, record: &str) -> Result<Option<String>, String> {
        let Ok(scope) = scope(record) else { return Ok(None) };
        let Ok(value) = Value::resolve_val(self.program.expression(), &scope) else { return Ok(None) };
        let mut json = Vec::new();
        append(value.as_ref(), &mut json).map_err(|given| format!("'{}' gives {given}", self.expression))?;
        let json = String::from_utf8(json).expect("it is made of texts");
        match json.as_bytes().first() {
            Some(b'n') => Ok(None),
            Some(b'[' | b'{' | b't' | b'f') => {
                Err(format!("'{}' gives {}, which is neither a text nor a number", self.expression, hearsay(&json)))
            }
            _ => Ok(Some(json)),
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_fuzz::{Corpus, feed};
    use serde_json::json;

    use super::*;

    fn records(values: &[serde_json::Value]) -> Records {
        values.iter().map(|value| json!({"at": value})).collect()
    }

    #[test]
    fn the_greatest_value_counts_whatever_the_order_and_only_once_the_poll_has_ended() {
        let mut since = Since::new("record.at").expect("it compiles");
        since.begin(Some("\"2024-01-02\"".to_owned())).expect("a text");
        since.look(records(&[json!("2024-03-01"), json!(null), json!("2024-02-01")])).expect("texts");
        assert_eq!(since.value(), Some("\"2024-01-02\""));
        assert_eq!(since.end().as_deref(), Some("\"2024-03-01\""));
        since.look(records(&[json!("2024-02-05")])).expect("texts");
        assert_eq!((since.end(), since.value()), (None, Some("\"2024-03-01\"")));
        since.look(records(&[json!("2025-01-01")])).expect("texts");
        since.give_up();
        assert_eq!(since.end(), None);
    }

    #[test]
    fn a_position_that_was_written_by_hand_is_judged() {
        let mut since = Since::new("record.at").expect("it compiles");
        for wrong in ["2026-01-01", "[1]", "null", "", "\"\\ud800\""] {
            assert_eq!(since.begin(Some(wrong.to_owned())), Err(wrong.to_owned()));
        }
        assert_eq!(since.begin(Some("17".to_owned())), Ok(()));
    }

    #[test]
    fn numbers_are_compared_exactly_and_other_kinds_refused() {
        let mut since = Since::new("record.at").expect("it compiles");
        since.look(records(&[json!(9), json!(10)])).expect("numbers");
        assert_eq!(since.end().as_deref(), Some("10"));
        assert!(since.look(records(&[json!("x")])).expect_err("a text").contains("cannot be compared"));
        assert!(since.look(records(&[json!([1])])).expect_err("a list").contains("neither a text nor a number"));
    }

    /// Whatever a record has where the position is read: a position that the next poll can begin with, or a failure.
    #[test]
    fn no_record_breaks_the_position() {
        let inputs: &[&[u8]] = &[
            b"{\"at\":\"2024-01-02\"}\n{\"at\":\"2024-01-10T00:00:00Z\"}\n",
            b"{\"at\":9}\n{\"at\":10.0}\n{\"at\":12345678901234567890123.5}\n{\"at\":null}\n",
        ];
        let words = &["{\"at\":", "}", "\n", "1e999999999", "-0", "0.1", "\"", "\\ud800", "[", "null", "true"];
        feed("positions", Corpus { inputs, words, longest: 16 << 10 }, |input| {
            let mut since = Since::new("record.at").expect("it compiles");
            if since.look(Records::lines(String::from_utf8_lossy(input).into_owned())).is_ok() {
                let kept = since.end();
                assert_eq!(since.begin(kept), Ok(()));
            }
        });
    }
}
