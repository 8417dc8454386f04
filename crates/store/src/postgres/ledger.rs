//! Ledger leaves, entries and checkpoints.

use deadpool_postgres::{GenericClient, Transaction};

use super::client::{Fault, Step, all, execute, first, pipeline};
use crate::columns::Columns;
use crate::error::StoreError;
use crate::types::{LedgerEntry, LedgerState, PendingLeaf, Sequenced};
use crate::value::Value;

pub(super) async fn pending(
    client: &impl GenericClient,
    limit: u32,
) -> Result<Vec<PendingLeaf>, Fault> {
    let sql = "SELECT n, leaf FROM ledger_pending ORDER BY n LIMIT $1";
    all(client, sql, &[limit.into()], |row| {
        Ok(PendingLeaf {
            row: row.int(0)?,
            leaf: row.bytes(1)?,
        })
    })
    .await
}

/// Gives leaves their indices, see [`crate::Store::sequence`].
pub(super) async fn sequence(
    transaction: &Transaction<'_>,
    sequenced: &Sequenced,
) -> Result<(), Fault> {
    sequenced.check()?;
    let sql = "UPDATE ledger_state SET size = $2, frontier = $3, checkpoint = $4 WHERE one = 1 AND size = $1";
    let values = [
        sequenced.expected_size.into(),
        sequenced.size().into(),
        sequenced.frontier.as_slice().into(),
        sequenced.checkpoint.as_str().into(),
    ];
    if execute(transaction, sql, &values).await? == 0 {
        return Err(moved_on());
    }
    let mut steps = Vec::with_capacity(sequenced.rows.len() * 2 + 1);
    for (row, entry) in sequenced.rows.iter().zip(&sequenced.entries) {
        let leaf = entry.leaf.as_slice();
        let gone = "DELETE FROM ledger_pending WHERE n = $1 AND leaf = $2";
        steps.push(Step {
            sql: gone,
            values: vec![Value::Int(*row), leaf.into()],
        });
        let sql = "INSERT INTO ledger_entries (idx, leaf, hash) VALUES ($1, $2, $3)";
        steps.push(Step {
            sql,
            values: vec![
                entry.index.into(),
                leaf.into(),
                entry.hash.as_slice().into(),
            ],
        });
    }
    let sql = "INSERT INTO checkpoints (size, body) VALUES ($1, $2) ON CONFLICT (size) DO UPDATE SET body = excluded.body";
    steps.push(Step {
        sql,
        values: vec![
            sequenced.size().into(),
            sequenced.checkpoint.as_str().into(),
        ],
    });
    let counts = pipeline(transaction, &steps).await?;
    if counts.contains(&0) {
        Err(moved_on())
    } else {
        Ok(())
    }
}

fn moved_on() -> Fault {
    StoreError::Conflict {
        what: "ledger".to_owned(),
    }
    .into()
}

pub(super) async fn state(client: &impl GenericClient) -> Result<LedgerState, Fault> {
    let sql = "SELECT size, frontier, checkpoint, (SELECT count(*) FROM ledger_pending) \
               FROM ledger_state WHERE one = 1";
    let found = first(client, sql, &[], |row| {
        Ok(LedgerState {
            size: row.count(0)?,
            frontier: row.bytes(1)?,
            checkpoint: row.text_or_null(2)?,
            pending: row.count(3)?,
        })
    });
    found
        .await?
        .ok_or_else(|| StoreError::Damaged("the ledger has no state".to_owned()).into())
}

pub(super) async fn entries(
    client: &impl GenericClient,
    from: u64,
    limit: u32,
) -> Result<Vec<LedgerEntry>, Fault> {
    let sql = "SELECT idx, leaf, hash FROM ledger_entries WHERE idx >= $1 ORDER BY idx LIMIT $2";
    all(client, sql, &[from.into(), limit.into()], |row| {
        LedgerEntry::read(row)
    })
    .await
}

pub(super) async fn checkpoints(
    client: &impl GenericClient,
    from: u64,
    limit: u32,
) -> Result<Vec<(u64, String)>, Fault> {
    let sql = "SELECT size, body FROM checkpoints WHERE size >= $1 ORDER BY size LIMIT $2";
    all(client, sql, &[from.into(), limit.into()], |row| {
        Ok((row.count(0)?, row.text(1)?))
    })
    .await
}
