//! Tells whoever was refused, on its own standard error, without letting the gate wait for it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::process;
use crate::sys::other;

/// Most explanations that wait for a file to take them; of more, nothing is told.
const MOST_WAITING: usize = 64;

/// Where explanations are left.
pub(super) struct Teller(SyncSender<(File, String)>);

impl Teller {
    /// A teller, and what its thread reads.
    pub(super) fn new() -> (Self, Receiver<(File, String)>) {
        let (sender, waiting) = sync_channel(MOST_WAITING);
        (Self(sender), waiting)
    }

    /// Says something on a process's standard error, if that is a pipe or a file. Opens nothing, so
    /// it does no more than the process itself could.
    pub(super) fn tell(&self, thread: i32, text: &str) {
        let Some(stderr) = process::stderr_of(thread) else {
            return;
        };
        match stderr.metadata().map(|meta| meta.file_type()) {
            // A full or closed pipe: nobody reads.
            Ok(kind) if kind.is_fifo() => {
                let _ = other::write_now(stderr.as_fd(), text.as_bytes());
            }
            // A disk may take its time, and never while somebody waits for an answer.
            Ok(kind) if kind.is_file() => {
                // No room: what was refused is in the events in any case.
                let _ = self.0.try_send((stderr, text.to_owned()));
            }
            _ => {}
        }
    }
}

/// Writes what was left, one after the other.
pub(super) fn serve(waiting: &Receiver<(File, String)>) {
    for (mut file, text) in waiting {
        // Full, too large or opened for reading only: the process could not write either.
        let _ = file.write_all(text.as_bytes());
    }
}
