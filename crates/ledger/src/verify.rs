//! Read a whole ledger and name the first thing that is wrong.
//!
//! One pass, constant memory apart from one hash per checkpoint. Each leaf is compared with the
//! hash kept beside it, which finds a changed leaf by its index; the kept hashes are folded into
//! the tree, whose root is compared at every size for which there is a checkpoint, which finds
//! changed hashes.

use std::collections::BTreeMap;
use std::fmt;

use crate::{CheckpointError, Finding, Hash, Leaf, SignedCheckpoint, Tree, VerifierKey, Voucher};

/// One entry as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// The canonical bytes of its leaf.
    pub leaf: Vec<u8>,
    /// The leaf hash kept beside it when it was sequenced.
    pub hash: Hash,
    /// Its payload; none if erased or not at hand.
    pub payload: Option<Vec<u8>>,
}

/// What the entries are held against.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The ledger's public key, from a place that whoever can write the store cannot write.
    pub key: &'a VerifierKey,
    /// The checkpoints stored with the ledger, in any order, as they are stored.
    pub stored: &'a [String],
    /// Checkpoints kept elsewhere. Without any, a ledger cut back to an older state of itself, or
    /// rewritten by the holder of the key, is not found out.
    pub elsewhere: &'a [SignedCheckpoint],
}

/// What was found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Number of entries.
    pub entries: u64,
    /// Their root.
    pub root: Hash,
    /// Sizes at which the root was compared with a checkpoint.
    pub checkpoints: usize,
    /// Entries that a checkpoint kept elsewhere covers; 0 without any.
    pub covered_elsewhere: u64,
    /// Payloads compared with their leaves.
    pub payloads: u64,
    /// Entries without a payload at hand.
    pub without_payload: u64,
}

/// Verifies the entries against the evidence.
///
/// # Errors
/// The first [`Finding`], in the order of the entries; checkpoints are looked at before them.
pub fn verify<E: fmt::Display>(
    entries: impl IntoIterator<Item = Result<Entry, E>>,
    evidence: &Evidence<'_>,
) -> Result<Verified, Finding> {
    let vouchers = Vouchers::collect(evidence)?;
    let mut entries = entries.into_iter();
    let mut scan = Scan {
        tree: Tree::new(),
        agreed: 0,
        payloads: 0,
    };
    scan.compare_root(&vouchers)?;
    while let Some(entry) = entries.next() {
        let expected = scan.tree.size();
        let entry = entry.map_err(|e| Finding::Unreadable {
            index: expected,
            reason: e.to_string(),
        })?;
        if entry.index != expected {
            return Err(out_of_order(expected, entry.index, entries));
        }
        if expected >= vouchers.newest() {
            return Err(Finding::Unvouched { index: expected });
        }
        scan.take(&entry)
            .map_err(|finding| trace(finding, entries.by_ref()))?;
        scan.compare_root(&vouchers)?;
    }
    vouchers.expect_all(scan.tree.size())?;
    Ok(Verified {
        entries: scan.tree.size(),
        root: scan.tree.root(),
        checkpoints: vouchers.0.len(),
        covered_elsewhere: vouchers.covered_elsewhere(),
        payloads: scan.payloads,
        without_payload: scan.tree.size() - scan.payloads,
    })
}

/// What has been read so far.
struct Scan {
    tree: Tree,
    /// The greatest size at which root and checkpoint agreed.
    agreed: u64,
    payloads: u64,
}

impl Scan {
    /// Holds one entry against its kept hash and its payload.
    fn take(&mut self, entry: &Entry) -> Result<(), Finding> {
        let index = entry.index;
        let found = Hash::of_leaf(&entry.leaf);
        let leaf = Leaf::parse(&entry.leaf);
        if found != entry.hash {
            return Err(Finding::Changed {
                index,
                kept: Box::new(entry.hash),
                found: Box::new(found),
                moved_from: None,
                malformed: leaf.err(),
            });
        }
        let leaf = leaf.map_err(|reason| Finding::Malformed { index, reason })?;
        if let Some(payload) = &entry.payload {
            if !leaf.matches_payload(payload) {
                return Err(Finding::PayloadChanged { index });
            }
            self.payloads += 1;
        }
        self.tree.push_hash(found);
        Ok(())
    }

    /// Holds the root against the checkpoint for this size, if there is one.
    fn compare_root(&mut self, vouchers: &Vouchers) -> Result<(), Finding> {
        let size = self.tree.size();
        let Some(vouched) = vouchers.0.get(&size) else {
            return Ok(());
        };
        let found = self.tree.root();
        if found != vouched.root {
            return Err(Finding::RootMismatch {
                agreed: self.agreed,
                size,
                signed: Box::new(vouched.root),
                found: Box::new(found),
                voucher: vouched.voucher,
            });
        }
        self.agreed = size;
        Ok(())
    }
}

/// The roots that were signed, by size.
struct Vouchers(BTreeMap<u64, Vouched>);

struct Vouched {
    root: Hash,
    voucher: Voucher,
}

impl Vouchers {
    fn collect(evidence: &Evidence<'_>) -> Result<Self, Finding> {
        let mut vouchers = Self(BTreeMap::new());
        for (position, checkpoint) in evidence.elsewhere.iter().enumerate() {
            vouchers.add(checkpoint, evidence.key, Voucher::Elsewhere, position)?;
        }
        for (position, text) in evidence.stored.iter().enumerate() {
            let voucher = Voucher::Stored;
            let checkpoint = SignedCheckpoint::parse(text)
                .map_err(|reason| bad_checkpoint(voucher, position, reason))?;
            vouchers.add(&checkpoint, evidence.key, voucher, position)?;
        }
        Ok(vouchers)
    }

    fn add(
        &mut self,
        checkpoint: &SignedCheckpoint,
        key: &VerifierKey,
        voucher: Voucher,
        position: usize,
    ) -> Result<(), Finding> {
        let checkpoint = checkpoint
            .verify(key)
            .map_err(|reason| bad_checkpoint(voucher, position, reason))?;
        let (size, root) = (checkpoint.size, checkpoint.root);
        // Those kept elsewhere come first and stay: theirs is the greater weight.
        let known = self.0.entry(size).or_insert(Vouched { root, voucher });
        if known.root != root {
            return Err(Finding::Forked { size });
        }
        Ok(())
    }

    fn newest(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }

    fn covered_elsewhere(&self) -> u64 {
        let mut newest_first = self.0.iter().rev();
        newest_first
            .find(|(_, vouched)| vouched.voucher == Voucher::Elsewhere)
            .map_or(0, |(size, _)| *size)
    }

    fn expect_all(&self, entries: u64) -> Result<(), Finding> {
        match self.0.last_key_value() {
            Some((&size, vouched)) if size > entries => Err(Finding::Truncated {
                entries,
                size,
                voucher: vouched.voucher,
            }),
            _ => Ok(()),
        }
    }
}

fn bad_checkpoint(voucher: Voucher, position: usize, reason: CheckpointError) -> Finding {
    Finding::BadCheckpoint {
        voucher,
        position,
        reason,
    }
}

/// Tells apart, by looking at what follows, why `found` stands where `expected` belongs.
fn out_of_order<E>(
    expected: u64,
    found: u64,
    rest: impl Iterator<Item = Result<Entry, E>>,
) -> Finding {
    if found < expected {
        return Finding::Repeated {
            index: found,
            after: expected - 1,
        };
    }
    if rest.flatten().any(|entry| entry.index == expected) {
        return Finding::Reordered {
            index: found,
            expected,
        };
    }
    Finding::Removed {
        index: expected,
        next: found,
    }
}

/// Looks among the later entries for the one whose leaf stands in a changed entry's place.
fn trace<E>(finding: Finding, mut rest: impl Iterator<Item = Result<Entry, E>>) -> Finding {
    let Finding::Changed {
        index,
        kept,
        found,
        malformed,
        ..
    } = finding
    else {
        return finding;
    };
    let moved_from = rest
        .find_map(|entry| entry.ok().filter(|entry| entry.hash == *found))
        .map(|entry| entry.index);
    Finding::Changed {
        index,
        kept,
        found,
        moved_from,
        malformed,
    }
}
