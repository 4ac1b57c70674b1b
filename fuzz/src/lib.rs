//! Feeds broken bytes to a parser, until it has had enough: mutations of a corpus, the same for the same seed.
//!
//! cargo-fuzz would see which branches an input reaches, and needs a nightly compiler; this needs nothing, and runs among
//! the tests, next to the private functions that it feeds (docs/tests.md). A panic or an input that takes long fails the
//! test with the input; what aborts the process is found in the file that `FUZZ_TRACE` names.

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub use mutate::Random;

/// Longest that one input may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What mutations are made of.
#[derive(Clone, Copy, Debug)]
pub struct Corpus<'a> {
    /// Whole inputs, good ones above all.
    pub inputs: &'a [&'a [u8]],
    /// Pieces that mean something to the parser.
    pub words: &'a [&'a str],
    /// Longest input.
    pub longest: usize,
}

/// Feeds a parser for `FUZZ_SECONDS` (2 by default) with what `FUZZ_SEED` (1 by default) gives.
///
/// # Panics
///
/// Panics with the input when the parser does, or when it takes longer than 20 seconds, on a machine that may be busy.
#[expect(clippy::disallowed_methods, reason = "tests read the clock and the environment")]
pub fn feed(name: &str, corpus: Corpus<'_>, parse: impl Fn(&[u8])) {
    let number = |variable: &str, default: u64| {
        std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seconds = Duration::from_secs(number("FUZZ_SECONDS", 2));
    let seed = number("FUZZ_SEED", 1);
    let trace = std::env::var_os("FUZZ_TRACE");
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let mut fed = 0_u64;
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < seconds {
        let input = mutate::mutated(&mut random, &corpus);
        if let Some(file) = &trace {
            std::fs::write(file, &input).expect("the trace can be written");
        }
        let asked = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        let took = asked.elapsed();
        let shown = input.escape_ascii();
        assert!(ended.is_ok(), "{name}: input {fed} of seed {seed} panics: b\"{shown}\"");
        assert!(took < PATIENCE, "{name}: input {fed} of seed {seed} takes {took:?}: b\"{shown}\"");
        slowest = slowest.max(took);
        fed += 1;
    }
    println!("{name}: {fed} inputs of seed {seed} in {seconds:?}, the slowest in {slowest:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: Corpus<'_> = Corpus { inputs: &[b"abc", b"0123456789"], words: &["word"], longest: 64 };

    #[test]
    fn a_parser_that_holds_is_left_alone() {
        feed("length", CORPUS, |input| assert!(input.len() <= 64));
    }

    /// Negative control: three bytes in a row that must not be are found.
    #[test]
    #[should_panic(expected = "panics")]
    fn a_parser_that_panics_is_found() {
        feed("control", CORPUS, |input| assert!(!input.windows(4).any(|piece| piece == b"word")));
    }
}
