//! The numbers behind a person: SplitMix64, written out, since the library generators may change between releases
//! and stored sequences must not.

/// A stream of numbers, a function of (seed, index) alone.
pub(crate) struct Sequence {
    state: u64,
}

impl Sequence {
    /// Starts the stream of one person; neighbours in seed or index share nothing.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        Self { state: mix(mix(seed.wrapping_add(GAMMA)) ^ index.wrapping_mul(0xd134_2543_de82_ef95)) }
    }

    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Returns the next number below `limit`, which is at most 2^48 so that the bias cannot be noticed.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Returns one of `items`, which are never empty.
    pub(crate) fn pick<T: ?Sized>(&mut self, items: &'static [&'static T]) -> &'static T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// The odd number nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
