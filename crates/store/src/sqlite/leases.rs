//! Claims and leases.

use jiff::Timestamp;
use model::ids::TaskId;
use rusqlite::Connection;

use super::connection::{all, execute, first, number};
use super::fault::Fault;
use crate::columns::Columns as _;
use crate::error::StoreError;
use crate::share::{Contender, Shares, Turn, slots};
use crate::types::{Claim, Claimed, Lease};
use crate::value::Value;

// `INDEXED BY` makes a claim cost the same however many tasks are finished: without it the planner
// may walk all tasks of a campaign, and with it a statement that cannot use its index fails.
const CONTENDERS: &str = "SELECT c.id, c.admitted_wave, c.max_running, c.max_open,
        (SELECT count(*) FROM tasks t INDEXED BY tasks_leased
            WHERE t.campaign = c.id AND t.owner IS NOT NULL),
        CASE WHEN c.max_open IS NULL THEN 0 ELSE
            (SELECT count(*) FROM tasks t INDEXED BY tasks_open WHERE t.campaign = c.id
                AND t.status IN ('ready', 'submitted', 'in_review') AND t.owner IS NULL) END
    FROM campaigns c INDEXED BY campaigns_active
    WHERE c.status = 'active' AND EXISTS (
        SELECT 1 FROM tasks t INDEXED BY tasks_queue WHERE t.campaign = c.id AND t.wave <= c.admitted_wave
            AND t.status = 'queued' AND t.paused = 0 AND t.owner IS NULL)
    ORDER BY c.n";
const CANDIDATES: &str = "SELECT id FROM tasks INDEXED BY tasks_queue
    WHERE campaign = ?1 AND wave <= ?2 AND status = 'queued' AND paused = 0 AND owner IS NULL
    ORDER BY wave, created_at, id LIMIT ?3";

/// Leases tasks, see [`crate::Store::claim`].
pub(super) fn claim(connection: &Connection, claim: &Claim) -> Result<Vec<Claimed>, Fault> {
    end_unbegun(connection, claim.now)?;
    let leased = number(
        connection,
        "SELECT count(*) FROM tasks INDEXED BY tasks_leased WHERE owner IS NOT NULL",
        &[],
    )?;
    let slots = slots(claim.slots, leased, &claim.limits);
    if slots == 0 {
        return Ok(Vec::new());
    }
    let contenders = all(connection, CONTENDERS, &[], |row| Contender::read(row))?;
    let mut shares = Shares::new(contenders, &claim.limits, slots);
    let mut claimed = Vec::new();
    loop {
        match shares.next() {
            Turn::Fetch(at, most) => {
                let contender = shares.contender(at);
                let values = [
                    contender.id.as_str().into(),
                    contender.admitted_wave.into(),
                    most.into(),
                ];
                let found = all(connection, CANDIDATES, &values, |row| {
                    row.parsed::<TaskId>(0)
                })?;
                shares.fetched(at, found);
            }
            Turn::Take(task) => claimed.push(lease(connection, task, claim)?),
            Turn::Done => return Ok(claimed),
        }
    }
}

/// Tasks that were claimed, never begun, and whose lease ran out go back to the queue. The epoch
/// is raised so that whoever claimed them cannot begin any more.
fn end_unbegun(connection: &Connection, now: Timestamp) -> Result<(), Fault> {
    let sql = "UPDATE tasks INDEXED BY tasks_leased SET owner = NULL, lease_until = NULL, epoch = epoch + 1
               WHERE owner IS NOT NULL AND status = 'queued' AND lease_until <= ?1";
    execute(connection, sql, &[now.into()]).map(drop)
}

fn lease(connection: &Connection, task: TaskId, claim: &Claim) -> Result<Claimed, Fault> {
    let sql = "UPDATE tasks SET owner = ?2, lease_until = ?3, epoch = epoch + 1 WHERE id = ?1";
    execute(
        connection,
        sql,
        &[
            Value::id(&task),
            claim.owner.as_str().into(),
            claim.until.into(),
        ],
    )?;
    let sql = "SELECT s.state, s.seq, t.epoch FROM tasks t JOIN states s ON s.stream = t.id WHERE t.id = ?1";
    let found = first(connection, sql, &[Value::id(&task)], |row| {
        Ok(Claimed {
            task,
            state: row.text(0)?,
            seq: row.count(1)?,
            epoch: row.count(2)?,
        })
    })?;
    found.ok_or_else(|| StoreError::Damaged(format!("{task} has no state")).into())
}

/// Extends leases; returns those that are lost.
pub(super) fn extend(
    connection: &Connection,
    owner: &str,
    tasks: &[(TaskId, u64)],
    until: Timestamp,
) -> Result<Vec<TaskId>, Fault> {
    let sql = "UPDATE tasks SET lease_until = ?4 WHERE id = ?1 AND epoch = ?2 AND owner = ?3";
    let mut lost = Vec::new();
    for (task, epoch) in tasks {
        let values = [Value::id(task), (*epoch).into(), owner.into(), until.into()];
        if execute(connection, sql, &values)? == 0 {
            lost.push(*task);
        }
    }
    Ok(lost)
}

/// Gives a task back that was claimed and never begun.
pub(super) fn drop_lease(connection: &Connection, task: TaskId, epoch: u64) -> Result<(), Fault> {
    let sql = "UPDATE tasks SET owner = NULL, lease_until = NULL, epoch = epoch + 1
               WHERE id = ?1 AND epoch = ?2 AND status = 'queued' AND owner IS NOT NULL";
    execute(connection, sql, &[Value::id(&task), epoch.into()]).map(drop)
}

/// Every lease.
pub(super) fn leases(connection: &Connection) -> Result<Vec<Lease>, Fault> {
    let sql = "SELECT id, owner, epoch, lease_until FROM tasks WHERE owner IS NOT NULL ORDER BY id";
    all(connection, sql, &[], |row| {
        Ok(Lease {
            task: row.parsed(0)?,
            owner: row.text(1)?,
            epoch: row.count(2)?,
            until: row.time(3)?,
        })
    })
}
