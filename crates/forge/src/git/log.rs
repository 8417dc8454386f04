//! History: log, ancestry.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Git, GitError, Oid};

/// One commit of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its name.
    pub commit: Oid,
    /// Its parents.
    pub parents: Vec<Oid>,
    /// Author name.
    pub author: String,
    /// Author mail address.
    pub email: String,
    /// Author time, seconds since 1970.
    pub at: i64,
    /// First line of the message.
    pub subject: String,
}

/// The commits reachable from `head` and not from `base`, newest first, at most `limit`.
/// Bytes that are not UTF-8 are replaced: this is for reading.
///
/// # Errors
/// [`GitError::Failed`] when a commit does not exist.
pub fn log(
    git: &Git,
    git_dir: &Path,
    base: Option<Oid>,
    head: Oid,
    limit: usize,
) -> Result<Vec<LogEntry>, GitError> {
    let mut command = git
        .at(git_dir, "log")
        .args([
            "-z",
            "--no-show-signature",
            "--format=tformat:%H%x01%P%x01%an%x01%ae%x01%at%x01%s",
        ])
        .arg(format!("--max-count={limit}"))
        .arg(head.to_string());
    if let Some(base) = base {
        command = command.arg(format!("^{base}"));
    }
    let bytes = command.arg("--").output()?;
    bytes
        .split(|b| *b == 0)
        .filter(|record| !record.is_empty())
        .map(entry)
        .collect()
}

fn entry(record: &[u8]) -> Result<LogEntry, GitError> {
    let text = String::from_utf8_lossy(record);
    let unreadable = || GitError::Unreadable {
        command: "log",
        detail: text.chars().take(200).collect(),
    };
    let fields: Vec<&str> = text.splitn(6, '\u{1}').collect();
    let [commit, parents, author, email, at, subject] = fields[..] else {
        return Err(unreadable());
    };
    Ok(LogEntry {
        commit: commit.trim().parse().map_err(|_| unreadable())?,
        parents: parents.split(' ').filter_map(|p| p.parse().ok()).collect(),
        author: author.to_owned(),
        email: email.to_owned(),
        at: at.parse().unwrap_or(0),
        subject: subject.to_owned(),
    })
}

/// Whether `old` is reachable from `new`.
///
/// # Errors
/// [`GitError::Failed`] when one does not exist.
pub fn is_ancestor(git: &Git, git_dir: &Path, old: Oid, new: Oid) -> Result<bool, GitError> {
    if old == new {
        return Ok(true);
    }
    let (code, _) = git
        .at(git_dir, "merge-base")
        .args(["--is-ancestor", &old.to_string(), &new.to_string()])
        .output_with(&[0, 1])?;
    Ok(code == 0)
}

/// The best common ancestor; `None` for unrelated histories.
///
/// # Errors
/// [`GitError::Failed`] when one does not exist.
pub fn merge_base(git: &Git, git_dir: &Path, one: Oid, two: Oid) -> Result<Option<Oid>, GitError> {
    if one == two {
        return Ok(Some(one));
    }
    let (_, answer) = git
        .at(git_dir, "merge-base")
        .args([one.to_string(), two.to_string()])
        .output_with(&[0, 1])?;
    Ok(answer
        .split(|b| *b == b'\n')
        .next()
        .and_then(|line| Oid::from_hex(line).ok()))
}
