//! Which files inside were written by trusted producers only.
//!
//! A file is *made* when a trusted producer opens it to write while it is empty or to be emptied, and
//! stops being so when anything else opens it to write. Every way to write goes through an open that
//! is asked about, creation included; so a label cannot outlive foreign bytes.

use std::collections::HashSet;

use super::held::Key;
use super::process::Access;
use crate::exec_policy::Digest;

/// Most labels kept; when there are more, all are dropped, which refuses and never permits.
const MAX_LABELS: usize = 200_000;

/// Labels of files, and content that was seen in labelled files.
#[derive(Debug, Default)]
pub(super) struct Made {
    labels: HashSet<Key>,
    digests: HashSet<Digest>,
}

impl Made {
    /// Whether a file is labelled.
    pub(super) fn is_made(&self, key: &Key) -> bool {
        self.labels.contains(key)
    }

    /// Takes in that somebody opens a file of `size` bytes.
    pub(super) fn opened(&mut self, key: Key, producer: bool, access: Access, size: u64) {
        match access {
            Access::Read => {}
            Access::Empties if producer => self.label(key),
            Access::Writes | Access::Both if producer => {
                // More by a producer keeps made what is made already; in other things it does not
                // make the foreign part trusted.
                if size == 0 {
                    self.label(key);
                }
            }
            _ => {
                self.labels.remove(&key);
            }
        }
    }

    fn label(&mut self, key: Key) {
        if self.labels.len() >= MAX_LABELS {
            self.labels.clear();
        }
        self.labels.insert(key);
    }

    /// Remembers content seen in a labelled file: copies of it are as good.
    pub(super) fn learn(&mut self, digest: Digest) {
        if self.digests.len() < MAX_LABELS {
            self.digests.insert(digest);
        }
    }

    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (1, (0, 2), 3);

    #[test]
    fn only_what_producers_alone_wrote_is_made() {
        let mut made = Made::default();
        made.opened(KEY, true, Access::Writes, 0);
        assert!(made.is_made(&KEY));
        made.opened(KEY, false, Access::Read, 10);
        made.opened(KEY, true, Access::Both, 10);
        assert!(made.is_made(&KEY));
        made.opened(KEY, false, Access::Writes, 10);
        assert!(!made.is_made(&KEY));
        // A producer that only adds to foreign bytes does not make them its own.
        made.opened(KEY, true, Access::Both, 10);
        assert!(!made.is_made(&KEY));
        made.opened(KEY, true, Access::Empties, 10);
        assert!(made.is_made(&KEY));
        // What cannot be said counts as writing, whoever does it.
        made.opened(KEY, true, Access::Unclear, 10);
        assert!(!made.is_made(&KEY));
    }
}
