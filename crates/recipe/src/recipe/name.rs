//! A recipe's digest: a name for what it makes.
//!
//! SHA-256 over a canonical encoding, in which every part is preceded by its length, so that no two
//! recipes read the same. What does not change the result is left out: how long a service may take
//! until it is ready, and which toolchains are checked.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{Command, Ready, Recipe, Root};
use crate::{Digest, Error, SetupFiles};

/// The root as it was found, in place of the words that named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolvedRoot {
    /// The digest of the image's configuration, which contains those of its layers. It is the same
    /// for a layout folder, a tarball and a registry.
    Image(Digest),
    /// The digest of [everything in the folder](crate::folder::digest).
    Folder(Digest),
    /// What identifies the host's system as it is now, where that is known.
    Host(Option<Digest>),
}

struct Encoder(Sha256);

impl Encoder {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A list's length, then whatever `each` writes per element.
    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.0.update((items.len() as u64).to_le_bytes());
        for item in items {
            each(self, item);
        }
    }

    fn map(&mut self, map: &BTreeMap<String, String>) {
        self.0.update((map.len() as u64).to_le_bytes());
        for (key, value) in map {
            self.text(key);
            self.text(value);
        }
    }

    fn command(&mut self, command: &Command) {
        // As what is executed, so that a line and its spelled-out form are one.
        self.list(&command.argv(), |encoder, word| encoder.text(word));
    }

    fn digest(&mut self, digest: Option<&Digest>) {
        self.bytes(digest.map_or(&[], |digest| digest.as_bytes().as_slice()));
    }
}

impl Recipe {
    /// The recipe's digest. `root` and `files` are what its words were resolved to on this machine:
    /// see [`setup_files`](crate::setup_files).
    ///
    /// # Errors
    /// [`Error::Field`] if `root` is of another kind than the recipe's, or a file of `setup` is not
    /// among `files`.
    pub fn digest(&self, root: ResolvedRoot, files: &SetupFiles) -> Result<Digest, Error> {
        let mut encoder = Encoder(Sha256::new());
        encoder.text("nightcrew recipe 2");
        self.encode_root(&mut encoder, root)?;
        self.encode_setup(&mut encoder, files)?;
        encoder.list(&self.prepare, Encoder::command);
        encoder.list(&self.start, Encoder::command);
        encoder.map(&self.env);
        encoder.text(self.workspace());
        encoder.text(self.workdir());
        let mut caches: Vec<String> = self.caches.iter().map(|cache| cache.identity()).collect();
        caches.sort();
        caches.dedup();
        encoder.list(&caches, |encoder, cache| encoder.text(cache));
        encoder.list(&self.services, |encoder, service| {
            encoder.text(&service.name);
            encoder.command(&service.command);
            encoder.map(&service.env);
            match &service.ready {
                Ready::Command(command) => {
                    encoder.text("command");
                    encoder.command(command);
                }
                Ready::Port(port) => {
                    encoder.text("port");
                    encoder.bytes(&port.to_le_bytes());
                }
                Ready::File(file) => {
                    encoder.text("file");
                    encoder.text(file);
                }
            }
        });
        Ok(Digest::finish(encoder.0))
    }

    fn encode_root(&self, encoder: &mut Encoder, resolved: ResolvedRoot) -> Result<(), Error> {
        match (&self.root, resolved) {
            (Root::Host(host), ResolvedRoot::Host(digest)) => {
                encoder.text("host");
                encoder.list(&host.folders, |encoder, folder| encoder.text(folder));
                encoder.digest(digest.as_ref());
            }
            (Root::Image(_), ResolvedRoot::Image(digest)) => {
                encoder.text("image");
                encoder.digest(Some(&digest));
            }
            (Root::Folder { .. }, ResolvedRoot::Folder(digest)) => {
                encoder.text("folder");
                encoder.digest(Some(&digest));
            }
            _ => return Err(Error::field("root", "was resolved as another kind of root")),
        }
        Ok(())
    }

    fn encode_setup(&self, encoder: &mut Encoder, files: &SetupFiles) -> Result<(), Error> {
        encoder.0.update((self.setup.len() as u64).to_le_bytes());
        for (number, step) in self.setup.iter().enumerate() {
            encoder.command(&step.run);
            encoder.map(&step.env);
            encoder.text(step.folder.as_deref().unwrap_or_default());
            encoder.0.update((step.files.len() as u64).to_le_bytes());
            for path in &step.files {
                let (mode, digest) = files.get(path).ok_or_else(|| {
                    let field = format!("setup[{number}].files");
                    Error::field(field, format!("names `{path}`, whose content is not known"))
                })?;
                encoder.text(path);
                encoder.bytes(&mode.to_le_bytes());
                encoder.digest(Some(digest));
            }
        }
        Ok(())
    }
}
