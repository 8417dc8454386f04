//! The inventory as lists and counts need it: without the paths of files, kept in memory until
//! something is written.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::repository::Repository;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use crate::error::ServiceError;
use crate::service::{Service, Update};

/// Writes of other processes are seen after this time.
const LONGEST: Duration = Duration::from_secs(20);

/// A cache of the inventory.
pub(crate) struct Inventory {
    kept: Mutex<Option<Kept>>,
    updates: Mutex<broadcast::Receiver<Update>>,
}

struct Kept {
    repositories: Arc<Vec<Repository>>,
    read_at: Instant,
    /// How long reading took: a big inventory under import is not read anew for every page.
    took: Duration,
    stale: bool,
}

impl Inventory {
    pub(crate) fn new(service: &Service) -> Self {
        Self {
            kept: Mutex::default(),
            updates: Mutex::new(service.updates()),
        }
    }

    /// All repositories by name, their `files` left out.
    pub(crate) async fn repositories(
        &self,
        service: &Service,
    ) -> Result<Arc<Vec<Repository>>, ServiceError> {
        if let Some(found) = self.fresh() {
            return Ok(found);
        }
        let started = Instant::now();
        let mut all = service.repositories().await?;
        for repository in &mut all {
            repository.files = Vec::new();
        }
        let repositories = Arc::new(all);
        if let Ok(mut kept) = self.kept.lock() {
            let took = started.elapsed();
            *kept = Some(Kept {
                repositories: Arc::clone(&repositories),
                read_at: Instant::now(),
                took,
                stale: false,
            });
        }
        Ok(repositories)
    }

    fn fresh(&self) -> Option<Arc<Vec<Repository>>> {
        let written = self.written();
        let mut kept = self.kept.lock().ok()?;
        let kept = kept.as_mut()?;
        kept.stale |= written;
        let age = kept.read_at.elapsed();
        let good = if kept.stale {
            age < kept.took * 5
        } else {
            age < LONGEST
        };
        good.then(|| Arc::clone(&kept.repositories))
    }

    /// Whether definitions were written since the last call.
    fn written(&self) -> bool {
        let Ok(mut updates) = self.updates.lock() else {
            return true;
        };
        let mut written = false;
        loop {
            match updates.try_recv() {
                Ok(Update::Definitions) | Err(TryRecvError::Lagged(_)) => written = true,
                Ok(_) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return written,
            }
        }
    }
}
