//! What a commit changes: a list with modes, statuses and line counts, and the patch itself.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BytePath, Git, GitError, Oid};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiffStatus {
    /// New.
    Added,
    /// Gone.
    Deleted,
    /// Other content or mode.
    Modified,
    /// Moved; similar content at another path.
    Renamed,
    /// Copied from another path.
    Copied,
    /// Another kind: file, symbolic link, submodule.
    TypeChanged,
}

/// One file of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffEntry {
    /// What happened.
    pub status: DiffStatus,
    /// The path; for a deletion the old one.
    pub path: BytePath,
    /// Where it came from, for renames and copies.
    pub old_path: Option<BytePath>,
    /// Mode before, as git counts (octal 100644 file, 100755 executable, 120000 link, 160000 submodule); 0 is absent.
    pub old_mode: u32,
    /// Mode after.
    pub new_mode: u32,
    /// Content before.
    pub old_oid: Option<Oid>,
    /// Content after.
    pub new_oid: Option<Oid>,
    /// Lines added; `None` for binary content.
    pub added: Option<u64>,
    /// Lines deleted; `None` for binary content.
    pub deleted: Option<u64>,
}

/// The difference of two commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// From.
    pub base: Oid,
    /// To.
    pub commit: Oid,
    /// File by file, in git's order of paths.
    pub files: Vec<DiffEntry>,
}

impl Diff {
    /// Lines added in all, binary files not counted.
    #[must_use]
    pub fn added(&self) -> u64 {
        self.files.iter().filter_map(|file| file.added).sum()
    }

    /// Lines deleted in all, binary files not counted.
    #[must_use]
    pub fn deleted(&self) -> u64 {
        self.files.iter().filter_map(|file| file.deleted).sum()
    }
}

/// A patch as text for people and for `git apply`, possibly cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether there were more than allowed.
    pub truncated: bool,
}

/// The files that differ between two commits, with renames found.
///
/// # Errors
/// [`GitError::Failed`] when a commit does not exist.
pub fn diff(git: &Git, git_dir: &Path, base: Oid, commit: Oid) -> Result<Diff, GitError> {
    let bytes = git
        .at(git_dir, "diff-tree")
        .args([
            "-r",
            "-z",
            "--raw",
            "--numstat",
            "--no-abbrev",
            "-M",
            "--no-textconv",
            "--no-ext-diff",
        ])
        .args([base.to_string(), commit.to_string()])
        .output()?;
    let files = parse(&bytes).ok_or_else(|| GitError::Unreadable {
        command: "diff-tree",
        detail: String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
    })?;
    Ok(Diff {
        base,
        commit,
        files,
    })
}

/// The patch between two commits, cut at `max_bytes`.
///
/// # Errors
/// [`GitError::Failed`] when a commit does not exist.
pub fn patch(
    git: &Git,
    git_dir: &Path,
    base: Oid,
    commit: Oid,
    max_bytes: usize,
) -> Result<Patch, GitError> {
    let (bytes, truncated) = git
        .at(git_dir, "diff-tree")
        .args([
            "-r",
            "-p",
            "-M",
            "--binary",
            "--full-index",
            "--no-textconv",
            "--no-ext-diff",
            "--no-color",
        ])
        .args([base.to_string(), commit.to_string()])
        .output_limited(max_bytes)?;
    Ok(Patch { bytes, truncated })
}

/// Raw records come first, then the counts in the same order (git-diff-tree(1), "raw output format", `-z`).
fn parse(bytes: &[u8]) -> Option<Vec<DiffEntry>> {
    let mut fields = bytes.split(|b| *b == 0).peekable();
    let mut files = Vec::new();
    while let Some(header) = fields.next_if(|field| field.starts_with(b":")) {
        files.push(raw(&header[1..], &mut fields)?);
    }
    for file in &mut files {
        let counts = fields.next()?;
        let mut parts = counts.splitn(3, |b| *b == b'\t');
        file.added = number(parts.next()?);
        file.deleted = number(parts.next()?);
        if parts.next()?.is_empty() {
            // A rename or copy: both paths follow as fields of their own.
            fields.next()?;
            fields.next()?;
        }
    }
    Some(files)
}

fn raw<'a>(header: &[u8], fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<DiffEntry> {
    let words: Vec<&str> = std::str::from_utf8(header).ok()?.split(' ').collect();
    let [old_mode, new_mode, old_oid, new_oid, status] = words[..] else {
        return None;
    };
    let status = match status.as_bytes().first()? {
        b'A' => DiffStatus::Added,
        b'D' => DiffStatus::Deleted,
        b'R' => DiffStatus::Renamed,
        b'C' => DiffStatus::Copied,
        b'T' => DiffStatus::TypeChanged,
        _ => DiffStatus::Modified,
    };
    let first = BytePath::new(fields.next()?);
    let (path, old_path) = match status {
        DiffStatus::Renamed | DiffStatus::Copied => (BytePath::new(fields.next()?), Some(first)),
        _ => (first, None),
    };
    let oid = |text: &str| text.parse::<Oid>().ok().filter(|oid| !oid.is_zero());
    Some(DiffEntry {
        status,
        path,
        old_path,
        old_mode: u32::from_str_radix(old_mode, 8).ok()?,
        new_mode: u32::from_str_radix(new_mode, 8).ok()?,
        old_oid: oid(old_oid),
        new_oid: oid(new_oid),
        added: None,
        deleted: None,
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
