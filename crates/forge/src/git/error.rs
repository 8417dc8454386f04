//! What can go wrong with git.

use std::io;
use std::path::{Path, PathBuf};

use super::Oid;

/// Why a git operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no program `git` on the search path.
    #[error("the program git was not found on the search path; install git 2.38 or later")]
    ProgramMissing,
    /// The path of a repository does not exist.
    #[error("there is no repository at {}", .0.display())]
    RepositoryMissing(PathBuf),
    /// The path exists, and is not a git repository.
    #[error("{} is not a git repository", .0.display())]
    NotARepository(PathBuf),
    /// The repository uses a format we do not read.
    #[error("{} uses {format}, which is not supported", .path.display())]
    UnsupportedFormat {
        /// The repository.
        path: PathBuf,
        /// What it uses.
        format: &'static str,
    },
    /// The repository, or the branch asked for, has no commit.
    #[error("the repository has no commit on {0}")]
    EmptyRepository(String),
    /// A ref or a commit does not exist.
    #[error("there is no commit or ref `{0}`")]
    UnknownRevision(String),
    /// A ref had another value than expected; nothing was changed.
    #[error("the ref {name} is at {}, expected {}", show(found), show(expected))]
    RefMoved {
        /// The ref.
        name: String,
        /// What was expected; `None` is "absent".
        expected: Option<Oid>,
        /// What was found; `None` is "absent".
        found: Option<Oid>,
    },
    /// A ref name git would refuse, or one that collides with another as folder and file.
    #[error("`{name}` cannot be a ref name: {reason}")]
    InvalidRefName {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The place to clone into exists and holds something else.
    #[error("{} exists already", .0.display())]
    DestinationExists(PathBuf),
    /// A file with a pack or bundle is not one, or does not hold what was promised.
    #[error("the pack {} is refused: {reason}", .path.display())]
    BadPack {
        /// The file.
        path: PathBuf,
        /// Why, as git or the parser says it.
        reason: String,
    },
    /// The remote could not be reached, or refused.
    #[error("the remote cannot be read: {0}")]
    Remote(String),
    /// Git ran and failed.
    #[error("git {command} failed ({status}): {stderr}")]
    Failed {
        /// The sub-command.
        command: String,
        /// Exit status, as text.
        status: String,
        /// The end of what git wrote to standard error.
        stderr: String,
    },
    /// Git answered something we cannot read.
    #[error("the answer of git {command} cannot be read: {detail}")]
    Unreadable {
        /// The sub-command.
        command: &'static str,
        /// What was wrong.
        detail: String,
    },
    /// Reading or writing a file of a repository failed.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done: a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn show(value: &Option<Oid>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string())
}

impl GitError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}
