//! Why the control plane did not do what was asked.

use engine::Rejection;
use engine::condition::ConditionError;
use engine::definition::DefinitionError;
use store::StoreError;

/// An answer that is not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such thing.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// It does not fit the state of things.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The automation file is wrong.
    #[error(transparent)]
    Definition(Box<DefinitionError>),
    /// A condition is wrong.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The forge failed, or refused.
    #[error(transparent)]
    Forge(#[from] forge::ForgeError),
    /// A blob cannot be read or written.
    #[error(transparent)]
    Blob(#[from] blob::Error),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Policy forbids it.
    #[error("policy `{rule}` forbids it")]
    Forbidden {
        /// The rule.
        rule: String,
    },
    /// What is stored cannot be what we wrote.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
}

impl From<DefinitionError> for ServiceError {
    fn from(error: DefinitionError) -> Self {
        Self::Definition(Box::new(error))
    }
}

impl From<serde_json::Error> for ServiceError {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl ServiceError {
    pub(crate) fn not_found(what: &'static str, name: impl std::fmt::Display) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }
}
