//! The tree that layers show together, walked as the kernel's overlay would show it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::spot::Spot;
use crate::sys::attribute;

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
    /// Where it is in its layer.
    pub(crate) source: Spot,
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
    spot: Spot,
    meta: Metadata,
    kind: Kind,
}

/// Walks what `layers`, highest first, show together; names of a folder in the order of their bytes.
///
/// Whiteouts and opaque folders are told where they hide something that is below the layers.
/// Nothing may write to the layers meanwhile, or what is told is no one state of them; but never what
/// lies elsewhere.
pub(crate) fn walk(
    layers: &[PathBuf],
    below: &Below,
    visit: &mut dyn FnMut(Visit<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let roots = layers.iter().map(|layer| {
        let spot = Spot::top(layer)?;
        let meta = spot.grip()?.meta()?;
        let kind = kind(&spot, &meta, false)?;
        Ok(Found { spot, meta, kind })
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
    let folders: Vec<Spot> = [top.spot.clone()]
        .into_iter()
        .chain(found.map(|found| found.spot))
        .collect();
    let told = Entry {
        path,
        source: top.spot,
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
    let mut all_opened = Vec::with_capacity(folders.len());
    let mut names: BTreeMap<OsString, Vec<Found>> = BTreeMap::new();
    for folder in folders {
        let (grip, opened) = folder.folder()?;
        all_opened.push(opened);
        let special = folder.attribute(OPAQUE)?.is_some_and(|value| value == b"x");
        for entry in grip.list()? {
            let entry = entry?;
            let (name, meta) = (entry.file_name(), entry.metadata()?);
            let spot = folder.child(&name);
            let kind = kind(&spot, &meta, special)?;
            names
                .entry(name)
                .or_default()
                .push(Found { spot, meta, kind });
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
fn kind(spot: &Spot, meta: &Metadata, special: bool) -> io::Result<Kind> {
    if meta.is_dir() {
        let opaque = spot.attribute(OPAQUE)?.is_some_and(|value| value == b"y");
        return Ok(Kind::Folder { opaque });
    }
    if meta.is_symlink() {
        return Ok(Kind::Link);
    }
    if attribute::is_whiteout(meta) {
        return Ok(Kind::Whiteout);
    }
    if meta.is_file() {
        let whiteout = special && meta.len() == 0 && spot.attribute(WHITEOUT)?.is_some();
        return Ok(if whiteout { Kind::Whiteout } else { Kind::File });
    }
    match meta.mode() & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => Ok(Kind::Node),
        // No environment can make one.
        _ => Err(io::Error::other(format!(
            "{} is a device",
            spot.path().display()
        ))),
    }
}

/// Attributes of a file that programs in the environment gave it, sorted by name.
pub(crate) fn attributes(source: &Spot) -> io::Result<Vec<(CString, Vec<u8>)>> {
    source.attributes(is_kept)
}

/// Whether an attribute is of the file and not of the overlay or the host.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.") && (!name.starts_with(OWN) || name.starts_with(ESCAPED))
}

/// Makes a folder hide what is below it.
pub(crate) fn make_opaque(folder: &Path) -> io::Result<()> {
    attribute::set(folder, OPAQUE, b"y")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_is_swapped_for_a_link_while_a_tree_is_walked_ends_the_walk_in_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, host) = (folder.path().join("tree"), folder.path().join("host"));
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::create_dir(&host).unwrap();
        fs::write(host.join("secret"), "secret").unwrap();
        let mut told = Vec::new();
        let walked = walk(std::slice::from_ref(&tree), &Below::Nothing, &mut |visit| {
            if let Visit::Enter(entry) = visit {
                told.push(entry.path.clone());
                // Between the look and the listing, as a program inside would.
                if entry.path == Path::new("a") {
                    fs::rename(tree.join("a"), tree.join("b"))?;
                    symlink(&host, tree.join("a"))?;
                }
            }
            Ok(())
        });
        assert!(walked.is_err());
        assert_eq!(told, [PathBuf::new(), PathBuf::from("a")]);
    }
}
