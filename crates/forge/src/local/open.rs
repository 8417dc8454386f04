//! Opening and updating changes: the only places that put our commits on a branch.

use std::path::Path;

use super::record::{Record, VERSION};
use super::repo::{Repo, Writing, by_branch};
use crate::git::{
    Expect, GitError, ImportLimits, Oid, RefUpdate, Staged, grows_out_of, read_commit,
    stage_import, valid_branch_name,
};
use crate::{Change, ChangeState, ChangeUpdate, ForgeError, ForgeEventKind, NewChange};

/// Longest title, in bytes.
const MAX_TITLE: usize = 1000;

impl Repo {
    pub(crate) fn open_change(&self, new: &NewChange) -> Result<Change, ForgeError> {
        self.refuse_nonsense(new)?;
        // Objects are taken in before the lock: it may take long, and nobody sees them until a ref does.
        let mut staged = Staged::default();
        if !self.is_there(new)? {
            staged = self.take_objects(new.bundle.as_deref(), new.commit, new.base_commit)?;
        }
        let mut writing = self.write()?;
        writing.staged.absorb(staged);
        let found = by_branch(&writing.records, &new.branch).cloned();
        match found {
            Some((_, record)) if record.state == ChangeState::Open => {
                let head = self.head(&new.branch)?;
                if head == Some(new.commit) && record.our_head == new.commit {
                    return self.view(&record);
                }
                self.refuse_foreign(&record, head, new.commit)?;
                let mut record = Record::clone(&record);
                record.title = title(&new.title);
                record.body.clone_from(&new.body);
                record.evidence.clone_from(&new.evidence);
                record.labels.clone_from(&new.labels);
                record.base_commit = new.base_commit;
                writing.put(record, head, new.commit, &new.author, new.at)
            }
            Some((_, record)) if record.our_head == new.commit => self.view(&record),
            _ => writing.create(new),
        }
    }

    pub(crate) fn update_change(
        &self,
        number: u64,
        update: &ChangeUpdate,
    ) -> Result<Change, ForgeError> {
        let mut staged = Staged::default();
        if update.commit != update.expected_head {
            let base = update
                .base_commit
                .unwrap_or(self.record(number)?.base_commit);
            staged = self.take_objects(update.bundle.as_deref(), update.commit, base)?;
        }
        let mut writing = self.write()?;
        writing.staged.absorb(staged);
        let (_, mut record) = writing.open(number)?;
        let head = self.head(&record.branch)?;
        let repeated = head == Some(update.commit) && record.our_head == update.commit;
        let completing = record.our_head == update.commit && record.is_ours(head);
        if head != Some(update.expected_head) && !repeated && !completing {
            return Err(self.moved(&record.branch, Some(update.expected_head), head));
        }
        let before = record.clone();
        record.base_commit = update.base_commit.unwrap_or(record.base_commit);
        if let Some(text) = &update.title {
            record.title = title(text);
        }
        if let Some(body) = &update.body {
            record.body.clone_from(body);
        }
        if let Some(evidence) = &update.evidence {
            record.evidence.clone_from(evidence);
        }
        if repeated && record == before {
            return self.view(&record);
        }
        writing.put(record, head, update.commit, &update.actor, update.at)
    }

    /// Whether the very thing asked for stands already, so that no pack needs reading.
    fn is_there(&self, new: &NewChange) -> Result<bool, ForgeError> {
        let records = self.records()?;
        let Some((_, record)) = by_branch(&records, &new.branch) else {
            return Ok(false);
        };
        Ok(record.our_head == new.commit
            && (record.state != ChangeState::Open || self.head(&new.branch)? == Some(new.commit)))
    }

    /// Stages what the repository lacks of a commit. A change grows out of the commit it says it started from: a
    /// rewritten history is not proposed by mistake.
    fn take_objects(
        &self,
        bundle: Option<&Path>,
        commit: Oid,
        base: Oid,
    ) -> Result<Staged, ForgeError> {
        if commit == base {
            return Err(ForgeError::Invalid(format!(
                "the change has no commit: it ends where it starts, at {base}"
            )));
        }
        let (object, staged) = match bundle {
            Some(file) => stage_import(
                &self.git,
                &self.git_dir,
                file,
                commit,
                ImportLimits::default(),
            )?,
            None => (
                read_commit(&self.git, &self.git_dir, commit)?,
                Staged::default(),
            ),
        };
        // The usual change has one commit, so git need not be asked.
        if object.parents.contains(&base)
            || grows_out_of(&self.git, &self.git_dir, &staged, commit, base)
        {
            return Ok(staged);
        }
        Err(ForgeError::Invalid(format!(
            "the commit {commit} does not descend from {base}, where the change starts"
        )))
    }

    fn refuse_nonsense(&self, new: &NewChange) -> Result<(), ForgeError> {
        for name in [&new.branch, &new.base_branch] {
            if !valid_branch_name(name) {
                return Err(ForgeError::Invalid(format!(
                    "`{}` is not a branch name",
                    name.escape_default()
                )));
            }
        }
        if new.branch == new.base_branch {
            return Err(ForgeError::Invalid(format!(
                "`{}` cannot be a change of itself",
                new.branch
            )));
        }
        if crate::git::default_branch(&self.git_dir)?.as_deref() == Some(&new.branch) {
            return Err(ForgeError::Invalid(format!(
                "`{}` is the default branch of {}",
                new.branch, self.name
            )));
        }
        if self.git_dir.join(super::catalog::ARCHIVED).exists() {
            return Err(ForgeError::Invalid(format!(
                "{} is archived and takes no changes",
                self.name
            )));
        }
        if self.head(&new.base_branch)?.is_none() {
            return Err(ForgeError::NotFound(format!(
                "branch {} in {}",
                new.base_branch, self.name
            )));
        }
        Ok(())
    }

    /// A head that is neither ours nor the one we are about to put is somebody's work. A missing branch is put back:
    /// nothing can be lost by that.
    fn refuse_foreign(
        &self,
        record: &Record,
        head: Option<Oid>,
        commit: Oid,
    ) -> Result<(), ForgeError> {
        if head.is_none() || head == Some(commit) || record.is_ours(head) {
            return Ok(());
        }
        Err(self.moved(&record.branch, Some(record.our_head), head))
    }

    pub(crate) fn moved(
        &self,
        branch: &str,
        expected: Option<Oid>,
        found: Option<Oid>,
    ) -> ForgeError {
        ForgeError::BranchMoved {
            repository: self.name.clone(),
            branch: branch.to_owned(),
            expected,
            found,
        }
    }

    /// Says for a branch what git says for a ref.
    pub(crate) fn branch_error(&self, branch: &str, error: ForgeError) -> ForgeError {
        match error {
            ForgeError::Git(GitError::RefMoved {
                name,
                expected,
                found,
            }) if name.strip_prefix("refs/heads/") == Some(branch) => {
                self.moved(branch, expected, found)
            }
            other => other,
        }
    }
}

impl Writing<'_> {
    fn create(&mut self, new: &NewChange) -> Result<Change, ForgeError> {
        let head = self.repo.head(&new.branch)?;
        if head.is_some_and(|head| head != new.commit) {
            return Err(self.repo.moved(&new.branch, None, head));
        }
        let number = self.next_number();
        let mut record = Record {
            version: VERSION,
            number,
            state: ChangeState::Open,
            branch: new.branch.clone(),
            base_branch: new.base_branch.clone(),
            base_commit: new.base_commit,
            our_head: new.commit,
            previous_head: head,
            ended: None,
            title: title(&new.title),
            body: new.body.clone(),
            evidence: new.evidence.clone(),
            labels: new.labels.clone(),
            author: new.author.clone(),
            opened_at: new.at,
            updated_at: new.at,
            comments: Vec::new(),
            reviews: Vec::new(),
            merging: None,
            merged: None,
            events: Vec::new(),
        };
        let seq = self.next_seq();
        record.happened(
            seq,
            new.at,
            &new.author,
            ForgeEventKind::ChangeOpened {
                number,
                head: new.commit,
            },
        );
        self.save_with_branch(None, record, head)
    }

    /// Puts a commit on the branch of a record, and the record itself.
    fn put(
        &mut self,
        mut record: Record,
        head: Option<Oid>,
        commit: Oid,
        actor: &crate::Actor,
        at: jiff::Timestamp,
    ) -> Result<Change, ForgeError> {
        let (old, known) = self.open(record.number)?;
        if known.our_head != commit
            || known.title != record.title
            || known.body != record.body
            || known.evidence != record.evidence
        {
            let what = ForgeEventKind::ChangeUpdated {
                number: record.number,
                head: commit,
            };
            record.happened(self.next_seq(), at, actor, what);
        }
        // Somebody else's head is never remembered as ours, even when it is built upon.
        record.previous_head =
            head.filter(|head| *head == known.our_head || known.is_ours(Some(*head)));
        record.our_head = commit;
        self.save_with_branch(Some(old), record, head)
    }

    /// The record first, then the branch: what a crash leaves in between, the next try completes.
    fn save_with_branch(
        &mut self,
        old: Option<Oid>,
        record: Record,
        head: Option<Oid>,
    ) -> Result<Change, ForgeError> {
        let repo = self.repo;
        let (branch, commit) = (record.branch.clone(), record.our_head);
        let view = record.view(&repo.name, Some(commit));
        let branch_update = RefUpdate::set(
            format!("refs/heads/{branch}"),
            Expect::unchanged(head),
            commit,
        );
        let after = if head == Some(commit) {
            Vec::new()
        } else {
            vec![branch_update]
        };
        self.save(old, record, Vec::new(), after)
            .map_err(|error| repo.branch_error(&branch, error))?;
        Ok(view)
    }
}

/// One line, without control characters, of bounded length.
fn title(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    while line.len() > MAX_TITLE {
        line.pop();
    }
    line.trim().to_owned()
}
