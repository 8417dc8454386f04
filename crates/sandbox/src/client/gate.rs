//! The client's end of an environment's link to the gate: events out, policies in.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::exec_policy::{ExecEvent, ExecPolicy};
use crate::gate::{ASKS_POLICY, SAYS_EVENT, SAYS_POLICY};
use crate::sys::{file, process, socket};

/// Longest message of the gate.
const MAX_MESSAGE: usize = 64 * 1024;
/// Most events kept for a client that does not take them: beyond that the oldest are dropped.
const MAX_EVENTS: usize = 10_000;
/// How long the gate may take for a new policy: it may have to look through the whole root.
const POLICY: Duration = Duration::from_secs(60);
/// How long it may take to forget an environment that has ended.
const FORGET: Duration = Duration::from_secs(2);
/// How often two threads that wait for different things look whether the other took theirs.
const SLICE: Duration = Duration::from_millis(20);

/// The link.
#[derive(Debug)]
pub(super) struct GateLink {
    socket: OwnedFd,
    inbox: Mutex<Inbox>,
    /// One new policy at a time.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<ExecEvent>,
    answer: Option<String>,
    closed: bool,
}

impl GateLink {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            inbox: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Waits until `take` finds something, the gate hangs up, or time is over.
    fn wait<T>(
        &self,
        timeout: Duration,
        mut take: impl FnMut(&mut Inbox) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now().checked_add(timeout);
        loop {
            {
                let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
                inbox.receive(&self.socket);
                let found = take(&mut inbox);
                if found.is_some() || inbox.closed {
                    return found;
                }
            }
            let left = end.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            process::poll([self.socket.as_fd()], Some(left.min(SLICE))).ok()?;
        }
    }

    /// Events that have come, waiting for the first at most `timeout`.
    pub(super) fn events(&self, timeout: Duration) -> Vec<ExecEvent> {
        self.wait(timeout, |inbox| {
            (!inbox.events.is_empty()).then(|| inbox.events.drain(..).collect())
        })
        .unwrap_or_default()
    }

    /// Puts another policy in force; the inner error says why the gate kept the last one.
    pub(super) fn set_policy(&self, policy: &ExecPolicy) -> io::Result<Result<(), String>> {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let message = file::memory_file(&serde_json::to_vec(policy)?)?;
        socket::send(self.socket.as_fd(), &[ASKS_POLICY], &[message.as_fd()])?;
        let answer = self
            .wait(POLICY, |inbox| inbox.answer.take())
            .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
        Ok(if answer.is_empty() {
            Ok(())
        } else {
            Err(answer)
        })
    }

    /// Waits until the gate has let go of the environment's file systems.
    pub(super) fn ended(&self) {
        self.wait(FORGET, |inbox| inbox.closed.then_some(()));
    }
}

impl Inbox {
    /// Takes in what is there.
    fn receive(&mut self, socket: &OwnedFd) {
        let mut buffer = Vec::new();
        while !self.closed
            && matches!(
                process::poll([socket.as_fd()], Some(Duration::ZERO)),
                Ok([true])
            )
        {
            buffer.resize(MAX_MESSAGE, 0);
            let Ok(Some((length, _))) = socket::receive(socket.as_fd(), &mut buffer) else {
                self.closed = true;
                return;
            };
            match buffer[..length].split_first() {
                Some((&SAYS_EVENT, event)) => {
                    if let Ok(event) = serde_json::from_slice(event) {
                        if self.events.len() >= MAX_EVENTS {
                            self.events.pop_front();
                        }
                        self.events.push_back(event);
                    }
                }
                Some((&SAYS_POLICY, text)) => {
                    self.answer = Some(String::from_utf8_lossy(text).into_owned());
                }
                _ => {}
            }
        }
    }
}
