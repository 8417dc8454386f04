//! Who is next where a cap leaves no room: first come, first served, so that a big call is not
//! overtaken for ever by small ones, and a thousand who wait do not all ask again at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::budget::Level;
use tokio::sync::OwnedMutexGuard;

#[derive(Debug, Default)]
struct Queue {
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: usize,
}

/// Queues by scope.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Queue>>);

impl Turns {
    /// The topmost scope of a way before which somebody waits.
    pub(crate) fn crowded(&self, path: &[Level]) -> Option<String> {
        let queues = self.lock();
        path.iter()
            .find(|level| queues.contains_key(&level.scope))
            .map(|level| level.scope.clone())
    }

    /// Whether anybody waits anywhere.
    pub(crate) fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    /// How many wait, with those whose turn it is.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().values().map(|queue| queue.waiting).sum()
    }

    /// Waits for a turn.
    pub(crate) async fn wait(self: &Arc<Self>, scope: &str) -> Turn {
        let turn = {
            let mut queues = self.lock();
            let queue = queues.entry(scope.to_owned()).or_default();
            queue.waiting += 1;
            Arc::clone(&queue.turn)
        };
        // Made before the wait, so that whoever gives up waiting leaves the queue.
        let place = Placed {
            turns: Arc::clone(self),
            scope: scope.to_owned(),
        };
        let guard = turn.lock_owned().await;
        Turn {
            _guard: guard,
            place,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Placed {
    turns: Arc<Turns>,
    scope: String,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let mut queues = self.turns.lock();
        if let Some(queue) = queues.get_mut(&self.scope) {
            queue.waiting = queue.waiting.saturating_sub(1);
            if queue.waiting == 0 {
                queues.remove(&self.scope);
            }
        }
    }
}

/// The right to ask before all others of the scope.
pub(crate) struct Turn {
    // Before the place: the next one's turn comes before a queue could vanish.
    _guard: OwnedMutexGuard<()>,
    place: Placed,
}

impl Turn {
    /// Where.
    pub(crate) fn scope(&self) -> &str {
        &self.place.scope
    }
}
