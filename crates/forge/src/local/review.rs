//! What people say about a change, and how it ends without being merged.

use jiff::Timestamp;

use super::record::{Ended, Record};
use super::repo::{Repo, by_branch, head_ref};
use crate::git::{Diff, Expect, Oid, Patch, RefUpdate, diff, merge_base, patch, update_refs};
use crate::{
    Actor, Change, ChangeState, Comment, ForgeError, ForgeEventKind, NewComment, Review, Verdict,
};

/// Longest comment, in bytes, as on other forges.
const MAX_TEXT: usize = 64 << 10;

fn bounded(text: &str) -> Result<(), ForgeError> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(ForgeError::Invalid(format!(
        "a comment of {} bytes is too long, {MAX_TEXT} are allowed",
        text.len()
    )))
}

impl Repo {
    pub(crate) fn comment(&self, number: u64, new: &NewComment) -> Result<Change, ForgeError> {
        bounded(&new.text)?;
        let mut writing = self.write()?;
        let (old, mut record) = writing.find(number)?;
        if new.key.is_some() && record.comments.iter().any(|comment| comment.key == new.key) {
            return self.view(&record);
        }
        let id = record.comments.last().map_or(1, |comment| comment.id + 1);
        record.comments.push(Comment {
            id,
            actor: new.actor.clone(),
            text: new.text.clone(),
            at: new.at,
            key: new.key.clone(),
        });
        let what = ForgeEventKind::Comment {
            number,
            comment: id,
            text: new.text.clone(),
        };
        record.happened(writing.next_seq(), new.at, &new.actor, what);
        let view = self.view(&record)?;
        writing.save(Some(old), record, Vec::new(), Vec::new())?;
        Ok(view)
    }

    pub(crate) fn review(
        &self,
        number: u64,
        actor: &Actor,
        verdict: Verdict,
        text: &str,
        at: Timestamp,
    ) -> Result<Change, ForgeError> {
        bounded(text)?;
        let mut writing = self.write()?;
        let (old, mut record) = writing.open(number)?;
        let head = self.head(&record.branch)?.unwrap_or(record.our_head);
        let last = record
            .reviews
            .iter()
            .rev()
            .find(|review| review.actor.name == actor.name);
        if last
            .is_some_and(|last| last.verdict == verdict && last.text == text && last.head == head)
        {
            return self.view(&record);
        }
        record.reviews.push(Review {
            actor: actor.clone(),
            verdict,
            text: text.to_owned(),
            head,
            at,
        });
        let what = match verdict {
            Verdict::Approved => ForgeEventKind::ChangeApproved { number, head },
            Verdict::ChangesRequested => ForgeEventKind::ChangesRequested {
                number,
                text: text.to_owned(),
            },
        };
        record.happened(writing.next_seq(), at, actor, what);
        let view = self.view(&record)?;
        writing.save(Some(old), record, Vec::new(), Vec::new())?;
        Ok(view)
    }

    pub(crate) fn close(
        &self,
        number: u64,
        delete_branch: bool,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Change, ForgeError> {
        let mut writing = self.write()?;
        let (old, mut record) = writing.find(number)?;
        if record.state == ChangeState::Merged {
            return Err(ForgeError::Closed {
                number,
                state: record.state,
            });
        }
        let head = self.head(&record.branch)?;
        if record.state == ChangeState::Open {
            let last = head.unwrap_or(record.our_head);
            record.ended = Some(Ended {
                head: last,
                merge_base: self.left_base(&record, last)?,
            });
            record.state = ChangeState::Closed;
            record.happened(
                writing.next_seq(),
                at,
                actor,
                ForgeEventKind::ChangeClosed { number },
            );
            writing.save(Some(old), record.clone(), Vec::new(), Vec::new())?;
        }
        let reopened =
            by_branch(&writing.records, &record.branch).is_some_and(|(_, r)| r.number != number);
        if let Some(head) =
            head.filter(|head| delete_branch && record.is_ours(Some(*head)) && !reopened)
        {
            self.remove_branch(&record, head)?;
        }
        self.view(&record)
    }

    pub(crate) fn delete_branch(&self, branch: &str, expected: Oid) -> Result<(), ForgeError> {
        let writing = self.write()?;
        if crate::git::default_branch(&self.git_dir)?.as_deref() == Some(branch) {
            return Err(ForgeError::Invalid(format!(
                "`{branch}` is the default branch of {}",
                self.name
            )));
        }
        match self.head(branch)? {
            None => Ok(()),
            Some(head) if head == expected => match by_branch(&writing.records, branch) {
                Some((_, record)) => self.remove_branch(record, head),
                None => self.update_branch(branch, &[delete(branch, head)]),
            },
            found => Err(self.moved(branch, Some(expected), found)),
        }
    }

    /// The commits stay reachable through the change, so that its diff can still be shown.
    fn remove_branch(&self, record: &Record, head: Oid) -> Result<(), ForgeError> {
        let keep = RefUpdate::set(head_ref(record.number), Expect::Any, head);
        self.update_branch(&record.branch, &[keep, delete(&record.branch, head)])
    }

    fn update_branch(&self, branch: &str, updates: &[RefUpdate]) -> Result<(), ForgeError> {
        update_refs(&self.git, &self.git_dir, updates)
            .map_err(|error| self.branch_error(branch, ForgeError::Git(error)))
    }

    /// Where a head left its base branch.
    pub(crate) fn left_base(&self, record: &Record, head: Oid) -> Result<Oid, ForgeError> {
        match self.head(&record.base_branch)? {
            // Nothing happened on the base branch since, and our commits start there: no need to ask git.
            Some(base) if base == record.base_commit && head == record.our_head => Ok(base),
            Some(base) => {
                Ok(merge_base(&self.git, &self.git_dir, base, head)?.unwrap_or(record.base_commit))
            }
            None => Ok(record.base_commit),
        }
    }

    fn ends(&self, number: u64) -> Result<(Oid, Oid), ForgeError> {
        let record = self.record(number)?;
        if let Some(ended) = &record.ended {
            return Ok((ended.merge_base, ended.head));
        }
        let head = self.head(&record.branch)?.unwrap_or(record.our_head);
        Ok((self.left_base(&record, head)?, head))
    }

    pub(crate) fn diff(&self, number: u64) -> Result<Diff, ForgeError> {
        let (base, head) = self.ends(number)?;
        Ok(diff(&self.git, &self.git_dir, base, head)?)
    }

    pub(crate) fn patch(&self, number: u64, max_bytes: usize) -> Result<Patch, ForgeError> {
        let (base, head) = self.ends(number)?;
        Ok(patch(&self.git, &self.git_dir, base, head, max_bytes)?)
    }
}

fn delete(branch: &str, head: Oid) -> RefUpdate {
    RefUpdate::delete(format!("refs/heads/{branch}"), Expect::Is(head))
}
