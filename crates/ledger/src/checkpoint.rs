//! A signed statement of size and root (C2SP tlog-checkpoint).
//!
//! The text is three lines: the origin (the name of the ledger, which is the name of its key), the
//! size in decimal, the root in base64. Further lines are extensions: signed, kept, not interpreted.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::key::{SigningKey, VerifierKey};
use crate::note::{Note, NoteError};
use crate::{Hash, MAX_NUMBER};

/// The size and root of a ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// The Merkle tree hash over them.
    pub root: Hash,
    /// Further lines, none empty.
    pub extensions: Vec<String>,
}

/// A checkpoint with its signatures, in the form in which it is kept and handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why something is not a checkpoint of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not a signed note, or not signed by the key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note, but not in the form of a checkpoint.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(&'static str),
    /// A checkpoint of another ledger.
    #[error("the checkpoint is of the ledger {found:?}, not of {expected:?}")]
    OtherOrigin {
        /// Its origin.
        found: String,
        /// The name of the key.
        expected: String,
    },
}

impl SignedCheckpoint {
    /// States that the ledger named like the key has this size and root.
    #[must_use]
    pub fn sign(size: u64, root: Hash, key: &SigningKey) -> Self {
        let checkpoint = Checkpoint {
            origin: key.name().to_owned(),
            size,
            root,
            extensions: Vec::new(),
        };
        let note = Note::sign_checked(checkpoint.to_string(), key);
        Self { checkpoint, note }
    }

    /// Reads a kept checkpoint. Judges its form, not its signatures.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`], or [`NoteError::Malformed`] in [`CheckpointError::Note`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let note = Note::parse(text)?;
        let checkpoint = note.text().parse()?;
        Ok(Self { checkpoint, note })
    }

    /// The statement, if the key signed it and it is about the ledger of that name.
    ///
    /// # Errors
    /// [`CheckpointError::Note`], [`CheckpointError::OtherOrigin`].
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, CheckpointError> {
        if self.checkpoint.origin != key.name() {
            return Err(CheckpointError::OtherOrigin {
                found: self.checkpoint.origin.clone(),
                expected: key.name().to_owned(),
            });
        }
        self.note.verify(key)?;
        Ok(&self.checkpoint)
    }

    /// The statement, whoever signed it.
    #[must_use]
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = STANDARD.encode(self.root.as_bytes());
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size)?;
        self.extensions
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = CheckpointError::Malformed;
        let text = text.strip_suffix('\n');
        let text = text.ok_or(malformed("it does not end with a newline"))?;
        let mut lines = text.split('\n');
        let mut next = || {
            lines
                .next()
                .ok_or(malformed("it has fewer than three lines"))
        };
        let (origin, size, root) = (next()?, next()?, next()?);
        let extensions: Vec<_> = lines.map(str::to_owned).collect();
        if origin.is_empty() || extensions.iter().any(String::is_empty) {
            return Err(malformed("it has an empty line"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: parse_size(size).ok_or(malformed("its size is not a plain number"))?,
            root: parse_root(root).ok_or(malformed("its root is not 32 bytes of base64"))?,
            extensions,
        })
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    // One number has one spelling: no sign, no leading zero.
    (size <= MAX_NUMBER && size.to_string() == text).then_some(size)
}

fn parse_root(text: &str) -> Option<Hash> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(Hash::from_bytes(bytes.try_into().ok()?))
}
