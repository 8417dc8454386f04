//! How connections are opened and how values and rows cross into them.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, Statement, ToSql};

use super::fault::{Fault, translate};
use crate::columns::Columns;
use crate::error::StoreError;
use crate::value::Value;

/// Statements kept prepared per connection: more than there are distinct ones.
const STATEMENTS: usize = 128;

/// The one connection that writes.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // 16 MiB of pages; a checkpoint every 16 MiB of log keeps fsyncs of the main file rare.
        connection.pragma_update(None, "cache_size", -16_384)?;
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error| translate(&error, path))
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "cache_size", -4_096)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error| translate(&error, path))
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Flag(flag) => ValueRef::Integer(i64::from(*flag)),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn damaged(at: usize, error: &rusqlite::Error) -> StoreError {
    StoreError::Damaged(format!("column {at}: {error}"))
}

impl Columns for Row<'_> {
    fn text_or_null(&self, at: usize) -> Result<Option<String>, StoreError> {
        self.get(at).map_err(|error| damaged(at, &error))
    }

    fn int_or_null(&self, at: usize) -> Result<Option<i64>, StoreError> {
        self.get(at).map_err(|error| damaged(at, &error))
    }

    fn flag(&self, at: usize) -> Result<bool, StoreError> {
        self.get(at).map_err(|error| damaged(at, &error))
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        self.get(at).map_err(|error| damaged(at, &error))
    }
}

/// Runs a statement that returns nothing; the number of rows it changed.
pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
) -> Result<usize, Fault> {
    Ok(connection
        .prepare_cached(sql)?
        .execute(rusqlite::params_from_iter(values))?)
}

/// Every row of a query.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = Vec::new();
    each(&mut statement, values, |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// Hands every row of a statement to `take`.
pub(super) fn each(
    statement: &mut Statement<'_>,
    values: &[Value<'_>],
    mut take: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), Fault> {
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// The first row of a query, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    match rows.next()? {
        Some(row) => Ok(Some(read(row)?)),
        None => Ok(None),
    }
}

/// The one number that a query returns.
pub(super) fn number(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
) -> Result<u64, Fault> {
    let found = first(connection, sql, values, |row| row.count(0))?;
    Ok(found.unwrap_or(0))
}
