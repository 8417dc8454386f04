//! The tasks a runner holds, and how each is told to stop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::ids::TaskId;
use tokio::sync::watch;

use crate::halt::Halt;

/// Whether work must stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No.
    No,
    /// The control plane wants the task back.
    Released(String),
    /// The control plane wants it stopped, with the work kept.
    Recalled(String),
    /// The runner stops.
    Shutdown,
}

/// A task's ear for [`Stop`].
#[derive(Debug, Clone)]
pub(crate) struct StopWatch(watch::Receiver<Stop>);

impl StopWatch {
    /// The halt, if there is one by now.
    pub(crate) fn now(&self) -> Option<Halt> {
        match &*self.0.borrow() {
            Stop::No => None,
            Stop::Released(cause) => Some(Halt::Released(cause.clone())),
            Stop::Recalled(cause) => Some(Halt::Recalled(cause.clone())),
            Stop::Shutdown => Some(Halt::Shutdown),
        }
    }

    /// Resolves when work must stop.
    pub(crate) async fn stopped(&mut self) {
        if self.0.wait_for(|stop| *stop != Stop::No).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }
}

/// The tasks held.
#[derive(Debug, Default)]
pub(crate) struct Held {
    tasks: Mutex<HashMap<TaskId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    epoch: u64,
    stop: watch::Sender<Stop>,
}

impl Held {
    /// Adds a task. If it is held already under an older epoch, that work must stop.
    pub(crate) fn add(&self, task: TaskId, epoch: u64) -> StopWatch {
        let (stop, watch) = watch::channel(Stop::No);
        let entry = Entry { epoch, stop };
        if let Some(older) = self.lock().insert(task, entry) {
            older
                .stop
                .send_replace(Stop::Released("it was assigned anew".to_owned()));
        }
        StopWatch(watch)
    }

    /// Forgets a task, unless it is held under another epoch by now.
    pub(crate) fn remove(&self, task: TaskId, epoch: u64) {
        let mut tasks = self.lock();
        if tasks.get(&task).is_some_and(|entry| entry.epoch == epoch) {
            tasks.remove(&task);
        }
    }

    /// All tasks with their epochs.
    pub(crate) fn list(&self) -> Vec<(TaskId, u64)> {
        self.lock()
            .iter()
            .map(|(task, entry)| (*task, entry.epoch))
            .collect()
    }

    /// Stops one task.
    pub(crate) fn stop(&self, task: TaskId, stop: Stop) {
        if let Some(entry) = self.lock().get(&task) {
            entry.stop.send_replace(stop);
        }
    }

    /// Stops one task, if it is held under this epoch and was not told to stop before.
    pub(crate) fn recall(&self, task: TaskId, epoch: u64, cause: String) {
        if let Some(entry) = self.lock().get(&task).filter(|entry| entry.epoch == epoch) {
            entry.stop.send_if_modified(|stop| {
                let news = *stop == Stop::No;
                if news {
                    *stop = Stop::Recalled(cause);
                }
                news
            });
        }
    }

    /// Stops all tasks.
    pub(crate) fn stop_all(&self, stop: &Stop) {
        for entry in self.lock().values() {
            entry.stop.send_replace(stop.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, Entry>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
