//! What the parser of expressions says of one that it cannot read → a sentence with the place. Pure.
//!
//! The parser speaks of tokens and lists all that it would take.

use cel::{ParseError, ParseErrors};

/// Most tokens that are worth listing.
const MOST_LISTED: usize = 3;

/// Returns the first error as a sentence: what is wrong, in which line and column, counted from 1.
pub(super) fn sentence(errors: &ParseErrors) -> String {
    // The parser gives up on what is nested too deeply without a place.
    let placed = errors.errors.iter().find(|error| error.pos.0 > 0);
    let Some(ParseError { pos: (line, column), msg, .. }) = placed else {
        return "it cannot be read; write it shorter".to_owned();
    };
    format!("line {line}, column {column}: {}", in_words(msg))
}

fn in_words(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.strip_prefix("Syntax error: ").unwrap_or(first);
    let (found, expected) = first.split_once(" expecting ").unwrap_or((first, ""));
    let wanted = wanted(expected).map(|wanted| format!("; {wanted}")).unwrap_or_default();
    for beginning in ["mismatched input ", "extraneous input ", "no viable alternative at input "] {
        match found.strip_prefix(beginning) {
            Some(end) if end.ends_with("<EOF>'") => return format!("the expression ends too early{wanted}"),
            Some(token) => return format!("{token} is not allowed here{wanted}"),
            None => {}
        }
    }
    if let Some(token) = found.strip_prefix("token recognition error at: ") {
        return format!("{token} is not part of an expression");
    }
    match found.strip_prefix("missing ").and_then(|rest| rest.split_once(" at ")) {
        Some((token, "'<EOF>'")) => format!("{token} is missing at the end"),
        Some((token, place)) => format!("{token} is missing before {place}"),
        None => first.to_owned(),
    }
}

/// Returns what could stand there, if that can be said in a few words.
fn wanted(expected: &str) -> Option<String> {
    let tokens: Vec<&str> = expected.trim_start_matches('{').trim_end_matches('}').split(", ").collect();
    let is = |token: &&str| tokens.contains(token);
    match tokens[..] {
        [""] => None,
        ["<EOF>"] => Some("the expression should have ended before it".to_owned()),
        _ if is(&"<EOF>") => Some("an operator or the end could".to_owned()),
        _ if is(&"IDENTIFIER") && is(&"STRING") => Some("a value is missing".to_owned()),
        _ if is(&"IDENTIFIER") => Some("a name is missing".to_owned()),
        // Others than signs in quotes are names of the grammar's own.
        _ if tokens.len() > MOST_LISTED || !tokens.iter().all(|token| token.starts_with('\'')) => None,
        [only] => Some(format!("{only} is missing")),
        _ => Some(format!("one of {} is missing", tokens.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use millrace_expressions::environment;
    use rstest::rstest;

    use super::*;

    const VALUES: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                          BYTES, IDENTIFIER}";

    #[test]
    fn tokens_become_words() {
        for (message, says) in [
            ("mismatched input '<EOF>' expecting VALUES", "the expression ends too early; a value is missing"),
            ("extraneous input '*' expecting VALUES", "'*' is not allowed here; a value is missing"),
            (
                "extraneous input 'b' expecting <EOF>",
                "'b' is not allowed here; the expression should have ended before it",
            ),
            (
                "mismatched input 'b' expecting {<EOF>, '==', '?'}",
                "'b' is not allowed here; an operator or the end could",
            ),
            ("no viable alternative at input '.<EOF>'", "the expression ends too early"),
            ("mismatched input 'a' expecting ')'", "'a' is not allowed here; ')' is missing"),
            (
                "mismatched input '<EOF>' expecting {',', ']'}",
                "the expression ends too early; one of ',' ']' is missing",
            ),
            ("token recognition error at: '@'", "'@' is not part of an expression"),
            (
                "mismatched input '<EOF>' expecting {'?', IDENTIFIER}",
                "the expression ends too early; a name is missing",
            ),
            ("mismatched input 'a' expecting expression", "'a' is not allowed here"),
            ("missing ')' at '<EOF>'", "')' is missing at the end"),
        ] {
            let message = format!("Syntax error: {}", message.replace("VALUES", VALUES));
            assert_eq!(in_words(&message), says);
        }
        assert_eq!(in_words("reserved identifier: package\n| package"), "reserved identifier: package");
    }

    #[rstest]
    #[case("record.", 1)]
    #[case("record.a +", 1)]
    #[case("record.a\n  +\n  * 2", 3)]
    #[case("(record.a", 1)]
    #[case("record.a record.b", 1)]
    #[case("[1, 2", 1)]
    #[case("package", 1)]
    fn no_error_lists_tokens_and_each_has_its_line(#[case] expression: &str, #[case] line: usize) {
        let errors = environment().compile(expression).map(drop).expect_err("it is no expression");
        let said = sentence(&errors);
        assert!(said.starts_with(&format!("line {line}, column ")), "{said}");
        for word in ["expecting", "IDENTIFIER", "NUM_INT", "ERROR", "<EOF>", "\n"] {
            assert!(!said.contains(word), "{said}");
        }
    }
}
