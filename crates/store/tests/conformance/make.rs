//! Small things that the behaviours are written with.

use jiff::{SignedDuration, Timestamp};
use model::campaign::CampaignStatus;
use model::event::{Event, NewEvent, Subject};
use model::ids::{CampaignId, EffectId, RunId, TaskId};
use model::rows::{CampaignRow, Effect, OutboxRow, Row, RunRow, Stream, TaskRow};
use model::run::{RunStatus, Target};
use model::task::TaskStatus;
use store::{Append, Claim, Claimed, Commit, Committed, LeaseChange, Limits, Store};

/// A fixed time, so many seconds later.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(seconds)
}

pub(crate) fn campaign_id(name: &str) -> CampaignId {
    CampaignId::derived(&[name])
}

pub(crate) fn run_id(name: &str) -> RunId {
    RunId::derived(&[name])
}

pub(crate) fn task_id(name: &str) -> TaskId {
    TaskId::derived(&[name])
}

pub(crate) fn campaign(name: &str) -> CampaignRow {
    CampaignRow {
        id: campaign_id(name),
        automation: name.to_owned(),
        status: CampaignStatus::Active,
        admitted_wave: 0,
        targets: 0,
        max_running: None,
        max_open: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(crate) fn task(campaign: &str, name: &str) -> TaskRow {
    TaskRow {
        id: task_id(name),
        run: run_id(campaign),
        campaign: campaign_id(campaign),
        automation: campaign.to_owned(),
        target: Target::repository(format!("group/{name}")),
        wave: 0,
        status: TaskStatus::Queued,
        wait: None,
        settled: false,
        paused: false,
        next_step: 0,
        round: 1,
        reason: None,
        sentence: None,
        change: None,
        diff_class: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(crate) fn run(name: &str) -> RunRow {
    RunRow {
        id: run_id(name),
        automation: name.to_owned(),
        event: event(name).id,
        status: RunStatus::Planning,
        campaign: None,
        tasks: 0,
        created_at: at(0),
    }
}

pub(crate) fn event(key: &str) -> Event {
    let new = NewEvent {
        source: "test".to_owned(),
        event_type: "push".to_owned(),
        subject: Subject {
            repository: Some(format!("group/{key}")),
            ..Subject::default()
        },
        dedupe_key: key.to_owned(),
        time: None,
        actor: "person:ann".to_owned(),
        data: serde_json::json!({"n": 1}),
    };
    new.admitted(at(0))
}

pub(crate) fn effect(name: &str, lane: &str, due_at: Timestamp) -> OutboxRow {
    OutboxRow {
        id: EffectId::derived(&[name]),
        due_at,
        lane: lane.to_owned(),
        attempts: 0,
        effect: Effect::PlanRun { run: run_id(name) },
    }
}

/// One fact for whatever stream the row is of.
pub(crate) fn append(row: impl Into<AnyRow>, expected_seq: u64) -> Append {
    let row = row.into().0;
    let stream = match &row {
        Row::Task(row) => Stream::Task(row.id),
        Row::Campaign(row) => Stream::Campaign(row.id),
        Row::Run(row) => Stream::Run(row.id),
    };
    Append {
        stream,
        expected_seq,
        epoch: None,
        facts: vec![format!("{{\"fact\":{}}}", expected_seq + 1)],
        state: format!("{{\"state\":{}}}", expected_seq + 1),
        row,
        spent_ms: 0,
        lease: LeaseChange::Keep,
    }
}

/// A projection row of any kind.
pub(crate) struct AnyRow(Row);

impl From<TaskRow> for AnyRow {
    fn from(row: TaskRow) -> Self {
        Self(Row::Task(row))
    }
}

impl From<CampaignRow> for AnyRow {
    fn from(row: CampaignRow) -> Self {
        Self(Row::Campaign(row))
    }
}

impl From<RunRow> for AnyRow {
    fn from(row: RunRow) -> Self {
        Self(Row::Run(row))
    }
}

pub(crate) fn commit(appends: Vec<Append>) -> Commit {
    Commit {
        appends,
        ..Commit::default()
    }
}

/// Commits new streams.
pub(crate) async fn add(store: &dyn Store, rows: Vec<impl Into<AnyRow>>) {
    let appends = rows.into_iter().map(|row| append(row, 0)).collect();
    assert_eq!(
        store.commit(commit(appends)).await.unwrap(),
        Committed::Applied
    );
}

pub(crate) fn claim(owner: &str, slots: u32) -> Claim {
    Claim {
        owner: owner.to_owned(),
        slots,
        now: at(10),
        until: at(100),
        limits: Limits::default(),
    }
}

/// The next fact of a claimed task, under its lease.
pub(crate) fn next(row: TaskRow, claimed: &Claimed) -> Append {
    Append {
        epoch: Some(claimed.epoch),
        ..append(row, claimed.seq)
    }
}
