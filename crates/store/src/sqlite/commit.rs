//! Applies one commit inside the writer's transaction.

use std::sync::LazyLock;

use model::event::Event;
use model::rows::{CampaignRow, OutboxRow, Row, RunRow, Stream, TaskRow};
use rusqlite::Connection;

use super::connection::{execute, first};
use super::fault::Fault;
use crate::columns::{CAMPAIGN, Columns as _, OUTBOX, RUN};
use crate::error::StoreError;
use crate::projection::{self, TASK_IDENTITY, TASK_PROGRESS, assignments, placeholders};
use crate::types::{Append, Commit, Committed, DocumentWrite, LeaseChange};
use crate::value::Value;

static INSERT_TASK: LazyLock<String> = LazyLock::new(|| {
    let count = TASK_IDENTITY.len() + TASK_PROGRESS.len() + 1;
    format!(
        "INSERT INTO tasks ({}, {}, epoch) VALUES ({})",
        TASK_IDENTITY.join(", "),
        TASK_PROGRESS.join(", "),
        placeholders(count, '?')
    )
});
static UPDATE_TASK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE tasks SET {} WHERE id = ?1",
        assignments(&TASK_PROGRESS, '?', 2)
    )
});
static INSERT_CAMPAIGN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO campaigns ({CAMPAIGN}) VALUES ({})",
        placeholders(9, '?')
    )
});
const UPDATE_CAMPAIGN: &str = "UPDATE campaigns SET automation = ?2, status = ?3, admitted_wave = ?4, targets = ?5, \
     max_running = ?6, max_open = ?7, created_at = ?8, updated_at = ?9 WHERE id = ?1";
static INSERT_RUN: LazyLock<String> =
    LazyLock::new(|| format!("INSERT INTO runs ({RUN}) VALUES ({})", placeholders(7, '?')));
const UPDATE_RUN: &str = "UPDATE runs SET automation = ?2, event = ?3, status = ?4, campaign = ?5, tasks = ?6, \
     created_at = ?7 WHERE id = ?1";
static INSERT_EFFECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO outbox ({OUTBOX}) VALUES ({}) ON CONFLICT (id) DO NOTHING",
        placeholders(5, '?')
    )
});

/// Applies a commit, or says why not; the caller undoes what was begun.
pub(super) fn apply(connection: &Connection, commit: &Commit) -> Result<Committed, Fault> {
    if let Some(event) = &commit.event
        && !admit(connection, event)?
    {
        return Ok(Committed::Duplicate);
    }
    for append in &commit.appends {
        apply_append(connection, append)?;
    }
    for effect in &commit.effects {
        add_effect(connection, effect)?;
    }
    for id in &commit.done {
        execute(
            connection,
            "DELETE FROM outbox WHERE id = ?1",
            &[Value::id(id)],
        )?;
    }
    for write in &commit.documents {
        write_document(connection, write)?;
    }
    super::budget::apply(connection, &commit.budget)?;
    for leaf in &commit.leaves {
        execute(
            connection,
            "INSERT INTO ledger_pending (leaf) VALUES (?1)",
            &[leaf.as_slice().into()],
        )?;
    }
    Ok(Committed::Applied)
}

/// Whether the event is new.
fn admit(connection: &Connection, event: &Event) -> Result<bool, Fault> {
    let sql = "INSERT INTO events (id, type, repository, received_at, body) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (id) DO NOTHING";
    Ok(execute(connection, sql, &projection::event(event)?)? == 1)
}

fn apply_append(connection: &Connection, append: &Append) -> Result<(), Fault> {
    append.check()?;
    let stream = append.stream.to_string();
    if let Some(epoch) = append.epoch {
        check_epoch(connection, append.stream, &stream, epoch)?;
    }
    advance(connection, append, &stream)?;
    for (seq, fact) in (append.expected_seq + 1..).zip(&append.facts) {
        let values = [stream.as_str().into(), seq.into(), fact.as_str().into()];
        execute(
            connection,
            "INSERT INTO facts (stream, seq, fact) VALUES (?1, ?2, ?3)",
            &values,
        )?;
    }
    let is_new = append.expected_seq == 0;
    match &append.row {
        Row::Task(row) => write_task(connection, row, append, is_new),
        Row::Campaign(row) => write_campaign(connection, row, is_new),
        Row::Run(row) => write_run(connection, row, is_new),
    }
}

fn check_epoch(
    connection: &Connection,
    stream: Stream,
    name: &str,
    epoch: u64,
) -> Result<(), Fault> {
    let current = match stream {
        Stream::Task(_) => first(
            connection,
            "SELECT epoch FROM tasks WHERE id = ?1",
            &[name.into()],
            |row| row.count(0),
        )?,
        Stream::Campaign(_) | Stream::Run(_) => None,
    };
    if current.unwrap_or(0) == epoch {
        Ok(())
    } else {
        Err(StoreError::Fenced {
            task: name.to_owned(),
        }
        .into())
    }
}

/// Moves the stream on if it is where the writer believes it to be.
fn advance(connection: &Connection, append: &Append, stream: &str) -> Result<(), Fault> {
    let seq = append.expected_seq + append.facts.len() as u64;
    let state = append.state.as_str();
    let moved = if append.expected_seq == 0 {
        let sql = "INSERT INTO states (stream, seq, state) VALUES (?1, ?2, ?3) ON CONFLICT (stream) DO NOTHING";
        execute(connection, sql, &[stream.into(), seq.into(), state.into()])?
    } else {
        let sql = "UPDATE states SET seq = ?2, state = ?3 WHERE stream = ?1 AND seq = ?4";
        execute(
            connection,
            sql,
            &[
                stream.into(),
                seq.into(),
                state.into(),
                append.expected_seq.into(),
            ],
        )?
    };
    if moved == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict {
            what: stream.to_owned(),
        }
        .into())
    }
}

fn write_task(
    connection: &Connection,
    row: &TaskRow,
    append: &Append,
    is_new: bool,
) -> Result<(), Fault> {
    let release = append.lease == LeaseChange::Release;
    let progress = projection::task_progress(row, append.spent_ms);
    if is_new {
        let mut values = projection::task_identity(row);
        values.extend(progress);
        values.push(u64::from(release).into());
        execute(connection, &INSERT_TASK, &values)?;
        return Ok(());
    }
    let mut values = vec![Value::id(&row.id)];
    values.extend(progress);
    execute(connection, &UPDATE_TASK, &values)?;
    if release {
        let sql =
            "UPDATE tasks SET owner = NULL, lease_until = NULL, epoch = epoch + 1 WHERE id = ?1";
        execute(connection, sql, &[Value::id(&row.id)])?;
    }
    Ok(())
}

fn write_campaign(connection: &Connection, row: &CampaignRow, is_new: bool) -> Result<(), Fault> {
    let sql = if is_new {
        &INSERT_CAMPAIGN
    } else {
        UPDATE_CAMPAIGN
    };
    execute(connection, sql, &projection::campaign(row)).map(drop)
}

fn write_run(connection: &Connection, row: &RunRow, is_new: bool) -> Result<(), Fault> {
    let sql = if is_new { &INSERT_RUN } else { UPDATE_RUN };
    execute(connection, sql, &projection::run(row)).map(drop)
}

/// Adds an outbox row unless it is there.
fn add_effect(connection: &Connection, effect: &OutboxRow) -> Result<(), Fault> {
    execute(connection, &INSERT_EFFECT, &projection::effect(effect)?).map(drop)
}

/// Writes or deletes a document.
fn write_document(connection: &Connection, write: &DocumentWrite) -> Result<(), Fault> {
    let (kind, key) = (write.kind.as_str().into(), write.key.as_str().into());
    let done = match write.body.as_deref() {
        Some(body) => {
            let sql = "INSERT INTO documents (kind, key, body) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body";
            execute(connection, sql, &[kind, key, body.into()])
        }
        None => execute(
            connection,
            "DELETE FROM documents WHERE kind = ?1 AND key = ?2",
            &[kind, key],
        ),
    };
    done.map(drop)
}
