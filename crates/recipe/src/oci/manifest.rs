//! The JSON of images: OCI image specification 1.1 ("image-layout", "image-index", "manifest",
//! "config") and Docker's older names of the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::Limits;
use crate::{Digest, Error};

/// The media types that a manifest may have.
pub(crate) const MANIFESTS: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// The media types that a list of manifests may have.
pub(crate) const LISTS: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// How deep lists may stand in lists.
pub(crate) const DEEPEST_LIST: usize = 3;

/// An operating system and machine, as images name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
}

/// What an image says about running it. The parts that recipes use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Variables, in the image's order made into a map; the last of two stays.
    pub env: BTreeMap<String, String>,
    /// Where commands begin.
    pub workdir: Option<String>,
    /// User, perhaps with group, by name or number.
    pub user: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct List {
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Either of the two, told apart by content, since media types may be absent.
#[derive(Debug)]
pub(crate) enum Document {
    List(List),
    Manifest(Manifest),
}

#[derive(Debug, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    config: Option<ConfigPart>,
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigPart {
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl Platform {
    /// That of this machine.
    #[must_use]
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
        }
    }
}

impl Document {
    pub(crate) fn parse(image: &str, bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
            schema_version: Option<u64>,
            media_type: Option<String>,
        }
        let probe: Probe = json(image, "manifest", bytes)?;
        // A document that is both would be read as one or the other by different readers.
        let said = probe.media_type.as_deref();
        let contradicts = |types: &[&str]| said.is_some_and(|said| !types.contains(&said));
        match (probe.manifests.is_some(), probe.layers.is_some()) {
            _ if probe.schema_version == Some(1) => Err(problem(
                image,
                "its manifest is of schema 1, which is not supported; push it anew with a current tool",
            )),
            (true, false) if !contradicts(LISTS) => {
                json(image, "manifest list", bytes).map(Self::List)
            }
            (false, true) if !contradicts(MANIFESTS) => {
                json(image, "manifest", bytes).map(Self::Manifest)
            }
            _ => Err(problem(
                image,
                "its manifest is neither a manifest nor a list of them",
            )),
        }
    }
}

impl List {
    /// The entry for this platform. Entries that are no images (attestations) name the platform `unknown`.
    pub(crate) fn choose(&self, image: &str, platform: &Platform) -> Result<&Descriptor, Error> {
        let fits = |descriptor: &&Descriptor| match &descriptor.platform {
            Some(one) => one == platform,
            None => false,
        };
        if let Some(found) = self.manifests.iter().find(fits) {
            return Ok(found);
        }
        // Layouts with one image often do not name its platform; the configuration is checked later.
        match &self.manifests[..] {
            [only] if only.platform.is_none() => Ok(only),
            _ => {
                let names = |one: &Descriptor| {
                    let platform = one.platform.as_ref()?;
                    Some(format!("{}/{}", platform.os, platform.architecture))
                };
                let mut there: Vec<_> = self.manifests.iter().take(50).filter_map(names).collect();
                there.sort();
                there.dedup();
                let there = crate::error::clean(there.join(", ").as_bytes());
                let wanted = format!("{}/{}", platform.os, platform.architecture);
                Err(problem(
                    image,
                    &format!("it is not there for {wanted}, only for: {there}"),
                ))
            }
        }
    }
}

impl Manifest {
    pub(crate) fn check(&self, image: &str, limits: &Limits) -> Result<(), Error> {
        if self.layers.len() > limits.layers {
            return Err(problem(
                image,
                &format!("it has more than {} layers", limits.layers),
            ));
        }
        // Packed, they take room before anything of them is known; and hardly anything is larger
        // packed than unpacked.
        let mut sizes = self.layers.iter().map(|layer| layer.size);
        let total = sizes.try_fold(0_u64, u64::checked_add);
        if total.is_none_or(|total| total > limits.total_bytes) {
            return Err(problem(
                image,
                &format!("its layers have more than {} bytes", limits.total_bytes),
            ));
        }
        for layer in &self.layers {
            let kind = &layer.media_type;
            // Foreign layers lie somewhere else; encrypted ones need a key.
            if kind.contains("encrypted")
                || kind.contains("foreign")
                || kind.contains("nondistributable")
            {
                return Err(problem(
                    image,
                    &format!(
                        "layer {} is of a kind that is not supported: {}",
                        layer.digest,
                        crate::error::clean(kind.as_bytes())
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Configuration and diff ids.
pub(crate) fn parse_config(
    image: &str,
    bytes: &[u8],
    platform: &Platform,
) -> Result<(ImageConfig, Vec<Digest>), Error> {
    let file: ConfigFile = json(image, "configuration", bytes)?;
    if let (Some(os), Some(architecture)) = (&file.os, &file.architecture)
        && (os != &platform.os || architecture != &platform.architecture)
    {
        let is = crate::error::clean(format!("{os}/{architecture}").as_bytes());
        let wanted = format!("{}/{}", platform.os, platform.architecture);
        return Err(problem(image, &format!("it is for {is}, not for {wanted}")));
    }
    let part = file.config.unwrap_or_default();
    let mut env = BTreeMap::new();
    for one in part.env.unwrap_or_default() {
        let (name, value) = one.split_once('=').unwrap_or((&one, ""));
        if name.is_empty() || one.contains('\0') {
            return Err(problem(
                image,
                "its configuration has a variable without a name, or with a zero byte",
            ));
        }
        env.insert(name.to_owned(), value.to_owned());
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let config = ImageConfig {
        env,
        workdir: some(part.working_dir),
        user: some(part.user),
        labels: part.labels.unwrap_or_default(),
    };
    Ok((config, file.rootfs.diff_ids))
}

pub(crate) fn json<'a, T: Deserialize<'a>>(
    image: &str,
    what: &str,
    bytes: &'a [u8],
) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let error = crate::error::clean(error.to_string().as_bytes());
        problem(image, &format!("its {what} is damaged: {error}"))
    })
}

pub(crate) fn problem(image: &str, problem: &str) -> Error {
    Error::Image {
        image: crate::error::clean(image.as_bytes()),
        problem: problem.to_owned(),
    }
}
