//! Brings a database to the schema of this program, with a copy of the old one kept first.

use std::path::{Path, PathBuf};

use refinery::{Migration, Runner, Target};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::fault::translate;
use crate::error::StoreError;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// The migrations of this program.
pub(super) fn known() -> Vec<Migration> {
    embedded::migrations::runner().get_migrations().clone()
}

/// Newest schema version among migrations.
pub(super) fn newest(migrations: &[Migration]) -> u32 {
    migrations.iter().map(version_of).max().unwrap_or(0)
}

fn version_of(migration: &Migration) -> u32 {
    u32::try_from(migration.version()).unwrap_or(0)
}

/// Refuses a database of a newer program, through a connection that cannot write.
pub(super) fn refuse_newer(path: &Path, known: u32) -> Result<(), StoreError> {
    let empty = std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
    if empty {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(path, flags)
        .and_then(|connection| version(&connection))
        .map_err(|error| translate(&error, path))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    Ok(())
}

/// Schema version of a database; 0 for an empty one.
fn version(connection: &Connection) -> Result<u32, rusqlite::Error> {
    if !connection.table_exists(None, "refinery_schema_history")? {
        return Ok(0);
    }
    let newest: Option<i64> = connection
        .query_row(
            "SELECT max(version) FROM refinery_schema_history",
            [],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    Ok(newest
        .and_then(|version| u32::try_from(version).ok())
        .unwrap_or(0))
}

/// Applies what is missing. A database that holds an older schema is copied first, into
/// `backup_dir` or, without one, next to itself.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    backup_dir: Option<&Path>,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let found = version(connection).map_err(|error| translate(&error, path))?;
    let known = newest(migrations);
    if found == known {
        return Ok(());
    }
    if found > 0 {
        let copy = copy_name(path, backup_dir, found);
        keep_copy(connection, path, &copy)?;
        tracing::info!(from = found, to = known, copy = %copy.display(), "migrating the database");
    }
    Runner::new(migrations)
        .set_target(Target::Latest)
        .run(connection)
        .map(drop)
        .map_err(|error| StoreError::Sqlite(format!("migration to version {known}: {error}")))
}

fn copy_name(path: &Path, backup_dir: Option<&Path>, version: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = backup_dir
        .or_else(|| path.parent())
        .unwrap_or(Path::new("."));
    folder.join(format!("{stem}.pre-migration-v{version}.sqlite"))
}

/// Writes the copy under another name first, so that a cut one is never taken for whole.
fn keep_copy(connection: &Connection, path: &Path, copy: &Path) -> Result<(), StoreError> {
    let io = |cause| StoreError::Io {
        path: copy.to_path_buf(),
        cause,
    };
    if let Some(folder) = copy.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let partial = copy.with_extension("partial");
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(io)?;
    }
    connection
        .execute("VACUUM INTO ?1", [partial.to_string_lossy()])
        .map_err(|error| translate(&error, path))?;
    std::fs::File::open(&partial)
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    std::fs::rename(&partial, copy).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_one_more() -> Vec<Migration> {
        let mut migrations = known();
        let next = newest(&migrations) + 1;
        let sql = "CREATE TABLE added_later (n INTEGER PRIMARY KEY) STRICT;";
        migrations.push(Migration::unapplied(&format!("V{next}__added_later"), sql).unwrap());
        migrations
    }

    #[test]
    fn an_older_database_is_copied_before_it_is_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let backups = folder.path().join("backups");
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &path, Some(&backups), &known()).unwrap();
        assert!(!backups.exists(), "a new database needs no copy");
        connection
            .execute(
                "INSERT INTO documents (kind, key, body) VALUES ('k', 'a', '1')",
                [],
            )
            .unwrap();

        let migrations = with_one_more();
        migrate(&mut connection, &path, Some(&backups), &migrations).unwrap();
        assert!(connection.table_exists(None, "added_later").unwrap());
        let old = newest(&known());
        let copy =
            Connection::open(backups.join(format!("store.pre-migration-v{old}.sqlite"))).unwrap();
        assert_eq!(version(&copy).unwrap(), old);
        assert!(!copy.table_exists(None, "added_later").unwrap());
        let kept: String = copy
            .query_row("SELECT body FROM documents", [], |row| row.get(0))
            .unwrap();
        assert_eq!(kept, "1");

        drop(connection);
        let refused = refuse_newer(&path, old);
        assert!(
            matches!(refused, Err(StoreError::TooNew { found, known }) if found == old + 1 && known == old)
        );
    }

    #[test]
    fn a_migration_that_fails_leaves_the_old_schema() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &path, None, &known()).unwrap();
        let mut migrations = known();
        let next = newest(&migrations) + 1;
        let sql = "CREATE TABLE half (n INTEGER); CREATE TABLE half (n INTEGER);";
        migrations.push(Migration::unapplied(&format!("V{next}__broken"), sql).unwrap());
        assert!(migrate(&mut connection, &path, None, &migrations).is_err());
        assert_eq!(version(&connection).unwrap(), newest(&known()));
        assert!(!connection.table_exists(None, "half").unwrap());
    }
}
