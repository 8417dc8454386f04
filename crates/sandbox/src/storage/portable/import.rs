//! Reading a snapshot file that may be hostile. Nothing of it is used before all of it is verified.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::tar::{self, Flag, Header, Unreadable};
use super::unpack::Unpacking;
use super::{
    Expected, Hashing, ImportLimits, MANIFEST, MAX_MANIFEST, Manifest, PortableError, VERSION,
};
use crate::layer;
use crate::storage::disk::TREES;
use crate::storage::files::{self, hex};
use crate::storage::snapshot::{SnapshotId, Tree};
use crate::storage::{Snapshot, Storage, StorageError, at, snapshot};

impl From<Unreadable> for PortableError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Form(why) => Self::Form(why),
            Unreadable::Io(source) => Self::Stream {
                action: "read",
                source,
            },
        }
    }
}

impl From<io::Error> for PortableError {
    fn from(error: io::Error) -> Self {
        Unreadable::from(error).into()
    }
}

impl Storage {
    /// Takes a snapshot from a file that [`export`](Self::export) wrote, on this host or another.
    /// It is a snapshot here when all of it has been read and is what it says.
    ///
    /// # Errors
    /// [`StorageError::Portable`]: nothing of the file is kept then.
    pub fn import(
        &self,
        from: &mut dyn Read,
        expected: &Expected,
        limits: &ImportLimits,
    ) -> Result<Snapshot, StorageError> {
        let staging = self.stage()?;
        let folder = &staging.folder;
        let manifest = self.unpack(folder, from, expected, limits)?;
        self.take_over(folder, manifest)
    }

    /// Makes the folders of an import layers.
    fn take_over(&self, folder: &Path, manifest: Manifest) -> Result<Snapshot, StorageError> {
        let id = SnapshotId(files::new_id().map_err(at("name", folder))?);
        let _lock = self.lock()?;
        let mut trees = [Tree::default(), Tree::default()];
        for ((tree, kind), whole) in trees.iter_mut().zip(TREES).zip(manifest.whole) {
            tree.whole = whole;
            let from = folder.join(kind);
            if from.exists() {
                let layer = files::new_id().map_err(at("name", &from))?;
                fs::rename(&from, self.layer(&layer)).map_err(at("take over", &from))?;
                tree.layers.push(layer);
            }
        }
        let [workspace, home] = trees;
        self.keep(Snapshot {
            version: snapshot::VERSION,
            id,
            origin: manifest.origin,
            workspace,
            home,
        })
    }

    fn unpack(
        &self,
        folder: &Path,
        from: &mut dyn Read,
        expected: &Expected,
        limits: &ImportLimits,
    ) -> Result<Manifest, PortableError> {
        let mut file = BufReader::new(Hashing::new(from));
        let mut stream = GzDecoder::new(&mut file);
        let manifest = read_manifest(&mut stream)?;
        check(&manifest, expected, limits)?;
        let mut rest = Hashing::new(&mut stream);
        let mut unpacking = Unpacking::new(folder, self.backend, *limits);
        while let Some(header) = tar::read_header(&mut rest)? {
            let size = header.size;
            unpacking.take(header, &mut rest)?;
            tar::skip_padding(&mut rest, size)?;
        }
        let (entries, content) = unpacking.end()?;
        if rest.read(&mut [0])? != 0 {
            return Err(PortableError::Form("something follows its end"));
        }
        let same =
            (rest.bytes, entries, content) == (manifest.bytes, manifest.entries, manifest.content);
        if !same || hex(&rest.digest()) != manifest.sha256 {
            return Err(PortableError::Digest);
        }
        if !file.fill_buf()?.is_empty() {
            return Err(PortableError::Form("something follows its end"));
        }
        let digest = file.into_inner().digest();
        if expected.sha256.is_some_and(|expected| expected != digest) {
            return Err(PortableError::OtherFile);
        }
        Ok(manifest)
    }
}

fn read_manifest(stream: &mut dyn Read) -> Result<Manifest, PortableError> {
    let form = PortableError::Form("it does not begin with a manifest");
    let header: Header = match tar::read_header(stream) {
        Ok(Some(header)) if header.name == MANIFEST.as_bytes() => header,
        Err(Unreadable::Io(source)) if source.kind() != io::ErrorKind::InvalidInput => {
            return Err(Unreadable::Io(source).into());
        }
        _ => return Err(form),
    };
    if header.flag != Flag::File || header.size > MAX_MANIFEST {
        return Err(form);
    }
    let mut content = Vec::new();
    (&mut *stream).take(header.size).read_to_end(&mut content)?;
    tar::skip_padding(stream, header.size)?;
    // The version first: a newer manifest may have other fields.
    let value: serde_json::Value = serde_json::from_slice(&content)
        .map_err(|_| PortableError::Form("its manifest is no JSON"))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    match version {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(PortableError::Version(
                u32::try_from(version).unwrap_or(u32::MAX),
            ));
        }
        None => return Err(PortableError::Form("its manifest has no version")),
    }
    serde_json::from_value(value)
        .map_err(|_| PortableError::Form("its manifest has other fields than it should"))
}

fn check(
    manifest: &Manifest,
    expected: &Expected,
    limits: &ImportLimits,
) -> Result<(), PortableError> {
    let origin = expected.origin.as_ref();
    if origin.is_some_and(|expected| *expected != manifest.origin) {
        return Err(PortableError::OtherOrigin);
    }
    if manifest.content > limits.bytes || manifest.entries > limits.entries {
        return Err(PortableError::TooLarge {
            bytes: limits.bytes,
            entries: limits.entries,
        });
    }
    Ok(())
}

impl Storage {
    /// Imports that nobody is working on were left by a process that died.
    pub(in crate::storage) fn sweep_imports(&self) -> Result<(), StorageError> {
        let folder = self.root.join("imports");
        let entries = fs::read_dir(&folder).map_err(at("list", &folder))?;
        for entry in entries {
            let path: PathBuf = entry.map_err(at("list", &folder))?.path();
            if layer::hold(&path).is_ok() {
                self.discard(&path)?;
            }
        }
        Ok(())
    }
}

/// Makes a file with this content.
pub(super) fn write_file(path: &Path, size: u64, from: &mut dyn Read) -> Result<(), PortableError> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    if io::copy(&mut from.take(size), &mut file)? != size {
        return Err(PortableError::Form("it ends too early"));
    }
    Ok(())
}

/// Sets a mode.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, Permissions::from_mode(mode))
}
