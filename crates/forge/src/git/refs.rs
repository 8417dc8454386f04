//! Refs without a process: read them, and move several of them with compare-and-swap.
//!
//! Reading follows gitrepository-layout(5): a loose file wins over `packed-refs`. Writing follows git's own protocol
//! (`<ref>.lock` made exclusively, value checked under the lock, written, flushed, renamed), so git processes and this
//! code can work on one repository at the same time. Deleting goes through `git update-ref`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Git, GitError, Oid, fsync_dir};

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

/// Whether `git check-ref-format --branch` would take this name, and it is one we write without surprises.
#[must_use]
pub fn valid_branch_name(name: &str) -> bool {
    !name.is_empty()
        && name != "HEAD"
        && !name.starts_with('-')
        && ref_fault(&format!("refs/heads/{name}")).is_none()
}

/// The rules of git-check-ref-format(1).
fn ref_fault(name: &str) -> Option<&'static str> {
    if name.len() > 1000 || !name.starts_with("refs/") {
        return Some("it must start with refs/ and have at most 1000 bytes");
    }
    if name.contains("..") || name.contains("@{") || name.ends_with('.') {
        return Some("`..`, `@{` and a dot at the end are not allowed");
    }
    if name
        .chars()
        .any(|c| c.is_ascii_control() || " ~^:?*[\\".contains(c))
    {
        return Some("control characters, spaces and ~ ^ : ? * [ \\ are not allowed");
    }
    name.split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock") || part.len() > 240)
        .then_some("a part must not be empty, start with a dot, end with .lock or be longer than 240 bytes")
}

/// The value of a ref, following one symbolic step; `None` when it does not exist.
///
/// # Errors
/// [`GitError::Io`], or [`GitError::Unreadable`] for a broken file.
pub fn read_ref(git_dir: &Path, name: &str) -> Result<Option<Oid>, GitError> {
    if ref_fault(name).is_some() {
        return Ok(None);
    }
    match read_loose(git_dir, name)? {
        Some(oid) => Ok(Some(oid)),
        None => packed(git_dir, name),
    }
}

fn read_loose(git_dir: &Path, name: &str) -> Result<Option<Oid>, GitError> {
    let path = git_dir.join(name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(GitError::io("read", &path)(error)),
    };
    if let Some(target) = text.strip_prefix(b"ref: ") {
        let target = String::from_utf8_lossy(target).trim().to_owned();
        return if target == name {
            Ok(None)
        } else {
            read_ref(git_dir, &target)
        };
    }
    Oid::from_hex(text.trim_ascii())
        .map(Some)
        .map_err(|error| GitError::Unreadable {
            command: "ref",
            detail: format!("{name}: {error}"),
        })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
    )
}

fn packed_refs(git_dir: &Path) -> Result<Vec<u8>, GitError> {
    let path = git_dir.join("packed-refs");
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(GitError::io("read", &path)(error)),
    }
}

fn packed_lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| line.len() > 41 && line[40] == b' ')
        .map(|line| (&line[41..], &line[..40]))
}

fn packed(git_dir: &Path, name: &str) -> Result<Option<Oid>, GitError> {
    let bytes = packed_refs(git_dir)?;
    Ok(packed_lines(&bytes)
        .find(|(found, _)| *found == name.as_bytes())
        .and_then(|(_, oid)| Oid::from_hex(oid).ok()))
}

/// All refs below a prefix such as `refs/heads/`, by full name, sorted. Names that are not UTF-8 are left out.
///
/// # Errors
/// [`GitError::Io`].
pub fn list_refs(git_dir: &Path, prefix: &str) -> Result<Vec<(String, Oid)>, GitError> {
    let mut all = std::collections::BTreeMap::new();
    for (name, oid) in packed_lines(&packed_refs(git_dir)?) {
        if let (Ok(name), Ok(oid)) = (std::str::from_utf8(name), Oid::from_hex(oid))
            && name.starts_with(prefix)
        {
            all.insert(name.to_owned(), oid);
        }
    }
    let mut folders = vec![prefix.trim_end_matches('/').to_owned()];
    while let Some(folder) = folders.pop() {
        let path = git_dir.join(&folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(GitError::io("list", &path)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(GitError::io("list", &path))?;
            let Ok(last) = entry.file_name().into_string() else {
                continue;
            };
            let name = format!("{folder}/{last}");
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(name);
            } else if ref_fault(&name).is_none()
                && let Some(oid) = read_loose(git_dir, &name)?
            {
                all.insert(name, oid);
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// The branch that `HEAD` names, without `refs/heads/`, whether or not it has a commit.
///
/// # Errors
/// [`GitError::NotARepository`] without a readable `HEAD`.
pub fn default_branch(git_dir: &Path) -> Result<Option<String>, GitError> {
    let head =
        fs::read(git_dir.join("HEAD")).map_err(|_| GitError::NotARepository(git_dir.to_owned()))?;
    let text = String::from_utf8_lossy(&head);
    Ok(text
        .trim()
        .strip_prefix("ref: refs/heads/")
        .map(str::to_owned))
}

/// The head of a branch; `None` when the branch does not exist.
///
/// # Errors
/// As [`read_ref`].
pub fn head_of(git_dir: &Path, branch: &str) -> Result<Option<Oid>, GitError> {
    read_ref(git_dir, &format!("refs/heads/{branch}"))
}

/// Any revision as git understands it, as the commit it stands for: a branch or a full name of a commit without a
/// process, the rest by `git rev-parse`.
///
/// # Errors
/// [`GitError::UnknownRevision`].
pub fn resolve(git: &Git, git_dir: &Path, revision: &str) -> Result<Oid, GitError> {
    if let Some(oid) = head_of(git_dir, revision)? {
        return Ok(oid);
    }
    let answer = git
        .at(git_dir, "rev-parse")
        .args([
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{revision}^{{commit}}"),
        ])
        .output_with(&[0, 1, 128])?;
    match Oid::from_hex(answer.1.trim_ascii()) {
        Ok(oid) if answer.0 == 0 => Ok(oid),
        _ => Err(GitError::UnknownRevision(revision.to_owned())),
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
    let mut folders: Vec<PathBuf> = Vec::new();
    for lock in locks {
        folders.extend(lock.commit()?);
    }
    folders.sort();
    folders.dedup();
    for folder in folders {
        fsync_dir(&folder)?;
    }
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
                script.extend_from_slice(format!("delete {} {oid}\n", update.name).as_bytes())
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

/// A ref locked by us, its new value written and flushed beside it.
struct Lock {
    path: PathBuf,
    lock: PathBuf,
    made: Vec<PathBuf>,
    done: bool,
}

impl Lock {
    fn take(git_dir: &Path, update: &RefUpdate) -> Result<Self, GitError> {
        let path = git_dir.join(&update.name);
        let lock = git_dir.join(format!("{}.lock", update.name));
        let (mut file, made) = open_lock(git_dir, &update.name, &lock)?;
        let held = Self {
            path,
            lock,
            made,
            done: false,
        };
        check(git_dir, update)?;
        no_collision(git_dir, &update.name, &held.path)?;
        let Some(new) = update.new else {
            return Ok(held);
        };
        file.write_all(format!("{new}\n").as_bytes())
            .and_then(|()| file.sync_data())
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
                make_folders(git_dir, lock, &mut made)?
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
