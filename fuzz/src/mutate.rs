//! Inputs out of a corpus: a few changes, each of a kind that parsers stumble over.

use crate::Corpus;

/// Most changes of one input.
const MOST_CHANGES: usize = 8;

/// Bytes at the ends of ranges.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'\\'];

/// Numbers by a seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes the numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below a bound, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).expect("it is below a usize")
    }
}

/// Returns one input with some changes.
pub(crate) fn mutated(random: &mut Random, corpus: &Corpus<'_>) -> Vec<u8> {
    let mut input = corpus.inputs[random.below(corpus.inputs.len())].to_vec();
    for _ in 0..=random.below(MOST_CHANGES) {
        change(random, corpus, &mut input);
    }
    input.truncate(corpus.longest);
    input
}

fn change(random: &mut Random, corpus: &Corpus<'_>, input: &mut Vec<u8>) {
    let at = random.below(input.len() + 1);
    let (from, to) = stretch(random, input.len());
    match random.below(10) {
        0 if !input.is_empty() => {
            let place = random.below(input.len());
            input[place] ^= 1 << random.below(8);
        }
        1 if !input.is_empty() => {
            let place = random.below(input.len());
            input[place] = EDGES[random.below(EDGES.len())];
        }
        2 => input.insert(at, random.number().to_le_bytes()[0]),
        3 => drop(input.drain(from..to)),
        4 => {
            let piece = input[from..to].to_vec();
            input.splice(at..at, piece);
        }
        // Depth and length: one piece again and again.
        5 => {
            let piece = input[from..to.min(from + 16)].to_vec();
            let times = 1 << random.below(12);
            let room = corpus.longest.saturating_sub(input.len());
            input.splice(
                at..at,
                piece.iter().copied().cycle().take((piece.len() * times).min(room)).collect::<Vec<_>>(),
            );
        }
        6 if !corpus.words.is_empty() => {
            let word = corpus.words[random.below(corpus.words.len())];
            input.splice(at..at, word.bytes());
        }
        7 => {
            let other = corpus.inputs[random.below(corpus.inputs.len())];
            let (from, to) = stretch(random, other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        8 if input.len() >= 4 => {
            let place = random.below(input.len() - 3);
            let extreme = [u32::MAX, i32::MAX as u32, 1 << 31, 0, 1 << 16][random.below(5)];
            input[place..place + 4].copy_from_slice(&extreme.to_be_bytes());
        }
        _ => input.truncate(at),
    }
}

fn stretch(random: &mut Random, length: usize) -> (usize, usize) {
    let (one, other) = (random.below(length + 1), random.below(length + 1));
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let corpus = Corpus { inputs: &[b"{\"a\": 1}"], words: &["null"], longest: 4096 };
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| mutated(&mut random, &corpus)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
