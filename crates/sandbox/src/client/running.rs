//! A step under way.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::environment::Link;
use super::terminal::Terminal;
use crate::error::SandboxError;
use crate::message::{Exited, Order, Reply};
use crate::spec::{Exit, ExitStatus};
use crate::sys::socket;

/// A step that was started. Dropping it without waiting kills the step.
#[derive(Debug)]
pub struct Running {
    link: Arc<Link>,
    step: u64,
    started: Instant,
    /// How often memory had run out before.
    out_of_memory: u64,
    exit: Mutex<Option<Exit>>,
    terminal: Option<Terminal>,
}

impl Running {
    pub(super) fn new(link: Arc<Link>, step: u64) -> Self {
        Self {
            out_of_memory: link.cgroups.out_of_memory().unwrap_or(0),
            link,
            step,
            started: Instant::now(),
            exit: Mutex::new(None),
            terminal: None,
        }
    }

    /// Takes the terminal that the environment gives to the step. A step that could not be given one
    /// has ended.
    pub(super) fn with_terminal(mut self) -> Result<Self, SandboxError> {
        let (reply, terminal) = self.reply()?;
        match reply {
            Some(Reply::Terminal(step)) if step == self.step => {
                self.terminal = terminal.map(Terminal);
            }
            Some(Reply::Exited(exited)) => self.end(understood(&exited, false)),
            _ => self.end(self.gone()),
        }
        Ok(self)
    }

    /// The steering end of the step's terminal, when its spec asked for one.
    #[must_use]
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// Waits for the end of the step. When this returns, no process of the step is left. May be
    /// called again, and from several threads: all get the same answer.
    ///
    /// # Errors
    /// [`SandboxError::Talk`] when the environment cannot be understood.
    pub fn wait(&self) -> Result<Exit, SandboxError> {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exit) = &*exit {
            return Ok(exit.clone());
        }
        let ended = self.receive()?;
        self.idle();
        *exit = Some(ended.clone());
        Ok(ended)
    }

    /// Lets the environment take another step.
    fn idle(&self) {
        self.link
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .busy = false;
    }

    fn end(&mut self, ended: Exit) {
        self.idle();
        *self.exit.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    }

    fn receive(&self) -> Result<Exit, SandboxError> {
        loop {
            match self.reply()?.0 {
                None => return Ok(self.gone()),
                Some(Reply::Exited(exited)) if exited.step == self.step => {
                    let out_of_memory = self
                        .link
                        .cgroups
                        .out_of_memory()
                        .is_some_and(|count| count > self.out_of_memory);
                    let mut exit = understood(&exited, out_of_memory);
                    // A step that ended by itself at that moment is not to blame.
                    if exit.status == ExitStatus::Signal(libc::SIGKILL) {
                        exit.reason = self.link.blamed(self.step);
                    }
                    return Ok(exit);
                }
                Some(_) => {}
            }
        }
    }

    /// The environment's next word, with what came along; `None` when it is gone.
    fn reply(&self) -> Result<(Option<Reply>, Option<OwnedFd>), SandboxError> {
        let talk = |source| SandboxError::Talk {
            id: self.link.id.clone(),
            source,
        };
        let mut buffer = [0; 256];
        loop {
            let received = socket::receive(self.link.socket.as_fd(), &mut buffer).map_err(talk)?;
            let Some((length, fds)) = received else {
                return Ok((None, None));
            };
            if let Ok(reply) = Reply::decode(&buffer[..length]) {
                return Ok((Some(reply), fds.into_iter().next()));
            }
        }
    }

    fn gone(&self) -> Exit {
        Exit {
            status: ExitStatus::EnvironmentGone,
            wall: self.started.elapsed(),
            user: Duration::ZERO,
            system: Duration::ZERO,
            max_rss_kib: 0,
            out_of_memory: false,
            reason: None,
        }
    }

    /// Kills the step and everything it started; [`wait`](Self::wait) then reports signal 9. A step
    /// that has ended stays ended.
    ///
    /// # Errors
    /// [`SandboxError::Talk`]; an environment that is gone has no step left to kill.
    pub fn kill(&self) -> Result<(), SandboxError> {
        match self.link.order(&Order::Kill(self.step), &[]) {
            Err(SandboxError::Gone { .. }) => Ok(()),
            result => result,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let waited = self
            .exit
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if !waited {
            let _ = self.kill();
            let _ = self.wait();
        }
    }
}

fn understood(exited: &Exited, out_of_memory: bool) -> Exit {
    let status = match exited.kind {
        0 => ExitStatus::Code(exited.value),
        1 => ExitStatus::Signal(exited.value),
        _ => ExitStatus::TimedOut,
    };
    Exit {
        status,
        wall: exited.wall,
        user: exited.user,
        system: exited.system,
        max_rss_kib: exited.max_rss_kib,
        out_of_memory,
        reason: None,
    }
}
