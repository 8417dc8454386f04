//! Starting and stopping a runner.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::Supervisor;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::base::Bases;
use crate::claim::{Loops, beat, claim, listen, recall};
use crate::control_plane::ControlPlane;
use crate::held::{Held, Stop};
use crate::options::RunnerOptions;
use crate::place;
use crate::task::Shared;

/// Why a runner did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no git.
    #[error("the runner needs git")]
    Git(#[source] forge::git::GitError),
    /// Its folder cannot be used.
    #[error("cannot use the folder {}", .path.display())]
    State {
        /// The folder.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Takes leased tasks and carries out their steps.
pub struct Runner;

impl Runner {
    /// Cleans up what an earlier runner left in its folder, and starts to claim work. Must be
    /// called within a tokio runtime with time enabled.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        options: RunnerOptions,
        control: Arc<dyn ControlPlane>,
        supervisor: Arc<Supervisor>,
    ) -> Result<RunnerHandle, StartError> {
        let git = forge::git::Git::find().map_err(StartError::Git)?;
        let unusable = |source| StartError::State {
            path: options.state_dir.clone(),
            source,
        };
        place::sweep(&options.state_dir, (options.clock)(), options.keep_layers)
            .map_err(unusable)?;
        let bases = Bases::open(&options.state_dir, git, options.history, options.keep_bases)
            .map_err(unusable)?;
        let slots = Arc::new(Semaphore::new(options.slots.max(1) as usize));
        let loops = Arc::new(Loops {
            shared: Arc::new(Shared {
                options,
                control,
                supervisor,
                bases,
                versions: Mutex::default(),
            }),
            held: Arc::new(Held::default()),
            slots,
            wake: Arc::new(Notify::new()),
            stopping: AtomicBool::new(false),
            trouble: AtomicU32::new(0),
        });
        Ok(RunnerHandle {
            claiming: tokio::spawn(claim(Arc::clone(&loops))),
            others: vec![
                tokio::spawn(listen(Arc::clone(&loops))),
                tokio::spawn(beat(Arc::clone(&loops))),
                tokio::spawn(recall(Arc::clone(&loops))),
            ],
            loops,
        })
    }
}

/// A running runner. Dropping it does not stop it; [`shutdown`](Self::shutdown) does.
pub struct RunnerHandle {
    loops: Arc<Loops>,
    claiming: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl RunnerHandle {
    /// Number of tasks at work.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.loops.held.list().len()
    }

    /// Claims nothing more, lets tasks at work end within `grace`, then kills their steps and gives
    /// them back as interrupted. Returns when nothing of any environment is left.
    pub async fn shutdown(mut self, grace: Duration) {
        self.loops.stopping.store(true, Ordering::Release);
        self.loops.wake.notify_one();
        if tokio::time::timeout(grace, &mut self.claiming)
            .await
            .is_err()
        {
            self.loops.held.stop_all(&Stop::Shutdown);
            let _ = (&mut self.claiming).await;
        }
        for other in &self.others {
            other.abort();
        }
    }

    /// Waits until the runner was stopped by somebody else, which is never unless it broke.
    pub async fn join(&mut self) {
        let _ = (&mut self.claiming).await;
    }
}
