//! Objects without a process: hash, write one durably, read a loose one.
//!
//! Format: gitrepository-layout(5), gitformat-pack(5); an object is `<kind> <length>\0<content>`, named by its SHA-1,
//! stored compressed by zlib under `objects/xx/…`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use sha1::{Digest, Sha1};

use super::staged::Staged;
use super::{Git, GitError, Oid, pack};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A folder.
    Tree,
    /// The content of a file.
    Blob,
    /// An annotated tag.
    Tag,
}

impl ObjectKind {
    /// As git writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        [Self::Commit, Self::Tree, Self::Blob, Self::Tag]
            .into_iter()
            .find(|kind| kind.as_str().as_bytes() == text)
    }
}

/// Objects larger than this are not read into memory.
const MAX_OBJECT: u64 = 64 << 20;

/// The name an object has.
#[must_use]
pub fn hash_object(kind: ObjectKind, content: &[u8]) -> Oid {
    let mut hasher = Sha1::new();
    hasher.update(header(kind, content));
    hasher.update(content);
    Oid::from_bytes(hasher.finalize().into())
}

fn header(kind: ObjectKind, content: &[u8]) -> String {
    format!("{} {}\0", kind.as_str(), content.len())
}

pub(crate) fn loose_path(git_dir: &Path, oid: Oid) -> PathBuf {
    let hex = oid.to_string();
    git_dir.join("objects").join(&hex[..2]).join(&hex[2..])
}

/// Writes an object as a loose file; its bytes and its name are on disk when this returns.
///
/// # Errors
/// [`GitError::Io`].
pub fn write_object(git_dir: &Path, kind: ObjectKind, content: &[u8]) -> Result<Oid, GitError> {
    let mut staged = Staged::default();
    let oid = stage_object(git_dir, kind, content, &mut staged)?;
    staged.finish()?;
    Ok(oid)
}

/// Writes an object under a temporary name.
pub(crate) fn stage_object(
    git_dir: &Path,
    kind: ObjectKind,
    content: &[u8],
    staged: &mut Staged,
) -> Result<Oid, GitError> {
    let oid = hash_object(kind, content);
    let path = loose_path(git_dir, oid);
    if path.exists() {
        return Ok(oid);
    }
    let folder = path.parent().unwrap_or(git_dir);
    match fs::create_dir(folder) {
        Ok(()) => staged.add_folder(git_dir.join("objects")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(GitError::io("create", folder)(error)),
    }
    let temporary = folder.join(unique("tmp_obj_nc"));
    match write_compressed(&temporary, &header(kind, content), content) {
        Ok(file) => staged.add(file, temporary, path),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            return Err(GitError::io("write", &path)(error));
        }
    }
    Ok(oid)
}

fn write_compressed(path: &Path, header: &str, content: &[u8]) -> io::Result<File> {
    let room = content.len() / 2 + 64;
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(room), Compression::fast());
    encoder.write_all(header.as_bytes())?;
    encoder.write_all(content)?;
    let bytes = encoder.finish()?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(path)?;
    file.write_all(&bytes)?;
    Ok(file)
}

/// A file name no other writer uses, of this process or another.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{prefix}_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Puts the names in a folder on disk.
pub(crate) fn fsync_dir(folder: &Path) -> Result<(), GitError> {
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(GitError::io("flush", folder))
}

/// Reads an object: a loose file or an undeltified entry of a pack directly, anything else by `git cat-file`.
///
/// # Errors
/// [`GitError::UnknownRevision`] when it does not exist; [`GitError::Unreadable`] when it is broken or over 64 MiB.
pub fn read_object(git: &Git, git_dir: &Path, oid: Oid) -> Result<(ObjectKind, Vec<u8>), GitError> {
    match read_loose(&loose_path(git_dir, oid))? {
        Some(found) => Ok(found),
        None => match pack::read_from_packs(git_dir, oid) {
            Some(found) => Ok(found),
            None => read_by_git(git, git_dir, oid),
        },
    }
}

fn read_loose(path: &Path) -> Result<Option<(ObjectKind, Vec<u8>)>, GitError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(GitError::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    ZlibDecoder::new(file)
        .take(MAX_OBJECT)
        .read_to_end(&mut bytes)
        .map_err(GitError::io("read", path))?;
    let broken = || GitError::Unreadable {
        command: "object",
        detail: format!("{} is broken", path.display()),
    };
    let end = bytes
        .iter()
        .take(40)
        .position(|b| *b == 0)
        .ok_or_else(broken)?;
    let space = bytes[..end]
        .iter()
        .position(|b| *b == b' ')
        .ok_or_else(broken)?;
    let kind = ObjectKind::parse(&bytes[..space]).ok_or_else(broken)?;
    let length = std::str::from_utf8(&bytes[space + 1..end])
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    let content = bytes.split_off(end + 1);
    if length != Some(content.len()) {
        return Err(broken());
    }
    Ok(Some((kind, content)))
}

fn read_by_git(git: &Git, git_dir: &Path, oid: Oid) -> Result<(ObjectKind, Vec<u8>), GitError> {
    let answer = git
        .at(git_dir, "cat-file")
        .arg("--batch")
        .stdin(format!("{oid}\n"))
        .output()?;
    let unreadable = |detail: &str| GitError::Unreadable {
        command: "cat-file",
        detail: detail.to_owned(),
    };
    let end = answer
        .iter()
        .position(|b| *b == b'\n')
        .ok_or_else(|| unreadable("no header"))?;
    let words: Vec<&[u8]> = answer[..end].split(|b| *b == b' ').collect();
    let [_, kind, length] = words[..] else {
        return Err(GitError::UnknownRevision(oid.to_string()));
    };
    let kind = ObjectKind::parse(kind).ok_or_else(|| unreadable("unknown kind"))?;
    let length: usize = std::str::from_utf8(length)
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| unreadable("no length"))?;
    let content = answer
        .get(end + 1..end + 1 + length)
        .ok_or_else(|| unreadable("too short"))?;
    Ok((kind, content.to_vec()))
}
