//! A fault as compilers show theirs: what, where, the line, a mark below the place. Pure.

use super::Fault;
use crate::screen::{Colour, Screen, printable};

/// Draws a fault.
pub(super) fn excerpt(file: &str, text: &str, fault: &Fault, screen: &Screen) -> String {
    let Fault { path, message, line, column, length, expression } = fault;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let bar = screen.paint(Colour::Dim, "|");
    let source = text.lines().nth(line - 1).unwrap_or_default();
    // Tabs count as one character, as in the column.
    let shown = printable(source).replace('\t', " ");
    let before: String = shown.chars().take(column - 1).map(|_| ' ').collect();
    let length = (*length).min(shown.chars().count().saturating_sub(column - 1)).max(1);
    let mark = screen.paint(Colour::Red, &"^".repeat(length));
    let what = screen.paint(Colour::Bold, &printable(message));
    let error = screen.paint(Colour::Red, "error");
    let mut drawn = format!("{error}: {what}\n{margin}--> {file}:{line}:{column}\n{margin} {bar}\n");
    drawn.push_str(&format!("{number} {bar} {shown}\n{margin} {bar} {before}{mark} {path}\n"));
    if let Some(expression) = expression {
        drawn.push_str(&format!("{margin} {bar}\n"));
        for line in printable(expression).lines() {
            drawn.push_str(&format!("{margin} {} {line}\n", screen.paint(Colour::Dim, "=")));
        }
    }
    drawn.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::places::Place;
    use super::*;

    #[test]
    fn marks_the_place_in_its_line() {
        let text = "spec:\n  zookeeper:\n    replicas: 22 # even\n";
        let place = Place { line: 3, column: 15, length: 2 };
        let mut fault = Fault::new("spec.zookeeper.replicas", "must be odd", place);
        let plain = excerpt("users.yaml", text, &fault, &Screen::default());
        fault.expression = Some("record.nme\n       ^".to_owned());
        let with_expression = excerpt("users.yaml", text, &fault, &Screen::default());
        assert_snapshot!(format!("{plain}\n{with_expression}"));
    }

    #[test]
    fn a_place_outside_of_the_text_still_draws() {
        let fault = Fault::new("", "no document", Place { line: 9, column: 4, length: 7 });
        assert!(excerpt("-", "", &fault, &Screen::default()).contains("--> -:9:4"));
    }
}
