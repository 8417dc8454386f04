//! Brings a database to the schema of this program, one replica at a time.

use tokio_postgres::Client;

use super::client::failed;
use crate::error::StoreError;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// Advisory lock of whoever migrates.
const LOCK: i64 = 0x6e69_6768_7463_7201;

/// Applies what is missing, or refuses the database of a newer program.
pub(super) async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    client
        .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(|error| failed(&error))?;
    let migrated = migrate_locked(client).await;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK])
        .await
        .map_err(|error| failed(&error))?;
    migrated
}

async fn migrate_locked(client: &mut Client) -> Result<(), StoreError> {
    let runner = embedded::migrations::runner();
    let newest = runner
        .get_migrations()
        .iter()
        .map(|migration| i64::from(migration.version()))
        .max();
    let known = newest
        .and_then(|version| u32::try_from(version).ok())
        .unwrap_or(0);
    let found = version(client).await?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    if found < known {
        let failed = |error| StoreError::Postgres(format!("migration to version {known}: {error}"));
        runner.run_async(client).await.map_err(failed)?;
    }
    Ok(())
}

async fn version(client: &Client) -> Result<u32, StoreError> {
    let table = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
    let row = client
        .query_one(table, &[])
        .await
        .map_err(|error| failed(&error))?;
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0)::bigint FROM refinery_schema_history";
    let row = client
        .query_one(newest, &[])
        .await
        .map_err(|error| failed(&error))?;
    Ok(u32::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
