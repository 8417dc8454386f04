//! A few connections that only read, lent to blocking threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection::reader;
use super::fault::Fault;
use crate::error::StoreError;

/// Connections, at most.
const READERS: usize = 4;

/// The pool.
pub(super) struct Readers {
    shelf: Arc<Shelf>,
    permits: Arc<Semaphore>,
}

struct Shelf {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Shelf {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| reader(&self.path), Ok)
    }

    fn put(&self, connection: Connection) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }
}

impl Readers {
    /// A pool for a database that exists; connections are opened when they are first needed.
    pub(super) fn new(path: &Path) -> Self {
        let shelf = Shelf {
            path: path.to_path_buf(),
            idle: Mutex::new(Vec::new()),
        };
        Self {
            shelf: Arc::new(shelf),
            permits: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Runs a query off the async threads.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        // The permit goes along: a caller that gives up must not let a further connection open.
        let permits = Arc::clone(&self.permits);
        let permit = permits
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let shelf = Arc::clone(&self.shelf);
        let task = tokio::task::spawn_blocking(move || {
            let connection = shelf.take()?;
            let result = work(&connection).map_err(|fault| fault.into_error(&shelf.path));
            shelf.put(connection);
            drop(permit);
            result
        });
        task.await.unwrap_or(Err(StoreError::Closed))
    }
}
