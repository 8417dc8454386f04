//! The nouns of a forge, as it speaks them: its own, so that a forge knows nothing of the rest of the system.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RepoName;
use crate::git::{BytePath, Oid};

/// How much a forge still allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests left.
    pub remaining: u64,
    /// When the count starts again.
    pub reset_at: Timestamp,
}

/// An answer with the rate that came with it; `None` from a forge without limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// What the forge said about its limits.
    pub rate: Option<Rate>,
}

impl<T> Answer<T> {
    /// An answer of a forge without limits.
    pub const fn unlimited(value: T) -> Self {
        Self { value, rate: None }
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next part starts; `None` at the end. For events always present: the place to ask from later.
    pub next: Option<Cursor>,
    /// What the forge said about its limits.
    pub rate: Option<Rate>,
}

/// A place in a list; opaque, made by the forge it is given back to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// Which forge this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// Bare repositories on this machine.
    Local,
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Forgejo or Gitea.
    Forgejo,
}

/// Who we are at a forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Which kind of forge.
    pub kind: ForgeKind,
    /// The name of the forge: a host name, or `local`.
    pub host: String,
    /// The name of the account we write with.
    pub account: String,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryInfo {
    /// Its name.
    pub name: RepoName,
    /// Its default branch, whether or not it has a commit.
    pub default_branch: String,
    /// The head of the default branch; `None` for an empty repository.
    pub head: Option<Oid>,
    /// Whether it takes no changes any more.
    pub archived: bool,
    /// What [`crate::git::clone_base`] takes.
    pub clone_url: String,
}

/// Somebody who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The name.
    pub name: String,
    /// A mail address, used in commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Actor {
    /// An actor without a mail address.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            email: None,
        }
    }
}

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// Waiting for people.
    Open,
    /// In the base branch.
    Merged,
    /// Ended without being merged.
    Closed,
}

impl fmt::Display for ChangeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Closed => "closed",
        })
    }
}

/// A comment on a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Stable within the change.
    pub id: u64,
    /// Who.
    pub actor: Actor,
    /// What; data, never markup to trust.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// The key it was made with, for looking up before creating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A comment to make.
#[derive(Debug, Clone)]
pub struct NewComment {
    /// Who.
    pub actor: Actor,
    /// What.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// With a key, doing it twice makes one comment.
    pub key: Option<String>,
}

/// What a reviewer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good.
    Approved,
    /// Not yet.
    ChangesRequested,
}

/// A review of a change at one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who.
    pub actor: Actor,
    /// What they say.
    pub verdict: Verdict,
    /// Why; may be empty for an approval.
    pub text: String,
    /// The head they looked at.
    pub head: Oid,
    /// When.
    pub at: Timestamp,
}

/// How a change was merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// The head of the base branch after it.
    pub commit: Oid,
    /// How.
    pub method: MergeMethod,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// How a change goes into its base branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeMethod {
    /// A merge commit with two parents.
    Merge,
    /// One new commit with everything.
    Squash,
    /// The commits, replayed on the base; a fast-forward where nothing is in between.
    Rebase,
}

/// A change at a forge: a pull or merge request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The repository.
    pub repository: RepoName,
    /// Its number in the repository.
    pub number: u64,
    /// Its branch.
    pub branch: String,
    /// The branch it is for.
    pub base_branch: String,
    /// The commit it started from.
    pub base_commit: Oid,
    /// The head of the branch now; for an ended change the last one.
    pub head: Oid,
    /// The last head we put there. Differs from `head` when somebody else committed.
    pub our_head: Oid,
    /// Where it stands.
    pub state: ChangeState,
    /// Title.
    pub title: String,
    /// Description.
    pub body: String,
    /// What was checked, as given.
    pub evidence: Value,
    /// Labels.
    pub labels: Vec<String>,
    /// Who opened it.
    pub author: Actor,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// Reviews, oldest first.
    pub reviews: Vec<Review>,
    /// Set when it is merged.
    pub merged: Option<Merged>,
}

impl Change {
    /// Whether the branch holds commits of somebody else.
    #[must_use]
    pub fn has_foreign_commits(&self) -> bool {
        self.state == ChangeState::Open && self.head != self.our_head
    }

    /// The standing verdict: the latest of each reviewer counts; one request for changes outweighs approvals.
    /// An approval holds only for the head it was given for.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let mut latest: Vec<&Review> = Vec::new();
        for review in self.reviews.iter().rev() {
            if !latest
                .iter()
                .any(|seen| seen.actor.name == review.actor.name)
            {
                latest.push(review);
            }
        }
        if latest
            .iter()
            .any(|review| review.verdict == Verdict::ChangesRequested)
        {
            return Some(Verdict::ChangesRequested);
        }
        latest
            .iter()
            .any(|review| review.head == self.head)
            .then_some(Verdict::Approved)
    }
}

/// A change to open.
#[derive(Debug, Clone)]
pub struct NewChange {
    /// Its branch; deterministic, see [`crate::branch_name`].
    pub branch: String,
    /// The branch it is for.
    pub base_branch: String,
    /// The commit it started from.
    pub base_commit: Oid,
    /// Its head.
    pub commit: Oid,
    /// A pack (thin is fine) or a bundle with the objects the repository lacks; `None` when it has them all.
    pub bundle: Option<PathBuf>,
    /// Title, one line.
    pub title: String,
    /// Description.
    pub body: String,
    /// What was checked.
    pub evidence: Value,
    /// Labels.
    pub labels: Vec<String>,
    /// Who opens it.
    pub author: Actor,
    /// When.
    pub at: Timestamp,
}

/// A new state of a change that is open.
#[derive(Debug, Clone)]
pub struct ChangeUpdate {
    /// Where its branch must be now; anything else is [`crate::ForgeError::BranchMoved`].
    pub expected_head: Oid,
    /// The new head; equal to `expected_head` to change only the texts.
    pub commit: Oid,
    /// As in [`NewChange::bundle`].
    pub bundle: Option<PathBuf>,
    /// New title.
    pub title: Option<String>,
    /// New description.
    pub body: Option<String>,
    /// New evidence.
    pub evidence: Option<Value>,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// Which changes to list; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// In this state.
    pub state: Option<ChangeState>,
    /// With a branch that starts so.
    pub branch_prefix: Option<String>,
    /// With this label.
    pub label: Option<String>,
}

/// Whether a change could be merged now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Mergeable {
    /// Yes.
    Yes,
    /// These files conflict.
    Conflicts {
        /// The files.
        files: Vec<BytePath>,
    },
}

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
