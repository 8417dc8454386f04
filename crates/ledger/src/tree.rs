//! The growing tree, kept as its frontier.
//!
//! To append to an RFC 6962 tree and to know its root one needs only the roots of the perfect
//! subtrees along its right edge: one for each bit set in the size. A sequencer thus restarts
//! from a few hundred bytes instead of rereading every leaf.

use crate::{Hash, MAX_NUMBER};

/// An RFC 6962 Merkle tree that can grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of perfect subtrees, the largest (leftmost) first.
    frontier: Vec<Hash>,
}

/// Bytes that are not a kept [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kept state of the tree is damaged; it can be rebuilt from the leaf hashes")]
pub struct ParseTreeError;

impl Tree {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf and returns its hash, which is to be kept beside it.
    pub fn push(&mut self, leaf: &[u8]) -> Hash {
        let hash = Hash::of_leaf(leaf);
        self.push_hash(hash);
        hash
    }

    /// Appends the leaf with this hash.
    pub fn push_hash(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Every trailing one of the size is a perfect subtree as large as `node`: join them.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.frontier.pop() {
                node = Hash::of_node(&left, &node);
            }
        }
        self.frontier.push(node);
        self.size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = self.frontier.iter().rev();
        match subtrees.next() {
            None => Hash::of_empty_tree(),
            Some(last) => subtrees.fold(*last, |right, left| Hash::of_node(left, &right)),
        }
    }

    /// The state to keep: the size, 8 bytes big-endian, then the frontier's hashes, 32 bytes each,
    /// the largest subtree first. At most 1.7 kB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for hash in &self.frontier {
            bytes.extend_from_slice(hash.as_bytes());
        }
        bytes
    }

    /// Reads a kept state. It carries no proof: compare [`root`](Self::root) with the newest
    /// checkpoint before signing anything that builds on it.
    ///
    /// # Errors
    /// [`ParseTreeError`] if the number of hashes does not fit the size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseTreeError> {
        let (size, hashes) = bytes.split_first_chunk::<8>().ok_or(ParseTreeError)?;
        let size = u64::from_be_bytes(*size);
        let (hashes, rest) = hashes.as_chunks::<32>();
        if size > MAX_NUMBER || !rest.is_empty() || hashes.len() != size.count_ones() as usize {
            return Err(ParseTreeError);
        }
        Ok(Self {
            size,
            frontier: hashes.iter().copied().map(Hash::from_bytes).collect(),
        })
    }
}

impl FromIterator<Hash> for Tree {
    /// The tree over these leaf hashes.
    fn from_iter<I: IntoIterator<Item = Hash>>(hashes: I) -> Self {
        let mut tree = Self::new();
        hashes.into_iter().for_each(|hash| tree.push_hash(hash));
        tree
    }
}
