//! Leaves, Merkle tree, sequencer, signed checkpoints and their offline verifier.
