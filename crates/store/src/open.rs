//! Opening a store by its address.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Store;
use crate::error::StoreError;
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Where the copy goes that is made before an older SQLite database is migrated; next to
    /// the database when absent. PostgreSQL does not use it.
    pub backup_dir: Option<PathBuf>,
}

/// Opens the store at `sqlite:PATH` or `postgres://USER@HOST/DATABASE`.
///
/// # Errors
/// [`StoreError::InvalidAddress`] when the address is neither; otherwise those of
/// [`SqliteStore::open`] and [`PostgresStore::connect`].
pub async fn open(address: &str, options: OpenOptions) -> Result<Arc<dyn Store>, StoreError> {
    if let Some(path) = address
        .strip_prefix("sqlite:")
        .filter(|path| !path.is_empty())
    {
        return Ok(SqliteStore::open(path, options).await?);
    }
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        return Ok(PostgresStore::connect(address).await?);
    }
    Err(StoreError::InvalidAddress(address.to_owned()))
}
