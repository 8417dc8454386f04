//! Digests of writable files, each remembered for as long as a lease proves that the file has not
//! changed. Times prove nothing: a store through a mapping changes none.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use super::process;
use crate::exec_policy::Digest;
use crate::sys::about::About;
use crate::sys::lease;

/// Most files held at a time; each is an open descriptor.
const MAX_HELD: usize = 512;
/// Most executions remembered per file before those that are over are forgotten.
const MAX_THREADS: usize = 64;

/// What tells a file from every other: device numbers are per file system that is mounted.
pub(super) type Key = (u64, (u32, u32), u64);

/// The key of a file on the file system of this device number.
pub(super) fn key(file_system: u64, about: &About) -> Key {
    (file_system, about.device, about.inode)
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
    about: About,
    digest: Digest,
    /// Threads that were permitted to execute it, and may still be on their way.
    threads: Vec<OnTheWay>,
    used: u64,
}

/// A thread that was permitted to execute a file.
#[derive(Debug)]
struct OnTheWay {
    thread: i32,
    /// Time it had spent outside the kernel when it was first looked at: once there is more, it came
    /// back from its system call.
    outside: Option<u64>,
}

impl OnTheWay {
    fn new(thread: i32) -> Self {
        Self {
            thread,
            outside: None,
        }
    }

    /// Whether it is past the execution, for all that can be seen.
    fn is_past(&mut self, about: &About) -> bool {
        if process::is_past_execution(self.thread, about) {
            return true;
        }
        let Some(now) = process::time_outside(self.thread) else {
            return true;
        };
        now > *self.outside.get_or_insert(now)
    }
}

/// The files held.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: HashMap<Key, Entry>,
    numbers: HashMap<RawFd, Key>,
    clock: u64,
}

impl Held {
    /// The digest of a file that is held. `executing` is the thread that will be permitted to
    /// execute it, if it is.
    pub(super) fn digest(&mut self, key: &Key, executing: Option<i32>) -> Option<Digest> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        if let Some(thread) = executing {
            if entry.threads.len() >= MAX_THREADS {
                let about = entry.about;
                entry.threads.retain_mut(|thread| !thread.is_past(&about));
            }
            entry.threads.push(OnTheWay::new(thread));
        }
        Some(entry.digest)
    }

    /// Holds a file on which a lease was taken before it was hashed.
    pub(super) fn hold(
        &mut self,
        key: Key,
        file: Arc<File>,
        about: About,
        digest: Digest,
        executing: Option<i32>,
    ) {
        if self.entries.len() >= MAX_HELD {
            self.make_room();
        }
        self.clock += 1;
        let number = file.as_raw_fd();
        let entry = Entry {
            file,
            about,
            digest,
            threads: executing.into_iter().map(OnTheWay::new).collect(),
            used: self.clock,
        };
        if let Some(old) = self.entries.insert(key, entry) {
            // Two were judged at once: both leases are whole, one is enough.
            self.numbers.remove(&old.file.as_raw_fd());
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.threads.extend(old.threads);
            }
        }
        self.numbers.insert(number, key);
    }

    /// Lets the least used eighth go, of those that nobody is on the way to execute.
    fn make_room(&mut self) {
        let mut ages: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        ages.sort_unstable();
        let limit = ages.get(MAX_HELD / 8).copied().unwrap_or(0);
        let numbers = &mut self.numbers;
        self.entries.retain(|_, entry| {
            let about = entry.about;
            let keep = entry.used > limit
                || !entry
                    .threads
                    .iter_mut()
                    .all(|thread| thread.is_past(&about));
            if !keep {
                numbers.remove(&entry.file.as_raw_fd());
                lease::give_up(entry.file.as_fd());
            }
            keep
        });
    }

    /// Lets a file go because somebody waits to write to it; false while a thread may be on its way
    /// to execute what was judged. `force` names those threads instead of waiting for them.
    pub(super) fn let_go(&mut self, number: RawFd, force: bool) -> Result<Vec<i32>, ()> {
        let Some(key) = self.numbers.get(&number).copied() else {
            return Ok(Vec::new());
        };
        let Some(entry) = self.entries.get_mut(&key) else {
            return Ok(Vec::new());
        };
        let about = entry.about;
        entry.threads.retain_mut(|thread| !thread.is_past(&about));
        if !entry.threads.is_empty() && !force {
            return Err(());
        }
        let late = std::mem::take(&mut entry.threads);
        if late.is_empty() {
            lease::give_up(entry.file.as_fd());
            self.numbers.remove(&number);
            self.entries.remove(&key);
        }
        Ok(late.into_iter().map(|late| late.thread).collect())
    }

    /// Numbers of all leases that somebody waits for.
    pub(super) fn wanted(&self) -> Vec<RawFd> {
        self.entries
            .values()
            .filter(|entry| !lease::is_whole(entry.file.as_fd()))
            .map(|entry| entry.file.as_raw_fd())
            .collect()
    }

    /// Lets go of everything on these file systems: they are to vanish.
    pub(super) fn forget(&mut self, file_systems: &[u64]) {
        let numbers = &mut self.numbers;
        self.entries.retain(|key, entry| {
            let keep = !file_systems.contains(&key.0);
            if !keep {
                numbers.remove(&entry.file.as_raw_fd());
                lease::give_up(entry.file.as_fd());
            }
            keep
        });
    }
}
