//! What one entry says, in one canonical form.
//!
//! A leaf is a JSON object on one line, keys sorted, no white space, strings escaped as RFC 8785
//! does it, integers below 2⁵³ so that every JSON reader reads them exactly:
//!
//! ```json
//! {"actor":"person:ada","at":1760000000000000,"kind":"approval.given","payload_hash":"…","salt":"…","scope":"org","seq":7,"subject":"task:42","v":1}
//! ```
//!
//! The payload is kept beside, not inside, so that it can be erased: the leaf holds
//! `SHA-256(salt || payload)`. The salt lies open in the leaf. It keeps equal payloads from looking
//! equal and rules out tables made in advance; it does *not* keep somebody from trying out guesses
//! of one payload. A payload that must not be guessable after its erasure has to carry random bytes
//! of its own.

use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::hash::decode_hex;

/// Bytes of salt in front of a payload when it is hashed.
pub const SALT_BYTES: usize = 32;
/// The longest leaf, in bytes.
pub const MAX_LEAF_BYTES: usize = 64 * 1024;
/// The largest `at` and `seq`: 2⁵³ − 1, the largest integer that every JSON reader reads exactly
/// (RFC 7493). As microseconds it lasts until the year 2255.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

const VERSION: u8 = 1;
const MAX_KIND_BYTES: usize = 64;

/// What a leaf says about its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// What happened: a stable dotted name such as `task.prepared`; lower-case letters, digits and
    /// underscores, at most 64 bytes.
    pub kind: String,
    /// When: microseconds since 1970-01-01T00:00:00Z, at most [`MAX_NUMBER`].
    pub at: u64,
    /// Who did it. Stays for ever: an identifier, not personal data.
    pub actor: String,
    /// Under whose authority: organisation, group, automation or repository.
    pub scope: String,
    /// The stream of facts it belongs to.
    pub subject: String,
    /// The place in that stream, at most [`MAX_NUMBER`].
    pub seq: u64,
}

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    heading: Heading,
    payload_hash: Hash,
    salt: [u8; SALT_BYTES],
}

/// Why something is not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// Too long.
    #[error("the leaf has {0} bytes, more than {MAX_LEAF_BYTES}")]
    TooLong(usize),
    /// Not JSON, or not the fields of a leaf.
    #[error("the leaf cannot be read: {0}")]
    Unreadable(String),
    /// Written by a version of this program that knows more.
    #[error("the leaf has version {0}, and only version {VERSION} is known")]
    Version(u64),
    /// A value outside what its field allows.
    #[error("the leaf's {0} is not valid")]
    Field(&'static str),
    /// The right values in another spelling than the canonical one.
    #[error("the leaf is not in canonical form")]
    NotCanonical,
}

/// The JSON of a leaf. The order of the fields is the order in the canonical form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow)]
    actor: std::borrow::Cow<'a, str>,
    at: u64,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    payload_hash: &'a str,
    salt: &'a str,
    #[serde(borrow)]
    scope: std::borrow::Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    subject: std::borrow::Cow<'a, str>,
    v: u64,
}

impl Leaf {
    /// The leaf for `payload` under `heading`. The `salt` is random and used once.
    ///
    /// # Errors
    /// [`LeafError::Field`] and [`LeafError::TooLong`].
    pub fn new(
        heading: Heading,
        payload: &[u8],
        salt: [u8; SALT_BYTES],
    ) -> Result<Self, LeafError> {
        heading.check()?;
        let leaf = Self {
            payload_hash: Hash::of(&[&salt, payload]),
            heading,
            salt,
        };
        check_length(leaf.to_bytes().len())?;
        Ok(leaf)
    }

    /// The canonical form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Heading {
            kind,
            at,
            actor,
            scope,
            subject,
            seq,
        } = &self.heading;
        let wire = Wire {
            actor: actor.into(),
            at: *at,
            kind: kind.into(),
            payload_hash: &self.payload_hash.to_string(),
            salt: &hex::encode(self.salt),
            scope: scope.into(),
            seq: *seq,
            subject: subject.into(),
            v: VERSION.into(),
        };
        let mut bytes = Vec::with_capacity(320);
        // Strings and integers into memory: there is nothing that could fail.
        let written = serde_json::to_writer(&mut bytes, &wire);
        debug_assert!(written.is_ok());
        bytes
    }

    /// Reads a leaf strictly: of all spellings of the same values only [`to_bytes`](Self::to_bytes)
    /// is accepted.
    ///
    /// # Errors
    /// Any [`LeafError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        check_length(bytes.len())?;
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|e| unreadable(bytes, &e))?;
        if wire.v != u64::from(VERSION) {
            return Err(LeafError::Version(wire.v));
        }
        let leaf = Self {
            payload_hash: wire
                .payload_hash
                .parse()
                .map_err(|_| LeafError::Field("payload_hash"))?,
            salt: decode_hex(wire.salt).ok_or(LeafError::Field("salt"))?,
            heading: Heading {
                kind: wire.kind.into_owned(),
                at: wire.at,
                actor: wire.actor.into_owned(),
                scope: wire.scope.into_owned(),
                subject: wire.subject.into_owned(),
                seq: wire.seq,
            },
        };
        leaf.heading.check()?;
        if leaf.to_bytes() != bytes {
            return Err(LeafError::NotCanonical);
        }
        Ok(leaf)
    }

    /// Whether `payload` is the one that the leaf was made for.
    #[must_use]
    pub fn matches_payload(&self, payload: &[u8]) -> bool {
        Hash::of(&[&self.salt, payload]) == self.payload_hash
    }

    /// What the leaf says about its payload.
    #[must_use]
    pub fn heading(&self) -> &Heading {
        &self.heading
    }

    /// `SHA-256(salt || payload)`.
    #[must_use]
    pub fn payload_hash(&self) -> &Hash {
        &self.payload_hash
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }
}

impl Heading {
    fn check(&self) -> Result<(), LeafError> {
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let ok = self.kind.len() <= MAX_KIND_BYTES && self.kind.split('.').all(word);
        let checks = [
            ("kind", ok),
            ("at", self.at <= MAX_NUMBER),
            ("seq", self.seq <= MAX_NUMBER),
        ];
        match checks.iter().find(|(_, ok)| !ok) {
            Some((field, _)) => Err(LeafError::Field(field)),
            None => Ok(()),
        }
    }
}

fn check_length(length: usize) -> Result<(), LeafError> {
    if length > MAX_LEAF_BYTES {
        return Err(LeafError::TooLong(length));
    }
    Ok(())
}

/// A leaf of a later version has fields that version 1 does not know; its version is the better
/// explanation.
fn unreadable(bytes: &[u8], error: &serde_json::Error) -> LeafError {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }
    match serde_json::from_slice::<Versioned>(bytes) {
        Ok(Versioned { v }) if v != u64::from(VERSION) => LeafError::Version(v),
        _ => LeafError::Unreadable(error.to_string()),
    }
}
