//! What an environment may take of things that the kernel counts per user of the host, so that none
//! can use up what the host's own programs and other environments need.

use std::ffi::CStr;

/// One environment may have this part of what the host's user has.
const PART: u64 = 4;

/// Limits of one environment.
#[derive(Debug)]
pub(crate) struct Shares {
    inotify_instances: u64,
    inotify_watches: u64,
    /// System V shared memory, in pages: it belongs to no process and to no file system that has a
    /// bound.
    shared_memory_pages: u64,
}

impl Shares {
    /// From the host's own settings.
    pub(super) fn of_host() -> Self {
        let part = |file: &str, least: u64| {
            let whole = std::fs::read_to_string(file)
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok());
            whole.map_or(least, |whole| (whole / PART).max(least))
        };
        Self {
            inotify_instances: part("/proc/sys/fs/inotify/max_user_instances", 16),
            inotify_watches: part("/proc/sys/fs/inotify/max_user_watches", 1024),
            shared_memory_pages: (256 << 20) / 4096,
        }
    }

    /// Files below a new root, as seen from it, and what to write to them.
    pub(crate) fn files(&self) -> [(&'static CStr, u64); 4] {
        [
            (
                c"proc/sys/user/max_inotify_instances",
                self.inotify_instances,
            ),
            (c"proc/sys/user/max_inotify_watches", self.inotify_watches),
            (c"proc/sys/user/max_fanotify_groups", 0),
            (c"proc/sys/kernel/shmall", self.shared_memory_pages),
        ]
    }
}
