//! Whatever is done to a kept ledger is found, and named.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::convert::Infallible;

use common::{leaf, payload};
use ledger::{
    CheckpointError, Entry, Evidence, Finding, Hash, SignedCheckpoint, SigningKey, Tree, Verified,
    Voucher, sequence, verify,
};
use proptest::prelude::*;

/// A ledger as a store would keep it.
#[derive(Clone)]
struct Kept {
    entries: Vec<Entry>,
    checkpoints: Vec<String>,
}

fn key() -> SigningKey {
    SigningKey::from_seed("nightcrew.example/ledger", &[7; 32]).unwrap()
}

/// A ledger of one batch after the other, with one checkpoint for each.
fn kept_ledger(batches: &[u64]) -> Kept {
    let (mut entries, mut checkpoints) = (Vec::new(), Vec::new());
    let mut tree = Tree::new();
    for &batch in batches {
        let leaves: Vec<_> = (0..batch)
            .map(|n| leaf(tree.size() + n).to_bytes())
            .collect();
        let sequenced = sequence(&tree, &leaves, &key());
        assert_eq!(sequenced.first_index, tree.size());
        for ((index, leaf), hash) in (tree.size()..).zip(leaves).zip(sequenced.hashes) {
            let payload = Some(payload(index));
            entries.push(Entry {
                index,
                leaf,
                hash,
                payload,
            });
        }
        checkpoints.push(sequenced.checkpoint.to_string());
        tree = sequenced.tree;
    }
    Kept {
        entries,
        checkpoints,
    }
}

impl Kept {
    fn verify(&self, elsewhere: &[SignedCheckpoint]) -> Result<Verified, Finding> {
        let evidence = Evidence {
            key: &key().verifier(),
            stored: &self.checkpoints,
            elsewhere,
        };
        verify(
            self.entries.iter().cloned().map(Ok::<_, Infallible>),
            &evidence,
        )
    }

    fn checkpoint(&self, n: usize) -> SignedCheckpoint {
        self.checkpoints[n].parse().unwrap()
    }

    /// What somebody does who knows how the ledger works: numbers without gaps, kept hashes that
    /// fit the leaves.
    fn cover_up(&mut self) {
        for (index, entry) in (0..).zip(&mut self.entries) {
            entry.index = index;
            entry.hash = Hash::of_leaf(&entry.leaf);
        }
    }
}

#[test]
fn an_untouched_ledger_verifies() {
    let mut kept = kept_ledger(&[3, 1, 5]);
    let verified = kept.verify(&[kept.checkpoint(1)]).unwrap();
    assert_eq!((verified.entries, verified.checkpoints), (9, 3));
    assert_eq!((verified.covered_elsewhere, verified.payloads), (4, 9));
    assert_eq!(verified.root, kept.checkpoint(2).unverified().root);
    kept.entries[2].payload = None;
    assert_eq!(kept.verify(&[]).unwrap().without_payload, 1);
    let empty = kept_ledger(&[]).verify(&[]).unwrap();
    assert_eq!((empty.entries, empty.root), (0, Hash::of_empty_tree()));
    kept_ledger(&[0, 2, 0]).verify(&[]).unwrap();
}

#[test]
fn every_flipped_bit_of_every_entry_is_found_by_index() {
    let right = kept_ledger(&[2, 3]);
    for n in 0..5 {
        for bit in 0..right.entries[n].leaf.len() * 8 {
            let mut kept = right.clone();
            kept.entries[n].leaf[bit / 8] ^= 1 << (bit % 8);
            let finding = kept.verify(&[]).unwrap_err();
            assert!(matches!(finding, Finding::Changed { index, .. } if index == n as u64));
        }
        for bit in 0..64 {
            let mut kept = right.clone();
            kept.entries[n].index ^= 1 << bit;
            kept.verify(&[]).unwrap_err();
        }
        for bit in 0..256 {
            let mut kept = right.clone();
            let mut hash = *kept.entries[n].hash.as_bytes();
            hash[bit / 8] ^= 1 << (bit % 8);
            kept.entries[n].hash = Hash::from_bytes(hash);
            let finding = kept.verify(&[]).unwrap_err();
            assert!(
                matches!(finding, Finding::Changed { index, malformed: None, .. } if index == n as u64)
            );
        }
        for bit in 0..right.entries[n].payload.as_ref().unwrap().len() * 8 {
            let mut kept = right.clone();
            kept.entries[n].payload.as_mut().unwrap()[bit / 8] ^= 1 << (bit % 8);
            let index = n as u64;
            assert_eq!(kept.verify(&[]), Err(Finding::PayloadChanged { index }));
        }
    }
}

#[test]
fn a_leaf_changed_with_its_hash_is_found_between_two_checkpoints() {
    let right = kept_ledger(&[3, 2, 4]);
    for n in 0..9 {
        let mut kept = right.clone();
        kept.entries[n].leaf = leaf(100).to_bytes();
        kept.entries[n].payload = None;
        kept.cover_up();
        let (from, to) = [(0, 3), (3, 5), (5, 9)][[0, 0, 0, 1, 1, 2, 2, 2, 2][n]];
        let finding = kept.verify(&[]).unwrap_err();
        let Finding::RootMismatch {
            agreed,
            size,
            voucher,
            ..
        } = finding
        else {
            panic!("{finding}")
        };
        assert_eq!((agreed, size, voucher), (from, to, Voucher::Stored));
    }
}

#[test]
fn bytes_that_are_no_leaf_are_named_though_their_hash_fits() {
    let mut kept = kept_ledger(&[3]);
    kept.entries[1].leaf = b"{}".to_vec();
    kept.cover_up();
    assert!(matches!(
        kept.verify(&[]),
        Err(Finding::Malformed { index: 1, .. })
    ));
}

#[test]
fn removed_entries_are_named_or_leave_another_root() {
    let right = kept_ledger(&[3, 2, 4]);
    for n in 0..9 {
        let mut kept = right.clone();
        kept.entries.remove(n);
        let finding = kept.verify(&[]).unwrap_err();
        let expected = match n as u64 {
            8 => Finding::Truncated {
                entries: 8,
                size: 9,
                voucher: Voucher::Stored,
            },
            n => Finding::Removed {
                index: n,
                next: n + 1,
            },
        };
        assert_eq!(finding, expected);
        kept.cover_up();
        let finding = kept.verify(&[]).unwrap_err();
        assert!(matches!(
            finding,
            Finding::RootMismatch { .. } | Finding::Truncated { .. }
        ));
    }
}

#[test]
fn swapped_entries_are_named_or_leave_another_root() {
    let right = kept_ledger(&[3, 2, 4]);
    for (a, b) in (0..9).flat_map(|b| (0..b).map(move |a| (a, b))) {
        let mut kept = right.clone();
        kept.entries.swap(a, b);
        let (early, late) = (a as u64, b as u64);
        let expected = Finding::Reordered {
            index: late,
            expected: early,
        };
        assert_eq!(kept.verify(&[]), Err(expected));
        // Renumbered, but with the kept hashes where they were: the leaf is recognised.
        let mut renumbered = kept.clone();
        for (index, entry) in (0..).zip(&mut renumbered.entries) {
            entry.index = index;
            entry.hash = right.entries[index as usize].hash;
        }
        let finding = renumbered.verify(&[]).unwrap_err();
        assert!(
            matches!(finding, Finding::Changed { index, moved_from, .. }
                if index == early && moved_from == Some(late)),
            "{finding}"
        );
        kept.cover_up();
        assert!(matches!(
            kept.verify(&[]),
            Err(Finding::RootMismatch { .. })
        ));
    }
}

#[test]
fn inserted_and_appended_entries_are_found() {
    let right = kept_ledger(&[3, 2, 4]);
    for n in 0..=9 {
        let mut kept = right.clone();
        let mut entry = kept.entries[n.min(8)].clone();
        entry.leaf = leaf(100).to_bytes();
        entry.payload = None;
        entry.hash = Hash::of_leaf(&entry.leaf);
        kept.entries.insert(n, entry);
        assert!(kept.verify(&[]).is_err());
        kept.cover_up();
        let finding = kept.verify(&[]).unwrap_err();
        match n {
            9 => assert_eq!(finding, Finding::Unvouched { index: 9 }),
            _ => assert!(matches!(finding, Finding::RootMismatch { .. })),
        }
    }
    let mut twice = right;
    twice.entries.insert(4, twice.entries[1].clone());
    assert_eq!(
        twice.verify(&[]),
        Err(Finding::Repeated { index: 1, after: 3 })
    );
}

#[test]
fn a_ledger_cut_back_to_an_older_state_is_found_only_by_a_checkpoint_kept_elsewhere() {
    let right = kept_ledger(&[3, 2, 4]);
    let mut cut = right.clone();
    cut.entries.truncate(5);
    let voucher = Voucher::Stored;
    assert_eq!(
        cut.verify(&[]),
        Err(Finding::Truncated {
            entries: 5,
            size: 9,
            voucher
        })
    );
    cut.checkpoints.truncate(2);
    assert_eq!(cut.verify(&[]).unwrap().covered_elsewhere, 0);
    let voucher = Voucher::Elsewhere;
    let elsewhere = [right.checkpoint(2)];
    assert_eq!(
        cut.verify(&elsewhere),
        Err(Finding::Truncated {
            entries: 5,
            size: 9,
            voucher
        })
    );
    let nothing = Kept {
        entries: vec![],
        checkpoints: vec![],
    };
    assert_eq!(
        nothing.verify(&elsewhere),
        Err(Finding::Truncated {
            entries: 0,
            size: 9,
            voucher
        })
    );
}

#[test]
fn a_ledger_rewritten_by_the_holder_of_the_key_is_found_by_a_checkpoint_kept_elsewhere() {
    let right = kept_ledger(&[3, 2, 4]);
    let mut forged = right.clone();
    forged.entries[1].leaf = leaf(100).to_bytes();
    forged.entries[1].payload = None;
    forged.cover_up();
    let mut tree = Tree::new();
    forged.checkpoints.clear();
    for batch in [0..3, 3..5, 5..9] {
        let leaves = forged.entries[batch].iter().map(|entry| &entry.leaf);
        let sequenced = sequence(&tree, leaves, &key());
        forged.checkpoints.push(sequenced.checkpoint.to_string());
        tree = sequenced.tree;
    }
    forged.verify(&[]).unwrap();
    let elsewhere = [right.checkpoint(1)];
    assert_eq!(forged.verify(&elsewhere), Err(Finding::Forked { size: 5 }));
    forged.checkpoints.remove(1);
    let finding = forged.verify(&elsewhere).unwrap_err();
    let Finding::RootMismatch {
        agreed,
        size,
        voucher,
        ..
    } = finding
    else {
        panic!("{finding}")
    };
    assert_eq!((agreed, size, voucher), (3, 5, Voucher::Elsewhere));
}

#[test]
fn checkpoints_that_cannot_be_relied_on_are_named() {
    let right = kept_ledger(&[3, 2]);
    let mut changed = right.clone();
    changed.checkpoints[1] = changed.checkpoints[1].replacen("\n5\n", "\n6\n", 1);
    let mut garbled = right.clone();
    garbled.checkpoints[1] = "not a note".into();
    let mut foreign = right.clone();
    let stranger = SigningKey::from_seed("nightcrew.example/ledger", &[8; 32]).unwrap();
    foreign.checkpoints[1] =
        SignedCheckpoint::sign(5, Hash::of_empty_tree(), &stranger).to_string();
    for kept in [changed, garbled, foreign] {
        let finding = kept.verify(&[]).unwrap_err();
        assert!(matches!(
            finding,
            Finding::BadCheckpoint {
                voucher: Voucher::Stored,
                position: 1,
                reason: CheckpointError::Note(_),
            }
        ));
    }
    let elsewhere = [SignedCheckpoint::sign(5, Hash::of_empty_tree(), &stranger)];
    assert!(matches!(
        right.verify(&elsewhere),
        Err(Finding::BadCheckpoint {
            voucher: Voucher::Elsewhere,
            position: 0,
            ..
        })
    ));
}

#[test]
fn an_entry_that_cannot_be_read_is_named() {
    let right = kept_ledger(&[3]);
    let evidence = Evidence {
        key: &key().verifier(),
        stored: &right.checkpoints,
        elsewhere: &[],
    };
    let entries = [Ok(right.entries[0].clone()), Err("disk on fire")];
    let finding = verify(entries, &evidence).unwrap_err();
    assert_eq!(
        finding.to_string(),
        "entry 1 could not be read: disk on fire"
    );
}

#[test]
fn sequencing_in_any_batches_gives_the_same_tree() {
    let one = kept_ledger(&[20]);
    for batches in [vec![1; 20], vec![7, 13], vec![0, 19, 1]] {
        let other = kept_ledger(&batches);
        assert_eq!(other.entries, one.entries);
        let last = other.checkpoints.len() - 1;
        assert_eq!(other.checkpoint(last), one.checkpoint(0));
    }
}

#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, prop::sample::Index),
    Truncate(prop::sample::Index),
}

fn any_change() -> impl Strategy<Value = Change> {
    use prop::sample::Index;
    let two = || any::<(Index, Index)>();
    prop_oneof![
        two().prop_map(|(n, bit)| Change::Flip(n, bit)),
        any::<Index>().prop_map(Change::Remove),
        two().prop_map(|(a, b)| Change::Swap(a, b)),
        two().prop_map(|(n, from)| Change::Insert(n, from)),
        any::<Index>().prop_map(Change::Truncate),
    ]
}

impl Change {
    fn apply(&self, kept: &mut Kept) {
        let entries = &mut kept.entries;
        let len = entries.len();
        match self {
            Self::Flip(n, bit) => {
                let leaf = &mut entries[n.index(len)].leaf;
                let bit = bit.index(leaf.len() * 8);
                leaf[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Remove(n) => {
                entries.remove(n.index(len));
            }
            Self::Swap(a, b) => entries.swap(a.index(len), b.index(len)),
            Self::Insert(n, from) => {
                entries.insert(n.index(len + 1), entries[from.index(len)].clone());
            }
            Self::Truncate(n) => entries.truncate(n.index(len)),
        }
    }
}

proptest! {
    #[test]
    fn every_change_is_found(
        batches in prop::collection::vec(1_u64..9, 1..6),
        change in any_change(),
        cover_up: bool,
        only_elsewhere: bool,
        without_payloads: bool,
    ) {
        let right = kept_ledger(&batches);
        let mut changed = right.clone();
        change.apply(&mut changed);
        if without_payloads {
            changed.entries.iter_mut().for_each(|entry| entry.payload = None);
        }
        if cover_up {
            changed.cover_up();
        }
        let elsewhere = [right.checkpoint(batches.len() - 1)];
        let elsewhere = if only_elsewhere {
            changed.checkpoints.clear();
            &elsewhere[..]
        } else {
            &[]
        };
        let leaves = |kept: &Kept| kept.entries.iter().map(|e| e.leaf.clone()).collect::<Vec<_>>();
        let untouched = leaves(&changed) == leaves(&right);
        prop_assert_eq!(changed.verify(elsewhere).is_ok(), untouched);
    }
}
