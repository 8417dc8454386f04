//! Signs of life of the gate, in memory that it shares with the anchor and the supervisor.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::sys::fanotify::Event;
use crate::sys::other::Shared;

/// Open files at most: each pending event is one, and so is each held file.
const MAX_FILES: usize = 1 << 16;

/// What is shared: a count of things done, the events read and not answered, and which these are, by
/// descriptor.
#[derive(Clone)]
pub(super) struct Beat(Arc<Shared>);

/// The gate's own, for work deep inside it.
static OWN: OnceLock<Beat> = OnceLock::new();

const DONE: usize = 0;
const OPEN: usize = 1;
const FIRST: usize = 2;

impl Beat {
    pub(super) fn new() -> std::io::Result<Self> {
        Shared::new(FIRST + MAX_FILES).map(Arc::new).map(Self)
    }

    /// Makes this the one that [`tick`] counts in.
    pub(super) fn adopt(&self) {
        let _ = OWN.set(self.clone());
        self.0.get()[OPEN].store(0, Ordering::Relaxed);
    }

    fn slot(&self, number: RawFd) -> Option<&AtomicU64> {
        self.0.get().get(FIRST + usize::try_from(number).ok()?)
    }

    /// Writes down an event that was read.
    pub(super) fn read(&self, number: RawFd, event: &Event) {
        if let Some(slot) = self.slot(number) {
            let thread = u64::from(event.thread.cast_unsigned());
            slot.store(
                thread << 2 | u64::from(event.execute) << 1 | 1,
                Ordering::Relaxed,
            );
        }
        self.0.get()[OPEN].fetch_add(1, Ordering::Relaxed);
        self.0.get()[DONE].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes down that an event was answered.
    pub(super) fn answered(&self, number: RawFd) {
        if let Some(slot) = self.slot(number) {
            slot.store(0, Ordering::Relaxed);
        }
        self.0.get()[OPEN].fetch_sub(1, Ordering::Relaxed);
        self.0.get()[DONE].fetch_add(1, Ordering::Relaxed);
    }

    /// The event that was read under this number and not answered: its thread, and whether it
    /// executes.
    pub(super) fn left(&self, number: RawFd) -> Option<(i32, bool)> {
        let known = self.slot(number)?.load(Ordering::Relaxed);
        (known != 0).then_some((((known >> 2) as u32).cast_signed(), known & 2 != 0))
    }

    /// What was done so far, and whether something is open.
    pub(super) fn state(&self) -> (u64, bool) {
        let shared = self.0.get();
        let open = shared[OPEN].load(Ordering::Relaxed);
        (shared[DONE].load(Ordering::Relaxed), open != 0)
    }
}

/// Says that the gate is at work on something long.
pub(super) fn tick() {
    if let Some(beat) = OWN.get() {
        beat.0.get()[DONE].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_left_until_it_is_answered() {
        let beat = Beat::new().unwrap();
        let event = Event {
            file: Arc::new(std::fs::File::open("/proc/self/status").unwrap()),
            thread: 0x7fff_fff0,
            execute: true,
        };
        assert_eq!(beat.left(7), None);
        beat.read(7, &event);
        assert_eq!(beat.left(7), Some((0x7fff_fff0, true)));
        assert_eq!(beat.state(), (1, true));
        beat.answered(7);
        assert_eq!(beat.left(7), None);
        assert_eq!(beat.state(), (2, false));
        beat.read(i32::MAX, &event);
        assert_eq!(beat.left(i32::MAX), None);
    }
}
