//! Moving refs without a process: several at once, with compare-and-swap.
//!
//! This follows git's own protocol (`<ref>.lock` made exclusively, value checked under the lock, written, flushed,
//! renamed), so git processes and this code can work on one repository at the same time. Deleting goes through
//! `git update-ref`, which also knows how to take a ref out of `packed-refs`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::refs::{packed_lines, packed_refs, read_ref, ref_fault};
use super::staged::{Staged, flush_files, flush_folders};
use super::{Git, GitError, Oid};

/// How long to wait for a ref that another process has locked.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What a ref must be before it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It does not exist.
    Absent,
    /// It has this value.
    Is(Oid),
    /// Whatever it is.
    Any,
}

impl Expect {
    /// The expectation that nothing changed since this was read.
    #[must_use]
    pub const fn unchanged(value: Option<Oid>) -> Self {
        match value {
            Some(oid) => Self::Is(oid),
            None => Self::Absent,
        }
    }

    fn met(self, found: Option<Oid>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Is(oid) => found == Some(oid),
            Self::Any => true,
        }
    }

    const fn wanted(self) -> Option<Oid> {
        match self {
            Self::Is(oid) => Some(oid),
            Self::Absent | Self::Any => None,
        }
    }
}

/// One ref to change.
#[derive(Debug, Clone)]
pub struct RefUpdate {
    /// Full name, such as `refs/heads/main`.
    pub name: String,
    /// What it must be now.
    pub expect: Expect,
    /// What it shall be; `None` deletes it.
    pub new: Option<Oid>,
}

impl RefUpdate {
    /// Sets a ref.
    #[must_use]
    pub fn set(name: impl Into<String>, expect: Expect, new: Oid) -> Self {
        Self {
            name: name.into(),
            expect,
            new: Some(new),
        }
    }

    /// Deletes a ref.
    #[must_use]
    pub fn delete(name: impl Into<String>, expect: Expect) -> Self {
        Self {
            name: name.into(),
            expect,
            new: None,
        }
    }
}

/// Moves refs, in this order: first every lock is taken and every expectation checked, then each ref is renamed into
/// place, then the folders are flushed. Nothing is changed when an expectation fails. A crash can leave a prefix of
/// the updates done, never a ref half written: callers order them so that a prefix can be completed later.
/// Deletions come last.
///
/// # Errors
/// [`GitError::RefMoved`], [`GitError::InvalidRefName`], [`GitError::Io`].
pub fn update_refs(git: &Git, git_dir: &Path, updates: &[RefUpdate]) -> Result<(), GitError> {
    update_refs_with(git, git_dir, Staged::default(), updates)
}

/// The same with the objects that the refs name: they are flushed together, and the objects are named first.
pub(crate) fn update_refs_with(
    git: &Git,
    git_dir: &Path,
    objects: Staged,
    updates: &[RefUpdate],
) -> Result<(), GitError> {
    let (set, delete): (Vec<&RefUpdate>, Vec<&RefUpdate>) =
        updates.iter().partition(|u| u.new.is_some());
    for update in updates {
        if let Some(reason) = ref_fault(&update.name) {
            return Err(GitError::InvalidRefName {
                name: update.name.clone(),
                reason,
            });
        }
    }
    // Deletions are checked before anything is changed; git checks them again under its own locks.
    for update in &delete {
        check(git_dir, update)?;
    }
    let mut locks = Vec::with_capacity(set.len());
    for update in &set {
        locks.push(Lock::take(git_dir, update)?);
    }
    let mut files = objects.files();
    files.extend(locks.iter().map(|lock| &lock.file));
    flush_files(&files).map_err(GitError::io("flush", git_dir))?;
    objects.publish()?;
    let mut folders: Vec<PathBuf> = Vec::new();
    for lock in locks {
        folders.extend(lock.commit()?);
    }
    flush_folders(folders)?;
    if delete.is_empty() {
        Ok(())
    } else {
        delete_refs(git, git_dir, &delete)
    }
}

fn check(git_dir: &Path, update: &RefUpdate) -> Result<(), GitError> {
    let found = read_ref(git_dir, &update.name)?;
    if update.expect.met(found) {
        return Ok(());
    }
    Err(GitError::RefMoved {
        name: update.name.clone(),
        expected: update.expect.wanted(),
        found,
    })
}

fn delete_refs(git: &Git, git_dir: &Path, updates: &[&RefUpdate]) -> Result<(), GitError> {
    let mut script = Vec::new();
    for update in updates {
        // A name was checked to hold neither spaces nor control characters; the form of -z is not needed.
        match update.expect {
            Expect::Is(oid) => {
                script.extend_from_slice(format!("delete {} {oid}\n", update.name).as_bytes());
            }
            Expect::Any => script.extend_from_slice(format!("delete {}\n", update.name).as_bytes()),
            Expect::Absent => {}
        }
    }
    if script.is_empty() {
        return Ok(());
    }
    match git
        .at(git_dir, "update-ref")
        .args(["--no-deref", "--stdin"])
        .stdin(script)
        .output()
    {
        Ok(_) => Ok(()),
        Err(error) => {
            updates
                .iter()
                .try_for_each(|update| check(git_dir, update))?;
            Err(error)
        }
    }
}

/// A ref locked by us, its new value written beside it.
struct Lock {
    path: PathBuf,
    lock: PathBuf,
    file: File,
    made: Vec<PathBuf>,
    done: bool,
}

impl Lock {
    fn take(git_dir: &Path, update: &RefUpdate) -> Result<Self, GitError> {
        let path = git_dir.join(&update.name);
        let lock = git_dir.join(format!("{}.lock", update.name));
        let (file, made) = open_lock(git_dir, &update.name, &lock)?;
        let mut held = Self {
            path,
            lock,
            file,
            made,
            done: false,
        };
        check(git_dir, update)?;
        no_collision(git_dir, &update.name, &held.path)?;
        let Some(new) = update.new else {
            return Ok(held);
        };
        held.file
            .write_all(format!("{new}\n").as_bytes())
            .map_err(GitError::io("write", &held.lock))?;
        Ok(held)
    }

    /// Returns the folders whose names changed.
    fn commit(mut self) -> Result<Vec<PathBuf>, GitError> {
        fs::rename(&self.lock, &self.path).map_err(GitError::io("write", &self.path))?;
        self.done = true;
        let mut folders = std::mem::take(&mut self.made);
        folders.extend(self.path.parent().map(Path::to_owned));
        Ok(folders)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// Makes the lock file exclusively, with the folders above it, waiting a little for another holder.
fn open_lock(git_dir: &Path, name: &str, lock: &Path) -> Result<(File, Vec<PathBuf>), GitError> {
    let started = Instant::now();
    let mut made = Vec::new();
    loop {
        match File::options().write(true).create_new(true).open(lock) {
            Ok(file) => return Ok((file, made)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folders(git_dir, lock, &mut made)?;
            }
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && started.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(GitError::InvalidRefName {
                    name: name.to_owned(),
                    reason: "a part of it is a ref already",
                });
            }
            Err(error) => return Err(GitError::io("lock", lock)(error)),
        }
    }
}

fn make_folders(git_dir: &Path, lock: &Path, made: &mut Vec<PathBuf>) -> Result<(), GitError> {
    let mut missing = Vec::new();
    let mut folder = lock.parent();
    while let Some(path) = folder.filter(|p| *p != git_dir && !p.exists()) {
        missing.push(path.to_owned());
        folder = path.parent();
    }
    if !git_dir.is_dir() {
        return Err(GitError::RepositoryMissing(git_dir.to_owned()));
    }
    for path in missing.into_iter().rev() {
        match fs::create_dir(&path) {
            Ok(()) => made.extend(path.parent().map(Path::to_owned)),
            // Git removes empty folders when it deletes refs: the loop of the caller tries again.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) => {}
            Err(error) => return Err(GitError::io("create", &path)(error)),
        }
    }
    Ok(())
}

/// A ref cannot be a file where another has a folder: `a` and `a/b` do not go together, packed or loose.
fn no_collision(git_dir: &Path, name: &str, path: &Path) -> Result<(), GitError> {
    let taken = || GitError::InvalidRefName {
        name: name.to_owned(),
        reason: "other refs lie below it or above it",
    };
    if path.is_dir() {
        remove_empty_folders(path).map_err(|_| taken())?;
    }
    for (other, _) in packed_lines(&packed_refs(git_dir)?) {
        let (short, long) = if other.len() < name.len() {
            (other, name.as_bytes())
        } else {
            (name.as_bytes(), other)
        };
        if long.len() > short.len() && long.starts_with(short) && long[short.len()] == b'/' {
            let other = String::from_utf8_lossy(other);
            if read_ref(git_dir, &other)?.is_some() {
                return Err(taken());
            }
        }
    }
    Ok(())
}

fn remove_empty_folders(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        remove_empty_folders(&entry?.path())?;
    }
    fs::remove_dir(path)
}
