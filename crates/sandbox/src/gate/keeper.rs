//! The gate's housekeeping: leases that somebody waits for, events that were counted, environments
//! that ended.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::events::WINDOW;
use super::{Gate, register};
use crate::sys::{lease, other};

/// How often a lease is looked at again that cannot be given up yet, and for how long until who
/// keeps it is killed. The kernel takes the lease away itself after `lease-break-time`, 45 s.
const AGAIN: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs until no environment is left and none can come.
pub(super) fn run(gate: &Arc<Gate>, bell: &OwnedFd, notices: &OwnedFd) {
    let mut wanted: Vec<(RawFd, Instant)> = Vec::new();
    let mut telling = false;
    loop {
        let environments = gate.environments();
        if environments.is_empty() && gate.no_more.load(Ordering::Acquire) {
            return;
        }
        let timeout = match (wanted.is_empty(), telling) {
            (false, _) => Some(AGAIN),
            (true, true) => Some(WINDOW / 2),
            (true, false) => None,
        };
        let mut fds: Vec<BorrowedFd<'_>> = vec![bell.as_fd(), notices.as_fd()];
        for environment in &environments {
            fds.extend([environment.pidfd.as_fd(), environment.link.as_fd()]);
        }
        let Ok(ready) = other::poll(&fds, timeout) else {
            return;
        };
        if ready[0] {
            wanted.extend(
                rung(bell)
                    .into_iter()
                    .map(|number| (number, Instant::now())),
            );
        }
        if ready[1] {
            let numbers = lease::noticed(notices.as_fd()).unwrap_or_else(|| {
                gate.held
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .wanted()
            });
            wanted.extend(numbers.into_iter().map(|number| (number, Instant::now())));
        }
        wanted.retain(|(number, since)| !let_go(gate, *number, *since));
        for (at, environment) in environments.iter().enumerate() {
            let ended = ready[2 + 2 * at];
            // A client that is gone takes no more events; its environment goes on until it ends.
            let spoken = ready[3 + 2 * at];
            if ended || (spoken && !register::heed(environment)) {
                environment.flush();
                gate.leave(environment);
                if !ended {
                    // Nobody owns it any more.
                    let _ =
                        crate::sys::process::signal_pidfd(environment.pidfd.as_fd(), libc::SIGKILL);
                }
            }
        }
        // Before what waits is looked at: what comes later rings.
        gate.telling.store(false, Ordering::Release);
        telling = false;
        for environment in &environments {
            telling |= environment.flush();
        }
        if telling {
            gate.telling.store(true, Ordering::Release);
        }
    }
}

/// Numbers that were written to the bell, without those that only wake.
fn rung(bell: &OwnedFd) -> Vec<RawFd> {
    let mut buffer = [0; 4096];
    let Ok(pipe) = bell.try_clone() else {
        return Vec::new();
    };
    let length = std::fs::File::from(pipe).read(&mut buffer).unwrap_or(0);
    buffer[..length]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| RawFd::from_ne_bytes(*bytes))
        .filter(|number| *number >= 0)
        .collect()
}

/// Gives a lease up; false when it must wait.
fn let_go(gate: &Gate, number: RawFd, since: Instant) -> bool {
    let mut held = gate.held.lock().unwrap_or_else(PoisonError::into_inner);
    let late = since.elapsed() > PATIENCE;
    match held.let_go(number, late) {
        Err(()) => false,
        Ok(threads) if threads.is_empty() => true,
        Ok(threads) => {
            // Permitted to execute what is about to change, and not seen to have done it: they must
            // not execute anything else instead.
            for thread in threads {
                let _ = crate::sys::process::kill(thread, libc::SIGKILL);
            }
            held.let_go(number, true).is_ok()
        }
    }
}
