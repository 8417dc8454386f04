//! Accounts of the budget.

use std::time::Duration;

use deadpool_postgres::{Client, Transaction};
use model::budget::{Account, BudgetAnswer, BudgetAsk, BudgetMove, BudgetSettle, Reservation};

use super::client::{Fault, Step, all, execute, first, pipeline};
use crate::budget::{Binding, blank, check, is_leased, on_its_way, refused, reserve as decide};
use crate::columns::{Columns as _, from_json, to_json};
use crate::value::Value;

/// The database's clock in nanoseconds, as of the statement.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint";

const MAKE_ACCOUNT: &str =
    "INSERT INTO budget_accounts (scope, body) VALUES ($1, $2) ON CONFLICT (scope) DO NOTHING";
const WRITE_ACCOUNT: &str = "UPDATE budget_accounts SET body = $2 WHERE scope = $1";
const WRITE_RESERVATION: &str =
    "INSERT INTO budget_reservations (id, holder, body) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET body = excluded.body";
const REMOVE: &str = "DELETE FROM budget_reservations WHERE id = $1";

/// Holds something, see [`crate::Store::reserve_budget`].
pub(super) async fn reserve(
    transaction: &Transaction<'_>,
    ask: &BudgetAsk,
) -> Result<BudgetAnswer, Fault> {
    take(transaction, ask, Binding::Bound).await
}

async fn take(
    transaction: &Transaction<'_>,
    ask: &BudgetAsk,
    binding: Binding,
) -> Result<BudgetAnswer, Fault> {
    check(ask)?;
    // Everything is decided under the lock of the topmost account, which all ways share.
    let top = vec![ask.path[0].scope.clone()];
    lock(transaction, &top).await?;
    if is_leased(&ask.holder) && !is_alive(transaction, &ask.holder).await? {
        return Ok(BudgetAnswer::HolderGone);
    }
    let held = reservation(transaction, &ask.id).await?;
    let ask = on_its_way(ask, held.as_ref());
    let scopes: Vec<String> = ask.path.iter().map(|level| level.scope.clone()).collect();
    let found = lock(transaction, &scopes).await?;
    let decided = decide(found, held, &ask, binding);
    if let Some((accounts, reservation)) = decided.write {
        write(transaction, &accounts, Some(&reservation), None).await?;
    }
    Ok(decided.answer)
}

/// Settles something.
async fn settle(transaction: &Transaction<'_>, settle: &BudgetSettle) -> Result<(), Fault> {
    let Some(seen) = reservation(transaction, &settle.id).await? else {
        return Ok(());
    };
    let mut accounts = lock(transaction, &seen.scopes).await?;
    // It may have gone or changed before its accounts were locked.
    let Some(held) = reservation(transaction, &settle.id).await? else {
        return Ok(());
    };
    let left = crate::budget::settle(&mut accounts, held, settle);
    let gone = left.is_none().then_some(settle.id.as_str());
    write(transaction, &accounts, left.as_ref(), gone).await
}

/// Settles several things, all or none.
pub(super) async fn settle_all(
    transaction: &Transaction<'_>,
    settles: &[BudgetSettle],
) -> Result<(), Fault> {
    for one in settles {
        settle(transaction, one).await?;
    }
    Ok(())
}

/// What belongs to a commit.
pub(super) async fn apply(
    transaction: &Transaction<'_>,
    moves: &[BudgetMove],
) -> Result<(), Fault> {
    for one in moves {
        match one {
            BudgetMove::Reserve(ask) => refused(take(transaction, ask, Binding::Bound).await?)?,
            BudgetMove::Count(ask) => refused(take(transaction, ask, Binding::Free).await?)?,
            BudgetMove::Settle(what) => settle(transaction, what).await?,
            BudgetMove::Raise { scope, to } => {
                let mut accounts = lock(transaction, std::slice::from_ref(scope)).await?;
                for account in &mut accounts {
                    account.raised = account.raised.or(to);
                }
                write(transaction, &accounts, None, None).await?;
            }
        }
    }
    Ok(())
}

/// Begins or extends the lease of a process; false when it ran out.
pub(super) async fn keep(
    client: &Client,
    holder: &str,
    lease: Duration,
    begin: bool,
) -> Result<bool, Fault> {
    let lease = Value::from(u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX));
    let sql = if begin {
        format!(
            "INSERT INTO budget_holders (holder, until) VALUES ($1, {NOW} + $2) ON CONFLICT (holder) DO NOTHING"
        )
    } else {
        format!("UPDATE budget_holders SET until = {NOW} + $2 WHERE holder = $1 AND until > {NOW}")
    };
    Ok(execute(client, &sql, &[holder.into(), lease]).await? == 1)
}

/// Charges what dead processes held.
pub(super) async fn expire(
    transaction: &Transaction<'_>,
    sole: Option<&str>,
) -> Result<Vec<Reservation>, Fault> {
    let sql = format!(
        "SELECT body FROM budget_reservations r WHERE substr(holder, 1, 5) <> 'task:' AND
         (CASE WHEN $1::text IS NULL THEN NOT EXISTS
             (SELECT 1 FROM budget_holders h WHERE h.holder = r.holder AND h.until > {NOW})
          ELSE holder <> $1::text END) ORDER BY n"
    );
    let seen: Vec<Reservation> = all(transaction, &sql, &[Value::text_or_null(sole)], |row| {
        from_json(&row.text(0)?)
    })
    .await?;
    let mut dead = Vec::new();
    for reservation in seen {
        let mut accounts = lock(transaction, &reservation.scopes).await?;
        let Some(reservation) = self::reservation(transaction, &reservation.id).await? else {
            continue;
        };
        engine::budget::expire(&mut accounts, &reservation.amount);
        write(transaction, &accounts, None, Some(&reservation.id)).await?;
        dead.push(reservation);
    }
    let sql = format!(
        "DELETE FROM budget_holders WHERE CASE WHEN $1::text IS NULL THEN until <= {NOW} ELSE holder <> $1::text END"
    );
    execute(transaction, &sql, &[Value::text_or_null(sole)]).await?;
    Ok(dead)
}

async fn is_alive(transaction: &Transaction<'_>, holder: &str) -> Result<bool, Fault> {
    let sql = format!("SELECT until FROM budget_holders WHERE holder = $1 AND until > {NOW}");
    let found = first(transaction, &sql, &[holder.into()], |row| row.int(0)).await?;
    Ok(found.is_some())
}

/// An account.
pub(super) async fn account(client: &Client, scope: &str) -> Result<Option<Account>, Fault> {
    let sql = "SELECT body FROM budget_accounts WHERE scope = $1";
    first(client, sql, &[scope.into()], |row| from_json(&row.text(0)?)).await
}

/// Accounts whose scope begins so, by scope.
pub(super) async fn accounts(
    client: &Client,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Account>, Fault> {
    let sql = "SELECT body FROM budget_accounts
               WHERE substr(scope, 1, length($1::text)) = $1::text AND scope > $2 ORDER BY scope LIMIT $3";
    let values = [prefix.into(), after.into(), limit.into()];
    all(client, sql, &values, |row| from_json(&row.text(0)?)).await
}

/// Reservations, by id.
pub(super) async fn reservations(
    client: &Client,
    after: &str,
    limit: u32,
) -> Result<Vec<Reservation>, Fault> {
    let sql = "SELECT body FROM budget_reservations WHERE id > $1 ORDER BY id LIMIT $2";
    all(client, sql, &[after.into(), limit.into()], |row| {
        from_json(&row.text(0)?)
    })
    .await
}

/// Locks accounts, the first of them first, and makes those that are not there; in the order asked for.
async fn lock(transaction: &Transaction<'_>, scopes: &[String]) -> Result<Vec<Account>, Fault> {
    let sql = "SELECT body FROM budget_accounts WHERE scope = $1 FOR UPDATE";
    let mut found = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let read = async || {
            first(transaction, sql, &[scope.as_str().into()], |row| {
                from_json(&row.text(0)?)
            })
            .await
        };
        if let Some(account) = read().await? {
            found.push(account);
            continue;
        }
        let made = blank(scope);
        let body = to_json(&made)?;
        execute(
            transaction,
            MAKE_ACCOUNT,
            &[scope.as_str().into(), body.as_str().into()],
        )
        .await?;
        // Somebody else may have made it meanwhile.
        found.push(read().await?.unwrap_or(made));
    }
    Ok(found)
}

async fn reservation(
    transaction: &Transaction<'_>,
    id: &str,
) -> Result<Option<Reservation>, Fault> {
    let sql = "SELECT body FROM budget_reservations WHERE id = $1";
    first(transaction, sql, &[id.into()], |row| {
        from_json(&row.text(0)?)
    })
    .await
}

/// Writes what changed, without waiting for answers in between.
async fn write(
    transaction: &Transaction<'_>,
    accounts: &[Account],
    reservation: Option<&Reservation>,
    gone: Option<&str>,
) -> Result<(), Fault> {
    let mut steps = Vec::with_capacity(accounts.len() + 1);
    for account in accounts {
        steps.push(Step {
            sql: WRITE_ACCOUNT,
            values: vec![
                account.scope.as_str().into(),
                Value::Text(to_json(account)?.into()),
            ],
        });
    }
    if let Some(reservation) = reservation {
        steps.push(Step {
            sql: WRITE_RESERVATION,
            values: vec![
                reservation.id.as_str().into(),
                reservation.holder.as_str().into(),
                Value::Text(to_json(reservation)?.into()),
            ],
        });
    }
    if let Some(id) = gone {
        steps.push(Step {
            sql: REMOVE,
            values: vec![id.into()],
        });
    }
    pipeline(transaction, &steps).await.map(drop)
}
