//! The client's end of an environment's link to the gate, from which events come.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::exec_policy::ExecEvent;
use crate::gate::SAYS_EVENT;
use crate::gate::events::various;
use crate::sys::{process, socket};

/// Longest message of the gate.
const MAX_MESSAGE: usize = 64 * 1024;
/// Most events kept for a client that does not take them; of more, only how many there were.
const MAX_EVENTS: usize = 10_000;
/// How long it may take to forget an environment that has ended.
const FORGET: Duration = Duration::from_secs(2);
/// How often two threads that wait for different things look whether the other took theirs.
const SLICE: Duration = Duration::from_millis(20);

/// The link.
#[derive(Debug)]
pub(super) struct GateLink {
    socket: OwnedFd,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<ExecEvent>,
    /// Events there was no room for, and how many of them were refused.
    more: u64,
    more_denied: u64,
    closed: bool,
}

impl GateLink {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            inbox: Mutex::default(),
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
            (!inbox.events.is_empty()).then(|| inbox.take())
        })
        .unwrap_or_default()
    }

    /// Waits until the gate has let go of the environment's file systems.
    pub(super) fn ended(&self) {
        self.wait(FORGET, |inbox| inbox.closed.then_some(()));
    }
}

impl Inbox {
    fn keep(&mut self, event: ExecEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.more = self.more.saturating_add(event.count);
            let denied = if event.denied { event.count } else { 0 };
            self.more_denied = self.more_denied.saturating_add(denied);
        }
    }

    /// All that came, and one event for those of which only the number is known.
    fn take(&mut self) -> Vec<ExecEvent> {
        let mut events: Vec<ExecEvent> = self.events.drain(..).collect();
        if self.more > 0 {
            events.push(various(self.more, self.more_denied));
            (self.more, self.more_denied) = (0, 0);
        }
        events
    }

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
            if let Some((&SAYS_EVENT, event)) = buffer[..length].split_first()
                && let Ok(event) = serde_json::from_slice(event)
            {
                self.keep(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted_and_told() {
        let mut inbox = Inbox::default();
        for number in 0..MAX_EVENTS + 3 {
            let mut event = various(2, 0);
            event.denied = number % 2 == 0;
            event.rule = format!("rule {number}");
            inbox.keep(event);
        }
        let events = inbox.take();
        assert_eq!(events.len(), MAX_EVENTS + 1);
        assert_eq!(
            events[0].rule, "rule 0",
            "the first are kept, as by the gate"
        );
        let last = events.last().unwrap();
        assert_eq!((last.count, last.denied), (6, true));
        assert!(last.rule.starts_with("various: ") && last.rule.contains(" 4 of them refused"));
        assert!(inbox.take().is_empty());
    }
}
