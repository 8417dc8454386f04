//! A change, and what people say about it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RepoName;
use crate::git::Oid;

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
