//! Merging a change: written down first, then carried out, so that a crash in between is completed.

use jiff::Timestamp;

use super::record::{Ended, MergeIntent, Record};
use super::repo::{Repo, Writing};
use crate::git::{
    BytePath, CommitDraft, Expect, GitError, MergeCheck, Oid, RefUpdate, Signature, is_ancestor,
    merge_base, merge_check, rebase_commits, write_commit,
};
use crate::{Actor, ChangeState, ForgeError, ForgeEventKind, MergeMethod, Mergeable, Merged};

/// How often to start again when somebody pushes to the base branch in the same moment.
const TRIES: usize = 5;

impl Repo {
    pub(crate) fn mergeable(&self, number: u64) -> Result<Mergeable, ForgeError> {
        let record = self.record(number)?;
        let (base, head) = self.both_heads(&record)?;
        Ok(match merge_check(&self.git, &self.git_dir, base, head)? {
            MergeCheck::Mergeable { .. } => Mergeable::Yes,
            MergeCheck::Conflicts { files } => Mergeable::Conflicts { files },
        })
    }

    fn both_heads(&self, record: &Record) -> Result<(Oid, Oid), ForgeError> {
        let base = self.head(&record.base_branch)?;
        let base =
            base.ok_or_else(|| ForgeError::NotFound(format!("branch {}", record.base_branch)))?;
        let head = match &record.ended {
            Some(ended) => Some(ended.head),
            None => self.head(&record.branch)?,
        };
        let head = head.ok_or_else(|| self.moved(&record.branch, Some(record.our_head), None))?;
        Ok((base, head))
    }

    pub(crate) fn merge(
        &self,
        number: u64,
        method: MergeMethod,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Merged, ForgeError> {
        for _ in 0..TRIES {
            let mut writing = self.write()?;
            let (_, record) = writing.open(number)?;
            let (onto, head) = self.both_heads(&record)?;
            let merge_base =
                merge_base(&self.git, &self.git_dir, onto, head)?.unwrap_or(record.base_commit);
            let commit = if merge_base == head {
                // Somebody merged it by hand: there is nothing to add.
                onto
            } else {
                self.merged_commit(&record, method, actor, at, (onto, head))?
            };
            let intent = MergeIntent {
                method,
                actor: actor.clone(),
                at,
                onto,
                head,
                commit,
                merge_base,
            };
            match writing.carry_out(number, &intent) {
                Err(ForgeError::Git(GitError::RefMoved { .. })) => {}
                other => return other,
            }
        }
        Err(ForgeError::Conflict(format!(
            "the base branch of change {number} in {}",
            self.name
        )))
    }

    fn merged_commit(
        &self,
        record: &Record,
        method: MergeMethod,
        actor: &Actor,
        at: Timestamp,
        (onto, head): (Oid, Oid),
    ) -> Result<Oid, ForgeError> {
        let committer = signature(actor, at);
        let conflicts = |files: Vec<BytePath>| ForgeError::Conflicts { files };
        if method == MergeMethod::Rebase {
            return rebase_commits(&self.git, &self.git_dir, onto, head, &committer)?
                .map_err(conflicts);
        }
        let tree = match merge_check(&self.git, &self.git_dir, onto, head)? {
            MergeCheck::Mergeable { tree } => tree,
            MergeCheck::Conflicts { files } => return Err(conflicts(files)),
        };
        let number = record.number;
        let (parents, message): (&[Oid], String) = if method == MergeMethod::Merge {
            (
                &[onto, head],
                format!(
                    "Merge change {number} from {}\n\n{}\n",
                    record.branch, record.title
                ),
            )
        } else {
            (
                &[onto],
                format!("{} (#{number})\n\n{}\n", record.title, record.body),
            )
        };
        let message = message.trim_end().as_bytes();
        Ok(write_commit(
            &self.git_dir,
            &CommitDraft {
                tree,
                parents,
                author: None,
                committer: &committer,
                message,
            },
        )?)
    }

    /// Completes what a crash interrupted. Only for a process that alone writes here and has not
    /// begun to: locks that are there belong to the dead.
    pub(crate) fn recover(&self) -> Result<(), ForgeError> {
        crate::git::remove_stale_locks(&self.git_dir)?;
        if self
            .records()?
            .values()
            .any(|(_, record)| record.merging.is_some())
        {
            self.write()?;
        }
        Ok(())
    }
}

impl Writing<'_> {
    fn carry_out(&mut self, number: u64, intent: &MergeIntent) -> Result<Merged, ForgeError> {
        let (old, mut record) = self.open(number)?;
        record.merging = Some(intent.clone());
        self.save(Some(old), record, Vec::new(), Vec::new())?;
        self.finish(number, intent)
    }

    /// Moves the base branch, then ends the record.
    fn finish(&mut self, number: u64, intent: &MergeIntent) -> Result<Merged, ForgeError> {
        let (old, mut record) = self.open(number)?;
        let base = RefUpdate::set(
            format!("refs/heads/{}", record.base_branch),
            Expect::Is(intent.onto),
            intent.commit,
        );
        let before = if intent.commit == intent.onto {
            Vec::new()
        } else {
            vec![base]
        };
        self.end(old, &mut record, intent, before)
    }

    fn end(
        &mut self,
        old: Oid,
        record: &mut Record,
        intent: &MergeIntent,
        before: Vec<RefUpdate>,
    ) -> Result<Merged, ForgeError> {
        let merged = Merged {
            commit: intent.commit,
            method: intent.method,
            actor: intent.actor.clone(),
            at: intent.at,
        };
        record.merging = None;
        record.merged = Some(merged.clone());
        record.state = ChangeState::Merged;
        record.ended = Some(Ended {
            head: intent.head,
            merge_base: intent.merge_base,
        });
        let what = ForgeEventKind::ChangeMerged {
            number: record.number,
            commit: intent.commit,
        };
        record.happened(self.next_seq(), intent.at, &intent.actor, what);
        self.save(Some(old), record.clone(), before, Vec::new())?;
        Ok(merged)
    }

    /// Ends merges whose base branch has moved already; forgets those that did not get that far, which the person
    /// sees as still open.
    pub(crate) fn complete_merges(&mut self) -> Result<(), ForgeError> {
        let waiting: Vec<u64> = self
            .records
            .values()
            .filter(|(_, r)| r.merging.is_some())
            .map(|(_, r)| r.number)
            .collect();
        for number in waiting {
            let (old, mut record) = self.find(number)?;
            let Some(intent) = record.merging.take() else {
                continue;
            };
            let repo = self.repo;
            let done = match repo.head(&record.base_branch)? {
                Some(base) if intent.commit != intent.onto => {
                    is_ancestor(&repo.git, &repo.git_dir, intent.commit, base)?
                }
                _ => false,
            };
            if done && record.state == ChangeState::Open {
                self.end(old, &mut record, &intent, Vec::new())?;
            } else {
                self.save(Some(old), record, Vec::new(), Vec::new())?;
            }
        }
        Ok(())
    }
}

/// A person without an address gets one that can belong to nobody.
fn signature(actor: &Actor, at: Timestamp) -> Signature {
    let email = actor.email.clone().unwrap_or_else(|| {
        let local: String = actor
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        format!("{}@localhost", local.to_ascii_lowercase())
    });
    Signature {
        name: actor.name.clone(),
        email,
        at,
    }
}
