//! Commits as values: parse one, write one, without a process.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::{Git, GitError, ObjectKind, Oid, read_object, write_object};

/// Who, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name; characters git does not allow are dropped when it is written.
    pub name: String,
    /// Mail address; the same.
    pub email: String,
    /// Time, written in UTC, in whole seconds.
    pub at: Timestamp,
}

impl Signature {
    fn line(&self) -> String {
        let clean = |text: &str| -> String {
            let kept: String = text
                .chars()
                .filter(|c| !c.is_control() && !"<>".contains(*c))
                .collect();
            kept.trim_matches(|c: char| c.is_whitespace() || ".,:;\"'\\".contains(c))
                .to_owned()
        };
        let name = clean(&self.name);
        let name = if name.is_empty() { "unknown" } else { &name };
        format!(
            "{name} <{}> {} +0000",
            clean(&self.email).replace(' ', ""),
            self.at.as_second().max(0)
        )
    }
}

/// A commit to write.
#[derive(Debug, Clone)]
pub struct CommitDraft<'a> {
    /// Its tree.
    pub tree: Oid,
    /// Its parents, first parent first.
    pub parents: &'a [Oid],
    /// Raw `author` value when it is kept from another commit; otherwise the committer.
    pub author: Option<&'a [u8]>,
    /// Who makes the commit.
    pub committer: &'a Signature,
    /// The message, in bytes (messages of others need not be UTF-8).
    pub message: &'a [u8],
}

/// Writes a commit durably. The same draft gives the same name: doing it twice is harmless.
///
/// # Errors
/// [`GitError::Io`].
pub fn write_commit(git_dir: &Path, draft: &CommitDraft<'_>) -> Result<Oid, GitError> {
    let mut head = format!("tree {}\n", draft.tree);
    for parent in draft.parents {
        let _ = writeln!(head, "parent {parent}");
    }
    let committer = draft.committer.line();
    let mut content = head.into_bytes();
    content.extend_from_slice(b"author ");
    content.extend_from_slice(draft.author.unwrap_or(committer.as_bytes()));
    content.extend_from_slice(format!("\ncommitter {committer}\n\n").as_bytes());
    // Git does not allow NUL in a message.
    content.extend(draft.message.iter().filter(|b| **b != 0));
    if content.last() != Some(&b'\n') {
        content.push(b'\n');
    }
    write_object(git_dir, ObjectKind::Commit, &content)
}

/// The parts of a commit that we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitObject {
    /// Its tree.
    pub tree: Oid,
    /// Its parents.
    pub parents: Vec<Oid>,
    /// The raw `author` value: name, mail, seconds, zone.
    pub author: Vec<u8>,
    /// Committer time in seconds since 1970.
    pub committed_at: i64,
    /// The message.
    pub message: Vec<u8>,
}

impl CommitObject {
    /// Parses the content of a commit object; `None` when it is not one.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<Self> {
        let (mut tree, mut parents, mut author, mut committed_at) =
            (None, Vec::new(), Vec::new(), 0);
        let mut rest = content;
        let message = loop {
            let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if line.is_empty() {
                break rest.to_vec();
            }
            match line
                .split_at_checked(line.iter().position(|b| *b == b' ').map_or(0, |at| at + 1))?
            {
                (b"tree ", value) if tree.is_none() => tree = Some(Oid::from_hex(value).ok()?),
                (b"parent ", value) => parents.push(Oid::from_hex(value).ok()?),
                (b"author ", value) if author.is_empty() => author = value.to_vec(),
                (b"committer ", value) => committed_at = seconds(value),
                _ => {}
            }
            if rest.is_empty() {
                break Vec::new();
            }
        };
        Some(Self {
            tree: tree?,
            parents,
            author,
            committed_at,
            message,
        })
    }
}

fn seconds(person: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(person);
    text.rsplit(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Reads a commit.
///
/// # Errors
/// [`GitError::UnknownRevision`] when there is none of this name.
pub fn read_commit(git: &Git, git_dir: &Path, oid: Oid) -> Result<CommitObject, GitError> {
    let (kind, content) = read_object(git, git_dir, oid)?;
    match CommitObject::parse(&content) {
        Some(commit) if kind == ObjectKind::Commit => Ok(commit),
        _ => Err(GitError::UnknownRevision(oid.to_string())),
    }
}
