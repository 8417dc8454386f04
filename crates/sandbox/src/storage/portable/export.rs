//! Writing a snapshot file.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use flate2::{Compression, GzBuilder};

use super::tar::{self, Flag, Header};
use super::{Hashing, MANIFEST, Manifest, OPAQUE, PortableError, VERSION, WHITEOUT};
use crate::exec_policy::Digest;
use crate::layer::tree::{self, Below, Entry, Kind, Visit};
use crate::storage::disk::TREES;
use crate::storage::files::hex;
use crate::storage::{Bases, Snapshot, Storage, StorageError};

impl Storage {
    /// Writes a snapshot as one file; its SHA-256. Give what the trees stand on, so that the
    /// same content gives the same bytes whatever its history was.
    ///
    /// Reads the snapshot twice: its digest comes first in the file. The snapshot must not be
    /// removed meanwhile.
    ///
    /// # Errors
    /// [`StorageError::Portable`] when the snapshot or its layers cannot be read or `to` not be
    /// written.
    pub fn export(
        &self,
        snapshot: &Snapshot,
        bases: Bases<'_>,
        to: &mut dyn Write,
    ) -> Result<Digest, StorageError> {
        self.write(snapshot, bases, to).map_err(|source| {
            StorageError::Portable(PortableError::Stream {
                action: "write",
                source,
            })
        })
    }

    fn write(
        &self,
        snapshot: &Snapshot,
        bases: Bases<'_>,
        to: &mut dyn Write,
    ) -> io::Result<Digest> {
        let belows = snapshot.belows(bases);
        let mut measure = Hashing::new(io::sink());
        let (entries, content) = self.trees(snapshot, &belows, &mut measure)?;
        let manifest = Manifest {
            version: VERSION,
            origin: snapshot.origin.clone(),
            whole: snapshot.trees().map(|tree| tree.whole),
            bytes: measure.bytes,
            sha256: hex(&measure.digest()),
            entries,
            content,
        };
        let manifest = serde_json::to_vec_pretty(&manifest)?;
        let mut file = Hashing::new(to);
        let builder = GzBuilder::new().mtime(0).operating_system(255);
        let mut stream = builder.write(&mut file, Compression::fast());
        let header = Header {
            name: MANIFEST.as_bytes().to_vec(),
            flag: Flag::File,
            mode: 0o644,
            size: manifest.len() as u64,
            seconds: 0,
            nanoseconds: 0,
            target: Vec::new(),
            attributes: Vec::new(),
            literal: false,
        };
        tar::write_header(&mut stream, &header)?;
        stream.write_all(&manifest)?;
        tar::pad(&mut stream, header.size)?;
        self.trees(snapshot, &belows, &mut stream)?;
        stream.finish()?;
        file.flush()?;
        Ok(file.digest())
    }

    /// Everything after the manifest; entries and bytes in files.
    fn trees(
        &self,
        snapshot: &Snapshot,
        belows: &[Below; 2],
        to: &mut dyn Write,
    ) -> io::Result<(u64, u64)> {
        let mut writer = TreeWriter {
            to,
            prefix: b"",
            linked: HashMap::new(),
            entries: 0,
            content: 0,
        };
        for ((tree, below), name) in snapshot.trees().into_iter().zip(belows).zip(TREES) {
            writer.prefix = name.as_bytes();
            writer.linked.clear();
            let layers = self.contents(tree);
            if layers.is_empty() {
                continue;
            }
            tree::walk(&layers, below, &mut |visit| match visit {
                Visit::Enter(entry) => writer.enter(entry),
                Visit::Leave(_) => Ok(()),
            })?;
        }
        tar::end(writer.to)?;
        Ok((writer.entries, writer.content))
    }
}

struct TreeWriter<'a> {
    to: &'a mut dyn Write,
    prefix: &'static [u8],
    /// Names under which files with several were written.
    linked: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    content: u64,
}

impl TreeWriter<'_> {
    fn enter(&mut self, entry: &Entry) -> io::Result<()> {
        let mut header = self.header(entry);
        match entry.kind {
            Kind::Whiteout => {
                let last = entry.path.file_name().unwrap_or_default().as_bytes();
                let start = header.name.len() - last.len();
                if [WHITEOUT, last].concat() == OPAQUE {
                    return Err(io::Error::other("a name in the base has no whiteout"));
                }
                header.name.splice(start..start, WHITEOUT.iter().copied());
                header = marker(header.name);
            }
            Kind::Folder { opaque } => {
                header.flag = Flag::Folder;
                header.mode = entry.meta.mode() & 0o7777;
                header.attributes = attributes(entry)?;
                if opaque {
                    self.put(&header)?;
                    header = marker([&header.name, b"/".as_slice(), OPAQUE].concat());
                }
            }
            Kind::Link => {
                header.flag = Flag::Link;
                header.mode = 0o777;
                header.target = entry.source.read_link()?.as_os_str().as_bytes().to_vec();
            }
            Kind::Node if entry.meta.mode() & libc::S_IFMT != libc::S_IFIFO => return Ok(()),
            Kind::Node => header.flag = Flag::Pipe,
            Kind::File => return self.file(entry, header),
        }
        self.put(&header)
    }

    fn file(&mut self, entry: &Entry, mut header: Header) -> io::Result<()> {
        if entry.meta.nlink() > 1 {
            let key = (entry.meta.dev(), entry.meta.ino());
            if let Some(first) = self.linked.get(&key) {
                header.flag = Flag::HardLink;
                header.target.clone_from(first);
                header.mode = 0;
                (header.seconds, header.nanoseconds) = (0, 0);
                return self.put(&header);
            }
            self.linked.insert(key, header.name.clone());
        }
        header.attributes = attributes(entry)?;
        header.size = entry.meta.len();
        self.put(&header)?;
        self.content += header.size;
        let mut content = entry.source.read()?.take(header.size);
        if io::copy(&mut content, self.to)? != header.size {
            return Err(io::Error::other("a frozen file changed"));
        }
        tar::pad(self.to, header.size)
    }

    fn header(&self, entry: &Entry) -> Header {
        let mut name = self.prefix.to_vec();
        if !entry.path.as_os_str().is_empty() {
            name.push(b'/');
            name.extend_from_slice(entry.path.as_os_str().as_bytes());
        }
        let last = entry.path.file_name().unwrap_or_default().as_bytes();
        Header {
            name,
            flag: Flag::File,
            mode: entry.meta.mode() & 0o1777,
            size: 0,
            seconds: entry.meta.mtime(),
            nanoseconds: entry.meta.mtime_nsec(),
            target: Vec::new(),
            attributes: Vec::new(),
            literal: last.starts_with(WHITEOUT) && entry.kind != Kind::Whiteout,
        }
    }

    fn put(&mut self, header: &Header) -> io::Result<()> {
        self.entries += 1;
        tar::write_header(self.to, header)
    }
}

/// A file that stands for something that is not there.
fn marker(name: Vec<u8>) -> Header {
    Header {
        name,
        flag: Flag::File,
        mode: 0,
        size: 0,
        seconds: 0,
        nanoseconds: 0,
        target: Vec::new(),
        attributes: Vec::new(),
        literal: false,
    }
}

fn attributes(entry: &Entry) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let attributes = tree::attributes(&entry.source)?;
    let named = attributes.into_iter();
    Ok(named
        .map(|(name, value)| (name.into_bytes(), value))
        .collect())
}
