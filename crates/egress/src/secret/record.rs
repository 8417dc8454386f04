//! What is known of a secret besides its value, and how its file looks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::SecretError;
use super::local::LONGEST_VALUE;
use super::name::{Context, Scope, SecretName};
use super::reference::Reference;

/// Longest name of an owner, in bytes.
pub(super) const LONGEST_WHO: usize = 128;
/// Uses that are listed; the ledger has all of them.
pub(super) const MOST_USES: usize = 20;

/// A secret without its value: all of it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Form of the file.
    pub(super) v: u32,
    /// Its name.
    pub name: SecretName,
    /// Who may use it.
    pub scope: Scope,
    /// Where its value is, when it is not kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Who is asked when something is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it was first set.
    pub created: Timestamp,
    /// When its value or reference was last set.
    pub changed: Timestamp,
    /// When its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Number of its values so far.
    pub version: u32,
    /// Changes with the value and does not tell it: eight digits of a salted hash whose salt is
    /// sealed with the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The sealed value, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<String>,
}

impl Record {
    /// `stored`, or the kind of the place where the value is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.reference.as_ref().map_or("stored", Reference::kind)
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Whether it has a value, here or elsewhere.
    #[must_use]
    pub const fn has_value(&self) -> bool {
        self.reference.is_some() || self.sealed.is_some()
    }

    /// The part that may be shown, for machines.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name, "scope": self.scope, "kind": self.kind(), "reference": self.reference,
            "owner": self.owner, "created": self.created, "changed": self.changed, "expires": self.expires,
            "version": self.version, "fingerprint": self.fingerprint, "has_value": self.has_value(),
        })
    }
}

/// What is sealed. Name and scope are in it, so that a file put in the place of another is told.
#[derive(Serialize, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub(super) struct Sealed {
    pub(super) name: String,
    pub(super) scope: String,
    pub(super) salt: String,
    pub(super) value: String,
}

/// A use of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// When.
    pub at: Timestamp,
    /// The environment it was given to the broker for.
    pub environment: String,
    /// The automation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automation: Option<String>,
    /// The repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

impl Use {
    /// One at this time.
    #[must_use]
    pub fn new(environment: &str, context: &Context, at: Timestamp) -> Self {
        Self {
            at,
            environment: model::egress::harmless(environment),
            automation: context.automation.clone(),
            repository: context.repository.clone(),
        }
    }
}

/// All uses of a secret, as far as they are kept beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// How many there were.
    pub count: u64,
    /// The newest, newest first.
    pub newest: Vec<Use>,
}

/// A value for a secret.
pub enum Content {
    /// Kept here, sealed.
    Value(Zeroizing<String>),
    /// Elsewhere.
    Reference(Reference),
}

/// A secret to be set.
pub struct NewSecret {
    /// Its name.
    pub name: SecretName,
    /// Who may use it.
    pub scope: Scope,
    /// Its value.
    pub content: Content,
    /// When its time is over.
    pub expires: Option<Timestamp>,
    /// Who is asked when something is wrong with it; as before when absent.
    pub owner: Option<String>,
}

/// Whether a text can be the value of a secret at all.
pub(super) fn check_value(value: &str) -> Result<(), SecretError> {
    let invalid = |what: &str, cure: &str| SecretError::Invalid {
        what: what.to_owned(),
        cure: cure.to_owned(),
    };
    if value.is_empty() {
        return Err(invalid(
            "the value is empty",
            "give it on standard input or with --from-file",
        ));
    }
    if value.len() > LONGEST_VALUE {
        return Err(invalid(
            &format!("the value has more than {LONGEST_VALUE} bytes"),
            "keep it elsewhere and refer to it with `file:`",
        ));
    }
    if value.contains('\0') {
        return Err(invalid(
            "the value has a NUL byte",
            "check that it is text; `base64` makes text of anything",
        ));
    }
    Ok(())
}

/// What keeps a value out of headers: another line would be another header (RFC 9110, 5.5), and
/// what cannot be masked must not be used at all. The broker refuses the same.
#[must_use]
pub fn unfit_for_headers(value: &str) -> Option<&'static str> {
    if value.contains(['\r', '\n']) {
        return Some("several lines");
    }
    if !value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        return Some("a character that is not printable ASCII");
    }
    if value.starts_with(' ') || value.ends_with(' ') {
        return Some("a space at an end");
    }
    if value.len() > crate::credential::LONGEST_VALUE {
        return Some("more than 16 KiB");
    }
    if !crate::mask::Mask::is_maskable(value) {
        return Some("fewer than 8 characters, so that it could not be masked in what tasks print");
    }
    None
}
