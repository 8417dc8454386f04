//! Give a batch of leaves their indices and a new checkpoint.

use crate::{Hash, SignedCheckpoint, SigningKey, Tree};

/// What to keep, in one transaction, for a sequenced batch.
#[derive(Debug, Clone)]
pub struct Sequenced {
    /// The index of the batch's first leaf; the others follow without a gap.
    pub first_index: u64,
    /// The hash to keep beside each leaf, in the order of the batch.
    pub hashes: Vec<Hash>,
    /// The tree that the next batch builds on.
    pub tree: Tree,
    /// The checkpoint that covers the batch.
    pub checkpoint: SignedCheckpoint,
}

/// Appends `leaves` to `tree`. Pure: the same input gives the same result, bit for bit, so a
/// sequencer that died before its transaction was committed just does it again.
///
/// Only one sequencer may build on a tree at a time; the store's lease sees to that.
pub fn sequence<L: AsRef<[u8]>>(
    tree: &Tree,
    leaves: impl IntoIterator<Item = L>,
    key: &SigningKey,
) -> Sequenced {
    let first_index = tree.size();
    let mut tree = tree.clone();
    let hashes = leaves
        .into_iter()
        .map(|leaf| tree.push(leaf.as_ref()))
        .collect();
    let checkpoint = SignedCheckpoint::sign(tree.size(), tree.root(), key);
    Sequenced {
        first_index,
        hashes,
        tree,
        checkpoint,
    }
}
