//! Campaigns: preview, progress, pause, resume, retry of the failed part, close.

use std::collections::BTreeMap;

use engine::campaign::CampaignCommand;
use model::campaign::Campaign;
use model::event::{NewEvent, Subject, types};
use model::ids::CampaignId;
use model::rows::{CampaignRow, Effect, Row, Stream};
use model::run::Target;
use model::task::TaskStatus;
use serde::{Deserialize, Serialize};
use store::{Append, Commit, LeaseChange, Page, StoreError, TaskFilter, TaskOrder};

use super::commit::Writing;
use super::{Actor, Forecast, Service, Update};
use crate::error::ServiceError;

/// What an automation would do if it were started now. Nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Automation by name.
    pub automation: String,
    /// Targets with their waves, in the order they would be worked on.
    pub targets: Vec<(Target, u32)>,
    /// Sizes of the waves.
    pub waves: Vec<u32>,
    /// What was asked for and is not there.
    pub missing: Vec<String>,
    /// Repositories looked at.
    pub looked_at: usize,
    /// What it would take.
    pub forecast: Forecast,
}

impl Service {
    /// Finds the targets of an automation file as it would now, and writes nothing.
    ///
    /// # Errors
    /// What is wrong in the file, or in its query.
    pub async fn preview(&self, source: &str, file: &str) -> Result<Preview, ServiceError> {
        let definition = engine::definition::read(source, file)?;
        let inventory = self.repositories().await?;
        let event = NewEvent {
            source: "preview".to_owned(),
            event_type: types::MANUAL.to_owned(),
            subject: Subject {
                automation: Some(definition.name.clone()),
                ..Subject::default()
            },
            dedupe_key: "preview".to_owned(),
            time: None,
            actor: "system".to_owned(),
            data: serde_json::Value::Null,
        };
        let event = event.admitted(self.now());
        let found = engine::targets::find(&definition, &event, inventory.iter())?;
        let rules = definition.campaign.clone().unwrap_or_default();
        let waves = engine::waves::sizes(
            &rules,
            u32::try_from(found.targets.len()).unwrap_or(u32::MAX),
        );
        let forecast = self
            .forecast(&definition, found.targets.len() as u64)
            .await?;
        let targets = found.targets.into_iter().zip(0u32..);
        let targets = targets
            .map(|(target, at)| (target, engine::waves::wave_of(&waves, at)))
            .collect();
        Ok(Preview {
            automation: definition.name,
            targets,
            waves,
            missing: found.missing,
            looked_at: inventory.len(),
            forecast,
        })
    }

    /// A campaign.
    ///
    /// # Errors
    /// When there is none with this id.
    pub async fn campaign(&self, id: CampaignId) -> Result<Campaign, ServiceError> {
        Ok(self.load_campaign(id).await?.0)
    }

    pub(crate) async fn load_campaign(
        &self,
        id: CampaignId,
    ) -> Result<(Campaign, u64), ServiceError> {
        let loaded = self.store.load(Stream::Campaign(id)).await?;
        let loaded = loaded.ok_or_else(|| ServiceError::not_found("campaign", id))?;
        Ok((serde_json::from_str(&loaded.state)?, loaded.seq))
    }

    /// Nothing new starts; what runs goes on.
    ///
    /// # Errors
    /// A rejection when it is paused or closed.
    pub async fn pause_campaign(
        &self,
        id: CampaignId,
        actor: &Actor,
    ) -> Result<Campaign, ServiceError> {
        self.steer(id, actor, &CampaignCommand::Pause).await
    }

    /// Goes on, past a gate that held it.
    ///
    /// # Errors
    /// A rejection when it is neither paused nor held.
    pub async fn resume_campaign(
        &self,
        id: CampaignId,
        actor: &Actor,
    ) -> Result<Campaign, ServiceError> {
        let campaign = self.steer(id, actor, &CampaignCommand::Resume).await?;
        self.mark_dirty(id);
        Ok(campaign)
    }

    /// Ends it: tasks are cancelled, open changes closed, branches deleted.
    ///
    /// # Errors
    /// A rejection when it is closed.
    pub async fn close_campaign(
        &self,
        id: CampaignId,
        actor: &Actor,
    ) -> Result<Campaign, ServiceError> {
        let note = format!("{} closed it", actor.name);
        self.steer(id, actor, &CampaignCommand::Close { note })
            .await
    }

    /// Another round for the failed part only: failed, unverified and rejected tasks. Returns
    /// how many.
    ///
    /// # Errors
    /// When the campaign is closed.
    pub async fn retry_campaign(&self, id: CampaignId, actor: &Actor) -> Result<u64, ServiceError> {
        let campaign = self.campaign(id).await?;
        if campaign.status == model::campaign::CampaignStatus::Closed {
            return Err(ServiceError::Invalid(
                "the campaign is closed; start the automation again".to_owned(),
            ));
        }
        let filter = TaskFilter {
            campaign: Some(id),
            statuses: vec![
                TaskStatus::Failed,
                TaskStatus::Unverified,
                TaskStatus::Rejected,
            ],
            ..TaskFilter::default()
        };
        let rows = self
            .store
            .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
            .await?;
        let mut retried = 0;
        for row in rows {
            match self.retry_task(row.id, actor).await {
                Ok(_) => retried += 1,
                // Somebody else was faster.
                Err(ServiceError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(retried)
    }

    /// Lets the next wave in, or holds, as the progress of the waves says.
    pub(crate) async fn advance_campaign(&self, id: CampaignId) -> Result<(), ServiceError> {
        let progress = self.store.wave_progress(id).await?;
        let command = CampaignCommand::Advance { progress };
        match self.steer(id, &Actor::system(), &command).await {
            Ok(_) => Ok(()),
            Err(ServiceError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn steer(
        &self,
        id: CampaignId,
        actor: &Actor,
        command: &CampaignCommand,
    ) -> Result<Campaign, ServiceError> {
        loop {
            let (mut campaign, seq) = self.load_campaign(id).await?;
            let facts = engine::campaign::decide(&campaign, command)?;
            if facts.is_empty() {
                return Ok(campaign);
            }
            let now = self.now();
            let scope = format!("automation:{}", campaign.automation);
            let mut writing =
                Writing::of_stream(now, &actor.name, scope, Stream::Campaign(id), seq);
            for fact in &facts {
                engine::campaign::apply(&mut campaign, fact, now);
                writing.fact(fact)?;
                if matches!(fact, model::fact::CampaignFact::Closed { .. }) {
                    writing.effect(
                        Effect::CloseCampaign { campaign: id },
                        format!("close:{id}"),
                        now,
                    );
                }
            }
            let append = campaign_append(&campaign, seq, writing.facts)?;
            let commit = Commit {
                appends: vec![append],
                effects: writing.effects,
                leaves: writing.leaves,
                ..Commit::default()
            };
            match self.store.commit(commit).await {
                Ok(_) => {
                    self.outbox.notify_one();
                    self.work.notify_waiters();
                    self.work.notify_one();
                    self.leaves.notify_one();
                    self.publish(Update::Campaign { id });
                    return Ok(campaign);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Number of tasks by status, for a campaign or for all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<BTreeMap<String, u64>, ServiceError> {
        let mut counts = BTreeMap::new();
        for row in self.store.status_counts(campaign).await? {
            *counts.entry(row.status.as_str().to_owned()).or_default() += row.count;
        }
        Ok(counts)
    }
}

/// The append of facts to a campaign's stream.
pub(crate) fn campaign_append(
    campaign: &Campaign,
    expected_seq: u64,
    facts: Vec<String>,
) -> Result<Append, ServiceError> {
    Ok(Append {
        stream: Stream::Campaign(campaign.id),
        expected_seq,
        epoch: None,
        facts,
        state: serde_json::to_string(campaign)?,
        row: Row::Campaign(CampaignRow::from(campaign)),
        spent_ms: 0,
        lease: LeaseChange::Keep,
    })
}
