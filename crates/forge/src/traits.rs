//! What every forge can do.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::git::{Diff, Oid};
use crate::{
    Actor, Answer, Change, ChangeFilter, ChangeUpdate, Cursor, ForgeError, ForgeEvent, ForgeKind,
    Identity, MergeMethod, Mergeable, Merged, NewChange, NewComment, Page, RepoName,
    RepositoryInfo,
};

/// A place where changes are proposed, reviewed and merged.
///
/// Every method that writes looks up first, so doing it again after a crash or a lost answer is harmless. Lists come
/// in pages, answers carry the rate limit they came with, and a forge that asks to wait says until when
/// ([`ForgeError::RateLimited`]). Times are given, never taken from a clock.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Which kind of forge this is.
    fn kind(&self) -> ForgeKind;

    /// Who we are there.
    async fn identity(&self) -> Result<Answer<Identity>, ForgeError>;

    /// The repositories we can see, sorted by name.
    async fn list_repositories(
        &self,
        after: Option<&Cursor>,
    ) -> Result<Page<RepositoryInfo>, ForgeError>;

    /// One repository.
    async fn repository(&self, name: &RepoName) -> Result<Answer<RepositoryInfo>, ForgeError>;

    /// The change of a branch: the open one, otherwise the newest that ended.
    async fn find_change(
        &self,
        repository: &RepoName,
        branch: &str,
    ) -> Result<Answer<Option<Change>>, ForgeError>;

    /// Opens a change, or returns the one that is there.
    ///
    /// The same branch gives the same change. If that change is open and its branch is where we left it, another
    /// commit moves it. A change that ended with this very commit is returned as it ended; with another commit a new
    /// change is opened. Commits of somebody else on the branch are never overwritten: [`ForgeError::BranchMoved`].
    async fn open_change(
        &self,
        repository: &RepoName,
        new: NewChange,
    ) -> Result<Answer<Change>, ForgeError>;

    /// Puts a new head or new texts on an open change, by compare-and-swap on its head.
    async fn update_change(
        &self,
        repository: &RepoName,
        number: u64,
        update: ChangeUpdate,
    ) -> Result<Answer<Change>, ForgeError>;

    /// One change.
    async fn change(
        &self,
        repository: &RepoName,
        number: u64,
    ) -> Result<Answer<Change>, ForgeError>;

    /// The changes of a repository, oldest first.
    async fn list_changes(
        &self,
        repository: &RepoName,
        filter: &ChangeFilter,
        after: Option<&Cursor>,
    ) -> Result<Page<Change>, ForgeError>;

    /// What a change changes, from where it left its base branch.
    async fn diff(&self, repository: &RepoName, number: u64) -> Result<Answer<Diff>, ForgeError>;

    /// Whether a change could be merged now.
    async fn mergeable(
        &self,
        repository: &RepoName,
        number: u64,
    ) -> Result<Answer<Mergeable>, ForgeError>;

    /// Comments on a change, open or ended. With a key, once.
    async fn comment(
        &self,
        repository: &RepoName,
        number: u64,
        new: NewComment,
    ) -> Result<Answer<Change>, ForgeError>;

    /// Approves the present head of an open change.
    async fn approve(
        &self,
        repository: &RepoName,
        number: u64,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Answer<Change>, ForgeError>;

    /// Asks for changes to the present head of an open change.
    async fn request_changes(
        &self,
        repository: &RepoName,
        number: u64,
        actor: Actor,
        text: String,
        at: Timestamp,
    ) -> Result<Answer<Change>, ForgeError>;

    /// Merges an open change. Its branch stays: [`Forge::delete_branch`] takes it away.
    ///
    /// # Errors
    /// [`ForgeError::Conflicts`], [`ForgeError::Closed`].
    async fn merge(
        &self,
        repository: &RepoName,
        number: u64,
        method: MergeMethod,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Answer<Merged>, ForgeError>;

    /// Closes an open change without merging, and deletes its branch if asked and nobody else committed to it.
    /// A closed change stays closed; a merged one is [`ForgeError::Closed`].
    async fn close(
        &self,
        repository: &RepoName,
        number: u64,
        delete_branch: bool,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Answer<Change>, ForgeError>;

    /// Deletes a branch that is at `expected`; an absent one is fine.
    ///
    /// # Errors
    /// [`ForgeError::BranchMoved`].
    async fn delete_branch(
        &self,
        repository: &RepoName,
        branch: &str,
        expected: Oid,
    ) -> Result<Answer<()>, ForgeError>;

    /// What happened since. Without a cursor: everything that is recorded, and pushes from now on.
    async fn events_since(
        &self,
        repository: &RepoName,
        since: Option<&Cursor>,
    ) -> Result<Page<ForgeEvent>, ForgeError>;
}
