//! The trees of a snapshot file, made as they are read.
//!
//! Every entry must lie in a folder that is open: one that this very file has made, and not yet
//! left. So no link is ever followed, nothing is made twice, and nothing lies outside.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::import::{set_mode, write_file};
use super::tar::{Flag, Header};
use super::{ImportLimits, OPAQUE, PortableError, WHITEOUT};
use crate::layer::{UPPER, give, tree};
use crate::storage::Backend;
use crate::storage::disk::TREES;
use crate::sys::attribute;

/// Longest name in a folder, and longest path: the kernel's bounds.
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 4000;
/// Bytes of names and of what links say that an entry may have on average: names are kept in memory.
const NAME_BYTES: u64 = 300;

/// Trees under way.
pub(super) struct Unpacking<'a> {
    folder: &'a Path,
    backend: Backend,
    limits: ImportLimits,
    /// Folders from the root of the present tree to the last one entered.
    open: Vec<Open>,
    /// Trees begun.
    begun: usize,
    /// Files made in the present tree.
    files: HashSet<Vec<u8>>,
    entries: u64,
    content: u64,
    /// Bytes of attributes, and of names.
    attributes: u64,
    names: u64,
}

struct Open {
    name: Vec<u8>,
    path: PathBuf,
    header: Header,
    /// The last name in it so far.
    last: Option<Vec<u8>>,
    opaque: bool,
}

const ORDER: PortableError = PortableError::Form("its entries are not in order");
const NAME: PortableError = PortableError::Form("it holds a name that leads elsewhere");

impl<'a> Unpacking<'a> {
    pub(super) fn new(folder: &'a Path, backend: Backend, limits: ImportLimits) -> Self {
        Self {
            folder,
            backend,
            limits,
            open: Vec::new(),
            begun: 0,
            files: HashSet::new(),
            entries: 0,
            content: 0,
            attributes: 0,
            names: 0,
        }
    }

    /// Makes what one entry says; its content is read from `from`.
    pub(super) fn take(
        &mut self,
        mut header: Header,
        from: &mut dyn Read,
    ) -> Result<(), PortableError> {
        self.spend(&header)?;
        let name = std::mem::take(&mut header.name);
        let Some(slash) = name.iter().rposition(|byte| *byte == b'/') else {
            return self.begin(&name, header);
        };
        let (parent, last) = (&name[..slash], &name[slash + 1..]);
        if !acceptable(last) || name.len() > MAX_PATH {
            return Err(NAME);
        }
        while self.open.last().is_some_and(|open| open.name != parent) {
            self.close()?;
        }
        let in_folder = self.open.last_mut().ok_or(ORDER)?;
        if !header.literal && last == OPAQUE {
            if in_folder.last.is_some() || in_folder.opaque || header.flag != Flag::File {
                return Err(ORDER);
            }
            in_folder.opaque = true;
            return Ok(tree::make_opaque(&in_folder.path)?);
        }
        let gone = Some(last)
            .filter(|_| !header.literal)
            .and_then(|last| last.strip_prefix(WHITEOUT));
        let real = gone.unwrap_or(last);
        if !acceptable(real) {
            return Err(NAME);
        }
        if in_folder
            .last
            .as_deref()
            .is_some_and(|before| before >= real)
        {
            return Err(ORDER);
        }
        in_folder.last = Some(real.to_vec());
        let path = in_folder.path.join(OsStr::from_bytes(real));
        if gone.is_some() {
            if header.flag != Flag::File || header.size != 0 {
                return Err(PortableError::Form("a whiteout has content"));
            }
            attribute::make_node(&path, libc::S_IFCHR)?;
            return Ok(give(&path)?);
        }
        self.make(name, path, header, from)
    }

    /// Counts an entry, before anything of it is made.
    fn spend(&mut self, header: &Header) -> Result<(), PortableError> {
        let attributes = header.attributes.iter();
        let attributes = attributes.map(|(name, value)| (name.len() + value.len()) as u64);
        let names = (header.name.len() + header.target.len()) as u64;
        self.entries += 1;
        self.content = self.content.saturating_add(header.size);
        self.attributes = attributes.fold(self.attributes, u64::saturating_add);
        self.names = self.names.saturating_add(names);
        let limits = &self.limits;
        // Attributes are content too: each can be as long as a small file.
        let bytes = self.content.saturating_add(self.attributes);
        if self.entries > limits.entries || bytes > limits.bytes {
            return Err(PortableError::TooLarge {
                bytes: limits.bytes,
                entries: limits.entries,
            });
        }
        let most = limits.entries.saturating_mul(NAME_BYTES);
        if self.names > most {
            return Err(PortableError::Names(most));
        }
        Ok(())
    }

    /// Begins a tree: workspace, then home.
    fn begin(&mut self, name: &[u8], header: Header) -> Result<(), PortableError> {
        self.close_all()?;
        let number = TREES.iter().position(|tree| tree.as_bytes() == name);
        let number = number.ok_or(NAME)?;
        if number < self.begun || header.flag != Flag::Folder {
            return Err(ORDER);
        }
        self.begun = number + 1;
        self.files.clear();
        let layer = self.folder.join(TREES[number]);
        self.backend.make(&layer)?;
        self.enter(name.to_vec(), layer.join(UPPER), header);
        Ok(())
    }

    fn make(
        &mut self,
        name: Vec<u8>,
        path: PathBuf,
        header: Header,
        from: &mut dyn Read,
    ) -> Result<(), PortableError> {
        match header.flag {
            Flag::Folder => {
                fs::create_dir(&path)?;
                give(&path)?;
                self.enter(name, path, header);
                return Ok(());
            }
            Flag::HardLink => {
                let first = self.files.get(&header.target);
                let first = first.ok_or(PortableError::Form("a hard link leads elsewhere"))?;
                let inside = first.split(|byte| *byte == b'/').skip(1);
                let mut target = self.folder.join(TREES[self.begun - 1]).join(UPPER);
                target.extend(inside.map(OsStr::from_bytes));
                return Ok(fs::hard_link(target, path)?);
            }
            Flag::File => {
                write_file(&path, header.size, from)?;
                self.files.insert(name);
            }
            Flag::Link if header.target.is_empty() || header.target.len() > MAX_PATH => {
                return Err(NAME);
            }
            Flag::Link => symlink(OsStr::from_bytes(&header.target), &path)?,
            Flag::Pipe => attribute::make_node(&path, libc::S_IFIFO | 0o600)?,
        }
        give(&path)?;
        finish(&path, &header)
    }

    fn enter(&mut self, name: Vec<u8>, path: PathBuf, header: Header) {
        self.open.push(Open {
            name,
            path,
            header,
            last: None,
            opaque: false,
        });
    }

    /// Leaves the last folder: its own mode and time come when nothing is made in it any more.
    fn close(&mut self) -> Result<(), PortableError> {
        match self.open.pop() {
            Some(open) => finish(&open.path, &open.header),
            None => Ok(()),
        }
    }

    fn close_all(&mut self) -> Result<(), PortableError> {
        while !self.open.is_empty() {
            self.close()?;
        }
        Ok(())
    }

    /// Ends it: how many entries and bytes in files there were.
    pub(super) fn end(mut self) -> Result<(u64, u64), PortableError> {
        self.close_all()?;
        Ok((self.entries, self.content))
    }
}

fn acceptable(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= MAX_NAME
        && !name.contains(&0)
        && !name.contains(&b'/')
}

fn finish(path: &Path, header: &Header) -> Result<(), PortableError> {
    for (name, value) in &header.attributes {
        if !tree::is_kept(name) || !matches!(header.flag, Flag::File | Flag::Folder) {
            return Err(PortableError::Form(
                "it holds an attribute that is not a user's",
            ));
        }
        let name = CString::new(name.as_slice()).map_err(|_| NAME)?;
        attribute::set(path, &name, value)?;
    }
    let mode = match header.flag {
        Flag::Link => None,
        Flag::Folder => Some(0o7777),
        _ => Some(0o1777),
    };
    if let Some(mask) = mode {
        set_mode(path, header.mode & mask)?;
    }
    Ok(attribute::set_modified(
        path,
        header.seconds,
        header.nanoseconds,
    )?)
}
