//! What went wrong, told to a person: the cause, and the cure where there is one.

use std::fmt::Display;

use crate::print;

/// A command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure with its cause.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: 1,
        }
    }

    /// The request itself was wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: 2,
        }
    }

    /// Adds the cure.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The cause.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The cure, where there is one.
    pub(crate) fn cure(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// 1: it failed. 2: the request was wrong.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) {
        print::error(&self.message);
        if let Some(hint) = &self.hint {
            print::hint(hint);
        }
    }
}

/// Adds what was being done to an error.
pub(crate) trait Doing<T> {
    /// `failed to {doing}: {error}`
    fn doing(self, doing: impl Display) -> Result<T, Failure>;
}

impl<T, E: std::error::Error> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| {
            let mut text = format!("failed to {doing}: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            Failure::new(text)
        })
    }
}

impl From<store::StoreError> for Failure {
    fn from(error: store::StoreError) -> Self {
        let hint = error.cure();
        let failure = Self::new(error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<egress::secret::SecretError> for Failure {
    fn from(error: egress::secret::SecretError) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        let failure = match &error {
            egress::secret::SecretError::Invalid { .. } => Self::usage(text),
            _ => Self::new(text),
        };
        match error.cure() {
            Some(cure) => failure.hint(cure),
            None => failure,
        }
    }
}

impl From<server::ServiceError> for Failure {
    fn from(error: server::ServiceError) -> Self {
        match error {
            server::ServiceError::Store(error) => error.into(),
            server::ServiceError::Definition(error) => {
                let failure = Self::usage(error.to_string());
                match &error.hint {
                    Some(hint) => failure.hint(hint.clone()),
                    None => failure,
                }
            }
            other => Self::new(other.to_string()),
        }
    }
}
