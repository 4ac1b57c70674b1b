//! Texts with `${…}` in them: where the expressions stand. Pure; the worker evaluates them.

/// A part of a template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part<'text> {
    /// Text that stays as it is.
    Literal(&'text str),
    /// What stands between `${` and `}`.
    Expression(&'text str),
}

/// Splits a template into its parts, or says what is wrong with it.
///
/// An expression ends at the first `}` outside of its own braces and quotes.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        if begin > 0 {
            parts.push(Part::Literal(&rest[..begin]));
        }
        let inner = &rest[begin + 2..];
        let end = end_of(inner).ok_or_else(|| format!("'{}' has no closing brace; add '}}'", &rest[begin..]))?;
        if inner[..end].trim().is_empty() {
            return Err("'${}' is empty; write an expression such as ${params.day}".to_owned());
        }
        parts.push(Part::Expression(&inner[..end]));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    Ok(parts)
}

/// Returns the expressions of a URL, which may stand in its path alone: where a request goes is not for params to say.
pub fn expressions_in(url: &str) -> Result<Vec<&str>, String> {
    let (mut before, mut expressions) = (String::new(), Vec::new());
    for part in parts(url)? {
        let expression = match part {
            Part::Literal(text) => {
                before.push_str(text);
                continue;
            }
            Part::Expression(expression) => expression,
        };
        let has_path = before.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        if !has_path {
            return Err("an expression is allowed only in the path; write scheme, host and port literally".to_owned());
        }
        if before.contains(['?', '#']) {
            return Err("an expression is allowed only in the path; use query for parameters".to_owned());
        }
        expressions.push(expression);
    }
    Ok(expressions)
}

fn end_of(inner: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (index, character) in inner.char_indices() {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(index),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_end_at_their_own_brace() {
        use Part::{Expression, Literal};
        let cases = [
            ("/a", vec![Literal("/a")]),
            ("/a/${params.b}/c", vec![Literal("/a/"), Expression("params.b"), Literal("/c")]),
            ("${{'a': '}'}.a}x", vec![Expression("{'a': '}'}.a"), Literal("x")]),
            (r#"${"\"}" + params.a}"#, vec![Expression(r#""\"}" + params.a"#)]),
            ("$a{b}", vec![Literal("$a{b}")]),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(text), Ok(expected), "{text}");
        }
        assert!(parts("/${params.a").expect_err("open").contains("closing brace"));
        assert!(parts("/${ }").expect_err("empty").contains("empty"));
    }

    #[test]
    fn a_url_has_expressions_in_its_path_alone() {
        assert_eq!(expressions_in("https://a.example/${params.b}/c?d=e"), Ok(vec!["params.b"]));
        assert_eq!(expressions_in("https://a.example"), Ok(Vec::new()));
        for elsewhere in
            ["https://${params.host}/a", "https://a.example:${params.port}/", "https://a.example?b=${params.c}"]
        {
            assert!(expressions_in(elsewhere).is_err(), "{elsewhere}");
        }
        for query in ["https://a.example/b?c=${params.c}", "https://a.example/${params.b}?c=${params.c}"] {
            assert!(expressions_in(query).expect_err(query).contains("use query"));
        }
    }
}
