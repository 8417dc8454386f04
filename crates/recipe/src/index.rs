//! File indexes: which regular file of a tree has which SHA-256.
//!
//! # The form, version 1
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `NCINDEX1` |
//! | 8 | 8 | `n`, number of records |
//! | 16 | 8 | `m`, bytes of all paths together |
//! | 24 | 48 × n | records |
//! | 24 + 48 n | m | paths, one after another, without separators |
//! | 24 + 48 n + m | 32 | SHA-256 of all before it |
//!
//! A record is: SHA-256 of the content (32), size in bytes (8), permission bits (4), and where its path
//! ends within the paths (4); it begins where the one before it ends. Paths are relative to the tree,
//! without a leading `/`, raw bytes, sorted as bytes, each once. So an index is read with one
//! allocation and searched in place.

mod form;

pub use form::{FileIndex, Found, IndexWriter};
