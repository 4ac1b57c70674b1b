//! A CEL message expression as a sentence: its literals, and an ellipsis for what the API server fills in.

/// Returns the sentence.
pub(super) fn readable(expression: &str) -> String {
    terms(expression)
        .into_iter()
        .map(|term| {
            let term = term.trim();
            match term.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
                Some(literal) => literal.replace("\\'", "'"),
                None => "…".to_owned(),
            }
        })
        .collect()
}

/// Splits at each `+` outside of quotes and brackets.
fn terms(expression: &str) -> Vec<&str> {
    let (mut terms, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0, false, false);
    for (at, letter) in expression.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '+' if depth == 0 => {
                terms.push(&expression[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&expression[start..]);
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_literals_and_leaves_out_what_is_computed() {
        let expression =
            "'topic \"' + self[self.map(i, i.name.replace('.', '+') == '').indexOf(true)].name + '\" isn\\'t there'";
        assert_eq!(readable(expression), "topic \"…\" isn't there");
        assert_eq!(readable("'as it is'"), "as it is");
    }
}
