//! Reading: tasks with their facts, logs, diffs.

use forge::git::Oid;
use forge::{Change, ChangeState, Mergeable, RepoName};
use model::event::NewEvent;
use model::evidence::Evidence;
use model::fact::{CampaignFact, Recorded, TaskFact};
use model::ids::{CampaignId, EventId, RunId, TaskId};
use model::rows::Stream;
use model::run::Run;
use model::task::Task;
use store::{Page, TaskFilter, TaskOrder};

use super::Service;
use crate::error::ServiceError;

impl Service {
    /// A task as it stands.
    ///
    /// # Errors
    /// When there is none with this id.
    pub async fn task(&self, id: TaskId) -> Result<Task, ServiceError> {
        Ok(self.load_task(id).await?.task)
    }

    /// A run as it stands.
    ///
    /// # Errors
    /// When there is none with this id.
    pub async fn run(&self, id: model::RunId) -> Result<Run, ServiceError> {
        let loaded = self.store.load(Stream::Run(id)).await?;
        let loaded = loaded.ok_or_else(|| ServiceError::not_found("run", id))?;
        Ok(serde_json::from_str(&loaded.state)?)
    }

    /// Facts of a task, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn task_facts(&self, id: TaskId) -> Result<Vec<Recorded<TaskFact>>, ServiceError> {
        let mut facts = Vec::new();
        for row in self.store.facts(Stream::Task(id), 0, u32::MAX).await? {
            facts.push(serde_json::from_str(&row.fact)?);
        }
        Ok(facts)
    }

    /// The task that a person means: an id, the beginning of one, or `REPOSITORY`.
    ///
    /// # Errors
    /// When nothing or more than one thing is meant.
    pub async fn find_task(&self, text: &str) -> Result<TaskId, ServiceError> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let filter = TaskFilter {
            repository: Some(text.to_owned()),
            ..TaskFilter::default()
        };
        if let Some(row) = self
            .store
            .tasks(filter, TaskOrder::Newest, Page::first(1))
            .await?
            .first()
        {
            return Ok(row.id);
        }
        let bare = text.strip_prefix("tsk_").unwrap_or(text);
        if bare.len() < 4 {
            return Err(ServiceError::not_found("task", text));
        }
        let rows = self
            .store
            .tasks(
                TaskFilter::default(),
                TaskOrder::Newest,
                Page::first(u32::MAX),
            )
            .await?;
        let mut found = rows
            .iter()
            .filter(|row| row.id.uuid().simple().to_string().starts_with(bare));
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row.id),
            (None, _) => Err(ServiceError::not_found("task", text)),
            (Some(_), Some(_)) => Err(ServiceError::Invalid(format!(
                "`{text}` is the beginning of several tasks"
            ))),
        }
    }

    /// The campaign that a person means: an id, the beginning of one, or the name of an
    /// automation (its newest campaign).
    ///
    /// # Errors
    /// When nothing or more than one thing is meant.
    pub async fn find_campaign(&self, text: &str) -> Result<CampaignId, ServiceError> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        if let Some(row) = self
            .store
            .campaigns(Some(text), false, Page::first(1))
            .await?
            .first()
        {
            return Ok(row.id);
        }
        let bare = text.strip_prefix("cmp_").unwrap_or(text);
        if bare.len() < 4 {
            return Err(ServiceError::not_found("campaign", text));
        }
        let rows = self
            .store
            .campaigns(None, false, Page::first(u32::MAX))
            .await?;
        let mut found = rows
            .iter()
            .filter(|row| row.id.uuid().simple().to_string().starts_with(bare));
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row.id),
            (None, _) => Err(ServiceError::not_found("campaign", text)),
            (Some(_), Some(_)) => Err(ServiceError::Invalid(format!(
                "`{text}` is the beginning of several campaigns"
            ))),
        }
    }

    /// Automations that an event would fire, and what is wrong with those that cannot be asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn would_fire(
        &self,
        new: NewEvent,
    ) -> Result<(Vec<String>, Vec<String>), ServiceError> {
        let event = new.admitted(self.now());
        let mut problems = Vec::new();
        let fired = self.fired_by(&event, &mut problems).await?;
        Ok((
            fired
                .iter()
                .map(|automation| automation.definition.name.clone())
                .collect(),
            problems,
        ))
    }

    /// The runs that an event started, by automation.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn runs_of_event(&self, event: EventId) -> Result<Vec<Run>, ServiceError> {
        let mut runs = Vec::new();
        for automation in self.automations().await? {
            let id = RunId::of(&automation.definition.name, event);
            if let Some(loaded) = self.store.load(Stream::Run(id)).await? {
                runs.push(serde_json::from_str(&loaded.state)?);
            }
        }
        Ok(runs)
    }

    /// What happened to a campaign, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn campaign_facts(
        &self,
        id: CampaignId,
    ) -> Result<Vec<Recorded<CampaignFact>>, ServiceError> {
        let mut facts = Vec::new();
        for row in self.store.facts(Stream::Campaign(id), 0, u32::MAX).await? {
            facts.push(serde_json::from_str(&row.fact)?);
        }
        Ok(facts)
    }

    /// The change of a task as its forge sees it, and whether it could be merged, while it is open.
    ///
    /// # Errors
    /// When the task has no change, or the forge fails.
    pub async fn change_at_forge(
        &self,
        task: &Task,
    ) -> Result<(Change, Option<Mergeable>), ServiceError> {
        let change = task.change.as_ref();
        let change = change
            .ok_or_else(|| ServiceError::Invalid(format!("the task {} has no change", task.id)))?;
        let repository: RepoName = task.target.repository.parse()?;
        let forge = self.forge_of(repository.as_str());
        let found = forge.change(&repository, change.number).await?.value;
        let mergeable = match found.state {
            ChangeState::Open => Some(forge.mergeable(&repository, change.number).await?.value),
            ChangeState::Merged | ChangeState::Closed => None,
        };
        Ok((found, mergeable))
    }

    /// A blob by its digest.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn blob(&self, digest: &str) -> Result<Vec<u8>, ServiceError> {
        let digest: blob::Digest = digest
            .parse()
            .map_err(|_| ServiceError::Invalid(format!("`{digest}` is no digest")))?;
        let blobs = std::sync::Arc::clone(&self.blobs);
        Ok(super::inventory::blocking(move || blobs.get(&digest)).await??)
    }

    /// The patch of a task's proposal, as text.
    ///
    /// # Errors
    /// When there is none.
    pub async fn patch(&self, task: &Task) -> Result<String, ServiceError> {
        let proposal = task.proposal.as_ref();
        let proposal =
            proposal.ok_or_else(|| ServiceError::Invalid("the task has no diff yet".to_owned()))?;
        Ok(String::from_utf8_lossy(&self.blob(&proposal.patch).await?).into_owned())
    }
}

/// All that is known about the work of a task.
pub(crate) fn evidence(task: &Task) -> Result<Evidence, ServiceError> {
    let proposal = task.proposal.as_ref();
    let base = proposal
        .map(|proposal| &proposal.base)
        .or(task.base.as_ref().map(|base| &base.commit));
    Ok(Evidence {
        base: base.cloned().unwrap_or_default(),
        isolation: task.isolation.clone(),
        validators: task.validators.clone(),
        diff: proposal.map(|proposal| proposal.diff).unwrap_or_default(),
        diff_class: proposal
            .map(|proposal| proposal.diff_class.clone())
            .unwrap_or_default(),
        outputs: serde_json::to_value(&task.outputs)?,
    })
}

/// A commit id as the forge wants it.
pub(crate) fn oid(text: &str) -> Result<Oid, ServiceError> {
    Oid::from_hex(text.as_bytes())
        .map_err(|_| ServiceError::Damaged(format!("`{text}` is no commit id")))
}
