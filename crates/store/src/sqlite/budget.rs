//! Accounts of the budget.

use std::time::Duration;

use model::budget::{Account, BudgetAnswer, BudgetAsk, BudgetMove, BudgetSettle, Reservation};
use rusqlite::Connection;

use super::connection::{all, execute, first};
use super::fault::Fault;
use crate::budget::{Binding, blank, check, is_leased, on_its_way, refused, reserve as decide};
use crate::columns::{Columns as _, from_json, to_json};
use crate::value::Value;

/// The database's clock in nanoseconds.
const NOW: &str = "CAST(unixepoch('subsec') * 1000000000 AS INTEGER)";

/// Holds something, see [`crate::Store::reserve_budget`].
pub(super) fn reserve(connection: &Connection, ask: &BudgetAsk) -> Result<BudgetAnswer, Fault> {
    take(connection, ask, Binding::Bound)
}

fn take(connection: &Connection, ask: &BudgetAsk, binding: Binding) -> Result<BudgetAnswer, Fault> {
    check(ask)?;
    if is_leased(&ask.holder) && !is_alive(connection, &ask.holder)? {
        return Ok(BudgetAnswer::HolderGone);
    }
    let held = reservation(connection, &ask.id)?;
    let ask = on_its_way(ask, held.as_ref());
    let mut found = Vec::with_capacity(ask.path.len());
    for level in &ask.path {
        found.push(account(connection, &level.scope)?.unwrap_or_else(|| blank(&level.scope)));
    }
    let decided = decide(found, held, &ask, binding);
    if let Some((accounts, reservation)) = decided.write {
        write_accounts(connection, &accounts)?;
        write_reservation(connection, &reservation)?;
    }
    Ok(decided.answer)
}

/// Settles something.
pub(super) fn settle(connection: &Connection, settle: &BudgetSettle) -> Result<(), Fault> {
    let Some(held) = reservation(connection, &settle.id)? else {
        return Ok(());
    };
    let mut accounts = of(connection, &held)?;
    let left = crate::budget::settle(&mut accounts, held, settle);
    write_accounts(connection, &accounts)?;
    match left {
        Some(reservation) => write_reservation(connection, &reservation),
        None => remove(connection, &settle.id),
    }
}

/// Settles several things, all or none.
pub(super) fn settle_all(connection: &Connection, settles: &[BudgetSettle]) -> Result<(), Fault> {
    settles.iter().try_for_each(|one| settle(connection, one))
}

/// What belongs to a commit.
pub(super) fn apply(connection: &Connection, moves: &[BudgetMove]) -> Result<(), Fault> {
    for one in moves {
        match one {
            BudgetMove::Reserve(ask) => refused(take(connection, ask, Binding::Bound)?)?,
            BudgetMove::Count(ask) => refused(take(connection, ask, Binding::Free)?)?,
            BudgetMove::Settle(what) => settle(connection, what)?,
            BudgetMove::Raise { scope, to } => {
                let mut account = account(connection, scope)?.unwrap_or_else(|| blank(scope));
                account.raised = account.raised.or(to);
                write_accounts(connection, &[account])?;
            }
        }
    }
    Ok(())
}

/// Begins or extends the lease of a process; false when it ran out.
pub(super) fn keep(
    connection: &Connection,
    holder: &str,
    lease: Duration,
    begin: bool,
) -> Result<bool, Fault> {
    let lease = Value::from(u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX));
    let sql = if begin {
        format!(
            "INSERT INTO budget_holders (holder, until) VALUES (?1, {NOW} + ?2) ON CONFLICT (holder) DO NOTHING"
        )
    } else {
        format!("UPDATE budget_holders SET until = {NOW} + ?2 WHERE holder = ?1 AND until > {NOW}")
    };
    Ok(execute(connection, &sql, &[holder.into(), lease])? == 1)
}

/// Charges what dead processes held.
pub(super) fn expire(
    connection: &Connection,
    sole: Option<&str>,
) -> Result<Vec<Reservation>, Fault> {
    let sql = format!(
        "SELECT body FROM budget_reservations r WHERE substr(holder, 1, 5) <> 'task:' AND
         (CASE WHEN ?1 IS NULL THEN NOT EXISTS
             (SELECT 1 FROM budget_holders h WHERE h.holder = r.holder AND h.until > {NOW})
          ELSE holder <> ?1 END) ORDER BY n"
    );
    let dead: Vec<Reservation> = all(connection, &sql, &[Value::text_or_null(sole)], |row| {
        from_json(&row.text(0)?)
    })?;
    for reservation in &dead {
        let mut accounts = of(connection, reservation)?;
        engine::budget::expire(&mut accounts, &reservation.amount);
        write_accounts(connection, &accounts)?;
        remove(connection, &reservation.id)?;
    }
    let sql = format!(
        "DELETE FROM budget_holders WHERE CASE WHEN ?1 IS NULL THEN until <= {NOW} ELSE holder <> ?1 END"
    );
    execute(connection, &sql, &[Value::text_or_null(sole)])?;
    Ok(dead)
}

fn is_alive(connection: &Connection, holder: &str) -> Result<bool, Fault> {
    let sql = format!("SELECT 1 FROM budget_holders WHERE holder = ?1 AND until > {NOW}");
    Ok(first(connection, &sql, &[holder.into()], |row| row.int(0))?.is_some())
}

/// An account.
pub(super) fn account(connection: &Connection, scope: &str) -> Result<Option<Account>, Fault> {
    let sql = "SELECT body FROM budget_accounts WHERE scope = ?1";
    first(connection, sql, &[scope.into()], |row| {
        from_json(&row.text(0)?)
    })
}

/// Accounts whose scope begins so, by scope.
pub(super) fn accounts(
    connection: &Connection,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Account>, Fault> {
    let sql = "SELECT body FROM budget_accounts
               WHERE substr(scope, 1, length(?1)) = ?1 AND scope > ?2 ORDER BY scope LIMIT ?3";
    let values = [prefix.into(), after.into(), limit.into()];
    all(connection, sql, &values, |row| from_json(&row.text(0)?))
}

/// Reservations, by id.
pub(super) fn reservations(
    connection: &Connection,
    after: &str,
    limit: u32,
) -> Result<Vec<Reservation>, Fault> {
    let sql = "SELECT body FROM budget_reservations WHERE id > ?1 ORDER BY id LIMIT ?2";
    all(connection, sql, &[after.into(), limit.into()], |row| {
        from_json(&row.text(0)?)
    })
}

fn of(connection: &Connection, reservation: &Reservation) -> Result<Vec<Account>, Fault> {
    reservation
        .scopes
        .iter()
        .map(|scope| Ok(account(connection, scope)?.unwrap_or_else(|| blank(scope))))
        .collect()
}

fn reservation(connection: &Connection, id: &str) -> Result<Option<Reservation>, Fault> {
    let sql = "SELECT body FROM budget_reservations WHERE id = ?1";
    first(connection, sql, &[id.into()], |row| {
        from_json(&row.text(0)?)
    })
}

fn write_accounts(connection: &Connection, accounts: &[Account]) -> Result<(), Fault> {
    let sql = "INSERT INTO budget_accounts (scope, body) VALUES (?1, ?2)
               ON CONFLICT (scope) DO UPDATE SET body = excluded.body";
    for account in accounts {
        let body = to_json(account)?;
        execute(
            connection,
            sql,
            &[account.scope.as_str().into(), body.as_str().into()],
        )?;
    }
    Ok(())
}

fn write_reservation(connection: &Connection, reservation: &Reservation) -> Result<(), Fault> {
    let sql = "INSERT INTO budget_reservations (id, holder, body) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET body = excluded.body";
    let body = to_json(reservation)?;
    let values = [
        reservation.id.as_str().into(),
        reservation.holder.as_str().into(),
        body.as_str().into(),
    ];
    execute(connection, sql, &values).map(drop)
}

fn remove(connection: &Connection, id: &str) -> Result<(), Fault> {
    let sql = "DELETE FROM budget_reservations WHERE id = ?1";
    execute(connection, sql, &[id.into()]).map(drop)
}
