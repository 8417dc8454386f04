//! What is kept about a change: the JSON in the blob that `refs/nightcrew/changes/<n>/meta` names.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::git::Oid;
use crate::{
    Actor, Change, ChangeState, Comment, ForgeEventKind, MergeMethod, Merged, RepoName, Review,
};

/// The form of the JSON. A reader refuses a later one rather than lose what it does not know.
pub(crate) const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) number: u64,
    pub(crate) state: ChangeState,
    pub(crate) branch: String,
    pub(crate) base_branch: String,
    pub(crate) base_commit: Oid,
    /// The head we put on the branch, or are about to.
    pub(crate) our_head: Oid,
    /// Where the branch was before that: what it still is if a crash came between the two refs. `None` is absent.
    pub(crate) previous_head: Option<Oid>,
    /// Set when the change ends: its last head, and where it had left the base branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) evidence: Value,
    pub(crate) labels: Vec<String>,
    pub(crate) author: Actor,
    pub(crate) opened_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    #[serde(default)]
    pub(crate) comments: Vec<Comment>,
    #[serde(default)]
    pub(crate) reviews: Vec<Review>,
    /// A merge about to be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merging: Option<MergeIntent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merged: Option<Merged>,
    pub(crate) events: Vec<Happening>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) head: Oid,
    pub(crate) merge_base: Oid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MergeIntent {
    pub(crate) method: MergeMethod,
    pub(crate) actor: Actor,
    pub(crate) at: Timestamp,
    pub(crate) onto: Oid,
    pub(crate) head: Oid,
    pub(crate) commit: Oid,
    pub(crate) merge_base: Oid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Happening {
    /// Increases over the whole repository.
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) what: ForgeEventKind,
}

impl Record {
    pub(crate) fn happened(
        &mut self,
        seq: u64,
        at: Timestamp,
        actor: &Actor,
        what: ForgeEventKind,
    ) {
        self.updated_at = self.updated_at.max(at);
        self.events.push(Happening {
            seq,
            at,
            actor: actor.clone(),
            what,
        });
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.events.iter().map(|event| event.seq).max().unwrap_or(0)
    }

    /// Whether a branch at this place is as we left it, or as a crash while we moved it left it.
    pub(crate) fn is_ours(&self, head: Option<Oid>) -> bool {
        head == Some(self.our_head) || head == self.previous_head
    }

    /// The change as others see it, with the branch at this place now.
    pub(crate) fn view(&self, repository: &RepoName, head: Option<Oid>) -> Change {
        let last = self.ended.as_ref().map(|ended| ended.head);
        Change {
            repository: repository.clone(),
            number: self.number,
            branch: self.branch.clone(),
            base_branch: self.base_branch.clone(),
            base_commit: self.base_commit,
            head: last.or(head).unwrap_or(self.our_head),
            our_head: self.our_head,
            state: self.state,
            title: self.title.clone(),
            body: self.body.clone(),
            evidence: self.evidence.clone(),
            labels: self.labels.clone(),
            author: self.author.clone(),
            opened_at: self.opened_at,
            updated_at: self.updated_at,
            comments: self.comments.clone(),
            reviews: self.reviews.clone(),
            merged: self.merged.clone(),
        }
    }
}
