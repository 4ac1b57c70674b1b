//! `check`: whether the cluster can run Millrace, before it is installed and afterwards.
//!
//! ```text
//! facts      what the API server has and what the user may do; the only part that asks
//! judge      Facts → a line for each check, in order     pure, as all below
//! cluster    what the cluster brings: version, rights, storage, namespace
//! nodes      room for the smallest pipeline
//! installed  what the chart has installed
//! webhooks   webhooks of others that pods of pipelines wait for
//! line       how a check ended
//! ```

mod cluster;
mod facts;
#[cfg(test)]
mod fixtures;
mod installed;
mod judge;
mod line;
mod nodes;
mod webhooks;

use std::fmt::Write;

use serde_json::json;

use super::Context;
use crate::arguments::Check;
use crate::screen::{Colour, Format, Screen, document, printable, write};
use crate::{Failure, Outcome};
use judge::judge;
use line::{Line, State};

/// Checks the cluster.
pub async fn run(context: &Context<'_>, flags: &Check) -> Result<Outcome, Failure> {
    let lines = judge(&facts::read(context, flags).await);
    let failed = count(&lines, State::Failed) > 0;
    let text = match context.format {
        Format::Table => drawn(&lines, context.screen),
        format => document(format, &json!({"passed": !failed, "checks": lines})),
    };
    write(&text)?;
    Ok(Outcome::wrong_if(failed))
}

fn count(lines: &[Line], state: State) -> usize {
    lines.iter().filter(|line| line.state == state).count()
}

/// Draws the checks, each with what to do below it.
fn drawn(lines: &[Line], screen: &Screen) -> String {
    let mut text = String::new();
    for Line { check, state, found, fix } in lines {
        let mark = match state {
            State::Ok => screen.paint(Colour::Green, "✓"),
            State::Warning => screen.paint(Colour::Yellow, "!"),
            State::Failed => screen.paint(Colour::Red, "✗"),
            State::NotChecked => screen.paint(Colour::Yellow, "?"),
        };
        let _ = writeln!(text, "{mark} {check}: {}", printable(found));
        if let Some(fix) = fix {
            let _ = writeln!(text, "    {}", printable(fix));
        }
    }
    let counts = [
        ("ok", State::Ok),
        ("warnings", State::Warning),
        ("failed", State::Failed),
        ("not checked", State::NotChecked),
    ];
    let counts = counts.map(|(name, state)| format!("{} {name}", count(lines, state)));
    let _ = writeln!(text, "{}", counts.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_mark_and_what_to_do_below_it() {
        let lines = [
            Line::ok("server version", "v1.34.1"),
            Line::failed("storage class", "there is none\u{1b}[2J", "make one"),
            Line { state: State::NotChecked, fix: None, ..Line::ok("nodes", "not checked: no right to list nodes") },
        ];
        assert_eq!(
            drawn(&lines, &Screen::default()),
            "✓ server version: v1.34.1\n✗ storage class: there is none\\u{1b}[2J\n    make one\n? nodes: not checked: no \
             right to list nodes\n1 ok, 0 warnings, 1 failed, 1 not checked\n"
        );
    }
}
