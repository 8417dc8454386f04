//! Credentials of one environment: what it sees, what stands behind it, and where it may go.
//!
//! An environment has a **placeholder** in a variable. The broker puts the value in its place in the
//! one header the credential is bound to, and refuses a request that has a placeholder anywhere
//! else, in whatever encoding servers undo. A placeholder is worth nothing outside its environment.

mod find;
mod form;
mod place;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use model::network::CredentialUse;
use zeroize::Zeroizing;

pub use find::{Finder, find};
use form::Form;
pub use form::check;

/// What every placeholder begins with.
pub const PREFIX: &str = "nc-placeholder-";

/// Random letters and digits after it: 32 of 36 each, 165 bits.
pub const RANDOM: usize = 32;

/// Longest value, in bytes: tokens with many claims have a few thousand.
pub const LONGEST_VALUE: usize = 16 * 1024;

/// Most values that are no longer used but still masked.
const MOST_RETIRED: usize = 64;

/// A new placeholder.
///
/// # Errors
/// When the system gives no random bytes.
pub fn placeholder() -> Result<String, CredentialError> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = PREFIX.to_owned();
    while text.len() < PREFIX.len() + RANDOM {
        let mut bytes = [0; RANDOM];
        getrandom::fill(&mut bytes).map_err(|_| CredentialError::Random)?;
        // 252 is the largest multiple of 36 in a byte: what is above would favour some letters.
        let fair = bytes.iter().filter(|byte| **byte < 252);
        let missing = PREFIX.len() + RANDOM - text.len();
        text.extend(
            fair.take(missing)
                .map(|byte| char::from(LETTERS[usize::from(byte % 36)])),
        );
    }
    Ok(text)
}

/// Why a secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A header cannot hold it. Says nothing of the value itself.
    #[error("the value of secret `{secret}` is {reason}")]
    Value {
        /// Name of the secret.
        secret: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It is used in a way that makes no sense.
    #[error("the use of secret `{secret}` makes no sense: {reason}")]
    Use {
        /// Name of the secret.
        secret: String,
        /// What is wrong and what is right.
        reason: String,
    },
    /// The placeholder is not one.
    #[error("the placeholder of secret `{0}` is not one")]
    Placeholder(String),
    /// No random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// A secret as an environment may use it.
#[derive(Clone)]
pub struct Bound {
    /// What the environment sees in its place.
    pub placeholder: String,
    /// Where it is put.
    pub used: CredentialUse,
    /// The value. Never shown, never logged.
    pub value: Zeroizing<String>,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound")
            .field("placeholder", &self.placeholder)
            .field("secret", &self.used.secret)
            .finish_non_exhaustive()
    }
}

/// A use whose header is written and proved to be one.
#[derive(Clone)]
struct Ready {
    bound: Bound,
    form: Form,
    header: HeaderValue,
}

impl Ready {
    fn of(bound: Bound) -> Result<Self, CredentialError> {
        let secret = || bound.used.secret.clone();
        check_value(&bound)?;
        if !find::is_placeholder(&bound.placeholder) {
            return Err(CredentialError::Placeholder(secret()));
        }
        let form = Form::of(&bound.used).map_err(|reason| CredentialError::Use {
            secret: secret(),
            reason,
        })?;
        let text = form.write(&bound.value);
        let mut header = HeaderValue::from_str(&text).map_err(|_| CredentialError::Value {
            secret: secret(),
            reason: "nothing that a header can hold",
        })?;
        header.set_sensitive(true);
        Ok(Self {
            bound,
            form,
            header,
        })
    }
}

fn check_value(bound: &Bound) -> Result<(), CredentialError> {
    let value = bound.value.as_str();
    let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let reason = match value {
        "" => "empty",
        _ if value.len() > LONGEST_VALUE => "longer than 16 KiB",
        _ if !value.bytes().all(printable) => "not one line of printable ASCII",
        _ if value.starts_with(' ') || value.ends_with(' ') => "surrounded by spaces",
        _ if find(value.as_bytes()) => "a placeholder itself",
        _ => return Ok(()),
    };
    Err(CredentialError::Value {
        secret: bound.used.secret.clone(),
        reason,
    })
}

/// What was put into a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Name of the secret.
    pub secret: String,
}

#[derive(Default)]
struct Held {
    ready: Vec<Ready>,
    /// Values that are not used any more, oldest first.
    retired: Vec<Zeroizing<String>>,
}

/// Credentials of one environment; what a request finds is what was there last.
#[derive(Default)]
pub struct Credentials(ArcSwap<Held>);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = self.0.load();
        let bound = held.ready.iter().map(|ready| &ready.bound);
        f.debug_list().entries(bound).finish()
    }
}

impl Credentials {
    /// Keeps these; a use without a value is simply not among them.
    ///
    /// # Errors
    /// [`CredentialError`] for the first that cannot be used, and then nothing is kept.
    pub fn new(bound: Vec<Bound>) -> Result<Self, CredentialError> {
        let credentials = Self::default();
        credentials.replace(bound)?;
        Ok(credentials)
    }

    /// Puts these in place of all there are, from the next request on. Values that are gone stay
    /// among those to be masked, since servers may still tell them.
    ///
    /// # Errors
    /// [`CredentialError`] for the first that cannot be used, and then everything stays as it is:
    /// whoever gets a broken value takes the old one away by leaving it out.
    pub fn replace(&self, bound: Vec<Bound>) -> Result<(), CredentialError> {
        let ready = bound
            .into_iter()
            .map(Ready::of)
            .collect::<Result<Vec<_>, _>>()?;
        self.0.rcu(|held| {
            let gone = held.ready.iter().map(|old| &old.bound.value);
            let mut retired = held.retired.clone();
            for value in gone {
                let still = ready.iter().any(|new| new.bound.value == *value);
                if !still && !retired.contains(value) {
                    retired.push(value.clone());
                }
            }
            let surplus = retired.len().saturating_sub(MOST_RETIRED);
            retired.drain(..surplus);
            Arc::new(Held {
                ready: ready.clone(),
                retired,
            })
        });
        Ok(())
    }

    /// Every value that must not be seen: those in use and those that were.
    #[must_use]
    pub fn values(&self) -> Vec<Zeroizing<String>> {
        let held = self.0.load();
        let used = held.ready.iter().map(|ready| ready.bound.value.clone());
        used.chain(held.retired.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests;
