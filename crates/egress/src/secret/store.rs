//! Secrets at rest: one file per secret, whose metadata is open and whose value is sealed.
//!
//! A file is replaced as a whole. Nothing but the values needs the key: names, scopes and uses
//! can be listed without it, and a damaged file harms no other.

mod layout;
mod seal;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::error::SecretError;
use super::files;
use super::key::{KeySource, Keys};
use super::name::{Context, Scope, SecretName};
use super::record::{Content, LONGEST_WHO, MOST_USES, NewSecret, Record, Use, Uses, check_value};

/// Form of the files.
const VERSION: u32 = 1;
/// Most bytes of a file.
const LONGEST_FILE: u64 = 512 * 1024;
/// Most secrets.
const MOST: usize = 10_000;

/// All secrets of one data directory. Calls block for as long as the disk does.
pub struct Store {
    folder: PathBuf,
    source: KeySource,
    keys: Mutex<Option<Arc<Keys>>>,
}

/// What became of the values when the key was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Values under the new key.
    pub sealed: usize,
    /// Names whose values are gone.
    pub forgotten: Vec<String>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The secrets in a folder, which is made when something is first set.
    #[must_use]
    pub fn at(folder: PathBuf, source: KeySource) -> Self {
        Self {
            folder,
            source,
            keys: Mutex::new(None),
        }
    }

    /// A number that rises with every change, by whichever process.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn revision(&self) -> Result<u64, SecretError> {
        Ok(self.header()?.revision)
    }

    /// All secrets that can be read, by name, and what is wrong with those that cannot.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<(Vec<Record>, Vec<SecretError>), SecretError> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for path in self.paths()? {
            match self.read(&path) {
                Ok(Some(record)) => records.push(record),
                // Removed meanwhile.
                Ok(None) => {}
                Err(error) => damaged.push(error),
            }
        }
        records.sort_by(|a, b| (&a.name, &a.scope).cmp(&(&b.name, &b.scope)));
        Ok((records, damaged))
    }

    /// The one of this name and scope.
    ///
    /// # Errors
    /// When there is none, or its file is damaged.
    pub fn record(&self, name: &SecretName, scope: &Scope) -> Result<Record, SecretError> {
        let found = self.read(&self.path(name, scope))?;
        found.ok_or_else(|| self.missing(name))
    }

    /// The one that may be used in this context, of the narrowest scope.
    ///
    /// # Errors
    /// When there is none, it is for others only, or its file is damaged: one of a wider scope is
    /// not taken in its place.
    pub fn find(&self, name: &SecretName, context: &Context) -> Result<Record, SecretError> {
        for scope in context.scopes() {
            if let Some(record) = self.read(&self.path(name, &scope))? {
                return Ok(record);
            }
        }
        Err(self.missing(name))
    }

    /// The value that is kept here.
    ///
    /// # Errors
    /// When there is none, the key is lost or another one, or the file is damaged.
    pub fn value(&self, record: &Record) -> Result<Zeroizing<String>, SecretError> {
        let sealed = self.unseal(record)?;
        Ok(Zeroizing::new(sealed.value.clone()))
    }

    /// Makes a secret, or gives one a new value or reference.
    ///
    /// # Errors
    /// When the value is none, the key cannot be had, or nothing can be written.
    pub fn set(&self, new: NewSecret, now: Timestamp) -> Result<Record, SecretError> {
        if new
            .owner
            .as_ref()
            .is_some_and(|who| who.len() > LONGEST_WHO || who.chars().any(char::is_control))
        {
            return Err(SecretError::Invalid {
                what: "this is not a name of an owner".to_owned(),
                cure: "name a person, such as `ada`".to_owned(),
            });
        }
        self.make_folder()?;
        let _lock = self.lock()?;
        let path = self.path(&new.name, &new.scope);
        // A damaged file is replaced: that is the cure.
        let before = self.read(&path).unwrap_or(None);
        if before.is_none() && self.paths()?.len() >= MOST {
            return Err(SecretError::Invalid {
                what: format!("there are {MOST} secrets already"),
                cure: "remove some with `nightcrew secret rm`".to_owned(),
            });
        }
        let mut record = Record {
            v: VERSION,
            name: new.name,
            scope: new.scope,
            reference: None,
            owner: new
                .owner
                .or_else(|| before.as_ref().and_then(|record| record.owner.clone())),
            created: before.as_ref().map_or(now, |record| record.created),
            changed: now,
            expires: new.expires,
            version: before
                .as_ref()
                .map_or(0, |record| record.version)
                .saturating_add(1),
            fingerprint: None,
            sealed: None,
        };
        match new.content {
            Content::Reference(reference) => record.reference = Some(reference),
            Content::Value(value) => {
                check_value(&value)?;
                let keys = self.keys_or_new()?;
                // The same salt again, so that the same value has the same fingerprint.
                let salt = before.and_then(|record| Some(self.unseal(&record).ok()?.salt.clone()));
                let salt = match salt {
                    Some(salt) => salt,
                    None => fresh_salt()?,
                };
                self.seal(&mut record, &keys, &salt, &value)?;
            }
        }
        self.write(&path, &record)?;
        self.touch(None)?;
        Ok(record)
    }

    /// Removes a secret with its uses.
    ///
    /// # Errors
    /// When there is none, or it cannot be removed.
    pub fn remove(&self, name: &SecretName, scope: &Scope) -> Result<(), SecretError> {
        let path = self.path(name, scope);
        if !path.exists() {
            return Err(self.missing(name));
        }
        let _lock = self.lock()?;
        std::fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
        let _ = std::fs::remove_file(uses_path(&path));
        self.touch(None)
    }

    /// Notes that a secret was used.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_use(&self, record: &Record, used: Use) -> Result<(), SecretError> {
        let _lock = self.lock()?;
        let mut uses = self.uses(record)?;
        uses.count = uses.count.saturating_add(1);
        uses.newest.insert(0, used);
        uses.newest.truncate(MOST_USES);
        let path = uses_path(&self.path(&record.name, &record.scope));
        let bytes =
            serde_json::to_vec(&uses).map_err(|error| damaged(&path, &error.to_string()))?;
        files::replace(&path, &bytes).map_err(|source| io_error(&path, source))
    }

    /// Uses of a secret.
    ///
    /// # Errors
    /// When they cannot be read. What makes no sense counts as none: the ledger has them.
    pub fn uses(&self, record: &Record) -> Result<Uses, SecretError> {
        let path = uses_path(&self.path(&record.name, &record.scope));
        let bytes = files::read(&path, LONGEST_FILE).map_err(|source| io_error(&path, source))?;
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }

    /// A document of Nightcrew's own, sealed like a value; made by `make` when it is not there.
    pub(super) fn own(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, SecretError>,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let path = self.folder.join(format!("{name}.age"));
        let read = || files::read(&path, LONGEST_FILE).map_err(|source| io_error(&path, source));
        if read()?.is_none() {
            self.make_folder()?;
            let _lock = self.lock()?;
            if read()?.is_none() {
                let sealed = self
                    .keys_or_new()?
                    .seal(&make()?)
                    .map_err(|cause| damaged(&path, &cause))?;
                files::replace(&path, &sealed).map_err(|source| io_error(&path, source))?;
            }
        }
        let sealed = read()?.ok_or_else(|| damaged(&path, "it is gone"))?;
        let opened = self
            .keys()?
            .open(&sealed)
            .map_err(|cause| damaged(&path, cause))?;
        opened.ok_or_else(|| {
            damaged(
                &path,
                "it is sealed with another key; remove it, and a new one is made",
            )
        })
    }

    fn missing(&self, name: &SecretName) -> SecretError {
        let scopes: Vec<Scope> = self
            .list()
            .map(|(records, _)| records)
            .unwrap_or_default()
            .into_iter()
            .filter(|record| record.name == *name)
            .map(|record| record.scope)
            .collect();
        if scopes.is_empty() {
            return SecretError::NotFound {
                name: name.to_string(),
            };
        }
        SecretError::OutOfScope {
            name: name.clone(),
            scopes,
        }
    }
}

fn uses_path(path: &Path) -> PathBuf {
    path.with_extension("uses")
}

fn fresh_salt() -> Result<String, SecretError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SecretError::Invalid {
        what: format!("there are no random bytes: {error}"),
        cure: "check the kernel's random source".to_owned(),
    })?;
    Ok(hex::encode(bytes))
}

fn fingerprint(salt: &str, value: &str) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(salt.as_bytes());
    context.update(value.as_bytes());
    hex::encode(&context.finish().as_ref()[..4])
}

fn io_error(path: &Path, source: io::Error) -> SecretError {
    SecretError::Io {
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, cause: &str) -> SecretError {
    SecretError::Damaged {
        path: path.to_owned(),
        cause: cause.to_owned(),
    }
}
