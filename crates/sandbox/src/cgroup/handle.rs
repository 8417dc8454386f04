//! The client's side: freezing, killing, and what was used.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Ability, Version};
use crate::sys::process;

/// How long a freeze may take: processes deep in the kernel come to a halt only when they leave it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an environment used so far. A value is absent where no cgroup counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory now, in bytes, scratch space included.
    pub memory: Option<u64>,
    /// Most memory at one time, in bytes.
    pub memory_peak: Option<u64>,
    /// How often a process was killed because the memory limit was reached.
    pub out_of_memory: Option<u64>,
    /// CPU time of all processes.
    pub cpu: Option<Duration>,
    /// Processes and threads now, the environment's init included.
    pub processes: Option<u64>,
    /// Most processes and threads at one time.
    pub processes_peak: Option<u64>,
}

/// The folders of one environment.
#[derive(Debug, Default)]
pub(crate) struct Handle {
    folders: Vec<(Version, PathBuf)>,
    /// Whether memory is among what they count.
    memory: bool,
}

impl Handle {
    /// From what the environment reported: its folders, and its layers.
    pub(crate) fn new(places: &[String], layers: &[String]) -> Self {
        let folders = places.iter().filter_map(|place| {
            let version = match place.as_bytes().first()? {
                b'1' => Version::One,
                b'2' => Version::Two,
                _ => return None,
            };
            Some((version, PathBuf::from(place.get(1..)?)))
        });
        let memory = Ability::Memory.layer();
        Self {
            folders: folders.collect(),
            memory: layers.iter().any(|layer| layer == memory),
        }
    }

    /// The folder that has this file.
    fn having(&self, name: &str) -> Option<(Version, PathBuf)> {
        self.folders
            .iter()
            .map(|(version, folder)| (*version, folder.join(name)))
            .find(|(_, path)| path.exists())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.folders
            .iter()
            .find_map(|(_, folder)| fs::read_to_string(folder.join(name)).ok())
            .and_then(|text| text.trim().parse().ok())
    }

    /// A value of a file of lines `KEY VALUE`.
    fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        self.folders
            .iter()
            .find_map(|(_, folder)| fs::read_to_string(folder.join(file)).ok())
            .and_then(|text| value(&text, key))
    }

    /// How often the memory limit killed a process; absent where memory is not counted.
    pub(crate) fn out_of_memory(&self) -> Option<u64> {
        if !self.memory {
            return None;
        }
        self.keyed("memory.events", "oom_kill")
            .or_else(|| self.keyed("memory.oom_control", "oom_kill"))
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            memory: self
                .number("memory.current")
                .or_else(|| self.number("memory.usage_in_bytes")),
            memory_peak: self
                .number("memory.peak")
                .or_else(|| self.number("memory.max_usage_in_bytes")),
            out_of_memory: self.out_of_memory(),
            cpu: self
                .keyed("cpu.stat", "usage_usec")
                .map(Duration::from_micros),
            processes: self.number("pids.current"),
            processes_peak: self.number("pids.peak"),
        }
    }

    /// Halts every process, or lets them go on; returns when they have. `Ok(false)` where no cgroup
    /// can.
    pub(crate) fn freeze(&self, freeze: bool) -> io::Result<bool> {
        if let Some((_, switch)) = self.having("cgroup.freeze") {
            fs::write(&switch, if freeze { "1" } else { "0" })?;
            self.wait_frozen(&switch.with_file_name("cgroup.events"), freeze)?;
            return Ok(true);
        }
        let Some((_, state)) = self.having("freezer.state") else {
            return Ok(false);
        };
        let wanted = if freeze { "FROZEN" } else { "THAWED" };
        let started = Instant::now();
        loop {
            // Written again and again, because a process that is just being made may slip through;
            // this version has nothing to wait for.
            fs::write(&state, wanted)?;
            if fs::read_to_string(&state)?.trim() == wanted {
                return Ok(true);
            }
            if started.elapsed() > PATIENCE {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait_frozen(&self, events: &std::path::Path, freeze: bool) -> io::Result<()> {
        use std::io::Read;
        use std::os::fd::AsFd;
        let started = Instant::now();
        loop {
            // What was read through a descriptor is what its events are changes of.
            let mut watched = fs::File::open(events)?;
            let mut text = String::new();
            watched.read_to_string(&mut text)?;
            if value(&text, "frozen") == Some(u64::from(freeze)) {
                return Ok(());
            }
            let left = PATIENCE
                .checked_sub(started.elapsed())
                .ok_or(io::ErrorKind::TimedOut)?;
            process::wait_exceptional(watched.as_fd(), left)?;
        }
    }

    /// Kills every process at once, where the kernel has that.
    pub(crate) fn kill(&self) -> bool {
        self.having("cgroup.kill")
            .is_some_and(|(_, switch)| fs::write(switch, "1").is_ok())
    }

    /// Lets processes of the first version go on, without waiting: frozen ones cannot be killed.
    pub(crate) fn let_die(&self) {
        if let Some((_, state)) = self.having("freezer.state") {
            let _ = fs::write(state, "THAWED");
        }
    }
}

fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(place: &std::path::Path, files: &[(&str, &str)]) -> Handle {
        for (name, content) in files {
            fs::write(place.join(name), content).unwrap();
        }
        let layers = ["cgroup-memory".to_owned()];
        Handle::new(&[format!("2{}", place.display())], &layers)
    }

    #[test]
    fn usage_is_read_from_files_of_either_version_and_absent_without() {
        let place = tempfile::tempdir().unwrap();
        let second = files(
            place.path(),
            &[
                ("memory.current", "5\n"),
                ("memory.peak", "7\n"),
                ("memory.events", "low 0\noom 3\noom_kill 2\n"),
                ("cpu.stat", "usage_usec 1500\nuser_usec 1\n"),
                ("pids.peak", "9\n"),
            ],
        );
        let usage = second.usage();
        assert_eq!(
            (usage.memory, usage.memory_peak, usage.out_of_memory),
            (Some(5), Some(7), Some(2))
        );
        assert_eq!(usage.cpu, Some(Duration::from_micros(1500)));
        assert_eq!((usage.processes, usage.processes_peak), (None, Some(9)));
        let place = tempfile::tempdir().unwrap();
        let first = files(
            place.path(),
            &[
                ("memory.max_usage_in_bytes", "8\n"),
                ("memory.oom_control", "oom_kill_disable 0\noom_kill 1\n"),
            ],
        );
        let usage = first.usage();
        assert_eq!((usage.memory_peak, usage.out_of_memory), (Some(8), Some(1)));
        assert_eq!(Handle::default().usage(), Usage::default());
        assert!(!Handle::default().freeze(true).unwrap());
    }
}
