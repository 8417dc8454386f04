//! Reading refs without a process, following gitrepository-layout(5): a loose file wins over `packed-refs`.

use std::fs;
use std::io;
use std::path::Path;

use super::{Git, GitError, Oid};

/// Whether `git check-ref-format --branch` would take this name, and it is one we write without surprises.
#[must_use]
pub fn valid_branch_name(name: &str) -> bool {
    !name.is_empty()
        && name != "HEAD"
        && !name.starts_with('-')
        && ref_fault(&format!("refs/heads/{name}")).is_none()
}

/// The rules of git-check-ref-format(1).
pub(super) fn ref_fault(name: &str) -> Option<&'static str> {
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

pub(super) fn packed_refs(git_dir: &Path) -> Result<Vec<u8>, GitError> {
    let path = git_dir.join("packed-refs");
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(GitError::io("read", &path)(error)),
    }
}

pub(super) fn packed_lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
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

/// All refs below a folder such as `refs/heads/`, by full name, sorted. Names that are not UTF-8 are left out.
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
