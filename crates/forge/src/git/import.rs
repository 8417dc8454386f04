//! Taking the objects of a commit into a repository, from a pack or a bundle that came from outside.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use super::{
    CommitObject, Git, GitError, ObjectKind, Oid, fsync_dir, pack, read_commit, read_object,
};

/// Bounds on what is taken in.
#[derive(Debug, Clone, Copy)]
pub struct ImportLimits {
    /// Largest file, in bytes.
    pub bytes: u64,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self { bytes: 2 << 30 }
    }
}

/// Takes a pack (thin or not) or a bundle (version 2 or 3) into the repository and checks that `commit` is now there.
///
/// One `git index-pack --strict --fix-thin`: every object is checked as fsck does, and every object it points to must
/// be in the pack or already in the repository. Objects are on disk on return. No ref is moved: until one is, a crash
/// leaves only objects nobody sees. Doing it twice is harmless.
///
/// # Errors
/// [`GitError::BadPack`] for anything wrong with the file; [`GitError::UnknownRevision`] when `commit` is not there
/// afterwards or is no commit.
pub fn import_commit(
    git: &Git,
    git_dir: &Path,
    file: &Path,
    commit: Oid,
    limits: ImportLimits,
) -> Result<CommitObject, GitError> {
    let refused = |reason: String| GitError::BadPack {
        path: file.to_owned(),
        reason,
    };
    let mut opened = File::open(file).map_err(GitError::io("open", file))?;
    let length = opened.metadata().map_err(GitError::io("read", file))?.len();
    if length > limits.bytes {
        return Err(refused(format!(
            "it has {length} bytes, more than the {} allowed",
            limits.bytes
        )));
    }
    let start = pack_start(&opened).map_err(GitError::io("read", file))?;
    let start = start.ok_or_else(|| refused("it is neither a pack nor a bundle".to_owned()))?;
    opened
        .seek(SeekFrom::Start(start))
        .map_err(GitError::io("read", file))?;
    let answer = git
        .at(git_dir, "index-pack")
        .args(["--stdin", "--fix-thin", "--strict", "--threads=1"])
        .arg(format!("--max-input-size={}", limits.bytes))
        .stdin_file(opened)
        .output()
        .map_err(|error| match error {
            GitError::Failed { stderr, .. } => refused(stderr),
            other => other,
        })?;
    let folder = git_dir.join("objects/pack");
    fsync_dir(&folder)?;
    // The answer is `pack\t<name>`: look there first, without another process.
    let name = String::from_utf8_lossy(&answer)
        .trim()
        .rsplit('\t')
        .next()
        .unwrap_or_default()
        .to_owned();
    let index = folder.join(format!("pack-{name}.idx"));
    match pack::read_from_pack(&index, commit) {
        Some((ObjectKind::Commit, content)) => CommitObject::parse(&content)
            .ok_or_else(|| GitError::UnknownRevision(commit.to_string())),
        Some(_) => Err(refused(format!("{commit} is not a commit"))),
        None if pack::contains(&index, commit) => commit_of(git, git_dir, commit),
        None => read_commit(git, git_dir, commit)
            .map_err(|_| refused(format!("it does not hold the commit {commit}"))),
    }
}

fn commit_of(git: &Git, git_dir: &Path, commit: Oid) -> Result<CommitObject, GitError> {
    let (_, content) = read_object(git, git_dir, commit)?;
    CommitObject::parse(&content).ok_or_else(|| GitError::UnknownRevision(commit.to_string()))
}

/// Where the pack begins: 0 for a pack, after the header for a bundle (gitformat-bundle(5)), `None` for neither.
fn pack_start(file: &File) -> io::Result<Option<u64>> {
    const HEADER_LIMIT: u64 = 1 << 20;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut at = 0;
    if reader.fill_buf()?.starts_with(b"PACK") {
        return Ok(Some(0));
    }
    while at < HEADER_LIMIT {
        line.clear();
        let read = io::Read::take(&mut reader, HEADER_LIMIT).read_until(b'\n', &mut line)? as u64;
        let is_first = at == 0;
        at += read;
        if is_first
            && !(line.starts_with(b"# v2 git bundle") || line.starts_with(b"# v3 git bundle"))
            || read == 0
        {
            return Ok(None);
        }
        if line == b"\n" {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
