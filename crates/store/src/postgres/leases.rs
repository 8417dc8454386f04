//! Claims and leases.

use std::collections::HashMap;

use deadpool_postgres::{GenericClient, Transaction};
use jiff::Timestamp;
use model::ids::TaskId;

use super::client::{Fault, all, execute, number};
use crate::columns::{Columns as _, to_nanos};
use crate::error::StoreError;
use crate::share::{Contender, Shares, Turn, slots};
use crate::types::{Claim, Claimed, Lease};
use crate::value::Value;

/// Advisory lock of claims under a limit over all campaigns.
const CLAIM_LOCK: i64 = 0x6e69_6768_7463_7202;

// Subqueries with a limit are looked up in the index of the queue; `EXISTS` may scan all tasks.
const LOCK_LIMITED: &str = "SELECT 1 FROM campaigns c
    WHERE c.status = 'active' AND ($1 OR c.max_running IS NOT NULL OR c.max_open IS NOT NULL) AND (
        SELECT true FROM tasks t WHERE t.campaign = c.id AND t.wave <= c.admitted_wave
            AND t.status = 'queued' AND NOT t.paused AND t.owner IS NULL LIMIT 1)
    ORDER BY c.id FOR UPDATE";
const CONTENDERS: &str = "SELECT c.id, c.admitted_wave, c.max_running, c.max_open,
        (SELECT count(*) FROM tasks t WHERE t.campaign = c.id AND t.owner IS NOT NULL),
        CASE WHEN c.max_open IS NULL THEN 0 ELSE
            (SELECT count(*) FROM tasks t WHERE t.campaign = c.id
                AND t.status IN ('ready', 'submitted', 'in_review') AND t.owner IS NULL) END
    FROM campaigns c
    WHERE c.status = 'active' AND (
        SELECT true FROM tasks t WHERE t.campaign = c.id AND t.wave <= c.admitted_wave
            AND t.status = 'queued' AND NOT t.paused AND t.owner IS NULL LIMIT 1)
    ORDER BY c.n";
const CANDIDATES: &str = "SELECT id FROM tasks
    WHERE campaign = $1 AND wave <= $2 AND status = 'queued' AND NOT paused AND owner IS NULL
    ORDER BY wave, created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED";

/// Leases tasks, see [`crate::Store::claim`].
pub(super) async fn claim(
    transaction: &Transaction<'_>,
    claim: &Claim,
) -> Result<Vec<Claimed>, Fault> {
    end_unbegun(transaction, claim.now).await?;
    if claim.limits.running.is_some() {
        execute(
            transaction,
            "SELECT pg_advisory_xact_lock($1)",
            &[Value::Int(CLAIM_LOCK)],
        )
        .await?;
    }
    // Counts are taken in statements after the locks, so that they see what the last holder did.
    let is_limited = claim.limits.running_per_campaign.is_some();
    execute(transaction, LOCK_LIMITED, &[is_limited.into()]).await?;
    let leased = number(
        transaction,
        "SELECT count(*) FROM tasks WHERE owner IS NOT NULL",
        &[],
    )
    .await?;
    let slots = slots(claim.slots, leased, &claim.limits);
    if slots == 0 {
        return Ok(Vec::new());
    }
    let contenders = all(transaction, CONTENDERS, &[], Contender::read).await?;
    let mut shares = Shares::new(contenders, &claim.limits, slots);
    let mut chosen = Vec::new();
    loop {
        match shares.next() {
            Turn::Fetch(at, most) => {
                let contender = shares.contender(at);
                let values = [
                    contender.id.as_str().into(),
                    contender.admitted_wave.into(),
                    most.into(),
                ];
                let found = all(transaction, CANDIDATES, &values, |row| row.text(0)).await?;
                shares.fetched(at, found);
            }
            Turn::Take(task) => chosen.push(task),
            Turn::Done => return lease(transaction, &chosen, claim).await,
        }
    }
}

/// Tasks that were claimed, never begun, and whose lease ran out go back to the queue. Those that
/// somebody is writing to just now are left for the next claim.
async fn end_unbegun(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), Fault> {
    let sql = "UPDATE tasks SET owner = NULL, lease_until = NULL, epoch = epoch + 1 WHERE id IN (
                   SELECT id FROM tasks WHERE owner IS NOT NULL AND status = 'queued' AND lease_until <= $1
                   ORDER BY id FOR UPDATE SKIP LOCKED)";
    execute(transaction, sql, &[now.into()]).await.map(drop)
}

async fn lease(
    transaction: &Transaction<'_>,
    tasks: &[String],
    claim: &Claim,
) -> Result<Vec<Claimed>, Fault> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "UPDATE tasks t SET owner = $2, lease_until = $3, epoch = t.epoch + 1 FROM states s
               WHERE t.id = ANY($1) AND s.stream = t.id RETURNING t.id, s.state, s.seq, t.epoch";
    let statement = transaction.prepare_cached(sql).await?;
    let until = to_nanos(claim.until);
    let rows = transaction
        .query(&statement, &[&tasks, &claim.owner, &until])
        .await?;
    let mut leased = HashMap::with_capacity(rows.len());
    for row in &rows {
        let one = Claimed {
            task: row.parsed(0)?,
            state: row.text(1)?,
            seq: row.count(2)?,
            epoch: row.count(3)?,
        };
        leased.insert(row.text(0)?, one);
    }
    let in_order = tasks.iter().map(|task| leased.remove(task));
    let complete: Option<Vec<Claimed>> = in_order.collect();
    complete.ok_or_else(|| StoreError::Damaged("a queued task has no state".to_owned()).into())
}

/// Extends leases; returns those that are lost.
pub(super) async fn extend(
    client: &impl GenericClient,
    owner: &str,
    tasks: &[(TaskId, u64)],
    until: Timestamp,
) -> Result<Vec<TaskId>, Fault> {
    let sql = "UPDATE tasks t SET lease_until = $4
               FROM (SELECT * FROM unnest($1::text[], $2::bigint[]) AS h (id, epoch)) h
               WHERE t.id = h.id AND t.epoch = h.epoch AND t.owner = $3 RETURNING t.id";
    let mut sorted = tasks.to_vec();
    sorted.sort_by_key(|(task, _)| *task);
    let ids: Vec<String> = sorted.iter().map(|(task, _)| task.to_string()).collect();
    let epochs: Vec<i64> = sorted
        .iter()
        .map(|(_, epoch)| crate::columns::to_int(*epoch))
        .collect();
    let statement = client.prepare_cached(sql).await?;
    let rows = client
        .query(&statement, &[&ids, &epochs, &owner, &to_nanos(until)])
        .await?;
    let mut held = Vec::with_capacity(rows.len());
    for row in &rows {
        held.push(row.parsed::<TaskId>(0)?);
    }
    Ok(tasks
        .iter()
        .map(|(task, _)| *task)
        .filter(|task| !held.contains(task))
        .collect())
}

/// Gives a task back that was claimed and never begun.
pub(super) async fn drop_lease(
    client: &impl GenericClient,
    task: TaskId,
    epoch: u64,
) -> Result<(), Fault> {
    let sql = "UPDATE tasks SET owner = NULL, lease_until = NULL, epoch = epoch + 1
               WHERE id = $1 AND epoch = $2 AND status = 'queued' AND owner IS NOT NULL";
    execute(client, sql, &[Value::id(&task), epoch.into()])
        .await
        .map(drop)
}

/// Every lease.
pub(super) async fn leases(client: &impl GenericClient) -> Result<Vec<Lease>, Fault> {
    let sql = "SELECT id, owner, epoch, lease_until FROM tasks WHERE owner IS NOT NULL ORDER BY id";
    all(client, sql, &[], |row| {
        Ok(Lease {
            task: row.parsed(0)?,
            owner: row.text(1)?,
            epoch: row.count(2)?,
            until: row.time(3)?,
        })
    })
    .await
}
