//! The trait over the local forge: each act on a thread that may block.

use async_trait::async_trait;
use jiff::Timestamp;

use super::LocalForge;
use crate::git::{Diff, Oid};
use crate::{
    Actor, Answer, Change, ChangeFilter, ChangeUpdate, Cursor, Forge, ForgeError, ForgeEvent,
    ForgeKind, Identity, MergeMethod, Mergeable, Merged, NewChange, NewComment, Page, RepoName,
    RepositoryInfo,
};

impl LocalForge {
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> Result<T, ForgeError> + Send + 'static,
    ) -> Result<T, ForgeError> {
        let forge = self.clone();
        match tokio::task::spawn_blocking(move || act(&forge)).await {
            Ok(done) => done,
            Err(error) => Err(ForgeError::Unreachable(format!(
                "the act was stopped: {error}"
            ))),
        }
    }

    async fn answer<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> Result<T, ForgeError> + Send + 'static,
    ) -> Result<Answer<T>, ForgeError> {
        self.blocking(act).await.map(Answer::unlimited)
    }
}

#[async_trait]
impl Forge for LocalForge {
    fn kind(&self) -> ForgeKind {
        ForgeKind::Local
    }

    async fn identity(&self) -> Result<Answer<Identity>, ForgeError> {
        let identity = Identity {
            kind: ForgeKind::Local,
            host: "local".to_owned(),
            account: "nightcrew".to_owned(),
        };
        Ok(Answer::unlimited(identity))
    }

    async fn list_repositories(
        &self,
        after: Option<&Cursor>,
    ) -> Result<Page<RepositoryInfo>, ForgeError> {
        let after = after.cloned();
        self.blocking(move |forge| forge.list_repositories(after.as_ref()))
            .await
    }

    async fn repository(&self, name: &RepoName) -> Result<Answer<RepositoryInfo>, ForgeError> {
        let name = name.clone();
        self.answer(move |forge| forge.repository(&name)).await
    }

    async fn find_change(
        &self,
        repository: &RepoName,
        branch: &str,
    ) -> Result<Answer<Option<Change>>, ForgeError> {
        let (name, branch) = (repository.clone(), branch.to_owned());
        self.answer(move |forge| forge.find_change(&name, &branch))
            .await
    }

    async fn open_change(
        &self,
        repository: &RepoName,
        new: NewChange,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.open_change(&name, &new))
            .await
    }

    async fn update_change(
        &self,
        repository: &RepoName,
        number: u64,
        update: ChangeUpdate,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.update_change(&name, number, &update))
            .await
    }

    async fn change(
        &self,
        repository: &RepoName,
        number: u64,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.change(&name, number)).await
    }

    async fn list_changes(
        &self,
        repository: &RepoName,
        filter: &ChangeFilter,
        after: Option<&Cursor>,
    ) -> Result<Page<Change>, ForgeError> {
        let (name, filter, after) = (repository.clone(), filter.clone(), after.cloned());
        self.blocking(move |forge| forge.list_changes(&name, &filter, after.as_ref()))
            .await
    }

    async fn diff(&self, repository: &RepoName, number: u64) -> Result<Answer<Diff>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.diff(&name, number)).await
    }

    async fn mergeable(
        &self,
        repository: &RepoName,
        number: u64,
    ) -> Result<Answer<Mergeable>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.mergeable(&name, number))
            .await
    }

    async fn comment(
        &self,
        repository: &RepoName,
        number: u64,
        new: NewComment,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.comment(&name, number, &new))
            .await
    }

    async fn approve(
        &self,
        repository: &RepoName,
        number: u64,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.approve(&name, number, &actor, at))
            .await
    }

    async fn request_changes(
        &self,
        repository: &RepoName,
        number: u64,
        actor: Actor,
        text: String,
        at: Timestamp,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.request_changes(&name, number, &actor, &text, at))
            .await
    }

    async fn merge(
        &self,
        repository: &RepoName,
        number: u64,
        method: MergeMethod,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Answer<Merged>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.merge(&name, number, method, &actor, at))
            .await
    }

    async fn close(
        &self,
        repository: &RepoName,
        number: u64,
        delete_branch: bool,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Answer<Change>, ForgeError> {
        let name = repository.clone();
        self.answer(move |forge| forge.close(&name, number, delete_branch, &actor, at))
            .await
    }

    async fn delete_branch(
        &self,
        repository: &RepoName,
        branch: &str,
        expected: Oid,
    ) -> Result<Answer<()>, ForgeError> {
        let (name, branch) = (repository.clone(), branch.to_owned());
        self.answer(move |forge| forge.delete_branch(&name, &branch, expected))
            .await
    }

    async fn events_since(
        &self,
        repository: &RepoName,
        since: Option<&Cursor>,
    ) -> Result<Page<ForgeEvent>, ForgeError> {
        let (name, since) = (repository.clone(), since.cloned());
        self.blocking(move |forge| forge.events_since(&name, since.as_ref()))
            .await
    }
}
