//! Where a test's store lives.

use std::sync::Arc;

use store::{OpenOptions, PostgresStore, SqliteStore, Store};
use tempfile::TempDir;
use testkit::postgres::Database;

/// A place for one store, removed afterwards.
pub(crate) enum Place {
    /// A folder with a SQLite file.
    Sqlite(TempDir),
    /// A database of its own on a PostgreSQL server.
    Postgres(Database),
}

impl Place {
    /// A new folder.
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A new database, or nothing where there is no PostgreSQL.
    pub(crate) async fn postgres() -> Option<Self> {
        tokio::task::spawn_blocking(testkit::postgres::database_or_skip)
            .await
            .unwrap()
            .map(Self::Postgres)
    }

    /// Opens the store.
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(folder) => {
                SqliteStore::open(folder.path().join("store.sqlite"), OpenOptions::default())
                    .await
                    .unwrap()
            }
            Self::Postgres(database) => PostgresStore::connect(database.url()).await.unwrap(),
        }
    }

    /// Two handles on one store: two replicas where the database allows it, else one twice.
    pub(crate) async fn open_two(&self) -> [Arc<dyn Store>; 2] {
        let first = self.open().await;
        let second = match self {
            Self::Sqlite(_) => Arc::clone(&first),
            Self::Postgres(_) => self.open().await,
        };
        [first, second]
    }
}
