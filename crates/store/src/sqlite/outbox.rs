//! The outbox: effects not yet done, one at a time per lane.

use std::sync::LazyLock;

use jiff::Timestamp;
use model::ids::EffectId;
use model::rows::OutboxRow;
use rusqlite::Connection;

use super::connection::{all, execute, first, number};
use super::fault::Fault;
use crate::columns::{Columns as _, OUTBOX, from_nanos, outbox_row};
use crate::value::Value;

// A row waits for the older rows of its lane that are due or were put off, and for any that is
// being done. A timer that is not due yet holds nobody up.
static DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {OUTBOX} FROM outbox o
         WHERE o.due_at <= ?1 AND (o.lease_until IS NULL OR o.lease_until <= ?1)
           AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.lane = o.lane AND e.n < o.n
               AND (e.due_at <= ?1 OR e.attempts > 0))
           AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.lane = o.lane AND e.n <> o.n
               AND e.lease_until > ?1)
         ORDER BY o.due_at, o.n LIMIT ?2"
    )
});

const FREE: &str =
    "UPDATE outbox SET owner = NULL, lease_until = NULL WHERE lease_until IS NOT NULL";

/// Leases what is due, see [`crate::Store::due_effects`].
pub(super) fn due(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<(Vec<OutboxRow>, Option<Timestamp>), Fault> {
    let wanted = u64::from(limit) + 1;
    let mut rows = all(connection, &DUE, &[now.into(), wanted.into()], |row| {
        outbox_row(row)
    })?;
    let has_more = rows.len() as u64 == wanted;
    rows.truncate(limit as usize);
    let next = if has_more {
        Some(now)
    } else {
        next_due(connection, owner, now)?
    };
    for row in &rows {
        let sql = "UPDATE outbox SET owner = ?2, lease_until = ?3 WHERE id = ?1";
        execute(
            connection,
            sql,
            &[Value::id(&row.id), owner.into(), until.into()],
        )?;
    }
    Ok((rows, next))
}

/// When something comes due: a time arrives, or a lease of somebody else runs out.
fn next_due(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let due = "SELECT min(due_at) FROM outbox WHERE due_at > ?1";
    let due = first(connection, due, &[now.into()], |row| row.int_or_null(0))?.flatten();
    let freed = "SELECT min(lease_until) FROM outbox WHERE lease_until > ?1 AND owner <> ?2";
    let freed = first(connection, freed, &[now.into(), owner.into()], |row| {
        row.int_or_null(0)
    })?
    .flatten();
    Ok([due, freed].into_iter().flatten().min().map(from_nanos))
}

/// Puts an effect off.
pub(super) fn defer(connection: &Connection, id: EffectId, due_at: Timestamp) -> Result<(), Fault> {
    let sql = "UPDATE outbox SET due_at = ?2, attempts = attempts + 1, owner = NULL, lease_until = NULL \
               WHERE id = ?1";
    execute(connection, sql, &[Value::id(&id), due_at.into()]).map(drop)
}

/// Clears all leases.
pub(super) fn free(connection: &Connection) -> Result<(), Fault> {
    execute(connection, FREE, &[]).map(drop)
}

/// Number of effects that are due and not done.
pub(super) fn pending(connection: &Connection, now: Timestamp) -> Result<u64, Fault> {
    number(
        connection,
        "SELECT count(*) FROM outbox WHERE due_at <= ?1",
        &[now.into()],
    )
}
