//! The forge of one machine: a folder of bare repositories, `<root>/<owner>/<name>.git` or `<root>/<name>.git`.
//!
//! There is no database beside it. The branch of a change is a branch; everything else about it is a JSON blob that
//! `refs/nightcrew/changes/<n>/meta` names. Every act is one compare-and-swap of that ref, together with the branch.
//! Where two refs move, the order is such that a crash in between is completed by doing the act again:
//! opening names the change before it makes the branch; merging first writes down what it will do.
//!
//! Writers of one repository wait for each other (a mutex in the process, `flock` between processes; the kernel frees
//! it when a process dies). Readers take no lock. People may push into the folder directly: it is noticed by looking.

mod catalog;
mod events;
mod import;
mod merge;
mod open;
mod record;
mod repo;
mod review;
mod serve;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use import::{ImportOutcome, ImportSource, parse_manifest};

use crate::git::{Diff, Git, Oid, Patch};
use crate::{
    Actor, Change, ChangeFilter, ChangeUpdate, Cursor, ForgeError, ForgeEvent, MergeMethod,
    Mergeable, Merged, NewChange, NewComment, Page, RepoName, RepositoryInfo,
};
use jiff::Timestamp;
use repo::Repo;

/// The local forge. Cheap to clone. Its methods block; the [`crate::Forge`] trait offers the same to async code.
#[derive(Clone)]
pub struct LocalForge {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    git: Git,
    open: Mutex<HashMap<RepoName, Arc<Repo>>>,
}

impl LocalForge {
    /// Opens the forge in this folder, which is made if it is missing.
    ///
    /// # Errors
    /// [`ForgeError::Io`].
    pub fn open(root: &Path, git: Git) -> Result<Self, ForgeError> {
        fs::create_dir_all(root).map_err(ForgeError::io("create", root))?;
        let root = fs::canonicalize(root).map_err(ForgeError::io("find", root))?;
        Ok(Self {
            shared: Arc::new(Shared {
                root,
                git,
                open: Mutex::default(),
            }),
        })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// The git it runs.
    #[must_use]
    pub fn git(&self) -> &Git {
        &self.shared.git
    }

    /// The bare repository of this name.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`].
    pub fn git_dir(&self, name: &RepoName) -> Result<PathBuf, ForgeError> {
        Ok(self.repo(name)?.git_dir.clone())
    }

    fn path_of(&self, name: &RepoName) -> PathBuf {
        self.shared.root.join(format!("{name}.git"))
    }

    fn repo(&self, name: &RepoName) -> Result<Arc<Repo>, ForgeError> {
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(repo) = open.get(name)
            && repo.git_dir.join("HEAD").exists()
        {
            return Ok(Arc::clone(repo));
        }
        let path = self.path_of(name);
        if !path.join("HEAD").is_file() || !path.join("objects").is_dir() {
            open.remove(name);
            return Err(ForgeError::NotFound(format!("repository {name}")));
        }
        let repo = Arc::new(Repo::new(name.clone(), path, self.shared.git.clone()));
        open.insert(name.clone(), Arc::clone(&repo));
        Ok(repo)
    }

    /// As [`crate::Forge::find_change`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn find_change(&self, name: &RepoName, branch: &str) -> Result<Option<Change>, ForgeError> {
        self.repo(name)?.find_change(branch)
    }

    /// As [`crate::Forge::change`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn change(&self, name: &RepoName, number: u64) -> Result<Change, ForgeError> {
        self.repo(name)?.change(number)
    }

    /// As [`crate::Forge::list_changes`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn list_changes(
        &self,
        name: &RepoName,
        filter: &ChangeFilter,
        after: Option<&Cursor>,
    ) -> Result<Page<Change>, ForgeError> {
        self.repo(name)?.list_changes(filter, after)
    }

    /// As [`crate::Forge::open_change`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn open_change(&self, name: &RepoName, new: &NewChange) -> Result<Change, ForgeError> {
        self.repo(name)?.open_change(new)
    }

    /// As [`crate::Forge::update_change`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn update_change(
        &self,
        name: &RepoName,
        number: u64,
        update: &ChangeUpdate,
    ) -> Result<Change, ForgeError> {
        self.repo(name)?.update_change(number, update)
    }

    /// As [`crate::Forge::diff`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn diff(&self, name: &RepoName, number: u64) -> Result<Diff, ForgeError> {
        self.repo(name)?.diff(number)
    }

    /// The patch of a change, cut at `max_bytes`.
    ///
    /// # Errors
    /// As [`LocalForge::diff`].
    pub fn patch(
        &self,
        name: &RepoName,
        number: u64,
        max_bytes: usize,
    ) -> Result<Patch, ForgeError> {
        self.repo(name)?.patch(number, max_bytes)
    }

    /// As [`crate::Forge::mergeable`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn mergeable(&self, name: &RepoName, number: u64) -> Result<Mergeable, ForgeError> {
        self.repo(name)?.mergeable(number)
    }

    /// As [`crate::Forge::comment`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn comment(
        &self,
        name: &RepoName,
        number: u64,
        new: &NewComment,
    ) -> Result<Change, ForgeError> {
        self.repo(name)?.comment(number, new)
    }

    /// As [`crate::Forge::approve`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn approve(
        &self,
        name: &RepoName,
        number: u64,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Change, ForgeError> {
        self.repo(name)?
            .review(number, actor, crate::Verdict::Approved, "", at)
    }

    /// As [`crate::Forge::request_changes`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn request_changes(
        &self,
        name: &RepoName,
        number: u64,
        actor: &Actor,
        text: &str,
        at: Timestamp,
    ) -> Result<Change, ForgeError> {
        self.repo(name)?
            .review(number, actor, crate::Verdict::ChangesRequested, text, at)
    }

    /// As [`crate::Forge::merge`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn merge(
        &self,
        name: &RepoName,
        number: u64,
        method: MergeMethod,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Merged, ForgeError> {
        self.repo(name)?.merge(number, method, actor, at)
    }

    /// As [`crate::Forge::close`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn close(
        &self,
        name: &RepoName,
        number: u64,
        delete_branch: bool,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Change, ForgeError> {
        self.repo(name)?.close(number, delete_branch, actor, at)
    }

    /// As [`crate::Forge::delete_branch`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn delete_branch(
        &self,
        name: &RepoName,
        branch: &str,
        expected: Oid,
    ) -> Result<(), ForgeError> {
        self.repo(name)?.delete_branch(branch, expected)
    }

    /// As [`crate::Forge::events_since`].
    ///
    /// # Errors
    /// As the trait says.
    pub fn events_since(
        &self,
        name: &RepoName,
        since: Option<&Cursor>,
    ) -> Result<Page<ForgeEvent>, ForgeError> {
        self.repo(name)?.events_since(since)
    }

    /// Completes merges that a crash interrupted, in every repository, and removes the locks it left on refs. To be
    /// called before anything else writes to this forge.
    ///
    /// # Errors
    /// The first that occurs.
    pub fn recover(&self) -> Result<(), ForgeError> {
        for RepositoryInfo { name, .. } in self.repositories()? {
            self.repo(&name)?.recover()?;
        }
        Ok(())
    }
}
