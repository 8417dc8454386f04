//! Base trees: a checkout of one commit with its own `.git`, made to be the read-only lower layer of an overlay.
//!
//! Two processes for a repository on this machine: `git pack-objects` writes pack and index straight into the new
//! object store (what is not reachable from the commit stays away), `git read-tree -u` writes files and index.
//! Everything else of a `.git` is a handful of small files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::object::unique;
use super::remote::{fetch, local_git_dir, remote_default};
use super::{Git, GitError, Oid, default_branch, head_of, read_commit, read_ref, resolve, stat};

/// Where a base tree starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The default branch of the remote.
    Default,
    /// The head of this branch.
    Branch(String),
    /// This commit, checked out as this branch.
    Commit {
        /// The commit.
        commit: Oid,
        /// The name the branch gets in the checkout.
        branch: String,
    },
}

/// What to clone.
#[derive(Debug, Clone)]
pub struct BaseRequest {
    /// A folder (bare, or with `.git`), or a URL with file, http(s), ssh or git.
    pub remote: String,
    /// Where it starts.
    pub start: Start,
    /// How many commits of history; `None` is all. 1 is the quickest.
    pub depth: Option<u32>,
}

/// What was cloned. Also kept in the file `.git/nightcrew-base.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseTree {
    /// The commit that is checked out.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
    /// The branch that `HEAD` names in the checkout.
    pub branch: String,
    /// Number of entries in the index: files, links and submodules.
    pub files: u64,
}

const NOTE: &str = ".git/nightcrew-base.json";

/// Makes a base tree at `dest`, whole or not at all (made beside it, then renamed). If `dest` is already a base tree
/// of the same commit, it is returned as it is: two makers of one cache entry are fine.
///
/// The `.git` inside names no remote and no path of the host, has no hooks, never collects garbage, and its index
/// matches the files with times in the past, so that `git status` in an overlay over it reads no file content, yet
/// sees every later edit. Links are links, submodules are empty folders, LFS pointers stay pointers.
/// Everything is readable by other users.
///
/// # Errors
/// [`GitError::EmptyRepository`], [`GitError::RepositoryMissing`], [`GitError::NotARepository`],
/// [`GitError::UnknownRevision`], [`GitError::DestinationExists`], [`GitError::Remote`].
pub fn clone_base(git: &Git, request: &BaseRequest, dest: &Path) -> Result<BaseTree, GitError> {
    let parent = dest
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).map_err(GitError::io("find", parent))?;
    let work = parent.join(unique(".base"));
    fs::create_dir(&work).map_err(GitError::io("create", &work))?;
    let made = build(git, request, &work).and_then(|base| publish(&work, dest, base));
    if made.is_err() || work.exists() {
        let _ = fs::remove_dir_all(&work);
    }
    made
}

/// The base tree that stands at `dest`, if there is one.
#[must_use]
pub fn load_base(dest: &Path) -> Option<BaseTree> {
    serde_json::from_slice(&fs::read(dest.join(NOTE)).ok()?).ok()
}

fn publish(work: &Path, dest: &Path, base: BaseTree) -> Result<BaseTree, GitError> {
    let note = work.join(NOTE);
    let text = serde_json::to_vec(&base).map_err(|e| GitError::io("write", &note)(e.into()))?;
    fs::write(&note, text).map_err(GitError::io("write", &note))?;
    make_readable(work)?;
    match fs::rename(work, dest) {
        Ok(()) => Ok(base),
        Err(error) if dest.exists() => match load_base(dest) {
            Some(other) if other.commit == base.commit => Ok(other),
            _ if matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::NotADirectory
            ) =>
            {
                Err(GitError::DestinationExists(dest.to_owned()))
            }
            _ => Err(GitError::io("rename to", dest)(error)),
        },
        Err(error) => Err(GitError::io("rename to", dest)(error)),
    }
}

fn build(git: &Git, request: &BaseRequest, work: &Path) -> Result<BaseTree, GitError> {
    let git_dir = work.join(".git");
    let (commit, branch) = match local_git_dir(&request.remote)? {
        Some(source) => {
            let (commit, branch) = start_in(git, &source, &request.start)?;
            skeleton(&git_dir, &branch)?;
            match request.depth {
                None | Some(1) => pack_from(git, &source, &git_dir, commit, request.depth)?,
                Some(depth) => {
                    // Through the protocol, which knows how to cut a history at a depth.
                    let url = format!("file://{}", source.display());
                    fetch(git, &git_dir, &url, &commit.to_string(), Some(depth))?;
                }
            }
            (commit, branch)
        }
        None => fetch_start(git, &git_dir, request)?,
    };
    let head = git_dir.join("refs/heads").join(&branch);
    let folder = head.parent().unwrap_or(&git_dir);
    fs::create_dir_all(folder).map_err(GitError::io("create", folder))?;
    fs::write(&head, format!("{commit}\n")).map_err(GitError::io("write", &head))?;
    let found = read_commit(git, &git_dir, commit)?;
    git.at(&git_dir, "read-tree")
        .env("GIT_WORK_TREE", work)
        .env("GIT_INDEX_FILE", git_dir.join("index"))
        .args(["-m", "-u", &commit.to_string()])
        .output()?;
    let files = stat::age_files(work, &git_dir.join("index"), found.committed_at)?;
    Ok(BaseTree {
        commit,
        tree: found.tree,
        branch,
        files,
    })
}

fn start_in(git: &Git, source: &Path, start: &Start) -> Result<(Oid, String), GitError> {
    match start {
        Start::Default => match default_branch(source)? {
            Some(branch) => match head_of(source, &branch)? {
                Some(commit) => Ok((commit, branch)),
                None => Err(GitError::EmptyRepository(branch)),
            },
            // A detached HEAD, as continuous integration leaves it.
            None => Ok((resolve(git, source, "HEAD")?, "main".to_owned())),
        },
        Start::Branch(branch) => match read_ref(source, &format!("refs/heads/{branch}"))? {
            Some(commit) => Ok((commit, branch.clone())),
            None => Err(GitError::UnknownRevision(branch.clone())),
        },
        Start::Commit { commit, branch } => {
            read_commit(git, source, *commit)?;
            Ok((*commit, branch.clone()))
        }
    }
}

/// The files of an empty repository, named by gitrepository-layout(5).
fn skeleton(git_dir: &Path, branch: &str) -> Result<(), GitError> {
    if !super::valid_branch_name(branch) {
        return Err(GitError::InvalidRefName {
            name: branch.to_owned(),
            reason: "it is no branch name",
        });
    }
    for folder in [
        "objects/pack",
        "objects/info",
        "refs/heads",
        "refs/tags",
        "info",
    ] {
        let path = git_dir.join(folder);
        fs::create_dir_all(&path).map_err(GitError::io("create", &path))?;
    }
    // `checkStat = minimal` and `trustctime = false`: an overlay shows other inode numbers and change times.
    let config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n\
                  \tcheckStat = minimal\n\ttrustctime = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
                  [index]\n\tversion = 2\n";
    for (name, text) in [
        ("HEAD", format!("ref: refs/heads/{branch}\n")),
        ("config", config.to_owned()),
    ] {
        let path = git_dir.join(name);
        fs::write(&path, text).map_err(GitError::io("write", &path))?;
    }
    Ok(())
}

fn pack_from(
    git: &Git,
    source: &Path,
    git_dir: &Path,
    commit: Oid,
    depth: Option<u32>,
) -> Result<(), GitError> {
    let mut command =
        git.at(source, "pack-objects")
            .args(["--revs", "-q", "--delta-base-offset", "--threads=1"]);
    let mut revisions = format!("{commit}\n");
    if depth == Some(1) {
        command = command.arg("--shallow");
        if !read_commit(git, source, commit)?.parents.is_empty() {
            revisions = format!("--shallow {commit}\n{commit}\n");
            let path = git_dir.join("shallow");
            fs::write(&path, format!("{commit}\n")).map_err(GitError::io("write", &path))?;
        }
    } else if let Ok(shallow) = fs::read(source.join("shallow")) {
        // The source itself has a cut history: the copy is cut at the same places.
        let path = git_dir.join("shallow");
        fs::write(&path, shallow).map_err(GitError::io("write", &path))?;
    }
    // A cache that can be made again needs no flush.
    command
        .env("GIT_CONFIG_PARAMETERS", "'core.fsync=none'")
        .arg(git_dir.join("objects/pack/pack"))
        .stdin(revisions)
        .output()?;
    Ok(())
}

fn fetch_start(
    git: &Git,
    git_dir: &Path,
    request: &BaseRequest,
) -> Result<(Oid, String), GitError> {
    let (branch, wanted) = match &request.start {
        Start::Default => {
            let branch = remote_default(git, &request.remote)?;
            (branch.clone(), format!("refs/heads/{branch}"))
        }
        Start::Branch(branch) => (branch.clone(), format!("refs/heads/{branch}")),
        Start::Commit { commit, branch } => (branch.clone(), commit.to_string()),
    };
    skeleton(git_dir, &branch)?;
    let commit = fetch(git, git_dir, &request.remote, &wanted, request.depth)?;
    Ok((commit, branch))
}

/// Gives read permission to everybody where a strict umask took it away; one look when it did not.
fn make_readable(work: &Path) -> Result<(), GitError> {
    let mode = |path: &Path| fs::symlink_metadata(path).map(|m| m.permissions().mode());
    let open = |path: PathBuf, bits: u32| {
        mode(&path)
            .map(|m| m & bits == bits)
            .map_err(GitError::io("read", &path))
    };
    if open(work.to_owned(), 0o055)? && open(work.join(NOTE), 0o044)? {
        return Ok(());
    }
    let mut pending = vec![work.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).map_err(GitError::io("read", &path))?;
        if meta.is_symlink() {
            continue;
        }
        let old = meta.permissions().mode();
        let bits = if meta.is_dir() || old & 0o100 != 0 {
            0o055
        } else {
            0o044
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(old | bits))
            .map_err(GitError::io("open up", &path))?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path).map_err(GitError::io("list", &path))? {
                pending.push(entry.map_err(GitError::io("list", &path))?.path());
            }
        }
    }
    Ok(())
}
