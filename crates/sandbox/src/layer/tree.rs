//! The tree that layers show together, walked as the kernel's overlay would show it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::{attribute, creds};

/// Attributes that belong to overlays themselves.
const OWN: &[u8] = b"user.overlay.";
/// How an overlay keeps an attribute of that name that a program in it has set.
const ESCAPED: &[u8] = b"user.overlay.overlay.";
/// Says that a folder hides what is below it.
const OPAQUE: &std::ffi::CStr = c"user.overlay.opaque";
/// Says that a file is a whiteout, in folders where `user.overlay.opaque` is `x`.
const WHITEOUT: &std::ffi::CStr = c"user.overlay.whiteout";

/// Most folders within each other: more than any tool makes, and no danger for the stack.
pub(crate) const MAX_DEPTH: usize = 400;

/// Something in a tree.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its place in the tree; empty for the root.
    pub(crate) path: PathBuf,
    /// Where it is on the host.
    pub(crate) source: PathBuf,
    pub(crate) meta: Metadata,
    pub(crate) kind: Kind,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder; whether it hides what lies below all the layers.
    Folder {
        opaque: bool,
    },
    File,
    Link,
    /// Nothing, and nothing below all the layers either.
    Whiteout,
    /// A named pipe or a socket.
    Node,
}

/// What a walk tells.
pub(crate) enum Visit<'a> {
    /// Anything that is not a folder, or a folder before what is in it.
    Enter(&'a Entry),
    /// A folder after what was in it.
    Leave(&'a Entry),
}

/// What is below all the layers, at some place in the tree.
#[derive(Clone, Debug)]
pub(crate) enum Below {
    Nothing,
    /// It is not known here.
    Unknown,
    /// This folder of the host.
    Folder(PathBuf),
    /// Something that is not a folder.
    Other,
}

impl Below {
    /// What is below a name in a folder.
    fn child(&self, name: &OsString) -> io::Result<Self> {
        let Self::Folder(folder) = self else {
            return Ok(match self {
                Self::Unknown => Self::Unknown,
                _ => Self::Nothing,
            });
        };
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => Ok(Self::Folder(path)),
            Ok(_) => Ok(Self::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// One of the layers at some place in the tree.
struct Found {
    path: PathBuf,
    meta: Metadata,
    kind: Kind,
}

/// Walks what `layers`, highest first, show together; names of a folder in the order of their bytes.
///
/// Whiteouts and opaque folders are told where they hide something that is below the layers.
/// Nothing may write to the layers meanwhile.
pub(crate) fn walk(
    layers: &[PathBuf],
    below: &Below,
    visit: &mut dyn FnMut(Visit<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let roots = layers.iter().map(|layer| {
        let meta = fs::symlink_metadata(layer)?;
        let kind = kind(layer, &meta, false)?;
        if !matches!(kind, Kind::Folder { .. }) {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Found {
            path: layer.clone(),
            meta,
            kind,
        })
    });
    let roots = roots.collect::<io::Result<Vec<_>>>()?;
    entry(PathBuf::new(), roots, below, MAX_DEPTH, visit)
}

/// Tells of one place of the tree, given what each layer has there, highest first.
fn entry(
    path: PathBuf,
    mut found: Vec<Found>,
    below: &Below,
    depth: usize,
    visit: &mut dyn FnMut(Visit<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut opaque = false;
    // What the topmost layer does not hide.
    let end = found.iter().position(|found| match found.kind {
        Kind::Folder { opaque: false } => false,
        Kind::Folder { opaque: true } => {
            opaque = true;
            true
        }
        _ => true,
    });
    let shown = match end {
        None => found.len(),
        Some(end) if opaque || end == 0 => end + 1,
        // A folder over something else hides it, and what is below that.
        Some(end) => {
            opaque = true;
            end
        }
    };
    found.truncate(shown);
    let mut found = found.into_iter();
    let Some(top) = found.next() else {
        return Ok(());
    };
    let folders: Vec<PathBuf> = [top.path.clone()]
        .into_iter()
        .chain(found.map(|found| found.path))
        .collect();
    let told = Entry {
        path,
        source: top.path,
        meta: top.meta,
        kind: match top.kind {
            Kind::Folder { .. } => Kind::Folder {
                opaque: opaque && matches!(below, Below::Unknown | Below::Folder(_)),
            },
            other => other,
        },
    };
    if told.kind == Kind::Whiteout && matches!(below, Below::Nothing) {
        return Ok(());
    }
    visit(Visit::Enter(&told))?;
    if !matches!(told.kind, Kind::Folder { .. }) {
        return Ok(());
    }
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| io::Error::other("folders lie too deep in each other"))?;
    // Until everything in them was told.
    let opened = folders.iter().map(|folder| Opened::folder(folder));
    let _opened = opened.collect::<io::Result<Vec<_>>>()?;
    let mut names: BTreeMap<OsString, Vec<Found>> = BTreeMap::new();
    for folder in folders {
        let special = attribute::get(&folder, OPAQUE)?.is_some_and(|value| value == b"x");
        for name in fs::read_dir(&folder)? {
            let name = name?.file_name();
            let path = folder.join(&name);
            let meta = fs::symlink_metadata(&path)?;
            let kind = kind(&path, &meta, special)?;
            names
                .entry(name)
                .or_default()
                .push(Found { path, meta, kind });
        }
    }
    let below = if opaque { &Below::Nothing } else { below };
    for (name, found) in names {
        let below = below.child(&name)?;
        entry(told.path.join(name), found, &below, depth, visit)?;
    }
    visit(Visit::Leave(&told))
}

/// `special`: in a folder where plain files may be whiteouts.
fn kind(path: &Path, meta: &Metadata, special: bool) -> io::Result<Kind> {
    if meta.is_dir() {
        let _opened = Opened::file(path)?;
        let opaque = attribute::get(path, OPAQUE)?.is_some_and(|value| value == b"y");
        return Ok(Kind::Folder { opaque });
    }
    if meta.is_symlink() {
        return Ok(Kind::Link);
    }
    if attribute::is_whiteout(meta) {
        return Ok(Kind::Whiteout);
    }
    if meta.is_file() {
        let whiteout = special && meta.len() == 0 && attribute::get(path, WHITEOUT)?.is_some();
        return Ok(if whiteout { Kind::Whiteout } else { Kind::File });
    }
    match meta.mode() & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => Ok(Kind::Node),
        // No environment can make one.
        _ => Err(io::Error::other(format!("{} is a device", path.display()))),
    }
}

/// Opens a file of a layer for reading, also one that its owner may not read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let _opened = Opened::file(path)?;
    File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// A file or folder that an ordinary user, its owner, had closed to himself, open for the life of
/// this. (An environment that looks at a frozen one for the first time meanwhile sees its mode so.)
pub(crate) struct Opened(Option<(PathBuf, u32)>);

impl Opened {
    /// To list a folder and look at what is in it.
    pub(crate) fn folder(path: &Path) -> io::Result<Self> {
        Self::with(path, 0o500)
    }

    fn file(path: &Path) -> io::Result<Self> {
        Self::with(path, 0o400)
    }

    fn with(path: &Path, bits: u32) -> io::Result<Self> {
        if creds::effective_uid() == 0 {
            return Ok(Self(None));
        }
        let meta = fs::symlink_metadata(path)?;
        let mode = meta.mode() & 0o7777;
        if mode & bits == bits || meta.is_symlink() {
            return Ok(Self(None));
        }
        fs::set_permissions(path, Permissions::from_mode(mode | bits))?;
        Ok(Self(Some((path.to_owned(), mode))))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some((path, mode)) = self.0.take() {
            let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        }
    }
}

/// Attributes of a file that programs in the environment gave it, sorted by name.
pub(crate) fn attributes(path: &Path) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut kept = Vec::new();
    let _opened = Opened::file(path)?;
    for name in attribute::names(path)? {
        if is_kept(name.to_bytes())
            && let Some(value) = attribute::get(path, &name)?
        {
            kept.push((name, value));
        }
    }
    kept.sort();
    Ok(kept)
}

/// Whether an attribute is of the file and not of the overlay or the host.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.") && (!name.starts_with(OWN) || name.starts_with(ESCAPED))
}

/// Makes a folder hide what is below it.
pub(crate) fn make_opaque(folder: &Path) -> io::Result<()> {
    attribute::set(folder, OPAQUE, b"y")
}
