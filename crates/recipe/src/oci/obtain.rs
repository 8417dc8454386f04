//! From a recipe's words about an image to its tree, and whether a tree is still what it was.

use std::path::{Path, PathBuf};

use super::registry::RegistryOptions;
use super::{
    ImageStore, LayoutFolder, Platform, Reference, RegistryImage, RootTree, Tarball, Unpacked,
};
use crate::index::FileIndex;
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

impl RootTree {
    /// Reads all files of the tree and names those that are not what its index says: changed, missing, or
    /// more than there should be.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn verify(&self) -> Result<Vec<PathBuf>, Error> {
        use std::os::unix::ffi::OsStringExt;
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
        let wanted = FileIndex::read(&self.index_path)?;
        let built = crate::index::build(&self.path, None)?;
        let mut wrong: Vec<_> = built.skipped.into_iter().map(|(path, _)| path).collect();
        let differs = wanted
            .iter()
            .filter(|file| built.index.find(file.path) != Some(*file));
        wrong.extend(differs.map(|file| path(file.path)));
        let more = built
            .index
            .iter()
            .filter(|file| wanted.find(file.path).is_none());
        wrong.extend(more.map(|file| path(file.path)));
        wrong.sort();
        wrong.dedup();
        Ok(wrong)
    }
}
