//! What processes used: CPU time of everything below this process, peak memory of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// Makes orphans of processes below ours, so that their time is counted as well.
pub(super) fn count_orphans() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).context("become a reaper of orphans")
}

/// Seconds of CPU (user and system) used by all processes below this one that have ended.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of CPU stay far below 2^52"
)]
pub(super) fn cpu_of_children() -> Result<f64> {
    // Orphans that came to us count once they are waited for.
    while let Ok(status) = nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
    {
        if status == nix::sys::wait::WaitStatus::StillAlive {
            break;
        }
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("read the usage of children")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// Seconds of CPU used so far by a running process, from `/proc/PID/stat` in ticks of 10 ms.
pub(super) fn cpu_of(pid: i32) -> Result<f64> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read the process's usage")?;
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks: f64 = after
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<f64>().ok())
        .sum();
    Ok(ticks / 100.0)
}

/// Seconds of CPU used so far by everything on this machine, from `/proc/stat` in ticks of 10 ms:
/// an upper bound that nothing can hide from.
pub(super) fn cpu_of_machine() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1);
    let ticks: Vec<f64> = numbers.filter_map(|word| word.parse().ok()).collect();
    // User, nice, system, and interrupts; idle and waiting are the fourth and fifth.
    [0, 1, 2, 5, 6]
        .into_iter()
        .filter_map(|at| ticks.get(at))
        .sum::<f64>()
        / 100.0
}

/// A value of `/proc/PID/status` in KiB.
pub(super) fn memory(pid: i32, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Watches the peak memory of a process until it ends.
pub(super) struct PeakMemory {
    done: Arc<AtomicBool>,
    watcher: JoinHandle<u64>,
}

impl PeakMemory {
    pub(super) fn watch(pid: i32) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let watcher = std::thread::spawn(move || {
            let mut peak = 0;
            while !seen.load(Ordering::Relaxed) {
                peak = memory(pid, "VmHWM").unwrap_or(peak).max(peak);
                std::thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        Self { done, watcher }
    }

    /// The peak in MiB.
    #[expect(
        clippy::cast_precision_loss,
        reason = "memory in KiB stays far below 2^52"
    )]
    pub(super) fn mebibytes(self) -> f64 {
        self.done.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap_or(0) as f64 / 1024.0
    }
}
