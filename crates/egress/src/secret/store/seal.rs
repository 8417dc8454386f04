//! Values sealed and opened, and the change of the key.

use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::super::error::SecretError;
use super::super::key::Keys;
use super::super::record::{Record, Sealed};
use super::{Rekeyed, Store, damaged, fingerprint};

impl Store {
    /// Seals every value with a new key. With `forget`, values that cannot be opened are given up
    /// and their names kept; without, such a value is an error and nothing is lost.
    ///
    /// A crash leaves a key file with both keys and opens everything; doing it again completes it.
    ///
    /// # Errors
    /// When the key cannot be had or written, or a file is damaged.
    pub fn rekey(&self, forget: bool) -> Result<Rekeyed, SecretError> {
        self.make_folder()?;
        let _lock = self.lock()?;
        let old = self.source.load();
        let old = if forget { old.unwrap_or(None) } else { old? };
        let keys = match (&old, self.source.is_ours()) {
            (Some(old), true) => Keys::generate().before(old),
            (None, true) if forget || self.header()?.recipient.is_empty() => Keys::generate(),
            // There the new key was put before the old one by hand.
            (Some(old), false) => old.before(&Keys::none()),
            (None, _) => return Err(self.lost()?),
        };
        let (records, damaged) = self.list()?;
        if let Some(error) = damaged.into_iter().next()
            && !forget
        {
            return Err(error);
        }
        let keys = &Arc::new(keys);
        *self.cached() = Some(Arc::clone(keys));
        if !forget {
            for record in records.iter().filter(|record| record.sealed.is_some()) {
                self.unseal(record)?;
            }
        }
        if self.source.is_ours() {
            self.source.save(keys)?;
        }
        let mut done = Rekeyed::default();
        for mut record in records {
            if record.sealed.is_none() {
                continue;
            }
            match self.unseal(&record) {
                Ok(open) => {
                    self.seal(&mut record, keys, &open.salt, &open.value)?;
                    done.sealed += 1;
                }
                Err(_) => {
                    (record.sealed, record.fingerprint) = (None, None);
                    done.forgotten
                        .push(format!("{} ({})", record.name, record.scope));
                }
            }
            self.write(&self.path(&record.name, &record.scope), &record)?;
        }
        self.touch(Some(keys.recipient()))?;
        if self.source.is_ours() {
            self.source.save(&keys.first_only())?;
        }
        *self.cached() = Some(Arc::new(keys.first_only()));
        Ok(done)
    }

    pub(super) fn unseal(&self, record: &Record) -> Result<Sealed, SecretError> {
        let path = self.path(&record.name, &record.scope);
        let Some(text) = &record.sealed else {
            return Err(SecretError::Forgotten {
                name: record.name.clone(),
                scope: record.scope.clone(),
            });
        };
        let sealed = STANDARD
            .decode(text)
            .map_err(|_| damaged(&path, "its value is no base64"))?;
        let mut keys = self.keys()?;
        let mut plain = keys.open(&sealed).map_err(|cause| damaged(&path, cause))?;
        if plain.is_none() {
            // Another process may have changed the key since.
            *self.cached() = None;
            keys = self.keys()?;
            plain = keys.open(&sealed).map_err(|cause| damaged(&path, cause))?;
        }
        let Some(plain) = plain else {
            let needed = self.header()?.recipient;
            if keys.has(&needed) {
                return Err(damaged(
                    &path,
                    "its value was sealed with another key than all others",
                ));
            }
            return Err(SecretError::KeyOther {
                place: self.source.to_string(),
                sealed: needed,
            });
        };
        let open: Sealed = serde_json::from_slice(&plain)
            .map_err(|_| damaged(&path, "its value has another form"))?;
        if open.name != record.name.as_str() || open.scope != record.scope.to_string() {
            return Err(damaged(&path, "its value is that of another secret"));
        }
        Ok(open)
    }

    pub(super) fn seal(
        &self,
        record: &mut Record,
        keys: &Keys,
        salt: &str,
        value: &str,
    ) -> Result<(), SecretError> {
        let path = self.path(&record.name, &record.scope);
        let sealed = Sealed {
            name: record.name.to_string(),
            scope: record.scope.to_string(),
            salt: salt.to_owned(),
            value: value.to_owned(),
        };
        let plain =
            serde_json::to_vec(&sealed).map_err(|error| damaged(&path, &error.to_string()))?;
        let bytes = keys
            .seal(&Zeroizing::new(plain))
            .map_err(|cause| damaged(&path, &cause))?;
        record.sealed = Some(STANDARD.encode(bytes));
        record.fingerprint = Some(fingerprint(salt, value));
        Ok(())
    }

    /// The keys, which must be there.
    pub(super) fn keys(&self) -> Result<Arc<Keys>, SecretError> {
        if let Some(keys) = &*self.cached() {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(self.source.load()?.map_or_else(|| Err(self.lost()?), Ok)?);
        *self.cached() = Some(Arc::clone(&keys));
        Ok(keys)
    }

    /// The keys; made when no value was ever sealed. Called with the lock held.
    pub(super) fn keys_or_new(&self) -> Result<Arc<Keys>, SecretError> {
        let header = self.header()?;
        if !header.recipient.is_empty() {
            let keys = self.keys()?;
            return match keys.has(&header.recipient) {
                true => Ok(keys),
                false => Err(SecretError::KeyOther {
                    place: self.source.to_string(),
                    sealed: header.recipient,
                }),
            };
        }
        let keys = match self.source.load()? {
            Some(keys) => keys,
            None if self.list()?.0.iter().any(|record| record.sealed.is_some()) => {
                return Err(self.lost()?);
            }
            None => {
                let keys = Keys::generate();
                self.source.save(&keys)?;
                keys
            }
        };
        self.touch(Some(keys.recipient()))?;
        let keys = Arc::new(keys);
        *self.cached() = Some(Arc::clone(&keys));
        Ok(keys)
    }

    pub(super) fn cached(&self) -> std::sync::MutexGuard<'_, Option<Arc<Keys>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lost(&self) -> Result<SecretError, SecretError> {
        let (records, _) = self.list()?;
        Ok(SecretError::KeyLost {
            place: self.source.to_string(),
            count: records
                .iter()
                .filter(|record| record.sealed.is_some())
                .count(),
        })
    }
}
