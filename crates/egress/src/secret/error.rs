//! What can be wrong with a secret: the cause, and the cure as far as there is one.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::name::{Scope, SecretName};

/// Why a secret cannot be had, kept or changed. No variant carries a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A name, a scope, a value or a setting that is none.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// What is right.
        cure: String,
    },
    /// There is none of this name.
    #[error("there is no secret `{name}`")]
    NotFound {
        /// The name as it was asked for.
        name: String,
    },
    /// There is one, and it is for others.
    #[error("the secret `{name}` is not for this task: its scope is {}", list(.scopes))]
    OutOfScope {
        /// Its name.
        name: SecretName,
        /// Scopes in which there is one.
        scopes: Vec<Scope>,
    },
    /// Its time is over.
    #[error("the secret `{name}` ({scope}) expired at {at}")]
    Expired {
        /// Its name.
        name: SecretName,
        /// Its scope.
        scope: Scope,
        /// When.
        at: Timestamp,
    },
    /// It has a name and no value: the key was lost.
    #[error("the secret `{name}` ({scope}) has no value any more")]
    Forgotten {
        /// Its name.
        name: SecretName,
        /// Its scope.
        scope: Scope,
    },
    /// The key is gone, and with it what it sealed.
    #[error(
        "the key of the secrets is lost ({place}): the values of {count} secrets cannot be read any more; \
         their names, scopes and uses, and everything else of Nightcrew, are not lost"
    )]
    KeyLost {
        /// Where it was looked for.
        place: String,
        /// Secrets whose value is sealed.
        count: usize,
    },
    /// Another key than the one that sealed.
    #[error(
        "the key of the secrets ({place}) is another one than that which sealed them, {sealed}"
    )]
    KeyOther {
        /// Where the key came from.
        place: String,
        /// The public half of the key that is needed.
        sealed: String,
    },
    /// The key cannot be had or read.
    #[error("the key of the secrets ({place}) cannot be used: {cause}")]
    KeyUnusable {
        /// Where it was looked for.
        place: String,
        /// Why.
        cause: String,
        /// What to do.
        cure: String,
    },
    /// A file that is not what was written; others are not touched by it.
    #[error("the file {} is damaged ({cause}): this one secret cannot be read, all others can", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value that cannot stand in a header.
    #[error("the value of `{name}` cannot be put into a header: it has {has}")]
    NotForHeaders {
        /// Its name.
        name: SecretName,
        /// What it has.
        has: &'static str,
    },
    /// It lies elsewhere, and that place did not give it.
    #[error("the secret `{name}` ({scope}) could not be had from {from}")]
    Fetch {
        /// Its name.
        name: SecretName,
        /// Its scope.
        scope: Scope,
        /// The kind of place, such as `vault`.
        from: &'static str,
        /// Why.
        source: FetchError,
    },
}

/// Why another place did not give a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It is not said how to get there.
    #[error("{0}")]
    NotConfigured(String),
    /// It could not be reached, or not in time.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It does not let us.
    #[error("it refuses access: {0}")]
    Denied(String),
    /// It has no such thing.
    #[error("it has nothing there: {0}")]
    Missing(String),
    /// It has had too many questions.
    #[error("it has had too many requests; it is asked again later")]
    Busy,
    /// Its answer makes no sense.
    #[error("its answer cannot be used: {0}")]
    Malformed(String),
    /// The clocks disagree.
    #[error("the clock of this host differs by {seconds} s from its: {said}")]
    Clock {
        /// By how much, ours ahead of theirs when positive.
        seconds: i64,
        /// What it said.
        said: String,
    },
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        Some(match self {
            Self::Invalid { cure, .. } | Self::KeyUnusable { cure, .. } => cure.clone(),
            Self::NotFound { name } => {
                format!("`nightcrew secret set {name}` makes it; `nightcrew secret list` shows what there is")
            }
            Self::OutOfScope { name, .. } => {
                format!("`nightcrew secret set {name} --scope …` makes one that this task may use")
            }
            Self::Expired { name, scope, .. } => {
                format!("`nightcrew secret rotate {name} --scope {scope}` gives it a new value")
            }
            Self::Forgotten { name, scope } => {
                format!("`nightcrew secret set {name} --scope {scope}` gives it a value again")
            }
            Self::KeyLost { .. } => "put the key back where it was, from a copy of it; without one, `nightcrew secret rekey --forget-values` \
                 makes a new key and keeps the names, and `nightcrew secret set NAME` gives each its value again"
                .to_owned(),
            Self::KeyOther { .. } => "give the key that was used before; if it is lost, `nightcrew secret rekey --forget-values` goes on without the values"
                .to_owned(),
            Self::Damaged { .. } => {
                "put the file back from a copy, or set the secret again with `nightcrew secret set`".to_owned()
            }
            Self::NotForHeaders { name, .. } => {
                format!("`nightcrew secret rotate {name}` with the value on one line, without the line's end")
            }
            Self::Fetch { source, .. } => return source.cure(),
            Self::Io { .. } => return None,
        })
    }

    /// Whether nothing but a person helps, so that it belongs into the inbox.
    #[must_use]
    pub fn is_for_person(&self) -> bool {
        !matches!(
            self,
            Self::Fetch {
                source: FetchError::Unreachable(_) | FetchError::Busy,
                ..
            }
        )
    }
}

impl FetchError {
    fn cure(&self) -> Option<String> {
        Some(match self {
            Self::NotConfigured(_) => "see `[secrets]` in docs/book/configuration.md".to_owned(),
            Self::Unreachable(_) | Self::Busy => return None,
            Self::Denied(_) => "check what the token or role in `[secrets]` may read".to_owned(),
            Self::Missing(_) => "check the reference with `nightcrew secret show NAME`".to_owned(),
            Self::Malformed(_) => {
                "check that the address in `[secrets]` is the service's own".to_owned()
            }
            Self::Clock { .. } => "set this host's clock".to_owned(),
        })
    }
}

fn list(scopes: &[Scope]) -> String {
    let texts: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
