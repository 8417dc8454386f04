//! A step under way in a guest, as its caller sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{CHUNK, Frame, Kind, WINDOW};
use super::guest::GONE;
use super::link::Link;
use crate::message::Reply;
use crate::spec::{Exit, ExitStatus};
use crate::sys::process;
use crate::wire::{Reader, Writer};

/// How much later than its timeout, the life of its environment or its kill the end of a step may be
/// reported, before the guest counts as hanging and is ended.
const GRACE: Duration = Duration::from_secs(60);
/// How long the last output may take to be written after the end of a step. Files take no time; a
/// pipe that nobody reads takes for ever.
const FLUSH: Duration = Duration::from_secs(5);

/// What the link's thread and the caller share.
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    exit: Option<Exit>,
    /// What came of each output and nobody has taken yet: in one piece, however small the frames were.
    arrived: [Vec<u8>; 2],
    /// Whether more of it may come.
    more: bool,
    /// Outputs not yet written out in full.
    open: usize,
    /// Bytes of each output that came and are not yet written out.
    pending: [usize; 2],
    /// Bytes of input that may be sent.
    room: usize,
    started: Instant,
    /// When the guest must have reported the end, at the latest.
    deadline: Option<Instant>,
}

/// What a frame means for its step.
pub(super) enum Taken {
    /// More will come.
    More,
    /// It was the last.
    Last,
    /// The guest sends more than it may: it is not our program any more.
    Nonsense,
}

impl Progress {
    /// The state of a step that must end within `limit`.
    fn new(limit: Duration) -> Self {
        let started = Instant::now();
        let state = State {
            exit: None,
            arrived: [Vec::new(), Vec::new()],
            more: true,
            open: 2,
            pending: [0; 2],
            room: WINDOW,
            started,
            deadline: started.checked_add(limit.saturating_add(GRACE)),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame of this step.
    pub(super) fn take(&self, frame: &Frame) -> Taken {
        let mut state = self.locked();
        match frame.kind {
            Kind::Output => {
                let Some((which, bytes)) = frame.body.split_first() else {
                    return Taken::Nonsense;
                };
                let which = usize::from(*which);
                let State {
                    pending, arrived, ..
                } = &mut *state;
                let (Some(pending), Some(arrived)) =
                    (pending.get_mut(which), arrived.get_mut(which))
                else {
                    return Taken::Nonsense;
                };
                // Without a byte it says nothing, and there could be any number of such.
                if bytes.is_empty() || *pending + bytes.len() > WINDOW {
                    return Taken::Nonsense;
                }
                *pending += bytes.len();
                arrived.extend_from_slice(bytes);
                self.changed.notify_all();
                return Taken::More;
            }
            Kind::Fed => {
                let fed = Reader::new(&frame.body).number().unwrap_or(0);
                let fed = usize::try_from(fed).unwrap_or(usize::MAX);
                state.room = state.room.saturating_add(fed).min(WINDOW);
                self.changed.notify_all();
                return Taken::More;
            }
            Kind::Ended => {
                let (out_of_memory, reply) = frame.body.split_first().unwrap_or((&0, &[]));
                let exit = match Reply::decode(reply) {
                    Ok(Reply::Exited(exited)) => Exit {
                        status: match exited.kind {
                            0 => ExitStatus::Code(exited.value),
                            1 => ExitStatus::Signal(exited.value),
                            GONE => ExitStatus::EnvironmentGone,
                            _ => ExitStatus::TimedOut,
                        },
                        wall: exited.wall,
                        user: exited.user,
                        system: exited.system,
                        max_rss_kib: exited.max_rss_kib,
                        out_of_memory: *out_of_memory == 1,
                        reason: None,
                    },
                    _ => gone(state.started),
                };
                state.exit = Some(exit);
            }
            // A refusal, or nonsense: there is no step.
            _ => state.exit = Some(gone(state.started)),
        }
        state.more = false;
        self.changed.notify_all();
        Taken::Last
    }

    /// What came of an output, when something did; nothing when no more will.
    fn arrived(&self, which: u8) -> Option<Vec<u8>> {
        let which = usize::from(which);
        let empty = |state: &State| state.arrived.get(which).is_none_or(Vec::is_empty);
        let state = self.locked();
        let state = self
            .changed
            .wait_while(state, |state| empty(state) && state.more);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let arrived = std::mem::take(state.arrived.get_mut(which)?);
        (!arrived.is_empty()).then_some(arrived)
    }

    /// Output was written out; the guest may send as much again.
    fn written(&self, which: u8, bytes: usize) {
        if let Some(pending) = self.locked().pending.get_mut(usize::from(which)) {
            *pending = pending.saturating_sub(bytes);
        }
    }

    /// The machine is gone.
    pub(super) fn gone(&self) {
        let mut state = self.locked();
        let exit = gone(state.started);
        state.exit.get_or_insert(exit);
        state.more = false;
        self.changed.notify_all();
    }

    fn closed(&self) {
        self.locked().open -= 1;
        self.changed.notify_all();
    }
}

fn gone(started: Instant) -> Exit {
    Exit {
        status: ExitStatus::EnvironmentGone,
        wall: started.elapsed(),
        user: Duration::ZERO,
        system: Duration::ZERO,
        max_rss_kib: 0,
        out_of_memory: false,
        reason: None,
    }
}

/// A step that was started in a guest. Dropping it without waiting kills the step.
#[derive(Debug)]
pub struct VmRunning {
    link: Arc<Link>,
    number: u64,
    progress: Arc<Progress>,
    /// Closed when the step has ended, so that nothing waits for more input.
    stop_input: Mutex<Option<OwnedFd>>,
    waited: Mutex<bool>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Progress").finish_non_exhaustive()
    }
}

/// Threads and state for a step that is about to be asked for, and must end within `limit`.
pub(super) fn prepare(
    link: &Arc<Link>,
    number: u64,
    outputs: [OwnedFd; 2],
    limit: Duration,
) -> VmRunning {
    let progress = Arc::new(Progress::new(limit));
    for (which, output) in (0_u8..).zip(outputs) {
        // The machine need not live for an output that nobody reads.
        let (link, progress) = (Arc::downgrade(link), Arc::clone(&progress));
        std::thread::spawn(move || {
            let mut output = File::from(output);
            while let Some(bytes) = progress.arrived(which) {
                // A reader that is gone loses the rest; the step goes on, as it would with a file.
                let _ = output.write_all(&bytes);
                progress.written(which, bytes.len());
                let mut taken = Writer::default();
                taken.byte(which).number(bytes.len() as u64);
                if let Some(link) = link.upgrade() {
                    let _ = link.send(Kind::Taken, number, &taken.finish());
                }
            }
            drop(output);
            progress.closed();
        });
    }
    VmRunning {
        link: Arc::clone(link),
        number,
        progress,
        stop_input: Mutex::new(None),
        waited: Mutex::new(false),
    }
}

impl VmRunning {
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Starts sending standard input until its end, or that of the step.
    pub(super) fn feed(&self, input: OwnedFd) {
        let Ok((stopped, stop)) = crate::sys::file::pipe() else {
            return;
        };
        *self
            .stop_input
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(stop);
        let (link, number, progress) = (
            Arc::clone(&self.link),
            self.number,
            Arc::clone(&self.progress),
        );
        std::thread::spawn(move || {
            let ready = |input: &OwnedFd| {
                let polled = process::poll([input.as_fd(), stopped.as_fd()], None);
                matches!(polled, Ok([true, false]))
            };
            let mut input = input;
            let mut buffer = vec![0; CHUNK];
            while ready(&input) {
                let mut file = File::from(input);
                let length = file.read(&mut buffer).unwrap_or(0);
                input = file.into();
                if !progress.reserve(length)
                    || link.send(Kind::Input, number, &buffer[..length]).is_err()
                {
                    return;
                }
                if length == 0 {
                    return;
                }
            }
        });
    }

    /// Waits for the end of the step. When this returns, no process of the step is left and its
    /// output is written, unless nobody reads it. May be called again, and from several threads.
    ///
    /// A guest that does not report the end of a step long after its timeout is ended.
    pub fn wait(&self) -> Exit {
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let mut state = self.progress.locked();
        while state.exit.is_none() {
            let left = state
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => {
                    drop(state);
                    self.link.machine.end();
                    self.progress.gone();
                    self.progress.locked()
                }
                Some(left) => {
                    let waited = self.progress.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .progress
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        let waited = self
            .progress
            .changed
            .wait_timeout_while(state, FLUSH, |state| state.open > 0);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        drop(
            self.stop_input
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        state.exit.clone().unwrap_or_else(|| gone(state.started))
    }

    /// Kills the step and everything it started; [`wait`](Self::wait) then reports signal 9. A step
    /// that has ended, or whose machine is gone, stays ended.
    ///
    /// A guest that does not report the end within a minute is ended.
    pub fn kill(&self) {
        {
            let mut state = self.progress.locked();
            let deadline = Instant::now() + GRACE;
            state.deadline = Some(state.deadline.map_or(deadline, |old| old.min(deadline)));
            self.progress.changed.notify_all();
        }
        let _ = self.link.send(Kind::Kill, self.number, &[]);
    }
}

impl Progress {
    /// Waits until `length` bytes of input may be sent; false when the step has ended.
    fn reserve(&self, length: usize) -> bool {
        let state = self.locked();
        let mut state = self
            .changed
            .wait_while(state, |state| state.exit.is_none() && state.room < length)
            .unwrap_or_else(PoisonError::into_inner);
        if state.exit.is_some() {
            return false;
        }
        state.room -= length;
        true
    }
}

impl Drop for VmRunning {
    fn drop(&mut self) {
        let waited = *self
            .waited
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if !waited {
            self.kill();
            let _ = self.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(which: u8, length: usize) -> Frame {
        let mut body = vec![which];
        body.resize(length + 1, b'x');
        Frame {
            kind: Kind::Output,
            stream: 1,
            body,
        }
    }

    #[test]
    fn a_guest_that_sends_more_than_it_may_is_not_listened_to() {
        let progress = Progress::new(Duration::from_secs(1));
        for _ in 0..WINDOW / CHUNK {
            assert!(matches!(progress.take(&output(0, CHUNK)), Taken::More));
        }
        assert!(matches!(progress.take(&output(1, CHUNK)), Taken::More));
        assert!(matches!(progress.take(&output(0, 1)), Taken::Nonsense));
        // Room again, when some was written out.
        let bytes = progress.arrived(0).unwrap();
        assert_eq!(bytes.len(), WINDOW);
        progress.written(0, bytes.len());
        assert!(matches!(progress.take(&output(0, 1)), Taken::More));
        assert!(matches!(progress.take(&output(2, 1)), Taken::Nonsense));
        let empty = Frame {
            kind: Kind::Output,
            stream: 1,
            body: Vec::new(),
        };
        assert!(matches!(progress.take(&empty), Taken::Nonsense));
    }

    #[test]
    fn output_of_no_bytes_is_nonsense_and_small_pieces_take_no_more_room_than_large_ones() {
        let progress = Progress::new(Duration::from_secs(1));
        assert!(matches!(progress.take(&output(0, 0)), Taken::Nonsense));
        for _ in 0..WINDOW {
            assert!(matches!(progress.take(&output(1, 1)), Taken::More));
        }
        assert_eq!(progress.arrived(1).unwrap().len(), WINDOW);
        assert!(matches!(progress.take(&output(1, 1)), Taken::Nonsense));
        progress.gone();
        assert!(progress.arrived(1).is_none());
    }

    #[test]
    fn a_lost_machine_ends_its_steps() {
        let progress = Progress::new(Duration::from_secs(1));
        progress.gone();
        assert!(progress.arrived(0).is_none(), "outputs are closed");
        let exit = progress.locked().exit.clone().unwrap();
        assert_eq!(exit.status, ExitStatus::EnvironmentGone);
        assert!(!progress.reserve(1));
    }
}
