//! Ed25519 keys in the forms of C2SP signed-note, so that other people's tools read them too.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer};

use crate::Hash;
use crate::hash::decode_hex;

/// The signature type byte of Ed25519.
const ED25519: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";

/// The secret half: signs checkpoints.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey,
}

/// The public half. Written `<name>+<key id, hex>+<base64(0x01 || public key)>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a key in the expected form.
    #[error("the key is malformed: {0}")]
    Malformed(&'static str),
    /// A name that cannot stand in a note.
    #[error("{0:?} cannot name a key: it is empty, or holds a space, a control character or '+'")]
    Name(String),
    /// The key file holds a key of another name.
    #[error("{path} holds the key of {found:?}, not of {expected:?}")]
    OtherName {
        /// The key file.
        path: PathBuf,
        /// The name in it.
        found: String,
        /// The name asked for.
        expected: String,
    },
    /// Others may read or write the key file.
    #[error("others may reach {path} (mode {mode:o}); run `chmod 600` on it")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file holds no key. It is never overwritten.
    #[error("{path} holds no signing key; restore it from a backup")]
    Damaged {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KeyError>,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for a new key")]
    Random(#[source] getrandom::Error),
    /// The file system refused.
    #[error("could not {action} the key file {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SigningKey {
    /// A new random key. The name becomes the origin of the checkpoints: a text without spaces that
    /// is unique in the world, by custom a URL without scheme.
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Random`].
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        Self::from_seed(name, &seed)
    }

    /// The key that belongs to these 32 secret bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            key: ed25519_dalek::SigningKey::from_bytes(seed),
        })
    }

    /// Reads the key file, or makes one of mode 0600 with a new key if there is none. Of several
    /// processes that do so at once, all get the same key.
    ///
    /// # Errors
    /// Any [`KeyError`]; an existing file is never changed.
    pub fn load_or_create(path: &Path, name: &str) -> Result<Self, KeyError> {
        if let Some(key) = Self::load(path, name)? {
            return Ok(key);
        }
        let key = Self::generate(name)?;
        match key.create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(file_error("create", path, e)),
            Ok(()) => return Ok(key),
        }
        Self::load(path, name)?
            .ok_or_else(|| file_error("read", path, io::ErrorKind::NotFound.into()))
    }

    fn load(path: &Path, name: &str) -> Result<Option<Self>, KeyError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(file_error("open", path, e)),
        };
        let read = |e| file_error("read", path, e);
        let mode = file.metadata().map_err(read)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(KeyError::Exposed { path, mode });
        }
        let mut text = String::new();
        (&mut file)
            .take(4096)
            .read_to_string(&mut text)
            .map_err(read)?;
        let key = Self::parse(&text).map_err(|e| KeyError::Damaged {
            path: path.to_owned(),
            source: Box::new(e),
        })?;
        if key.name != name {
            return Err(KeyError::OtherName {
                path: path.to_owned(),
                found: key.name,
                expected: name.to_owned(),
            });
        }
        Ok(Some(key))
    }

    /// Writes the whole file under another name and links it, so that no half-written key is ever
    /// found and an existing one is never replaced.
    fn create(&self, path: &Path) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", hex::encode(self.verifier().id())));
        let draft = PathBuf::from(draft);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        let linked = file
            .write_all(self.to_secret_text().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        linked?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    /// The form in the key file: `PRIVATE+KEY+<name>+<key id, hex>+<base64(0x01 || seed)>`, a line.
    fn to_secret_text(&self) -> String {
        let id = hex::encode(self.verifier().id());
        let bytes = [&[ED25519], &self.key.as_bytes()[..]].concat();
        format!("{PRIVATE}{}+{id}+{}\n", self.name, STANDARD.encode(bytes))
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_prefix(PRIVATE);
        let line = line.ok_or(KeyError::Malformed("it does not begin with PRIVATE+KEY+"))?;
        let (name, id, seed) = split_key(line)?;
        let key = Self::from_seed(name, &seed)?;
        match key.verifier().id() == id {
            true => Ok(key),
            false => Err(KeyError::Malformed("its id is not that of the key")),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, secret)", self.name)
    }
}

impl VerifierKey {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id of signed-note: the first four bytes of
    /// `SHA-256(name || 0x0A || 0x01 || public key)`.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let parts: [&[u8]; 3] = [self.name.as_bytes(), &[b'\n', ED25519], self.key.as_bytes()];
        let [a, b, c, d, ..] = *Hash::of(&parts).as_bytes();
        [a, b, c, d]
    }

    /// Whether the bytes are this key's signature of the text. Strict: no small-order keys, no
    /// second spelling of a signature.
    pub(crate) fn accepts(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[ED25519], &self.key.as_bytes()[..]].concat();
        let id = hex::encode(self.id());
        write!(f, "{}+{id}+{}", self.name, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, id, bytes) = split_key(text)?;
        check_name(name)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes)
            .map_err(|_| KeyError::Malformed("it is no point of the curve"))?;
        if key.is_weak() {
            return Err(KeyError::Malformed("it is a weak point of the curve"));
        }
        let name = name.to_owned();
        let key = Self { name, key };
        match key.id() == id {
            true => Ok(key),
            false => Err(KeyError::Malformed("its id is not that of the key")),
        }
    }
}

/// Takes `<name>+<id>+<base64(0x01 || 32 bytes)>` apart.
fn split_key(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Malformed("it is not name+id+key"));
    };
    let id = decode_hex(id).ok_or(KeyError::Malformed("its id is not 8 hexadecimal digits"))?;
    let bytes = STANDARD
        .decode(key)
        .map_err(|_| KeyError::Malformed("it is not base64"))?;
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((
            name,
            id,
            key.try_into()
                .map_err(|_| KeyError::Malformed("it has not 32 bytes"))?,
        )),
        _ => Err(KeyError::Malformed("it is not an Ed25519 key")),
    }
}

/// Whether a name can stand in a signature line.
pub(crate) fn is_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(forbidden)
}

fn check_name(name: &str) -> Result<(), KeyError> {
    match is_name(name) {
        true => Ok(()),
        false => Err(KeyError::Name(name.to_owned())),
    }
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
