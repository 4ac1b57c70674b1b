//! Texts that mean no good, to every parser of these terms.

use millrace_fuzz::{Corpus, feed};
use millrace_terms::template::{expressions_in, parts};
use millrace_terms::{Bytes, ColumnType, Duration, expression};

const UNITS: Corpus<'static> = Corpus {
    inputs: &[b"1h30m5s250ms", b"16Mi", b"18446744073709551615", b"500ms"],
    words: &["h", "m", "ms", "Ki", "Ti", "99999999999999999999", "0", "-", ".", "\u{661}"],
    longest: 4096,
};

const TEMPLATES: Corpus<'static> = Corpus {
    inputs: &[b"https://a.example/${params.day}/p${{'a': '}'}.a}?b=c", b"${\"\\\"}\"}", b"/a"],
    words: &["${", "}", "{", "'", "\"", "\\", "://", "?", "#", "\u{e9}"],
    longest: 4096,
};

const TYPES: Corpus<'static> = Corpus {
    inputs: &[
        b"map<text, frozen<list<frozen<tuple<int, uuid>>>>>",
        b"vector<float, 3>",
        b"frozen<address>",
        b"decimal",
    ],
    words: &["<", ">", ",", "frozen<", "list<", "map<", "tuple<", "vector<", "99999999999", " "],
    longest: 4096,
};

const EXPRESSIONS: Corpus<'static> = Corpus {
    inputs: &[
        b"record.a.matches(r'^\\d+$') ? 'b' : \"c\"",
        b"'''a''' + b'\\x41' // c",
        b"[1].map(x, [2].map(y, x + y))",
    ],
    words: &["'", "\"", "'''", "r'", "\\", "\\u", "(", ")", "//", "\n", ".map(", "matches(", "\u{e9}", "`"],
    longest: 10_000,
};

#[test]
fn no_unit_breaks_its_parser() {
    feed("durations and sizes", UNITS, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(duration) = text.parse::<Duration>() {
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
        if let Ok(bytes) = text.parse::<Bytes>() {
            assert_eq!(bytes.to_string().parse(), Ok(bytes));
        }
    });
}

#[test]
fn no_template_breaks_its_parser() {
    feed("templates", TEMPLATES, |input| {
        let text = String::from_utf8_lossy(input);
        let _ = (parts(&text), expressions_in(&text));
    });
}

#[test]
fn no_type_breaks_its_parser() {
    feed("CQL types", TYPES, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(parsed) = text.parse::<ColumnType>() {
            assert_eq!(parsed.to_string().parse::<ColumnType>().as_ref(), Ok(&parsed));
        }
    });
}

#[test]
fn no_expression_breaks_the_bound() {
    feed("the bound of CEL", EXPRESSIONS, |input| {
        let _ = expression::check(&String::from_utf8_lossy(input));
    });
}
