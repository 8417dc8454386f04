//! Applies one commit in a transaction of its own: everything is sent at once, the answers are
//! judged afterwards, and only then is it committed.

use std::sync::LazyLock;

use model::rows::{Row, Stream};
use model::task::TaskStatus;

use super::client::{Fault, Step, pipeline_results};
use super::wake::NOTIFY;
use crate::columns::{CAMPAIGN, OUTBOX, RUN};
use crate::error::StoreError;
use crate::projection::{self, TASK_IDENTITY, TASK_PROGRESS, assignments, placeholders};
use crate::types::{Append, Commit, DocumentWrite, LeaseChange};
use crate::value::Value;

const INSERT_EVENT: &str =
    "INSERT INTO events (id, type, repository, received_at, body) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO NOTHING";
const BEGIN_STREAM: &str =
    "INSERT INTO states (stream, seq, state) VALUES ($1, $2, $3) ON CONFLICT (stream) DO NOTHING";
const MOVE_STREAM: &str = "UPDATE states SET seq = $2, state = $3 WHERE stream = $1 AND seq = $4";
const CHECK_EPOCH: &str = "SELECT 1 FROM tasks WHERE id = $1 AND epoch = $2 FOR UPDATE";
const INSERT_FACT: &str = "INSERT INTO facts (stream, seq, fact) VALUES ($1, $2, $3)";
static INSERT_TASK: LazyLock<String> = LazyLock::new(|| {
    let count = TASK_IDENTITY.len() + TASK_PROGRESS.len() + 1;
    let (identity, progress) = (TASK_IDENTITY.join(", "), TASK_PROGRESS.join(", "));
    format!(
        "INSERT INTO tasks ({identity}, {progress}, epoch) VALUES ({})",
        placeholders(count, '$')
    )
});
static UPDATE_TASK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE tasks SET {} WHERE id = $1",
        assignments(&TASK_PROGRESS, '$', 2)
    )
});
const RELEASE: &str =
    "UPDATE tasks SET owner = NULL, lease_until = NULL, epoch = epoch + 1 WHERE id = $1";
static INSERT_CAMPAIGN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO campaigns ({CAMPAIGN}) VALUES ({})",
        placeholders(9, '$')
    )
});
const UPDATE_CAMPAIGN: &str =
    "UPDATE campaigns SET automation = $2, status = $3, admitted_wave = $4, targets = $5,
    max_running = $6, max_open = $7, created_at = $8, updated_at = $9 WHERE id = $1";
static INSERT_RUN: LazyLock<String> =
    LazyLock::new(|| format!("INSERT INTO runs ({RUN}) VALUES ({})", placeholders(7, '$')));
const UPDATE_RUN: &str =
    "UPDATE runs SET automation = $2, event = $3, status = $4, campaign = $5, tasks = $6,
    created_at = $7 WHERE id = $1";
static INSERT_EFFECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO outbox ({OUTBOX}) VALUES ({}) ON CONFLICT (id) DO NOTHING",
        placeholders(5, '$')
    )
});
const DELETE_EFFECT: &str = "DELETE FROM outbox WHERE id = $1";
const WRITE_DOCUMENT: &str = "INSERT INTO documents (kind, key, body) VALUES ($1, $2, $3)
    ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body";
const DELETE_DOCUMENT: &str = "DELETE FROM documents WHERE kind = $1 AND key = $2";
const INSERT_LEAF: &str = "INSERT INTO ledger_pending (leaf) VALUES ($1)";

/// What the number of rows of a step says.
enum Meaning<'a> {
    /// Nothing.
    Any,
    /// None: the event was there already.
    Event,
    /// None: the epoch is not the current one.
    Epoch(&'a str),
    /// None: the stream is not where the writer believes it to be.
    Place(&'a str),
}

/// Statements with their meanings, in order.
#[derive(Default)]
struct Plan<'a> {
    steps: Vec<Step<'a>>,
    meanings: Vec<Meaning<'a>>,
}

impl<'a> Plan<'a> {
    fn push(&mut self, sql: &'static str, values: Vec<Value<'a>>) {
        self.push_meaning(sql, values, Meaning::Any);
    }

    fn push_meaning(&mut self, sql: &'static str, values: Vec<Value<'a>>, meaning: Meaning<'a>) {
        self.steps.push(Step { sql, values });
        self.meanings.push(meaning);
    }
}

/// Applies a commit inside a transaction, which the caller ends by the answer.
pub(super) async fn apply(
    transaction: &deadpool_postgres::Transaction<'_>,
    commit: &Commit,
) -> Result<(), Fault> {
    let appends = in_order(commit)?;
    let plan = plan(commit, &appends)?;
    let results = pipeline_results(transaction, &plan.steps).await?;
    judge(&plan.meanings, results)?;
    super::budget::apply(transaction, &commit.budget).await
}

/// Streams are locked in the order of their names, so that two commits cannot wait for each other.
fn in_order(commit: &Commit) -> Result<Vec<(String, &Append)>, StoreError> {
    let mut appends = Vec::with_capacity(commit.appends.len());
    for append in &commit.appends {
        append.check()?;
        appends.push((append.stream.to_string(), append));
    }
    appends.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(appends)
}

fn plan<'a>(
    commit: &'a Commit,
    appends: &'a [(String, &'a Append)],
) -> Result<Plan<'a>, StoreError> {
    let mut plan = Plan::default();
    if let Some(event) = &commit.event {
        plan.push_meaning(
            INSERT_EVENT,
            projection::event(event)?.into(),
            Meaning::Event,
        );
    }
    for (stream, append) in appends {
        plan_place(&mut plan, stream, append);
    }
    for (stream, append) in appends {
        plan_append(&mut plan, stream, append);
    }
    for effect in &commit.effects {
        plan.push(&INSERT_EFFECT, projection::effect(effect)?);
    }
    for id in &commit.done {
        plan.push(DELETE_EFFECT, vec![Value::id(id)]);
    }
    for write in &commit.documents {
        plan_document(&mut plan, write);
    }
    for leaf in &commit.leaves {
        plan.push(INSERT_LEAF, vec![leaf.as_slice().into()]);
    }
    if wakes_others(commit) {
        plan.push(NOTIFY, Vec::new());
    }
    Ok(plan)
}

/// Locks a stream, and its lease with it.
fn plan_place<'a>(plan: &mut Plan<'a>, stream: &'a str, append: &'a Append) {
    let seq = append.expected_seq + append.facts.len() as u64;
    let mut values = vec![stream.into(), seq.into(), append.state.as_str().into()];
    let sql = if append.expected_seq == 0 {
        BEGIN_STREAM
    } else {
        values.push(append.expected_seq.into());
        MOVE_STREAM
    };
    plan.push_meaning(sql, values, Meaning::Place(stream));
    match (append.epoch, append.stream) {
        // What is new, and what is no task, has epoch 0.
        (None | Some(0), Stream::Campaign(_) | Stream::Run(_)) | (None, Stream::Task(_)) => {}
        (Some(0), Stream::Task(_)) if append.expected_seq == 0 => {}
        (Some(epoch), _) => {
            plan.push_meaning(
                CHECK_EPOCH,
                vec![stream.into(), epoch.into()],
                Meaning::Epoch(stream),
            );
        }
    }
}

fn plan_append<'a>(plan: &mut Plan<'a>, stream: &'a str, append: &'a Append) {
    for (seq, fact) in (append.expected_seq + 1..).zip(&append.facts) {
        plan.push(
            INSERT_FACT,
            vec![stream.into(), seq.into(), fact.as_str().into()],
        );
    }
    let is_new = append.expected_seq == 0;
    match &append.row {
        Row::Task(row) => {
            let release = append.lease == LeaseChange::Release;
            let progress = projection::task_progress(row, append.spent_ms);
            let mut values = if is_new {
                projection::task_identity(row)
            } else {
                vec![Value::id(&row.id)]
            };
            values.extend(progress);
            if is_new {
                values.push(u64::from(release).into());
            }
            plan.push(if is_new { &INSERT_TASK } else { &UPDATE_TASK }, values);
            if release && !is_new {
                plan.push(RELEASE, vec![stream.into()]);
            }
        }
        Row::Campaign(row) => {
            plan.push(
                if is_new {
                    &INSERT_CAMPAIGN
                } else {
                    UPDATE_CAMPAIGN
                },
                projection::campaign(row),
            );
        }
        Row::Run(row) => plan.push(
            if is_new { &INSERT_RUN } else { UPDATE_RUN },
            projection::run(row),
        ),
    }
}

fn plan_document<'a>(plan: &mut Plan<'a>, write: &'a DocumentWrite) {
    let mut values = vec![write.kind.as_str().into(), write.key.as_str().into()];
    match write.body.as_deref() {
        Some(body) => {
            values.push(body.into());
            plan.push(WRITE_DOCUMENT, values);
        }
        None => plan.push(DELETE_DOCUMENT, values),
    }
}

/// Other replicas wait for effects, for tasks to claim and for room in limits; a notification
/// makes commits queue up in the server, so nothing else sends one.
fn wakes_others(commit: &Commit) -> bool {
    let matters = |append: &Append| match &append.row {
        Row::Task(row) => row.status == TaskStatus::Queued || append.lease == LeaseChange::Release,
        Row::Campaign(_) => true,
        Row::Run(_) => false,
    };
    !commit.effects.is_empty() || !commit.done.is_empty() || commit.appends.iter().any(matters)
}

/// What the results say together. A stream that has moved on makes later statements fail, so
/// it counts before them; a lost lease counts before both.
fn judge(
    meanings: &[Meaning<'_>],
    results: Vec<Result<u64, tokio_postgres::Error>>,
) -> Result<(), Fault> {
    let mut moved_on = None;
    for (meaning, result) in meanings.iter().zip(results) {
        match (meaning, result) {
            (_, Ok(1..)) | (Meaning::Any, Ok(0)) => {}
            (Meaning::Event, Ok(0)) => return Err(Fault::Duplicate),
            (Meaning::Epoch(task), Ok(0)) => {
                return Err(StoreError::Fenced {
                    task: (*task).to_owned(),
                }
                .into());
            }
            (Meaning::Place(stream), Ok(0)) => moved_on = moved_on.or(Some(*stream)),
            (_, Err(_)) if moved_on.is_some() => break,
            (_, Err(error)) => return Err(error.into()),
        }
    }
    match moved_on {
        Some(stream) => Err(StoreError::Conflict {
            what: stream.to_owned(),
        }
        .into()),
        None => Ok(()),
    }
}
