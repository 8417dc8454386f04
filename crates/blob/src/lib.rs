//! Content-addressed files.
//!
//! A blob is a run of bytes named by its BLAKE3 digest and kept as one file, `ab/cdef…`, under
//! the store's folder. Large things (logs, transcripts, bundles, snapshots) are blobs; facts name
//! them. Because a fact may name a blob the moment `put` returns, `put` returns only when the
//! bytes *and* the name are on the disk.
//!
//! | file | idea |
//! |---|---|
//! | `digest` | the name of a blob |
//! | `error` | what can go wrong, with the cure |
//! | `store` | open a folder, read blobs, list them |
//! | `put` | write blobs durably, one or several |
//! | `scratch` | where half-written files live, and how leftovers are told from live ones |
//! | `collect` | remove what nothing names any more |
//!
//! The calls block; from async code they belong on a blocking thread.

mod collect;
mod digest;
mod error;
mod put;
mod scratch;
mod store;

pub use collect::Collected;
pub use digest::{Digest, ParseDigestError};
pub use error::Error;
pub use store::BlobStore;
