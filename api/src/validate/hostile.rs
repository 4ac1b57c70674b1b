//! Expressions that mean no good: what the bound lets pass survives four times over, and whatever else is written is judged.

use std::time::{Duration, Instant};

use cel::Context;
use millrace_expressions::environment;
use millrace_fuzz::{Corpus, feed};
use millrace_terms::expression::{DEEPEST, MOST_NESTED_MACROS, MOST_OPERATORS, check};

use super::fields::fault_of;

/// Stack of a thread of the runtime.
const STACK: usize = 2 << 20;

/// A name, and the expression that has so much of something.
type Shape = (&'static str, fn(usize) -> String);

/// Chains, which grow with the number of operators.
const CHAINS: [Shape; 16] = [
    ("sum", |n| format!("1{}", "+1".repeat(n))),
    ("difference", |n| format!("1{}", "-1".repeat(n))),
    ("product", |n| format!("1{}", "*1".repeat(n))),
    ("and", |n| format!("true{}", "&&true".repeat(n))),
    ("or", |n| format!("false{}", "||false".repeat(n))),
    ("mixed logic", |n| format!("true{}", "&&false||true".repeat(n / 2))),
    ("comparison", |n| format!("1{}", "==1".repeat(n))),
    ("not", |n| format!("{}true", "! ".repeat(n))),
    ("negation", |n| format!("{}1", "- ".repeat(n))),
    ("select", |n| format!("record{}", ".a".repeat(n))),
    ("index", |n| format!("record{}", "[0]".repeat(n))),
    ("method", |n| format!("record{}", ".size()".repeat(n / 2))),
    ("ternary", |n| format!("{}1", "true?1:".repeat(n))),
    ("in", |n| format!("1{}", " in [1]".repeat(n / 2))),
    ("walks", |n| format!("[1]{}", ".map(x,x)".repeat(n / 2))),
    ("texts", |n| format!("'a'{}", "+'\\x41'".repeat(n))),
];

/// Nests, which grow with the number of open brackets.
const NESTS: [Shape; 7] = [
    ("parentheses", |n| format!("{}1{}", "(".repeat(n), ")".repeat(n))),
    ("lists", |n| format!("{}1{}", "[".repeat(n), "]".repeat(n))),
    ("maps", |n| format!("{}1{}", "{1:".repeat(n), "}".repeat(n))),
    ("calls", |n| format!("{}1{}", "size([".repeat(n / 2), "])".repeat(n / 2))),
    ("ternaries", |n| format!("{}1{}", "true?(".repeat(n), "):2".repeat(n))),
    ("sums", |n| format!("{}1{}", "1+(".repeat(n), ")".repeat(n))),
    ("walks", |n| format!("{}1{}", "[1].map(x,".repeat(n), ")".repeat(n))),
];

/// Compiles, looks through, evaluates and drops an expression on a stack of so many bytes, bound or no bound.
fn live_through(expression: String, stack: usize) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "tests read the clock")]
    let all = move || {
        let begun = Instant::now();
        if let Ok(program) = environment().compile(&expression) {
            let _ =
                (program.references().functions().len(), program.execute(&Context::with_env(environment())).is_ok());
        }
        begun.elapsed()
    };
    std::thread::Builder::new().stack_size(stack).spawn(all).expect("a thread").join().expect("it does not panic")
}

/// A stack that overflows ends the whole test, so this fails loudly. The room between is for builds with larger frames.
#[test]
fn four_times_the_bound_fits_a_thread_of_the_runtime() {
    for (name, shape) in CHAINS {
        let took = live_through(shape(4 * MOST_OPERATORS), STACK);
        println!("{name}: {took:?}");
    }
    for (name, shape) in NESTS {
        let took = live_through(shape(4 * DEEPEST), STACK);
        println!("{name}: {took:?}");
    }
}

/// Prints the first power of two that each shape does not live through (docs/security.md). One child process for each:
/// a stack that overflows takes its process along.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "it calls itself")]
fn measures_where_the_stack_ends() {
    const SHAPE: &str = "MILLRACE_SHAPE";
    let shapes = || CHAINS.iter().chain(&NESTS).enumerate();
    if let Ok(asked) = std::env::var(SHAPE) {
        let (shape, count) = asked.split_once(' ').expect("a shape and a count");
        let (_, (_, shape)) = shapes().find(|(index, _)| index.to_string() == shape).expect("the shape is there");
        live_through(shape(count.parse().expect("a number")), STACK);
        return;
    }
    let myself = std::env::current_exe().expect("a test has a program");
    for (index, (name, _)) in shapes() {
        let lives = |count: &u32| {
            let mut child = std::process::Command::new(&myself);
            child.args(["--exact", "validate::hostile::measures_where_the_stack_ends", "--ignored"]);
            child.env(SHAPE, format!("{index} {count}")).output().is_ok_and(|output| output.status.success())
        };
        let ends = (6..16).map(|power| 1_u32 << power).find(|count| !lives(count));
        println!("{name}: {}", ends.map_or("lives".to_owned(), |count| format!("ends at {count}")));
    }
}

#[test]
fn what_the_bound_lets_pass_is_judged_quickly_on_a_quarter_of_the_stack() {
    let bounded = CHAINS.iter().map(|(name, shape)| (name, shape(MOST_OPERATORS)));
    for (name, expression) in bounded.chain(NESTS.iter().map(|(name, shape)| (name, shape(DEEPEST)))) {
        if check(&expression).is_ok() {
            let took = live_through(expression, STACK / 4);
            assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        }
    }
}

/// What aborted the operator before: 4,096 terms in 8 kB, and its neighbours.
#[test]
fn larger_ones_are_refused_with_what_to_do() {
    for (name, shape) in CHAINS {
        let said = fault_of(&shape(4096), &["record"]).unwrap_or_else(|| panic!("{name} is taken"));
        assert!(said.contains("more than"), "{name}: {said}");
        assert!(said.len() < 400, "{name}: the message quotes it all");
    }
    for (name, shape) in NESTS {
        assert!(fault_of(&shape(DEEPEST + 2), &["record"]).is_some(), "{name}");
    }
    assert!(fault_of(&NESTS[6].1(MOST_NESTED_MACROS + 1), &[]).is_some_and(|said| said.contains("map, filter")));
}

const CORPUS: Corpus<'static> = Corpus {
    inputs: &[
        b"record.name.first + ' ' + record.name.last",
        b"has(record.a) ? record.a : {'b': [1, 2.5, b'x', null]}['b'][0]",
        b"record.tags.filter(t, t.startsWith('x')).map(t, t.size()).exists(n, n > 3 && !(n in [4]))",
        b"timestamp(record.at) + duration('1h30m') > timestamp('2026-01-01T00:00:00Z')",
        b"record.text.matches(r'^\\d+$') || \"\\u00e9\\x41\\101\" == '''a\nb'''",
        b"{'a': {'b': [{'c': -1u}]}}.a.b[0].?c.orValue(0x1f)",
        b"1+1+1+1+1+1",
        b"{) ? record.a : {) ? record.a : {1: 2}",
    ],
    words: &[
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        "?",
        ":",
        ",",
        "+",
        "-",
        "!",
        "&&",
        "||",
        "==",
        " in ",
        ".map(x,",
        ".all(x,",
        "has(",
        "'",
        "\"",
        "'''",
        "r'",
        "b'",
        "\\",
        "\\u",
        "//",
        "\n",
        "`",
        "null",
        "true",
        "1e9",
        "0x",
        "\u{fffd}",
        "optional.of(",
        ".matches('(a*)*')",
        "duration('",
        "timestamp('",
        "string(",
        "int(",
        "record",
    ],
    longest: 10_000,
};

/// Judged on a quarter of a thread's stack: what overflows it ends the test.
#[test]
fn no_expression_breaks_its_judge() {
    feed("CEL", CORPUS, |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let judged = std::thread::Builder::new().stack_size(STACK / 4).spawn(move || {
            let fault = fault_of(&text, &["record"]);
            if fault.is_none() {
                let program = environment().compile(&text).expect("it was judged");
                let mut context = Context::with_env(environment());
                context.add_variable_from_value("record", "x".repeat(100));
                let _ = program.execute(&context);
            }
        });
        judged.expect("a thread").join().expect("it does not panic");
    });
}

const CRONS: Corpus<'static> = Corpus {
    inputs: &[b"0 2 * * *", b"*/5 0-6,22 1,15 JAN-MAR MON#2", b"0 0 L * 5L", b"30 4 1W * ?", b"0 0 29 2 *"],
    words: &["*/", "-", ",", "L", "W", "#", "?", "@yearly", "MON", "JAN", "60", "4294967296", " ", "31", "2"],
    longest: 200,
};

#[test]
fn no_cron_expression_breaks_its_judge() {
    let since = "2026-03-29T00:30:00Z".parse().expect("a moment");
    feed("cron", CRONS, |input| {
        let text = String::from_utf8_lossy(input);
        for zone in ["UTC", "Europe/Berlin"] {
            if let Ok(timetable) = crate::schedule::Timetable::parse(&text, zone) {
                let _ = timetable.next_after(since);
            }
        }
    });
}
