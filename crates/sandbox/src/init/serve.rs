//! The init's loop: one step at a time, everything reaped, deadlines kept.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::step;
use super::victim::Victim;
use crate::message::{Exec, Exited, Order, Reply};
use crate::spec::{Limits, TerminalSize};
use crate::sys::process::{self, Reaped, Waited};
use crate::sys::{pty, socket};

/// The state of the loop.
pub(super) struct Serve {
    link: OwnedFd,
    children: OwnedFd,
    victim: Victim,
    limits: Limits,
    deadline: Option<Instant>,
    running: Option<Running>,
}

struct Running {
    pid: i32,
    started: Instant,
    deadline: Option<Instant>,
    exited: Exited,
}

impl Serve {
    pub(super) fn new(
        link: OwnedFd,
        children: OwnedFd,
        victim: Victim,
        limits: &Limits,
        started: Instant,
    ) -> Self {
        Self {
            link,
            children,
            victim,
            limits: limits.clone(),
            deadline: started.checked_add(limits.wall),
            running: None,
        }
    }

    /// Serves until the client hangs up or the environment's time is over.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; socket::MAX_INLINE];
        loop {
            let waiting =
                process::poll([self.link.as_fd(), self.children.as_fd()], self.patience());
            let Ok([order, ended]) = waiting else {
                return;
            };
            if ended {
                self.drain_signals();
                if self.reap().is_err() {
                    return;
                }
            }
            if order && !self.take_order(&mut buffer) {
                return;
            }
            let now = Instant::now();
            let out_of_time =
                |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
            if out_of_time(self.deadline) {
                let _ = self.stop(true);
                return;
            }
            if out_of_time(self.running.as_ref().and_then(|running| running.deadline))
                && self.stop(true).is_err()
            {
                return;
            }
        }
    }

    fn patience(&self) -> Option<Duration> {
        let step = self.running.as_ref().and_then(|running| running.deadline);
        let next = [self.deadline, step].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn drain_signals(&self) {
        use std::io::Read;
        if let Ok(signals) = self.children.try_clone() {
            let _ = std::fs::File::from(signals).read(&mut [0; 128]);
        }
    }

    /// False when the client is gone or speaks nonsense: the environment ends.
    fn take_order(&mut self, buffer: &mut [u8]) -> bool {
        let Ok(Some((length, mut fds))) = socket::receive(self.link.as_fd(), buffer) else {
            return false;
        };
        match Order::decode(&buffer[..length]) {
            Ok(Order::Exec(exec)) => self.start(exec, &fds).is_ok(),
            Ok(Order::ExecInFile) => {
                let Some(Ok(message)) = fds.pop().map(read_all) else {
                    return false;
                };
                match Order::decode(&message) {
                    Ok(Order::Exec(exec)) => self.start(exec, &fds).is_ok(),
                    _ => false,
                }
            }
            Ok(Order::Kill(step)) => match &self.running {
                Some(running) if running.exited.step == step => self.stop(false).is_ok(),
                _ => true,
            },
            Err(_) => false,
        }
    }

    fn start(&mut self, exec: Exec, fds: &[OwnedFd]) -> io::Result<()> {
        if self.running.is_some() {
            return Err(io::Error::from(io::ErrorKind::ResourceBusy));
        }
        let started = Instant::now();
        let mut exited = Exited {
            step: exec.step,
            kind: 0,
            value: 125,
            wall: Duration::ZERO,
            user: Duration::ZERO,
            system: Duration::ZERO,
            max_rss_kib: 0,
        };
        let (timeout, step) = (exec.timeout, exec.step);
        let spawned = match exec.terminal {
            None => self.spawn(exec, fds),
            Some(size) => self.spawn_on_terminal(exec, size, step),
        };
        match spawned {
            Ok(pid) => {
                let deadline = timeout.and_then(|timeout| started.checked_add(timeout));
                self.running = Some(Running {
                    pid,
                    started,
                    deadline,
                    exited,
                });
                Ok(())
            }
            Err(error) => {
                step::complain(fds, &format!("cannot start the step: {error}"));
                exited.wall = started.elapsed();
                self.tell(exited)
            }
        }
    }

    /// Starts a step; its own death, not that of this process, is to relieve a lack of memory.
    fn spawn(&self, exec: Exec, fds: &[OwnedFd]) -> io::Result<i32> {
        self.victim.first(|| step::spawn(exec, fds, &self.limits))
    }

    /// Starts a step on a new terminal, and gives the client its steering end.
    fn spawn_on_terminal(&self, exec: Exec, size: TerminalSize, step: u64) -> io::Result<i32> {
        let (master, slave) = pty::open(size.rows, size.columns)?;
        let pid = self.spawn(exec, &[slave])?;
        let reply = Reply::Terminal(step).encode();
        socket::send(self.link.as_fd(), &reply, &[master.as_fd()])?;
        Ok(pid)
    }

    /// Takes in every ended child; when the step itself is among them, ends it.
    fn reap(&mut self) -> io::Result<()> {
        while let Waited::Reaped(reaped) = process::wait_any(false)? {
            if self.account(&reaped) {
                return self.finish();
            }
        }
        Ok(())
    }

    /// Adds what a reaped process used; true when it was the step's own.
    fn account(&mut self, reaped: &Reaped) -> bool {
        let Some(running) = &mut self.running else {
            return false;
        };
        running.exited.user += reaped.user;
        running.exited.system += reaped.system;
        running.exited.max_rss_kib = running.exited.max_rss_kib.max(reaped.max_rss_kib);
        if reaped.pid != running.pid {
            return false;
        }
        if running.exited.kind != 2 {
            let signal = reaped.signal;
            running.exited.kind = u8::from(signal.is_some());
            running.exited.value = signal.or(reaped.code).unwrap_or(0);
        }
        true
    }

    /// Kills the running step with all it started.
    fn stop(&mut self, timed_out: bool) -> io::Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        if timed_out {
            running.exited.kind = 2;
        }
        self.finish()
    }

    /// Kills what is left of the step, reaps it, and tells the client.
    fn finish(&mut self) -> io::Result<()> {
        loop {
            // From process 1, -1 is everybody else in the environment. None left is ESRCH.
            let _ = process::kill(-1, libc::SIGKILL);
            match process::wait_any(true)? {
                Waited::Reaped(reaped) => {
                    self.account(&reaped);
                }
                Waited::None => {}
                Waited::NoChildren => break,
            }
        }
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let mut exited = running.exited;
        exited.wall = running.started.elapsed();
        self.tell(exited)
    }

    fn tell(&self, exited: Exited) -> io::Result<()> {
        socket::send(self.link.as_fd(), &Reply::Exited(exited).encode(), &[])
    }
}

fn read_all(file: OwnedFd) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    std::fs::File::from(file).read_to_end(&mut content)?;
    Ok(content)
}
