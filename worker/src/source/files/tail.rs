//! How a file is known again: by the bytes that were read last. Pure.
//!
//! An inode number would not do: a volume that is mounted anew, restored or served over a network may number its files
//! differently, and a new file may get the number of one that was deleted.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes before the position that a checksum covers.
pub(super) const TAIL: usize = 1024;

/// How far a file has been read, and what stood there: the position of a mark.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Bytes that are read: the beginning of the next record.
    pub(super) offset: u64,
    /// CRC-32 of the last [`TAIL`] bytes before `offset`, or of all of them where there are fewer.
    pub(super) checksum: u32,
}

impl Position {
    /// Returns where the checksummed bytes begin.
    pub(super) fn tail_start(&self) -> u64 {
        self.offset.saturating_sub(TAIL as u64)
    }

    /// Returns whether these are the bytes that were read last.
    pub(super) fn knows(&self, tail: &[u8]) -> bool {
        crc32fast::hash(tail) == self.checksum
    }

    /// Returns the position as a mark's text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("two numbers are JSON")
    }
}

impl FromStr for Position {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// The bytes that were read last.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Begins with bytes that were read before.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Takes in bytes that follow.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(TAIL);
        let too_many = (self.0.len() + kept).saturating_sub(TAIL);
        self.0.drain(..too_many);
        self.0.extend_from_slice(&bytes[bytes.len() - kept..]);
    }

    /// Returns the position behind them.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position { offset, checksum: crc32fast::hash(&self.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_file_is_known_by_its_last_bytes_however_it_was_read(
            content in prop::collection::vec(any::<u8>(), 1..5_000),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len())).collect();
            cuts.extend([0, content.len()]);
            cuts.sort_unstable();
            let mut tail = Tail::default();
            for pair in cuts.windows(2) {
                tail.push(&content[pair[0]..pair[1]]);
            }
            let position = tail.position(content.len() as u64);
            let start = usize::try_from(position.tail_start()).expect("small");
            prop_assert!(position.knows(&content[start..]));
            let mut other = content.clone();
            *other.last_mut().expect("not empty") ^= 1;
            prop_assert!(!position.knows(&other[start..]));
            prop_assert_eq!(position.text().parse::<Position>().expect("a position"), position);
        }
    }
}
