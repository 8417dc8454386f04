//! OCI image layout folders: `oci-layout`, `index.json`, `blobs/sha256/…`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::image::{Fetch, ImageInfo, ImageReader, check, read_metadata, resolve};
use super::manifest::{Descriptor, Document, problem};
use super::{Limits, Platform};
use crate::files::{open_beneath, open_root};
use crate::{Digest, Error};

/// An image in a layout folder. Symbolic links in it are not followed.
#[derive(Debug)]
pub struct LayoutFolder {
    path: PathBuf,
    folder: File,
}

impl LayoutFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = open_root(path).map_err(Error::io("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            folder,
        })
    }

    fn file(&self, name: &str) -> Result<File, Error> {
        open_beneath(&self.folder, Path::new(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => problem(&self.name(), &format!("`{name}` is missing")),
            _ => Error::io("open", self.path.join(name))(error),
        })
    }
}

impl ImageReader for LayoutFolder {
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
        check_version(
            &name,
            &read_metadata(&name, self.file("oci-layout")?, None, None)?,
        )?;
        let first = read_metadata(&name, self.file("index.json")?, None, None)?;
        let fetch = |descriptor: &Descriptor, _: bool| {
            let file = self.file(&blob(&descriptor.digest))?;
            let what = format!("blob {}", descriptor.digest);
            read_metadata(&what, file, Some(descriptor.digest), Some(descriptor.size))
        };
        resolve_layout(&name, &first, platform, pinned, limits, &fetch)
    }

    fn layer(&self, info: &ImageInfo, number: usize) -> Result<Box<dyn Read + '_>, Error> {
        let packed = info.layers.get(number).and_then(|layer| layer.packed);
        let (digest, _) = packed.ok_or_else(|| problem(&self.name(), "it has no such layer"))?;
        Ok(Box::new(self.file(&blob(&digest))?))
    }
}

pub(crate) fn check_version(image: &str, bytes: &[u8]) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        image_layout_version: String,
    }
    let version: Version = super::manifest::json(image, "file oci-layout", bytes)?;
    if version.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    let text = crate::error::clean(version.image_layout_version.as_bytes());
    Err(problem(
        image,
        &format!("its layout is of version {text}, not 1"),
    ))
}

/// `index.json` is a list without a digest of its own: a pin is about one of its entries, or about all
/// of it.
pub(crate) fn resolve_layout(
    image: &str,
    first: &[u8],
    platform: &Platform,
    pinned: Option<Digest>,
    limits: &Limits,
    fetch: &Fetch<'_>,
) -> Result<ImageInfo, Error> {
    let document = match (Document::parse(image, first)?, pinned) {
        (Document::List(list), Some(pinned)) => {
            match list.manifests.iter().find(|one| one.digest == pinned) {
                Some(descriptor) => Document::parse(image, &fetch(descriptor, true)?)?,
                None => {
                    check(image, Some(pinned), Digest::of(first))?;
                    Document::List(list)
                }
            }
        }
        (document, _) => document,
    };
    resolve(image, document, platform, limits, fetch)
}

pub(crate) fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
