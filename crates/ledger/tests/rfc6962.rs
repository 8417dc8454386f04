//! Tree and proofs against known vectors and against a second implementation.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ledger::{
    Hash, ProofError, Tree, consistency_proof, inclusion_proof, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;

/// Leaves and roots of the Certificate Transparency reference implementation.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn reference_hashes() -> Vec<Hash> {
    LEAVES
        .iter()
        .map(|leaf| Hash::of_leaf(&hex::decode(leaf).unwrap()))
        .collect()
}

fn numbered(n: u64) -> Vec<Hash> {
    (0..n).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect()
}

fn root(hashes: &[Hash]) -> Hash {
    hashes.iter().copied().collect::<Tree>().root()
}

fn bytes(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn roots_are_those_of_the_reference() {
    let mut tree = Tree::new();
    assert_eq!(tree.root().to_string(), ROOTS[0]);
    for (n, leaf) in LEAVES.iter().enumerate() {
        tree.push(&hex::decode(leaf).unwrap());
        assert_eq!(tree.root().to_string(), ROOTS[n + 1]);
        assert_eq!(tree.size(), n as u64 + 1);
    }
}

#[test]
fn proofs_are_those_of_the_reference() {
    let parse = |texts: [&str; 3]| texts.map(|text| text.parse::<Hash>().unwrap());
    assert_eq!(
        inclusion_proof(&reference_hashes()[..], 0, 8).unwrap(),
        parse([
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ])
    );
    assert_eq!(
        consistency_proof(&reference_hashes()[..], 6, 8).unwrap(),
        parse([
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            ROOTS[4],
        ])
    );
}

#[test]
fn every_proof_up_to_40_leaves_verifies_and_agrees_with_a_second_implementation() {
    let hashes = numbered(40);
    for size in 1..=40_u64 {
        let leaves = &hashes[..size as usize];
        let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        (0..size).for_each(|n| other.push(n.to_be_bytes().to_vec()));
        let whole = root(leaves);
        assert_eq!(whole.as_bytes()[..], other.root().as_bytes()[..]);
        for index in 0..size {
            let proof = inclusion_proof(&hashes[..], index, size).unwrap();
            assert_eq!(
                bytes(&proof),
                other.prove_inclusion(index as usize).as_bytes()
            );
            verify_inclusion(&leaves[index as usize], index, size, &proof, &whole).unwrap();
        }
        for earlier in 0..=size {
            let proof = consistency_proof(&hashes[..], earlier, size).unwrap();
            if 0 < earlier && earlier < size {
                let other = other.prove_consistency((size - earlier) as usize);
                assert_eq!(bytes(&proof), other.as_bytes());
            }
            let part = root(&hashes[..earlier as usize]);
            verify_consistency(earlier, &part, size, &whole, &proof).unwrap();
        }
    }
}

#[test]
fn impossible_questions_are_errors() {
    let hashes = numbered(5);
    for (index, size) in [(5, 5), (0, 6), (0, 0), (u64::MAX, u64::MAX), (u64::MAX, 5)] {
        assert!(inclusion_proof(&hashes[..], index, size).is_err());
    }
    assert!(consistency_proof(&hashes[..], 4, 3).is_err());
    assert!(consistency_proof(&hashes[..], 4, 6).is_err());
    let any = hashes[0];
    assert_eq!(
        verify_inclusion(&any, 3, 3, &[], &any),
        Err(ProofError::Impossible)
    );
    assert_eq!(
        verify_consistency(3, &any, 2, &any, &[]),
        Err(ProofError::Impossible)
    );
    assert_eq!(
        verify_consistency(3, &any, 5, &any, &[]),
        Err(ProofError::WrongLength)
    );
    assert_eq!(
        verify_consistency(0, &any, 5, &any, &[]),
        Err(ProofError::OtherRoot)
    );
}

#[test]
fn a_tree_restarts_from_its_kept_state() {
    for size in 0..70 {
        let mut tree: Tree = numbered(size).into_iter().collect();
        let mut restarted = Tree::from_bytes(&tree.to_bytes()).unwrap();
        assert_eq!(restarted, tree);
        tree.push(b"next");
        restarted.push(b"next");
        assert_eq!(restarted.root(), tree.root());
        let bytes = tree.to_bytes();
        assert!(Tree::from_bytes(&bytes[1..]).is_err());
        assert!(Tree::from_bytes(&bytes[..bytes.len() - 32]).is_err());
    }
    assert!(Tree::from_bytes(&[0xff; 8 + 64 * 32]).is_err());
}

proptest! {
    #[test]
    fn a_changed_proof_does_not_verify(
        size in 2_u64..200, index in any::<prop::sample::Index>(), earlier in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(), how in 0..5,
    ) {
        let hashes = numbered(size);
        let whole = root(&hashes);
        let change = |proof: &mut Vec<Hash>| match how {
            0 => { proof.pop(); }
            1 => proof.push(hashes[0]),
            2 => { proof.remove(0); }
            3 => proof.insert(0, hashes[0]),
            _ => {
                let bit = bit.index(proof.len() * 256);
                let mut hash = *proof[bit / 256].as_bytes();
                hash[bit % 256 / 8] ^= 1 << (bit % 8);
                proof[bit / 256] = Hash::from_bytes(hash);
            }
        };
        let index = index.index(size as usize);
        let mut proof = inclusion_proof(&hashes[..], index as u64, size).unwrap();
        let right = proof.clone();
        change(&mut proof);
        prop_assert!(verify_inclusion(&hashes[index], index as u64, size, &proof, &whole).is_err());
        let other = (index + 1) % size as usize;
        prop_assert!(verify_inclusion(&hashes[other], index as u64, size, &right, &whole).is_err());
        prop_assert!(verify_inclusion(&hashes[index], other as u64, size, &right, &whole).is_err());

        let earlier = earlier.index(size as usize - 1) + 1;
        let part = root(&hashes[..earlier]);
        let mut proof = consistency_proof(&hashes[..], earlier as u64, size).unwrap();
        let right = proof.clone();
        change(&mut proof);
        prop_assert!(verify_consistency(earlier as u64, &part, size, &whole, &proof).is_err());
        prop_assert!(verify_consistency(earlier as u64, &hashes[0], size, &whole, &right).is_err() || earlier == 1);
        prop_assert!(verify_consistency(earlier as u64, &part, size, &part, &right).is_err());
    }

    #[test]
    fn no_numbers_make_the_proof_checkers_panic(a: u64, b: u64, length in 0_usize..70) {
        let hashes = numbered(length as u64 + 1);
        let _ = verify_inclusion(&hashes[0], a, b, &hashes[1..], &hashes[0]);
        let _ = verify_consistency(a, &hashes[0], b, &hashes[0], &hashes[1..]);
    }

    #[test]
    fn no_bytes_make_the_tree_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Tree::from_bytes(&bytes);
    }
}
