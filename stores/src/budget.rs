//! How much a store may make us hold: a bound for each answer, and one for all that are under way in this process.
//!
//! A length that a store announces is nothing to allocate by. Answers are refused above their bound, wait while the budget
//! is spent, and take memory only as their bytes arrive. Decoded, an answer of crafted entries may be a dozen times its
//! bytes, so the bounds are far below the memory of operator and console (docs/security.md).

use tokio::sync::{Semaphore, SemaphorePermit};

/// What an answer is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Members, topics, offsets, schemas: what the operator asks for.
    Facts,
    /// Records of topics and rows of tables: what people look at.
    Records,
}

/// Answers up to this length are never made to wait, so that healthy stores are heard while others fill the budget.
const SMALL: usize = 64 << 10;

/// What one permit stands for.
const UNIT: usize = 1 << 10;

static FACTS: Semaphore = Semaphore::const_new((4 << 20) / UNIT);
static RECORDS: Semaphore = Semaphore::const_new((24 << 20) / UNIT);

/// A part of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    _permit: Option<SemaphorePermit<'static>>,
}

impl Kind {
    /// Returns the most bytes that one answer may have.
    pub const fn largest(self) -> usize {
        match self {
            // 50,000 partitions, or the columns of 300 wide tables.
            Self::Facts => 2 << 20,
            // Sixteen records of the size that Kafka takes by default.
            Self::Records => 16 << 20,
        }
    }

    fn budget(self) -> &'static Semaphore {
        match self {
            Self::Facts => &FACTS,
            Self::Records => &RECORDS,
        }
    }

    /// Waits until an answer of this length fits the budget beside those that are under way. `None`: it is too large.
    pub async fn reserve(self, length: usize) -> Option<Reservation> {
        if length > self.largest() {
            return None;
        }
        if length <= SMALL {
            return Some(Reservation { _permit: None });
        }
        let units = u32::try_from(length.div_ceil(UNIT)).ok()?;
        let permit = self.budget().acquire_many(units).await.expect("the semaphore is never closed");
        Some(Reservation { _permit: Some(permit) })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn large_answers_wait_for_each_other_and_small_ones_for_none() {
        let largest = Kind::Facts.largest();
        assert!(Kind::Facts.reserve(largest + 1).await.is_none());
        let first = Kind::Facts.reserve(largest).await.expect("it fits");
        let second = Kind::Facts.reserve(largest).await.expect("it fits beside it");
        let mut third = Box::pin(Kind::Facts.reserve(largest));
        assert!((&mut third).now_or_never().is_none(), "the budget is spent");
        assert!(Kind::Facts.reserve(SMALL).now_or_never().is_some(), "a small one waits for nobody");
        assert!(Kind::Records.reserve(largest).now_or_never().is_some(), "records have a budget of their own");
        drop(first);
        assert!(third.now_or_never().is_some(), "what is given back is used again");
        drop(second);
    }
}
