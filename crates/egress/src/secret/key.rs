//! The key that seals secrets at rest: an age identity, from a file, a variable, a command (which
//! may ask the system's keyring), or a file that a passphrase opens.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use age::x25519::{Identity, Recipient};
use zeroize::Zeroizing;

use super::error::SecretError;
use super::{files, local};

/// Most bytes of a key file: room for comments and a few keys.
const LONGEST: u64 = 16 * 1024;
/// Most keys in one place.
const MOST_KEYS: usize = 8;
/// scrypt's cost, as the power of two: about a second.
const COST: u8 = 17;
/// Highest cost that is borne when opening.
const HIGHEST_COST: u8 = 20;

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file that only its owner may read; made at first use.
    File(PathBuf),
    /// A variable of this process.
    Variable(String),
    /// What a command prints: `["secret-tool", "lookup", …]`, `["keyctl", "pipe", …]`.
    Command(Vec<String>),
    /// A file that is sealed with a passphrase, which is in another file; made at first use.
    Passphrase {
        /// The file with the passphrase.
        phrase: PathBuf,
        /// The file with the key.
        file: PathBuf,
    },
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Command(argv) => {
                write!(f, "command `{}`", argv.first().map_or("", String::as_str))
            }
            Self::Passphrase { file, .. } => write!(f, "{}", file.display()),
        }
    }
}

/// Keys: the first seals, all open.
pub(super) struct Keys(Vec<Identity>);

impl Keys {
    /// A new one.
    pub(super) fn generate() -> Self {
        Self(vec![Identity::generate()])
    }

    /// None.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// These before those.
    pub(super) fn before(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// Only the one that seals.
    pub(super) fn first_only(&self) -> Self {
        Self(self.0.iter().take(1).cloned().collect())
    }

    /// Public half of the key that seals.
    pub(super) fn recipient(&self) -> String {
        self.0
            .first()
            .map(|key| key.to_public().to_string())
            .unwrap_or_default()
    }

    /// Whether one of the keys has this public half.
    pub(super) fn has(&self, recipient: &str) -> bool {
        self.0
            .iter()
            .any(|key| key.to_public().to_string() == recipient)
    }

    /// Seals.
    pub(super) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let recipient: Recipient = self
            .0
            .first()
            .ok_or_else(|| "there is no key".to_owned())?
            .to_public();
        age::encrypt(&recipient, plain).map_err(|_| "it cannot be sealed".to_owned())
    }

    /// Opens; `None` when no key fits.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, &'static str> {
        for key in &self.0 {
            match age::decrypt(key, sealed) {
                Ok(plain) => return Ok(Some(Zeroizing::new(plain))),
                Err(age::DecryptError::NoMatchingKeys | age::DecryptError::DecryptionFailed) => {}
                Err(_) => return Err("its seal is broken"),
            }
        }
        Ok(None)
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::from(
            "# Opens Nightcrew's secrets. Keep a copy elsewhere: without it their values are lost.\n",
        ));
        for key in &self.0 {
            text.push_str(key.to_string().expose_secret());
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = line.parse::<Identity>();
            keys.push(key.map_err(|_| "it has a line that is no `AGE-SECRET-KEY-1…`".to_owned())?);
            if keys.len() > MOST_KEYS {
                return Err(format!("it has more than {MOST_KEYS} keys"));
            }
        }
        if keys.is_empty() {
            return Err("there is no key in it".to_owned());
        }
        Ok(Self(keys))
    }
}

impl KeySource {
    /// The keys; `None` when there are none there.
    pub(super) fn load(&self) -> Result<Option<Keys>, SecretError> {
        let text = match self {
            Self::File(path) => private(self, path)?,
            Self::Variable(name) => std::env::var(name)
                .ok()
                .filter(|text| !text.trim().is_empty())
                .map(Zeroizing::new),
            Self::Command(argv) => {
                let cure = "run the command by hand as the user of the server";
                let said = local::command(argv)
                    .map_err(|error| self.unusable(&error.to_string(), cure))?;
                Some(said)
            }
            Self::Passphrase { phrase, file } => match read(self, file)? {
                None => None,
                Some(sealed) => Some(self.unlock(phrase, &sealed)?),
            },
        };
        let cure = "put back a copy of the key, or an age identity as `age-keygen` makes it";
        text.map(|text| Keys::parse(&text).map_err(|cause| self.unusable(&cause, cure)))
            .transpose()
    }

    /// Whether keys can be written there.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self, Self::File(_) | Self::Passphrase { .. })
    }

    /// Writes the keys in place of what is there.
    pub(super) fn save(&self, keys: &Keys) -> Result<(), SecretError> {
        let text = keys.text();
        let (path, bytes) = match self {
            Self::File(path) => (path, text.as_bytes().to_vec()),
            Self::Passphrase { phrase, file } => {
                let mut recipient = age::scrypt::Recipient::new(self.phrase(phrase)?);
                recipient.set_work_factor(COST);
                let sealed = age::encrypt(&recipient, text.as_bytes());
                let cure = "check the file with the passphrase";
                (
                    file,
                    sealed.map_err(|_| self.unusable("it cannot be sealed", cure))?,
                )
            }
            Self::Variable(_) | Self::Command(_) => {
                let cause = "there is none, and Nightcrew cannot write it there";
                let cure = "put one there as `age-keygen` makes it, the new one first when it is to be changed";
                return Err(self.unusable(cause, cure));
            }
        };
        files::replace(path, &bytes).map_err(|source| SecretError::Io {
            path: path.clone(),
            source,
        })
    }

    fn unlock(&self, phrase: &Path, sealed: &[u8]) -> Result<Zeroizing<String>, SecretError> {
        let mut identity = age::scrypt::Identity::new(self.phrase(phrase)?);
        identity.set_max_work_factor(HIGHEST_COST);
        let cure = "give the passphrase with which it was made";
        let plain = age::decrypt(&identity, sealed)
            .map_err(|_| self.unusable("the passphrase does not open it", cure))?;
        let plain = Zeroizing::new(plain);
        let text = std::str::from_utf8(&plain).map_err(|_| self.unusable("it is no text", cure))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn phrase(&self, path: &Path) -> Result<SecretString, SecretError> {
        let cure = format!(
            "write a passphrase into {}, readable for this user only",
            path.display()
        );
        let text = private(self, path)?
            .ok_or_else(|| self.unusable("the file with the passphrase is not there", &cure))?;
        let line = text.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Err(self.unusable("the passphrase is empty", &cure));
        }
        Ok(SecretString::from(line.to_owned()))
    }

    pub(super) fn unusable(&self, cause: &str, cure: &str) -> SecretError {
        SecretError::KeyUnusable {
            place: self.to_string(),
            cause: cause.to_owned(),
            cure: cure.to_owned(),
        }
    }
}

fn read(source: &KeySource, path: &Path) -> Result<Option<Vec<u8>>, SecretError> {
    let cure = format!(
        "make {} readable for the user of the server",
        path.display()
    );
    files::read(path, LONGEST).map_err(|error| source.unusable(&error.to_string(), &cure))
}

/// Text of a file that nobody else may read.
fn private(source: &KeySource, path: &Path) -> Result<Option<Zeroizing<String>>, SecretError> {
    let Some(bytes) = read(source, path)? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let mode = std::fs::symlink_metadata(path).map_or(0, |meta| meta.mode());
    if mode & 0o077 != 0 {
        let cure = format!(
            "`chmod 600 {}`, and consider the key as known to others",
            path.display()
        );
        return Err(source.unusable(&format!("others may read {}", path.display()), &cure));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| source.unusable("it is no text", "put back a copy of it"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}
