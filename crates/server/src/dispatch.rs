//! What happens by itself. Each loop sleeps until it is woken or something comes due; behind
//! every wake-up stands a slow look, because a wake-up is a hint and never truth.

mod advance;
mod budget;
mod close_campaign;
mod close_change;
mod leases;
mod news;
mod outbox;
mod pace;
mod plan_run;
mod schedules;
mod sequencer;
mod submit_change;
mod wake;

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::service::Service;

pub(crate) use pace::Pace;

/// The running loops.
pub struct Dispatcher {
    stop: CancellationToken,
    loops: Vec<JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts all loops. `sole` says that no other process uses this store, so that every lease
    /// found at the start is dead.
    #[must_use]
    pub fn start(service: &Arc<Service>, sole: bool) -> Self {
        let stop = CancellationToken::new();
        let run = |stop: &CancellationToken| (Arc::clone(service), stop.clone());
        let (a, b, c, d, e, f, g) = (
            run(&stop),
            run(&stop),
            run(&stop),
            run(&stop),
            run(&stop),
            run(&stop),
            run(&stop),
        );
        let loops = vec![
            tokio::spawn(outbox::run(a.0, a.1, sole)),
            tokio::spawn(leases::run(b.0, b.1, sole)),
            tokio::spawn(advance::run(c.0, c.1)),
            tokio::spawn(schedules::run(d.0, d.1)),
            tokio::spawn(news::run(e.0, e.1)),
            tokio::spawn(sequencer::run(f.0, f.1)),
            tokio::spawn(budget::run(g.0, g.1, sole)),
        ];
        Self { stop, loops }
    }

    /// Ends all loops where they stand, as the death of the process would.
    pub async fn kill(self) {
        for handle in &self.loops {
            handle.abort();
        }
        for handle in self.loops {
            // It was aborted.
            let _ = handle.await;
        }
    }

    /// Stops all loops at their next resting point, and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        for handle in self.loops {
            // A loop that died has said so in the log.
            let _ = handle.await;
        }
    }
}
