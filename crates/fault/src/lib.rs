//! Named points at which a test can kill the whole process group.
//!
//! A point costs one relaxed load unless `NIGHTCREW_FAULT` was set when the process began. Its
//! value is `NAME:N`: at the N-th pass of point NAME the process group is killed with SIGKILL,
//! as a power cut would, with no chance to clean up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every point there is, in the order of a task's life; `cargo xtask chaos` goes through them.
pub const POINTS: &[&str] = &[
    "admit.before_commit",
    "admit.after_commit",
    "plan.tasks_written",
    "plan.before_done",
    "claim.leased",
    "claim.after_commit",
    "prepare.base_ready",
    "prepare.environment_ready",
    "step.before_report",
    "step.after_report",
    "propose.before_report",
    "propose.after_report",
    "submit.before_forge",
    "submit.after_forge",
    "submit.after_commit",
    "review.after_forge",
    "review.after_commit",
    "sequence.before_commit",
    "sequence.after_commit",
    "close.after_forge",
];

struct Armed {
    name: String,
    left: AtomicU64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            let text = std::env::var("NIGHTCREW_FAULT").ok()?;
            let (name, count) = text.split_once(':')?;
            Some(Armed {
                name: name.to_owned(),
                left: AtomicU64::new(count.parse().ok()?),
            })
        })
        .as_ref()
}

/// Passes a point: dies here if a test asked for it.
pub fn point(name: &'static str) {
    debug_assert!(
        POINTS.contains(&name),
        "`{name}` is not in the list of fault points"
    );
    let Some(armed) = armed() else { return };
    if armed.name != name {
        return;
    }
    if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let group = nix::unistd::Pid::from_raw(0);
        let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
    }
}
