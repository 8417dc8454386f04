//! New files that wait to be flushed together and then named.
//!
//! A flush costs a wait for the disk, and flushes that run at the same time share one. So an act writes all its files
//! first, flushes them side by side, gives them their names, and flushes the names side by side.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::GitError;

struct Move {
    file: File,
    from: PathBuf,
    to: PathBuf,
}

/// Files under temporary names; dropped, they go away.
#[derive(Default)]
pub(crate) struct Staged {
    moves: Vec<Move>,
    /// Folders that got new folders.
    folders: Vec<PathBuf>,
    /// A folder of our own to remove at the end.
    quarantine: Option<PathBuf>,
}

impl Staged {
    pub(super) fn in_quarantine(folder: PathBuf) -> Self {
        let mut staged = Self::default();
        staged.quarantine = Some(folder);
        staged
    }

    pub(crate) fn quarantine(&self) -> Option<&Path> {
        self.quarantine.as_deref()
    }

    /// A file to be renamed; names are given in the order of adding.
    pub(super) fn add(&mut self, file: File, from: PathBuf, to: PathBuf) {
        self.moves.push(Move { file, from, to });
    }

    pub(super) fn add_folder(&mut self, folder: PathBuf) {
        self.folders.push(folder);
    }

    /// Takes over what another holds. Only one of the two may have a quarantine.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.moves.append(&mut other.moves);
        self.folders.append(&mut other.folders);
        self.quarantine = self.quarantine.take().or_else(|| other.quarantine.take());
    }

    pub(super) fn files(&self) -> Vec<&File> {
        self.moves.iter().map(|one| &one.file).collect()
    }

    /// Names the files, which must be flushed, and flushes the names.
    pub(super) fn publish(mut self) -> Result<(), GitError> {
        let mut folders = std::mem::take(&mut self.folders);
        for Move { from, to, .. } in std::mem::take(&mut self.moves) {
            fs::rename(&from, &to).map_err(GitError::io("write", &to))?;
            folders.extend(to.parent().map(Path::to_owned));
        }
        flush_folders(folders)
    }

    /// Flushes and names, for those with nothing else to flush.
    pub(crate) fn finish(self) -> Result<(), GitError> {
        flush_files(&self.files()).map_err(GitError::io("flush", Path::new("new objects")))?;
        self.publish()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for one in &self.moves {
            let _ = fs::remove_file(&one.from);
        }
        if let Some(folder) = &self.quarantine {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Puts the content of files on disk, all at the same time.
pub(super) fn flush_files(files: &[&File]) -> io::Result<()> {
    let Some((first, rest)) = files.split_first() else {
        return Ok(());
    };
    std::thread::scope(|scope| {
        let mut waiting = Vec::with_capacity(rest.len());
        let mut done = Ok(());
        for file in rest {
            match std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(scope, || file.sync_all())
            {
                Ok(thread) => waiting.push(thread),
                Err(_) => done = done.and_then(|()| file.sync_all()),
            }
        }
        done = done.and(first.sync_all());
        for thread in waiting {
            done = done.and(
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a flush was stopped"))),
            );
        }
        done
    })
}

/// Puts the names in folders on disk, all at the same time.
pub(super) fn flush_folders(mut folders: Vec<PathBuf>) -> Result<(), GitError> {
    folders.sort();
    folders.dedup();
    let mut files = Vec::with_capacity(folders.len());
    for folder in &folders {
        files.push(File::open(folder).map_err(GitError::io("open", folder))?);
    }
    let first = folders.first().cloned().unwrap_or_default();
    flush_files(&files.iter().collect::<Vec<_>>()).map_err(GitError::io("flush", &first))
}
