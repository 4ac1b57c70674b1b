//! How a check ended, and the line that shows it.

use serde::Serialize;

use super::facts::Known;

/// Most fields or webhooks that a line lists.
const MOST: usize = 5;

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    Ok,
    Warning,
    Failed,
    NotChecked,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    /// What is checked.
    pub(super) check: String,
    pub(super) state: State,
    pub(super) found: String,
    /// What to do. Absent: nothing.
    pub(super) fix: Option<String>,
}

impl Line {
    fn new(check: &str, state: State, found: impl Into<String>, fix: Option<String>) -> Self {
        Self { check: check.to_owned(), state, found: found.into(), fix }
    }

    pub(super) fn ok(check: &str, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, found, None)
    }

    pub(super) fn warning(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, State::Warning, found, Some(fix.into()))
    }

    pub(super) fn failed(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, State::Failed, found, Some(fix.into()))
    }
}

/// Returns what was read, or the line of a check that cannot be made.
pub(super) fn read<'a, T>(check: &str, known: &'a Known<T>) -> Result<&'a T, Line> {
    match known {
        Known::Read(value) => Ok(value),
        Known::Forbidden(right) => {
            Err(Line::new(check, State::NotChecked, format!("not checked: no right to {right}"), None))
        }
        Known::Failed(reason) => Err(Line::new(check, State::NotChecked, format!("not checked: {reason}"), None)),
    }
}

/// Returns the line of a check that was made or could not be made.
pub(super) fn line(checked: Result<Line, Line>) -> Line {
    match checked {
        Ok(line) | Err(line) => line,
    }
}

/// Returns the first of all names, and how many more there are.
pub(super) fn some_of(all: &[&String]) -> String {
    let named: Vec<&str> = all.iter().take(MOST).map(|name| name.as_str()).collect();
    match all.len().saturating_sub(MOST) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
