//! Reviews: a person's verdict goes to the forge first, and comes back as the forge's news. What
//! the forge says is the truth; a crash in between loses nothing, because the news are read again.

use forge::{ForgeEvent, ForgeEventKind, MergeMethod, RepoName};
use model::change::ReviewVerdict;
use model::event::{NewEvent, Subject, types};
use model::ids::TaskId;
use model::policy::{Action, Ask, Decision};
use model::task::Task;
use serde_json::json;
use store::{Commit, DocumentWrite};

use super::{Actor, Service};
use crate::error::ServiceError;

/// Document kind of the place up to which a repository's news were read.
const CURSOR: &str = "forge_cursor";

impl Service {
    /// A person's verdict on the change of a task.
    ///
    /// # Errors
    /// When the task has no change, or the forge refuses.
    pub async fn review(
        &self,
        id: TaskId,
        verdict: ReviewVerdict,
        text: &str,
        actor: &Actor,
    ) -> Result<Task, ServiceError> {
        let (repository, number) = self.change_of(id).await?;
        let person = forge::Actor::named(actor.short());
        let forge = self.forge_of(repository.as_str());
        match verdict {
            ReviewVerdict::Approved => {
                // A forge's approval carries no words: they go before it as a comment.
                if !text.is_empty() {
                    let new = forge::NewComment {
                        actor: person.clone(),
                        text: text.to_owned(),
                        at: self.now(),
                        key: None,
                    };
                    forge.comment(&repository, number, new).await?;
                }
                forge
                    .approve(&repository, number, person, self.now())
                    .await?
            }
            ReviewVerdict::ChangesRequested => {
                forge
                    .request_changes(&repository, number, person, text.to_owned(), self.now())
                    .await?
            }
        };
        fault::point("review.after_forge");
        self.read_news(&repository).await?;
        self.task(id).await
    }

    /// A person's comment on the change of a task.
    ///
    /// # Errors
    /// When the task has no change, or the forge refuses.
    pub async fn comment(
        &self,
        id: TaskId,
        text: &str,
        actor: &Actor,
    ) -> Result<Task, ServiceError> {
        let (repository, number) = self.change_of(id).await?;
        let new = forge::NewComment {
            actor: forge::Actor::named(actor.short()),
            text: text.to_owned(),
            at: self.now(),
            key: None,
        };
        self.forge_of(repository.as_str())
            .comment(&repository, number, new)
            .await?;
        self.read_news(&repository).await?;
        self.task(id).await
    }

    /// Merges the change of a task; its branch goes with the news of it.
    ///
    /// # Errors
    /// When policy forbids it, when it conflicts, or when it is not open.
    pub async fn merge(
        &self,
        id: TaskId,
        method: MergeMethod,
        actor: &Actor,
    ) -> Result<Task, ServiceError> {
        let task = self.task(id).await?;
        let (repository, number) = self.change_of(id).await?;
        let ask = Ask {
            principal: actor.name.clone(),
            action: Action::Merge,
            automation: task.automation.clone(),
            repository: Some(repository.to_string()),
        };
        if let Decision::Forbid { rule } = self.policy.decide(&ask) {
            return Err(ServiceError::Forbidden { rule });
        }
        let forge = self.forge_of(repository.as_str());
        let person = forge::Actor::named(actor.short());
        forge
            .merge(&repository, number, method, person, self.now())
            .await?;
        fault::point("review.after_forge");
        self.read_news(&repository).await?;
        self.task(id).await
    }

    /// The branch of a merged change has served; if somebody else committed to it meanwhile, it stays.
    async fn delete_merged_branch(&self, repository: &RepoName, number: u64) {
        let forge = self.forge_of(repository.as_str());
        let deleted = match forge.change(repository, number).await {
            Ok(change) => forge
                .delete_branch(repository, &change.branch, change.our_head)
                .await
                .map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = deleted {
            tracing::warn!(%repository, number, %error, "the branch of a merged change stays");
        }
    }

    /// Closes the change of a task without merging, and deletes its branch.
    ///
    /// # Errors
    /// When the task has no change, or it is not open.
    pub async fn close_change(&self, id: TaskId, actor: &Actor) -> Result<Task, ServiceError> {
        let (repository, number) = self.change_of(id).await?;
        let person = forge::Actor::named(actor.short());
        self.forge_of(repository.as_str())
            .close(&repository, number, true, person, self.now())
            .await?;
        fault::point("review.after_forge");
        self.read_news(&repository).await?;
        self.task(id).await
    }

    async fn change_of(&self, id: TaskId) -> Result<(RepoName, u64), ServiceError> {
        let task = self.task(id).await?;
        let change = task
            .change
            .ok_or_else(|| ServiceError::Invalid(format!("the task {id} has no change")))?;
        let repository: RepoName = task.target.repository.parse()?;
        Ok((repository, change.number))
    }

    /// Remembers where a repository stands when it is first seen: only what happens from now on is
    /// news.
    pub(crate) async fn begin_news(&self, repository: &RepoName) -> Result<(), ServiceError> {
        if self
            .store
            .document(CURSOR, repository.as_str())
            .await?
            .is_some()
        {
            return Ok(());
        }
        let page = self
            .forge_of(repository.as_str())
            .events_since(repository, None)
            .await?;
        let body = page.next.map(|cursor| cursor.0);
        let write = DocumentWrite {
            kind: CURSOR.to_owned(),
            key: repository.to_string(),
            body,
        };
        self.store
            .commit(Commit {
                documents: vec![write],
                ..Commit::default()
            })
            .await?;
        Ok(())
    }

    /// Reads what happened in a repository since the last look, and admits it.
    ///
    /// # Errors
    /// When the forge or the store fails; nothing is lost, the next look begins at the same place.
    pub async fn read_news(&self, repository: &RepoName) -> Result<usize, ServiceError> {
        let mut admitted = 0;
        loop {
            let document = self.store.document(CURSOR, repository.as_str()).await?;
            let since = document
                .as_ref()
                .map(|document| forge::Cursor(document.body.clone()));
            let page = self
                .forge_of(repository.as_str())
                .events_since(repository, since.as_ref())
                .await?;
            for event in &page.items {
                if matches!(event.what, ForgeEventKind::Push { .. }) {
                    self.refresh(repository).await?;
                }
                // Here and not after the merge, because news are read again after a crash; and before
                // they are admitted, so that a merged task never has its branch still.
                if let ForgeEventKind::ChangeMerged { number, .. } = event.what {
                    self.delete_merged_branch(repository, number).await;
                }
                if let Some(new) = to_event(event)
                    && !self.admit(new).await?.duplicate
                {
                    admitted += 1;
                }
            }
            fault::point("review.after_commit");
            let next = page.next.map(|cursor| cursor.0);
            if next.is_some() && next != document.map(|document| document.body) {
                let write = DocumentWrite {
                    kind: CURSOR.to_owned(),
                    key: repository.to_string(),
                    body: next,
                };
                self.store
                    .commit(Commit {
                        documents: vec![write],
                        ..Commit::default()
                    })
                    .await?;
            }
            if page.items.is_empty() {
                return Ok(admitted);
            }
        }
    }
}

/// The event that a forge's news are.
fn to_event(news: &ForgeEvent) -> Option<NewEvent> {
    let repository = Some(news.repository.to_string());
    let about = |number: u64| Subject {
        repository: repository.clone(),
        change: Some(number),
        ..Subject::default()
    };
    let (event_type, subject, data) = match &news.what {
        ForgeEventKind::Push {
            branch,
            before,
            after,
        } => {
            let subject = Subject {
                branch: Some(branch.clone()),
                ..Subject {
                    repository,
                    ..Subject::default()
                }
            };
            (
                types::PUSH,
                subject,
                json!({"branch": branch, "before": before, "after": after}),
            )
        }
        ForgeEventKind::ChangeOpened { number, head } => (
            types::CHANGE,
            about(*number),
            json!({"action": "opened", "head": head}),
        ),
        ForgeEventKind::ChangeUpdated { number, head } => (
            types::CHANGE,
            about(*number),
            json!({"action": "updated", "head": head}),
        ),
        ForgeEventKind::ChangeMoved {
            number,
            expected,
            found,
        } => (
            types::CHANGE,
            about(*number),
            json!({"action": "moved", "expected": expected, "found": found}),
        ),
        ForgeEventKind::Comment {
            number,
            comment,
            text,
        } => (
            types::COMMENT,
            about(*number),
            json!({"comment": comment, "text": text}),
        ),
        ForgeEventKind::ChangeApproved { number, head } => (
            types::CHANGE,
            about(*number),
            json!({"action": "approved", "head": head}),
        ),
        ForgeEventKind::ChangesRequested { number, text } => (
            types::CHANGE,
            about(*number),
            json!({"action": "changes_requested", "text": text}),
        ),
        ForgeEventKind::ChangeMerged { number, commit } => (
            types::CHANGE,
            about(*number),
            json!({"action": "merged", "commit": commit}),
        ),
        ForgeEventKind::ChangeClosed { number } => {
            (types::CHANGE, about(*number), json!({"action": "closed"}))
        }
    };
    let actor = news.actor.as_ref().map_or_else(
        || "forge:local".to_owned(),
        |actor| format!("person:{}", actor.name),
    );
    Some(NewEvent {
        source: "forge:local".to_owned(),
        event_type: event_type.to_owned(),
        subject,
        dedupe_key: news.id.clone(),
        time: news.at,
        actor,
        data,
    })
}
