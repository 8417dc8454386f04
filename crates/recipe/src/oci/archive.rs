//! Tarballs of images: of a layout folder, or as `docker save` writes them (`manifest.json`, version 1.2).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::decompress::{Decompressed, is_packed};
use super::image::{ImageInfo, ImageReader, assemble, check, read_metadata};
use super::layout::{blob, check_version, resolve_layout};
use super::manifest::{Descriptor, json, parse_config, problem};
use super::tar::{Failure, Kind, TarReader};
use super::{ImageStore, Limits, Platform, path};
use crate::{Digest, Error, LayerProblem};

/// Most entries of a tarball: each layer is up to three of them.
const MOST_ENTRIES: u64 = 10_000;

/// An image in a tarball. Nothing is unpacked to read it, unless it is packed with gzip or zstd as a
/// whole: then it is unpacked into an unnamed file first.
#[derive(Debug)]
pub struct Tarball {
    path: PathBuf,
    file: File,
    members: BTreeMap<Vec<u8>, Member>,
}

#[derive(Debug, Clone)]
enum Member {
    File {
        at: u64,
        size: u64,
    },
    /// As old versions of `docker save` wrote repeated layers.
    Link(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

impl Tarball {
    /// Opens a tarball and reads its table of contents. `store` lends room for the unnamed file, and limits.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Layer`] if the archive is damaged, packed too well, or odd.
    pub fn open(tarball: &Path, store: &ImageStore) -> Result<Self, Error> {
        let limits = store.limits();
        let mut file = File::open(tarball).map_err(Error::io("open", tarball))?;
        if !file
            .metadata()
            .map_err(Error::io("look at", tarball))?
            .is_file()
        {
            return Err(problem(
                &tarball.display().to_string(),
                "it is not a regular file",
            ));
        }
        let mut begin = [0; 4];
        let n = file
            .read_at(&mut begin, 0)
            .map_err(Error::io("read", tarball))?;
        let failed = |entry: &[u8], failure| match failure {
            Failure::Problem(problem) => {
                Error::layer(&tarball.display().to_string(), entry, problem)
            }
            Failure::Io(error) => Error::io("read", tarball)(error),
        };
        if is_packed(&begin[..n]) {
            file = unpack(&file, &store.scratch_path(), limits)
                .map_err(|failure| failed(b"", failure))?;
        }
        file.seek(SeekFrom::Start(0))
            .map_err(Error::io("read", tarball))?;
        let mut members = BTreeMap::new();
        let mut reader = TarReader::new(Positioned::new(&file), MOST_ENTRIES);
        loop {
            match take(&mut reader, &mut members, limits) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => return Err(failed(&reader.last, failure)),
            }
        }
        Ok(Self {
            path: tarball.to_owned(),
            file,
            members,
        })
    }

    /// A member's bytes; one link is followed, within the tarball.
    fn member(&self, name: &str) -> Result<Slice<'_>, Error> {
        let missing = || {
            problem(
                &self.name(),
                &format!(
                    "`{}` is missing in it",
                    crate::error::clean(name.as_bytes())
                ),
            )
        };
        let found = self.members.get(name.as_bytes()).ok_or_else(missing)?;
        let found = match found {
            Member::Link(target) => self.members.get(target).ok_or_else(missing)?,
            file @ Member::File { .. } => file,
        };
        match found {
            Member::File { at, size } => Ok(Slice {
                file: &self.file,
                at: *at,
                left: *size,
            }),
            Member::Link(_) => Err(missing()),
        }
    }

    fn saved(&self) -> Result<Saved, Error> {
        let name = self.name();
        let bytes = read_metadata(&name, self.member("manifest.json")?, None, None)?;
        let mut images: Vec<Saved> = json(&name, "manifest.json", &bytes)?;
        match (images.pop(), images.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(problem(
                &name,
                "it holds not exactly one image; save one image alone",
            )),
        }
    }

    fn is_layout(&self) -> bool {
        self.members.contains_key(&b"index.json"[..])
            && self.members.contains_key(&b"oci-layout"[..])
    }
}

impl ImageReader for Tarball {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn info(
        &self,
        platform: &Platform,
        pinned: Option<Digest>,
        limits: &Limits,
    ) -> Result<ImageInfo, Error> {
        let name = self.name();
        if self.is_layout() {
            check_version(
                &name,
                &read_metadata(&name, self.member("oci-layout")?, None, None)?,
            )?;
            let first = read_metadata(&name, self.member("index.json")?, None, None)?;
            let fetch = |descriptor: &Descriptor, _: bool| {
                let what = format!("blob {}", descriptor.digest);
                let member = self.member(&blob(&descriptor.digest))?;
                read_metadata(
                    &what,
                    member,
                    Some(descriptor.digest),
                    Some(descriptor.size),
                )
            };
            return resolve_layout(&name, &first, platform, pinned, limits, &fetch);
        }
        let saved = self.saved()?;
        if saved.layers.len() > limits.layers {
            return Err(problem(
                &name,
                &format!("it has more than {} layers", limits.layers),
            ));
        }
        let bytes = read_metadata(&name, self.member(&saved.config)?, None, None)?;
        let id = Digest::of(&bytes);
        // There is no manifest here; the configuration is what can be pinned.
        check(&name, pinned, id)?;
        let (config, diff_ids) = parse_config(&name, &bytes, platform)?;
        assemble(&name, id, config, diff_ids, vec![None; saved.layers.len()])
    }

    fn layer(&self, info: &ImageInfo, number: usize) -> Result<Box<dyn Read + '_>, Error> {
        let missing = || problem(&self.name(), "it has no such layer");
        let layer = info.layers.get(number).ok_or_else(missing)?;
        let member = match layer.packed {
            Some((digest, _)) => self.member(&blob(&digest))?,
            None => self.member(self.saved()?.layers.get(number).ok_or_else(missing)?)?,
        };
        Ok(Box::new(member))
    }
}

/// Takes one member into the table; false at the end.
fn take(
    reader: &mut TarReader<Positioned<'_>>,
    members: &mut BTreeMap<Vec<u8>, Member>,
    limits: &Limits,
) -> Result<bool, Failure> {
    let Some(entry) = reader.next()? else {
        return Ok(false);
    };
    let name = path::normal(&entry.name, limits)?;
    let member = match entry.kind {
        Kind::File => Member::File {
            at: reader.inner().position,
            size: entry.size,
        },
        Kind::Symlink | Kind::HardLink => {
            let hard = entry.kind == Kind::HardLink;
            let folder = if hard { &[][..] } else { path::split(&name).0 };
            Member::Link(within(folder, &entry.link).ok_or(LayerProblem::Climbs)?)
        }
        _ => return Ok(true),
    };
    if members.insert(name, member).is_some() {
        return Err(LayerProblem::Duplicate.into());
    }
    Ok(true)
}

/// What a link in this folder names; none if that is outside.
fn within(folder: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = folder
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    if target.starts_with(b"/") {
        return None;
    }
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn unpack(file: &File, scratch: &Path, limits: &Limits) -> Result<File, Failure> {
    let mut unpacked = nameless(scratch)?;
    let mut reader = Decompressed::new(file, limits.total_bytes, *limits)?;
    io::copy(&mut reader, &mut unpacked)?;
    unpacked.flush()?;
    Ok(unpacked)
}

/// A file that loses its name at once: it is gone with its descriptor.
fn nameless(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// A reader that knows how far it is.
struct Positioned<'a> {
    inner: BufReader<&'a File>,
    position: u64,
}

impl<'a> Positioned<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            inner: BufReader::new(file),
            position: 0,
        }
    }
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.position += n as u64;
        Ok(n)
    }
}

/// A part of a file, read without moving the file's own position.
struct Slice<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
