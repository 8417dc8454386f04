//! Effect: the targets of a run are found, and its tasks made.
//!
//! Runs of one automation share a lane, so that one is planned after the other. Tasks are written
//! in batches; doing it again after a crash finds the tasks that are there.

use std::collections::{HashMap, HashSet};

use engine::campaign::CampaignCommand;
use engine::task::TaskCommand;
use jiff::Timestamp;
use model::automation::Automation;
use model::campaign::Campaign;
use model::fact::{CampaignFact, Fact, RunFact};
use model::ids::{CampaignId, RunId, TaskId};
use model::rows::{OutboxRow, Row, RunRow, Stream, TaskRow};
use model::run::{Run, RunStatus, Target};
use model::task::TaskStatus;
use store::{Append, Commit, LeaseChange, Page, TaskFilter, TaskOrder};

use super::outbox::Outcome;
use crate::error::ServiceError;
use crate::service::{Actor, Service, Update};

/// Tasks written in one transaction.
const BATCH: usize = 200;

pub(super) async fn carry_out(
    service: &Service,
    row: &OutboxRow,
    id: RunId,
) -> Result<Outcome, ServiceError> {
    let run = service.run(id).await?;
    if run.status != RunStatus::Planning {
        return Ok(Outcome::Finished);
    }
    let automation = service
        .automation_version(&run.automation, run.version)
        .await?;
    let event = service.store.event(run.event).await?;
    let event = event.ok_or_else(|| ServiceError::not_found("event", run.event))?;
    let inventory = service.repositories().await?;
    let found = match engine::targets::find(&automation.definition, &event, inventory.iter()) {
        Ok(found) => found,
        Err(error) => return fail(service, row, &run, &error.to_string()).await,
    };
    let planning = Planning::begin(service, &run, &automation).await?;
    let wanted = planning.choose(found.targets);
    let count = u32::try_from(wanted.targets.len()).unwrap_or(u32::MAX);
    let (facts, campaign) = planning.extend_campaign(count)?;
    let places = (planning.before..).map(|place| engine::waves::wave_of(&campaign.waves, place));
    let tasks: Vec<(Target, u32)> = wanted.targets.into_iter().zip(places).collect();
    planning.write_tasks(service, &tasks).await?;
    fault::point("plan.tasks_written");
    let mut notes = found.missing;
    notes.extend(wanted.notes);
    planning
        .finish(service, row, &facts, &campaign, count, notes)
        .await?;
    for older in wanted.superseded {
        let command = TaskCommand::Supersede {
            by: format!("run {}", run.id.short()),
        };
        service
            .execute(older, &Actor::system(), None, &[command], &[])
            .await?;
    }
    service.work.notify_waiters();
    service.work.notify_one();
    service.mark_dirty(planning.campaign.id);
    Ok(Outcome::Done)
}

struct Planning {
    run: Run,
    campaign: Campaign,
    /// Sequence number of the campaign's stream; 0 for one that begins with this run.
    seq: u64,
    /// The opening fact of a campaign that begins with this run.
    opened: Option<CampaignFact>,
    /// Targets of the campaign before this run.
    before: u32,
    /// Tasks of this run that were written before a crash.
    written: HashSet<TaskId>,
    /// Unfinished tasks of the campaign, by target.
    live: HashMap<Target, (TaskId, TaskStatus)>,
    now: Timestamp,
}

struct Chosen {
    targets: Vec<Target>,
    superseded: Vec<TaskId>,
    notes: Vec<String>,
}

impl Planning {
    async fn begin(
        service: &Service,
        run: &Run,
        automation: &Automation,
    ) -> Result<Self, ServiceError> {
        let now = service.now();
        let open = service
            .store
            .campaigns(Some(&run.automation), true, Page::first(1))
            .await?;
        let (campaign, seq, opened) = match open.first() {
            Some(row) => {
                let (campaign, seq) = service.load_campaign(row.id).await?;
                (campaign, seq, None)
            }
            None => {
                let rules = automation.definition.campaign.clone().unwrap_or_default();
                let opened = engine::campaign::open(&run.automation, run.version, rules);
                let id = CampaignId::derived(&[&run.id.to_string()]);
                let campaign = engine::campaign::initial(id, &opened, now).ok_or_else(|| {
                    ServiceError::Damaged("a campaign does not begin with an opening".to_owned())
                })?;
                (campaign, 0, Some(opened))
            }
        };
        let filter = TaskFilter {
            campaign: Some(campaign.id),
            ..TaskFilter::default()
        };
        let rows = service
            .store
            .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
            .await?;
        let written = rows
            .iter()
            .filter(|row| row.run == run.id)
            .map(|row| row.id)
            .collect();
        let live = rows
            .into_iter()
            .filter(|row| row.run != run.id && !row.status.is_final())
            .map(|row| (row.target, (row.id, row.status)))
            .collect();
        let before = campaign.targets;
        Ok(Self {
            run: run.clone(),
            campaign,
            seq,
            opened,
            before,
            written,
            live,
            now,
        })
    }

    /// A target with a change in review is left to its reviewers; older work that is not that
    /// far gives way to this run.
    fn choose(&self, targets: Vec<Target>) -> Chosen {
        let mut chosen = Chosen {
            targets: Vec::new(),
            superseded: Vec::new(),
            notes: Vec::new(),
        };
        let mut in_review = 0;
        for target in targets {
            match self.live.get(&target) {
                Some((_, status)) if status.is_open() || *status == TaskStatus::Ready => {
                    in_review += 1;
                }
                Some((older, _)) => {
                    chosen.superseded.push(*older);
                    chosen.targets.push(target);
                }
                None => chosen.targets.push(target),
            }
        }
        if in_review > 0 {
            chosen
                .notes
                .push(format!("{in_review} left out: their changes are in review"));
        }
        chosen
    }

    async fn write_tasks(
        &self,
        service: &Service,
        tasks: &[(Target, u32)],
    ) -> Result<(), ServiceError> {
        for batch in tasks.chunks(BATCH) {
            let mut commit = Commit::default();
            for (target, wave) in batch {
                let (id, fact) =
                    engine::task::create(&self.run, self.campaign.id, target.clone(), *wave);
                if self.written.contains(&id) {
                    continue;
                }
                let task = engine::task::initial(id, &fact, self.now).ok_or_else(|| {
                    ServiceError::Damaged("a task does not begin with a creation".to_owned())
                })?;
                let row = Row::Task(TaskRow::from(&task));
                let stream = Stream::Task(id);
                self.append(
                    &mut commit,
                    stream,
                    0,
                    &[fact],
                    serde_json::to_string(&task)?,
                    row,
                )?;
            }
            if !commit.appends.is_empty() {
                service.store.commit(commit).await?;
            }
        }
        Ok(())
    }

    /// The campaign with the targets of this run, and the facts that make it so.
    fn extend_campaign(&self, count: u32) -> Result<(Vec<CampaignFact>, Campaign), ServiceError> {
        let mut campaign = self.campaign.clone();
        let mut facts: Vec<CampaignFact> = self.opened.iter().cloned().collect();
        let rules = self.campaign.rules.clone();
        let command = CampaignCommand::Plan {
            run: self.run.id,
            count,
            rules,
        };
        facts.extend(engine::campaign::decide(&campaign, &command)?);
        for fact in &facts {
            engine::campaign::apply(&mut campaign, fact, self.now);
        }
        Ok((facts, campaign))
    }

    /// The campaign gets its targets, the run its end, and the effect is done: all at once.
    async fn finish(
        &self,
        service: &Service,
        row: &OutboxRow,
        facts: &[CampaignFact],
        campaign: &Campaign,
        count: u32,
        notes: Vec<String>,
    ) -> Result<(), ServiceError> {
        let mut commit = Commit {
            done: vec![row.id],
            ..Commit::default()
        };
        let state = serde_json::to_string(campaign)?;
        let campaign_row = Row::Campaign(model::rows::CampaignRow::from(campaign));
        self.append(
            &mut commit,
            Stream::Campaign(campaign.id),
            self.seq,
            facts,
            state,
            campaign_row,
        )?;
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        let planned = RunFact::Planned {
            campaign: campaign.id,
            tasks: count,
            note,
        };
        finish_run(self, &mut commit, planned)?;
        fault::point("plan.before_done");
        service.store.commit(commit).await?;
        service.leaves.notify_one();
        service.publish(Update::Run { id: self.run.id });
        service.publish(Update::Campaign { id: campaign.id });
        Ok(())
    }

    fn append<F: Fact + serde::Serialize + Clone>(
        &self,
        commit: &mut Commit,
        stream: Stream,
        expected_seq: u64,
        facts: &[F],
        state: String,
        row: Row,
    ) -> Result<(), ServiceError> {
        let scope = format!("automation:{}", self.run.automation);
        let mut writing =
            crate::service::Writing::of_stream(self.now, "system", scope, stream, expected_seq);
        for fact in facts {
            writing.fact(fact)?;
        }
        commit.leaves.extend(writing.leaves);
        commit.appends.push(Append {
            stream,
            expected_seq,
            epoch: None,
            facts: writing.facts,
            state,
            row,
            spent_ms: 0,
            lease: LeaseChange::Keep,
        });
        Ok(())
    }
}

/// Runs have one fact before their planning: their start.
const RUN_SEQ: u64 = 1;

fn finish_run(planning: &Planning, commit: &mut Commit, fact: RunFact) -> Result<(), ServiceError> {
    let mut run = planning.run.clone();
    engine::run::apply(&mut run, &fact);
    let state = serde_json::to_string(&run)?;
    let row = Row::Run(RunRow::from(&run));
    planning.append(commit, Stream::Run(run.id), RUN_SEQ, &[fact], state, row)
}

async fn fail(
    service: &Service,
    row: &OutboxRow,
    run: &Run,
    why: &str,
) -> Result<Outcome, ServiceError> {
    let now = service.now();
    let fact = RunFact::Failed {
        note: why.to_owned(),
    };
    let mut after = run.clone();
    engine::run::apply(&mut after, &fact);
    let scope = format!("automation:{}", run.automation);
    let mut writing =
        crate::service::Writing::of_stream(now, "system", scope, Stream::Run(run.id), RUN_SEQ);
    writing.fact(&fact)?;
    let append = Append {
        stream: Stream::Run(run.id),
        expected_seq: RUN_SEQ,
        epoch: None,
        facts: writing.facts,
        state: serde_json::to_string(&after)?,
        row: Row::Run(RunRow::from(&after)),
        spent_ms: 0,
        lease: LeaseChange::Keep,
    };
    let commit = Commit {
        appends: vec![append],
        leaves: writing.leaves,
        done: vec![row.id],
        ..Commit::default()
    };
    service.store.commit(commit).await?;
    service.publish(Update::Run { id: run.id });
    Ok(Outcome::Done)
}
