//! PostgreSQL: many machines on one store.

use std::sync::Arc;

use crate::Store;
use crate::error::StoreError;

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore;

impl PostgresStore {
    /// Connects to `postgres://USER@HOST/DATABASE`.
    ///
    /// # Errors
    /// Always, until this backend lands.
    pub async fn connect(_url: &str) -> Result<Arc<dyn Store>, StoreError> {
        Err(StoreError::Postgres(
            "this backend is not part of this build yet".to_owned(),
        ))
    }
}
