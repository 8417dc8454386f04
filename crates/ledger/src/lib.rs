//! The ledger: an append-only, signed Merkle log of every event, decision and effect.
//!
//! | file | idea |
//! |---|---|
//! | `hash` | SHA-256 with the two prefixes of RFC 6962 |
//! | `leaf` | what one entry says, in one canonical form |
//! | `tree` | the growing tree, kept as its O(log n) frontier |
//! | `prove` | make inclusion and consistency proofs |
//! | `proof` | check them, with nothing else at hand |
//! | `key` | Ed25519 keys in the forms of C2SP signed-note |
//! | `note` | a signed text |
//! | `checkpoint` | a signed statement of size and root (C2SP tlog-checkpoint) |
//! | `sequence` | give a batch of leaves their indices and a new checkpoint |
//! | `verify` | read a whole ledger and name the first thing that is wrong |
//! | `finding` | the ways in which a ledger can be wrong |
//!
//! All of it is pure: entries and checkpoints come in as iterators, keeping them is the store's
//! business. The one exception is the key file.
//!
//! **What is promised.** Whoever can write the database but not sign cannot change, remove,
//! reorder or insert an entry unnoticed. Whoever can also sign, or who cuts the ledger back to an
//! older state of itself, is found only against a checkpoint kept elsewhere, and only for the
//! entries that it covers. So keep checkpoints elsewhere.

mod checkpoint;
mod finding;
mod hash;
mod key;
mod leaf;
mod note;
mod proof;
mod prove;
mod sequence;
mod tree;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use finding::{Finding, Voucher};
pub use hash::{Hash, ParseHashError};
pub use key::{KeyError, SigningKey, VerifierKey};
pub use leaf::{Heading, Leaf, LeafError, MAX_LEAF_BYTES, MAX_NUMBER, SALT_BYTES};
pub use note::{Note, NoteError};
pub use proof::{ProofError, verify_consistency, verify_inclusion};
pub use prove::{Nodes, OutOfRange, consistency_proof, inclusion_proof};
pub use sequence::{Sequenced, sequence};
pub use tree::{ParseTreeError, Tree};
pub use verify::{Entry, Evidence, Verified, verify};
