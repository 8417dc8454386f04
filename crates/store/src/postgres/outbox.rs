//! The outbox: effects not yet done, one at a time per lane.

use std::sync::LazyLock;

use deadpool_postgres::{GenericClient, Transaction};
use jiff::Timestamp;
use model::ids::EffectId;
use model::rows::OutboxRow;

use super::client::{Fault, Step, all, execute, first, number, pipeline};
use crate::columns::{Columns as _, OUTBOX, from_nanos, outbox_row};
use crate::value::Value;

/// Advisory lock of whoever takes effects: replicas whose clocks differ could otherwise each see
/// another row as the one that a lane may do next.
const LOCK: i64 = 0x6e69_6768_7463_7203;

// A row waits for the older rows of its lane that are due or were put off, and for any that is
// being done. A timer that is not due yet holds nobody up. Subqueries with a limit are looked up
// row by row until enough are found; `NOT EXISTS` would join the whole outbox with itself.
static DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {OUTBOX} FROM outbox o
         WHERE o.due_at <= $1 AND (o.lease_until IS NULL OR o.lease_until <= $1)
           AND (SELECT e.n FROM outbox e WHERE e.lane = o.lane AND e.n < o.n
               AND (e.due_at <= $1 OR e.attempts > 0) LIMIT 1) IS NULL
           AND (SELECT e.n FROM outbox e WHERE e.lane = o.lane AND e.n <> o.n
               AND e.lease_until > $1 LIMIT 1) IS NULL
         ORDER BY o.due_at, o.n LIMIT $2"
    )
});
// The planner takes the conditions on a lane to leave almost nothing, and would try them on every
// row that is due. So it reads the rows in order from the index and stops when it has enough.
const PLAN: &str = "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off";
const TAKE: &str = "UPDATE outbox SET owner = $2, lease_until = $3 WHERE id = $1";

const FREE: &str =
    "UPDATE outbox SET owner = NULL, lease_until = NULL WHERE lease_until IS NOT NULL";

/// Leases what is due, see [`crate::Store::due_effects`].
pub(super) async fn due(
    transaction: &Transaction<'_>,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<(Vec<OutboxRow>, Option<Timestamp>), Fault> {
    transaction.batch_execute(PLAN).await?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    execute(transaction, lock, &[Value::Int(LOCK)]).await?;
    let wanted = u64::from(limit) + 1;
    let mut rows = all(transaction, &DUE, &[now.into(), wanted.into()], |row| {
        outbox_row(row)
    })
    .await?;
    let has_more = rows.len() as u64 == wanted;
    rows.truncate(limit as usize);
    let next = if has_more {
        Some(now)
    } else {
        next_due(transaction, owner, now).await?
    };
    let take = |row: &OutboxRow| Step {
        sql: TAKE,
        values: vec![Value::id(&row.id), owner.into(), until.into()],
    };
    let steps: Vec<Step<'_>> = rows.iter().map(take).collect();
    pipeline(transaction, &steps).await?;
    Ok((rows, next))
}

/// When something comes due: a time arrives, or a lease of somebody else runs out.
async fn next_due(
    client: &impl GenericClient,
    owner: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT least((SELECT min(due_at) FROM outbox WHERE due_at > $1),
                            (SELECT min(lease_until) FROM outbox WHERE lease_until > $1 AND owner <> $2))";
    let next = first(client, sql, &[now.into(), owner.into()], |row| {
        row.int_or_null(0)
    })
    .await?;
    Ok(next.flatten().map(from_nanos))
}

/// Puts an effect off.
pub(super) async fn defer(
    client: &impl GenericClient,
    id: EffectId,
    due_at: Timestamp,
) -> Result<(), Fault> {
    let sql = "UPDATE outbox SET due_at = $2, attempts = attempts + 1, owner = NULL, lease_until = NULL WHERE id = $1";
    execute(client, sql, &[Value::id(&id), due_at.into()])
        .await
        .map(drop)
}

/// Clears all leases.
pub(super) async fn free(client: &impl GenericClient) -> Result<(), Fault> {
    execute(client, FREE, &[]).await.map(drop)
}

/// Number of effects that are due and not done.
pub(super) async fn pending(client: &impl GenericClient, now: Timestamp) -> Result<u64, Fault> {
    number(
        client,
        "SELECT count(*) FROM outbox WHERE due_at <= $1",
        &[now.into()],
    )
    .await
}
