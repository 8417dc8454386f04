//! Asks for work while there is room, and keeps the leases of what is held alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::protocol::{Assignment, ClaimRequest, Heartbeat};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::held::{Held, Stop};
use crate::task::{Shared, drive};

/// So many times the usual pause when the last question brought nothing.
const IDLE: u32 = 6;
/// Pause after a question that could not be answered.
const TROUBLE: Duration = Duration::from_secs(1);

/// What the loops of a runner share.
pub(crate) struct Loops {
    pub(crate) shared: Arc<Shared>,
    pub(crate) held: Arc<Held>,
    pub(crate) slots: Arc<Semaphore>,
    /// Something may have changed: work came, a slot is free, the runner stops.
    pub(crate) wake: Arc<Notify>,
    pub(crate) stopping: AtomicBool,
}

/// Claims until the runner stops, then waits for the tasks at work.
pub(crate) async fn claim(loops: Arc<Loops>) {
    let mut tasks = JoinSet::new();
    let poll = loops.shared.options.poll;
    let mut pause = poll;
    while !loops.stopping.load(Ordering::Acquire) {
        while let Some(ended) = tasks.try_join_next() {
            complain(ended);
        }
        let free = loops.slots.available_permits();
        if free > 0 {
            let request = ClaimRequest {
                runner: loops.shared.options.name.clone(),
                slots: u32::try_from(free).unwrap_or(u32::MAX),
            };
            match loops.shared.control.claim(request).await {
                Ok(assignments) => {
                    pause = if assignments.is_empty() && tasks.is_empty() {
                        poll * IDLE
                    } else {
                        poll
                    };
                    for assignment in assignments {
                        start(&loops, assignment, &mut tasks);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no work could be claimed");
                    pause = TROUBLE;
                }
            }
        }
        let _ = tokio::time::timeout(pause, loops.wake.notified()).await;
    }
    while let Some(ended) = tasks.join_next().await {
        complain(ended);
    }
}

fn start(loops: &Arc<Loops>, assignment: Assignment, tasks: &mut JoinSet<()>) {
    let (task, epoch) = (assignment.task.id, assignment.epoch);
    let stop = loops.held.add(task, epoch);
    let loops = Arc::clone(loops);
    tasks.spawn(async move {
        // There was room when it was claimed; a control plane that gives more than was asked for
        // makes the rest wait here.
        let slot = Arc::clone(&loops.slots).acquire_owned().await;
        drive(Arc::clone(&loops.shared), assignment, stop).await;
        loops.held.remove(task, epoch);
        drop(slot);
        loops.wake.notify_one();
    });
}

fn complain(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the work on a task broke off: its lease will expire");
    }
}

/// Passes hints about new work on to the claiming loop.
pub(crate) async fn listen(loops: Arc<Loops>) {
    loop {
        loops.shared.control.work_arrived().await;
        loops.wake.notify_one();
    }
}

/// Extends leases, and stops what the control plane wants back.
pub(crate) async fn beat(loops: Arc<Loops>) {
    let mut ticks = tokio::time::interval(loops.shared.options.heartbeat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tasks = loops.held.list();
        if tasks.is_empty() {
            continue;
        }
        let heartbeat = Heartbeat {
            runner: loops.shared.options.name.clone(),
            tasks,
        };
        match loops.shared.control.heartbeat(heartbeat).await {
            Ok(answer) => {
                for (task, cause) in answer.release {
                    loops.held.stop(task, Stop::Released(cause));
                }
            }
            Err(error) => tracing::warn!(%error, "the heartbeat did not get through"),
        }
    }
}
