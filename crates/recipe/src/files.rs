//! Reading files of a repository: never through a symbolic link, never without bound.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use sha2::{Digest as _, Sha256};

use crate::{Digest, Error, Recipe, SetupStep};

/// What a set-up command may read: path relative to the repository → permission bits and content.
pub type SetupFiles = BTreeMap<String, (u32, Digest)>;

/// The largest file that a set-up command may name.
const LARGEST: u64 = 1 << 30;

/// Digests of all files that the set-up of `recipe` names, from the folder `base`.
///
/// # Errors
/// [`Error::Field`] naming the entry of `setup` whose file is missing, no regular file, reached
/// through a symbolic link, or larger than 1 GiB; [`Error::Io`].
pub fn setup_files(base: &Path, recipe: &Recipe) -> Result<SetupFiles, Error> {
    let folder = open_root(base).map_err(Error::io("open", base))?;
    let mut files = SetupFiles::new();
    for (number, step) in recipe.setup.iter().enumerate() {
        for (place, path) in step.files.iter().enumerate() {
            let field = || format!("setup[{number}].files[{place}]");
            let file = open_beneath(&folder, Path::new(path)).map_err(|error| {
                Error::field(
                    field(),
                    format!("names `{path}`, which cannot be opened: {error}"),
                )
            })?;
            let meta = file.metadata().map_err(Error::io("look at", path))?;
            if meta.len() > LARGEST {
                return Err(Error::field(
                    field(),
                    format!("names `{path}`, which is larger than 1 GiB"),
                ));
            }
            let (digest, _) = hash(file.take(LARGEST)).map_err(Error::io("read", path))?;
            files.insert(path.clone(), (meta.mode() & 0o777, digest));
        }
    }
    Ok(files)
}

/// Copies the files that a set-up command names from the folder `base` to `target`, under the same
/// paths, read-only by their mode only. They must be what `files` says they were.
///
/// # Errors
/// [`Error::Field`] naming a file that changed since, [`Error::Io`].
pub fn lay_out(
    base: &Path,
    step: &SetupStep,
    files: &SetupFiles,
    target: &Path,
) -> Result<(), Error> {
    let folder = open_root(base).map_err(Error::io("open", base))?;
    for path in &step.files {
        let source = open_beneath(&folder, Path::new(path)).map_err(Error::io("open", path))?;
        let to = target.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
        }
        let copy = File::create_new(&to).map_err(Error::io("make", &to))?;
        let (digest, _) =
            hash(Copying(source.take(LARGEST), &copy)).map_err(Error::io("copy", path))?;
        match files.get(path) {
            Some((mode, known)) if *known == digest => copy
                .set_permissions(Permissions::from_mode(*mode))
                .map_err(Error::io("set the mode of", &to))?,
            _ => {
                let problem = format!("has `{path}`, which changed while it was read; try again");
                return Err(Error::field("setup.files", problem));
            }
        }
    }
    Ok(())
}

/// Writes what is read from it to a file.
struct Copying<'a, R>(R, &'a File);

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.write_all(&buffer[..n])?;
        Ok(n)
    }
}

/// A folder to open files beneath.
pub(crate) fn open_root(path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Opens a regular file beneath `root` for reading. No symbolic link on the way is followed, and
/// opening never waits.
pub(crate) fn open_beneath(root: &File, path: &Path) -> io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file: File = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?.into();
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Opens a folder beneath `root`, following no symbolic link on the way.
pub(crate) fn open_folder_beneath(root: &File, path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?.into())
}

/// The text of a small file beneath `root`; none if there is no such file.
pub(crate) fn read_small(root: &File, path: &str, limit: u64) -> Result<Option<String>, Error> {
    let file = match open_beneath(root, Path::new(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    let mut limited = file.take(limit + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        let error = io::Error::other(format!("it is larger than {limit} bytes"));
        return Err(Error::io("read", path)(error));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::io("read", path)(io::Error::other("it is not UTF-8")))?;
    Ok(Some(text))
}

/// SHA-256 and length of all that `reader` yields.
pub(crate) fn hash(mut reader: impl Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((Digest::finish(hasher), size)),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
