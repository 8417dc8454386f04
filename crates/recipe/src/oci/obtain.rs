//! From a recipe's words about an image to its tree.

use std::path::Path;

use super::registry::RegistryOptions;
use super::{ImageStore, LayoutFolder, Platform, Reference, RegistryImage, Tarball, Unpacked};
use crate::recipe::{Image, ImageSource};
use crate::{Error, ResolvedRoot};

impl ImageStore {
    /// The tree of the image that a recipe names, for this machine. `base` is where relative paths of
    /// folders and tarballs begin; `registry` is used for an image in a registry only.
    ///
    /// # Errors
    /// As [`unpack`](Self::unpack); [`Error::Reference`].
    pub fn obtain(
        &self,
        image: &Image,
        base: &Path,
        registry: RegistryOptions,
    ) -> Result<Unpacked, Error> {
        let platform = Platform::here();
        match &image.source {
            ImageSource::Layout(path) => {
                let layout = LayoutFolder::open(&base.join(path))?;
                self.unpack(&layout, &platform, image.digest)
            }
            ImageSource::Tarball(path) => {
                let tarball = Tarball::open(&base.join(path), self)?;
                self.unpack(&tarball, &platform, image.digest)
            }
            ImageSource::Registry(reference) => {
                let reference: Reference = reference.parse()?;
                let pinned = image.digest.or(reference.digest);
                let image = RegistryImage::new(reference, registry, self)?;
                self.unpack(&image, &platform, pinned)
            }
        }
    }
}

impl Unpacked {
    /// What a recipe's digest says of this root.
    #[must_use]
    pub fn resolved(&self) -> ResolvedRoot {
        ResolvedRoot::Image(self.info.id)
    }
}
