//! Where a repository comes from: a folder of this machine, or another machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Expect, Git, GitError, Oid, RefUpdate, read_ref, update_refs};

/// Whether this names another machine: a URL that is no `file://`, or the short form of ssh, `host:path`.
pub(crate) fn is_elsewhere(remote: &str) -> bool {
    let is_url =
        remote.contains("://") || (remote.contains(':') && !remote.starts_with(['/', '.']));
    is_url && !remote.starts_with("file://")
}

/// The git directory when the remote is a folder of this machine.
pub(super) fn local_git_dir(remote: &str) -> Result<Option<PathBuf>, GitError> {
    let path = remote.strip_prefix("file://").unwrap_or(remote);
    let is_url =
        remote.contains("://") || (remote.contains(':') && !remote.starts_with(['/', '.']));
    if is_url && !remote.starts_with("file://") {
        return Ok(None);
    }
    git_dir_of(Path::new(path)).map(Some)
}

/// Finds the git directory of a folder: itself when bare, its `.git` folder, or what its `.git` file names.
pub(crate) fn git_dir_of(path: &Path) -> Result<PathBuf, GitError> {
    let path = fs::canonicalize(path).map_err(|_| GitError::RepositoryMissing(path.to_owned()))?;
    let inner = path.join(".git");
    let candidate = if inner.is_file() {
        let text = fs::read_to_string(&inner).unwrap_or_default();
        // A linked work tree: refs and objects are in the common directory above `worktrees/<name>`.
        let named = path.join(text.trim().strip_prefix("gitdir: ").unwrap_or("."));
        let common = fs::read_to_string(named.join("commondir")).unwrap_or_default();
        if common.is_empty() {
            named
        } else {
            named.join(common.trim())
        }
    } else if inner.is_dir() {
        inner
    } else {
        path.clone()
    };
    if !candidate.join("HEAD").is_file() || !candidate.join("objects").is_dir() {
        return Err(GitError::NotARepository(path));
    }
    supported(&candidate)?;
    Ok(candidate)
}

fn supported(git_dir: &Path) -> Result<(), GitError> {
    let config = fs::read_to_string(git_dir.join("config"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    let path = || git_dir.to_owned();
    if config.contains("objectformat") && config.contains("sha256") {
        return Err(GitError::UnsupportedFormat {
            path: path(),
            format: "the SHA-256 object format",
        });
    }
    if config.contains("refstorage") && config.contains("reftable") {
        return Err(GitError::UnsupportedFormat {
            path: path(),
            format: "the reftable format of refs",
        });
    }
    Ok(())
}

/// Fetches one thing and returns the commit it is.
pub(super) fn fetch(
    git: &Git,
    git_dir: &Path,
    url: &str,
    wanted: &str,
    depth: Option<u32>,
) -> Result<Oid, GitError> {
    let mut command = git.at(git_dir, "fetch").network().args([
        "--quiet",
        "--no-tags",
        "--no-recurse-submodules",
    ]);
    if let Some(depth) = depth {
        command = command.arg(format!("--depth={depth}"));
    }
    let done = command
        .args([
            "--no-write-fetch-head",
            "--end-of-options",
            url,
            &format!("{wanted}:refs/fetched"),
        ])
        .output();
    done.map_err(|error| match error {
        GitError::Failed { stderr, .. } if stderr.contains("couldn't find remote ref") => {
            GitError::UnknownRevision(wanted.to_owned())
        }
        GitError::Failed { stderr, .. } => GitError::Remote(stderr),
        other => other,
    })?;
    let fetched = read_ref(git_dir, "refs/fetched")?
        .ok_or_else(|| GitError::UnknownRevision(wanted.to_owned()))?;
    update_refs(
        git,
        git_dir,
        &[RefUpdate::delete("refs/fetched", Expect::Any)],
    )?;
    Ok(fetched)
}

/// The branch that the `HEAD` of a remote names.
pub(crate) fn remote_default(git: &Git, url: &str) -> Result<String, GitError> {
    let answer = git
        .bare("ls-remote")
        .network()
        .args(["--symref", "--end-of-options", url, "HEAD"])
        .output();
    let answer = answer.map_err(|error| match error {
        GitError::Failed { stderr, .. } => GitError::Remote(stderr),
        other => other,
    })?;
    let text = String::from_utf8_lossy(&answer);
    text.lines()
        .find_map(|line| {
            line.strip_prefix("ref: refs/heads/")?
                .strip_suffix("\tHEAD")
        })
        .map(str::to_owned)
        .ok_or_else(|| GitError::EmptyRepository("its default branch".to_owned()))
}
