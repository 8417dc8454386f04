//! What SQLite can check about itself and what we can check about our tables.

use rusqlite::Connection;

use super::connection::all;
use super::fault::Fault;
use crate::columns::Columns as _;
use crate::verify::CHECKS;

/// Everything that is wrong, in words; nothing when all is well.
pub(super) fn verify(connection: &Connection) -> Result<Vec<String>, Fault> {
    let mut problems = all(connection, "PRAGMA integrity_check(20)", &[], |row| {
        row.text(0)
    })?;
    problems.retain(|line| line != "ok");
    for check in CHECKS {
        let found = all(connection, check.sql, &[], |row| row.text(0))?;
        problems.extend(
            found
                .into_iter()
                .map(|what| format!("{}: {what}", check.problem)),
        );
    }
    Ok(problems)
}
