//! Where a batch of events stands that has no fact of its own: a leaf of the ledger names it by number.

/// Batches of one assignment, at most.
pub const MOST_BATCHES: u32 = 1 << 20;

/// The place of a batch among those of its task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchPlace {
    /// The assignment.
    pub epoch: u64,
    /// The number within it, from 0.
    pub batch: u32,
}

impl BatchPlace {
    /// The number of its leaf in the ledger: both in one.
    #[must_use]
    pub fn leaf_seq(self) -> u64 {
        self.epoch
            .saturating_mul(u64::from(MOST_BATCHES))
            .saturating_add(u64::from(self.batch))
    }

    /// The place of the batch whose leaf has this number.
    #[must_use]
    pub fn of_leaf_seq(seq: u64) -> Self {
        let most = u64::from(MOST_BATCHES);
        Self {
            epoch: seq / most,
            // The remainder is below 2²⁰.
            batch: (seq % most) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_finds_its_batch_again() {
        for (epoch, batch) in [(0, 0), (7, 5), (1 << 32, MOST_BATCHES - 1)] {
            let place = BatchPlace { epoch, batch };
            assert_eq!(BatchPlace::of_leaf_seq(place.leaf_seq()), place);
        }
    }
}
