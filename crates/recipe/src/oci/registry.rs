//! Images in registries: OCI distribution specification 1.1, pulling only.

mod auth;
mod client;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::client::{Client, Wanted};
use super::image::{ImageInfo, ImageReader, check, read_metadata, resolve};
use super::manifest::{Descriptor, Document};
use super::{ImageStore, Limits, Platform, Reference};
use crate::{Digest, Error};

/// How registries are reached. Nothing is taken from the environment of this process: no proxy, no
/// credentials, no certificates.
#[derive(Clone)]
pub struct RegistryOptions {
    /// Who we are there. Sent to the registry and to the token service it names, over TLS, and to nobody else.
    pub credentials: Option<Credentials>,
    /// Hosts (with port) that are spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Whether loopback addresses are, too. So it is unless said otherwise.
    pub plain_loopback: bool,
    /// Certificates in PEM that are trusted in place of the usual ones.
    pub certificates: Option<Vec<u8>>,
    /// An HTTP proxy, as in `http://proxy.example:3128`.
    pub proxy: Option<String>,
    /// How long to wait for a connection, an answer, or further bytes.
    pub patience: Duration,
    /// Bytes per second at which an answer must arrive, on the whole: a blob that would take longer,
    /// beyond `patience`, is given up.
    pub slowest: u64,
}

/// A name and a password or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password or token.
    pub password: String,
}

/// An image in a registry. Blobs are fetched into a folder, checked on the way, and stay there until they
/// are unpacked; so a fetch that was interrupted goes on with the next blob.
#[derive(Debug)]
pub struct RegistryImage<'a> {
    reference: Reference,
    client: Client,
    store: &'a ImageStore,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: None,
            plain_http: Vec::new(),
            plain_loopback: true,
            certificates: None,
            proxy: None,
            patience: Duration::from_secs(30),
            slowest: 32 * 1024,
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither credentials nor a proxy's password belong into a log.
        f.debug_struct("RegistryOptions")
            .field("plain_http", &self.plain_http)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl<'a> RegistryImage<'a> {
    /// An image whose blobs are fetched into `store`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Registry`] if certificates or proxy make no sense.
    pub fn new(
        reference: Reference,
        options: RegistryOptions,
        store: &'a ImageStore,
    ) -> Result<Self, Error> {
        let client = Client::new(&reference, options)?;
        Ok(Self {
            reference,
            client,
            store,
        })
    }

    /// A document by tag or digest. One that is named by digest is kept, so that it is asked for once.
    fn document(
        &self,
        wanted: &str,
        digest: Option<Digest>,
        size: Option<u64>,
    ) -> Result<Vec<u8>, Error> {
        let what = format!("manifest {wanted}");
        if let Some(bytes) = digest.and_then(|digest| self.kept(&digest)) {
            return Ok(bytes);
        }
        let response = self
            .client
            .get(Wanted::Manifest(wanted), Limits::METADATA)?;
        let bytes = read_metadata(&what, response, digest, size)?;
        if let Some(digest) = digest {
            self.keep(&digest, bytes.as_slice(), bytes.len() as u64, &what)?;
        }
        Ok(bytes)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.store.blobs().join(digest.hex())
    }

    fn kept(&self, digest: &Digest) -> Option<Vec<u8>> {
        let file = File::open(self.blob(digest)).ok()?;
        let bytes = read_metadata("blob", file, Some(*digest), None).ok()?;
        Some(bytes)
    }

    /// Fetches a blob unless it is there.
    fn fetch(&self, digest: Digest, size: u64) -> Result<PathBuf, Error> {
        let path = self.blob(&digest);
        // It got its name when its bytes had been checked, and they are checked again when unpacked.
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == size) {
            return Ok(path);
        }
        let text = digest.to_string();
        let response = self.client.get(Wanted::Blob(&text), size)?;
        self.keep(&digest, response, size, &format!("blob {digest}"))?;
        Ok(path)
    }

    /// Writes what comes beside, checks it, and gives it its name.
    fn keep(&self, digest: &Digest, reader: impl Read, size: u64, what: &str) -> Result<(), Error> {
        let path = self.blob(digest);
        let new = self.store.scratch_path();
        let result = self
            .receive(&new, digest, reader, size, what)
            .and_then(|()| fs::rename(&new, &path).map_err(Error::io("name", &path)));
        if result.is_err() {
            let _ = fs::remove_file(&new);
        }
        result
    }

    fn receive(
        &self,
        new: &Path,
        digest: &Digest,
        reader: impl Read,
        size: u64,
        what: &str,
    ) -> Result<(), Error> {
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(new);
        let mut file = file.map_err(Error::io("create", new))?;
        let mut hasher = Sha256::new();
        // One more than promised is enough to know that it is too much.
        let mut reader = reader.take(size.saturating_add(1));
        let mut buffer = vec![0; 128 * 1024];
        let mut found = 0;
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(self.client.failed(what, &error)),
            };
            hasher.update(&buffer[..n]);
            found += n as u64;
            file.write_all(&buffer[..n])
                .map_err(Error::io("write", new))?;
        }
        if found != size {
            return Err(Error::WrongSize {
                what: what.to_owned(),
                wanted: size,
                found,
            });
        }
        check(what, Some(*digest), Digest::finish(hasher))?;
        file.sync_data().map_err(Error::io("flush", new))
    }
}

impl ImageReader for RegistryImage<'_> {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn info(
        &self,
        platform: &Platform,
        pinned: Option<Digest>,
        limits: &Limits,
    ) -> Result<ImageInfo, Error> {
        let digest = pinned.or(self.reference.digest);
        let wanted = digest.map_or_else(|| self.reference.wanted(), |digest| digest.to_string());
        let name = self.name();
        let first = Document::parse(&name, &self.document(&wanted, digest, None)?)?;
        let fetch = |descriptor: &Descriptor, is_manifest: bool| {
            let Descriptor { digest, size, .. } = descriptor;
            if is_manifest {
                return self.document(&digest.to_string(), Some(*digest), Some(*size));
            }
            if *size > Limits::METADATA {
                return Err(super::manifest::problem(
                    &name,
                    "its configuration is larger than 4 MiB",
                ));
            }
            let path = self.fetch(*digest, *size)?;
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            read_metadata(&format!("blob {digest}"), file, Some(*digest), Some(*size))
        };
        resolve(&name, first, platform, limits, &fetch)
    }

    fn layer(&self, info: &ImageInfo, number: usize) -> Result<Box<dyn Read + '_>, Error> {
        let packed = info.layers.get(number).and_then(|layer| layer.packed);
        let (digest, size) =
            packed.ok_or_else(|| super::manifest::problem(&self.name(), "it has no such layer"))?;
        let path = self.fetch(digest, size)?;
        Ok(Box::new(
            File::open(&path).map_err(Error::io("open", &path))?,
        ))
    }

    fn unpacked(&self, info: &ImageInfo, number: usize) {
        if let Some((digest, _)) = info.layers.get(number).and_then(|layer| layer.packed) {
            // It only takes room now.
            let _ = fs::remove_file(self.blob(&digest));
        }
    }
}
