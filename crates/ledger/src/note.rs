//! A signed text (C2SP signed-note): the text, an empty line, then signature lines
//! `— <name> <base64(key id || signature)>`.
//!
//! A note may carry signatures of several keys (witnesses cosign). Those of keys that the reader
//! does not know are kept and not judged.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::key::{SigningKey, VerifierKey, is_name};

/// The longest note, in bytes, and the most signatures: what the reference reader accepts.
const MAX_BYTES: usize = 1_000_000;
const MAX_SIGNATURES: usize = 100;

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    /// 64 bytes for Ed25519; other types have other lengths.
    bytes: Vec<u8>,
}

/// Why something is not a note signed by the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not in the form of a note.
    #[error("the note is malformed: {0}")]
    Malformed(&'static str),
    /// No signature of the key.
    #[error("the note is not signed by {0:?}")]
    NotSigned(String),
    /// A signature that claims to be the key's and is not.
    #[error("the signature of {0:?} is wrong")]
    WrongSignature(String),
}

impl Note {
    /// Signs a text.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] unless the text ends with a newline and has no other control
    /// characters.
    pub fn sign(text: &str, key: &SigningKey) -> Result<Self, NoteError> {
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed("the text does not end with a newline"));
        }
        Ok(Self::sign_checked(text.to_owned(), key))
    }

    /// Signs a text that is known to be well-formed.
    pub(crate) fn sign_checked(text: String, key: &SigningKey) -> Self {
        let signature = NoteSignature {
            name: key.name().to_owned(),
            key_id: key.verifier().id(),
            bytes: key.sign(text.as_bytes()).to_vec(),
        };
        Self {
            text,
            signatures: vec![signature],
        }
    }

    /// Reads a note. Judges its form, not its signatures.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_BYTES {
            return Err(NoteError::Malformed("it is too long"));
        }
        check_characters(note)?;
        let gap = note.rfind("\n\n");
        let gap = gap.ok_or(NoteError::Malformed("there is no empty line"))?;
        let (text, rest) = (&note[..=gap], &note[gap + 2..]);
        let lines = rest.strip_suffix('\n').ok_or(NoteError::Malformed(
            "the last signature line does not end with a newline",
        ))?;
        let signatures: Vec<_> = lines
            .split('\n')
            .map(parse_signature)
            .collect::<Option<_>>()
            .ok_or(NoteError::Malformed("a signature line cannot be read"))?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Malformed("it has too many signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, if the key signed it. One wrong signature in the key's name spoils the note.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`], [`NoteError::WrongSignature`].
    pub fn verify(&self, key: &VerifierKey) -> Result<&str, NoteError> {
        let id = key.id();
        let mut signed = false;
        for signature in &self.signatures {
            if signature.name != key.name() || signature.key_id != id {
                continue;
            }
            if !key.accepts(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::WrongSignature(key.name().to_owned()));
            }
            signed = true;
        }
        match signed {
            true => Ok(&self.text),
            false => Err(NoteError::NotSigned(key.name().to_owned())),
        }
    }

    /// The text, whoever signed it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature {
            name,
            key_id,
            bytes,
        } in &self.signatures
        {
            let encoded = STANDARD.encode([key_id, &bytes[..]].concat());
            writeln!(f, "— {name} {encoded}")?;
        }
        Ok(())
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk::<4>()?;
    if !is_name(name) || bytes.is_empty() {
        return None;
    }
    Some(NoteSignature {
        name: name.to_owned(),
        key_id: *key_id,
        bytes: bytes.to_vec(),
    })
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    if text.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(NoteError::Malformed("it has control characters"));
    }
    Ok(())
}
