//! The anchor: keeps every descriptor of the gate open, and the gate running.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::beat::Beat;
use super::daemon::{self, Inheritance};
use crate::sys::other;
use crate::sys::process::{self, Forked, Waited};
use crate::sys::{fanotify, file, socket};

/// How often the gate is looked at, and how long nothing may be done while events wait before it is taken for
/// stuck (stopped, or starved) and replaced.
const LOOK: Duration = Duration::from_millis(500);
const STUCK: Duration = Duration::from_secs(2);

/// The same for the supervisor, which looks whether the anchor does its work.
const LOST: Duration = Duration::from_secs(5);

/// The supervisor's hold on anchor and gate.
pub(crate) struct Anchor {
    /// The anchor's process id.
    pub(crate) pid: i32,
    /// Where environments are registered.
    pub(crate) control: OwnedFd,
    /// Held here too: when anchor and gate are lost, openers wait for their environment's end.
    group: OwnedFd,
    beat: Beat,
    watch: Watch,
}

/// Whether something waits while nothing is done.
struct Watch {
    seen: u64,
    since: Instant,
}

impl Watch {
    fn new() -> Self {
        Self {
            seen: 0,
            since: Instant::now(),
        }
    }

    /// How long nothing was done although something waits.
    fn idle(&mut self, beat: &Beat, group: &OwnedFd) -> Duration {
        let (done, open) = beat.state();
        if done != self.seen || (!open && fanotify::unread(group.as_fd()) == 0) {
            self.seen = done;
            self.since = Instant::now();
        }
        self.since.elapsed()
    }
}

impl std::fmt::Debug for Anchor {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "Anchor({})", self.pid)
    }
}

impl Anchor {
    /// Starts anchor and gate. Only in a single-threaded process that is root.
    pub(crate) fn start() -> io::Result<Self> {
        let group = fanotify::group()?;
        let (ours, theirs) = socket::pair()?;
        let beat = Beat::new()?;
        match process::fork()? {
            Forked::Parent(pid) => Ok(Self {
                pid,
                control: ours,
                group,
                beat,
                watch: Watch::new(),
            }),
            Forked::Child => {
                process::set_name(c"nc-anchor");
                let ended = keep_only(&[0, 1, 2, group.as_raw_fd(), theirs.as_raw_fd()])
                    .and_then(|()| hold(&group, &theirs, &beat));
                process::exit_now(i32::from(ended.is_err()))
            }
        }
    }

    /// Whether events are left unread although the anchor should long have seen to it.
    pub(crate) fn is_stuck(&mut self) -> bool {
        self.watch.idle(&self.beat, &self.group) > LOST
    }
}

/// Closes every descriptor but these. They belong to values that this process never touches again.
fn keep_only(kept: &[RawFd]) -> io::Result<()> {
    for number in open_descriptors()? {
        if !kept.contains(&number) {
            file::close_between(number, number)?;
        }
    }
    Ok(())
}

fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let mut numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // The folder that was just read is closed again.
    numbers.retain(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    Ok(numbers)
}

/// Runs gates, one after another, until one has nothing left to do.
fn hold(group: &OwnedFd, control: &OwnedFd, beat: &Beat) -> io::Result<()> {
    let children = process::child_signals()?;
    let own: HashSet<RawFd> = open_descriptors()?.into_iter().collect();
    let inheritance = Inheritance {
        group,
        control,
        beat,
        own: &own,
    };
    loop {
        let gate = match other::fork_sharing_descriptors()? {
            Forked::Child => {
                process::set_name(c"nc-gate");
                process::unblock_signals();
                // Without the anchor nobody would hold what is pending when the gate dies.
                let code = process::die_with_parent(libc::SIGKILL)
                    .and_then(|()| daemon::run(&inheritance));
                let code = i32::from(code.is_err());
                process::exit_now(code)
            }
            Forked::Parent(pid) => pid,
        };
        if watch(gate, group, &children, beat)? {
            return Ok(());
        }
    }
}

/// Waits for the end of a gate, and brings it about when it is stuck; true when it was done.
fn watch(gate: i32, group: &OwnedFd, children: &OwnedFd, beat: &Beat) -> io::Result<bool> {
    let mut watch = Watch::new();
    loop {
        let [ended] = process::poll([children.as_fd()], Some(LOOK))?;
        if ended {
            use std::io::Read;
            let _ = std::fs::File::from(children.try_clone()?).read(&mut [0; 128]);
            while let Waited::Reaped(reaped) = process::wait_any(false)? {
                if reaped.pid == gate {
                    return Ok(reaped.code == Some(0));
                }
            }
        }
        if watch.idle(beat, group) > STUCK {
            process::kill(gate, libc::SIGKILL)?;
            watch = Watch::new();
        }
    }
}
