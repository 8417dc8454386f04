//! Unpacked images in a folder.
//!
//! ```text
//! STORE/                          0700
//!   lock                          shared while unpacking, alone while collecting
//!   tmp/N/                        half-made things of process N
//!   blobs/HEX                     fetched from registries, until unpacked
//!   OWNER/files/AB/REST-MODE-MTIME    contents by SHA-256; OWNER is `own` or `UID-GID`
//!   OWNER/layers/HEX              layers by diff id
//!   OWNER/trees/HEX/root          an assembled root tree
//!   OWNER/trees/HEX/entries       all its entries; its SHA-256 is the tree's digest
//! ```
//!
//! Files of trees are hard links to contents: a tree must only be mounted read-only, or as the lower side
//! of an overlay. Mode and time are part of a content's name because links share them; times are kept
//! since tools compare them (make, Python).
//!
//! Everything appears whole or not at all, by rename; what was made in the meantime by another process is
//! as good. A layer's contents move into the store only after its whole archive proved harmless.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::decompress::Decompressed;
use super::image::{ImageInfo, ImageReader, check};
use super::layer::{Budget, FileNode, Layer, Node};
use super::materialise::{finish_file, materialise};
use super::scratch::{Scratch, private_folder};
use super::tar::Failure;
use super::tree::Tree;
use super::{Limits, Platform};
use crate::{Digest, Error};

/// Files up to this size are held in memory until it is known whether the store has them already.
const HELD: u64 = 1 << 20;

/// Who owns all files of a tree. Giving files away needs privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// How a store works.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Owner of what is unpacked; this process's user if absent.
    pub owner: Option<Owner>,
    /// How much an image may be.
    pub limits: Limits,
    /// Whether contents reach the disk before the layer or tree that names them: one flush of the file
    /// system each.
    pub durable: bool,
}

/// A folder of unpacked images. Several may be open on one folder at once, in many processes.
#[derive(Debug)]
pub struct ImageStore {
    root: PathBuf,
    scratch: Scratch,
    options: StoreOptions,
}

/// An assembled root tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootTree {
    /// The folder. Read-only by agreement: its files are shared with other trees.
    pub path: PathBuf,
    /// SHA-256 of the list of all entries.
    pub digest: Digest,
}

/// An image, ready.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Its files.
    pub tree: RootTree,
    /// Its metadata.
    pub info: ImageInfo,
    /// What was left out or changed.
    pub notes: Vec<Note>,
}

/// Something that was left out or changed while unpacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The layer's diff id.
    pub layer: Digest,
    /// The entry's path, cleaned; empty where it is about the layer.
    pub entry: String,
    /// A sentence.
    pub text: String,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            owner: None,
            limits: Limits::default(),
            durable: true,
        }
    }
}

impl ImageStore {
    /// Opens the store in a folder, making it if need be, and removes what killed processes left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, Error> {
        private_folder(root)?;
        fs::set_permissions(root, Permissions::from_mode(0o700))
            .map_err(Error::io("protect", root))?;
        let scratch = Scratch::claim(&root.join("tmp"))?;
        let store = Self {
            root: root.to_owned(),
            scratch,
            options,
        };
        private_folder(&store.blobs())?;
        for part in ["files", "layers", "trees"] {
            private_folder(&store.owned(part))?;
        }
        Ok(store)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for what registries send.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// A path for something half-made, which no other call returns.
    pub(crate) fn scratch_path(&self) -> PathBuf {
        self.scratch.path()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Unpacks an image, as far as it is not here already, and assembles its tree.
    ///
    /// # Errors
    /// What the reader says; [`Error::Layer`] for a hostile, damaged or oversized layer, of which nothing
    /// stays; [`Error::WrongDigest`], [`Error::WrongSize`]; [`Error::Io`].
    pub fn unpack(
        &self,
        image: &dyn ImageReader,
        platform: &Platform,
        pinned: Option<Digest>,
    ) -> Result<Unpacked, Error> {
        let _used = self.use_it()?;
        let info = image.info(platform, pinned, &self.options.limits)?;
        let mut budget = Budget::new(self.options.limits);
        let (mut tree, mut notes) = (Tree::default(), Vec::new());
        for number in 0..info.layers.len() {
            let diff_id = info.layers[number].diff_id;
            let layer = match self.known_layer(&diff_id) {
                Some(layer) => {
                    budget.spend_layer(&diff_id.to_string(), &layer)?;
                    tree.apply(&diff_id.to_string(), &layer)?;
                    layer
                }
                None => self.read_layer(image, &info, number, &mut budget, &mut tree)?,
            };
            notes.extend(layer.notes.iter().map(|(entry, text)| Note {
                layer: diff_id,
                entry: crate::error::clean(entry),
                text: text.clone(),
            }));
        }
        let tree = self.assemble(tree)?;
        tree.path.parent().map_or(Ok(()), |tree| self.touch(tree))?;
        Ok(Unpacked { tree, info, notes })
    }

    /// A tree that is here.
    #[must_use]
    pub fn tree(&self, digest: Digest) -> Option<RootTree> {
        let folder = self.owned("trees").join(digest.hex());
        folder.is_dir().then(|| RootTree {
            path: folder.join("root"),
            digest,
        })
    }

    pub(crate) fn owned(&self, part: &str) -> PathBuf {
        let owner = match self.options.owner {
            Some(Owner { uid, gid }) => format!("{uid}-{gid}"),
            None => "own".to_owned(),
        };
        self.root.join(owner).join(part)
    }

    fn content(&self, file: &FileNode) -> PathBuf {
        let hex = file.sha256.hex();
        let name = format!("{}-{:o}-{}", &hex[2..], file.mode, file.mtime);
        self.owned("files").join(&hex[..2]).join(name)
    }

    /// Whether the store has this content. The size is looked at because a file that was cut by a crash
    /// of the machine is shorter.
    pub(crate) fn has(&self, file: &FileNode) -> bool {
        fs::symlink_metadata(self.content(file)).is_ok_and(|meta| meta.size() == file.size)
    }

    fn known_layer(&self, diff_id: &Digest) -> Option<Layer> {
        let text = fs::read_to_string(self.owned("layers").join(diff_id.hex())).ok()?;
        let layer = Layer::from_text(&text)?;
        let mut files = layer.nodes.values().filter_map(|node| match node {
            Node::File(file) => Some(file),
            _ => None,
        });
        files.all(|file| self.has(file)).then_some(layer)
    }

    /// Reads a layer and puts it on the tree; only if both went well, the store keeps it.
    fn read_layer(
        &self,
        image: &dyn ImageReader,
        info: &ImageInfo,
        number: usize,
        budget: &mut Budget,
        tree: &mut Tree,
    ) -> Result<Layer, Error> {
        let wanted = &info.layers[number];
        let name = wanted
            .packed
            .map_or(wanted.diff_id, |(digest, _)| digest)
            .to_string();
        let part = self.scratch.part()?;
        let mut staged = Vec::new();
        let mut packed = Hashing::new(image.layer(info, number)?);
        let (layer, diff_id) = self.take_in(&name, &mut packed, budget, &part.0, &mut staged)?;
        if let Some((digest, size)) = wanted.packed {
            let found = packed.count;
            if found != size {
                return Err(Error::WrongSize {
                    what: format!("layer {name}"),
                    wanted: size,
                    found,
                });
            }
            check(
                &format!("layer {name}"),
                Some(digest),
                Digest::finish(packed.hasher),
            )?;
        }
        check(
            &format!("layer {name}, unpacked,"),
            Some(wanted.diff_id),
            diff_id,
        )?;
        tree.apply(&name, &layer)?;

        self.settle(&part.0, &staged)?;
        self.sync()?;
        self.publish(
            &self.owned("layers").join(diff_id.hex()),
            layer.to_text().as_bytes(),
        )?;
        image.unpacked(info, number);
        Ok(layer)
    }

    /// Reads a layer to the end of its stream, where decoders notice what does not belong there.
    fn take_in(
        &self,
        name: &str,
        packed: &mut impl Read,
        budget: &mut Budget,
        part: &Path,
        staged: &mut Vec<FileNode>,
    ) -> Result<(Layer, Digest), Error> {
        let problem = |error: io::Error| match Failure::from(error) {
            Failure::Problem(problem) => Error::layer(name, b"", problem),
            Failure::Io(error) => Error::io("read layer", name)(error),
        };
        let unpacked = Decompressed::new(packed, budget.bytes, budget.limits).map_err(problem)?;
        let mut plain = Hashing::new(unpacked);
        let mut keep =
            |content: &mut dyn Read, file: FileNode| self.stage(part, staged, content, file);
        let layer = Layer::read(name, &mut plain, budget, &mut keep)?;
        io::copy(&mut plain, &mut io::sink()).map_err(problem)?;
        budget.bytes = budget.bytes.saturating_sub(plain.inner.unpacked());
        Ok((layer, Digest::finish(plain.hasher)))
    }

    /// Takes in a file's content: nothing is written if the store has it.
    fn stage(
        &self,
        part: &Path,
        staged: &mut Vec<FileNode>,
        content: &mut dyn Read,
        mut file: FileNode,
    ) -> Result<FileNode, Failure> {
        if file.size <= HELD {
            let mut bytes = Vec::with_capacity(file.size as usize);
            content.read_to_end(&mut bytes)?;
            file.sha256 = Digest::of(&bytes);
            let path = staged_path(part, &file);
            if self.has(&file) || path.exists() {
                return Ok(file);
            }
            let mut target = create(&path)?;
            target.write_all(&bytes).map_err(Failure::Io)?;
            finish_file(&target, &file, self.options.owner).map_err(Failure::Io)?;
        } else {
            let path = part.join("incoming");
            let mut target = create(&path)?;
            let mut hashing = Hashing::new(content);
            io::copy(&mut hashing, &mut target)?;
            file.sha256 = Digest::finish(hashing.hasher);
            finish_file(&target, &file, self.options.owner).map_err(Failure::Io)?;
            fs::rename(&path, staged_path(part, &file)).map_err(Failure::Io)?;
        }
        staged.push(file);
        Ok(file)
    }

    /// Moves contents into the store.
    fn settle(&self, part: &Path, staged: &[FileNode]) -> Result<(), Error> {
        for file in staged {
            let path = self.content(file);
            // Another process may have brought it; trees may link to that one already.
            if !self.has(file) {
                path.parent().map_or(Ok(()), private_folder)?;
                match fs::rename(staged_path(part, file), &path) {
                    // The same content twice in one layer.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && self.has(file) => {}
                    other => other.map_err(Error::io("name", &path))?,
                }
            }
        }
        Ok(())
    }

    fn assemble(&self, tree: Tree) -> Result<RootTree, Error> {
        let entries = Layer {
            nodes: tree.nodes,
            ..Layer::default()
        };
        let text = entries.to_text();
        let digest = Digest::of(text.as_bytes());
        if let Some(known) = self.tree(digest) {
            return Ok(known);
        }
        let part = self.scratch.part()?;
        let tree = Tree {
            nodes: entries.nodes,
        };
        materialise(&tree, &part.0.join("root"), self.options.owner, &|file| {
            self.content(file)
        })?;
        self.publish(&part.0.join("entries"), text.as_bytes())?;
        self.sync()?;
        let folder = self.owned("trees").join(digest.hex());
        match fs::rename(&part.0, &folder) {
            Ok(()) => {}
            // Another process was faster, and its tree is the same.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            Err(error) => return Err(Error::io("name", &folder)(error)),
        }
        let gone = || Error::io("open", &folder)(io::ErrorKind::NotFound.into());
        self.tree(digest).ok_or_else(gone)
    }

    fn publish(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let new = self.scratch.path();
        let written = create_new(&new).and_then(|mut file| {
            file.write_all(bytes)?;
            if self.options.durable {
                file.sync_data()
            } else {
                Ok(())
            }
        });
        written
            .and_then(|()| fs::rename(&new, path))
            .map_err(Error::io("write", path))
    }

    fn sync(&self) -> Result<(), Error> {
        if !self.options.durable {
            return Ok(());
        }
        let folder = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        rustix::fs::syncfs(&folder).map_err(|error| Error::io("flush", &self.root)(error.into()))
    }
}

fn staged_path(part: &Path, file: &FileNode) -> PathBuf {
    part.join(format!(
        "{}-{:o}-{}",
        file.sha256.hex(),
        file.mode,
        file.mtime
    ))
}

fn create(path: &Path) -> Result<File, Failure> {
    create_new(path).map_err(Failure::Io)
}

fn create_new(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Hashes and counts what passes through.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            count: 0,
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}
