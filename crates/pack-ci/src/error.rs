//! The one error of a conversion: where, what, and what to do about it.

use serde::Serialize;

/// Why a source file could not be converted at all.
///
/// A construct that is merely not understood is never an error: it is listed as
/// [`Outcome::Manual`](crate::Outcome::Manual) and the conversion goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("line {line}, column {column}: {cause}; {cure}")]
pub struct ConvertError {
    /// Line in the source, from 1.
    pub line: usize,
    /// Column in the source, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub cause: String,
    /// What a person can do about it.
    pub cure: String,
}

impl ConvertError {
    pub(crate) fn new(
        at: crate::yaml::Pos,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            line: at.line,
            column: at.column,
            cause: cause.into(),
            cure: cure.into(),
        }
    }
}
