//! What the three sources of images have in common.

use std::io::Read;

use super::manifest::{self, DEEPEST_LIST, Descriptor, Document};
use super::{ImageConfig, Limits, Platform};
use crate::{Digest, Error};

/// An image's metadata, all of it checked against digests.
#[derive(Debug, Clone)]
pub struct ImageInfo {
    /// The digest of the configuration: the image's identity, whatever it came from.
    pub id: Digest,
    /// What it says about running it.
    pub config: ImageConfig,
    /// From the lowest.
    pub layers: Vec<LayerInfo>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct LayerInfo {
    /// Digest of the unpacked archive.
    pub diff_id: Digest,
    /// Digest and size of the bytes that [`ImageReader::layer`] yields, where they are promised.
    pub packed: Option<(Digest, u64)>,
}

/// Somewhere an image can be read.
pub trait ImageReader {
    /// How the recipe names it.
    fn name(&self) -> String;

    /// The metadata of the image for this platform. With `pinned`, the manifest, or the list that it is
    /// chosen from, must have that digest.
    ///
    /// # Errors
    /// [`Error::Image`], [`Error::WrongDigest`], [`Error::WrongSize`], [`Error::Io`]; for registries also
    /// [`Error::NotFound`], [`Error::Refused`], [`Error::Registry`].
    fn info(
        &self,
        platform: &Platform,
        pinned: Option<Digest>,
        limits: &Limits,
    ) -> Result<ImageInfo, Error>;

    /// The bytes of a layer, as they are stored. Whoever reads them checks digest and size.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    fn layer(&self, info: &ImageInfo, number: usize) -> Result<Box<dyn Read + '_>, Error>;

    /// Told when a layer is unpacked and not needed any more.
    fn unpacked(&self, info: &ImageInfo, number: usize) {
        let _ = (info, number);
    }
}

/// Yields verified bytes of metadata; the second argument says whether it is a manifest or a list.
pub(crate) type Fetch<'a> = dyn Fn(&Descriptor, bool) -> Result<Vec<u8>, Error> + 'a;

/// From a root document down to the configuration.
pub(crate) fn resolve(
    image: &str,
    first: Document,
    platform: &Platform,
    limits: &Limits,
    fetch: &Fetch<'_>,
) -> Result<ImageInfo, Error> {
    let mut document = first;
    for _ in 0..=DEEPEST_LIST {
        match document {
            Document::List(list) => {
                let bytes = fetch(list.choose(image, platform)?, true)?;
                document = Document::parse(image, &bytes)?;
            }
            Document::Manifest(manifest) => {
                manifest.check(image, limits)?;
                let bytes = fetch(&manifest.config, false)?;
                let (config, diff_ids) = manifest::parse_config(image, &bytes, platform)?;
                let packed = manifest
                    .layers
                    .iter()
                    .map(|layer| Some((layer.digest, layer.size)));
                return assemble(
                    image,
                    manifest.config.digest,
                    config,
                    diff_ids,
                    packed.collect(),
                );
            }
        }
    }
    Err(manifest::problem(
        image,
        "its manifest lists stand in each other too deeply",
    ))
}

pub(crate) fn assemble(
    image: &str,
    id: Digest,
    config: ImageConfig,
    diff_ids: Vec<Digest>,
    packed: Vec<Option<(Digest, u64)>>,
) -> Result<ImageInfo, Error> {
    if diff_ids.len() != packed.len() {
        let problem = format!(
            "its configuration names {} layers, its manifest {}",
            diff_ids.len(),
            packed.len()
        );
        return Err(manifest::problem(image, &problem));
    }
    let layers = diff_ids.into_iter().zip(packed);
    Ok(ImageInfo {
        id,
        config,
        layers: layers
            .map(|(diff_id, packed)| LayerInfo { diff_id, packed })
            .collect(),
    })
}

/// Reads metadata whole and checks it against its descriptor.
pub(crate) fn read_metadata(
    what: &str,
    reader: impl Read,
    digest: Option<Digest>,
    size: Option<u64>,
) -> Result<Vec<u8>, Error> {
    let most = size.unwrap_or(Limits::METADATA);
    if most > Limits::METADATA {
        return Err(manifest::problem(
            what,
            &format!("it has more than {} bytes of metadata", Limits::METADATA),
        ));
    }
    let mut bytes = Vec::new();
    reader
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", what))?;
    let found = bytes.len() as u64;
    if found > most || size.is_some_and(|wanted| wanted != found) {
        return Err(Error::WrongSize {
            what: what.to_owned(),
            wanted: most,
            found,
        });
    }
    check(what, digest, Digest::of(&bytes))?;
    Ok(bytes)
}

pub(crate) fn check(what: &str, wanted: Option<Digest>, found: Digest) -> Result<(), Error> {
    match wanted {
        Some(wanted) if wanted != found => Err(Error::WrongDigest {
            what: what.to_owned(),
            wanted,
            found,
        }),
        _ => Ok(()),
    }
}
