//! The supervisor's side of the gate: started with the first environment that wants it, and the end
//! of those environments when it is lost.

use std::io;
use std::os::fd::OwnedFd;

use crate::gate::Anchor;
use crate::sys::{creds, process};

/// The gate, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    anchor: Option<Anchor>,
    /// Why there is none, after it was tried.
    refused: Option<String>,
    /// Inits of environments that rely on it.
    inits: Vec<i32>,
}

impl Guard {
    /// Starts the gate unless it runs or was refused; whether it runs.
    pub(super) fn ready(&mut self) -> bool {
        if self.anchor.is_none() && self.refused.is_none() {
            match start() {
                Ok(anchor) => self.anchor = Some(anchor),
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
        self.anchor.is_some()
    }

    /// Where environments are registered, when the gate runs.
    pub(crate) fn control(&self) -> Option<&OwnedFd> {
        self.anchor.as_ref().map(|anchor| &anchor.control)
    }

    /// Why there is no gate, when it was wanted and refused.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Takes in an environment that relies on the gate.
    pub(super) fn rely(&mut self, init: i32) {
        self.inits.push(init);
    }

    /// Takes in that a child has ended. Without the anchor nothing can be judged any more: what
    /// relied on it ends before the group is let go of, and the next environment gets another.
    pub(super) fn ended(&mut self, pid: i32) {
        self.inits.retain(|init| *init != pid);
        if self.anchor.as_ref().is_none_or(|anchor| anchor.pid != pid) {
            return;
        }
        for init in self.inits.drain(..) {
            let _ = process::kill(init, libc::SIGKILL);
            // It has ended when every process of its environment has.
            let _ = process::wait_for(init);
        }
        self.anchor = None;
    }

    /// Ends the anchor if nobody answers for it; the rest follows as its end is seen.
    pub(super) fn look(&mut self) {
        if let Some(anchor) = &mut self.anchor
            && anchor.is_stuck()
        {
            let _ = process::kill(anchor.pid, libc::SIGKILL);
        }
    }

    /// Whether there is something to look after.
    pub(super) fn is_running(&self) -> bool {
        self.anchor.is_some() && !self.inits.is_empty()
    }
}

fn start() -> io::Result<Anchor> {
    if creds::effective_uid() != 0 {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Anchor::start()
}
