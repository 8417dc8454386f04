//! Ledger leaves, entries and checkpoints.

use rusqlite::Connection;

use super::connection::{all, execute, first};
use super::fault::Fault;
use crate::columns::Columns;
use crate::error::StoreError;
use crate::types::{LedgerEntry, LedgerState, PendingLeaf, Sequenced};
use crate::value::Value;

pub(super) fn pending(connection: &Connection, limit: u32) -> Result<Vec<PendingLeaf>, Fault> {
    let sql = "SELECT n, leaf FROM ledger_pending ORDER BY n LIMIT ?1";
    all(connection, sql, &[limit.into()], |row| {
        Ok(PendingLeaf {
            row: row.int(0)?,
            leaf: row.bytes(1)?,
        })
    })
}

/// Gives leaves their indices, see [`crate::Store::sequence`].
pub(super) fn sequence(connection: &Connection, sequenced: &Sequenced) -> Result<(), Fault> {
    sequenced.check()?;
    let sql = "UPDATE ledger_state SET size = ?2, frontier = ?3, checkpoint = ?4 WHERE one = 1 AND size = ?1";
    let values = [
        sequenced.expected_size.into(),
        sequenced.size().into(),
        sequenced.frontier.as_slice().into(),
        sequenced.checkpoint.as_str().into(),
    ];
    if execute(connection, sql, &values)? == 0 {
        return Err(moved_on());
    }
    for (row, entry) in sequenced.rows.iter().zip(&sequenced.entries) {
        let gone = "DELETE FROM ledger_pending WHERE n = ?1 AND leaf = ?2";
        if execute(
            connection,
            gone,
            &[Value::Int(*row), entry.leaf.as_slice().into()],
        )? == 0
        {
            return Err(moved_on());
        }
        let sql = "INSERT INTO ledger_entries (idx, leaf, hash) VALUES (?1, ?2, ?3)";
        let values = [
            entry.index.into(),
            entry.leaf.as_slice().into(),
            entry.hash.as_slice().into(),
        ];
        execute(connection, sql, &values)?;
    }
    let sql = "INSERT INTO checkpoints (size, body) VALUES (?1, ?2) \
               ON CONFLICT (size) DO UPDATE SET body = excluded.body";
    execute(
        connection,
        sql,
        &[
            sequenced.size().into(),
            sequenced.checkpoint.as_str().into(),
        ],
    )
    .map(drop)
}

fn moved_on() -> Fault {
    StoreError::Conflict {
        what: "ledger".to_owned(),
    }
    .into()
}

pub(super) fn state(connection: &Connection) -> Result<LedgerState, Fault> {
    let sql = "SELECT size, frontier, checkpoint, (SELECT count(*) FROM ledger_pending) \
               FROM ledger_state WHERE one = 1";
    let found = first(connection, sql, &[], |row| {
        Ok(LedgerState {
            size: row.count(0)?,
            frontier: row.bytes(1)?,
            checkpoint: row.text_or_null(2)?,
            pending: row.count(3)?,
        })
    })?;
    found.ok_or_else(|| StoreError::Damaged("the ledger has no state".to_owned()).into())
}

pub(super) fn entries(
    connection: &Connection,
    from: u64,
    limit: u32,
) -> Result<Vec<LedgerEntry>, Fault> {
    let sql = "SELECT idx, leaf, hash FROM ledger_entries WHERE idx >= ?1 ORDER BY idx LIMIT ?2";
    all(connection, sql, &[from.into(), limit.into()], |row| {
        LedgerEntry::read(row)
    })
}

pub(super) fn checkpoints(
    connection: &Connection,
    from: u64,
    limit: u32,
) -> Result<Vec<(u64, String)>, Fault> {
    let sql = "SELECT size, body FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT ?2";
    all(connection, sql, &[from.into(), limit.into()], |row| {
        Ok((row.count(0)?, row.text(1)?))
    })
}
