//! One layer: what its archive says, as a tree of names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::tar::{Entry, Failure, Kind, TarReader};
use super::{Limits, path};
use crate::{Digest, Error, LayerProblem};

/// Most notes that are kept of one layer.
const MOST_NOTES: usize = 100;
/// Bytes of names that an entry may have on average.
const NAME_BYTES: u64 = 300;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A folder; implied if only something below it was named.
    Folder {
        mode: u32,
        mtime: u64,
        implied: bool,
    },
    File(FileNode),
    Symlink {
        target: Vec<u8>,
        mtime: u64,
    },
    /// A hard link to a file of a lower layer.
    HardLink {
        target: Vec<u8>,
    },
}

/// A regular file, whose content is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileNode {
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) mtime: u64,
}

/// What a layer adds and takes away. Paths are relative; the root's is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
    pub(crate) whiteouts: BTreeSet<Vec<u8>>,
    /// Folders of which nothing from below shows through.
    pub(crate) opaque: BTreeSet<Vec<u8>>,
    /// What was left out or changed: path and a sentence.
    pub(crate) notes: Vec<(Vec<u8>, String)>,
}

/// What is left of the limits that hold for all layers together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    entries: u64,
    names: u64,
    pub(crate) bytes: u64,
}

/// Takes in a file's content: reader, size, mode, time.
pub(crate) type Keep<'a> = dyn FnMut(&mut dyn Read, FileNode) -> Result<FileNode, Failure> + 'a;

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: limits.entries,
            names: limits.entries.saturating_mul(NAME_BYTES),
            bytes: limits.total_bytes,
        }
    }

    fn spend(&mut self, name: usize) -> Result<(), LayerProblem> {
        let entries = self.entries.checked_sub(1);
        self.entries = entries.ok_or(LayerProblem::Entries(self.limits.entries))?;
        let most = self.limits.entries.saturating_mul(NAME_BYTES);
        let names = self.names.checked_sub(name as u64);
        self.names = names.ok_or(LayerProblem::Names(most))?;
        Ok(())
    }

    /// What a layer that was unpacked before takes of it.
    pub(crate) fn spend_layer(&mut self, name: &str, layer: &Layer) -> Result<(), Error> {
        for (path, node) in &layer.nodes {
            self.spend(path.len())
                .map_err(|problem| Error::layer(name, path, problem))?;
            if let Node::File(file) = node {
                let left = self.bytes.checked_sub(file.size);
                let problem = LayerProblem::TotalSize(self.limits.total_bytes);
                self.bytes = left.ok_or_else(|| Error::layer(name, path, problem))?;
            }
        }
        Ok(())
    }
}

impl Layer {
    /// Reads an archive; `name` is for errors. Contents of files go to `keep` as they come.
    pub(crate) fn read(
        name: &str,
        reader: impl Read,
        budget: &mut Budget,
        keep: &mut Keep<'_>,
    ) -> Result<Self, Error> {
        let mut layer = Self::default();
        let mut reader = TarReader::new(reader, budget.limits.entries.saturating_mul(4));
        loop {
            let result = match reader.next() {
                Ok(None) => return Ok(layer),
                Ok(Some(entry)) => layer.take(entry, &mut reader, budget, keep),
                Err(failure) => Err(failure),
            };
            result.map_err(|failure| match failure {
                Failure::Problem(problem) => Error::layer(name, &reader.last, problem),
                Failure::Io(error) => Error::io("unpack layer", name)(error),
            })?;
        }
    }

    fn take(
        &mut self,
        entry: Entry,
        reader: &mut TarReader<impl Read>,
        budget: &mut Budget,
        keep: &mut Keep<'_>,
    ) -> Result<(), Failure> {
        let path = path::normal(&entry.name, &budget.limits)?;
        budget.spend(path.len() + entry.link.len())?;
        if entry.size > budget.limits.file_bytes {
            return Err(LayerProblem::FileSize(budget.limits.file_bytes).into());
        }
        let (folder, last) = path::split(&path);
        if let Some(hidden) = last.strip_prefix(b".wh.") {
            return Ok(self.whiteout(folder, hidden)?);
        }
        for name in &entry.attributes {
            self.note(&path, format!("the extended attribute {name} was left out"));
        }
        let special = entry.mode & 0o6000;
        let is_folder = entry.kind == Kind::Folder;
        if special != 0 && matches!(entry.kind, Kind::File | Kind::Folder) {
            self.note(
                &path,
                "a set-user-id or set-group-id bit was removed".to_owned(),
            );
        }
        let mode = entry.mode & if is_folder { 0o1777 } else { 0o777 };
        let mtime = entry.mtime.clamp(0, i64::from(u32::MAX)) as u64;
        let node = match entry.kind {
            Kind::Folder => Node::Folder {
                mode,
                mtime,
                implied: false,
            },
            Kind::File => {
                self.room_for(&path, budget)?;
                let file = FileNode {
                    sha256: Digest::from_bytes([0; 32]),
                    size: entry.size,
                    mode,
                    mtime,
                };
                Node::File(keep(reader, file)?)
            }
            Kind::Symlink => {
                if entry.link.is_empty()
                    || entry.link.contains(&0)
                    || entry.link.len() > budget.limits.path_bytes
                {
                    return Err(LayerProblem::Header(
                        "its link has no target, or one that is too long",
                    )
                    .into());
                }
                Node::Symlink {
                    target: entry.link,
                    mtime,
                }
            }
            Kind::HardLink => self.hard_link(&entry.link, budget)?,
            Kind::Device => {
                self.note(&path, "a device was left out".to_owned());
                return Ok(());
            }
            Kind::Fifo => return Err(LayerProblem::Fifo.into()),
            Kind::Pax | Kind::GlobalPax | Kind::LongName | Kind::LongLink => {
                return Err(LayerProblem::Header("it is an extension without an entry").into());
            }
        };
        self.insert(path, node, budget)?;
        Ok(())
    }

    fn whiteout(&mut self, folder: &[u8], hidden: &[u8]) -> Result<(), LayerProblem> {
        match hidden {
            b".wh..opq" => {
                self.opaque.insert(folder.to_vec());
            }
            // Left by an old storage driver; they mean nothing.
            _ if hidden.starts_with(b".wh.") => {
                self.note(folder, "a file of the layer's tool was left out".to_owned());
            }
            b"" | b"." | b".." => {
                return Err(LayerProblem::Whiteout(crate::error::clean(hidden)));
            }
            _ => {
                self.whiteouts.insert(path::join(folder, hidden));
            }
        }
        Ok(())
    }

    fn hard_link(&self, target: &[u8], budget: &Budget) -> Result<Node, LayerProblem> {
        let problem = |what| LayerProblem::HardLink {
            target: crate::error::clean(target),
            what,
        };
        let path = match path::normal(target, &budget.limits) {
            Ok(path) => path,
            Err(LayerProblem::Climbs | LayerProblem::Absolute) => {
                return Err(problem("outside of the root"));
            }
            Err(other) => return Err(other),
        };
        if self.through_link(&path) {
            return Err(problem("below a symbolic link"));
        }
        match self.nodes.get(&path) {
            Some(Node::File(file)) => Ok(Node::File(*file)),
            Some(Node::HardLink { target }) => Ok(Node::HardLink {
                target: target.clone(),
            }),
            Some(Node::Symlink { .. }) => Err(problem("a symbolic link")),
            Some(Node::Folder { .. }) => Err(problem("a folder")),
            None => Ok(Node::HardLink { target: path }),
        }
    }

    /// Whether a path leads through a symbolic link of this layer.
    fn through_link(&self, path: &[u8]) -> bool {
        let is_link = |above| matches!(self.nodes.get(above), Some(Node::Symlink { .. }));
        path::above(path).any(is_link)
    }

    /// Makes the folders above a path, and checks that its name is free.
    fn room_for(&mut self, path: &[u8], budget: &mut Budget) -> Result<(), LayerProblem> {
        if path.is_empty() {
            return Err(LayerProblem::Name);
        }
        for above in path::above(path) {
            match self.nodes.get(above) {
                Some(Node::Folder { .. }) => {}
                Some(Node::Symlink { .. }) => {
                    return Err(LayerProblem::ThroughLink(crate::error::clean(above)));
                }
                Some(_) => return Err(LayerProblem::BelowFile(crate::error::clean(above))),
                None => {
                    budget.spend(above.len())?;
                    let folder = Node::Folder {
                        mode: 0o755,
                        mtime: 0,
                        implied: true,
                    };
                    self.nodes.insert(above.to_vec(), folder);
                }
            }
        }
        if self.nodes.contains_key(path) {
            return Err(LayerProblem::Duplicate);
        }
        Ok(())
    }

    fn insert(
        &mut self,
        path: Vec<u8>,
        node: Node,
        budget: &mut Budget,
    ) -> Result<(), LayerProblem> {
        if matches!(node, Node::Folder { .. }) {
            // Folders are often named again, and after what is in them.
            if path.is_empty() || matches!(self.nodes.get(&path), Some(Node::Folder { .. })) {
                self.nodes.insert(path, node);
                return Ok(());
            }
        }
        self.room_for(&path, budget)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    fn note(&mut self, path: &[u8], text: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push((path.to_vec(), text));
        } else if self.notes.len() == MOST_NOTES {
            self.notes.push((
                Vec::new(),
                "more was left out or changed; only the first notes are kept".to_owned(),
            ));
        }
    }
}
