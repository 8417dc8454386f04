//! Digests of files that do not change: those of roots, and the host's behind them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::exec_policy::Digest;
use crate::sys::about::About;

/// What tells a file that only a package manager replaces: the same in every overlay over it.
type Identity = (u64, u64, (i64, u32), (i64, u32));

/// Most digests kept.
const MAX: usize = 200_000;

#[derive(Debug, Default)]
pub(super) struct Digests(Mutex<HashMap<Identity, Digest>>);

fn identity(about: &About) -> Identity {
    (about.inode, about.size, about.modified, about.changed)
}

impl Digests {
    pub(super) fn get(&self, about: &About) -> Option<Digest> {
        let digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.get(&identity(about)).copied()
    }

    pub(super) fn put(&self, about: &About, digest: Digest) {
        let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() >= MAX {
            digests.clear();
        }
        digests.insert(identity(about), digest);
    }
}
