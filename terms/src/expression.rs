//! How large a CEL expression may be: text → nothing, or why it is refused before anything parses it. Pure.
//!
//! Parser, evaluator and destructor of the CEL crate recurse once for each operator and bracket, so that 8 kB of `1+1+…`
//! overflow a thread's stack, which no process survives. The bounds are a quarter of what crashes in 2 MiB of stack, or
//! less (docs/security.md, `api/tests/expressions.rs`). All that compile CEL ask [`check`] first: operator, console and
//! command by way of `millrace_api::validate`, the worker itself.
//!
//! The text is split as the grammar's lexer splits it. What that lexer would stumble over is refused here, since after
//! an error it goes on in the middle of a text and may find operators there.

use snafu::{OptionExt, Snafu, ensure};

/// Most bytes of an expression: the longest that the resource takes, a request's body.
pub const LONGEST: usize = 8192;

/// Most operators of an expression, outside of its texts: signs, dots and opening brackets. Each is one level of the
/// tree at most.
pub const MOST_OPERATORS: usize = 256;

/// Most brackets that are open at once.
pub const DEEPEST: usize = 24;

/// Most macros that walk lists (`all`, `exists`, `exists_one`, `filter`, `map`), one inside of the other: the work is the
/// product of the lists.
pub const MOST_NESTED_MACROS: usize = 2;

/// Why an expression is refused unread.
#[derive(Clone, Debug, Eq, PartialEq, Snafu)]
pub enum ExceedBound {
    /// Too long.
    #[snafu(display("has {length} bytes, more than {LONGEST}"))]
    FitLength {
        /// Its length.
        length: usize,
    },
    /// Too many operators.
    #[snafu(display("has more than {MOST_OPERATORS} operators, dots and opening brackets; split it up"))]
    CountOperators,
    /// Nested too deeply.
    #[snafu(display("has more than {DEEPEST} nested brackets"))]
    NestBrackets,
    /// A bracket closes one of another kind, or none: after such an error the parser goes on inside, level by level.
    #[snafu(display("is not a CEL expression: '{bracket}' closes no bracket of its kind"))]
    CloseBracket {
        /// The closing bracket.
        bracket: String,
    },
    /// Lists walked inside of walks.
    #[snafu(display("has more than {MOST_NESTED_MACROS} nested map, filter, all, exists and exists_one"))]
    NestMacros,
    /// A pattern that comes from data.
    #[snafu(display("calls matches with a pattern that is not a string in quotes; write the pattern literally"))]
    WritePattern,
    /// The grammar knows no such token.
    #[snafu(display("is not a CEL expression: {problem} at character {position}"))]
    Split {
        /// What stands there.
        problem: &'static str,
        /// Where, counted from 1.
        position: usize,
    },
}

const MACROS: [&str; 5] = ["all", "exists", "exists_one", "filter", "map"];

/// Signs of two characters that are one operator.
const PAIRS: [&str; 6] = ["==", "!=", "<=", ">=", "&&", "||"];

/// Refuses an expression that is larger than what parser, evaluator and destructor certainly survive.
pub fn check(expression: &str) -> Result<(), ExceedBound> {
    ensure!(expression.len() <= LONGEST, FitLengthSnafu { length: expression.len() });
    let mut tokens = Tokens { text: expression, at: 0 };
    let mut seen = Seen::default();
    while let Some(token) = tokens.next()? {
        seen.take(token)?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token<'text> {
    /// A name, a keyword or a number.
    Word(&'text str),
    /// A text or bytes in quotes.
    Quoted,
    /// A sign, or a pair of them that is one operator.
    Sign(&'text str),
}

/// What an opening bracket begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bracket {
    Plain,
    Macro,
    /// The arguments of `matches`.
    Pattern,
}

#[derive(Default)]
struct Seen<'text> {
    operators: usize,
    /// What is open, with the sign that closes it.
    open: Vec<(Bracket, &'static str)>,
    last: Option<Token<'text>>,
    before_last: Option<Token<'text>>,
}

impl<'text> Seen<'text> {
    fn take(&mut self, token: Token<'text>) -> Result<(), ExceedBound> {
        match token {
            Token::Sign(sign) => self.take_sign(sign)?,
            Token::Word("in") => self.count()?,
            Token::Word(_) | Token::Quoted => {}
        }
        self.before_last = self.last.replace(token);
        Ok(())
    }

    fn take_sign(&mut self, sign: &str) -> Result<(), ExceedBound> {
        match sign {
            "(" | "[" | "{" => {
                self.count()?;
                self.open.push(match sign {
                    "(" => (self.bracket(), ")"),
                    "[" => (Bracket::Plain, "]"),
                    _ => (Bracket::Plain, "}"),
                });
                ensure!(self.open.len() <= DEEPEST, NestBracketsSnafu);
                let macros = self.open.iter().filter(|(bracket, _)| *bracket == Bracket::Macro).count();
                ensure!(macros <= MOST_NESTED_MACROS, NestMacrosSnafu);
            }
            ")" | "]" | "}" => {
                let closed = self.open.pop().filter(|(_, close)| *close == sign);
                let (closed, _) = closed.context(CloseBracketSnafu { bracket: sign })?;
                // The last argument alone: `text.matches('…')`, or `matches(text, '…')`.
                let is_literal =
                    self.last == Some(Token::Quoted) && matches!(self.before_last, Some(Token::Sign("(" | ",")));
                ensure!(closed != Bracket::Pattern || is_literal, WritePatternSnafu);
            }
            // They part what stands side by side.
            "," | ":" => {}
            _ => self.count()?,
        }
        Ok(())
    }

    fn bracket(&self) -> Bracket {
        match (self.before_last, self.last) {
            (_, Some(Token::Word("matches"))) => Bracket::Pattern,
            (Some(Token::Sign(".")), Some(Token::Word(name))) if MACROS.contains(&name) => Bracket::Macro,
            _ => Bracket::Plain,
        }
    }

    fn count(&mut self) -> Result<(), ExceedBound> {
        self.operators += 1;
        ensure!(self.operators <= MOST_OPERATORS, CountOperatorsSnafu);
        Ok(())
    }
}

struct Tokens<'text> {
    text: &'text str,
    /// Bytes read so far.
    at: usize,
}

impl<'text> Tokens<'text> {
    fn next(&mut self) -> Result<Option<Token<'text>>, ExceedBound> {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        if is_word(first) {
            let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
            if !rest[word.len()..].starts_with(['\'', '"']) {
                self.at += word.len();
                return Ok(Some(Token::Word(word)));
            }
            let is_raw = match word {
                "b" | "B" => false,
                "r" | "R" | "br" | "bR" | "Br" | "BR" => true,
                _ => return self.fault("a text that no operator joins to what is before it"),
            };
            self.at += word.len();
            return self.quoted(is_raw).map(Some);
        }
        if matches!(first, '\'' | '"') {
            return self.quoted(false).map(Some);
        }
        if !first.is_ascii_punctuation() {
            return self.fault("a character that no token begins with");
        }
        let is_pair = rest.get(..2).is_some_and(|pair| PAIRS.contains(&pair));
        let sign = &rest[..if is_pair { 2 } else { 1 }];
        self.at += sign.len();
        Ok(Some(Token::Sign(sign)))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']).len();
            let comment = match rest[blanks..].starts_with("//") {
                true => rest[blanks..].find('\n').unwrap_or(rest.len() - blanks),
                false => 0,
            };
            self.at += blanks + comment;
            if comment == 0 {
                return;
            }
        }
    }

    /// Reads a text from its first quote to its last.
    fn quoted(&mut self, is_raw: bool) -> Result<Token<'text>, ExceedBound> {
        let rest = &self.text[self.at..];
        let quote = if rest.starts_with('"') { "\"" } else { "'" };
        let triple = quote.repeat(3);
        let (close, is_long) = if rest.starts_with(&triple) { (triple.as_str(), true) } else { (quote, false) };
        self.at += close.len();
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with(close) {
                self.at += close.len();
                return Ok(Token::Quoted);
            }
            match rest.chars().next() {
                None => return self.fault("a string without its closing quote"),
                Some('\n' | '\r') if !is_long => return self.fault("a string without its closing quote"),
                Some('\\') if !is_raw => match escape(&rest[1..]) {
                    Some(length) => self.at += 1 + length,
                    None => return self.fault("an escape that CEL does not have"),
                },
                Some(other) => self.at += other.len_utf8(),
            }
        }
    }

    fn fault<T>(&self, problem: &'static str) -> Result<T, ExceedBound> {
        let position = self.text[..self.at].chars().count() + 1;
        SplitSnafu { problem, position }.fail()
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Returns the length of the escape whose backslash stands before this text.
fn escape(text: &str) -> Option<usize> {
    let hexadecimal = |count: usize| {
        let digits = text.as_bytes().get(1..=count)?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(1 + count)
    };
    match text.as_bytes() {
        [b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`', ..] => Some(1),
        [b'x' | b'X', ..] => hexadecimal(2),
        [b'u', ..] => hexadecimal(4),
        [b'U', ..] => hexadecimal(8),
        [b'0'..=b'3', b'0'..=b'7', b'0'..=b'7', ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_people_write() {
        for expression in [
            "record.name.first + ' ' + record.name.last",
            "has(record.a) ? record.a : record.b // the older name",
            "record.tags.filter(tag, tag.startsWith('x')).map(tag, tag.size())",
            "record.orders.exists(order, order.lines.all(line, line.count > 0))",
            r#"'{"query": "{ a(b: [1, 2]) { c } }"}'"#,
            r#"r'\' + "\"" + b'\x00\u00e9' + '''it's "so"''' + '\101'"#,
            "record.name.matches('^[A-Z][a-z]+$') || matches(record.name, r'^\\d+$')",
            "record['a b'] in ['DE', 'FR'] && !(record.c == null)",
            "",
        ] {
            assert_eq!(check(expression), Ok(()), "{expression}");
        }
        let listed = (0..1500).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(check(&format!("record.a in [{listed}]")), Ok(()), "a long list is flat");
        assert_eq!(check(&format!("'{}'", "(".repeat(8000))), Ok(()), "brackets in a text are none");
    }

    #[test]
    fn refuses_one_more_than_each_bound() {
        let sum = |operators: usize| format!("1{}", "+1".repeat(operators));
        assert_eq!(check(&sum(MOST_OPERATORS)), Ok(()));
        assert_eq!(check(&sum(MOST_OPERATORS + 1)), Err(ExceedBound::CountOperators));
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(DEEPEST)), Ok(()));
        assert_eq!(check(&nested(DEEPEST + 1)), Err(ExceedBound::NestBrackets));
        let walk = "[1].map(a, [1].map(b, [1] . map (c, 1)))";
        assert_eq!(check(walk), Err(ExceedBound::NestMacros));
        assert_eq!(check("[1].map(a, a).map(b, b).map(c, c)"), Ok(()), "one after the other");
        let long = format!("'{}'", "x".repeat(LONGEST));
        assert_eq!(check(&long), Err(ExceedBound::FitLength { length: LONGEST + 2 }));
    }

    #[test]
    fn every_operator_counts() {
        for operator in ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", " in ", "?1:", "."] {
            let chain = |count: usize| format!("a{}", format!("{operator}a").repeat(count));
            assert_eq!(check(&chain(MOST_OPERATORS)), Ok(()), "{operator}");
            assert_eq!(check(&chain(MOST_OPERATORS + 1)), Err(ExceedBound::CountOperators), "{operator}");
        }
        for before in ["!", "-", "a[1]", "a()"] {
            assert!(check(&before.repeat(MOST_OPERATORS + 1)).is_err(), "{before}");
        }
    }

    #[test]
    fn refuses_patterns_that_are_not_written_out() {
        for expression in ["a.matches(record.pattern)", "matches(a, 'x' + record.y)", "a.matches(('x'))"] {
            assert_eq!(check(expression), Err(ExceedBound::WritePattern), "{expression}");
        }
    }

    /// Found by fuzzing: the parser took each `{` for one level more, whatever closed it.
    #[test]
    fn refuses_brackets_that_close_others() {
        for (expression, bracket) in [("{)", ")"), ("[1}", "}"), ("(1]", "]"), ("1)", ")")] {
            assert_eq!(
                check(expression),
                Err(ExceedBound::CloseBracket { bracket: bracket.to_owned() }),
                "{expression}"
            );
        }
        assert!(check(&"{) ? record.a : ".repeat(50)).is_err());
    }

    /// After an error, the grammar's lexer would go on in the middle of the text.
    #[test]
    fn refuses_what_cannot_be_split_with_the_place() {
        for (expression, position) in [
            ("'\\q1+1'", 2),
            ("'\\8'", 2),
            ("'\\u12'", 2),
            ("a + 'b", 7),
            ("'a\nb'", 3),
            ("'''a''", 7),
            ("a'b'", 1),
            ("1r'b'", 1),
            ("é", 1),
            ("a + \u{1}", 5),
        ] {
            let refused = check(expression);
            assert!(matches!(refused, Err(ExceedBound::Split { position: at, .. }) if at == position), "{refused:?}");
        }
    }

    /// In a raw text a backslash is itself, so the text ends here and the rest are operators.
    #[test]
    fn operators_do_not_hide_behind_a_raw_text() {
        for prefix in ["r", "R", "br", "bR"] {
            let expression = format!("{prefix}'\\'{}+'", "+1".repeat(MOST_OPERATORS));
            assert!(check(&expression).is_err(), "{prefix}");
        }
    }
}
