//! What can go wrong at a forge.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::git::{BytePath, GitError, Oid};
use crate::{ChangeState, RepoName};

/// Why a forge did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgeError {
    /// A repository, change or branch does not exist.
    #[error("there is no {0}")]
    NotFound(String),
    /// It exists already.
    #[error("{0} exists already")]
    Exists(String),
    /// Somebody else changed the same thing at the same time; nothing was done.
    #[error("{0} was changed by somebody else meanwhile")]
    Conflict(String),
    /// Merging would conflict in these files; nothing was done.
    #[error("merging conflicts in {} files", .files.len())]
    Conflicts {
        /// The files.
        files: Vec<BytePath>,
    },
    /// The branch holds commits we did not put there; they are not overwritten.
    #[error(
        "the branch {branch} of {repository} is at {}, expected {}: somebody else committed to it",
        show(found),
        show(expected)
    )]
    BranchMoved {
        /// The repository.
        repository: RepoName,
        /// The branch.
        branch: String,
        /// Where we left it; `None` when we never made it.
        expected: Option<Oid>,
        /// Where it is; `None` when it is gone.
        found: Option<Oid>,
    },
    /// The change is merged or closed.
    #[error("change {number} is {state} already")]
    Closed {
        /// Its number.
        number: u64,
        /// `Merged` or `Closed`.
        state: ChangeState,
    },
    /// The forge asks to wait.
    #[error("the forge asks to wait until {retry_at}")]
    RateLimited {
        /// When to try again.
        retry_at: Timestamp,
    },
    /// The forge did not answer.
    #[error("the forge cannot be reached: {0}")]
    Unreachable(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Reading or writing a file failed.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

fn show(value: &Option<Oid>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string())
}

impl ForgeError {
    /// Whether doing the same again later can succeed without anybody deciding anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict(_)
            | Self::RateLimited { .. }
            | Self::Unreachable(_)
            | Self::Io { .. } => true,
            Self::Git(error) => matches!(
                error,
                GitError::Io { .. }
                    | GitError::RefMoved { .. }
                    | GitError::Remote(_)
                    | GitError::Failed { .. }
            ),
            _ => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}
