//! Merging in a bare repository: `git merge-tree --write-tree` (git 2.38), no work tree, no index.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    BytePath, CommitDraft, Git, GitError, Oid, Signature, merge_base, read_commit, write_commit,
};

/// Whether a head merges into a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum MergeCheck {
    /// It merges without conflict; the merged tree is in the repository.
    Mergeable {
        /// The merged tree.
        tree: Oid,
    },
    /// These files conflict.
    Conflicts {
        /// Their paths, each once.
        files: Vec<BytePath>,
    },
}

/// Merges `head` into `base` on paper. Unrelated histories count as a conflict without files.
///
/// # Errors
/// [`GitError::Failed`] when one of them does not exist.
pub fn merge_check(
    git: &Git,
    git_dir: &Path,
    base: Oid,
    head: Oid,
) -> Result<MergeCheck, GitError> {
    let answer = git
        .at(git_dir, "merge-tree")
        .args([
            "--write-tree",
            "-z",
            "--name-only",
            "--no-messages",
            &base.to_string(),
            &head.to_string(),
        ])
        .output_with(&[0, 1]);
    let (code, bytes) = match answer {
        Err(GitError::Failed { stderr, .. }) if stderr.contains("unrelated histories") => {
            return Ok(MergeCheck::Conflicts { files: Vec::new() });
        }
        other => other?,
    };
    let mut fields = bytes.split(|b| *b == 0 || *b == b'\n');
    let tree = fields.next().and_then(|name| Oid::from_hex(name).ok());
    if code == 0 {
        let tree = tree.ok_or_else(|| unreadable(&bytes))?;
        return Ok(MergeCheck::Mergeable { tree });
    }
    let names = bytes
        .split(|b| *b == 0)
        .skip(1)
        .filter(|name| !name.is_empty());
    let mut files: Vec<BytePath> = names.map(BytePath::new).collect();
    files.sort();
    files.dedup();
    Ok(MergeCheck::Conflicts { files })
}

fn unreadable(bytes: &[u8]) -> GitError {
    let detail = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    GitError::Unreadable {
        command: "merge-tree",
        detail,
    }
}

/// Replays the commits of `head` that are not in `onto` on top of `onto`, keeping authors and messages, and returns
/// the new head. Merge commits are left out, as `git rebase` does; commits that become empty are dropped.
/// Nothing to replay onto means the commits stay as they are (a fast-forward).
///
/// # Errors
/// [`GitError::Failed`] when a commit does not exist. The inner `Err` names the files that conflict.
pub fn rebase_commits(
    git: &Git,
    git_dir: &Path,
    onto: Oid,
    head: Oid,
    committer: &Signature,
) -> Result<Result<Oid, Vec<BytePath>>, GitError> {
    if merge_base(git, git_dir, onto, head)? == Some(onto) {
        return Ok(Ok(head));
    }
    let list = git
        .at(git_dir, "rev-list")
        .args([
            "--reverse",
            "--topo-order",
            "--no-merges",
            &head.to_string(),
            &format!("^{onto}"),
            "--",
        ])
        .output()?;
    let mut tip = onto;
    let mut tip_tree = read_commit(git, git_dir, onto)?.tree;
    for line in list.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let oid = Oid::from_hex(line).map_err(|_| unreadable(line))?;
        let commit = read_commit(git, git_dir, oid)?;
        let tree = match cherry_pick(git, git_dir, tip_tree, oid, &commit.parents, committer)? {
            MergeCheck::Mergeable { tree } => tree,
            MergeCheck::Conflicts { files } => return Ok(Err(files)),
        };
        if tree == tip_tree {
            continue;
        }
        tip = write_commit(
            git_dir,
            &CommitDraft {
                tree,
                parents: &[tip],
                author: Some(&commit.author),
                committer,
                message: &commit.message,
            },
        )?;
        tip_tree = tree;
    }
    Ok(Ok(tip))
}

/// Three-way merge of one commit onto a tree. `merge-tree` only takes commits and finds the base by itself (naming it
/// came with git 2.40), so the present tree is given as a sibling of the commit: a commit with the same parents.
fn cherry_pick(
    git: &Git,
    git_dir: &Path,
    tip_tree: Oid,
    commit: Oid,
    parents: &[Oid],
    committer: &Signature,
) -> Result<MergeCheck, GitError> {
    let draft = CommitDraft {
        tree: tip_tree,
        parents,
        author: None,
        committer,
        message: b"sibling",
    };
    let sibling = write_commit(git_dir, &draft)?;
    merge_check(git, git_dir, sibling, commit)
}
