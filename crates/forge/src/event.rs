//! What happens at a forge, as events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::git::Oid;
use crate::{Actor, RepoName};

/// Something that happened in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgeEvent {
    /// Stable: the same happening has the same id, however often it is read.
    pub id: String,
    /// The repository.
    pub repository: RepoName,
    /// When; `None` where it was noticed afterwards (a push into the folder).
    pub at: Option<Timestamp>,
    /// Who; `None` where it is not known.
    pub actor: Option<Actor>,
    /// What.
    pub what: ForgeEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ForgeEventKind {
    /// The default branch moved.
    Push {
        /// The branch.
        branch: String,
        /// Before; `None` when it was empty.
        before: Option<Oid>,
        /// After.
        after: Oid,
    },
    /// A change was opened.
    ChangeOpened {
        /// Its number.
        number: u64,
        /// Its head.
        head: Oid,
    },
    /// We put a new head on a change, or new texts.
    ChangeUpdated {
        /// Its number.
        number: u64,
        /// Its head.
        head: Oid,
    },
    /// Somebody else put commits on the branch of a change, or took it away.
    ChangeMoved {
        /// Its number.
        number: u64,
        /// Where we left it.
        expected: Oid,
        /// Where it is.
        found: Option<Oid>,
    },
    /// Somebody commented.
    Comment {
        /// The number of the change.
        number: u64,
        /// The comment.
        comment: u64,
        /// What it says.
        text: String,
    },
    /// A reviewer approved.
    ChangeApproved {
        /// Its number.
        number: u64,
        /// The head they looked at.
        head: Oid,
    },
    /// A reviewer wants changes.
    ChangesRequested {
        /// Its number.
        number: u64,
        /// Why.
        text: String,
    },
    /// Merged.
    ChangeMerged {
        /// Its number.
        number: u64,
        /// The head of the base branch after it.
        commit: Oid,
    },
    /// Closed without merging.
    ChangeClosed {
        /// Its number.
        number: u64,
    },
}
