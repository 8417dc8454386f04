//! What the nouns put into their columns, the same for both databases.

use model::event::Event;
use model::rows::{CampaignRow, OutboxRow, RunRow, TaskRow};
use model::task::TaskStatus;

use crate::columns::to_json;
use crate::error::StoreError;
use crate::value::Value;

/// Columns of a task that are set once, in the order of [`task_identity`].
pub(crate) const TASK_IDENTITY: [&str; 9] = [
    "id",
    "run",
    "campaign",
    "automation",
    "repository",
    "path",
    "key",
    "wave",
    "created_at",
];
/// Columns of a task that every append sets, in the order of [`task_progress`].
pub(crate) const TASK_PROGRESS: [&str; 13] = [
    "status",
    "wait",
    "settled",
    "paused",
    "inbox",
    "next_step",
    "round",
    "reason",
    "sentence",
    "change",
    "diff_class",
    "updated_at",
    "spent_ms",
];

/// Whether a task belongs into the inbox: in review, or waiting for a person.
pub(crate) fn in_inbox(row: &TaskRow) -> bool {
    row.status == TaskStatus::InReview
        || (row.status == TaskStatus::Waiting && row.wait.is_some_and(|wait| wait.is_for_person()))
}

/// Values of [`TASK_IDENTITY`].
pub(crate) fn task_identity(row: &TaskRow) -> Vec<Value<'_>> {
    vec![
        Value::id(&row.id),
        Value::id(&row.run),
        Value::id(&row.campaign),
        row.automation.as_str().into(),
        row.target.repository.as_str().into(),
        row.target.path.as_str().into(),
        row.target.key.as_str().into(),
        row.wave.into(),
        row.created_at.into(),
    ]
}

/// Values of [`TASK_PROGRESS`].
pub(crate) fn task_progress(row: &TaskRow, spent_ms: u64) -> Vec<Value<'_>> {
    vec![
        row.status.as_str().into(),
        Value::text_or_null(row.wait.map(|wait| wait.as_str())),
        row.settled.into(),
        row.paused.into(),
        in_inbox(row).into(),
        row.next_step.into(),
        row.round.into(),
        Value::text_or_null(row.reason.as_deref()),
        Value::text_or_null(row.sentence.as_deref()),
        Value::int_or_null(row.change),
        Value::text_or_null(row.diff_class.as_deref()),
        row.updated_at.into(),
        spent_ms.into(),
    ]
}

/// Values of [`crate::columns::CAMPAIGN`].
pub(crate) fn campaign(row: &CampaignRow) -> Vec<Value<'_>> {
    vec![
        Value::id(&row.id),
        row.automation.as_str().into(),
        row.status.as_str().into(),
        row.admitted_wave.into(),
        row.targets.into(),
        Value::int_or_null(row.max_running.map(u64::from)),
        Value::int_or_null(row.max_open.map(u64::from)),
        row.created_at.into(),
        row.updated_at.into(),
    ]
}

/// Values of [`crate::columns::RUN`].
pub(crate) fn run(row: &RunRow) -> Vec<Value<'_>> {
    vec![
        Value::id(&row.id),
        row.automation.as_str().into(),
        Value::id(&row.event),
        row.status.as_str().into(),
        row.campaign.as_ref().map_or(Value::Null, Value::id),
        row.tasks.into(),
        row.created_at.into(),
    ]
}

/// Values of (id, type, repository, received_at, body).
pub(crate) fn event(event: &Event) -> Result<[Value<'_>; 5], StoreError> {
    Ok([
        Value::id(&event.id),
        event.event_type.as_str().into(),
        Value::text_or_null(event.subject.repository.as_deref()),
        event.received_at.into(),
        Value::Text(to_json(event)?.into()),
    ])
}

/// Values of [`crate::columns::OUTBOX`].
pub(crate) fn effect(row: &OutboxRow) -> Result<Vec<Value<'_>>, StoreError> {
    Ok(vec![
        Value::id(&row.id),
        row.due_at.into(),
        row.lane.as_str().into(),
        row.attempts.into(),
        Value::Text(to_json(&row.effect)?.into()),
    ])
}

/// `name = P1, …` for an update, with placeholders that begin with `prefix` and count from `first`.
pub(crate) fn assignments(columns: &[&str], prefix: char, first: usize) -> String {
    let pairs = columns
        .iter()
        .enumerate()
        .map(|(at, column)| format!("{column} = {prefix}{}", first + at));
    pairs.collect::<Vec<_>>().join(", ")
}

/// `P1, P2, …` for an insert.
pub(crate) fn placeholders(count: usize, prefix: char) -> String {
    (1..=count)
        .map(|at| format!("{prefix}{at}"))
        .collect::<Vec<_>>()
        .join(", ")
}
