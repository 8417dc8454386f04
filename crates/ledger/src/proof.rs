//! Check inclusion and consistency proofs, with nothing else at hand (RFC 9162, sections 2.1.3.2
//! and 2.1.4.2; the trees are those of RFC 6962).

use crate::Hash;

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The index or sizes are impossible.
    #[error("the index or sizes of the proof are impossible")]
    Impossible,
    /// Too few or too many hashes for these sizes.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// Checks that the leaf with hash `leaf` is at `index` in the tree of `size` leaves with `root`.
///
/// # Errors
/// [`ProofError`] if it is not, or the proof is not one.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Impossible);
    }
    let (mut position, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if position & 1 == 1 || position == last {
            node = Hash::of_node(sibling, &node);
            // On the right edge, levels without a sibling are passed over.
            let skip = position.trailing_zeros();
            (position, last) = (position >> skip, last >> skip);
        } else {
            node = Hash::of_node(&node, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    finish(last == 0, &[(node, root)])
}

/// Checks that the tree of `earlier` leaves with root `earlier_root` is the beginning of the tree
/// of `later` leaves with root `later_root`.
///
/// # Errors
/// [`ProofError`] if it is not, or the proof is not one.
pub fn verify_consistency(
    earlier: u64,
    earlier_root: &Hash,
    later: u64,
    later_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if earlier > later {
        return Err(ProofError::Impossible);
    }
    if earlier == 0 {
        return finish(proof.is_empty(), &[(Hash::of_empty_tree(), earlier_root)]);
    }
    if earlier == later {
        return finish(proof.is_empty(), &[(*earlier_root, later_root)]);
    }
    // A power of two is one perfect subtree, the known root; else the proof begins with one.
    let (first, rest) = match proof.split_first() {
        None => return Err(ProofError::WrongLength),
        Some(_) if earlier.is_power_of_two() => (earlier_root, proof),
        Some(split) => split,
    };
    let skip = (earlier - 1).trailing_ones();
    let (mut position, mut last) = ((earlier - 1) >> skip, (later - 1) >> skip);
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if position & 1 == 1 || position == last {
            old = Hash::of_node(sibling, &old);
            new = Hash::of_node(sibling, &new);
            let skip = position.trailing_zeros();
            (position, last) = (position >> skip, last >> skip);
        } else {
            new = Hash::of_node(&new, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    finish(last == 0, &[(old, earlier_root), (new, later_root)])
}

fn finish(complete: bool, roots: &[(Hash, &Hash)]) -> Result<(), ProofError> {
    if !complete {
        return Err(ProofError::WrongLength);
    }
    if roots.iter().any(|(found, expected)| found != *expected) {
        return Err(ProofError::OtherRoot);
    }
    Ok(())
}
