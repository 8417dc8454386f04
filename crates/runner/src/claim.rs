//! Asks for work while there is room, and keeps the leases of what is held alive.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use model::protocol::{Assignment, ClaimRequest, Heartbeat};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::held::{Held, Stop};
use crate::place;
use crate::root::Roots;
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
    /// Tasks given back in a row: a broken host must not pass work round and round.
    pub(crate) trouble: AtomicU32,
}

impl Loops {
    /// How long to hold back before the next question.
    fn restraint(&self) -> Duration {
        match self.trouble.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            times => (FIRST_RESTRAINT * (1 << times.min(10))).min(LONGEST_RESTRAINT),
        }
    }
}

/// After one task that was given back, doubled with each further one.
const FIRST_RESTRAINT: Duration = Duration::from_millis(100);
const LONGEST_RESTRAINT: Duration = Duration::from_secs(30);
/// Time between two looks for workspaces that nobody will need any more.
const SWEEP: Duration = Duration::from_hours(1);

/// Claims until the runner stops, then waits for the tasks at work.
pub(crate) async fn claim(loops: Arc<Loops>) {
    let mut tasks = JoinSet::new();
    let poll = loops.shared.options.poll;
    let mut pause = poll;
    while !loops.stopping.load(Ordering::Acquire) {
        while let Some(ended) = tasks.try_join_next() {
            complain(ended);
        }
        let restraint = loops.restraint();
        if !restraint.is_zero() {
            hold_back(&loops, restraint).await;
        }
        let free = loops.slots.available_permits();
        if free > 0 && !loops.stopping.load(Ordering::Acquire) {
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

/// Waits, unless the runner stops meanwhile.
async fn hold_back(loops: &Loops, time: Duration) {
    let stopping = async {
        while !loops.stopping.load(Ordering::Acquire) {
            loops.wake.notified().await;
        }
    };
    let _ = tokio::time::timeout(time, stopping).await;
}

fn start(loops: &Arc<Loops>, assignment: Assignment, tasks: &mut JoinSet<()>) {
    let (task, epoch) = (assignment.task.id, assignment.epoch);
    let stop = loops.held.add(task, epoch);
    // Taken at once, so that the next question does not ask for this place again.
    let slot = Arc::clone(&loops.slots).try_acquire_owned();
    let loops = Arc::clone(loops);
    tasks.spawn(async move {
        // A control plane that gives more than was asked for makes the rest wait here.
        let slot = match slot {
            Ok(slot) => Ok(slot),
            Err(_) => Arc::clone(&loops.slots).acquire_owned().await,
        };
        if drive(Arc::clone(&loops.shared), assignment, stop).await {
            loops.trouble.store(0, Ordering::Relaxed);
        } else {
            loops.trouble.fetch_add(1, Ordering::Relaxed);
        }
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

/// Stops tasks that are recalled.
pub(crate) async fn recall(loops: Arc<Loops>) {
    let runner = loops.shared.options.name.clone();
    loop {
        for recall in loops.shared.control.recalled(&runner).await {
            loops.held.recall(recall.task, recall.epoch, recall.cause);
        }
    }
}

/// Extends leases, and stops what the control plane wants back.
pub(crate) async fn beat(loops: Arc<Loops>) {
    let mut ticks = tokio::time::interval(loops.shared.options.heartbeat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    loop {
        ticks.tick().await;
        if swept.elapsed() > SWEEP {
            swept = Instant::now();
            // Leases must not wait for it: images are large.
            tokio::spawn(sweep(Arc::clone(&loops)));
        }
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

async fn sweep(loops: Arc<Loops>) {
    let options = loops.shared.options.clone();
    let swept = tokio::task::spawn_blocking(move || {
        let state = &options.state_dir;
        let now = (options.clock)();
        place::sweep_kept(state, now, options.keep_layers)?;
        let used = place::roots_in_use(state)?;
        let before = SystemTime::from(now)
            .checked_sub(options.keep_roots)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let roots = Roots::at(state.join("roots"), options.registries.clone());
        let swept = roots.sweep(&used, before);
        swept.map_err(|error| io::Error::other(crate::halt::chain(&error)))
    });
    match swept.await {
        Ok(Ok(swept)) => tracing::debug!(?swept, "looked for what nobody needs"),
        Ok(Err(error)) => tracing::warn!(%error, "what nobody needs could not be removed"),
        Err(error) => tracing::warn!(%error, "what nobody needs could not be removed"),
    }
}
