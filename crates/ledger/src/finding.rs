//! The ways in which a ledger can be wrong.

use std::fmt;

use crate::{CheckpointError, Hash, LeafError};

/// The first thing found wrong.
///
/// A changed entry whose kept hash was not changed with it is named exactly. If the hash was
/// changed as well, only roots are left to tell, and the finding names the range between two
/// checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// A stored or separately kept checkpoint is malformed, wrongly signed or of another ledger.
    #[error("{voucher} number {position} cannot be relied on: {reason}")]
    BadCheckpoint {
        /// Where it was kept.
        voucher: Voucher,
        /// Its place among those, from 0.
        position: usize,
        /// What is wrong with it.
        reason: CheckpointError,
    },
    /// Two rightly signed checkpoints contradict each other: the holder of the key rewrote history.
    #[error(
        "two checkpoints for {size} entries are both rightly signed and have different roots: \
         whoever holds the signing key has rewritten the ledger"
    )]
    Forked {
        /// The size that both state.
        size: u64,
    },
    /// The leaf is not the one whose hash was kept, or the kept hash was changed alone.
    #[error("entry {index} was changed: {} (its leaf hashes to {found}, kept is {kept})", changed(*moved_from, malformed.as_ref()))]
    Changed {
        /// Which entry.
        index: u64,
        /// The hash kept beside it.
        kept: Box<Hash>,
        /// The hash of the leaf that is there now.
        found: Box<Hash>,
        /// The leaf there now is that of this later entry.
        moved_from: Option<u64>,
        /// The leaf there now is not even a leaf.
        malformed: Option<LeafError>,
    },
    /// The leaf has the hash that was kept, but is not a leaf.
    #[error("entry {index} is not a leaf: {reason}")]
    Malformed {
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        reason: LeafError,
    },
    /// The payload kept beside the leaf is not the one the leaf was made for.
    #[error("the payload of entry {index} was changed")]
    PayloadChanged {
        /// Which entry.
        index: u64,
    },
    /// Entries are missing, others follow.
    #[error("{} missing: entry {next} follows entry {}", missing(*index, *next), before(*index))]
    Removed {
        /// The first missing entry.
        index: u64,
        /// The entry that follows the gap.
        next: u64,
    },
    /// An entry stands too early; the one that belongs there comes later.
    #[error("entry {index} stands where entry {expected} belongs")]
    Reordered {
        /// The entry that stands too early.
        index: u64,
        /// The entry that belongs there.
        expected: u64,
    },
    /// An index comes a second time: something was inserted.
    #[error("entry {index} comes a second time, after entry {after}")]
    Repeated {
        /// The index.
        index: u64,
        /// The entry before the second one.
        after: u64,
    },
    /// An entry that no checkpoint vouches for.
    #[error("entry {index} was added without a checkpoint that vouches for it")]
    Unvouched {
        /// The first such entry.
        index: u64,
    },
    /// The entries do not have the root that was signed: one of them was changed, removed or
    /// inserted together with its kept hash.
    #[error(
        "the entries below {size} were rewritten: their root is {found}, {voucher} for this size \
         states {signed} (all checkpoints up to size {agreed} agree)"
    )]
    RootMismatch {
        /// The greatest size at which root and checkpoints agree; 0 if there is none.
        agreed: u64,
        /// The size at which they do not.
        size: u64,
        /// The root that was signed.
        signed: Box<Hash>,
        /// The root of the entries.
        found: Box<Hash>,
        /// Where the checkpoint was kept.
        voucher: Voucher,
    },
    /// The ledger ends before a checkpoint does.
    #[error("the ledger ends after {entries} entries, but {voucher} vouches for {size}")]
    Truncated {
        /// Entries that are there.
        entries: u64,
        /// Entries that were there.
        size: u64,
        /// Where the checkpoint was kept.
        voucher: Voucher,
    },
    /// An entry could not be read.
    #[error("entry {index} could not be read: {reason}")]
    Unreadable {
        /// Which entry.
        index: u64,
        /// What the reader said.
        reason: String,
    },
}

/// Where a checkpoint was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voucher {
    /// In the ledger's own store.
    Stored,
    /// Elsewhere, out of reach of whoever can write the store.
    Elsewhere,
}

impl fmt::Display for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "the stored checkpoint",
            Self::Elsewhere => "the checkpoint kept elsewhere",
        })
    }
}

fn changed(moved_from: Option<u64>, malformed: Option<&LeafError>) -> String {
    match (moved_from, malformed) {
        (Some(from), _) => format!("the leaf of entry {from} is in its place"),
        (None, Some(reason)) => reason.to_string(),
        (None, None) => "another leaf is in its place, or its kept hash was changed".to_owned(),
    }
}

fn missing(index: u64, next: u64) -> String {
    match next.saturating_sub(index) {
        0 | 1 => format!("entry {index} is"),
        n => format!("{n} entries from {index} on are"),
    }
}

fn before(index: u64) -> String {
    match index.checked_sub(1) {
        Some(before) => before.to_string(),
        None => "none".to_owned(),
    }
}
