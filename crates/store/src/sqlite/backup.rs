//! Backup and restore of a SQLite store.

use std::path::Path;

use rusqlite::Connection;

use super::connection::{each, execute, number};
use super::fault::Fault;
use crate::backup::{BackupReader, BackupWriter, SELECTS, insert, read};
use crate::error::StoreError;
use crate::filter::Dialect;

/// Writes one state of the store, unmoved by what is committed meanwhile.
pub(super) fn write(connection: &Connection, to: &Path) -> Result<(), Fault> {
    let snapshot = connection.unchecked_transaction()?;
    let mut counts = Vec::new();
    for (_, table, _) in SELECTS {
        counts.push((
            table,
            number(&snapshot, &format!("SELECT count(*) FROM {table}"), &[])?,
        ));
    }
    let mut file = BackupWriter::create(to, &counts)?;
    for (kind, _, sql) in SELECTS {
        each(&mut snapshot.prepare(sql)?, &[], |row| {
            file.add(&read(kind, row)?)
        })?;
    }
    file.finish()?;
    snapshot.finish()?;
    Ok(())
}

/// Fills an empty store, inside the writer's transaction.
pub(super) fn restore(connection: &Connection, from: &Path) -> Result<(), Fault> {
    for (_, table, _) in SELECTS {
        // The ledger's one row is always there; it counts by its size.
        let condition = if table == "ledger_state" {
            " WHERE size > 0"
        } else {
            ""
        };
        if number(
            connection,
            &format!("SELECT count(*) FROM {table}{condition}"),
            &[],
        )? > 0
        {
            return Err(StoreError::NotEmpty.into());
        }
    }
    let mut file = BackupReader::open(from)?;
    while let Some(record) = file.next()? {
        insert(Dialect::Sqlite, &record, |sql, values| {
            execute(connection, sql, values)
        })
        .map_err(|fault| match fault {
            Fault::Refused(error) => Fault::Refused(file.invalid(&error.to_string())),
            Fault::Broken(error) => Fault::Broken(error),
        })?;
    }
    Ok(())
}
