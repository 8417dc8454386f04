//! Make inclusion and consistency proofs (RFC 6962, sections 2.1.1 and 2.1.2).
//!
//! A proof is a short list of hashes, each of which is folded from roots of perfect subtrees. Where
//! those come from is left open by [`Nodes`]: a slice of leaf hashes computes them, O(n) per
//! proof; kept tiles can look them up, O(log n).

use crate::Hash;

/// Roots of perfect subtrees.
pub trait Nodes {
    /// The root over the leaves `index << level .. (index + 1) << level`, all of which exist.
    fn node(&self, level: u32, index: u64) -> Hash;

    /// Number of leaves that exist.
    fn size(&self) -> u64;
}

/// A proof was asked for leaves that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} {asked} lies outside the ledger of {size} entries")]
pub struct OutOfRange {
    what: &'static str,
    asked: u64,
    size: u64,
}

impl Nodes for [Hash] {
    fn node(&self, level: u32, index: u64) -> Hash {
        let start = (index << level) as usize;
        let mut row = self[start..start + (1 << level)].to_vec();
        while row.len() > 1 {
            let (pairs, _) = row.as_chunks::<2>();
            row = pairs.iter().map(|[l, r]| Hash::of_node(l, r)).collect();
        }
        row[0]
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

/// Proves that the leaf at `index` is in the tree of the first `size` leaves: the hashes beside the
/// path from the leaf to the root, lowest first.
///
/// # Errors
/// [`OutOfRange`] unless `index < size <= nodes.size()`.
pub fn inclusion_proof<N: Nodes + ?Sized>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, OutOfRange> {
    within("size", size, nodes.size())?;
    within("entry", index.saturating_add(1), size).map_err(|e| OutOfRange { asked: index, ..e })?;
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(root(nodes, middle, high));
            high = middle;
        } else {
            proof.push(root(nodes, low, middle));
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of the first `earlier` leaves is the beginning of the tree of the first
/// `later` ones. Empty if `earlier` is 0 or equals `later`.
///
/// # Errors
/// [`OutOfRange`] unless `earlier <= later <= nodes.size()`.
pub fn consistency_proof<N: Nodes + ?Sized>(
    nodes: &N,
    earlier: u64,
    later: u64,
) -> Result<Vec<Hash>, OutOfRange> {
    within("size", later, nodes.size())?;
    within("size", earlier, later)?;
    let mut proof = Vec::new();
    if earlier == 0 {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, later);
    while high != earlier {
        let middle = low + split(high - low);
        if earlier <= middle {
            proof.push(root(nodes, middle, high));
            high = middle;
        } else {
            proof.push(root(nodes, low, middle));
            low = middle;
        }
    }
    // The subtree that ends where the earlier tree ends. If it *is* the earlier tree, the verifier
    // knows its root already.
    if low != 0 {
        proof.push(root(nodes, low, high));
    }
    proof.reverse();
    Ok(proof)
}

fn within(what: &'static str, asked: u64, size: u64) -> Result<(), OutOfRange> {
    if asked > size {
        return Err(OutOfRange { what, asked, size });
    }
    Ok(())
}

/// The largest power of two below `n`, for `n > 1`.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The root over the leaves `low..high`, a range that RFC 6962 would split off.
fn root<N: Nodes + ?Sized>(nodes: &N, low: u64, high: u64) -> Hash {
    let n = high - low;
    if n.is_power_of_two() {
        let level = n.trailing_zeros();
        return nodes.node(level, low >> level);
    }
    let middle = low + split(n);
    Hash::of_node(&root(nodes, low, middle), &root(nodes, middle, high))
}
