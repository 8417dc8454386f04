//! Taking the objects of a commit into a repository, from a pack or a bundle that came from outside.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use super::object::unique;
use super::staged::Staged;
use super::{CommitObject, Git, GitError, Invocation, ObjectKind, Oid, pack, read_commit};

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
/// [`GitError::BadPack`] for anything wrong with the file, or when it does not bring the commit.
pub fn import_commit(
    git: &Git,
    git_dir: &Path,
    file: &Path,
    commit: Oid,
    limits: ImportLimits,
) -> Result<CommitObject, GitError> {
    let (object, staged) = stage_import(git, git_dir, file, commit, limits)?;
    staged.finish()?;
    Ok(object)
}

/// The same into a quarantine beside the other objects, where only those see it who are told: refused, nothing of it
/// remains; taken, it is flushed together with the refs that make it visible.
pub(crate) fn stage_import(
    git: &Git,
    git_dir: &Path,
    file: &Path,
    commit: Oid,
    limits: ImportLimits,
) -> Result<(CommitObject, Staged), GitError> {
    let refused = |reason: String| GitError::BadPack {
        path: file.to_owned(),
        reason,
    };
    let pack = open_pack(file, limits)?;
    // Git's own `prune` clears away folders of this name that a crash left.
    let quarantine = git_dir
        .join("objects")
        .join(unique("tmp_objdir-incoming-nc"));
    let folder = quarantine.join("pack");
    fs::create_dir_all(&folder).map_err(GitError::io("create", &folder))?;
    let mut staged = Staged::in_quarantine(quarantine);
    let command = git.at(git_dir, "index-pack");
    let answer = within(command, git_dir, &staged)
        .env("GIT_CONFIG_PARAMETERS", "'core.fsync=none'")
        .args(["--stdin", "--fix-thin", "--strict", "--threads=1"])
        .arg(format!("--max-input-size={}", limits.bytes))
        .stdin_file(pack)
        .output()
        .map_err(|error| match error {
            GitError::Failed { stderr, .. } => refused(stderr),
            other => other,
        })?;
    // The answer is `pack\t<name>`.
    let text = String::from_utf8_lossy(&answer);
    let name = format!(
        "pack-{}",
        text.trim().rsplit('\t').next().unwrap_or_default()
    );
    let index = folder.join(format!("{name}.idx"));
    let object = match pack::read_from_pack(&index, commit) {
        Some((ObjectKind::Commit, content)) => CommitObject::parse(&content),
        Some(_) => None,
        None if pack::contains(&index, commit) => {
            let command = within(git.at(git_dir, "cat-file"), git_dir, &staged);
            command
                .args(["commit", &commit.to_string()])
                .output()
                .ok()
                .as_deref()
                .and_then(CommitObject::parse)
        }
        None => read_commit(git, git_dir, commit).ok(),
    };
    let object = object.ok_or_else(|| refused(format!("it does not hold the commit {commit}")))?;
    // The index last: with it the pack can be seen.
    for end in ["pack", "idx"] {
        let from = folder.join(format!("{name}.{end}"));
        let to = git_dir.join(format!("objects/pack/{name}.{end}"));
        if !to.exists() {
            let opened = File::open(&from).map_err(GitError::io("open", &from))?;
            staged.add(opened, from, to);
        }
    }
    Ok((object, staged))
}

/// Lets a command see what is staged.
fn within(command: Invocation, git_dir: &Path, staged: &Staged) -> Invocation {
    match staged.quarantine() {
        Some(folder) => command
            .env("GIT_OBJECT_DIRECTORY", folder)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", git_dir.join("objects")),
        None => command,
    }
}

/// Whether a commit that may only be staged grows out of another. An unknown one is no ancestor.
pub(crate) fn grows_out_of(
    git: &Git,
    git_dir: &Path,
    staged: &Staged,
    commit: Oid,
    base: Oid,
) -> bool {
    let command = within(git.at(git_dir, "merge-base"), git_dir, staged);
    command
        .args(["--is-ancestor", &base.to_string(), &commit.to_string()])
        .output()
        .is_ok()
}

fn open_pack(file: &Path, limits: ImportLimits) -> Result<File, GitError> {
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
    Ok(opened)
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
